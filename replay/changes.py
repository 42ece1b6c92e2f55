"""What changed between two moments, in one pass over the stream.

The state is folded to the first moment and then on to the second. Before an event is folded, the
few objects that it can touch are noted as they are; they are immutable values, so that noting one
is keeping a reference. What was noted, beside what is at the end, is the difference: memory is
that of one state and of what changed, whatever the length of the history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from engine import events as ev
from engine.entry import Record
from engine.errors import InvalidInput
from engine.facts import Lease, Pool, Quarantine, Report, Reservation
from engine.model import ENDINGS, EndedBy
from engine.observation import Absence
from engine.reading import Continuity, HighWater, read_commits
from engine.stream import Stream
from projections.collector import seldom_collecting
from projections.state import LedgerState
from replay.moments import Moment
from replay.walk import walk

Thing = TypeVar("Thing")


class Change(NamedTuple, Generic[Thing]):
    """An object at the first moment and at the second; None where it is not."""

    id: int
    before: Thing | None
    after: Thing | None


class HeldLease(NamedTuple):
    """A lease with its pool's name, the conflict reported on it, what observations say of it."""

    lease: Lease
    pool: str
    report: Report | None
    absence: Absence | None


class Difference(NamedTuple):
    """All objects that are not at ``end`` what they were at ``begin``, each kind by id.

    ``endings`` tells of each lease that is gone how it ended. ``passing`` counts the leases that
    were granted after the first moment and had ended before the second.
    """

    begin: Moment
    end: Moment
    events: int
    pools: list[Change[Pool]]
    reservations: list[Change[Reservation]]
    leases: list[Change[HeldLease]]
    quarantines: list[Change[Quarantine]]
    endings: dict[int, EndedBy]
    passing: int


