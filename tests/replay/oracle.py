"""What a history must answer, by looking at every event: lists, and no cleverness."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from engine.entry import Record
from engine.events import LeaseEnded, LeaseGranted


class Fact(NamedTuple):
    """A grant with its end, if it has one by now."""

    grant: Record
    end: Record | None

    @property
    def event(self) -> LeaseGranted:
        """What was granted."""
        assert isinstance(self.grant.event, LeaseGranted)
        return self.grant.event


def true_ms(record: Record) -> int:
    """When it was so."""
    late = record.header.effective_at_ms
    return record.ms if late is None else late


def contains(event: LeaseGranted, address: bytes) -> bool:
    """Whether an address lies in what was granted."""
    if len(event.address) != len(address):
        return False
    host_bits = len(address) * 8 - event.prefix_length
    return int.from_bytes(address) >> host_bits == int.from_bytes(event.address) >> host_bits


class Oracle:
    """Everything that was granted, in the order of the stream."""

    def __init__(self) -> None:
        self.facts: dict[int, Fact] = {}

    def tell(self, records: Iterable[Record]) -> None:
        """Note what happened."""
        for record in records:
            event = record.event
            if isinstance(event, LeaseGranted):
                self.facts[record.position] = Fact(record, None)
            elif isinstance(event, LeaseEnded):
                self.facts[event.lease] = self.facts[event.lease]._replace(end=record)

    def known(self, known_at_ms: int | None) -> list[tuple[Fact, int, int | None]]:
        """Each fact with when it began and ended, as it was known."""
        found = []
        for fact in self.facts.values():
            if known_at_ms is not None and fact.grant.ms > known_at_ms:
                continue
            end = fact.end
            if end is not None and known_at_ms is not None and end.ms > known_at_ms:
                end = None
            found.append((fact, true_ms(fact.grant), None if end is None else true_ms(end)))
        return found

    def holder(self, address: bytes, at_ms: int, known_at_ms: int | None) -> int | None:
        """The lease that an address was held under."""
        found = [
            fact.grant.position
            for fact, from_ms, to_ms in self.known(known_at_ms)
            if contains(fact.event, address)
            and from_ms <= at_ms
            and (to_ms is None or at_ms < to_ms)
        ]
        assert len(found) <= 1, "no address has two holders"
        return found[0] if found else None

    def held(
        self,
        wanted: Callable[[Fact], bool],
        from_ms: int,
        to_ms: int,
        known_at_ms: int | None,
    ) -> list[tuple[int, int | None]]:
        """The leases that were held at any moment of a range, with their ends, as they began."""
        found = []
        for fact, begun_ms, ended_ms in self.known(known_at_ms):
            last_ms = begun_ms if ended_ms is None else max(ended_ms - 1, begun_ms)
            meets = begun_ms < to_ms and (ended_ms is None or last_ms >= from_ms)
            if meets and wanted(fact):
                found.append((begun_ms, fact.grant.position, ended_ms))
        return [(position, ended_ms) for _, position, ended_ms in sorted(found, key=_order)]


def _order(found: tuple[int, int, int | None]) -> tuple[int, int]:
    return found[:2]
