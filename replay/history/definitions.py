"""Pools, reservations and quarantines over time: each definition, whole, from when to when."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

import msgpack

from engine import events as ev
from engine.addresses import Family, RangeSet
from engine.entry import Record
from engine.errors import ContradictoryEvent
from engine.facts import Quarantine
from engine.model import PoolSpec, ReservationSpec
from engine.stream import RESTORE_HINT
from projections.unpack import unpack_pool, unpack_ranges
from replay.history.tenure import DAMAGED, Row, seal_of

Kind = Literal["pool", "reservation", "quarantine"]
KINDS: Final[tuple[Kind, ...]] = ("pool", "reservation", "quarantine")
_POOL, _RESERVATION, _QUARANTINE = range(3)

Spec = PoolSpec | ReservationSpec | Quarantine

COLUMNS: Final = (
    "kind, object_id, position, name, from_ms, body, actor, reason, seal, "
    "ended, to_ms, ended_how, ended_by, end_reason, end_seal"
)


class Replaced(NamedTuple):
    """How a definition ceased to be in force.

    ``how`` is ``updated`` (the next version follows), ``deleted``, ``expired`` or ``ended``.
    """

    to_ms: int
    position: int
    how: str
    actor: str | None
    reason: str | None


class Version(NamedTuple):
    """A definition as it was in force from one change of it to the next.

    ``object_id`` is the pool's, reservation's or quarantine's id, the position that made it;
    ``position`` is the change that made this version of it.
    """

    kind: Kind
    object_id: int
    name: str
    position: int
    from_ms: int
    spec: Spec
    actor: str | None
    reason: str | None
    ending: Replaced | None

    @property
    def to_ms(self) -> int | None:
        """Until when it was in force; None while it is."""
        return None if self.ending is None else self.ending.to_ms


class DefinitionFold:
    """Writes what events say about definitions; there are few of them, so one at a time."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def fold(self, record: Record) -> None:
        """Fold one record.

        Raises:
            ContradictoryEvent: it changes what is not there.
        """
        sealed, event = record.sealed, record.event
        match event:
            case ev.PoolCreated():
                body = _pack(tuple(event), sealed.labels)
                self._begin(_POOL, record.position, event.name, body, record)
            case ev.PoolUpdated():
                self._end(_POOL, event.pool_id, "updated", record)
                body = _pack(tuple(event.pool), sealed.labels)
                self._begin(_POOL, event.pool_id, event.pool.name, body, record)
            case ev.PoolDeleted():
                self._end(_POOL, event.pool_id, "deleted", record)
            case ev.ReservationCreated():
                self._begin(_RESERVATION, record.position, event.name,
                            _reservation(event, sealed), record)  # fmt: skip
            case ev.ReservationUpdated():
                self._end(_RESERVATION, event.reservation_id, "updated", record)
                made = event.reservation
                self._begin(_RESERVATION, event.reservation_id, made.name,
                            _reservation(made, sealed), record)  # fmt: skip
            case ev.ReservationDeleted():
                how = "expired" if event.expired else "deleted"
                self._end(_RESERVATION, event.reservation_id, how, record)
            case ev.Quarantined():
                body = _pack(*event, sealed.text, record.ms)
                self._begin(_QUARANTINE, record.position, "", body, record)
            case ev.QuarantineEnded():
                self._unquarantine(event, record)
            case _:
                raise AssertionError(f"{type(event).__name__} defines nothing")

    def _begin(self, kind: int, object_id: int, name: str, body: bytes, record: Record) -> None:
        sealed = record.sealed
        values = (kind, object_id, record.position, name, record.ms, body,
                  sealed.actor, sealed.reason)  # fmt: skip
        self._database.execute(
            "INSERT INTO definition (kind, object_id, position, name, from_ms, body, actor, "
            "reason, seal) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, seal_of(*values)),
        )

    def _end(self, kind: int, object_id: int, how: str, record: Record) -> bytes:
        """End the version that is in force, and return its body."""
        row = self._database.execute(
            "SELECT position, body, ended FROM definition WHERE kind = ? AND object_id = ? "
            "ORDER BY position DESC LIMIT 1", (kind, object_id),
        ).fetchone()  # fmt: skip
        if row is None or row[2] is not None:
            message = (
                f"position {record.position} contradicts what is before it: there is no "
                f"{KINDS[kind]} {object_id}"
            )
            raise ContradictoryEvent(message, RESTORE_HINT, record.position)
        sealed = record.sealed
        end = (record.position, record.ms, how, sealed.actor, sealed.reason)
        self._database.execute(
            "UPDATE definition SET ended = ?, to_ms = ?, ended_how = ?, ended_by = ?, "
            "end_reason = ?, end_seal = ? WHERE kind = ? AND object_id = ? AND position = ?",
            (*end, seal_of(row[0], *end), kind, object_id, row[0]),
        )
        return bytes(row[1])

    def _unquarantine(self, event: ev.QuarantineEnded, record: Record) -> None:
        body = self._end(_QUARANTINE, event.quarantine, "expired" if event.expired else "ended",
                         record)  # fmt: skip
        number, ips, *others = _unpack(body)
        family: Family = 4 if number == 4 else 6
        left = unpack_ranges(ips, family) - unpack_ranges(event.ips, family)
        if left:
            width = 4 if family == 4 else 16
            packed = b"".join(value.to_bytes(width) for pair in left for value in pair)
            body = _pack(number, packed, *others)
            self._begin(_QUARANTINE, event.quarantine, "", body, record)


