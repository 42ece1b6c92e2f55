"""Writing to a history's file: a batch of rows, and the checkpoint that stands with them."""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from engine.entry import Anchor
from engine.errors import ContradictoryEvent
from engine.reading import Checkpoint
from replay.history import schema
from replay.history.definitions import DefinitionFold
from replay.history.folding import Batch, Ended, Renewed, contradiction
from replay.history.tenure import seal_of

_INSERT: Final = f"VALUES ({', '.join('?' * len(schema.TENURE_COLUMNS))})"
# The tenure that lasts is the last of its address: found without an index by lease.
_LAST_OF: Final = (
    "WHERE address = ? AND prefix_length = ? AND granted = ? AND from_ms = (SELECT from_ms FROM "
    "tenure WHERE address = ? AND prefix_length = ? ORDER BY from_ms DESC, granted DESC LIMIT 1)"
)


class Kept(NamedTuple):
    """A checkpoint as it is kept.

    ``first_ms`` is when the first event was recorded, ``earliest_ms`` the earliest time that any
    event speaks of.
    """

    checkpoint: Checkpoint
    first_ms: int
    earliest_ms: int


def read_checkpoint(database: sqlite3.Connection) -> Kept | None:
    """The checkpoint of a file, if it has one.

    Raises:
        sqlite3.DatabaseError: it is not what was written.
    """
    row = database.execute(
        "SELECT space_id, space, generation, voided, ms, position, c, first_ms, earliest_ms, "
        "seal FROM checkpoint"
    ).fetchone()
    if row is None:
        return None
    if seal_of(*row[:9]) != row[9]:
        message = "its checkpoint does not match its check value"
        raise sqlite3.DatabaseError(message)
    space_id, space, generation, voided, ms, position, c, first_ms, earliest_ms, _ = row
    checkpoint = Checkpoint(space_id, space, generation, voided, Anchor(ms, position, c))
    return Kept(checkpoint, first_ms, earliest_ms)


def write_checkpoint(database: sqlite3.Connection, kept: Kept) -> None:
    """Keep a checkpoint in place of the one before."""
    checkpoint, first_ms, earliest_ms = kept
    values = (*checkpoint[:4], *checkpoint.anchor, first_ms, earliest_ms)
    database.execute(
        "INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, seal_of(*values)),
    )


def write_batch(database: sqlite3.Connection, batch: Batch, *, collects: bool) -> None:
    """Write what a batch amounts to; a rebuild collects it, to be put in order at its end.

    Raises:
        ContradictoryEvent: an event ends what is not there.
    """
    if collects:
        _collect(database, batch)
    else:
        for ended in batch.ended:
            _end(database, ended)
        for renewed in batch.renewed.values():
            _renew(database, renewed)
        database.executemany(f"INSERT INTO tenure {_INSERT}", batch.granted.values())
    sizes = {(row[0][0], row[1]) for row in batch.granted.values()}
    database.executemany("INSERT OR IGNORE INTO block_size VALUES (?, ?)", sizes)
    definitions = DefinitionFold(database)
    for record in batch.defining:
        definitions.fold(record)


def _collect(database: sqlite3.Connection, batch: Batch) -> None:
    database.executemany(f"INSERT INTO collected.granted {_INSERT}", batch.granted.values())
    database.executemany(
        "INSERT INTO collected.renewed VALUES (?, ?, ?) ON CONFLICT (granted) DO UPDATE "
        "SET expires_ms = excluded.expires_ms, renewals = renewals + excluded.renewals",
        [(r.lease_id, r.expires_ms, r.times) for r in batch.renewed.values()],
    )
    try:
        database.executemany(
            "INSERT INTO collected.ended VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(e.lease_id, e.key, e.prefix_length, *e.row) for e in batch.ended],
        )
    except sqlite3.IntegrityError as error:
        raise _twice(database, batch.ended) from error


def _twice(database: sqlite3.Connection, ended: list[Ended]) -> ContradictoryEvent:
    """Of ends, the first whose lease had one before."""
    for end in ended:
        (position,) = database.execute(
            "SELECT ended FROM collected.ended WHERE granted = ?", (end.lease_id,)
        ).fetchone()
        if position != end.row[1]:
            return contradiction(end.row[1], end.lease_id)
    raise AssertionError("a key is there twice")


def _end(database: sqlite3.Connection, ended: Ended) -> None:
    columns = ", ".join(f"{name} = ?" for name in schema.TENURE_COLUMNS[schema.END_AT :])
    done = database.execute(
        f"UPDATE tenure SET {columns} {_LAST_OF} AND ended IS NULL",  # noqa: S608
        (*ended.row, *_last_of(ended)),
    )
    if done.rowcount != 1:
        raise contradiction(ended.row[1], ended.lease_id)


def _renew(database: sqlite3.Connection, renewed: Renewed) -> None:
    database.execute(
        f"UPDATE tenure SET expires_ms = ?, renewals = renewals + ? {_LAST_OF}",  # noqa: S608
        (renewed.expires_ms, renewed.times, *_last_of(renewed)),
    )


def _last_of(changed: Ended | Renewed) -> tuple[object, ...]:
    block = (changed.key, changed.prefix_length)
    return (*block, changed.lease_id, *block)
