"""Released addresses that rest before somebody else may have them.

Derived from the release event and the pool's setting then; it ends with time and not with an
event, so it is never in a digest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple

from engine.addresses import RangeSet
from engine.ranges import aligned_blocks, size_between

SCHEMA_VERSION = 1


class Resting(NamedTuple):
    """An address, the first millisecond at which somebody else may have it, and who had it.

    With an order, it is the first of a block of 2^order addresses, which rests as a whole.
    """

    ready_ms: int
    value: int
    lease_id: int
    order: int = 0

    @property
    def last(self) -> int:
        """The last address of it."""
        return self.value + (1 << self.order) - 1

    def split(self, ranges: RangeSet) -> tuple[list[Resting], list[Resting]]:
        """What of it lies in some ranges, and what does not."""
        if not self.order:
            return ([self], []) if self.value in ranges else ([], [self])
        whole = RangeSet(ranges.family, [(self.value, self.last)])
        return self._parts(whole & ranges), self._parts(whole - ranges)

    def _parts(self, ranges: RangeSet) -> list[Resting]:
        return [
            self._replace(value=low, order=order)
            for first, last in ranges
            for low, order in aligned_blocks(first, last)
        ]

    def packed(self) -> tuple[int, bytes, int, int]:
        """As a page can hold it: msgpack's numbers end at 64 bits."""
        return self.ready_ms, self.value.to_bytes(16), self.lease_id, self.order

    @classmethod
    def unpacked(cls, ready_ms: int, value: bytes, lease_id: int, order: int) -> Resting:
        """What `packed` gave."""
        return cls(ready_ms, int.from_bytes(value), lease_id, order)


class Cooling:
    """The resting addresses of one pool, the longest idle first."""

    __slots__ = ("_orders", "_queue", "_resting", "size")

    def __init__(self) -> None:
        self.size = 0  # how many addresses rest
        self._resting: dict[int, Resting] = {}
        self._orders: dict[int, int] = {}  # how many blocks there are of an order
        # Entries of addresses that were taken out meanwhile are passed over when they come up.
        self._queue: list[Resting] = []

    def __bool__(self) -> bool:
        return bool(self._resting)

    def at(self, value: int) -> Resting | None:
        """The resting address, or the resting block that it lies in; None if it does not rest."""
        found = self._resting.get(value)
        if found is None and self._orders:
            for order in self._orders:
                found = self._resting.get(value >> order << order)
                if found is not None and found.order == order:
                    return found
            return None
        return found

    def add(self, resting: Resting) -> None:
        """Let an address rest, or a block."""
        self._resting[resting.value] = resting
        self.size += 1 << resting.order
        if resting.order:
            self._orders[resting.order] = self._orders.get(resting.order, 0) + 1
        heapq.heappush(self._queue, resting)

    def remove(self, resting: Resting) -> None:
        """It rests no more: it was granted, to its last owner or after its time."""
        del self._resting[resting.value]
        self.size -= 1 << resting.order
        if resting.order:
            self._orders[resting.order] -= 1
            if not self._orders[resting.order]:
                del self._orders[resting.order]

    def first(self) -> Resting | None:
        """The address that has rested longest."""
        while self._queue and self._resting.get(self._queue[0].value) != self._queue[0]:
            heapq.heappop(self._queue)
        return self._queue[0] if self._queue else None

    def take_rested(self, now_ms: int) -> list[Resting]:
        """Take out what has rested by `now_ms`."""
        rested: list[Resting] = []
        while (first := self.first()) is not None and first.ready_ms <= now_ms:
            heapq.heappop(self._queue)
            self.remove(first)
            rested.append(first)
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
        if not ranges:
            return 0
        parts = ranges.ranges
        return sum(size_between(parts, each.value, each.last) for each in self._resting.values())
