"""What is set aside because something else answers on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.addresses import Address, Family, RangeSet, family_of, to_int
from engine.decide_config import pack_ranges
from engine.entry import Record
from engine.errors import ContradictoryEvent
from engine.events import Quarantined, QuarantineEnded
from engine.facts import Quarantine
from projections.unpack import unpack_ranges

SCHEMA_VERSION = 1


class Quarantines:
    """The quarantines that last, by id."""

    def __init__(self) -> None:
        self._by_id: dict[int, Quarantine] = {}
        self._closed: dict[Family, RangeSet] = {4: RangeSet(4), 6: RangeSet(6)}
        self.changes = {4: 0, 6: 0}  # per family: who keeps `closed` compares, and asks again

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Quarantine]:
        """All quarantines, by id."""
        return iter(self._by_id.values())

    def get(self, quarantine_id: int) -> Quarantine | None:
        """The quarantine with that id, while any of it lasts."""
        return self._by_id.get(quarantine_id)

    def closed(self, family: Family) -> RangeSet:
        """Everything of a family that is quarantined."""
        return self._closed[family]

    def covering(self, address: Address) -> Quarantine | None:
        """The quarantine that an address is in; it can be in one only."""
        family, value = family_of(address), to_int(address)
        if value not in self._closed[family]:
            return None
        return next(q for q in self if q.ips.family == family and value in q.ips)

    def due(self, now_ms: int, limit: int) -> list[Quarantine]:
        """The quarantines past their time, the longest overdue first."""
        found = [q for q in self if q.ends_at_ms is not None and q.ends_at_ms <= now_ms]
        found.sort(key=lambda q: (q.ends_at_ms, q.quarantine_id))
        return found[:limit]

    def keep(self) -> tuple[tuple[Any, ...], ...]:
        """All of them as plain values."""
        return tuple(
            (q.quarantine_id, q.ips.family, pack_ranges(q.ips), *q[2:]) for q in self
        )  # fmt: skip

    @classmethod
    def kept(cls, rows: tuple[tuple[Any, ...], ...]) -> Quarantines:
        """What `keep` gave."""
        quarantines = cls()
        for quarantine_id, family, packed, *rest in rows:
            ips = unpack_ranges(packed, family)
            quarantines._by_id[quarantine_id] = Quarantine(quarantine_id, ips, *rest)
            quarantines._closed[family] |= ips
        return quarantines

    def begin(self, record: Record, event: Quarantined) -> None:
        """Fold a beginning: the position is the quarantine's id."""
        family: Family = 4 if event.family == 4 else 6
        ips = unpack_ranges(event.ips, family)
        if ips.overlaps(self._closed[family]):
            raise ContradictoryEvent(f"{', '.join(ips.texts()[:3])} is quarantined twice")
        self._by_id[record.position] = Quarantine(
            record.position, ips, record.sealed.text, event.for_s, event.lease, record.ms
        )
        self._closed[family] |= ips
        self.changes[family] += 1

    def end(self, event: QuarantineEnded) -> None:
        """Fold an end, of all its addresses or of some."""
        present = self._by_id[event.quarantine]
        family = present.ips.family
        ips = unpack_ranges(event.ips, 4 if event.family == 4 else 6)
        if ips.family != family or not present.ips.contains_set(ips):
            raise ContradictoryEvent(f"quarantine {event.quarantine} has not all of these")
        left = present.ips - ips
        if left:
            self._by_id[event.quarantine] = present._replace(ips=left)
        else:
            del self._by_id[event.quarantine]
        self._closed[family] -= ips
        self.changes[family] += 1
