"""Replicated durability on real servers: what was acknowledged outlives its primary.

A space promises one replica. Whatever is answered then is on it; whatever cannot be is `unknown`,
stands all the same, and is answered when it is repeated and the replica has it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

import ipledger
from engine.errors import HistoryDiverged, Unavailable, UnknownOutcome
from engine.model import LOCAL, Durability
from engine.redis_stream import RedisStream
from ipledger import operations
from ipledger.cli import run
from ipledger.ledger import Ledger
from ipledger.servers import make_client, reach
from tests.faults.workers import CONTEXT
from tests.replicas import Pair, await_
from tests.servers import bundled_program, system_program

SPACE: Final = "blue"
POOL: Final = ipledger.pool("p", subnet="10.0.0.0/16", ips=["10.0.0.1-10.0.255.0"])
WANTED: Final = Durability(1, fsync=False, ack_timeout_ms=500)
ON_DISK: Final = Durability(1, fsync=True, ack_timeout_ms=3_000)


def program(name: str) -> Path:
    """One of the two servers, if it is here."""
    try:
        found = bundled_program() if name == "embedded" else system_program()
    except Unavailable as error:
        pytest.skip(f"no bundled server here: {error}")
    if found is None:
        pytest.skip("no redis-server on PATH")
    return found


@pytest.fixture(params=["embedded", "debian"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A primary and a replica of each kind."""
    with Pair(program(request.param)) as pair:
        yield pair


@pytest.fixture
def pair_with_waitaof() -> Iterator[Pair]:
    """A primary and a replica that know WAITAOF."""
    with Pair(program("embedded")) as pair:
        yield pair


@pytest.fixture
def ledger(pair: Pair, tmp_path: Path) -> Iterator[Ledger]:
    """A space that promises one replica."""
    with connect(pair, tmp_path, remember_every_s=0) as opened:
        assert opened.create_space(promises=WANTED)
        opened.apply(POOL)
        yield opened


def connect(pair: Pair, home: Path, **options: Any) -> Ledger:
    """A ledger of a machine of its own, whose memory is under `home`."""
    return ipledger.connect(pair.url, SPACE, home=home, **options)


def owners(ledger: Ledger) -> set[str]:
    """Who holds something."""
    return {lease.owner for lease in ledger.state.leases()}


def test_what_was_acknowledged_outlives_its_primary(
    pair: Pair, ledger: Ledger, tmp_path: Path
) -> None:
    """Not one answer of hundreds is missing on the replica when the primary is killed."""
    granted = {f"o-{n}" for n in range(200)}
    answers = ledger.run_all([operations.allocate("p", o) for o in granted])
    assert not any(isinstance(answer, ipledger.LedgerError) for answer in answers)
    for n in range(20):
        ledger.allocate("p", owner=f"alone-{n}")
        granted.add(f"alone-{n}")
        assert pair.position(pair.replica, SPACE) == ledger.position
    pair.promote()
    with connect(pair, tmp_path) as again:  # this machine remembers how far it had come
        assert owners(again) == granted


def test_a_writer_goes_on_where_its_primary_was_killed(pair: Pair, ledger: Ledger) -> None:
    """It stays connected, finds the promoted replica, and says that this one has no replica."""
    ledger.allocate("p", owner="before")
    pair.promote()
    with pytest.raises(UnknownOutcome, match="0 of 1 replicas"):
        ledger.allocate("p", owner="after", command_id="ticket 1")
    assert owners(ledger) == {"before", "after"}
    ledger.set_durability("local")
    assert ledger.allocate("p", owner="after", command_id="ticket 1").repeated


def test_with_its_replica_stopped_the_answer_is_unknown_in_time(
    pair: Pair, ledger: Ledger, tmp_path: Path
) -> None:
    """The event stands, and when the replica goes on, the repeated command is answered."""
    ledger.allocate("p", owner="a")
    with pair.stopped():
        began_s = time.monotonic()
        with pytest.raises(UnknownOutcome, match="0 of 1 replicas"):
            ledger.allocate("p", owner="b", command_id="ticket 1")
        took_s = time.monotonic() - began_s
        assert WANTED.ack_timeout_ms / 1_000 <= took_s < 3, "one wait, and no more"
        with connect(pair, tmp_path / "other") as other:  # repeated by another process
            with pytest.raises(UnknownOutcome):
                other.allocate("p", owner="b", command_id="ticket 1")
            with pytest.raises(UnknownOutcome):
                other.allocate("p", owner="a")  # held already: but who knows for how long
            assert owners(other) == {"a", "b"}
    pair.await_level(SPACE)
    assert ledger.allocate("p", owner="b", command_id="ticket 1").repeated
    pair.promote()
    with connect(pair, tmp_path) as again:
        assert owners(again) == {"a", "b"}


