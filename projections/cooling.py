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
    """An address, the first millisecond at which somebody else may have it, and who had it."""

    ready_ms: int
    value: int
    lease_id: int


class Cooling:
    """The resting addresses of one pool, the longest idle first."""

    __slots__ = ("_queue", "_resting")

    def __init__(self) -> None:
        self._resting: dict[int, Resting] = {}
        # Entries of addresses that were taken out meanwhile are passed over when they come up.
        self._queue: list[Resting] = []

    def __len__(self) -> int:
        return len(self._resting)

    def __contains__(self, value: int) -> bool:
        return value in self._resting

    def ready_ms(self, value: int) -> int | None:
        """When an address has rested, or None if it does not rest."""
        resting = self._resting.get(value)
        return None if resting is None else resting.ready_ms

    def lease_id(self, value: int) -> int | None:
        """The lease after which an address rests, or None if it does not rest."""
        resting = self._resting.get(value)
        return None if resting is None else resting.lease_id

    def add(self, resting: Resting) -> None:
        """Let an address rest."""
        self._resting[resting.value] = resting
        heapq.heappush(self._queue, resting)

    def remove(self, value: int) -> None:
        """The address rests no more: it was granted, to its last owner or after its time."""
        del self._resting[value]

    def first(self) -> Resting | None:
        """The address that has rested longest."""
        while self._queue and self._resting.get(self._queue[0].value) != self._queue[0]:
            heapq.heappop(self._queue)
        return self._queue[0] if self._queue else None

    def take_rested(self, now_ms: int) -> list[int]:
        """Take out the addresses that have rested by `now_ms`."""
        rested: list[int] = []
        while (first := self.first()) is not None and first.ready_ms <= now_ms:
            heapq.heappop(self._queue)
            del self._resting[first.value]
            rested.append(first.value)
        return rested

    @classmethod
    def of(cls, resting: Iterable[Resting]) -> Cooling:
        """The addresses that rest."""
        cooling = cls()
        for each in resting:
            cooling.add(each)
        return cooling

    def all(self) -> list[Resting]:
        """Everything that rests, the longest idle first."""
        return sorted(self._resting.values())

    def until(self, now_ms: int) -> list[Resting]:
        """What has rested by `now_ms`, the longest idle first; it stays here."""
        return sorted(each for each in self._resting.values() if each.ready_ms <= now_ms)

    def within(self, ranges: RangeSet) -> int:
        """How many resting addresses lie in `ranges`."""
        return sum(value in ranges for value in self._resting) if ranges else 0
