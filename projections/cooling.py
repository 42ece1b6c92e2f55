"""Released addresses that rest before somebody else may have them.

Derived from the release event and the pool's setting then; it ends with time and not with an
event, so it is never in a digest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple

from engine.addresses import RangeSet

SCHEMA_VERSION = 1


class Resting(NamedTuple):
    """An address, and the first millisecond at which somebody else may have it."""

    ready_ms: int
    value: int


class Cooling:
    """The resting addresses of one pool, the longest idle first."""

    __slots__ = ("_queue", "_ready_ms")

    def __init__(self) -> None:
        self._ready_ms: dict[int, int] = {}
        # Entries of addresses that were taken out meanwhile are passed over when they come up.
        self._queue: list[Resting] = []

    def __len__(self) -> int:
        return len(self._ready_ms)

    def __contains__(self, value: int) -> bool:
        return value in self._ready_ms

    def ready_ms(self, value: int) -> int | None:
        """When an address has rested, or None if it does not rest."""
        return self._ready_ms.get(value)

    def add(self, value: int, ready_ms: int) -> None:
        """Let an address rest."""
        self._ready_ms[value] = ready_ms
        heapq.heappush(self._queue, Resting(ready_ms, value))

    def remove(self, value: int) -> None:
        """The address rests no more: it was granted, to its last owner or after its time."""
        del self._ready_ms[value]

    def first(self) -> Resting | None:
        """The address that has rested longest."""
        while self._queue and self._ready_ms.get(self._queue[0].value) != self._queue[0].ready_ms:
            heapq.heappop(self._queue)
        return self._queue[0] if self._queue else None

    def take_rested(self, now_ms: int) -> list[int]:
        """Take out the addresses that have rested by `now_ms`."""
        rested: list[int] = []
        while (first := self.first()) is not None and first.ready_ms <= now_ms:
            heapq.heappop(self._queue)
            del self._ready_ms[first.value]
            rested.append(first.value)
        return rested

    @classmethod
    def of(cls, resting: Iterable[tuple[int, int]]) -> Cooling:
        """The addresses that rest: until when, and which."""
        cooling = cls()
        for ready_ms, value in resting:
            cooling.add(value, ready_ms)
        return cooling

    def all(self) -> list[Resting]:
        """Everything that rests, the longest idle first."""
        return sorted(Resting(at, value) for value, at in self._ready_ms.items())

    def until(self, now_ms: int) -> list[Resting]:
        """What has rested by `now_ms`, the longest idle first; it stays here."""
        found = [Resting(at, value) for value, at in self._ready_ms.items() if at <= now_ms]
        return sorted(found)

    def within(self, ranges: RangeSet) -> int:
        """How many resting addresses lie in `ranges`."""
        return sum(value in ranges for value in self._ready_ms) if ranges else 0
