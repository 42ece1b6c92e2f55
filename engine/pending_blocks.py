"""Which blocks a batch proposes, so that no part of one is proposed twice."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice

from engine.addresses import BITS
from engine.facts import Facts, Pool

# A position of the batch's journal, and what was proposed then: pool, first and last address.
Claim = tuple[int, int, int, int]


class PendingBlocks:
    """The blocks proposed so far in one batch, beside the single addresses that `singles` has."""

    def __init__(self, singles: AbstractSet[tuple[int, int]]) -> None:
        self._singles = singles
        self._spans: dict[int, list[tuple[int, int]]] = {}  # by pool, by address
        self._claims: list[Claim] = []
        # Where to go on for the next one of a pool and a length: a batch asks for many.
        self._positions: dict[tuple[int, int], Iterator[int]] = {}

    @property
    def claims(self) -> Sequence[Claim]:
        """What this batch proposes."""
        return self._claims

    def begin_behind(self, claims: Sequence[Claim]) -> None:
        """Take what another batch proposes, and that is not known to stand yet, as proposed."""
        for _, pool_id, first, last in claims:
            insort(self._spans.setdefault(pool_id, []), (first, last))

    def last_of(self, pool_id: int, value: int) -> int | None:
        """Where the pending block ends that an address lies in, or None if it lies in none."""
        spans = self._spans.get(pool_id)
        if not spans:
            return None
        at = bisect_left(spans, (value + 1, 0)) - 1
        return spans[at][1] if at >= 0 and spans[at][1] >= value else None

    def overlap(self, pool_id: int, first: int, last: int) -> int | None:
        """The last address of something pending that a block would overlap, or None."""
        spans = self._spans.get(pool_id)
        if spans:
            at = bisect_left(spans, (last + 1, 0)) - 1
            if at >= 0 and spans[at][1] >= first:
                return spans[at][1]
        if last - first < len(self._singles):
            for value in range(last, first - 1, -1):
                if (pool_id, value) in self._singles:
                    return value
            return None
        inside = (v for pool, v in self._singles if pool == pool_id and first <= v <= last)
        return max(inside, default=None)

    def claim(self, index: int, pool: Pool, first: int, last: int) -> None:
        """A block is proposed, at a position of the batch's journal."""
        insort(self._spans.setdefault(pool.pool_id, []), (first, last))
        self._claims.append((index, pool.pool_id, first, last))

    def rewind(self, mark: int) -> None:
        """Forget what was proposed since a position of the journal."""
        while self._claims and self._claims[-1][0] >= mark:
            _, pool_id, first, last = self._claims.pop()
            self._spans[pool_id].remove((first, last))
        self._positions.clear()  # they may have passed over what is to be had again

    def propose(self, facts: Facts, pool: Pool, prefix_length: int, skip: int) -> int | None:
        """Find the best free block of a length that overlaps nothing that is pending."""
        key = pool.pool_id, prefix_length
        positions = self._positions.get(key)
        if positions is None:
            fresh = self._free_positions(facts, pool, prefix_length)
            positions = self._positions[key] = islice(fresh, skip, None) if skip else fresh
        size = 1 << (BITS[pool.spec.family] - prefix_length)
        for first in positions:
            if self.overlap(pool.pool_id, first, first + size - 1) is None:
                return first
        # What was skipped is better than nothing.
        return next(self._free_positions(facts, pool, prefix_length), None)

    def _free_positions(self, facts: Facts, pool: Pool, prefix_length: int) -> Iterator[int]:
        """Where blocks of a length are free and not pending, the best fit first."""
        bits = BITS[pool.spec.family]
        size = 1 << (bits - prefix_length)
        for low, found_length in facts.free_blocks(pool.pool_id, prefix_length):
            first, end = low, low + (1 << (bits - found_length))
            while first < end:
                past = self.overlap(pool.pool_id, first, first + size - 1)
                if past is None:
                    yield first
                    first += size
                else:
                    first = (past // size + 1) * size
