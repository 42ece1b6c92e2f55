"""The pools of a space, each with the set of what it may still give out."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

from engine.addresses import Address, Family, RangeSet, family_of, format_address
from engine.decide_config import pool_event
from engine.entry import Record
from engine.errors import ContradictoryEvent
from engine.events import PoolCreated, PoolDeleted, PoolUpdated
from engine.facts import Counts, Pool
from engine.model import PoolSpec
from projections.block_set import BlockSet
from projections.cooling import Cooling, Resting
from projections.pages import PageSink, PageSource
from projections.pool_entry import PoolEntry
from projections.quarantines import Quarantines
from projections.reservations import Reservations
from projections.unpack import unpack_pool

SCHEMA_VERSION = 2


class Pools:
    """All pools that have not gone, by name and by id."""

    def __init__(self, reservations: Reservations, quarantines: Quarantines) -> None:
        self._reservations = reservations
        self._quarantines = quarantines
        self._resting: set[int] = set()  # the pools in which anything rests
        # Rest belongs to the address and not to the pool: what rests outside of every pool, with
        # its family, goes to the pool that takes it in.
        self._homeless: dict[tuple[Family, int], Resting] = {}
        self._by_name: dict[str, PoolEntry] = {}
        self._by_id: dict[int, PoolEntry] = {}

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

    def free(self, pool_id: int) -> BlockSet:
        """The free set of a pool, brought up to date with reservations and quarantines."""
        entry = self._by_id[pool_id]
        family = entry.pool.spec.family
        if entry.seen != self._changes(family):
            self._lay_out(entry)
        return entry.free

    def _changes(self, family: Family) -> tuple[int, int]:
        return self._reservations.changes[family], self._quarantines.changes[family]

    def _closed(self, family: Family) -> RangeSet:
        """What no pool gives out: reserved or quarantined."""
        quarantined = self._quarantines.closed(family)
        reserved = self._reservations.closed(family)
        return reserved | quarantined if quarantined else reserved

    def _lay_out(self, entry: PoolEntry) -> None:
        family = entry.pool.spec.family
        entry.free.reshape(entry.pool.effective, self._closed(family))
        entry.seen = self._changes(family)

    def counts(self, pool_id: int) -> Counts:
        """The buckets of a pool: each address is in the first that applies."""
        counts = self.free(pool_id).counts
        entry = self._by_id[pool_id]
        cooling = entry.cooling.size
        aside = entry.pool.effective & self._quarantines.closed(entry.pool.spec.family)
        aside_taken = entry.free.taken_within(aside)
        aside_cooling = entry.cooling.within(aside)
        return Counts(
            total=counts.total,
            leased=counts.taken - cooling,
            quarantined=aside.size - (aside_taken - aside_cooling),
            cooling=cooling - aside_cooling,
            reserved=counts.reserved - (aside.size - aside_taken),
            free=counts.free,
        )

    def resting(self, pool_id: int, value: int) -> int | None:
        """Until when an address rests, or None if it does not."""
        resting = self._by_id[pool_id].cooling.at(value)
        return None if resting is None else resting.ready_ms

    def resting_block(self, pool_id: int, value: int) -> Resting | None:
        """What rests at an address: that, or the block that it lies in."""
        return self._by_id[pool_id].cooling.at(value)

    def rested(self, pool_id: int, now_ms: int) -> Iterator[tuple[int, int]]:
        """What has rested by `now_ms` and may be given out, longest idle first, with its time."""
        for low, high, ready_ms in self.rested_ranges(pool_id, now_ms):
            for value in range(low, high + 1):
                yield value, ready_ms

    def rested_ranges(self, pool_id: int, now_ms: int) -> Iterator[tuple[int, int, int]]:
        """As `rested`, in ranges: an address is one, of a block there may be several."""
        entry = self._by_id[pool_id]
        opened = entry.pool.effective - self._closed(entry.pool.spec.family)
        for resting in entry.cooling.until(now_ms):
            for part in resting.split(opened)[0]:
                yield part.value, part.last, part.ready_ms

    def free_blocks(self, pool_id: int, prefix_length: int) -> Iterator[tuple[int, int]]:
        """The maximal free blocks of at least a size, by their prefix lengths: best fit first."""
        bits = self._by_id[pool_id].bits
        for first, order in self.free(pool_id).blocks(bits - prefix_length):
            yield first, bits - order

    def free_lengths(self, pool_id: int) -> dict[int, int]:
        """How many maximal free blocks there are, by prefix length; the smallest blocks first."""
        bits = self._by_id[pool_id].bits
        return {bits - order: n for order, n in self.free(pool_id).histogram().items()}

    def advance(self, now_ms: int) -> None:
        """Return what has rested by `now_ms` to the free ones."""
        if not self._resting and not self._homeless:
            return
        for pool_id in list(self._resting):
            entry = self._by_id[pool_id]
            if now_ms >= entry.ready_ms:
                entry.take_rested(now_ms)
                if not entry.cooling:
                    self._resting.discard(pool_id)
        for key in [key for key, each in self._homeless.items() if each.ready_ms <= now_ms]:
            del self._homeless[key]

    def _settle(self, entry: PoolEntry) -> None:
        """After the pool's addresses changed: what rests in it is what rests of them."""
        pool = entry.pool
        family = pool.spec.family
        for resting in entry.cooling.all():
            here, gone = resting.split(pool.effective)
            if gone:
                entry.cooling.remove(resting)
                for part in here:
                    entry.rest(part)
                for part in gone:
                    entry.give_back(part.value, part.order)
                    self._homeless[family, part.value] = part
        for key in [key for key in self._homeless if key[0] == family]:
            here, left = self._homeless.pop(key).split(pool.effective)
            for part in left:
                self._homeless[family, part.value] = part
            for part in here:
                entry.take(part.value, part.order)
                entry.rest(part)
        if entry.cooling:
            self._resting.add(pool.pool_id)

    def create(self, record: Record, event: PoolCreated) -> None:
        """Fold a creation: the position is the pool's id."""
        if event.name in self._by_name:
            raise ContradictoryEvent(f"pool {event.name} is created twice")
        spec = _checked(event.name, unpack_pool(event, record.sealed.labels))
        pool = Pool(record.position, event.name, spec, spec.effective())
        closed = self._closed(spec.family)
        free = BlockSet(spec.subnet.first, spec.family, pool.effective, closed)
        entry = PoolEntry(pool, free, self._changes(spec.family))
        self._by_name[pool.name] = self._by_id[pool.pool_id] = entry
        self._settle(entry)

    def update(self, record: Record, event: PoolUpdated) -> None:
        """Fold a change: the whole new definition."""
        entry = self._by_id[event.pool_id]
        spec = _checked(event.pool.name, unpack_pool(event.pool, record.sealed.labels))
        old = entry.pool
        if (event.pool.name, spec.subnet) != (old.name, old.spec.subnet) or old.terminating:
            raise ContradictoryEvent(f"pool {old.name} cannot be changed so")
        entry.pool = old._replace(spec=spec, effective=spec.effective())
        self._lay_out(entry)
        self._settle(entry)

    def delete(self, event: PoolDeleted, leases: int) -> None:
        """Fold a deletion: terminating while it has leases, else gone."""
        entry = self._by_id[event.pool_id]
        if entry.pool.name != event.name:
            raise ContradictoryEvent(f"pool {event.pool_id} is not {event.name}")
        if entry.pool.terminating:
            raise ContradictoryEvent(f"pool {event.name} is deleted twice")
        entry.pool = entry.pool._replace(terminating=True)
        self._forget_if_gone(entry, leases)

    def take(self, event: tuple[Any, ...]) -> None:
        """Fold a grant: the members of a `LeaseGranted`.

        Its last holder, whose lease the grant takes over from, need not wait for it to rest.
        """
        pool_id, address, prefix_length, _, _, _, supersedes, *_ = event
        entry = self._by_id[pool_id]
        value = int.from_bytes(address)
        if (
            supersedes is None
            and prefix_length == entry.bits == 8 * len(address)
            and pool_id not in self._resting
            and entry.seen == self._changes(entry.pool.spec.subnet.family)
            and entry.free.take_open(value)
        ):
            return  # it is the pool's, and neither reserved nor quarantined
        self._take_with_care(entry, Address(address), prefix_length, supersedes)

    def _take_with_care(
        self, entry: PoolEntry, address: Address, prefix_length: int, supersedes: int | None
    ) -> None:
        """Take what may not be free: a reservation's owner gets its own address, for one."""
        pool, value = entry.pool, int.from_bytes(address)
        order = entry.bits - prefix_length
        text = format_address(address) + (f"/{prefix_length}" if order else "")
        # The same number is an address in either family, so the family is asked first.
        if family_of(address) != pool.spec.family:
            raise ContradictoryEvent(f"{text} is not of pool {pool.name}")
        wanted = RangeSet(pool.spec.family, [(value, value + (1 << order) - 1)])
        if not pool.effective.contains_set(wanted):
            raise ContradictoryEvent(f"{text} is not of pool {pool.name}")
        resting = entry.cooling.at(value)
        may_rest = resting is not None and (resting.value, resting.order) == (value, order)
        if resting is not None and not (may_rest and resting.lease_id == supersedes):
            raise ContradictoryEvent(f"{text} is granted while it rests")
        if wanted.overlaps(self._quarantines.closed(pool.spec.family)):
            raise ContradictoryEvent(f"{text} is granted while it is quarantined")
        if resting is not None:
            entry.cooling.remove(resting)  # and it is still marked as taken
        else:
            entry.take(value, order)

    def give_back(
        self, event: tuple[Any, ...], leases_left: int, ended_at_ms: int, now_ms: int
    ) -> None:
        """Fold the end of a lease, in effect at `ended_at_ms`: its address rests, or is free.

        `event` has the members of a `LeaseEnded`. A terminating pool goes with its last lease.
        """
        lease_id, pool_id, address, prefix_length, *_ = event
        entry = self._by_id[pool_id]
        value, order = int.from_bytes(address), entry.bits - prefix_length
        ready_ms = ended_at_ms + entry.pool.spec.cooldown_s * 1_000
        if ready_ms > now_ms:
            entry.rest(Resting(ready_ms, value, lease_id, order))  # and stays taken meanwhile
            self._resting.add(pool_id)
        elif order:
            entry.free.give_back_block(value, order)
        else:
            entry.free.give_back(value)
        if entry.pool.terminating:
            self._forget_if_gone(entry, leases_left)

    def _forget_if_gone(self, entry: PoolEntry, leases: int) -> None:
        if entry.pool.terminating and leases == 0:
            del self._by_name[entry.pool.name], self._by_id[entry.pool.pool_id]
            self._resting.discard(entry.pool.pool_id)
            for resting in entry.cooling.all():
                self._homeless[entry.pool.spec.family, resting.value] = resting

    # --- being kept in pages ---

    def keep(self, sink: PageSink) -> dict[str, Any]:
        """Write the addresses of each pool; return its definition, and what is small."""
        rows = []
        for pool_id, entry in self._by_id.items():
            pool = entry.pool
            if not entry.asleep:
                free = self.free(pool_id)  # laid out for what is reserved now
                resting = tuple(each.packed() for each in entry.cooling.all())
                sink.put("pool", pool_id, (free.kept(), resting))
            ready_ms = None if entry.ready_ms == inf else entry.ready_ms
            event = tuple(pool_event(pool.name, pool.spec))
            rows.append((pool_id, pool.terminating, ready_ms, event, pool.spec.labels))
        return {
            "pools": tuple(rows),
            "resting": tuple(self._resting),
            "homeless": tuple(
                (family, *each.packed()) for (family, _), each in self._homeless.items()
            ),
        }

    def read_all(self) -> None:
        """Hold everything in memory."""
        for pool_id in self._by_id:
            self.free(pool_id)

    @classmethod
    def kept(
        cls,
        source: PageSource,
        told: dict[str, Any],
        reservations: Reservations,
        quarantines: Quarantines,
    ) -> Pools:
        """Show the pools that `keep` wrote."""
        pools = cls(reservations, quarantines)

        def wake(pool: Pool) -> tuple[BlockSet, Cooling]:
            taken, resting = source.read("pool", pool.pool_id)
            spec = pool.spec
            closed = pools._closed(spec.family)
            subnet_first = spec.subnet.first
            free = BlockSet(subnet_first, spec.family, pool.effective, closed)
            free.take_kept(taken)
            return free, Cooling.of(Resting.unpacked(*each) for each in resting)

        for pool_id, terminating, ready_ms, fields, labels in told["pools"]:
            event = PoolCreated(*fields)
            spec = unpack_pool(event, labels)
            pool = Pool(pool_id, event.name, spec, spec.effective(), terminating)
            entry = PoolEntry(pool, None, pools._changes(spec.family), wake)
            entry.ready_ms = inf if ready_ms is None else ready_ms
            pools._by_name[pool.name] = pools._by_id[pool_id] = entry
        pools._resting = set(told["resting"])
        for family, *packed in told["homeless"]:
            each = Resting.unpacked(*packed)
            pools._homeless[family, each.value] = each
        return pools


def _checked(name: str, spec: PoolSpec) -> PoolSpec:
    """The definition, if its addresses are its subnet's: a free set counts from the first one."""
    subnet = RangeSet(spec.family, [(spec.subnet.first, spec.subnet.last)])
    if (spec.ips | spec.exclude_ips) - subnet:
        raise ContradictoryEvent(f"pool {name} has addresses outside {spec.subnet}")
    return spec
