"""Who held an address, from when to when: read from the events, in their order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from engine.addresses import Address
from engine.entry import Record
from engine.events import LeaseEnded, LeaseGranted, PoolCreated
from engine.facts import Lease
from engine.model import ENDINGS
from projections.leases import granted_lease


class Tenure(NamedTuple):
    """One lease of an address from its grant to its end; ``ended`` is None while it lasts."""

    lease: Lease
    pool: str
    granted: Record
    ended: Record | None

    @property
    def ended_by(self) -> str | None:
        """How it ended, or None while it lasts."""
        if self.ended is None:
            return None
        assert isinstance(self.ended.event, LeaseEnded), "only that ends a lease"
        return ENDINGS[self.ended.event.ended_by]

    def covers(self, at_ms: int) -> bool:
        """Whether the address was held at that time, by the stream's clock."""
        return self.granted.ms <= at_ms and (self.ended is None or at_ms < self.ended.ms)


def tenures_of(address: Address, records: Iterable[Record]) -> list[Tenure]:
    """All tenures of an address (blocks that contain it included), in order of their grant."""
    number = int.from_bytes(address)
    bits = len(address) * 8
    pools: dict[int, str] = {}
    found: dict[int, Tenure] = {}
    for record in records:
        event = record.event
        match event:
            case PoolCreated():
                pools[record.position] = event.name
            case LeaseGranted() if len(event.address) == len(address):
                host_bits = bits - event.prefix_length
                if number >> host_bits == int.from_bytes(event.address) >> host_bits:
                    lease = granted_lease(record, event)
                    pool = pools.get(event.pool_id, f"#{event.pool_id}")
                    found[record.position] = Tenure(lease, pool, record, None)
            case LeaseEnded() if event.lease in found:
                found[event.lease] = found[event.lease]._replace(ended=record)
            case _:
                pass
    return list(found.values())
