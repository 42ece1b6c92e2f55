"""SQLite as most IPAMs use a database, and as a careful person would.

Both are durable (`synchronous=FULL` in WAL mode: a commit is on the disk before it is answered) and
right between processes (`BEGIN IMMEDIATE`: one writer at a time). Neither keeps any history.
"""

from __future__ import annotations

import sqlite3
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.peers.peer import Held, Job, Peer, filler

COMMIT: Final = "SQLite: one row, one commit"
_BUSY_S: Final = 60.0


def opened(path: Path) -> sqlite3.Connection:
    """A durable connection that begins its transactions by hand."""
    connection = sqlite3.connect(
        path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


class BareCommit:
    """A row and a commit and nothing else: the least that a durable answer from SQLite costs."""

    def __init__(self, path: Path) -> None:
        self._connection = opened(path)
        self._connection.execute("CREATE TABLE row (address INTEGER, owner TEXT)")

    def __call__(self) -> None:
        """Write one row."""
        self._connection.execute("INSERT INTO row VALUES (1, 'cluster-1/default/pod-1')")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class _Table(Peer):
    """A table of who holds which address.

    The threads of a process queue at a lock of its own. SQLite would keep them apart, too, but by
    asking again after a while, up to 100 ms: sixteen threads then got 100 addresses a second.
    """

    ceiling = COMMIT

    def __init__(self, path: Path, job: Job) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._connection = opened(path)
        with self._transaction() as connection:
            connection.execute(
                "CREATE TABLE lease (prefix INTEGER, address INTEGER, owner TEXT,"
                " UNIQUE (prefix, address))"
            )
            self.prepare(connection)

    @abstractmethod
    def prepare(self, connection: sqlite3.Connection) -> None:
        """Create what else there is."""

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _missing(self, connection: sqlite3.Connection, taken: int) -> list[tuple[int, str]]:
        held = {row[0] for row in connection.execute("SELECT address FROM lease WHERE prefix = 1")}
        wanted = range(self._job.first, self._job.first + taken)
        return [(address, filler(address)) for address in wanted if address not in held]

    def close(self) -> None:
        """See `Peer.close`."""
        self._connection.close()


class LockAndScan(_Table):
    """Lock, read which addresses are taken, walk to the first that is not, insert it.

    So do NetBox and DIM on their database servers, each with a lock of its own kind around it.
    """

    name = "SQLite, lock and scan"

    def prepare(self, connection: sqlite3.Connection) -> None:
        """See `_Table.prepare`."""

    def acquire(self, owner: str) -> Held:
        """See `Peer.acquire`."""
        with self._transaction() as connection:
            free = self._job.first
            for (taken,) in connection.execute(
                "SELECT address FROM lease WHERE prefix = 1 ORDER BY address"
            ):
                if taken != free:
                    break
                free += 1
            assert free <= self._job.last, "all addresses are taken"
            connection.execute("INSERT INTO lease VALUES (1, ?, ?)", (free, owner))
        return Held(free, free)

    def release(self, held: Held) -> None:
        """See `Peer.release`."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM lease WHERE prefix = 1 AND address = ?", (held.handle,))

    def fill_to(self, taken: int) -> None:
        """See `Peer.fill_to`: rows by the thousand, in one commit."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO lease VALUES (1, ?, ?)", self._missing(connection, taken)
            )


class FreeTable(_Table):
    """A second table holds what is free, written out address by address when the pool is made.

    Its index finds the lowest at any fill. It costs a row for every address that nobody has: fine
    for a /16, 16.7 million rows for a /8, and not to be had for an IPv6 /64.
    """

    name = "SQLite, table of free addresses"
    flat = True

    def prepare(self, connection: sqlite3.Connection) -> None:
        """See `_Table.prepare`."""
        connection.execute("CREATE TABLE free (address INTEGER PRIMARY KEY)")
        connection.executemany(
            "INSERT INTO free VALUES (?)",
            ((address,) for address in range(self._job.first, self._job.last + 1)),
        )

    def acquire(self, owner: str) -> Held:
        """See `Peer.acquire`."""
        with self._transaction() as connection:
            ((address,),) = connection.execute("SELECT MIN(address) FROM free").fetchall()
            assert address is not None, "all addresses are taken"
            connection.execute("DELETE FROM free WHERE address = ?", (address,))
            connection.execute("INSERT INTO lease VALUES (1, ?, ?)", (address, owner))
        return Held(address, address)

    def release(self, held: Held) -> None:
        """See `Peer.release`."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM lease WHERE prefix = 1 AND address = ?", (held.handle,))
            connection.execute("INSERT INTO free VALUES (?)", (held.handle,))

    def fill_to(self, taken: int) -> None:
        """See `Peer.fill_to`: rows by the thousand, in one commit."""
        with self._transaction() as connection:
            missing = self._missing(connection, taken)
            connection.executemany("INSERT INTO lease VALUES (1, ?, ?)", missing)
            connection.executemany(
                "DELETE FROM free WHERE address = ?", [(address,) for address, _ in missing]
            )
