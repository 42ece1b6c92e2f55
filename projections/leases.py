"""Who holds what: the active leases, by id, by address and by owner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pyroaring import BitMap64

from engine.addresses import Address
from engine.entry import Record
from engine.errors import ContradictoryEvent
from engine.events import LeaseEnded, LeaseGranted
from engine.facts import Lease

SCHEMA_VERSION = 1


def granted_lease(record: Record, event: LeaseGranted) -> Lease:
    """The lease that a grant made, as it was made."""
    sealed = record.sealed
    return Lease(
        record.position,
        event.pool_id,
        Address(event.address),
        event.prefix_length,
        sealed.owner or "",
        event.interface,
        sealed.uid,
        sealed.labels,
        event.cluster,
        record.ms,
        event.ttl_s,
        record.position,
    )


class Leases:
    """The active leases, and the ids of those that have ended."""

    def __init__(self) -> None:
        self._by_id: dict[int, Lease] = {}
        self._by_address: dict[Address, int] = {}
        # Most owners hold one lease; a tuple is made only for those that hold more.
        self._by_owner: dict[str, int | tuple[int, ...]] = {}
        self._in_pool: dict[int, int] = {}
        self._ended = BitMap64()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Lease]:
        """All active leases, by id."""
        return iter(self._by_id.values())

    def get(self, lease_id: int) -> Lease | None:
        """The active lease with that id."""
        return self._by_id.get(lease_id)

    def has_ended(self, lease_id: int) -> bool:
        """Whether a lease of that id is no more."""
        return lease_id in self._ended

    def at(self, address: Address) -> Lease | None:
        """The active lease that holds an address."""
        lease_id = self._by_address.get(address)
        return None if lease_id is None else self._by_id[lease_id]

    def of(self, owner: str, interface: str | None) -> Sequence[Lease]:
        """The active leases of an owner, by id."""
        found = self._by_owner.get(owner, ())
        ids = (found,) if isinstance(found, int) else found
        leases = [self._by_id[lease_id] for lease_id in ids]
        return [held for held in leases if interface is None or held.interface == interface]

    def in_pool(self, pool_id: int) -> int:
        """How many active leases a pool has."""
        return self._in_pool.get(pool_id, 0)

    def within(self, pool_id: int, addresses: Iterable[Address]) -> Iterator[Lease]:
        """The active leases of a pool that hold one of `addresses`."""
        for address in addresses:
            lease = self.at(address)
            if lease is not None and lease.pool_id == pool_id:
                yield lease

    def grant(self, record: Record, event: LeaseGranted) -> Lease:
        """Fold a grant."""
        lease = granted_lease(record, event)
        if lease.address in self._by_address:
            raise ContradictoryEvent(f"{lease.text} is leased twice", "", record.position)
        self._by_id[lease.lease_id] = lease
        self._by_address[lease.address] = lease.lease_id
        present = self._by_owner.get(lease.owner)
        if present is None:
            self._by_owner[lease.owner] = lease.lease_id
        elif isinstance(present, int):
            self._by_owner[lease.owner] = (present, lease.lease_id)
        else:
            self._by_owner[lease.owner] = (*present, lease.lease_id)
        self._in_pool[lease.pool_id] = self._in_pool.get(lease.pool_id, 0) + 1
        return lease

    def end(self, event: LeaseEnded) -> Lease:
        """Fold an end; the lease that it ended is returned."""
        lease = self._by_id.pop(event.lease)
        if (lease.address, lease.pool_id) != (event.address, event.pool_id):
            raise ContradictoryEvent(f"lease {event.lease} is of another address or pool")
        del self._by_address[lease.address]
        left = tuple(i for i in self._owner_ids(lease.owner) if i != event.lease)
        if left:
            self._by_owner[lease.owner] = left if len(left) > 1 else left[0]
        else:
            del self._by_owner[lease.owner]
        remaining = self._in_pool[lease.pool_id] - 1
        if remaining:
            self._in_pool[lease.pool_id] = remaining
        else:
            del self._in_pool[lease.pool_id]
        self._ended.add(event.lease)
        return lease

    def _owner_ids(self, owner: str) -> tuple[int, ...]:
        found = self._by_owner[owner]
        return (found,) if isinstance(found, int) else found
