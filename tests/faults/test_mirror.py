"""A mirror on two real servers: killed, cut off, without memory, it is what its source is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest
import redis

import ipledger
from engine.redis_stream import RedisStream, marker_key, stream_key
from ipledger import operations
from ipledger.cli import run
from ipledger.servers import make_client
from projections.digest import state_digest
from replay.rebuild import rebuild
from tests.faults.workers import CONTEXT
from tests.servers import Served, bundled_program, serving, system_program

EVENTS_BEFORE = 6_000
KILLS = 10
WAIT_S = 30


class Pair:
    """A space on one server, and where its mirror is to be."""

    def __init__(self, source: str, target: str, space: str, states: Path) -> None:
        self.source, self.target, self.space = source, target, space
        self.states = str(states)

    def open(self, url: str) -> ipledger.Ledger:
        """The space on one of the servers, as any client opens it."""
        return ipledger.connect(url, self.space, state_dir=self.states, remember_every_s=60)

    def words(self, *more: str) -> list[str]:
        """The command line."""
        options = ["--space", self.space, "--state-dir", self.states]
        return [*options, "mirror", "--from", self.source, "--to", self.target, *more]

    def start(self, *more: str) -> BaseProcess:
        """Run it in a process of its own."""
        process = CONTEXT.Process(target=run_and_exit, args=(self.words(*more),))
        process.start()
        return process

    def stored(self, url: str) -> list[Any]:
        """Every entry with all its fields, just as the server tells it."""
        with make_client(url) as client:
            client.response_callbacks.clear()
            reply: list[Any] = client.execute_command("XRANGE", stream_key(self.space), "-", "+")
            return reply

    def position(self, url: str) -> int:
        """The last position there."""
        with make_client(url) as client:
            return RedisStream(client, self.space).head().position

    def await_position(self, beyond: int) -> None:
        """Wait until the mirror has come further than that."""
        until_s = time.monotonic() + WAIT_S
        while self.position(self.target) <= beyond:
            assert time.monotonic() < until_s, f"the mirror did not get beyond {beyond}"
            time.sleep(0.002)

    def digest(self, url: str) -> str:
        """What the events there amount to, folded anew."""
        with make_client(url) as client:
            return state_digest(rebuild(RedisStream(client, self.space)).state)


def run_and_exit(words: list[str]) -> None:
    """A process that is the command line."""
    raise SystemExit(run(words))


@pytest.fixture(params=["embedded to debian", "debian to embedded"])
def pair(
    request: pytest.FixtureRequest, embedded_url: str, debian_url: str, tmp_path: Path
) -> Iterator[Pair]:
    """Both directions between the two kinds of servers, with a pool to allocate from."""
    source, target = embedded_url, debian_url
    if request.param.startswith("debian"):
        source, target = target, source
    made = Pair(source, target, f"test-{uuid4().hex}", tmp_path)
    with made.open(made.source) as ledger:
        ledger.create_space()
        ledger.apply(ipledger.pool("p", subnet="10.0.0.0/8", ips=["10.0.0.1-10.200.0.0"]))
    yield made
    for url in (source, target):
        with redis.Redis.from_url(url) as client:
            client.delete(stream_key(made.space), marker_key(made.space))


def allocate(ledger: ipledger.Ledger, first: int, number: int) -> None:
    """Leases for so many owners, in few round trips."""
    answers = ledger.run_all(
        [operations.allocate("p", owner=f"o-{first + at}") for at in range(number)]
    )
    assert not [answer for answer in answers if isinstance(answer, Exception)]


@pytest.mark.parametrize("pair", ["embedded to debian"], indirect=True)
def test_killed_again_and_again_it_ends_byte_identical(pair: Pair) -> None:
    """Kill -9 at random while it copies and the source is written: nothing is lost or doubled."""
    seed = int.from_bytes(os.urandom(4))
    random = Random(seed)  # noqa: S311 - when to kill
    stop = Event()
    with pair.open(pair.source) as ledger:
        for first in range(0, EVENTS_BEFORE, 500):
            allocate(ledger, first, 500)

        def go_on_writing() -> None:
            first = EVENTS_BEFORE
            while not stop.wait(0.01):
                allocate(ledger, first, 50)
                first += 50

        writer = Thread(target=go_on_writing)
        writer.start()
        try:
            on_the_way = 0
            for _ in range(KILLS):
                before = pair.position(pair.target)
                process = pair.start("--follow")
                pair.await_position(before)
                time.sleep(random.random() * 0.02)  # so that it is hit anywhere
                process.kill()
                process.join()
                on_the_way += pair.position(pair.target) < pair.position(pair.source)
        finally:
            stop.set()
            writer.join()
    assert on_the_way > KILLS // 2, f"too few kills hit a mirror at work, seed {seed}"
    assert run(pair.words("--once")) == 0
    assert pair.stored(pair.target) == pair.stored(pair.source), f"seed {seed}"
    assert run(pair.words("--verify")) == 0
    assert pair.digest(pair.target) == pair.digest(pair.source)


def test_a_dump_of_a_mirror_is_one_of_its_source(tmp_path: Path) -> None:
    """On two servers of one kind even the server's own serialisation is the same, bit by bit."""
    with serving(bundled_program()) as one, serving(bundled_program()) as other:
        pair = Pair(one.url, other.url, "default", tmp_path)
        with pair.open(one.url) as ledger:
            ledger.apply(ipledger.pool("p", subnet="10.0.0.0/8", ips=["10.0.0.1-10.200.0.0"]))
            allocate(ledger, 0, 3_000)
        assert run(pair.words()) == 0
        dumps = []
        for url in (one.url, other.url):
            with redis.Redis.from_url(url) as client:
                dumps.append(client.dump(stream_key("default")))
        assert dumps[0] == dumps[1]