@seldom_collecting()
def difference(
    stream: Stream,
    begin: Moment,
    end: Moment,
    *,
    remembered: HighWater | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Difference:
    """What is at `end` and was not, or was otherwise, at `begin`.

    Raises:
        InvalidInput: `begin` is after `end`.
        IntegrityError: the stream is not what it must be.
        Unavailable: it cannot be read.
    """
    if begin.position > end.position:
        message = f"the first moment (position {begin.position}) is after the second"
        raise InvalidInput(message, f"the second is position {end.position}: give them in order")
    state = LedgerState()
    noted: _Noted | None = None
    events = 0
    stops = [begin.position, end.position]
    reading = Continuity(remembered)
    for records, arrived in walk(stream, reading, stops, remembered, read_commits):
        if noted is not None:
            noted.note(records)
            events += len(records)
        state.apply_all(records)
        if arrived and noted is None:
            noted = _Noted(state)
        if on_progress is not None:
            on_progress(state.position)
    assert noted is not None, "the first moment is the first stop"
    return noted.result(begin, end, events)


class _Noted:
    """The objects that were touched, as they were at the first moment: None if they were not."""

    def __init__(self, state: LedgerState) -> None:
        self._state = state
        self._pools: dict[int, Pool | None] = {}
        self._reservations: dict[int, Reservation | None] = {}
        self._leases: dict[int, HeldLease | None] = {}
        self._quarantines: dict[int, Quarantine | None] = {}
        self._endings: dict[int, EndedBy] = {}

    def note(self, records: Sequence[Record]) -> None:
        """Note what the records will touch; they have not been folded yet.

        What an earlier record of them makes is not in the state yet, which is as it should be:
        at the first moment it was not.
        """
        for record in records:
            touch = _TOUCHES.get(type(record.event))
            if touch is not None:
                touch(self, record, record.event)

    def pool(self, pool_id: int) -> None:
        """A pool is about to change."""
        if pool_id not in self._pools:
            self._pools[pool_id] = self._state.pool_of(pool_id)

    def reservation(self, reservation_id: int, name: str) -> None:
        """A reservation is about to change; its name stays what it is."""
        if reservation_id not in self._reservations:
            present = self._state.reservation(name)
            same = present is not None and present.reservation_id == reservation_id
            self._reservations[reservation_id] = present if same else None

    def lease(self, lease_id: int) -> None:
        """A lease is about to change."""
        if lease_id not in self._leases:
            self._leases[lease_id] = self._held(lease_id)

    def ending(self, lease_id: int, ended_by: int) -> None:
        """A lease is about to end."""
        self._endings[lease_id] = ENDINGS[ended_by]

    def quarantine(self, quarantine_id: int) -> None:
        """A quarantine is about to begin, or to end in part or as a whole."""
        if quarantine_id not in self._quarantines:
            self._quarantines[quarantine_id] = self._state.quarantine_table.get(quarantine_id)

    def _held(self, lease_id: int) -> HeldLease | None:
        lease = self._state.lease(lease_id)
        if lease is None:
            return None
        pool = self._state.pool_of(lease.pool_id)
        assert pool is not None, "a pool stays while it has leases"
        return HeldLease(lease, pool.name, self._state.conflict_on(lease_id),
                         self._state.absence_of(lease_id))  # fmt: skip

    def result(self, begin: Moment, end: Moment, events: int) -> Difference:
        """What was noted beside what is now."""
        state = self._state
        reservations = {held.reservation_id: held for held in state.reservations()}
        leases = {lease_id: self._held(lease_id) for lease_id in self._leases}
        passing = [i for i, before in self._leases.items() if before is None and leases[i] is None]
        for lease_id in passing:
            self._endings.pop(lease_id, None)
        return Difference(
            begin,
            end,
            events,
            _changes(self._pools, state.pool_of),
            _changes(self._reservations, reservations.get),
            _changes(self._leases, leases.get),
            _changes(self._quarantines, state.quarantine_table.get),
            self._endings,
            len(passing),
        )


def _changes(
    noted: dict[int, Thing | None], now: Callable[[int], Thing | None]
) -> list[Change[Thing]]:
    """What differs, by id."""
    found = [Change(key, noted[key], now(key)) for key in sorted(noted)]
    return [change for change in found if change.before != change.after]


def _reservation_touched(noted: _Noted, _: Record, event: ev.ReservationDeleted) -> None:
    noted.reservation(event.reservation_id, event.name)


def _lease_ended(noted: _Noted, _: Record, event: ev.LeaseEnded) -> None:
    noted.lease(event.lease)
    noted.ending(event.lease, event.ended_by)
    noted.pool(event.pool_id)  # a terminating pool goes with its last lease


# The table's key guarantees that each function is given its own type of event. A type that is not
# here touches none of these objects.
_TOUCHES: Final[dict[type[Any], Callable[[_Noted, Record, Any], None]]] = {
    ev.PoolCreated: lambda noted, record, _: noted.pool(record.position),
    ev.PoolUpdated: lambda noted, _, event: noted.pool(event.pool_id),
    ev.PoolDeleted: lambda noted, _, event: noted.pool(event.pool_id),
    ev.ReservationCreated: lambda noted, record, event: noted.reservation(
        record.position, event.name
    ),
    ev.ReservationUpdated: lambda noted, _, event: noted.reservation(
        event.reservation_id, event.reservation.name
    ),
    ev.ReservationDeleted: _reservation_touched,
    ev.LeaseGranted: lambda noted, record, _: noted.lease(record.position),
    ev.LeaseRenewed: lambda noted, _, event: noted.lease(event.lease),
    ev.ConflictReported: lambda noted, _, event: noted.lease(event.lease),
    ev.LeaseObserved: lambda noted, _, event: noted.lease(event.lease),
    ev.LeaseEnded: _lease_ended,
    ev.Quarantined: lambda noted, record, _: noted.quarantine(record.position),
    ev.QuarantineEnded: lambda noted, _, event: noted.quarantine(event.quarantine),
}
