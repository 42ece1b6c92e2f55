"""A pool as its table keeps it: with what may be given out of it, and what of it rests."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from engine.addresses import BITS
from engine.facts import Pool
from projections.block_set import BlockSet
from projections.cooling import Cooling, Resting


class PoolEntry:
    """A pool with its free set and its resting addresses.

    ``seen`` is the state of the reservations and quarantines that the free set was laid out for,
    ``ready_ms`` a time before which nothing in it has rested. A pool that was kept is `asleep`
    until one of its addresses is asked for.
    """

    __slots__ = ("_cooling", "_free", "_wake", "bits", "pool", "ready_ms", "seen")

    def __init__(
        self,
        pool: Pool,
        free: BlockSet | None,
        seen: tuple[int, int],
        wake: Callable[[Pool], tuple[BlockSet, Cooling]] | None = None,
    ) -> None:
        self.pool = pool
        self.bits = BITS[pool.spec.family]
        self.seen = seen
        self.ready_ms: float = 0
        self._free = free
        self._cooling = Cooling() if wake is None else None
        self._wake = wake

    @property
    def asleep(self) -> bool:
        """Whether its addresses are as they were kept, and were not looked at."""
        return self._free is None

    @property
    def free(self) -> BlockSet:
        """What may be given out."""
        if self._free is None:
            self._awake()
            assert self._free is not None, "it is awake"
        return self._free

    @property
    def cooling(self) -> Cooling:
        """What rests."""
        if self._cooling is None:
            self._awake()
            assert self._cooling is not None, "it is awake"
        return self._cooling

    def _awake(self) -> None:
        assert self._wake is not None, "a pool that was not kept never sleeps"
        self._free, self._cooling = self._wake(self.pool)

    def take(self, value: int, order: int) -> None:
        """Take an address, or a block of 2^order of them."""
        if order:
            self.free.take_block(value, order)
        else:
            self.free.take(value)

    def give_back(self, value: int, order: int) -> None:
        """Give back an address, or a block of 2^order of them."""
        if order:
            self.free.give_back_block(value, order)
        else:
            self.free.give_back(value)

    def rest(self, resting: Resting) -> None:
        """Let an address rest, or a block."""
        self.cooling.add(resting)
        self.ready_ms = min(self.ready_ms, resting.ready_ms)

    def take_rested(self, now_ms: int) -> None:
        """Return what has rested by `now_ms` to the free ones."""
        for resting in self.cooling.take_rested(now_ms):
            self.give_back(resting.value, resting.order)
        first = self.cooling.first()
        self.ready_ms = inf if first is None else first.ready_ms
