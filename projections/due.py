"""What falls due when: a queue by time whose entries may become void before they come up."""

from __future__ import annotations

import heapq
from collections.abc import Callable

SCHEMA_VERSION = 1


class Due:
    """Keys with a time each. Who changes a key's time just adds it again."""

    __slots__ = ("_queue",)

    def __init__(self) -> None:
        self._queue: list[tuple[int, int]] = []

    def add(self, at_ms: int, key: int) -> None:
        """`key` falls due at `at_ms`."""
        heapq.heappush(self._queue, (at_ms, key))

    def until(self, now_ms: int, limit: int, holds: Callable[[int, int], bool]) -> list[int]:
        """The keys that are due by `now_ms`, the longest overdue first, at most `limit`.

        `holds` tells of a time and a key whether it still falls due then; what does not is
        forgotten on the way. The queue keeps what is returned: being due is no end.
        """
        found: list[tuple[int, int]] = []
        while self._queue and len(found) < limit and self._queue[0][0] <= now_ms:
            entry = heapq.heappop(self._queue)
            if holds(*entry) and (not found or found[-1] != entry):
                found.append(entry)
        for entry in found:
            heapq.heappush(self._queue, entry)
        return [key for _, key in found]
