"""Which addresses of a pool have been idle for how long: for the policies that ask (ADR 0022).

It is derived from the last tenure of each address, so it belongs to the address and not to what
the pool's policy was at the time; it is worked out when it is first asked for and carried on from
there. A replay, which asks nothing, does not pay for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from engine.addresses import Address, RangeSet, family_of, from_int
from engine.facts import Pool
from projections.free_set import FreeSet
from projections.leases import Leases
from projections.ordered import Ordered, numbers_of, page_of
from projections.pages import PageSink, PageSource
from projections.pools import Pools

V = TypeVar("V")

_TABLE = "idle"
_PARTS = "idle_part"


class Idle:
    """The addresses of one pool: never held; or held once and not now, by when that ended."""

    def __init__(self, pool: Pool, untouched: FreeSet, order: Ordered) -> None:
        self.effective = pool.effective
        self.order = order
        self._untouched = untouched  # in it, what was ever held counts as taken
        self._laid_out_for = untouched.open

    def take(self, value: int, ended_at_ms: int | None) -> None:
        """The address is held, after a tenure that ended so, or for the first time."""
        if ended_at_ms is None:
            self._untouched.take(value)
        else:
            self.order.remove((ended_at_ms, value))

    def give_back(self, value: int, ended_at_ms: int) -> None:
        """Nobody holds the address since then."""
        self.order.add((ended_at_ms, value))

    def walk(self, free: FreeSet) -> Iterator[int]:
        """What is free, the never held first, then the longest idle."""
        if self._laid_out_for is not free.open:
            self._untouched.reshape(self.effective, self.effective - free.open)
            self._laid_out_for = free.open
        value = self._untouched.lowest()
        while value is not None:
            found = free.lowest(value)
            if found == value:
                yield value
                value = self._untouched.lowest(value + 1)
            else:  # it is in a block that is leased: go on where something is free
                value = None if found is None else self._untouched.lowest(found)
        if not free.counts.free:
            return  # all of it is held, rests, or is closed
        for _, value in self.order:
            if free.is_free(value):
                yield value

    def keep(self, sink: PageSink, pool_id: int) -> None:
        """Write it, or what has changed of it."""
        told = self.order.keep(sink, _PARTS, pool_id)
        sink.put(_TABLE, pool_id, (self._untouched.chunks(), told))

    @classmethod
    def of(cls, pool: Pool, pools: Pools, leases: Leases) -> Idle:
        """What follows from the tenures of a pool's addresses, those that last and the last ones.

        An address that was leased in a block only counts as never held: nobody held just it.
        """
        untouched = _free_set(pool, pools.free(pool.pool_id))
        for value, _ in _within(leases.single, pool.effective):
            untouched.take(value)
        pairs = [(last[0], value) for value, last in _within(leases.idle, pool.effective)]
        for _, value in pairs:
            untouched.take(value)
        return cls(pool, untouched, Ordered(pairs))

    @classmethod
    def kept(cls, source: PageSource, pool: Pool, pools: Pools) -> Idle:
        """Show what `keep` wrote."""
        chunks, told = source.read(_TABLE, pool.pool_id)
        untouched = _free_set(pool, pools.free(pool.pool_id))
        untouched.take_chunks(chunks)
        return cls(pool, untouched, Ordered.kept(source, _PARTS, pool.pool_id, told))


def _free_set(pool: Pool, free: FreeSet) -> FreeSet:
    closed = pool.effective - free.open
    return FreeSet(pool.spec.subnet.first, pool.spec.family, pool.effective, closed)


def _within(table: Mapping[Address, V], ranges: RangeSet) -> Iterator[tuple[int, V]]:
    """What a table says of the addresses in `ranges`, by a walk along the shorter of the two."""
    if ranges.size <= len(table):
        for first, last in ranges.ranges:
            for value in range(first, last + 1):
                found = table.get(from_int(value, ranges.family))
                if found is not None:
                    yield value, found
        return
    for address, found in table.items():
        if family_of(address) == ranges.family and int.from_bytes(address) in ranges:
            yield int.from_bytes(address), found


class Idles:
    """The idle addresses of the pools whose policy asks for them."""

    def __init__(self, pools: Pools, leases: Leases) -> None:
        self._pools = pools
        self._leases = leases
        self._by_pool: dict[int, Idle | None] = {}  # None: as it was kept, and not looked at
        self._source: PageSource | None = None
        self._left: dict[int, tuple[int, ...]] = {}  # by pool: the parts of what was forgotten

    def walk(self, pool_id: int) -> Iterator[int]:
        """The free addresses of a pool, the never held first, then the longest idle."""
        return self._of(pool_id).walk(self._pools.free(pool_id))

    def walk_once(self, pool_id: int) -> Iterator[int]:
        """As `walk`, worked out for this one time."""
        pool = self._pool(pool_id)
        return Idle.of(pool, self._pools, self._leases).walk(self._pools.free(pool_id))

    def _pool(self, pool_id: int) -> Pool:
        pool = self._pools.of_id(pool_id)
        assert pool is not None, "who asks knows the pool"
        return pool

    def _of(self, pool_id: int) -> Idle:
        pool = self._pool(pool_id)
        idle = self._by_pool.get(pool_id)
        if idle is None:
            if pool_id in self._by_pool:
                assert self._source is not None, "it was kept"
                idle = Idle.kept(self._source, pool, self._pools)
            else:
                idle = Idle.of(pool, self._pools, self._leases)
            self._by_pool[pool_id] = idle
        return idle

    def grant(self, event: tuple[Any, ...]) -> None:
        """Fold a grant, before the lease is: the members of a `LeaseGranted`."""
        pool_id, address, prefix_length, *_ = event
        if pool_id in self._by_pool and prefix_length == len(address) * 8:
            last = self._leases.idle.get(address)
            self._of(pool_id).take(int.from_bytes(address), None if last is None else last[0])

    def end(self, event: tuple[Any, ...], ended_at_ms: int) -> None:
        """Fold the end of a lease, in effect at `ended_at_ms`: the members of a `LeaseEnded`."""
        _, pool_id, address, prefix_length, *_ = event
        if pool_id in self._by_pool and prefix_length == len(address) * 8:
            self._of(pool_id).give_back(int.from_bytes(address), ended_at_ms)

    def define(self, pool: Pool, *, asked_for: bool) -> None:
        """A pool is defined so now: what is known of other addresses is of no use."""
        idle = self._by_pool.get(pool.pool_id)
        if not asked_for or idle is None or idle.effective != pool.effective:
            self.forget(pool.pool_id)

    def forget(self, pool_id: int) -> None:
        """Work it out anew when somebody asks."""
        if pool_id not in self._by_pool:
            return
        idle = self._by_pool.pop(pool_id)
        if idle is not None:
            self._left[pool_id] = self._left.get(pool_id, ()) + idle.order.numbers
        elif self._source is not None:
            _, told = self._source.read(_TABLE, pool_id)
            self._left[pool_id] = numbers_of(told)

    def keep(self, sink: PageSink, asked_for: Iterable[Pool]) -> tuple[int, ...]:
        """Write what pools ask for; return which ones."""
        for pool_id, numbers in self._left.items():
            sink.drop(_TABLE, pool_id)
            for number in numbers:
                sink.drop(_PARTS, page_of(pool_id, number))
        self._left.clear()
        kept = []
        for pool in asked_for:
            kept.append(pool.pool_id)
            if self._by_pool.get(pool.pool_id, pool) is not None:  # else it is as it was kept
                self._of(pool.pool_id).keep(sink, pool.pool_id)
        return tuple(kept)

    def read_all(self) -> None:
        """Hold everything in memory."""
        for pool_id in self._by_pool:
            self._of(pool_id).order.read_all()
        self._source = None

    def show(self, source: PageSource, kept: Iterable[int]) -> None:
        """Show what `keep` wrote of these pools."""
        self._source = source
        self._by_pool = dict.fromkeys(kept)
