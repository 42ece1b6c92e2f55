"""The state of a space: the fold of all its events, and what decisions are made on.

One small handler for each type of event, in one table. `LedgerState` satisfies `engine.Facts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from engine import events as ev
from engine.addresses import Address, Family, RangeSet
from engine.bulk import ENDED, GRANTED, HEADER_MEMBERS, RENEWED, Row
from engine.entry import Record
from engine.errors import ContradictoryEvent, IntegrityError
from engine.facts import BLOCKS_LEVEL, Counts, Lease, Pool, Quarantine, Report, Reservation
from engine.stream import RESTORE_HINT
from projections.commands import CommandWindow
from projections.definitions import DEFINITIONS
from projections.leases import Leases
from projections.pages import PageSink, PageSource
from projections.pools import Pools
from projections.quarantines import Quarantines
from projections.reservations import Reservations

SCHEMA_VERSION = 3
_OVERDUE_MAX: Final = 512  # no decision needs more of one pool at once


class LedgerState:
    """Everything that is, as of one position."""

    def __init__(self) -> None:
        self.space: ev.SpaceCreated | None = None
        self.generation = 0
        self.position = 0
        self.ms = 0
        self.commands = CommandWindow()
        self.reservation_table = Reservations()
        self.quarantine_table = Quarantines()
        self.pool_table = Pools(self.reservation_table, self.quarantine_table)
        self.lease_table = Leases()

    def apply(self, record: Record) -> None:
        """Fold one record.

        Raises:
            ContradictoryEvent: it says what cannot be, after what was folded before.
        """
        self.pool_table.advance(record.ms)  # what has rested by now is free for this very event
        try:
            _HANDLERS[type(record.event)](self, record, record.event)
        except (KeyError, AssertionError, IntegrityError) as error:
            message = f"position {record.position} contradicts what is before it: {error}"
            raise ContradictoryEvent(message, RESTORE_HINT, record.position) from error
        position, ms, _, _, header, commit = record
        self.commands.fold(position, ms, header.command, header.step, commit)
        self.position = position
        self.ms = ms

    def apply_all(self, records: Iterable[Record]) -> None:
        """Fold records in their order."""
        for record in records:
            self.apply(record)

    def apply_rows(self, items: Iterable[Record | Row]) -> None:
        """Fold what `engine.bulk` reads, in its order; as `apply`."""
        for item in items:
            if isinstance(item, Record):
                self.apply(item)
                continue
            position, ms, fields, sealed, commit = item
            self.pool_table.advance(ms)
            try:
                _fold_row(self, position, ms, fields, sealed)
            except (KeyError, AssertionError, IntegrityError) as error:
                message = f"position {position} contradicts what is before it: {error}"
                raise ContradictoryEvent(message, RESTORE_HINT, position) from error
            self.commands.fold(position, ms, fields[2], fields[3], commit)
            self.position = position
            self.ms = ms

    # --- what decisions ask (engine.Facts) ---

    @property
    def level(self) -> int:
        """The format level of the space; that of this release while there is no space yet."""
        return ev.LEVEL if self.space is None else self.space.level

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

        def rests_to(value: int) -> int | None:
            resting = self.pool_table.resting_block(pool_id, value)
            return None if resting is None else resting.last

        return self.lease_table.within(pool_id, taken, rests_to)

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

    def taken_in(self, pool_id: int, first: int, last: int) -> int:
        """How many addresses of a range are leased or rest."""
        return self.pool_table.free(pool_id).taken_in(first, last)

    def free_blocks(self, pool_id: int, prefix_length: int) -> Iterator[tuple[int, int]]:
        """The maximal free blocks that have room for one of a length, the best fit first."""
        return self.pool_table.free_blocks(pool_id, prefix_length)

    def free_lengths(self, pool_id: int) -> dict[int, int]:
        """How many maximal free blocks of each prefix length a pool has."""
        return self.pool_table.free_lengths(pool_id)

    def rested_ranges(self, pool_id: int, now_ms: int) -> Iterable[tuple[int, int, int]]:
        """As `rested`, in ranges: first, last, and the time that they had."""
        return self.pool_table.rested_ranges(pool_id, now_ms)

    def keep(self, sink: PageSink) -> dict[str, Any]:
        """Write what is large in pages; return what is small, to be kept beside them."""
        return {
            "space": None if self.space is None else tuple(self.space),
            "generation": self.generation,
            "position": self.position,
            "ms": self.ms,
            "commands": self.commands.keep(sink),
            "reservations": self.reservation_table.keep(),
            "quarantines": self.quarantine_table.keep(),
            "pools": self.pool_table.keep(sink),
            "leases": self.lease_table.keep(sink),
        }

    @classmethod
    def kept(cls, source: PageSource, told: dict[str, Any]) -> LedgerState:
        """The state that `keep` wrote; its pages are read when they are asked for."""
        state = cls()
        state.space = None if told["space"] is None else ev.SpaceCreated(*told["space"])
        state.generation = told["generation"]
        state.position = told["position"]
        state.ms = told["ms"]
        state.commands = CommandWindow.kept(source, told["commands"])
        state.reservation_table = Reservations.kept(told["reservations"])
        state.quarantine_table = Quarantines.kept(told["quarantines"])
        state.pool_table = Pools.kept(
            source, told["pools"], state.reservation_table, state.quarantine_table
        )
        state.lease_table = Leases.kept(source, told["leases"])
        return state

    def read_all(self) -> None:
        """Read the pages that were not asked for yet; afterwards all of it is in memory."""
        self.commands.read_all()
        self.pool_table.read_all()
        self.lease_table.read_all()

    def advance(self, now_ms: int) -> None:
        """Show the state as of a time behind its last event: what has rested by then is free.

        For a state that is only looked at. A writer's state moves with its events alone, since
        its own clock may be ahead of the server's.
        """
        self.pool_table.advance(now_ms)

    def resting(self, pool_id: int, value: int) -> int | None:
        """Until when an address of a pool rests after its release, or None if it does not."""
        return self.pool_table.resting(pool_id, value)

    def rested(self, pool_id: int, now_ms: int) -> Iterable[tuple[int, int]]:
        """What has rested by `now_ms` and no event has freed yet, longest idle first."""
        return self.pool_table.rested(pool_id, now_ms)

    def quarantined(self, family: Family) -> RangeSet:
        """Everything of a family that is quarantined."""
        return self.quarantine_table.closed(family)

    def quarantines(self) -> Iterable[Quarantine]:
        """All quarantines, by id."""
        return self.quarantine_table

    def conflict_on(self, lease_id: int) -> Report | None:
        """The conflict that was reported on an active lease."""
        return self.lease_table.report_on(lease_id)

    def last_tenure(
        self, address: Address, prefix_length: int | None = None
    ) -> tuple[int, int] | None:
        """Of what nobody holds: when its last tenure ended in effect, and its lease."""
        return self.lease_table.last_tenure(address, prefix_length)

    def overdue_in(self, pool_id: int, now_ms: int) -> Iterable[Lease]:
        """The active leases of a pool that are past their time, the longest overdue first."""
        return self.lease_table.due_in(pool_id, now_ms, _OVERDUE_MAX)

    def leases_due(self, now_ms: int, limit: int) -> Sequence[Lease]:
        """The active leases past their time, the longest overdue first."""
        return self.lease_table.due(now_ms, limit)

    def reservations_due(self, now_ms: int, limit: int) -> Sequence[Reservation]:
        """The reservations past their time, the longest overdue first."""
        return self.reservation_table.due(now_ms, limit)

    def quarantines_due(self, now_ms: int, limit: int) -> Sequence[Quarantine]:
        """The quarantines past their time, the longest overdue first."""
        return self.quarantine_table.due(now_ms, limit)


def _space_created(state: LedgerState, _record: Record, event: ev.SpaceCreated) -> None:
    if state.space is not None:
        raise ContradictoryEvent(f"space {state.space.name} is created twice")
    state.space = event


def _history_restored(state: LedgerState, _record: Record, event: ev.HistoryRestored) -> None:
    state.generation = event.generation


def _pool_deleted(state: LedgerState, _record: Record, event: ev.PoolDeleted) -> None:
    state.pool_table.delete(event, state.lease_table.in_pool(event.pool_id))


def _lease_granted(state: LedgerState, record: Record, event: ev.LeaseGranted) -> None:
    effective_at_ms = record.header.effective_at_ms
    if event.prefix_length != 8 * len(event.address) and state.level < BLOCKS_LEVEL:
        raise ContradictoryEvent(f"a block is granted at format level {state.level}")
    state.lease_table.grant(record.position, record.ms, effective_at_ms, event, record.sealed)
    state.pool_table.take(event)


def _lease_renewed(state: LedgerState, record: Record, event: ev.LeaseRenewed) -> None:
    state.lease_table.renew(record.position, record.ms, event)


def _conflict_reported(state: LedgerState, record: Record, event: ev.ConflictReported) -> None:
    state.lease_table.report(record, event)


def _lease_ended(state: LedgerState, record: Record, event: ev.LeaseEnded) -> None:
    effective_at_ms = record.header.effective_at_ms
    ended_at_ms = record.ms if effective_at_ms is None else effective_at_ms
    left = state.lease_table.end(event, ended_at_ms)
    state.pool_table.give_back(event, left, ended_at_ms, record.ms)


def _fold_row(
    state: LedgerState, position: int, ms: int, fields: tuple[Any, ...], sealed: Any
) -> None:
    """As the handlers of the three, of members that nobody named."""
    event, effective_at_ms = fields[HEADER_MEMBERS:], fields[5]
    code = fields[0]
    if code == GRANTED:
        state.lease_table.grant(position, ms, effective_at_ms, event, sealed)
        state.pool_table.take(event)
    elif code == RENEWED:
        state.lease_table.renew(position, ms, event)
    else:
        assert code == ENDED, "no other becomes a row"
        ended_at_ms = ms if effective_at_ms is None else effective_at_ms
        left = state.lease_table.end(event, ended_at_ms)
        state.pool_table.give_back(event, left, ended_at_ms, ms)


def _level_raised(state: LedgerState, _record: Record, event: ev.LevelRaised) -> None:
    assert state.space is not None, "a space begins with its creation"
    state.space = state.space._replace(level=event.level)


def _passed_over(_state: LedgerState, _record: Record, _event: ev.Informational) -> None:
    """Informational events that this release does not know change nothing that is."""


# The table's key guarantees that each handler is given its own type of event.
_HANDLERS: Final[dict[type[Any], Callable[[LedgerState, Record, Any], None]]] = {
    **DEFINITIONS,
    ev.SpaceCreated: _space_created,
    ev.HistoryRestored: _history_restored,
    ev.LevelRaised: _level_raised,
    ev.PoolDeleted: _pool_deleted,
    ev.LeaseGranted: _lease_granted,
    ev.LeaseRenewed: _lease_renewed,
    ev.LeaseEnded: _lease_ended,
    ev.ConflictReported: _conflict_reported,
    ev.Informational: _passed_over,
}
