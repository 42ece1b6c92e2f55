"""The pools of a space, each with the set of what it may still give out."""

from __future__ import annotations

from collections.abc import Iterator

from engine.addresses import BITS, RangeSet, family_of, to_int
from engine.entry import Record
from engine.errors import ContradictoryEvent
from engine.events import PoolCreated, PoolDeleted, PoolUpdated
from engine.facts import Counts, Lease, Pool
from engine.model import PoolSpec
from projections.free_set import FreeSet
from projections.reservations import Reservations
from projections.unpack import unpack_pool

SCHEMA_VERSION = 1


class _Entry:
    """A pool with its free set, and which state of the reservations that was made for."""

    __slots__ = ("free", "pool", "seen")

    def __init__(self, pool: Pool, free: FreeSet, seen: int) -> None:
        self.pool = pool
        self.free = free
        self.seen = seen


class Pools:
    """All pools that have not gone, by name and by id."""

    def __init__(self, reservations: Reservations) -> None:
        self._reservations = reservations
        self._by_name: dict[str, _Entry] = {}
        self._by_id: dict[int, _Entry] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Pool]:
        """All pools, by name."""
        return iter([self._by_name[name].pool for name in sorted(self._by_name)])

    def get(self, name: str) -> Pool | None:
        """The pool of that name."""
        entry = self._by_name.get(name)
        return None if entry is None else entry.pool

    def of_id(self, pool_id: int) -> Pool | None:
        """The pool with that id."""
        entry = self._by_id.get(pool_id)
        return None if entry is None else entry.pool

    def free(self, pool_id: int) -> FreeSet:
        """The free set of a pool, brought up to date with the reservations."""
        entry = self._by_id[pool_id]
        family = entry.pool.spec.family
        if entry.seen != self._reservations.changes[family]:
            entry.free.reshape(entry.pool.effective, self._reservations.closed(family))
            entry.seen = self._reservations.changes[family]
        return entry.free

    def counts(self, pool_id: int) -> Counts:
        """The buckets of a pool."""
        counts = self.free(pool_id).counts
        return Counts(counts.total, counts.taken, 0, 0, counts.reserved, counts.free)

    def create(self, record: Record, event: PoolCreated) -> None:
        """Fold a creation: the position is the pool's id."""
        if event.name in self._by_name:
            raise ContradictoryEvent(f"pool {event.name} is created twice")
        spec = _checked(event.name, unpack_pool(event, record.sealed.labels))
        pool = Pool(record.position, event.name, spec, spec.effective())
        closed = self._reservations.closed(spec.family)
        free = FreeSet(spec.subnet.first, spec.family, pool.effective, closed)
        entry = _Entry(pool, free, self._reservations.changes[spec.family])
        self._by_name[pool.name] = self._by_id[pool.pool_id] = entry

    def update(self, record: Record, event: PoolUpdated) -> None:
        """Fold a change: the whole new definition."""
        entry = self._by_id[event.pool_id]
        spec = _checked(event.pool.name, unpack_pool(event.pool, record.sealed.labels))
        old = entry.pool
        if (event.pool.name, spec.subnet) != (old.name, old.spec.subnet) or old.terminating:
            raise ContradictoryEvent(f"pool {old.name} cannot be changed so")
        entry.pool = old._replace(spec=spec, effective=spec.effective())
        entry.free.reshape(entry.pool.effective, self._reservations.closed(spec.family))
        entry.seen = self._reservations.changes[spec.family]

    def delete(self, event: PoolDeleted, leases: int) -> None:
        """Fold a deletion: terminating while it has leases, else gone."""
        entry = self._by_id[event.pool_id]
        if entry.pool.name != event.name:
            raise ContradictoryEvent(f"pool {event.pool_id} is not {event.name}")
        if entry.pool.terminating:
            raise ContradictoryEvent(f"pool {event.name} is deleted twice")
        entry.pool = entry.pool._replace(terminating=True)
        self._forget_if_gone(entry, leases)

    def take(self, lease: Lease) -> None:
        """Fold a grant."""
        entry = self._by_id[lease.pool_id]
        pool, value = entry.pool, to_int(lease.address)
        # The same number is an address in either family, so the family is asked first.
        if family_of(lease.address) != pool.spec.family or value not in pool.effective:
            raise ContradictoryEvent(f"{lease.text} is not of pool {pool.name}")
        if lease.prefix_length != BITS[pool.spec.family]:
            raise ContradictoryEvent(f"{lease.text} is a block; format level 1 grants none")
        entry.free.take(value)

    def give_back(self, lease: Lease, leases_left: int) -> None:
        """Fold the end of a lease; a terminating pool goes with its last one."""
        entry = self._by_id[lease.pool_id]
        entry.free.give_back(to_int(lease.address))
        self._forget_if_gone(entry, leases_left)

    def _forget_if_gone(self, entry: _Entry, leases: int) -> None:
        if entry.pool.terminating and leases == 0:
            del self._by_name[entry.pool.name], self._by_id[entry.pool.pool_id]


def _checked(name: str, spec: PoolSpec) -> PoolSpec:
    """The definition, if its addresses are its subnet's: a free set counts from the first one."""
    subnet = RangeSet(spec.family, [(spec.subnet.first, spec.subnet.last)])
    if (spec.ips | spec.exclude_ips) - subnet:
        raise ContradictoryEvent(f"pool {name} has addresses outside {spec.subnet}")
    return spec
