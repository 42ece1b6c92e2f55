"""What a history can be asked. Every answer is as of one position, which `checkpoint` tells.

Two time axes: ``at`` and the ends of a span are times at which something was true; ``known_at``
leaves out what the ledger was told later. Intervals are half-open: an end does not belong to them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

from engine.addresses import BITS, Address, Subnet, family_of, from_int
from engine.entry import ORIGIN
from engine.reading import Checkpoint
from replay.history.definitions import COLUMNS, KINDS, Kind, Version, versions
from replay.history.lookup import TenureSpan
from replay.history.schema import TENURE_COLUMNS, family_key, nothing
from replay.history.tenure import Row, Tenure, TenureReader
from replay.history.words import Words

LIMIT: Final = 10_000
_SELECT: Final = f"SELECT {', '.join(TENURE_COLUMNS)} FROM tenure"  # noqa: S608

_LIFE: Final = f"{_SELECT} WHERE address = ? AND prefix_length = ? ORDER BY from_ms, granted"


class Span(NamedTuple):
    """Which part of history is asked for, on both axes; None is without a bound.

    ``from_ms`` and ``to_ms`` are half-open: what ended at ``from_ms`` or began at ``to_ms`` is not
    in it. ``known_at_ms`` counts what was recorded until then, that millisecond included.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    known_at_ms: int | None = None

    @classmethod
    def at(cls, at_ms: int, known_at_ms: int | None = None) -> Span:
        """One millisecond."""
        return cls(at_ms, at_ms + 1, known_at_ms)


ALWAYS: Final = Span()


class Wanted(NamedTuple):
    """Which tenures are asked for: conditions with their values, no tenure meets two of them."""

    parts: tuple[tuple[str, tuple[object, ...]], ...]


class Seen(NamedTuple):
    """When something was first and last held: ``last_ms`` is None while it is held.

    ``first_ms`` is None if it never was.
    """

    first_ms: int | None
    last_ms: int | None


