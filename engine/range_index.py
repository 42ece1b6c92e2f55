"""Disjoint ranges of addresses, with what each belongs to, found by an address in them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from operator import itemgetter
from typing import Generic, TypeVar

from engine.addresses import Address, Family, family_of, to_int
from engine.facts import Pool

T = TypeVar("T")


class RangeIndex(Generic[T]):
    """Ranges of both families, none of which overlap."""

    def __init__(self, ranges: Iterable[tuple[Family, int, int, T]]) -> None:
        """Take ranges in any order: family, first and last address, and what has them."""
        rows: dict[Family, list[tuple[int, int, T]]] = {4: [], 6: []}
        for family, first, last, owner in ranges:
            rows[family].append((first, last, owner))
        self._rows = {family: sorted(found, key=itemgetter(0)) for family, found in rows.items()}
        self._firsts = {family: [row[0] for row in found] for family, found in self._rows.items()}

    def having(self, address: Address) -> T | None:
        """What has the address; None if no range has it."""
        family, value = family_of(address), to_int(address)
        at = bisect_right(self._firsts[family], value) - 1
        if at < 0:
            return None
        _, last, owner = self._rows[family][at]
        return owner if value <= last else None


class PoolFinder(RangeIndex[Pool]):
    """Which pool has an address: no address is in two."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        """Look among `pools`; one that is not made yet has the id 0."""
        super().__init__(
            (pool.spec.family, first, last, pool)
            for pool in pools for first, last in pool.effective.ranges
        )  # fmt: skip
