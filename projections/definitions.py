"""What pools, reservations and quarantines are: folded alike by whoever has their tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from engine import events as ev
from engine.entry import Record
from projections.pools import Pools
from projections.quarantines import Quarantines
from projections.reservations import Reservations


class Tables(Protocol):
    """A projection with these three tables."""

    pool_table: Pools
    reservation_table: Reservations
    quarantine_table: Quarantines


def _pool_created(tables: Tables, record: Record, event: ev.PoolCreated) -> None:
    tables.pool_table.create(record, event)


def _pool_updated(tables: Tables, record: Record, event: ev.PoolUpdated) -> None:
    tables.pool_table.update(record, event)


def _reservation_created(tables: Tables, record: Record, event: ev.ReservationCreated) -> None:
    tables.reservation_table.create(record, event)


def _reservation_updated(tables: Tables, record: Record, event: ev.ReservationUpdated) -> None:
    tables.reservation_table.update(record, event)


def _reservation_deleted(tables: Tables, _record: Record, event: ev.ReservationDeleted) -> None:
    tables.reservation_table.delete(event)


def _quarantined(tables: Tables, record: Record, event: ev.Quarantined) -> None:
    tables.quarantine_table.begin(record, event)


def _quarantine_ended(tables: Tables, _record: Record, event: ev.QuarantineEnded) -> None:
    tables.quarantine_table.end(event)


# The table's key guarantees that each handler is given its own type of event.
DEFINITIONS: Final[dict[type[Any], Callable[[Tables, Record, Any], None]]] = {
    ev.PoolCreated: _pool_created,
    ev.PoolUpdated: _pool_updated,
    ev.ReservationCreated: _reservation_created,
    ev.ReservationUpdated: _reservation_updated,
    ev.ReservationDeleted: _reservation_deleted,
    ev.Quarantined: _quarantined,
    ev.QuarantineEnded: _quarantine_ended,
}
