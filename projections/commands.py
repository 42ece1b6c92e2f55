"""Which commands were committed lately, so that a repeated one is answered and not done again.

The window is the last 100,000 positions: a pure function of the stream, so that all writers
agree on it.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from engine.entry import Record

SCHEMA_VERSION = 1
WINDOW_POSITIONS: Final = 100_000
_STEP_BYTES: Final = 4  # as the wire bounds it


class Remembered(NamedTuple):
    """Where the commit of a command stands, and what it was asked."""

    position: int
    ms: int
    parts: int
    request_hash: bytes


class CommandWindow:
    """The commands of the last 100,000 positions, by key and step."""

    def __init__(self) -> None:
        # Bytes and plain tuples only: the garbage collector lets go of what it finds to hold
        # neither, while it would visit 100,000 named tuples again and again.
        self._by_key: dict[bytes, tuple[int, int, int, bytes]] = {}
        self._order: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: bytes, step: int = 0) -> Remembered | None:
        """The commit that the command made, if it lies in the window."""
        found = self._by_key.get(key + step.to_bytes(_STEP_BYTES))
        return None if found is None else Remembered._make(found)

    def fold(self, record: Record) -> None:
        """Remember the commit that begins with `record`; forget what left the window."""
        position, commit = record.position, record.commit
        if commit.part == 0:
            header = record.header
            key = header.command + header.step.to_bytes(_STEP_BYTES)
            if key in self._by_key:  # twice in one window: no writer of ours does that
                self._order.remove(key)
            self._by_key[key] = (position, record.ms, commit.parts, commit.request_hash)
            self._order.append(key)
        oldest = position - WINDOW_POSITIONS
        while self._order and self._by_key[self._order[0]][0] <= oldest:
            del self._by_key[self._order.popleft()]
