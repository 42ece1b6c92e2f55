"""The auditor's own books of blocks: who holds, who held last and what rests, all in ranges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from replay.audit.intervals import Intervals

if TYPE_CHECKING:
    from replay.audit.world import LastTenure, Lease


class BlockBooks:
    """The blocks of a world: each lease by its range."""

    def __init__(self) -> None:
        self.used = False  # nobody needs to ask while no block was ever granted
        self.held: dict[int, Intervals] = {4: Intervals(), 16: Intervals()}
        self._last: dict[int, Intervals] = {4: Intervals(), 16: Intervals()}
        self._tenures: dict[int, LastTenure] = {}  # by lease
        self._resting: dict[int, Intervals] = {4: Intervals(), 16: Intervals()}
        self._until_ms: dict[int, int] = {}  # by lease

    def holder(self, value: int, width: int) -> int | None:
        """The lease of the block that an address lies in, or None."""
        if not self.used:
            return None
        return self.held[width].at(value)

    def hold(self, lease: Lease) -> None:
        """A block is held; it overlaps no other that is."""
        self.used = True
        self.held[len(lease.address)].add((lease.range,), lease.lease_id)

    def let_go(self, lease: Lease) -> None:
        """A block is held no more."""
        self.held[len(lease.address)].remove((lease.range,), lease.lease_id)

    def last_tenure(self, value: int, width: int) -> LastTenure | None:
        """The last tenure of a block that an address was in."""
        if not self.used:
            return None
        lease_id = self._last[width].at(value)
        return None if lease_id is None else self._tenures[lease_id]

    def tenures_in(self, low: int, high: int, width: int) -> Iterator[LastTenure]:
        """The last tenures of blocks that reach into a range."""
        return (self._tenures[whose] for _, _, whose in self._last[width].within(low, high))

    def end(self, lease: Lease, tenure: LastTenure, until_ms: int | None) -> None:
        """A tenure is over, and the block may rest."""
        width, whole = len(lease.address), lease.range
        for low, high, whose in self._last[width].within(*whole):
            self._last[width].remove(((low, high),), whose)
        self._last[width].add((whole,), lease.lease_id)
        self._tenures[lease.lease_id] = tenure
        self.stir(*whole, width)
        if until_ms is not None:
            self._resting[width].add((whole,), lease.lease_id)
            self._until_ms[lease.lease_id] = until_ms

    def resting(self, low: int, high: int, width: int) -> list[tuple[int, int, int, int]]:
        """What rests of a range: first, last, until when, and after which lease."""
        if not self.used:
            return []
        return [
            (first, last, self._until_ms[whose], whose)
            for first, last, whose in self._resting[width].within(low, high)
        ]

    def stir(self, low: int, high: int, width: int) -> None:
        """Nothing of a range rests any more."""
        for first, last, whose in self._resting[width].within(low, high):
            self._resting[width].remove(((first, last),), whose)

    def all_resting(self) -> Iterator[tuple[int, int, int, int]]:
        """Everything that rests: first, last, until when, and of which family."""
        for width, intervals in self._resting.items():
            whole = (1 << (8 * width)) - 1
            for first, last, whose in intervals.within(0, whole):
                yield first, last, self._until_ms[whose], width
