"""A stream whose server fails: an append is written whole or not at all, and says which it knows.

`Unavailable` is a promise that nothing was written, `UnknownOutcome` that it may have been. Each
test has a server of its own, whose settings it changes and which it may stop.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest
import redis

from engine import tags
from engine.entry import ORIGIN
from engine.errors import Unavailable, UnknownOutcome
from engine.redis_stream import RedisStream
from engine.stream import Committed, Conflict, NewEntry, Proposal
from ipledger.servers import make_client
from tests.contracts.benches import RedisBench
from tests.servers import Served, bundled_program, serving, system_program

# Long enough for a server that runs, short enough to wait for one that does not.
SHORT_S: Final = 0.3


@pytest.fixture(params=["embedded", "debian"])
def program(request: pytest.FixtureRequest) -> Path:
    """Each kind of server in turn."""
    if request.param == "embedded":
        try:
            return bundled_program()
        except Unavailable as error:
            pytest.skip(f"no bundled server here: {error}")
    found = system_program()
    if found is None:
        pytest.skip("no redis-server on PATH")
    return found


@contextmanager
def bench_on(
    served: Served, space: str, socket_timeout_s: float | None = 5.0
) -> Iterator[RedisBench]:
    """A stream on a server, and a connection beside it."""
    client = make_client(served.url, socket_timeout_s)
    with client, redis.Redis.from_url(served.url) as other:
        yield RedisBench(client, other, space)


def test_out_of_memory_nothing_or_all_is_written(program: Path, space: str) -> None:
    """When memory ends, a batch is refused whole; when there is more, writing goes on."""
    entries = tuple(NewEntry(b"e" * 20_000, b"", b"", b"%d" % part) for part in range(3))
    batch = [Proposal("", entries)] * 5
    with serving(program) as served, bench_on(served, space) as bench:
        bench.write("")
        used = bench.other.info("memory")["used_memory"]
        bench.other.config_set("maxmemory", used + 4_000_000)
        acknowledged = 0
        with pytest.raises(Unavailable, match="out of memory"):  # noqa: PT012 - which one is open
            while acknowledged < 100:
                bench.append(*batch)
                acknowledged += 1
        assert acknowledged > 1
        committed = 1 + 15 * acknowledged
        assert [raw.position for raw in bench.all()] == list(range(1, committed + 1))
        # Looking at the tail is still possible: a writer can resolve what was in doubt.
        assert bench.append().status == "ok"
        bench.other.config_set("maxmemory", 0)
        assert bench.append(*batch).verdicts[0] == Committed(committed + 1)


def test_out_of_memory_a_restoration_is_whole(program: Path, space: str) -> None:
    """A restoration that removes entries also writes its own, however little memory there is."""
    with serving(program) as served, bench_on(served, space) as bench:
        bench.write("", "", "")
        bench.other.config_set("maxmemory", 1)
        head = bench.stream.head()
        with pytest.raises(Unavailable, match="out of memory"):
            bench.stream.restore(bench.anchor(3), head, 3, bench.now_ms, bench.entry())
        assert bench.stream.head() == head
        bench.stream.restore(bench.anchor(1), head, 3, bench.now_ms, bench.entry())
        assert [raw.position for raw in bench.all()] == [1, 4]


def test_a_lost_reply_is_unknown_and_lands_once(program: Path, space: str) -> None:
    """A writer that got no answer says so, and its repeat finds what it wrote the first time."""
    command = tags.command(bytes(16), 0)
    with serving(program) as served, bench_on(served, space, SHORT_S) as bench:
        known = bench.write("")
        proposal = bench.proposal(command, "", reads=command)
        os.kill(served.pid, signal.SIGSTOP)
        try:
            with pytest.raises(UnknownOutcome, match="the reply was lost"):
                bench.append(proposal, after=known)
            with pytest.raises(Unavailable, match="cannot be reached"):
                bench.append(after=known)
            with pytest.raises(Unavailable, match="cannot be reached"):
                bench.stream.head()
        finally:
            os.kill(served.pid, signal.SIGCONT)
        reply = bench.append(proposal, after=known)
        assert reply.verdicts == (Conflict(command, 2),)
        assert [raw[2:] for raw in reply.tail] == list(proposal.entries)
        assert bench.all()[1:] == reply.tail


def test_a_server_that_is_gone_is_unavailable(program: Path, space: str) -> None:
    """Nobody can have written on a server to which no connection was made."""
    with serving(program) as served:
        client = make_client(served.url)
    with client:
        bench = RedisBench(client, client, space)
        for proposals in ((), (bench.proposal(""),)):
            with pytest.raises(Unavailable, match="cannot be reached"):
                bench.append(*proposals, after=ORIGIN)
        for call in (
            bench.stream.head,
            lambda: bench.stream.read(0, 0, 1),
            lambda: bench.stream.wait(0, 0, 1),
        ):
            with pytest.raises(Unavailable, match="cannot be reached"):
                call()


def test_a_restarted_server_is_written_to_again(program: Path, space: str) -> None:
    """After the server dropped every connection and script, the next call connects anew."""
    with serving(program) as served, bench_on(served, space) as bench:
        bench.write("")
        bench.other.script_flush()
        bench.other.client_kill_filter(_type="normal", skipme=True)
        assert bench.append(bench.proposal(""), after=bench.end()).verdicts == (Committed(2),)


def test_a_replica_is_read_but_not_written(program: Path, space: str) -> None:
    """A read-only replica refuses the commit, and says what it is.

    It refuses, too, to be what a refusal is decided on, which writes nothing: it may lag behind.
    """
    with serving(program) as served, bench_on(served, space) as bench:
        bench.write("")
        bench.other.replicaof("127.0.0.1", "1")
        with pytest.raises(Unavailable, match="read-only replica"):
            bench.append(bench.proposal(""))
        with pytest.raises(Unavailable, match="read-only replica"):
            bench.stream.restore(bench.end(), bench.stream.head(), 5, bench.now_ms, bench.entry())
        with pytest.raises(Unavailable, match="read-only replica"):
            bench.append(after=ORIGIN)
        assert [raw.position for raw in bench.stream.read(0, 0, 9)] == [1]


def test_a_refused_password_writes_nothing(program: Path, space: str) -> None:
    """An answer that the caller may not is no lost reply."""
    with serving(program) as served, bench_on(served, space) as bench:
        bench.other.config_set("requirepass", "secret")
        with pytest.raises(Unavailable):
            bench.append(bench.proposal(""), after=ORIGIN)
        with pytest.raises(Unavailable):
            bench.stream.head()


def test_a_loading_server_writes_nothing(program: Path, space: str) -> None:
    """A server that reads its data after a restart answers so, and did not run the command."""
    with serving(program, enable_debug_command="yes") as served, bench_on(served, space) as bench:
        bench.write("")
        with bench.other.pipeline(transaction=False) as pipeline:
            # It attends to its callers after every 1,024 commands that it has loaded.
            for _ in range(4_500):
                pipeline.set("x", 1)
            pipeline.execute()
        bench.other.config_set("key-load-delay", 50)
        with make_client(served.url, None) as third:
            reload = threading.Thread(
                target=third.execute_command, args=("DEBUG", "LOADAOF"), daemon=True
            )
            reload.start()
            while not bench.other.info("persistence")["loading"]:
                pass
            with pytest.raises(Unavailable, match="is loading"):
                bench.append(bench.proposal(""), after=ORIGIN)
            reload.join()
        assert [raw.position for raw in bench.all()] == [1]


def test_an_answer_that_cannot_be_read_is_no_answer(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """What is not the protocol's answer leaves a commit in doubt, and a read without effect."""
    path = tmp_path_factory.getbasetemp() / "s"
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            for _ in range(2):
                with closing(listener.accept()[0]) as connection:
                    connection.recv(1 << 20)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with make_client(f"unix://{path}") as client:
            stream = RedisStream(client, "a")
            entry = NewEntry(b"", b"", b"", b"")
            with pytest.raises(UnknownOutcome):
                stream.append(ORIGIN, 0, 0, [Proposal("", (entry,))])
            with pytest.raises(Unavailable):
                stream.head()
        thread.join()
