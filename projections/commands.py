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


class Remembered(NamedTuple):
    """Where the commit of a command stands, and what it was asked."""

    position: int
    ms: int
    parts: int
    request_hash: bytes


class CommandWindow:
    """The commands of the last 100,000 positions, by key and step."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[bytes, int], Remembered] = {}
        self._order: deque[tuple[int, tuple[bytes, int]]] = deque()

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: bytes, step: int = 0) -> Remembered | None:
        """The commit that the command made, if it lies in the window."""
        return self._by_key.get((key, step))

    def fold(self, record: Record) -> None:
        """Remember the commit that begins with `record`; forget what left the window."""
        commit, header = record.commit, record.header
        if commit.part == 0:
            key = (header.command, header.step)
            self._by_key[key] = Remembered(
                record.position, record.ms, commit.parts, commit.request_hash
            )
            self._order.append((record.position, key))
        oldest = record.position - WINDOW_POSITIONS
        while self._order and self._order[0][0] <= oldest:
            position, key = self._order.popleft()
            if self._by_key[key].position == position:
                del self._by_key[key]
