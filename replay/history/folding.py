"""From records to rows: what a batch of events adds to the tenures, and what it changes.

Within a batch a lease that ends is written once, with its end. What ended a lease of an earlier
batch changes its row; such changes come first, while each of these leases is still the last of
its address.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from engine import events as ev
from engine.entry import Record
from engine.errors import ContradictoryEvent
from engine.lasting import ends_ms
from engine.stream import RESTORE_HINT
from replay.history.schema import END_AT, family_key
from replay.history.tenure import Row, seal_of
from replay.history.words import Words

_EXPIRES: Final = END_AT - 2
_RENEWALS: Final = END_AT - 1
_DEFINING: Final = frozenset({
    ev.PoolCreated, ev.PoolUpdated, ev.PoolDeleted,
    ev.ReservationCreated, ev.ReservationUpdated, ev.ReservationDeleted,
    ev.Quarantined, ev.QuarantineEnded,
})  # fmt: skip
NOT_ENDED: Final[tuple[None, ...]] = (None,) * 7


class Ended(NamedTuple):
    """The end of a lease that an earlier batch granted; ``row`` are the columns from ``to_ms``."""

    lease_id: int
    key: bytes
    prefix_length: int
    row: Row


class Renewed(NamedTuple):
    """The renewals of a lease that an earlier batch granted, taken together."""

    lease_id: int
    key: bytes
    prefix_length: int
    expires_ms: int | None
    times: int


class Batch:
    """What some whole commits amount to."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self.granted: dict[int, list[Any]] = {}  # rows of the tenure table by lease
        self.ended: list[Ended] = []
        self.renewed: dict[int, Renewed] = {}
        self.defining: list[Record] = []
        self.first_ms: int | None = None
        self.earliest_ms: int | None = None

    def fold_all(self, records: Iterable[Record]) -> None:
        """Fold records in their order.

        Raises:
            ContradictoryEvent: a lease of this batch ends twice.
        """
        for record in records:
            kind = type(record.event)
            if kind is ev.LeaseGranted:
                self._grant(record, record.event)  # type: ignore[arg-type]
            elif kind is ev.LeaseEnded:
                self._end(record, record.event)  # type: ignore[arg-type]
            elif kind is ev.LeaseRenewed:
                self._renew(record, record.event)  # type: ignore[arg-type]
            elif kind in _DEFINING:
                self.defining.append(record)
            elif kind is ev.SpaceCreated:
                self.first_ms = record.ms
                self._note(record.ms)

    def _note(self, at_ms: int) -> None:
        if self.earliest_ms is None or at_ms < self.earliest_ms:
            self.earliest_ms = at_ms

    def _grant(self, record: Record, event: ev.LeaseGranted) -> None:
        sealed, words = record.sealed, self._words
        effective_at_ms = record.header.effective_at_ms
        from_ms = record.ms if effective_at_ms is None else effective_at_ms
        self._note(from_ms)
        key = family_key(event.address)
        owner = sealed.owner or ""
        seal = seal_of(
            key, event.prefix_length, from_ms, record.position, record.ms, owner, event.interface,
            sealed.uid, sealed.labels, event.cluster, event.pool_id, event.supersedes,
            event.source, sealed.actor, sealed.reason,
        )  # fmt: skip
        word = words.id_of
        expires_ms = ends_ms(record.ms, effective_at_ms, event.ttl_s, event.source)
        self.granted[record.position] = [
            key, event.prefix_length, from_ms, record.position, record.ms, owner,
            word(event.interface), sealed.uid, words.id_of_labels(sealed.labels),
            word(event.cluster), event.pool_id, event.supersedes, word(event.source),
            word(sealed.actor), word(sealed.reason), seal, expires_ms, 0, *NOT_ENDED,
        ]  # fmt: skip

    def _end(self, record: Record, event: ev.LeaseEnded) -> None:
        sealed, word = record.sealed, self._words.id_of
        effective_at_ms = record.header.effective_at_ms
        to_ms = record.ms if effective_at_ms is None else effective_at_ms
        seal = seal_of(
            event.lease, to_ms, record.position, record.ms, event.ended_by,
            sealed.actor, sealed.reason,
        )  # fmt: skip
        row = (
            to_ms, record.position, record.ms, event.ended_by,
            word(sealed.actor), word(sealed.reason), seal,
        )  # fmt: skip
        present = self.granted.get(event.lease)
        if present is None:
            key = family_key(event.address)
            self.ended.append(Ended(event.lease, key, event.prefix_length, row))
        elif present[END_AT] is not None or present[0][1:] != event.address:
            raise contradiction(record.position, event.lease)
        else:
            present[END_AT:] = row

    def _renew(self, record: Record, event: ev.LeaseRenewed) -> None:
        expires_ms = None if event.ttl_s is None else record.ms + event.ttl_s * 1_000
        present = self.granted.get(event.lease)
        if present is not None:
            present[_EXPIRES] = expires_ms
            present[_RENEWALS] += 1
            return
        before = self.renewed.get(event.lease)
        times = 1 if before is None else before.times + 1
        key = family_key(event.address)
        self.renewed[event.lease] = Renewed(
            event.lease, key, event.prefix_length, expires_ms, times
        )  # fmt: skip


def contradiction(position: int, lease_id: int) -> ContradictoryEvent:
    """An event ends or renews what is not there."""
    message = (
        f"position {position} contradicts what is before it: lease {lease_id} is not active there"
    )
    return ContradictoryEvent(message, RESTORE_HINT, position)
