"""The history of a space as a view: one SQLite file, kept with its checkpoint in one transaction.

Several processes use it at once. Who folds takes the write lock first and reads the checkpoint
again: what another process has folded meanwhile is not folded twice. A file that is damaged, of
another space or of an older version is built anew beside the live one, which its readers keep
until the new one takes its name.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.entry import Record
from engine.errors import ContradictoryEvent, LedgerError
from engine.reading import Checkpoint
from replay.history import schema
from replay.history.digest import digest_of
from replay.history.files import COLLECTED, HistoryFiles, remove, unusable
from replay.history.folding import Batch, contradiction
from replay.history.lookup import TenureSpan
from replay.history.queries import History
from replay.history.trouble import DamagedHistory, is_busy, newer
from replay.history.words import Words
from replay.history.writing import Kept, read_checkpoint, write_batch, write_checkpoint

if TYPE_CHECKING:
    from io import TextIOWrapper

# Records that are kept in memory before they are written; about 20 MB.
_PENDING_MAX: Final = 20_000
# A save of fewer events than this is one that follows the stream, not one that catches up.
_BULK_LEAST: Final = 2_000


class HistoryView:
    """The history of one space in one file. It satisfies `projections.view.View`."""

    name = "history"
    schema_version = schema.SCHEMA_VERSION

    def __init__(self, path: Path, space_id: bytes | None = None) -> None:
        """Keep the history at `path`; with `space_id`, one of another space is built anew."""
        self._files = HistoryFiles(path)
        self._space_id = space_id
        self._database: sqlite3.Connection | None = None
        self._opened: Path | None = None  # the live file that is open
        self._build: Path | None = None  # the file that is being built
        self._replaced: Path | None = None  # what the name stood for when building began
        self._handle: TextIOWrapper | None = None
        self._pending: list[Record] = []
        self._base = 0  # the position that what is pending goes on from
        self._writing = False  # within a write transaction, or in a build beyond its checkpoint
        self._checkpoint: Checkpoint | None = None
        self._words: Words | None = None
        self._first_ms = self._earliest_ms = 0
        self.notice: str | None = None  # why there was nothing to go on from, in words

    # ------------------------------------------------------------------------------- opening

    def load(self) -> Checkpoint | None:
        """Where it stands, or None if it must be built anew; `notice` then says why.

        Raises:
            NewerHistory: a later release has written it.
            Unavailable: it cannot be used.
        """
        self._let_go()
        self.notice = None
        try:
            with self._files.opening():
                target = self._files.target()
                if target is not None:
                    self._open(target)
        except sqlite3.OperationalError as error:
            self._let_go()
            if is_busy(error):
                raise unusable(self._files.path, error) from error
            self.notice = f"is damaged ({error})"
        except (sqlite3.DatabaseError, OverflowError, TypeError, ValueError) as error:
            self._let_go()
            self.notice = f"is damaged ({error})"
        if self._checkpoint is None:
            self._let_go()
        return self._checkpoint

    def _open(self, target: Path) -> None:
        """Open a file if it is what it must be; else say in `notice` what it is."""
        size = target.stat().st_size
        database = schema.connect(target)
        self._database = database
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if application != schema.APPLICATION_ID:
            self.notice = "is no history"
            return
        if version > schema.SCHEMA_VERSION:
            self._let_go()
            raise newer(self._files.path, version)
        if version < schema.SCHEMA_VERSION:
            self.notice = f"is of version {version}"
            return
        database.execute("PRAGMA synchronous = NORMAL")
        (pages,), (page_bytes,) = (
            database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
        )
        log = target.with_name(f"{target.name}-wal")
        if size < pages * page_bytes and not (log.exists() and log.stat().st_size):
            self.notice = "is truncated"
            return
        self._words = Words(database)
        checkpoint = self._read_checkpoint()
        if checkpoint is None:
            self.notice = "has no checkpoint"
        elif self._space_id is not None and checkpoint.space_id != self._space_id:
            self.notice = f"is of another space ({checkpoint.space_id.hex()})"
        else:
            self._checkpoint = checkpoint
            self._base = checkpoint.position
            self._opened = target

    def _read_checkpoint(self) -> Checkpoint | None:
        kept = read_checkpoint(self._connection)
        if kept is None:
            return None
        self._first_ms, self._earliest_ms = kept.first_ms, kept.earliest_ms
        return kept.checkpoint

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._database is not None, "the history is not open"
        return self._database

    def discard(self, why: str) -> None:
        """Build it anew from here on, beside the one that is there."""
        self._let_go()
        self.notice = why

    def _begin_building(self) -> None:
        self._replaced = self._files.target()
        self._build, self._handle = self._files.begin_building()
        with self._told():
            self._database = schema.connect(self._build)
            schema.create(self._database, f"{self._build}{COLLECTED}")
        self._words = Words(self._database)

    # --------------------------------------------------------------------------------- folding

    def apply_all(self, records: Sequence[Record]) -> None:
        """Fold whole commits, in their order.

        Raises:
            ContradictoryEvent: an event ends what is not there.
            Unavailable: the file cannot be written.
        """
        if self._database is None:
            self._begin_building()
        self._pending += records
        if len(self._pending) >= _PENDING_MAX:
            self._flush()

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep what was folded and the checkpoint, both or neither.

        While it is built anew it is switched to by the first save of little: then what there was
        has been caught up with. `settle` does so at once.

        Raises:
            ContradictoryEvent: an event ends what is not there; nothing is kept of this.
            Unavailable: the file cannot be written.
        """
        if self._database is None:
            self._begin_building()
        follows = len(self._pending) < _BULK_LEAST and not self._writing
        self._flush()
        with self._told():
            stored = self._read_checkpoint()
            if stored is None or stored.position < checkpoint.position:
                kept = Kept(checkpoint, self._first_ms, self._earliest_ms)
                write_checkpoint(self._connection, kept)
                self._checkpoint = checkpoint
            else:
                self._checkpoint = stored  # another process has come as far or farther
            self._connection.execute("COMMIT")
        self._writing = False
        self._base = self._checkpoint.position
        if self._build is not None and follows:
            self.settle()

    def settle(self) -> None:
        """If it is being built anew: put what was saved in order, and let it take the name.

        Raises:
            ContradictoryEvent: an event ended what was not there.
            Unavailable: the file cannot be written.
        """
        if self._build is None or self._checkpoint is None:
            return
        database, build = self._connection, self._build
        with self._told():
            homeless = schema.first_homeless(database)
            if homeless is not None:
                self._let_go()
                raise contradiction(*homeless)
            schema.arrange(database)
            # Until here it was nobody's; from here on a crash must leave it whole.
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("BEGIN IMMEDIATE")
            database.execute("UPDATE checkpoint SET one = one")
            database.execute("COMMIT")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.close()
        with build.open("rb") as file:  # what was written before the log was not yet forced out
            os.fsync(file)
        build.with_name(build.name + COLLECTED).unlink()
        checkpoint, self._build = self._checkpoint, None
        self._take_name(build, checkpoint)
        self._let_go()
        self.load()

    def _take_name(self, build: Path, checkpoint: Checkpoint) -> None:
        """Switch to a build, unless another process has built the same meanwhile and as far.

        What has the name then is held until that is done: nobody folds on in what loses its name.
        """
        while True:
            target = self._files.target()
            other = HistoryView(self._files.path, checkpoint.space_id)
            try:
                if target != self._replaced and other._reaches(checkpoint):
                    remove(build)
                    return
                if self._files.switch(build, target):
                    return
            finally:
                other.close()

    def _reaches(self, checkpoint: Checkpoint) -> bool:
        """Open it, hold it against all who fold, and tell whether it has come as far.

        Where the lock is not to be had, for who holds it is stuck, what is committed counts.
        """
        found: Checkpoint | None = None
        with suppress(LedgerError):
            found = self.load()
            if found is not None:
                self._begin_writing()
                found = self._read_checkpoint()
        return (
            found is not None
            and found.generation == checkpoint.generation
            and found.position >= checkpoint.position
        )

    def _flush(self) -> None:
        """Write what is pending, unless another process has."""
        if not self._writing:
            self._begin_writing()
        records = [r for r in self._pending if r.position > self._base]
        self._pending = []
        try:
            with self._told():
                self._write(records)
        except ContradictoryEvent:
            self._let_go()
            raise

    def _follow_switch(self) -> None:
        """If another process has built it anew: go on in the new file.

        Raises:
            Unavailable: the new one does not reach as far as this one did.
        """
        if self._build is not None or self._files.stands_for(self._opened):
            return
        pending, before = self._pending, self._checkpoint
        found = self.load()
        if before is not None and (
            found is None or found.space_id != before.space_id or found.position < before.position
        ):
            self._let_go()
            raise unusable(self._files.path, OSError("it was replaced meanwhile"))
        self._pending = pending

    def _begin_writing(self) -> None:
        self._follow_switch()
        with self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            # Who holds the lock of what has the name keeps the name on it: it is looked at again.
            while self._build is None and not self._files.stands_for(self._opened):
                self._connection.execute("ROLLBACK")
                self._follow_switch()
                self._connection.execute("BEGIN IMMEDIATE")
            if self._build is None:
                stored = self._read_checkpoint()
                if stored is None or stored.position < self._base:
                    self._let_go()
                    raise unusable(self._files.path, OSError("it was replaced meanwhile"))
                self._base = stored.position
        self._writing = True

    def _write(self, records: list[Record]) -> None:
        assert self._words is not None, "the history is open"
        batch = Batch(self._words)
        batch.fold_all(records)
        if batch.first_ms is not None:
            self._first_ms = self._earliest_ms = batch.first_ms
        if batch.earliest_ms is not None:
            self._earliest_ms = min(self._earliest_ms, batch.earliest_ms)
        write_batch(self._connection, batch, collects=self._build is not None)

    # ------------------------------------------------------------------------------- answering

    @contextmanager
    def reading(self) -> Iterator[History]:
        """What may be asked, all of it as of one position; what was not saved is not in it.

        Raises:
            DamagedHistory: the file is not what was written; build it anew and ask again.
            Unavailable: it cannot be read.
        """
        self.settle()
        if not self._writing:
            self._follow_switch()
        assert not self._writing, "what was folded is saved before it is asked for"
        database, words = self._connection, self._words
        assert words is not None, "an open file has words"
        with self._told():
            database.execute("BEGIN")
            try:
                checkpoint = self._read_checkpoint()
                assert checkpoint is not None, "a live file has a checkpoint"
                yield History(database, words, checkpoint, self._first_ms, self._earliest_ms)
            finally:
                with suppress(sqlite3.Error):
                    database.execute("COMMIT")

    def tenures_at(self, address: bytes) -> list[TenureSpan]:
        """The tenures of an address, of blocks that contain it too, in order of their beginning."""
        with self.reading() as history:
            return history.tenures_at(address)

    def digest(self) -> str:
        """The canonical digest of the history: 64 hex digits, the same for the same events."""
        with self.reading() as history:
            return digest_of(history)

    def close(self) -> None:
        """Let go of the file; what was built anew and saved takes its name first."""
        try:
            if self._build is not None and not self._writing and not self._pending:
                self.settle()
        finally:
            self._let_go()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the disk, a lock or a damaged page says no to is told as such.

        Raises:
            DamagedHistory: the file is not what was written.
            Unavailable: it cannot be used now.
        """
        path = self._files.path
        try:
            yield
        except (sqlite3.DatabaseError, OverflowError) as error:
            is_build = self._build is not None
            self._let_go()
            if is_build or is_busy(error):
                raise unusable(path, error) from error
            with suppress(OSError):
                path.unlink()
            message = f"the history {path} is damaged ({error})"
            raise DamagedHistory(message, "ask again: it is built anew from the stream") from error

    def _let_go(self) -> None:
        """Close everything; what is not saved is gone."""
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
        if self._build is not None:
            remove(self._build)
        if self._handle is not None:
            self._handle.close()
        self._database = self._words = self._handle = self._build = self._checkpoint = None
        self._opened = None
        self._pending = []
        self._base = 0
        self._writing = False
