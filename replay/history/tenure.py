"""One tenure: a lease from its grant to its end, on both time axes, and its row in the file."""

from __future__ import annotations

import sqlite3
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgpack

from engine.addresses import Address
from engine.model import ENDINGS
from engine.names import Labels
from replay.history.lookup import TenureSpan
from replay.history.words import Words

Row = tuple[Any, ...]
_pack = msgpack.Packer().pack


class Ending(NamedTuple):
    """How a tenure ended: when it was over, where and when that was recorded, by whom, why.

    ``how`` is one of ``engine.model.ENDINGS``.
    """

    to_ms: int
    position: int
    recorded_ms: int
    how: str
    actor: str | None
    reason: str | None


class Tenure(NamedTuple):
    """An address, or a block, that was an owner's.

    ``from_ms`` is when it was true, ``recorded_ms`` when the ledger was told. ``supersedes`` is
    the lease of the owner's earlier incarnation, ``source`` says where an imported lease is from.
    ``expires_ms`` and ``renewals`` are as of the position of the answer; what was known of them
    at an earlier time is not kept, and is None there. ``leases`` are the ids of all leases that
    this is merged of, its own alone unless merging was asked for.
    """

    address: Address
    prefix_length: int
    from_ms: int
    lease_id: int
    recorded_ms: int
    owner: str
    interface: str
    uid: str | None
    labels: Labels
    cluster: str | None
    pool_id: int
    pool: str
    supersedes: int | None
    source: str | None
    actor: str | None
    reason: str | None
    expires_ms: int | None
    renewals: int | None
    ending: Ending | None
    leases: tuple[int, ...]

    @property
    def to_ms(self) -> int | None:
        """When it was over; None while it lasts, as far as was known."""
        return None if self.ending is None else self.ending.to_ms

    @property
    def began(self) -> str:
        """How it began: ``granted``, ``superseding`` an earlier incarnation, or ``imported``."""
        if self.supersedes is not None:
            return "superseding"
        return "granted" if self.source is None else "imported"

    def covers(self, at_ms: int) -> bool:
        """Whether it was so at that time; the end does not belong to it."""
        return self.from_ms <= at_ms and (self.to_ms is None or at_ms < self.to_ms)


def seal_of(*values: Any) -> int:
    """The CRC-32 of plain values: of what a row says, not of how it is stored."""
    return crc32(_pack(values))


DAMAGED: Final = "a row does not match its check value"


class TenureReader:
    """Rows of the tenure table as tenures: words looked up, check values compared."""

    def __init__(self, database: sqlite3.Connection, words: Words) -> None:
        self._database = database
        self._words = words
        self._pools: dict[int, str] = {}

    def read(self, row: Row, known_at_ms: int | None = None) -> Tenure:
        """A row as it was known at a time, or as it is known now.

        Raises:
            sqlite3.DatabaseError: it is not what was written.
        """
        (key, prefix_length, from_ms, granted, granted_ms, owner, interface, uid, labels, cluster,
         pool_id, supersedes, source, actor, reason, seal, expires_ms, renewals,
         *end) = row  # fmt: skip
        text = self._words.texts
        grant: Row = (
            from_ms, granted, granted_ms, owner, text[interface], uid,
            self._words.label_sets[labels], text[cluster], pool_id,
            supersedes, text[source], text[actor], text[reason],
        )  # fmt: skip
        if seal_of(key, prefix_length, *grant) != seal:
            raise sqlite3.DatabaseError(DAMAGED)
        ending = self._ending(granted, end)
        if known_at_ms is not None:
            expires_ms = renewals = None
            if ending is not None and ending.recorded_ms > known_at_ms:
                ending = None
        return Tenure._make((
            Address(key[1:]), prefix_length, *grant[:9], self.pool_name(pool_id), *grant[9:],
            expires_ms, renewals, ending, (granted,),
        ))  # fmt: skip

    def read_span(self, row: Row) -> TenureSpan:
        """What attribution needs of a row, as it is known now: as checked as `read`, and faster.

        Raises:
            sqlite3.DatabaseError: it is not what was written.
        """
        (key, prefix_length, from_ms, granted, granted_ms, owner, interface, uid, labels, cluster,
         pool_id, supersedes, source, actor, reason, seal, _, _,
         to_ms, ended, ended_ms, ended_how, ended_by, end_reason, end_seal) = row  # fmt: skip
        text, pairs = self._words.texts, self._words.label_sets[labels]
        named, cluster = text[interface], text[cluster]
        packed = _pack((
            key, prefix_length, from_ms, granted, granted_ms, owner, named, uid, pairs,
            cluster, pool_id, supersedes, text[source], text[actor], text[reason],
        ))  # fmt: skip
        if crc32(packed) != seal:
            raise sqlite3.DatabaseError(DAMAGED)
        if ended is not None:
            end = (granted, to_ms, ended, ended_ms, ended_how, text[ended_by], text[end_reason])
            if crc32(_pack(end)) != end_seal:
                raise sqlite3.DatabaseError(DAMAGED)
        pool = self._pools.get(pool_id) or self.pool_name(pool_id)
        return TenureSpan(from_ms, to_ms, owner, granted, pairs, pool, named or "", cluster)

    def _ending(self, granted: int, end: list[Any]) -> Ending | None:
        to_ms, ended, ended_ms, ended_how, ended_by, end_reason, end_seal = end
        if ended is None:
            return None
        text = self._words.texts
        actor, reason = text[ended_by], text[end_reason]
        if seal_of(granted, to_ms, ended, ended_ms, ended_how, actor, reason) != end_seal:
            raise sqlite3.DatabaseError(DAMAGED)
        return Ending(to_ms, ended, ended_ms, ENDINGS[ended_how], actor, reason)

    def pool_name(self, pool_id: int) -> str:
        """The name that a pool has for all its life; its number, if it is not known."""
        name = self._pools.get(pool_id)
        if name is None:
            row = self._database.execute(
                "SELECT name FROM definition WHERE kind = 0 AND object_id = ? LIMIT 1", (pool_id,)
            ).fetchone()
            name = f"#{pool_id}" if row is None else str(row[0])
            self._pools[pool_id] = name
        return name
