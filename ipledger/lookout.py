"""How far a writer that is beaten to its addresses looks ahead for others (ADR 0008)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from engine.bulk import Row, granted_from
from engine.entry import Record
from projections.state import LedgerState

_FORGOTTEN: Final = 0.1  # of what was seen so long ago, nothing is left


class Lookout:
    """How far to skip ahead in each pool, from what others granted during our round trips.

    A writer near the server sees next to nothing between its calls. One that is far away would
    propose, lowest first, just what the near ones have taken by the time that it arrives.
    Only a writer whose addresses were taken skips; the lane in which it does so is its own, so
    that two that skip do not meet again.
    """

    def __init__(self, lane: float) -> None:
        """Skip about twice the estimate, spread by `lane` in [0, 1)."""
        self._factor = 2.0 + 2.0 * lane
        self._grants: dict[int, float] = {}
        self._beaten: dict[int, int] = {}

    def observe(self, foreign: Iterable[Record | Row], beaten: Iterable[int]) -> None:
        """Take in one round trip: what others wrote, and the pools in which we were beaten."""
        seen: dict[int, int] = {}
        for item in foreign:
            pool_id = granted_from(item)
            if pool_id is not None:
                seen[pool_id] = seen.get(pool_id, 0) + 1
        for pool_id in seen.keys() | self._grants.keys():
            before = self._grants.get(pool_id, 0.0)
            now = seen.get(pool_id, 0)
            # Rises at once, falls slowly: the next burst is as likely as the last one.
            estimate = now if now > before else before * 0.9 + now * 0.1
            self._grants[pool_id] = estimate
            if estimate < _FORGOTTEN:
                del self._grants[pool_id]
        for pool_id in list(self._beaten):
            self._beaten[pool_id] -= 1
            if self._beaten[pool_id] == 0:
                del self._beaten[pool_id]
        for pool_id in beaten:
            self._beaten[pool_id] = 64

    def skip_ahead(self, state: LedgerState) -> dict[int, int]:
        """Free addresses to pass over, by pool; none where the pool has no room for it."""
        skips = {}
        for pool_id in self._beaten:
            if state.pool_of(pool_id) is None:
                continue
            skip = int(self._grants.get(pool_id, 0.0) * self._factor)
            if skip and state.counts(pool_id).free > 4 * skip:
                skips[pool_id] = skip
        return skips
