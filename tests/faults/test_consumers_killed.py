"""Three consumers, three processes, three filters, three ways to keep the cursor; kill -9.

While a writer works, each is killed at random twenty times and started again. In the end each has
seen every event of its filter, in order, repeated ones only as whole tails; and what it made of
them is right: where the cursor is kept with the side effect, exactly once.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any, Final, NamedTuple

import pytest

import ipledger
from engine.entry import Record
from engine.events import LeaseEnded, LeaseGranted
from engine.reading import Continuity, read_commits
from ipledger.selection import shard_number
from ipledger.servers import open_stream, reach
from tests.faults.workers import CONTEXT

KILLS: Final = 20
SEED: Final = 20_261_103
DEADLINE_S: Final = 90.0


class Task(NamedTuple):
    """One consumer: its filter, and where its cursor is."""

    name: str
    kept: str  # "redis", "file" or "own"
    filters: dict[str, Any]


_OF_LEASES: Final = ("LeaseGranted", "LeaseEnded")
TASKS: Final = (
    Task("dns", "redis", {"types": [*_OF_LEASES], "clusters": ["east"]}),
    Task(
        "firewall", "file", {"prefixes": ["10.0.0.0/25"], "types": ["leasegranted", "leaseended"]}
    ),
    Task("inventory", "own", {"pools": ["web"], "labels": {"app": "a"}, "shard": "1/2"}),
)


def consume(task: Task, url: str, space: str, directory: Path) -> None:
    """Keep a log of what was delivered, and a table of who holds what, until killed."""
    database = sqlite3.connect(directory / "view.sqlite", isolation_level=None)
    database.execute("PRAGMA synchronous = OFF")  # processes are killed, not the machine
    stands = database.execute("SELECT cursor FROM stands").fetchone()
    start: Any = stands[0] if task.kept == "own" and stands else 1
    with ipledger.Consumer(
        task.name if task.kept == "redis" else None,
        url=url, space=space, start=start, state_dir=directory / "state", save_every_s=0.02,
        cursor=directory / "cursor" if task.kept == "file" else None, **task.filters,
    ) as consumer:  # fmt: skip
        for commit in consumer:
            database.execute("BEGIN IMMEDIATE")
            for event in commit.events:
                database.execute("INSERT INTO log (position) VALUES (?)", (event.position,))
                if event.type == "LeaseGranted":
                    row = (event.lease, event.address, event.owner)
                    database.execute("INSERT OR REPLACE INTO held VALUES (?, ?, ?)", row)
                else:
                    database.execute("DELETE FROM held WHERE lease = ?", (event.lease,))
            database.execute("DELETE FROM stands")
            database.execute("INSERT INTO stands VALUES (?)", (commit.cursor,))
            database.execute("COMMIT")


class Keeper:
    """Starts a consumer again whenever it was killed."""

    def __init__(self, task: Task, url: str, space: str, base: Path) -> None:
        self.task = task
        self.directory = base / task.name
        self.directory.mkdir()
        with sqlite3.connect(self.directory / "view.sqlite") as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE log (at INTEGER PRIMARY KEY, position)")
            database.execute("CREATE TABLE held (lease INTEGER PRIMARY KEY, address, owner)")
            database.execute("CREATE TABLE stands (cursor)")
        self._reader = sqlite3.connect(self.directory / "view.sqlite")
        self._arguments = (task, url, space, self.directory)
        self.process: Any = None
        self.start()

    def start(self) -> None:
        """A new process."""
        self.process = CONTEXT.Process(target=consume, args=self._arguments)
        self.process.start()

    def kill(self) -> None:
        """-9, wherever it is."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(20)
        assert self.process.exitcode == -signal.SIGKILL, "it had ended by itself"

    def log(self) -> list[int]:
        """The positions that were delivered, in the order of their deliveries."""
        found = self._reader.execute("SELECT position FROM log ORDER BY at").fetchall()
        return [position for (position,) in found]

    def held(self) -> set[tuple[int, str, str]]:
        """Who holds what, as it believes."""
        return set(self._reader.execute("SELECT * FROM held").fetchall())

    def end(self) -> None:
        """Give everything back."""
        self.process.kill()
        self.process.join(20)
        self._reader.close()


@pytest.fixture
def keepers() -> Iterator[list[Keeper]]:
    """None is left behind."""
    started: list[Keeper] = []
    yield started
    for keeper in started:
        keeper.end()


