"""The state of a space, kept on this machine so that the next process need not fold it anew.

One SQLite file: a row a page, and one that says what the pages are of. View and checkpoint are
written in one transaction; who reads sees one such transaction and nothing of a later one. The
file can be thrown away at any time, and is, when it is not what was written (ADR 0012).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from tempfile import mkstemp
from typing import Any, Final
from urllib.parse import quote

from engine.entry import Anchor, Record
from engine.errors import ViewDamaged
from engine.reading import Checkpoint
from projections.digest import DIGEST_VERSION, state_digest
from projections.pages import damaged, pack_page, unpack_page
from projections.state import SCHEMA_VERSION, LedgerState

# Of the file's form: another one is built anew.
FORM: Final = 1
_APPLICATION_ID: Final = 0x69706C31  # "ipl1"
_ABOUT: Final = "about"  # the table of the one page that says what the others are of
_BUSY_S: Final = 0.2  # who cannot write now leaves it to somebody else
_KEPT_S: Final = 600
_CREATE: Final = (
    "CREATE TABLE page (tbl TEXT NOT NULL, number INTEGER NOT NULL, body BLOB NOT NULL,"
    " PRIMARY KEY (tbl, number)) WITHOUT ROWID"
)


class StateView:
    """A `LedgerState` in a file. Satisfies `projections.view.View`."""

    name = "state"
    schema_version = SCHEMA_VERSION * 1_000 + DIGEST_VERSION * 10 + FORM

    def __init__(self, path: Path) -> None:
        """Keep the state under `path`; nothing is opened before `load`.

        `path` itself holds the name of the file that is current. A file that is built anew has a
        name of its own, so that what SQLite keeps beside one is never taken for another's.
        """
        self.path = path
        self.state = LedgerState()
        self._connection: sqlite3.Connection | None = None
        self._loaded: tuple[Path, Checkpoint] | None = None
        self._complete = True  # whether all of the state is in memory

    def load(self) -> Checkpoint | None:
        """Show what the file holds; None, and an empty state, if it holds nothing of use."""
        self.forget()
        try:
            current = self.path.with_name(self.path.read_text("ascii"))
            self._connection = _connect(current)
            self._connection.execute("BEGIN")  # nothing that is written later is seen
            if _pragma(self._connection, "application_id") != _APPLICATION_ID:
                raise damaged("it is another file")
            told = self.read(_ABOUT, 0)
            if told["schema_version"] != self.schema_version:
                raise damaged("it is of another release")
            checkpoint = _checkpoint(told["checkpoint"])
            self.state = LedgerState.kept(self, told["state"])
            self._loaded, self._complete = (current, checkpoint), False
        except (OSError, sqlite3.Error, ViewDamaged, KeyError, TypeError, ValueError):
            self.forget()
            return None
        return checkpoint

    def discard(self, why: str) -> None:
        """Show an empty state, to be folded from the beginning; the next `save` replaces all."""
        del why
        self.forget()

    def forget(self) -> None:
        """Show nothing: an empty state, to be folded from the beginning."""
        self.close()
        self.state, self._loaded, self._complete = LedgerState(), None, True

    def read(self, table: str, number: int) -> Any:
        """See `projections.pages.PageSource.read`. A view that is damaged is of no use again."""
        try:
            return self._read(table, number)
        except sqlite3.Error as error:
            self.path.unlink(missing_ok=True)
            raise damaged(str(error)) from error
        except ViewDamaged:
            self.path.unlink(missing_ok=True)
            raise

    def _read(self, table: str, number: int) -> Any:
        if self._connection is None:
            raise damaged("it was closed")
        row = self._connection.execute(
            "SELECT body FROM page WHERE tbl = ? AND number = ?", (table, number)
        ).fetchone()
        if row is None:
            raise damaged(f"page {number} of {table} is missing")
        return unpack_page(table, number, row[0])

    def apply_all(self, records: Sequence[Record]) -> None:
        """See `projections.view.View.apply_all`."""
        self.state.apply_all(records)

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep the state, which is as of `checkpoint`, unless somebody else kept a newer one.

        What cannot be written is not, since the view only saves time. A state of which a part was
        not read from its file is kept once; what comes after that is for the next to keep.
        """
        loaded, self._loaded = self._loaded, None
        try:
            if loaded is not None:
                self._write_changes(*loaded, checkpoint)
            elif self._complete:
                self._write_new(checkpoint)
            self._clean_up()
        except (sqlite3.Error, OSError, ViewDamaged):
            return  # a full disk, a directory that cannot be written, somebody else who writes

    def read_all(self) -> None:
        """Read everything, and let go of the file: for a process that stays."""
        self.state.read_all()
        self._loaded, self._complete = None, True
        self.close()

    def digest(self) -> str:
        """See `projections.view.View.digest`."""
        return state_digest(self.state)

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write_new(self, checkpoint: Checkpoint) -> None:
        """Write everything into a new file, and name it as the current one."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, made = mkstemp(".sqlite", f"{self.path.name}.", self.path.parent)
        os.close(handle)
        building = Path(made)
        try:
            with closing(_connect(building)) as connection:
                # Nobody reads it yet, so that a crash costs nothing but the file.
                connection.execute("PRAGMA journal_mode = OFF")
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute("BEGIN")
                connection.execute(_CREATE)
                self._put_all(connection, checkpoint)
                connection.execute("COMMIT")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA journal_mode = WAL")
            name = building.with_suffix(".name")
            name.write_text(building.name, "ascii")
            name.replace(self.path)
        except BaseException:
            building.unlink(missing_ok=True)
            raise

    def _clean_up(self) -> None:
        """Remove the files that are current no more, and have not been for a while.

        Whoever has just read an old name must still find all of what is behind it. The time is
        that of what was written last: this runs behind a write.
        """
        current = self.path.read_text("ascii")
        written: dict[Path, float] = {}
        for path in self.path.parent.glob(f"{self.path.name}.*"):
            with suppress(FileNotFoundError):  # somebody else removed it
                written[path] = path.stat().st_mtime
        newest = max(written.values(), default=0.0)
        for path, at in written.items():
            if newest - at > _KEPT_S and not path.name.startswith(current):
                path.unlink(missing_ok=True)

    def _write_changes(self, current: Path, loaded: Checkpoint, checkpoint: Checkpoint) -> None:
        """Write what has changed since it was loaded, if the file still is as it was then."""
        with closing(_connect(current)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute(
                "SELECT body FROM page WHERE tbl = ? AND number = 0", (_ABOUT,)
            ).fetchone()
            told = unpack_page(_ABOUT, 0, row and row[0])
            if _checkpoint(told["checkpoint"]) == loaded:
                self._put_all(connection, checkpoint)
                connection.execute("COMMIT")

    def _put_all(self, connection: sqlite3.Connection, checkpoint: Checkpoint) -> None:
        sink = _Sink(connection.execute)
        told = self.state.keep(sink)
        about = {
            "schema_version": self.schema_version,
            "checkpoint": _plain(checkpoint),
            "state": told,
        }
        sink.put(_ABOUT, 0, about)


class _Sink:
    """Pages into rows."""

    def __init__(self, execute: Callable[[str, tuple[object, ...]], object]) -> None:
        self._execute = execute

    def put(self, table: str, number: int, value: object) -> None:
        """See `projections.pages.PageSink.put`."""
        row = (table, number, pack_page(table, number, value))
        self._execute("INSERT OR REPLACE INTO page VALUES (?, ?, ?)", row)

    def drop(self, table: str, number: int) -> None:
        """See `projections.pages.PageSink.drop`."""
        self._execute("DELETE FROM page WHERE tbl = ? AND number = ?", (table, number))


def _connect(path: Path) -> sqlite3.Connection:
    # Used by one thread at a time: whoever leads the writer.
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=rw",
        uri=True,
        isolation_level=None,
        timeout=_BUSY_S,
        check_same_thread=False,
    )
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _plain(checkpoint: Checkpoint) -> tuple[Any, ...]:
    return (*checkpoint[:-1], tuple(checkpoint.anchor))


def _checkpoint(plain: tuple[Any, ...]) -> Checkpoint:
    space_id, space, generation, voided, anchor = plain
    return Checkpoint(space_id, space, generation, voided, Anchor(*anchor))