def test_a_follower_ends_well_when_told(pair: Pair) -> None:
    """SIGTERM and SIGINT let it finish what it does; it exits with 0 and the mirror is whole."""
    for number in (signal.SIGTERM, signal.SIGINT):
        process = pair.start("--follow")
        with pair.open(pair.source) as ledger:
            before = ledger.position
            allocate(ledger, number * 1_000, 200)
        pair.await_position(before + 199)
        assert process.pid is not None
        os.kill(process.pid, number)
        process.join(WAIT_S)
        assert process.exitcode == 0
    assert pair.stored(pair.target) == pair.stored(pair.source)


def test_a_writer_that_was_connected_before_is_refused(pair: Pair) -> None:
    """The place was empty when it connected; now it is a mirror, and the server says so."""
    with pair.open(pair.target) as early:
        assert run(pair.words()) == 0
        with pytest.raises(ipledger.LedgerError, match="is a mirror of") as caught:
            early.create_space()
        assert caught.value.kind == "forbidden"
        early.refresh()
        for act in (
            lambda: early.allocate("p", owner="x"),
            lambda: early.apply(ipledger.reservation("r", ips=["10.0.0.1"])),
            lambda: early.allocate("nope", owner="x"),
            lambda: early.delete(ipledger.Target("pool", "p")),
        ):
            with pytest.raises(ipledger.LedgerError, match="is a mirror of") as caught:
                act()
            assert caught.value.kind == "forbidden"
            assert pair.source.removeprefix("unix://") in caught.value.hint
    assert pair.stored(pair.target) == pair.stored(pair.source)


def test_the_source_may_go_away_and_come_back(tmp_path: Path) -> None:
    """A follower waits for either server, and goes on where it was."""
    program = system_program() or bundled_program()
    with serving(bundled_program()) as one, serving(program) as other:
        pair = Pair(one.url, other.url, "default", tmp_path)
        with pair.open(one.url) as ledger:
            ledger.apply(ipledger.pool("p", subnet="10.0.0.0/8", ips=["10.0.0.1-10.200.0.0"]))
            process = pair.start("--follow")
            pair.await_position(1)
            for away in (one, other):
                _cut(away)
                before = ledger.position
                ledger.refresh()
                allocate(ledger, before, 100)
                pair.await_position(before + 99)
            process.terminate()
            process.join(WAIT_S)
        assert process.exitcode == 0
        assert pair.stored(one.url) == pair.stored(other.url)


def _cut(server: Served) -> None:
    """Drop every connection to a server."""
    with redis.Redis.from_url(server.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)


def test_without_memory_nothing_of_a_batch_is_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The error says so, the mirror ends at a commit end, and goes on when there is memory."""
    with serving(bundled_program()) as one, serving(bundled_program()) as other:
        pair = Pair(one.url, other.url, "default", tmp_path)
        with pair.open(one.url) as ledger:
            ledger.apply(ipledger.pool("p", subnet="10.0.0.0/8", ips=["10.0.0.1-10.200.0.0"]))
            allocate(ledger, 0, 500)
        with redis.Redis.from_url(other.url) as client:
            client.config_set("maxmemory", 1)
            assert run(pair.words()) == 7
            assert "out of memory" in capfd.readouterr().err
            assert client.keys() == []
            client.config_set("maxmemory", client.info("memory")["used_memory"] + 250_000)
            while (code := run(pair.words())) == 0:
                with pair.open(one.url) as ledger:
                    allocate(ledger, ledger.position, 500)
            assert code == 7
            client.config_set("maxmemory", 0)
            assert run(pair.words()) == 0
            assert pair.stored(one.url) == pair.stored(other.url)
            client.replicaof("127.0.0.1", "1")
            with pair.open(one.url) as ledger:
                allocate(ledger, ledger.position, 5)
            capfd.readouterr()
            assert run(pair.words()) == 7
            assert "read-only replica" in capfd.readouterr().err


def test_one_flipped_byte_is_found(pair: Pair, capfd: pytest.CaptureFixture[str]) -> None:
    """Anywhere by --verify, which names position and field; at the end also by going on."""
    with pair.open(pair.source) as ledger:
        allocate(ledger, 0, 2_500)
    assert run(pair.words()) == 0
    for position in (2_502, 1_777, 2):
        with redis.Redis.from_url(pair.target) as client:
            _flip(client, stream_key(pair.space), position)
        assert run(pair.words("--verify")) == 8
        assert f"They differ at position {position}: the field s" in capfd.readouterr().out
    assert run(pair.words()) == 8
    assert "at position 2502" in capfd.readouterr().err


def _flip(client: redis.Redis, key: str, position: int) -> None:
    """Write a whole stream anew with one bit of one entry changed, as an editor of files would."""
    entries: Any = client.xrange(key)
    client.delete(key)
    with client.pipeline() as pipeline:
        for entry_id, fields in entries:
            if entry_id.endswith(b"-%d" % position):
                s = bytearray(fields[b"s"])
                s[5] ^= 1
                fields[b"s"] = bytes(s)
            pipeline.xadd(key, fields, id=entry_id)
        pipeline.execute()
