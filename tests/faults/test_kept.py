"""What a server keeps by its settings: each cell of the table in docs/guides/operations.md.

Every test has a writer that was answered, does something to its server, and asks what is left: by
who has seen it, and by somebody who has seen nothing. The busy versions are in tests/checker.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import redis

import ipledger
from engine.errors import HistoryDiverged, LedgerError, Unavailable, UnknownOutcome
from ipledger import operations
from ipledger.ledger import Ledger
from tests.replicas import Pair
from tests.servers import OwnServer, bundled_program, system_program

SPACE: Final = "blue"
LEASES: Final = 50
# As people set up their servers; `always` is also what the embedded server has.
SETTINGS: Final[dict[str, dict[str, str]]] = {
    "always": {"appendfsync": "always"},
    "everysec": {"appendfsync": "everysec"},
    "no": {"appendfsync": "no"},
    "snapshots": {"appendonly": "no", "save": "3600 1"},
}
FILES: Final = ("always", "everysec", "no")


@pytest.fixture
def program() -> Path:
    """The server that is there."""
    return system_program() or bundled_program()


@pytest.fixture
def server(request: pytest.FixtureRequest, program: Path) -> Iterator[OwnServer]:
    """A server of the settings that the test is of."""
    server = OwnServer(program, **SETTINGS[request.param])
    yield server
    server.remove()


def connect(url: str, home: Path) -> Ledger:
    """A ledger of a machine that remembers under `home` what it was answered."""
    return ipledger.connect(url, SPACE, home=home, remember_every_s=0, timeout_s=20)


def fill(url: str, home: Path, names: str = "o") -> set[str]:
    """Allocate, one after the other and many at once; return who was answered."""
    owners = {f"{names}-{n}" for n in range(LEASES)}
    with connect(url, home) as ledger:
        if not ledger.position:
            ledger.create_space()
            ledger.apply(ipledger.pool("p", subnet="10.0.0.0/16", ips=["10.0.0.1-10.0.255.0"]))
        for owner in list(owners)[:10]:
            ledger.allocate("p", owner=owner)
        answers = ledger.run_all([operations.allocate("p", owner) for owner in owners])
    assert not any(isinstance(answer, LedgerError) for answer in answers)
    return owners


def fill_until_it_fails(url: str, home: Path) -> set[str]:
    """Allocate until that is in doubt, or cannot be; return who was answered."""
    late: set[str] = set()
    with ipledger.connect(url, SPACE, home=home, timeout_s=2.0) as ledger:
        while len(late) < 1_000:
            try:
                ledger.allocate("p", owner=f"late-{len(late)}")
            except (UnknownOutcome, Unavailable):
                return late
            late.add(f"late-{len(late)}")
    raise AssertionError("it never failed")


def left(url: str, home: Path) -> set[str]:
    """Who holds something, as a machine reads it."""
    with connect(url, home) as ledger:
        return {lease.owner for lease in ledger.state.leases()}


@pytest.mark.parametrize("server", ["always", "no"], indirect=True)
def test_a_killed_server_has_what_it_answered(server: OwnServer, tmp_path: Path) -> None:
    """Kill -9 and a new start: what it had handed to the operating system is there.

    Between the two, with `everysec`, that is less than it has answered.
    """
    owners = fill(server.url, tmp_path)
    assert server.kill() == -signal.SIGKILL
    server.start()
    assert left(server.url, tmp_path) == owners


@pytest.mark.parametrize("server", SETTINGS, indirect=True)
def test_a_server_shut_down_has_what_it_answered(server: OwnServer, tmp_path: Path) -> None:
    """SHUTDOWN and a new start: every answer is there, also of a server with snapshots alone."""
    owners = fill(server.url, tmp_path)
    with redis.Redis.from_url(server.url) as client:
        client.shutdown()
    assert server.process.wait(20) == 0
    server.start()
    assert left(server.url, tmp_path) == owners


@pytest.mark.parametrize("server", ["snapshots"], indirect=True)
def test_a_snapshot_lacks_what_came_after_it(server: OwnServer, tmp_path: Path) -> None:
    """Kill -9 with snapshots alone: answers are lost, and whoever has seen them stops."""
    owners = fill(server.url, tmp_path)
    with redis.Redis.from_url(server.url) as client:
        client.save()
    fill(server.url, tmp_path, "later")
    assert server.kill() == -signal.SIGKILL
    server.start()
    with pytest.raises(HistoryDiverged):
        left(server.url, tmp_path)
    assert left(server.url, tmp_path / "newcomer") == owners


@pytest.mark.parametrize("server", FILES, indirect=True)
def test_a_file_without_its_end_is_noticed(server: OwnServer, tmp_path: Path) -> None:
    """The server starts on what is whole; whoever has seen what is gone stops."""
    owners = fill(server.url, tmp_path)
    server.kill()
    newest = max((server.base / "appendonlydir").glob("*.incr.aof"))
    os.truncate(newest, newest.stat().st_size - 100)
    server.start()
    with pytest.raises(HistoryDiverged):
        left(server.url, tmp_path)
    assert left(server.url, tmp_path / "newcomer") < owners


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_replica_that_has_everything_is_enough(
    setting: str, program: Path, tmp_path: Path
) -> None:
    """Its primary is killed, and it takes its place: every answer that it had by then is there."""
    with Pair(program, **SETTINGS[setting]) as pair:
        owners = fill(pair.url, tmp_path)
        pair.await_level(SPACE)
        pair.promote()
        assert left(pair.url, tmp_path) == owners


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_replica_that_lags_is_noticed(setting: str, program: Path, tmp_path: Path) -> None:
    """It takes its primary's place, and lacks answers: whoever has seen them stops."""
    with Pair(program, **SETTINGS[setting]) as pair:
        owners = fill(pair.url, tmp_path)
        pair.await_level(SPACE)
        pair.part()
        fill(pair.url, tmp_path, "later")
        pair.promote()
        with pytest.raises(HistoryDiverged):
            left(pair.url, tmp_path)
        assert left(pair.url, tmp_path / "newcomer") == owners


@pytest.mark.parametrize("which", ["bundled", "system"])
def test_a_full_disk_takes_no_answer_back(which: str, tmp_path: Path) -> None:
    """With `always` the server ends itself: what was in flight is in doubt, the rest is kept.

    A limit to how large a file may be stands for the disk.
    """
    try:
        found = bundled_program() if which == "bundled" else system_program()
    except Unavailable as error:
        pytest.skip(f"no bundled server here: {error}")
    if found is None:
        pytest.skip("no redis-server on PATH")
    limit = tmp_path / "limit"
    limit.write_text("unlimited")
    wrapped = tmp_path / "limited-server"
    wrapped.write_text(
        f"#!/bin/sh\ntrap '' XFSZ\nulimit -f $(cat {limit})\nexec {found} \"$@\"\n", "utf-8"
    )
    wrapped.chmod(0o700)
    server = OwnServer(wrapped, **SETTINGS["always"])
    try:
        owners = fill(server.url, tmp_path / "a")
        server.kill()
        written = max(path.stat().st_size for path in (server.base / "appendonlydir").iterdir())
        limit.write_text(str(written // 512 + 8))  # in blocks: a few commits more, and it is full
        server.start()
        late = fill_until_it_fails(server.url, tmp_path / "a")
        assert late, "there was no room at all"
        assert server.process.wait(20) == 1, "it ended itself"
        limit.write_text("unlimited")
        server.start()
        held = left(server.url, tmp_path / "a")
        assert owners | late <= held, "an answer was taken back"
        assert len(held - owners - late) <= 1, "only one was told nothing"
    finally:
        server.remove()
