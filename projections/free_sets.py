"""What may be given out, pool by pool, and nothing else: no owner, no lease, no command.

Folds what `LedgerState` folds into its pools, from events alone (`engine.wire.decode_event`): for
whoever asks what was free at some time, over a long history. That a lease ends which was granted
is left to those who fold leases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Final

import msgpack

from engine import events as ev
from engine.bulk import ENDED, GRANTED, HEADER_MEMBERS, Row
from engine.entry import Record
from engine.errors import ContradictoryEvent, IntegrityError
from engine.facts import Counts, Pool
from engine.stream import RESTORE_HINT
from projections.definitions import DEFINITIONS
from projections.pools import Pools
from projections.quarantines import Quarantines
from projections.reservations import Reservations

SCHEMA_VERSION = 1


class FreeSets:
    """The free sets of all pools, as of one position."""

    def __init__(self) -> None:
        self.position = 0
        self.ms = 0
        self.reservation_table = Reservations()
        self.quarantine_table = Quarantines()
        self.pool_table = Pools(self.reservation_table, self.quarantine_table)
        self.leases_in: dict[int, int] = {}  # by pool

    def apply_all(self, records: Iterable[Record]) -> None:
        """Fold records in their order.

        Raises:
            ContradictoryEvent: one says what cannot be, after what was folded before.
        """
        for record in records:
            position, ms, event, *_ = record
            handle = _HANDLERS.get(type(event))
            if handle is not None:
                self.pool_table.advance(ms)
                try:
                    handle(self, record, event)
                except (KeyError, AssertionError, IntegrityError) as error:
                    message = f"position {position} contradicts what is before it: {error}"
                    raise ContradictoryEvent(message, RESTORE_HINT, position) from error
            self.position, self.ms = position, ms

    def apply_rows(self, items: Iterable[Record | Row]) -> None:
        """Fold what `engine.bulk` reads, in its order; as `apply_all`."""
        pools, leases_in = self.pool_table, self.leases_in
        for item in items:
            if isinstance(item, Record):
                self.apply_all((item,))
                continue
            position, ms, fields, _, _ = item
            pools.advance(ms)
            code, event = fields[0], fields[HEADER_MEMBERS:]
            try:
                if code == GRANTED:
                    pools.take(event)
                    leases_in[event[0]] = leases_in.get(event[0], 0) + 1
                elif code == ENDED:
                    left = leases_in[event[1]] = leases_in[event[1]] - 1
                    pools.give_back(event, left, ms if fields[5] is None else fields[5], ms)
            except (KeyError, AssertionError, IntegrityError) as error:
                message = f"position {position} contradicts what is before it: {error}"
                raise ContradictoryEvent(message, RESTORE_HINT, position) from error
            self.position, self.ms = position, ms

    def pools(self) -> Iterable[Pool]:
        """All pools, by name."""
        return self.pool_table

    def counts(self, pool_id: int) -> Counts:
        """The buckets of a pool."""
        return self.pool_table.counts(pool_id)

    def free_ranges(self, pool_id: int) -> Iterable[tuple[int, int]]:
        """What of a pool may be given out, the lowest first."""
        return self.pool_table.free(pool_id).free_ranges()

    def digest(self) -> str:
        """The canonical digest of what is taken: 64 hex digits."""
        hasher = sha256(msgpack.packb(("ipledger free sets", SCHEMA_VERSION, self.position)))
        for pool in sorted(self.pool_table, key=lambda pool: pool.pool_id):
            taken = self.pool_table.free(pool.pool_id).canonical()
            ends = [(low.to_bytes(16), high.to_bytes(16)) for low, high in taken]
            hasher.update(msgpack.packb((pool.pool_id, pool.terminating, ends)))
        return hasher.hexdigest()


def _pool_deleted(sets: FreeSets, _record: Record, event: ev.PoolDeleted) -> None:
    sets.pool_table.delete(event, sets.leases_in.get(event.pool_id, 0))


def _lease_granted(sets: FreeSets, _record: Record, event: ev.LeaseGranted) -> None:
    sets.pool_table.take(event)
    pool_id = event.pool_id
    sets.leases_in[pool_id] = sets.leases_in.get(pool_id, 0) + 1


def _lease_ended(sets: FreeSets, record: Record, event: ev.LeaseEnded) -> None:
    ms, effective_at_ms = record.ms, record.header.effective_at_ms
    left = sets.leases_in[event.pool_id] = sets.leases_in[event.pool_id] - 1
    ended_at_ms = ms if effective_at_ms is None else effective_at_ms
    sets.pool_table.give_back(event, left, ended_at_ms, ms)


# What changes what may be given out. The table's key guarantees each handler its type of event.
_HANDLERS: Final[dict[type[Any], Callable[[FreeSets, Record, Any], None]]] = {
    **DEFINITIONS,
    ev.PoolDeleted: _pool_deleted,
    ev.LeaseGranted: _lease_granted,
    ev.LeaseEnded: _lease_ended,
}