def _pack(*values: Any) -> bytes:
    packed: bytes = msgpack.packb(values)
    return packed


def _unpack(body: bytes) -> tuple[Any, ...]:
    values: tuple[Any, ...] = msgpack.unpackb(body, use_list=False)
    return values


def _reservation(event: ev.ReservationCreated, sealed: ev.Sealed) -> bytes:
    return _pack(event.family, event.ips, event.for_s, sealed.owner, sealed.text, sealed.labels)


def read_version(row: Row) -> Version:
    """A row of the table as a version.

    Raises:
        sqlite3.DatabaseError: it is not what was written.
    """
    kind, object_id, position, name, from_ms, body, actor, reason, seal, *end = row
    if seal_of(*row[:8]) != seal:
        raise sqlite3.DatabaseError(DAMAGED)
    ending = None
    if end[0] is not None:
        if seal_of(position, *end[:5]) != end[5]:
            raise sqlite3.DatabaseError(DAMAGED)
        ended, to_ms, how, ended_by, end_reason = end[:5]
        ending = Replaced(to_ms, ended, how, ended_by, end_reason)
    spec = _SPECS[kind](object_id, _unpack(body))
    return Version(KINDS[kind], object_id, name, position, from_ms, spec, actor, reason, ending)


def _pool_spec(_object_id: int, body: tuple[Any, ...]) -> Spec:
    event, labels = body
    return unpack_pool(ev.PoolCreated(*event), labels)


def _reservation_spec(_object_id: int, body: tuple[Any, ...]) -> Spec:
    family, ips, for_s, owner, text, labels = body
    return ReservationSpec(_ranges(family, ips), owner, text, for_s, labels)


def _quarantine_spec(object_id: int, body: tuple[Any, ...]) -> Spec:
    family, ips, for_s, lease, text, created_ms = body
    return Quarantine(object_id, _ranges(family, ips), text, for_s, lease, created_ms)


def _ranges(family: int, ips: bytes) -> RangeSet:
    return unpack_ranges(ips, 4 if family == 4 else 6)


_SPECS: Final = (_pool_spec, _reservation_spec, _quarantine_spec)


def versions(
    database: sqlite3.Connection, kind: Kind, *, name: str | None = None, at_ms: int | None = None
) -> Iterator[Version]:
    """Versions of one kind in the order of their positions: of a name, or in force at a time.

    Raises:
        sqlite3.DatabaseError: one is not what was written.
    """
    where, values = ["kind = ?"], [KINDS.index(kind)]
    arguments: list[object] = [*values]
    if name is not None:
        where.append("name = ?")
        arguments.append(name)
    if at_ms is not None:
        where.append("from_ms <= ? AND (to_ms IS NULL OR to_ms > ?)")
        arguments += [at_ms, at_ms]
    asked = f"SELECT {COLUMNS} FROM definition WHERE {' AND '.join(where)}"  # noqa: S608
    rows = database.execute(f"{asked} ORDER BY position", arguments)
    return map(read_version, rows)
