"""What is kept from every pool: the reservations, and the ranges that they close."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from engine.addresses import Address, Family, RangeSet, family_of, to_int
from engine.decide_config import reservation_event
from engine.entry import Record
from engine.errors import ContradictoryEvent
from engine.events import ReservationCreated, ReservationDeleted, ReservationUpdated
from engine.facts import Reservation
from engine.model import ReservationSpec
from projections.unpack import unpack_ranges

SCHEMA_VERSION = 1
_NOTHING: Final[dict[Family, RangeSet]] = {4: RangeSet(4), 6: RangeSet(6)}


class Reservations:
    """The reservations of a space, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Reservation] = {}
        self._names: dict[int, str] = {}
        self._by_owner: dict[str, set[str]] = {}
        self._closed: dict[Family, RangeSet | None] = {4: RangeSet(4, ()), 6: RangeSet(6, ())}
        self.changes = {4: 0, 6: 0}  # per family: who keeps `closed` compares, and asks again

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Reservation]:
        """All reservations, by name."""
        return iter([self._by_name[name] for name in sorted(self._by_name)])

    def get(self, name: str) -> Reservation | None:
        """The reservation of that name."""
        return self._by_name.get(name)

    def closed(self, family: Family) -> RangeSet:
        """Everything of a family that is reserved, whoever for."""
        closed = self._closed[family]
        if closed is None:
            ranges = (
                part
                for held in self._by_name.values()
                if held.spec.ips.family == family
                for part in held.spec.ips.ranges
            )
            closed = self._closed[family] = RangeSet(family, ranges)
        return closed

    def covering(self, address: Address) -> list[Reservation]:
        """The reservations that cover an address, by name."""
        family, value = family_of(address), to_int(address)
        if value not in self.closed(family):
            return []
        return [held for held in self if held.spec.ips.family == family and value in held.spec.ips]

    def due(self, now_ms: int, limit: int) -> list[Reservation]:
        """The reservations past their time, the longest overdue first."""
        ends = [(held.ends_at_ms, held) for held in self._by_name.values()]
        found = [(at, held) for at, held in ends if at is not None and at <= now_ms]
        found.sort(key=lambda entry: (entry[0], entry[1].name))
        return [held for _, held in found[:limit]]

    def kept_for(self, owner: str, family: Family) -> RangeSet:
        """What reservations keep for this owner."""
        ranges = _NOTHING[family]
        for name in sorted(self._by_owner.get(owner, ())):
            spec = self._by_name[name].spec
            if spec.ips.family == family:
                ranges |= spec.ips
        return ranges

    def keep(self) -> tuple[tuple[Any, ...], ...]:
        """All of them as plain values."""
        rows = []
        for held in self:
            spec = held.spec
            event = reservation_event(held.name, spec)
            times = (held.created_at_ms, held.defined_at_ms)
            sealed = (spec.owner, spec.reason, spec.labels)
            rows.append((held.reservation_id, *times, tuple(event), *sealed))
        return tuple(rows)

    @classmethod
    def kept(cls, rows: tuple[tuple[Any, ...], ...]) -> Reservations:
        """What `keep` gave."""
        reservations = cls()
        for reservation_id, created_at_ms, defined_at_ms, fields, owner, reason, labels in rows:
            event = ReservationCreated(*fields)
            ips = unpack_ranges(event.ips, 4 if event.family == 4 else 6)
            spec = ReservationSpec(ips, owner, reason, event.for_s, labels)
            times = (created_at_ms, defined_at_ms)
            reservations._names[reservation_id] = event.name
            reservations._put(Reservation(reservation_id, event.name, spec, *times))
        return reservations

    def create(self, record: Record, event: ReservationCreated) -> None:
        """Fold a creation: the position is the reservation's id."""
        if event.name in self._by_name:
            raise ContradictoryEvent(f"reservation {event.name} is created twice")
        self._names[record.position] = event.name
        spec = _spec(record, event)
        self._put(Reservation(record.position, event.name, spec, record.ms, record.ms))

    def update(self, record: Record, event: ReservationUpdated) -> None:
        """Fold a change: the whole new definition."""
        present = self._by_name[self._names[event.reservation_id]]
        spec = _spec(record, event.reservation)
        if (event.reservation.name, spec.ips.family) != (present.name, present.spec.ips.family):
            raise ContradictoryEvent(f"reservation {present.name} cannot be changed so")
        self._drop(present)
        self._put(present._replace(spec=spec, defined_at_ms=record.ms))

    def delete(self, event: ReservationDeleted) -> None:
        """Fold a deletion or expiry."""
        name = self._names.pop(event.reservation_id)
        if name != event.name:
            raise ContradictoryEvent(f"reservation {event.reservation_id} is not {event.name}")
        self._drop(self._by_name[name])

    def _put(self, held: Reservation) -> None:
        self._by_name[held.name] = held
        if held.spec.owner is not None:
            self._by_owner.setdefault(held.spec.owner, set()).add(held.name)
        self._touch(held)

    def _drop(self, held: Reservation) -> None:
        del self._by_name[held.name]
        if held.spec.owner is not None:
            self._by_owner[held.spec.owner].discard(held.name)
            if not self._by_owner[held.spec.owner]:
                del self._by_owner[held.spec.owner]
        self._touch(held)

    def _touch(self, held: Reservation) -> None:
        # The union is made when somebody asks: a commit of many changes makes it once.
        self._closed[held.spec.ips.family] = None
        self.changes[held.spec.ips.family] += 1


def _spec(record: Record, event: ReservationCreated) -> ReservationSpec:
    sealed = record.sealed
    ips = unpack_ranges(event.ips, 4 if event.family == 4 else 6)
    return ReservationSpec(ips, sealed.owner, sealed.text, event.for_s, sealed.labels)