class History:
    """The history of a space as of one position; the file stands still while it is asked."""

    def __init__(
        self,
        database: sqlite3.Connection,
        words: Words,
        checkpoint: Checkpoint,
        first_ms: int,
        earliest_ms: int,
    ) -> None:
        """Answer from an open read transaction.

        `first_ms` is when the first event was recorded, `earliest_ms` the earliest time that any
        event speaks of: before it there is nothing to tell.
        """
        self.checkpoint = checkpoint
        self.first_ms = first_ms
        self.earliest_ms = earliest_ms
        self._database = database
        self._reader = TenureReader(database, words)

    @property
    def position(self) -> int:
        """The position that every answer is as of."""
        return self.checkpoint.position

    # ------------------------------------------------------------------------------- addresses

    def holder(
        self, address: Address, at_ms: int, known_at_ms: int | None = None
    ) -> Tenure | None:  # fmt: skip
        """Who held an address at a time, alone or in a block; the smallest block, if several."""
        # The tenures of one block do not overlap in effect: only the last begun can cover it.
        begun = self._last_begun(address, at_ms, known_at_ms)
        return next((tenure for tenure in begun if tenure.covers(at_ms)), None)

    def last_before(
        self, address: Address, at_ms: int, known_at_ms: int | None = None
    ) -> Tenure | None:  # fmt: skip
        """The last tenure of an address that began by then, alone or in a block, over or not."""
        begun = self._last_begun(address, at_ms, known_at_ms)
        return max(begun, key=_beginning, default=None)

    def _last_begun(
        self, address: Address, at_ms: int, known_at_ms: int | None
    ) -> Iterator[Tenure]:  # fmt: skip
        """The last tenure to begin by then of each block that an address lies in, itself first."""
        for key, prefix_length in self._blocks(address):
            row = self._database.execute(
                f"{_SELECT} WHERE address = ? AND prefix_length = ? AND from_ms <= ? "
                "AND granted_ms <= ? ORDER BY from_ms DESC, granted DESC LIMIT 1",
                (key, prefix_length, at_ms, _unbounded(known_at_ms)),
            ).fetchone()
            if row is not None:
                yield self._reader.read(row, known_at_ms)

    def of_address(self, address: Address) -> Wanted:
        """An address, and the blocks that contain it."""
        where = "address = ? AND prefix_length = ?"
        return Wanted(tuple((where, block) for block in self._blocks(address)))

    def of_block(self, block: Subnet) -> Wanted:
        """Everything in a block, and the blocks that contain it."""
        first = from_int(block.first, block.family)
        last = from_int(block.last, block.family)
        within = "address BETWEEN ? AND ? AND prefix_length >= ?"
        ends = (family_key(first), family_key(last), block.prefix_length)
        around = [
            ("address = ? AND prefix_length = ?", (key, prefix_length))
            for key, prefix_length in self._blocks(first)
            if prefix_length < block.prefix_length
        ]
        return Wanted(((within, ends), *around))

    def of_owner(self, owner: str, interface: str | None = None) -> Wanted:
        """Everything of an owner, on one interface or on all."""
        if interface is None:
            return Wanted((("owner = ?", (owner,)),))
        where = "owner = ? AND interface = (SELECT id FROM word WHERE value = ?)"
        return Wanted(((where, (owner, interface)),))

    def of_label(self, key: str, value: str) -> Wanted:
        """Everything that was held with a label."""
        where = "labels IN (SELECT labels FROM label WHERE key = ? AND value = ?)"
        return Wanted(((where, (key, value)),))

    def of_actor(self, actor: str) -> Wanted:
        """Everything that an actor granted."""
        where = "granted_by = (SELECT id FROM word WHERE value = ?)"
        return Wanted(((where, (actor,)),))

    def tenures(self, wanted: Wanted, span: Span = ALWAYS, limit: int = LIMIT) -> list[Tenure]:
        """The tenures in a span, in order of their beginning: the first so many, or all (-1)."""
        found = [
            tenure
            for where, values in wanted.parts
            for tenure in self._found(where, values, span, limit)
        ]
        if len(wanted.parts) > 1:
            found.sort(key=_beginning)
        return found if limit < 0 else found[:limit]

    def seen(self, wanted: Wanted, known_at_ms: int | None = None) -> Seen:
        """When any of it was first held, and when last."""
        first_ms: int | None = None
        last_ms: int | None = 0
        known = _unbounded(known_at_ms)
        for where, values in wanted.parts:
            begun_ms, ended_ms, lasting = self._database.execute(
                "SELECT min(from_ms), max(iif(ended_ms <= ?, to_ms, NULL)), "  # noqa: S608
                "count(*) FILTER (WHERE ended IS NULL OR ended_ms > ?) "
                f"FROM tenure WHERE {where} AND granted_ms <= ?",
                (known, known, *values, known),
            ).fetchone()
            if begun_ms is None:
                continue
            first_ms = begun_ms if first_ms is None else min(first_ms, begun_ms)
            if last_ms is not None:
                last_ms = None if lasting else max(last_ms, ended_ms)
        return Seen(first_ms, None if first_ms is None else last_ms)

    def _blocks(self, address: Address) -> Iterator[tuple[bytes, int]]:
        """The blocks that contain an address, of the sizes that were ever granted."""
        family = family_of(address)
        bits, number = BITS[family], int.from_bytes(address)
        sizes = self._database.execute(
            "SELECT prefix_length FROM block_size WHERE family = ? ORDER BY prefix_length DESC",
            (family,),
        ).fetchall()
        for (prefix_length,) in sizes:
            host_bits = bits - prefix_length
            yield family_key(from_int(number >> host_bits << host_bits, family)), prefix_length

    def tenures_at(self, address: bytes) -> list[TenureSpan]:
        """The tenures of an address, of blocks that contain it too, in order of their beginning."""
        read = self._reader.read_span
        found = [
            read(row)
            for block in self._blocks(Address(address))
            for row in self._database.execute(_LIFE, block)
        ]
        # Those of one block come in order; between blocks it is still to be made.
        found.sort(key=_first)
        return found

    def _found(
        self, where: str, values: tuple[object, ...], span: Span, limit: int
    ) -> list[Tenure]:
        """Tenures in order of their beginning, as they were known."""
        known_at_ms = span.known_at_ms
        terms, arguments = [where], list(values)
        if known_at_ms is not None:
            terms.append("granted_ms <= ?")
            arguments.append(known_at_ms)
        if span.to_ms is not None:
            terms.append("from_ms < ?")
            arguments.append(span.to_ms)
        if span.from_ms is not None:
            # What was over by then, unless its end was not known yet. A tenure of no length is in
            # a span that its moment is in.
            over = "to_ms <= ? AND from_ms < ?"
            arguments += [span.from_ms, span.from_ms]
            if known_at_ms is not None:
                over += " AND ended_ms <= ?"
                arguments.append(known_at_ms)
            terms.append(f"(ended IS NULL OR NOT ({over}))")
        arguments.append(limit)
        rows = self._database.execute(
            f"{_SELECT} WHERE {' AND '.join(terms)} ORDER BY from_ms, granted LIMIT ?", arguments
        )
        read = self._reader.read
        return [read(row, known_at_ms) for row in rows]

    def everything(self) -> Iterator[Tenure]:
        """Every tenure, by address."""
        order = "ORDER BY address, prefix_length, from_ms, granted"
        return map(self._reader.read, self._database.execute(f"{_SELECT} {order}"))

    def definition_rows(self, kind: Kind) -> Iterator[Row]:
        """Every version of one kind of definition, as it is kept."""
        asked = f"SELECT {COLUMNS} FROM definition WHERE kind = ?"  # noqa: S608 - constants
        values = (KINDS.index(kind),)
        return self._database.execute(f"{asked} ORDER BY object_id, position", values)

    # ------------------------------------------------------------------------------ definitions

    def versions(
        self, kind: Kind, *, name: str | None = None, at_ms: int | None = None
    ) -> Iterator[Version]:
        """Definitions of one kind, by position: those of a name, or those in force at a time."""
        return versions(self._database, kind, name=name, at_ms=at_ms)


class NoHistory:
    """The history of a space in which nothing has happened yet."""

    def __init__(self) -> None:
        self._database = nothing()
        checkpoint = Checkpoint(bytes(16), "", 0, 0, ORIGIN)
        self.history = History(self._database, Words(self._database), checkpoint, 0, 0)

    def close(self) -> None:
        """Let go of it."""
        self._database.close()


def _unbounded(known_at_ms: int | None) -> int:
    return (1 << 62) if known_at_ms is None else known_at_ms


def _beginning(tenure: Tenure) -> tuple[int, int]:
    return tenure.from_ms, tenure.lease_id


def _first(span: TenureSpan) -> tuple[int, int]:
    return span.from_ms, span.lease_id
