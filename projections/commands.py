"""Which commands were committed lately, so that a repeated one is answered and not done again.

The window is the last 100,000 positions: a pure function of the stream, so that all writers
agree on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import MutableMapping
from struct import Struct
from typing import Any, Final, NamedTuple

from projections.pages import Paged, PageSink, PageSource, keep_table

SCHEMA_VERSION = 2
WINDOW_POSITIONS: Final = 100_000
_STEP_BYTES: Final = 4  # as the wire bounds it


_PACKED: Final = Struct(">QQH16s")  # by position when compared as bytes


class Remembered(NamedTuple):
    """Where the commit of a command stands, and what it was asked."""

    position: int
    ms: int
    parts: int
    request_hash: bytes


def _position(packed: bytes) -> int:
    return int.from_bytes(packed[:8])


class CommandWindow:
    """The commands of the last 100,000 positions, by key and step."""

    def __init__(self) -> None:
        # A `Remembered` in 34 bytes: as tuples they would take three times the memory, and the
        # garbage collector would visit 100,000 of them again and again.
        self._by_key: MutableMapping[bytes, bytes] = {}
        self._order: deque[bytes] = deque()
        self._newest = 0
        self._first = 0  # nothing before this position is in it

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: bytes, step: int = 0) -> Remembered | None:
        """The commit that the command made, if it lies in the window."""
        packed = self._by_key.get(key + step.to_bytes(_STEP_BYTES))
        if packed is None:
            return None
        found = Remembered._make(_PACKED.unpack(packed))
        return None if found.position <= self._newest - WINDOW_POSITIONS else found

    def fold(
        self, position: int, ms: int, command: bytes, step: int, commit: tuple[Any, ...]
    ) -> None:
        """Remember the commit that begins here, if one does; forget what left the window.

        `commit` has the members of a `Commit`.
        """
        self._newest = position
        _, part, parts, _, _, request_hash, _ = commit
        if part == 0:
            key = command + step.to_bytes(_STEP_BYTES)
            self._by_key[key] = _PACKED.pack(position, ms, parts, request_hash)
            self._order.append(key)
        if position - WINDOW_POSITIONS >= self._first:
            self._forget(position - WINDOW_POSITIONS)

    def _forget(self, oldest: int) -> None:
        """Forget the commands up to a position.

        One that came again, which no writer of ours does, stays until it leaves the last time.
        """
        while self._order:
            self._first = _position(self._by_key.get(self._order[0], b""))
            if self._first > oldest:
                return
            self._by_key.pop(self._order.popleft(), None)
        self._first = 0

    def keep(self, sink: PageSink) -> dict[str, Any]:
        """Write the window; return what it takes to show it again."""
        if isinstance(self._by_key, Paged) and len(self._by_key) > 2 * WINDOW_POSITIONS:
            oldest = self._newest - WINDOW_POSITIONS
            self._by_key = {
                key: packed for key, packed in self._by_key.items() if _position(packed) > oldest
            }
        return {"by_key": keep_table(sink, "command", self._by_key), "newest": self._newest}

    def read_all(self) -> None:
        """Hold everything in memory."""
        if isinstance(self._by_key, Paged):
            oldest = self._newest - WINDOW_POSITIONS
            inside = sorted(
                (packed, key) for key, packed in self._by_key.items() if _position(packed) > oldest
            )
            self._by_key = {key: packed for packed, key in inside}
            self._order = deque(self._by_key)

    @classmethod
    def kept(cls, source: PageSource, told: dict[str, Any]) -> CommandWindow:
        """Show the window that `keep` wrote.

        What was in it then and leaves it now stays in its page until the table is kept anew: it
        is not found any more, and there is no need to read the page for that.
        """
        window = cls()
        window._by_key = Paged(source, "command", *told["by_key"])
        window._newest = told["newest"]
        return window