def write_until(done: Event, url: str, space: str, states: Path) -> None:
    """Grants and releases in two pools, at a rate that leaves the consumers something to do."""
    random = Random(SEED)  # noqa: S311 - the same commands on every run
    with ipledger.connect(url, space, state_dir=states) as ledger:
        live: list[int] = []
        number = 0
        while not done.is_set() and number < 20_000:
            number += 1
            if live and (random.random() < 0.5 or len(live) > 150):
                ledger.release(live.pop(random.randrange(len(live))))
            else:
                answer = ledger.allocate(
                    random.choice(("web", "db")), owner=f"o-{number}",
                    cluster=random.choice(("east", "west")),
                    labels={"app": random.choice("ab")},
                )  # fmt: skip
                live.append(answer.granted[0].lease_id)
            done.wait(random.choice((0, 0, 0.002)))


def expected(task: Task, records: list[Record]) -> list[int]:
    """The positions that a consumer must see, by a plain fold."""
    granted: dict[int, LeaseGranted] = {}
    pools = {2: "web", 3: "db"}
    found = []
    for record in records:
        event = record.event
        if isinstance(event, LeaseGranted):
            granted[record.position] = event
            lease = event
        elif isinstance(event, LeaseEnded):
            lease = granted[event.lease]
        else:
            continue
        wanted = {
            "dns": lease.cluster == "east",
            "firewall": lease.address[3] < 128 and lease.address[2] == 0,
            "inventory": pools[lease.pool_id] == "web"
            and ("app", "a") in record.sealed.labels
            and shard_number(bytes(lease.address), 2) == 1,
        }
        if wanted[task.name]:
            found.append(record.position)
    return found


def in_order(delivered: list[int], wanted: list[int], *, repeats: bool) -> None:
    """Each event once and in order, but for repetitions of what was not kept as handled."""
    first: list[int] = []
    for at, position in enumerate(delivered):
        if not first or position > first[-1]:
            first.append(position)
        else:
            assert repeats, f"position {position} was handled twice"
            # A repetition goes on as the stream does: nothing is left out of it.
            before = delivered[at - 1]
            assert position <= before or wanted.index(position) == wanted.index(before) + 1
    assert first == wanted


def test_each_sees_everything_in_order(
    embedded_url: str, space: str, tmp_path: Path, keepers: list[Keeper]
) -> None:
    """Sixty kills, at random, while events are written."""
    with ipledger.connect(embedded_url, space, state_dir=tmp_path / "s") as ledger:
        ledger.create_space()
        ledger.apply(ipledger.pool("web", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.250"]))
        ledger.apply(ipledger.pool("db", subnet="10.0.1.0/24", ips=["10.0.1.1-10.0.1.250"]))
    done = Event()
    writer = Thread(target=write_until, args=(done, embedded_url, space, tmp_path / "s"))
    writer.start()
    random = Random(SEED)  # noqa: S311 - the same pauses on every run
    try:
        keepers += [Keeper(task, embedded_url, space, tmp_path) for task in TASKS]
        due = [keeper for keeper in keepers for _ in range(KILLS)]
        random.shuffle(due)
        for keeper in due:
            time.sleep(random.choice((0.0, 0.01, 0.05, 0.1, 0.2)))
            keeper.kill()
            keeper.start()
    finally:
        done.set()
        writer.join(60)
    server = reach(embedded_url)
    pages = list(read_commits(open_stream(server, space), Continuity()))
    server.close()
    records = [record for page in pages for record in page]
    live = {record.position: record for record in records if isinstance(record.event, LeaseGranted)}
    for record in records:
        if isinstance(record.event, LeaseEnded):
            del live[record.event.lease]
    deadline = time.monotonic() + DEADLINE_S
    for keeper in keepers:
        wanted = expected(keeper.task, records)
        while not wanted or wanted[-1] not in keeper.log()[-3:]:
            assert time.monotonic() < deadline, f"seed {SEED}: {keeper.task.name} is not done"
            assert keeper.process.is_alive(), f"seed {SEED}: {keeper.task.name} ended by itself"
            time.sleep(0.02)
        delivered = keeper.log()
        in_order(delivered, wanted, repeats=keeper.task.kept != "own")
        assert {lease for lease, _, _ in keeper.held()} == set(live) & set(wanted)
        assert all(live[lease].sealed.owner == owner for lease, _, owner in keeper.held())
    assert len(records) > 300, f"seed {SEED}: {len(records)} events tell little"
