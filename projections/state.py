"""The state of a space: the fold of all its events, and what decisions are made on.

One small handler for each type of event, in one table. `LedgerState` satisfies `engine.Facts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from engine import events as ev
from engine.addresses import Address, Family, RangeSet, from_int
from engine.entry import Record
from engine.errors import ContradictoryEvent, IntegrityError
from engine.facts import Counts, Lease, Pool, Reservation
from engine.stream import RESTORE_HINT
from projections.commands import CommandWindow
from projections.leases import Leases
from projections.pools import Pools
from projections.reservations import Reservations

SCHEMA_VERSION = 1


class LedgerState:
    """Everything that is, as of one position."""

    def __init__(self) -> None:
        self.space: ev.SpaceCreated | None = None
        self.generation = 0
        self.position = 0
        self.ms = 0
        self.commands = CommandWindow()
        self.reservation_table = Reservations()
        self.pool_table = Pools(self.reservation_table)
        self.lease_table = Leases()

    def apply(self, record: Record) -> None:
        """Fold one record.

        Raises:
            ContradictoryEvent: it says what cannot be, after what was folded before.
        """
        try:
            _HANDLERS[type(record.event)](self, record, record.event)
        except (KeyError, AssertionError, IntegrityError) as error:
            message = f"position {record.position} contradicts what is before it: {error}"
            raise ContradictoryEvent(message, RESTORE_HINT, record.position) from error
        self.commands.fold(record)
        self.position = record.position
        self.ms = record.ms

    def apply_all(self, records: Iterable[Record]) -> None:
        """Fold records in their order."""
        for record in records:
            self.apply(record)

    # --- what decisions ask (engine.Facts) ---

    def pool(self, name: str) -> Pool | None:
        """The pool of that name, also while it is terminating."""
        return self.pool_table.get(name)

    def pool_of(self, pool_id: int) -> Pool | None:
        """The pool with that id."""
        return self.pool_table.of_id(pool_id)

    def pools(self) -> Iterable[Pool]:
        """All pools, by name."""
        return self.pool_table

    def reservation(self, name: str) -> Reservation | None:
        """The reservation of that name."""
        return self.reservation_table.get(name)

    def reservations(self) -> Iterable[Reservation]:
        """All reservations, by name."""
        return self.reservation_table

    def reserved_by(self, address: Address) -> Sequence[Reservation]:
        """The reservations that cover an address, by name."""
        return self.reservation_table.covering(address)

    def reserved_for(self, owner: str, family: Family) -> RangeSet:
        """The addresses that reservations keep for this owner and nobody else."""
        return self.reservation_table.kept_for(owner, family)

    def lease(self, lease_id: int) -> Lease | None:
        """The active lease with that id."""
        return self.lease_table.get(lease_id)

    def leases(self) -> Iterable[Lease]:
        """All active leases, by id."""
        return self.lease_table

    def has_ended(self, lease_id: int) -> bool:
        """Whether a lease with that id was granted once and is no more."""
        return self.lease_table.has_ended(lease_id)

    def lease_at(self, address: Address) -> Lease | None:
        """The active lease that holds an address."""
        return self.lease_table.at(address)

    def leases_of(self, owner: str, interface: str | None = None) -> Sequence[Lease]:
        """The active leases of an owner, on one interface or on all, by lease id."""
        return self.lease_table.of(owner, interface)

    def leases_within(self, pool_id: int, ranges: RangeSet) -> Iterable[Lease]:
        """The active leases of a pool whose addresses lie in `ranges`, by address."""
        taken = RangeSet(ranges.family, self.pool_table.free(pool_id).canonical()) & ranges
        values = (value for first, last in taken for value in range(first, last + 1))
        return self.lease_table.within(pool_id, (from_int(v, ranges.family) for v in values))

    def counts(self, pool_id: int) -> Counts:
        """The buckets of a pool."""
        return self.pool_table.counts(pool_id)

    def is_free(self, pool_id: int, value: int) -> bool:
        """Whether an address of a pool is neither leased nor set aside."""
        return self.pool_table.free(pool_id).is_free(value)

    def lowest_free(self, pool_id: int, start: int | None = None) -> int | None:
        """The lowest free address of a pool that is not below `start`."""
        return self.pool_table.free(pool_id).lowest(start)

    def nth_free(self, pool_id: int, n: int) -> int | None:
        """The free address with exactly `n` free ones below it."""
        return self.pool_table.free(pool_id).nth(n)


def _space_created(state: LedgerState, _record: Record, event: ev.SpaceCreated) -> None:
    if state.space is not None:
        raise ContradictoryEvent(f"space {state.space.name} is created twice")
    state.space = event


def _history_restored(state: LedgerState, _record: Record, event: ev.HistoryRestored) -> None:
    state.generation = event.generation


def _pool_created(state: LedgerState, record: Record, event: ev.PoolCreated) -> None:
    state.pool_table.create(record, event)


def _pool_updated(state: LedgerState, record: Record, event: ev.PoolUpdated) -> None:
    state.pool_table.update(record, event)


def _pool_deleted(state: LedgerState, _record: Record, event: ev.PoolDeleted) -> None:
    state.pool_table.delete(event, state.lease_table.in_pool(event.pool_id))


def _reservation_created(state: LedgerState, record: Record, event: ev.ReservationCreated) -> None:
    state.reservation_table.create(record, event)


def _reservation_updated(state: LedgerState, record: Record, event: ev.ReservationUpdated) -> None:
    state.reservation_table.update(record, event)


def _reservation_deleted(state: LedgerState, _record: Record, event: ev.ReservationDeleted) -> None:
    state.reservation_table.delete(event)


def _lease_granted(state: LedgerState, record: Record, event: ev.LeaseGranted) -> None:
    state.pool_table.take(state.lease_table.grant(record, event))


def _lease_ended(state: LedgerState, _record: Record, event: ev.LeaseEnded) -> None:
    lease = state.lease_table.end(event)
    state.pool_table.give_back(lease, state.lease_table.in_pool(lease.pool_id))


def _passed_over(_state: LedgerState, _record: Record, _event: ev.Informational) -> None:
    """Informational events that this release does not know change nothing that is."""


# The table's key guarantees that each handler is given its own type of event.
_HANDLERS: Final[dict[type[Any], Callable[[LedgerState, Record, Any], None]]] = {
    ev.SpaceCreated: _space_created,
    ev.HistoryRestored: _history_restored,
    ev.PoolCreated: _pool_created,
    ev.PoolUpdated: _pool_updated,
    ev.PoolDeleted: _pool_deleted,
    ev.ReservationCreated: _reservation_created,
    ev.ReservationUpdated: _reservation_updated,
    ev.ReservationDeleted: _reservation_deleted,
    ev.LeaseGranted: _lease_granted,
    ev.LeaseEnded: _lease_ended,
    ev.Informational: _passed_over,
}
