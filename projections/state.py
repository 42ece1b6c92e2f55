"""The state of a space: the fold of all its events, and what decisions are made on.

One small handler for each type of event, in one table. `LedgerState` satisfies `engine.Facts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from engine import events as ev
from engine.bulk import ENDED, GRANTED, HEADER_MEMBERS, RENEWED, Row
from engine.entry import Record
from engine.errors import ContradictoryEvent, IntegrityError
from engine.model import LOCAL, Durability
from engine.stream import RESTORE_HINT
from projections.answers import Answers
from projections.commands import CommandWindow
from projections.definitions import DEFINITIONS
from projections.leases import Leases
from projections.pages import PageSink, PageSource
from projections.pools import Pools
from projections.preferences import Preferences
from projections.quarantines import Quarantines
from projections.reservations import Reservations

SCHEMA_VERSION = 4


class LedgerState(Answers):
    """Everything that is, as of one position."""

    def __init__(self) -> None:
        self.space: ev.SpaceCreated | None = None
        self.durability = LOCAL
        self.generation = 0
        self.position = 0
        self.ms = 0
        self.commands = CommandWindow()
        self.reservation_table = Reservations()
        self.quarantine_table = Quarantines()
        self.pool_table = Pools(self.reservation_table, self.quarantine_table)
        self.lease_table = Leases()
        self.preferences = Preferences(self.pool_table, self.lease_table)

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

    def keep(self, sink: PageSink) -> dict[str, Any]:
        """Write what is large in pages; return what is small, to be kept beside them."""
        return {
            "space": None if self.space is None else tuple(self.space),
            "durability": tuple(self.durability),
            "generation": self.generation,
            "position": self.position,
            "ms": self.ms,
            "commands": self.commands.keep(sink),
            "reservations": self.reservation_table.keep(),
            "quarantines": self.quarantine_table.keep(),
            "pools": self.pool_table.keep(sink),
            "leases": self.lease_table.keep(sink),
            "preferences": self.preferences.keep(sink),
        }

    @classmethod
    def kept(cls, source: PageSource, told: dict[str, Any]) -> LedgerState:
        """The state that `keep` wrote; its pages are read when they are asked for."""
        state = cls()
        state.space = None if told["space"] is None else ev.SpaceCreated(*told["space"])
        state.durability = Durability(*told["durability"])
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
        state.preferences = Preferences.kept(
            source, told["preferences"], state.pool_table, state.lease_table
        )
        return state

    def read_all(self) -> None:
        """Read the pages that were not asked for yet; afterwards all of it is in memory."""
        self.commands.read_all()
        self.pool_table.read_all()
        self.lease_table.read_all()
        self.preferences.read_all()

    def advance(self, now_ms: int) -> None:
        """Show the state as of a time behind its last event: what has rested by then is free.

        For a state that is only looked at. A writer's state moves with its events alone, since
        its own clock may be ahead of the server's.
        """
        self.pool_table.advance(now_ms)


def _space_created(state: LedgerState, _record: Record, event: ev.SpaceCreated) -> None:
    if state.space is not None:
        raise ContradictoryEvent(f"space {state.space.name} is created twice")
    state.space = event


def _history_restored(state: LedgerState, _record: Record, event: ev.HistoryRestored) -> None:
    state.generation = event.generation


def _pool_created(state: LedgerState, record: Record, event: ev.PoolCreated) -> None:
    state.pool_table.create(record, event)
    _define(state, record.position)


def _pool_updated(state: LedgerState, record: Record, event: ev.PoolUpdated) -> None:
    state.pool_table.update(record, event)
    _define(state, event.pool_id)


def _pool_deleted(state: LedgerState, _record: Record, event: ev.PoolDeleted) -> None:
    state.pool_table.delete(event, state.lease_table.in_pool(event.pool_id))
    _define(state, event.pool_id)


def _define(state: LedgerState, pool_id: int) -> None:
    """What a pool is now decides what has to be known of its addresses."""
    pool = state.pool_table.of_id(pool_id)
    if pool is None:
        state.preferences.go(pool_id)
    else:
        state.preferences.define(pool)


def _lease_granted(state: LedgerState, record: Record, event: ev.LeaseGranted) -> None:
    if event.pool_id in state.preferences.watched:
        state.preferences.grant(event)
    effective_at_ms = record.header.effective_at_ms
    if event.prefix_length != 8 * len(event.address) and state.level < ev.BLOCKS_LEVEL:
        raise ContradictoryEvent(f"a block is granted at format level {state.level}")
    state.lease_table.grant(record.position, record.ms, effective_at_ms, event, record.sealed)
    state.pool_table.take(event)


def _lease_renewed(state: LedgerState, record: Record, event: ev.LeaseRenewed) -> None:
    state.lease_table.renew(record.position, record.ms, event)


def _conflict_reported(state: LedgerState, record: Record, event: ev.ConflictReported) -> None:
    state.lease_table.report(record, event)


def _lease_observed(state: LedgerState, record: Record, event: ev.LeaseObserved) -> None:
    state.lease_table.observe(record, event)


def _lease_ended(state: LedgerState, record: Record, event: ev.LeaseEnded) -> None:
    effective_at_ms = record.header.effective_at_ms
    ended_at_ms = record.ms if effective_at_ms is None else effective_at_ms
    _end(state, event, record.sealed.owner, ended_at_ms, record.ms)


def _end(
    state: LedgerState, event: tuple[Any, ...], owner: str | None, ended_at_ms: int, ms: int
) -> None:
    """Fold the end of a lease: the members of a `LeaseEnded`."""
    left = state.lease_table.end(event, ended_at_ms)
    pool_id = event[1]
    if pool_id not in state.preferences.watched:
        state.pool_table.give_back(event, left, ended_at_ms, ms)
        return
    state.preferences.end(event, owner, ended_at_ms, ms)
    state.pool_table.give_back(event, left, ended_at_ms, ms)
    state.preferences.ended(pool_id)


def _fold_row(
    state: LedgerState, position: int, ms: int, fields: tuple[Any, ...], sealed: Any
) -> None:
    """As the handlers of the three, of members that nobody named."""
    event, effective_at_ms = fields[HEADER_MEMBERS:], fields[5]
    code = fields[0]
    if code == GRANTED:
        if event[0] in state.preferences.watched:
            state.preferences.grant(event)
        state.lease_table.grant(position, ms, effective_at_ms, event, sealed)
        state.pool_table.take(event)
    elif code == RENEWED:
        state.lease_table.renew(position, ms, event)
    else:
        assert code == ENDED, "no other becomes a row"
        ended_at_ms = ms if effective_at_ms is None else effective_at_ms
        _end(state, event, sealed[1], ended_at_ms, ms)


def _level_raised(state: LedgerState, _record: Record, event: ev.LevelRaised) -> None:
    assert state.space is not None, "a space begins with its creation"
    state.space = state.space._replace(level=event.level)


def _durability_set(state: LedgerState, _record: Record, event: ev.DurabilitySet) -> None:
    if state.level < ev.DURABILITY_LEVEL:
        raise ContradictoryEvent(f"durability is set at format level {state.level}")
    state.durability = Durability(*event)


def _passed_over(_state: LedgerState, _record: Record, _event: ev.Informational) -> None:
    """Informational events that this release does not know change nothing that is."""


# The table's key guarantees that each handler is given its own type of event.
_HANDLERS: Final[dict[type[Any], Callable[[LedgerState, Record, Any], None]]] = {
    **DEFINITIONS,
    ev.SpaceCreated: _space_created,
    ev.HistoryRestored: _history_restored,
    ev.LevelRaised: _level_raised,
    ev.DurabilitySet: _durability_set,
    ev.PoolCreated: _pool_created,
    ev.PoolUpdated: _pool_updated,
    ev.PoolDeleted: _pool_deleted,
    ev.LeaseGranted: _lease_granted,
    ev.LeaseRenewed: _lease_renewed,
    ev.LeaseEnded: _lease_ended,
    ev.ConflictReported: _conflict_reported,
    ev.LeaseObserved: _lease_observed,
    ev.Informational: _passed_over,
}
