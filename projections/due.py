"""What falls due when: a queue by time whose entries may become void before they come up."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

SCHEMA_VERSION = 1


Entry = tuple[int, int]  # when, and which key


class Due:
    """Keys with a time each. Who changes a key's time just adds it again."""

    __slots__ = ("_queue", "_rest")

    def __init__(self, rest: Callable[[], Iterable[Entry]] | None = None) -> None:
        """Begin with what `rest` gives, which is asked for it when something may be due."""
        self._queue: list[Entry] = []
        self._rest = rest

    def __len__(self) -> int:
        return len(self._queue)

    def added(self) -> tuple[list[Entry], bool]:
        """What was added, and whether that is everything: else the rest was not looked at yet."""
        return self._queue, self._rest is None

    def drop_void(self, holds: Callable[[int, int], bool]) -> None:
        """Forget what does not hold any more. It would be, at its time; but that may be long."""
        if self._rest is None:
            self._queue = [entry for entry in dict.fromkeys(self._queue) if holds(*entry)]
            heapq.heapify(self._queue)

    def add(self, at_ms: int, key: int) -> None:
        """`key` falls due at `at_ms`."""
        heapq.heappush(self._queue, (at_ms, key))

    def until(self, now_ms: int, limit: int, holds: Callable[[int, int], bool]) -> list[int]:
        """The keys that are due by `now_ms`, the longest overdue first, at most `limit`.

        `holds` tells of a time and a key whether it still falls due then; what does not is
        forgotten on the way. The queue keeps what is returned: being due is no end.
        """
        if self._rest is not None:
            self._queue.extend(self._rest())
            heapq.heapify(self._queue)
            self._rest = None
        found: list[Entry] = []
        while self._queue and len(found) < limit and self._queue[0][0] <= now_ms:
            entry = heapq.heappop(self._queue)
            if holds(*entry) and (not found or found[-1] != entry):
                found.append(entry)
        for entry in found:
            heapq.heappush(self._queue, entry)
        return [key for _, key in found]