def test_on_the_command_line_it_is_exit_code_9(
    pair: Pair, ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command id to repeat; repeated, it is the same lease."""
    ledger.allocate("p", owner="a")
    options = ["--url", pair.url, "--space", SPACE, "--data-dir", str(tmp_path / "cli")]
    command = [*options, "-o", "json", "allocate", "--pool", "p", "--owner", "b"]
    with pair.stopped():
        assert run(command) == 9
        error = json.loads(capsys.readouterr().err)["error"]
    assert error["kind"] == "unknown"
    command_id = error["hint"].split("--command-id ")[1].split(":")[0]
    pair.await_level(SPACE)
    assert run([*command, "--command-id", command_id]) == 0
    (lease,) = json.loads(capsys.readouterr().out)["leases"]
    ledger.refresh()
    assert ledger.allocate("p", owner="b").held == (lease["lease"],)


def test_a_connection_that_has_only_read_waits_all_the_same(pair: Pair, ledger: Ledger) -> None:
    """Some servers answer it at once, with all the replicas that there are: that says nothing."""
    with pair.stopped():
        with pytest.raises(UnknownOutcome):
            ledger.allocate("p", owner="a")
        with make_client(pair.url) as client:
            stream = RedisStream(client, SPACE)
            assert stream.head().position == ledger.position
            assert stream.acknowledge(ledger.writer.continuity.anchor, WANTED).replicas == 0
    with make_client(pair.url) as client:
        stream = RedisStream(client, SPACE)
        assert stream.acknowledge(ledger.writer.continuity.anchor, WANTED).replicas == 1
        assert client.execute_command("KEYS", "*") == [stream.key.encode()], "nothing stays of it"


def test_without_its_replica_nothing_is_promised(pair: Pair, ledger: Ledger) -> None:
    """It was there and is gone: everything is unknown, until it is back."""
    pair.part()
    with pytest.raises(UnknownOutcome, match="0 of 1 replicas"):
        ledger.allocate("p", owner="a", command_id="ticket 1")
    pair.follow()
    pair.await_level(SPACE)
    assert ledger.allocate("p", owner="a", command_id="ticket 1").repeated


def test_what_was_not_acknowledged_may_be_lost_and_that_is_noticed(
    pair: Pair, ledger: Ledger, tmp_path: Path
) -> None:
    """Promoted is a replica that lags: what was promised is there, what was `unknown` is not."""
    ledger.allocate("p", owner="a")
    pair.part()
    with pytest.raises(UnknownOutcome):
        ledger.allocate("p", owner="b")
    pair.promote()
    with pytest.raises(HistoryDiverged):
        connect(pair, tmp_path)  # it has seen what is lost, and does not go on behind it
    with connect(pair, tmp_path / "newcomer") as other:
        assert owners(other) == {"a"}


def test_on_disk_a_replica_that_lags_is_noticed(pair_with_waitaof: Pair, tmp_path: Path) -> None:
    """As without fsync: what was promised is there, what was `unknown` is not."""
    pair = pair_with_waitaof
    with connect(pair, tmp_path, remember_every_s=0) as ledger:
        ledger.create_space(promises=ON_DISK)
        ledger.apply(POOL)
        ledger.allocate("p", owner="a")
        pair.part()
        with pytest.raises(UnknownOutcome):
            ledger.allocate("p", owner="b")
        pair.promote()
        with pytest.raises(HistoryDiverged):
            connect(pair, tmp_path)
    with connect(pair, tmp_path / "newcomer") as other:
        assert owners(other) == {"a"}


@pytest.mark.parametrize("wanted", [WANTED, ON_DISK], ids=["in memory", "on disk"])
def test_a_replicated_space_bears_what_costs_no_data(
    wanted: Durability, pair_with_waitaof: Pair, tmp_path: Path
) -> None:
    """Scripts that are gone, connections that are cut, memory that is full, and a replica's URL."""
    pair = pair_with_waitaof
    with connect(pair, tmp_path) as ledger:
        ledger.create_space(promises=wanted)
        ledger.apply(POOL)
        ledger.allocate("p", owner="a")
        pair.ask(pair.primary, "SCRIPT", "FLUSH")
        ledger.allocate("p", owner="b")
        pair.ask(pair.primary, "CLIENT", "KILL", "TYPE", "normal")
        ledger.allocate("p", owner="c")
        pair.ask(pair.primary, "CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(Unavailable):
            ledger.run(operations.allocate("p", "d", timeout_s=1.0))
        pair.ask(pair.primary, "CONFIG", "SET", "maxmemory", "0")
        pair.await_level(SPACE)
        with (
            ipledger.connect(pair.replica.url, SPACE, home=tmp_path / "other") as astray,
            pytest.raises(Unavailable),
        ):
            astray.run(operations.allocate("p", "d", timeout_s=1.0))
        assert owners(ledger) == {"a", "b", "c"}


@pytest.mark.parametrize("wanted", [WANTED, ON_DISK], ids=["in memory", "on disk"])
def test_a_primary_that_is_shut_down_has_what_it_answered(
    wanted: Durability, pair_with_waitaof: Pair, tmp_path: Path
) -> None:
    """It is started again, its replica follows again, and work goes on."""
    pair = pair_with_waitaof
    with connect(pair, tmp_path) as ledger:
        ledger.create_space(promises=wanted)
        ledger.apply(POOL)
        for n in range(10):
            ledger.allocate("p", owner=f"o-{n}")
        pair.shut_down_primary()
        pair.primary.start()
        pair.follow()
        ledger.allocate("p", owner="after")
        assert owners(ledger) == {*(f"o-{n}" for n in range(10)), "after"}


def allocate_and_say(url: str, home: str, command_id: str, results: Any) -> None:
    """A process that is killed while it waits for its answer."""
    with ipledger.connect(url, SPACE, home=home) as ledger:
        ledger.allocate("p", owner="a", command_id=command_id)
        results.put("answered")


@pytest.mark.parametrize("wanted", [WANTED, ON_DISK], ids=["in memory", "on disk"])
def test_a_process_killed_while_it_waits_has_written_once(
    wanted: Durability, pair_with_waitaof: Pair, tmp_path: Path
) -> None:
    """Its event stands; whoever repeats the command with its id is answered from it."""
    pair = pair_with_waitaof
    with connect(pair, tmp_path) as ledger:
        ledger.create_space(promises=wanted._replace(ack_timeout_ms=4_000))
        ledger.apply(POOL)
        results = CONTEXT.Queue()
        with pair.stopped():
            arguments = (pair.url, str(tmp_path / "other"), "ticket 1", results)
            process = CONTEXT.Process(target=allocate_and_say, args=arguments)
            process.start()
            await_(lambda: pair.position(pair.primary, SPACE) > ledger.position, "its event")
            process.kill()
            process.join(20)
        assert results.empty()
        pair.await_level(SPACE)
        assert ledger.allocate("p", owner="a", command_id="ticket 1").repeated
        assert owners(ledger) == {"a"}


def write_until_unknown(url: str, home: str, ready: Any, go: Any, results: Any) -> None:
    """Another process: one answer before it is told to go on, and one after."""
    with ipledger.connect(url, SPACE, home=home) as ledger:
        ledger.allocate("p", owner="elsewhere-1")
        ready.set()
        assert go.wait(60)
        try:
            ledger.allocate("p", owner="elsewhere-2")
        except UnknownOutcome as error:
            results.put(error.message)
        else:
            results.put(None)


def test_another_process_learns_the_promise_from_the_stream(pair: Pair, tmp_path: Path) -> None:
    """It is connected when the promise is made, and keeps it from its next answer on."""
    with connect(pair, tmp_path) as ledger:
        ledger.create_space()
        ledger.apply(POOL)
        assert ledger.state.durability == LOCAL
        ready, go, results = CONTEXT.Event(), CONTEXT.Event(), CONTEXT.Queue()
        arguments = (pair.url, str(tmp_path / "other"), ready, go, results)
        process = CONTEXT.Process(target=write_until_unknown, args=arguments)
        process.start()
        assert ready.wait(60)
        ledger.set_durability("replicated", ack_timeout_s=0.2)
        with pair.stopped():
            go.set()
            said = results.get(timeout=60)
        process.join(60)
    assert said is not None, "it answered as if nothing were promised"
    assert "0 of 1 replicas" in said


def test_on_disk_is_more_than_in_memory(pair_with_waitaof: Pair, tmp_path: Path) -> None:
    """With fsync, a replica that has it in memory only does not count; one that has it does."""
    pair = pair_with_waitaof
    with connect(pair, tmp_path) as ledger:
        ledger.create_space(promises=ON_DISK)
        ledger.apply(POOL)
        ledger.allocate("p", owner="a")
        pair.ask(pair.replica, "CONFIG", "SET", "appendonly", "no")
        with pytest.raises(UnknownOutcome, match="0 of 1 replicas acknowledged it on disk"):
            ledger.allocate("p", owner="b", command_id="ticket 1")
        ledger.set_durability("replicated", ack_timeout_s=0.5)
        assert ledger.allocate("p", owner="b", command_id="ticket 1").repeated


def test_on_disk_outlives_both_servers(pair_with_waitaof: Pair, tmp_path: Path) -> None:
    """Both are killed at once, and the primary's disk is lost: the replica's has every answer."""
    pair = pair_with_waitaof
    with connect(pair, tmp_path) as ledger:
        ledger.create_space(promises=ON_DISK)
        ledger.apply(POOL)
        granted = {f"o-{n}" for n in range(20)}
        for owner in granted:
            ledger.allocate("p", owner=owner)
        pair.primary.kill()
        pair.replica.kill()
    pair.replica.start()
    pair.lead_to(pair.replica)
    with connect(pair, tmp_path) as again:
        assert owners(again) == granted


def test_a_server_that_cannot_tell_of_disks_promises_nothing(tmp_path: Path) -> None:
    """Redis 7.0 knows no WAITAOF: that is said, and never taken for yes."""
    with Pair(program("debian")) as pair, connect(pair, tmp_path) as ledger:
        if "redis 7.0" not in version(pair):
            pytest.skip("this server knows WAITAOF")
        with pytest.raises(UnknownOutcome, match="WAITAOF"):
            ledger.create_space(promises=Durability(1, fsync=True, ack_timeout_ms=200))


def version(pair: Pair) -> str:
    """Which server it is."""
    with closing(reach(pair.url)) as server:
        return server.version
