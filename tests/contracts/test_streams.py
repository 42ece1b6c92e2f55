"""Every stream backend keeps the same contract; what only a server can show comes after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import fakeredis
import pytest
import redis

from engine import tags
from engine.entry import ORIGIN, RawEntry
from engine.errors import DamagedEntry, IntegrityError, ReadOnlyMirror
from engine.redis_stream import RedisStream, marker_key, stream_key
from engine.stream import Committed, Conflict, Head
from ipledger.servers import make_client
from tests.contracts.benches import MemoryBench, RedisBench
from tests.contracts.mirror import MirrorContract, mirrored
from tests.contracts.replicas import ReplicaContract
from tests.contracts.stream import MINUTE_MS, StreamContract


class RedisContract(StreamContract, MirrorContract, ReplicaContract):
    """What holds for the stream on every server, beside the contract."""

    @pytest.fixture
    def bench(self) -> RedisBench:
        """A stream that is empty."""
        raise NotImplementedError

    def test_the_key_keeps_a_space_in_one_slot(self, bench: RedisBench) -> None:
        """The stream is the one key that an append makes, with the space's name in braces."""
        bench.write("")
        assert bench.other.exists(f"ipledger:{{{bench.space}}}:events") == 1

    def test_a_script_that_the_server_forgot_is_sent_again(self, bench: RedisBench) -> None:
        """After SCRIPT FLUSH, as after a restart, the same client goes on as before."""
        first = bench.write("")
        bench.other.script_flush()
        assert bench.write("").position == 2
        bench.other.script_flush()
        bench.stream.restore(first, bench.stream.head(), 2, bench.now_ms, bench.entry())
        assert bench.end().position == 3

    def test_a_key_of_another_type_is_left_alone(self, bench: RedisBench) -> None:
        """What is not a stream is an integrity error for every call, and stays what it is."""
        bench.other.set(bench.key, "mine")
        stream = bench.stream
        for call in (
            stream.head,
            lambda: stream.read(0, 0, 1),
            lambda: stream.read_from(0, 1),
            lambda: stream.dump(0, 0),
            lambda: bench.append(after=ORIGIN),
            lambda: bench.append(bench.proposal(""), after=ORIGIN),
            lambda: stream.restore(ORIGIN, Head(0, 0, 0), 1, bench.now_ms, bench.entry()),
        ):
            with pytest.raises(IntegrityError, match="is not a stream"):
                call()
        assert bench.other.get(bench.key) == b"mine"

    def test_a_marker_stands_in_the_slot_of_its_stream(self, bench: RedisBench) -> None:
        """Its key has the space's name in the same braces, so that one script may ask for both."""
        mirrored(bench, (5, 1))
        assert bench.other.exists(f"ipledger:{{{bench.space}}}:mirror") == 1

    @pytest.mark.parametrize(
        "fields",
        [{"x": "1"}, {"format": "2"}, {"format": "1", "space_id": "zz"}, {"format": "x"}],
        ids=["another", "newer", "damaged", "no number"],
    )
    def test_a_marker_that_is_not_ours_is_an_error(
        self, bench: RedisBench, fields: dict[Any, Any]
    ) -> None:
        """Whoever asks whether the stream is a mirror is told that it cannot be said."""
        bench.other.hset(marker_key(bench.space), mapping={"source": "s", "voided": "0", **fields})
        with pytest.raises(IntegrityError, match="is not what marks a mirror"):
            bench.stream.marker()
        with pytest.raises(ReadOnlyMirror):
            bench.append(bench.proposal(""))

    def test_a_consumer_group_alone_is_no_history(self, bench: RedisBench) -> None:
        """A stream that somebody made empty, for a group, takes the first commit."""
        bench.other.xgroup_create(bench.key, "readers", mkstream=True)
        assert bench.stream.head() == Head(0, 0, 0)
        assert bench.append(bench.proposal("")).verdicts == (Committed(1),)

    @pytest.mark.parametrize(
        "fields",
        [
            {b"x": b""},
            {b"e": b"", b"s": b"", b"t": b""},
            {b"e": b"", b"s": b"", b"c": b"", b"t": b""},
            {b"e": b"", b"s": b"", b"t": b"", b"c": b"", b"x": b""},
            {b"e": b"", b"s": b"", b"T": b"", b"c": b""},
            {b"E": b"", b"s": b"", b"t": b"", b"c": b""},
            {b"e": b"", b"S": b"", b"t": b"", b"c": b""},
            {b"e": b"", b"s": b"", b"t": b"", b"C": b""},
        ],
        ids=["another", "fewer", "reordered", "more", "no t", "no e", "no s", "no c"],
    )
    @pytest.mark.parametrize("behind", [0, 1], ids=["first", "second"])
    def test_a_foreign_entry_is_damage(
        self, bench: RedisBench, fields: dict[bytes, bytes], behind: int
    ) -> None:
        """An entry with other fields, in its right place, is no ground to write on."""
        known = bench.write("") if behind else ORIGIN
        position = behind + 1
        bench.inject_fields(f"{bench.now_ms}-{position}", fields)
        head = bench.stream.head()
        reply = bench.append(bench.proposal(""), after=known)
        # Who is sent to read it learns what is wrong with it.
        assert (reply.status, reply.detail) == ("behind", position)
        stream = bench.stream
        reading: tuple[Callable[[], object], ...] = (
            lambda: stream.read(known.ms, known.position, 10),
            lambda: stream.read_from(0, 10),
            lambda: stream.wait(known.ms, known.position, 1),
        )
        for call in reading:
            with pytest.raises(DamagedEntry, match="does not have the fields e, s, t, c") as caught:
                call()
            assert caught.value.position == position
        assert stream.head() == head
        # Only whoever saves what is to be set aside gets it as it is.
        stored = tuple(part for pair in fields.items() for part in pair)
        assert stream.dump(known.ms, known.position) == [(f"{head.ms}-{position}", stored)]

    def test_a_foreign_entry_out_of_place_is_a_hole(self, bench: RedisBench) -> None:
        """What XADD writes under an id of its own does not continue the positions."""
        known = bench.write("")
        bench.inject_fields(f"{bench.now_ms + 1}-0", {b"e": b"", b"s": b"", b"t": b"", b"c": b""})
        reply = bench.append(bench.proposal(""), after=known)
        assert (reply.status, reply.detail) == ("shorter", 0)
        assert bench.append(bench.proposal(""), after=ORIGIN).status == "missing"


class TestMemoryStream(StreamContract, MirrorContract, ReplicaContract):
    """The contract in memory."""

    @pytest.fixture
    def bench(self) -> MemoryBench:
        """A stream of its own."""
        return MemoryBench()

    def test_the_clock_is_an_argument(self, bench: MemoryBench) -> None:
        """Its server's clock is the one it was given: also when that is off, or goes back."""
        first = bench.append(bench.proposal(""), skew_ms=MINUTE_MS)
        bench.skew_ms = -4 * MINUTE_MS
        assert bench.append(bench.proposal("")).ms == first.ms
        bench.skew_ms = -6 * MINUTE_MS
        assert bench.append(bench.proposal("")).status == "clock"
        assert bench.append(bench.proposal(""), skew_ms=bench.skew_ms).status == "clock"
        bench.skew_ms = 10 * MINUTE_MS
        assert bench.append(bench.proposal("")).status == "clock"
        assert bench.append(bench.proposal(""), skew_ms=bench.skew_ms).verdicts == (Committed(3),)


class TestFakeRedis(RedisContract):
    """The contract on the imitation that needs no server."""

    @pytest.fixture
    def bench(self, space: str) -> Iterator[RedisBench]:
        """A stream on an imitation of its own."""
        server = fakeredis.FakeServer(server_type="redis", version=(7,))
        with (
            fakeredis.FakeRedis(server=server, protocol=2) as client,
            fakeredis.FakeRedis(server=server, protocol=2) as other,
        ):
            yield RedisBench(client, other, space)


class ServerContract(RedisContract):
    """What holds on every real server."""

    @pytest.fixture
    def url(self) -> str:
        """Where the server is."""
        raise NotImplementedError

    @pytest.fixture
    def bench(self, url: str, space: str) -> Iterator[RedisBench]:
        """A stream on the server that the session's tests share, and gone after the test."""
        with make_client(url) as client, redis.Redis.from_url(url) as other:
            yield RedisBench(client, other, space)
            other.delete(stream_key(space), marker_key(space))

    def test_waiting_on_another_type_is_an_error(self, bench: RedisBench) -> None:
        """Whoever waits on what is not a stream is told so (fakeredis breaks down instead)."""
        bench.other.set(bench.key, "mine")
        with pytest.raises(IntegrityError, match="is not a stream"):
            bench.stream.wait(0, 0, 1)

    def test_protocol_3_says_the_same(self, bench: RedisBench, url: str) -> None:
        """A client of the newer protocol, whose replies have other shapes, reads alike."""
        bench.write("", tags.SPACE)
        with redis.Redis.from_url(url, protocol=3) as client:
            other = RedisStream(client, bench.space)
            assert other.head() == bench.stream.head()
            assert other.read(0, 0, 9) == other.wait(0, 0, 9) == other.read_from(0, 9)
            assert other.read(0, 0, 9) == bench.all()
            assert other.wait(*bench.end()[:2], 1) == []
            assert other.dump(0, 0) == bench.stream.dump(0, 0)
            proposals = [bench.proposal("", reads=tags.SPACE), bench.proposal("")]
            reply = other.append(bench.anchor(1), 0, bench.now_ms, proposals)
            assert reply.verdicts == (Conflict(tags.SPACE, 2), Committed(3))
            assert reply.tail == bench.all()[1:2]
            other.restore(bench.end(), other.head(), 3, bench.now_ms, bench.entry())
        assert bench.end().position == 4

    def test_waiting_ends_when_something_comes(self, bench: RedisBench, url: str) -> None:
        """Whoever waits at the end is given what another writes meanwhile."""
        end = bench.write("")
        found: list[RawEntry] = []
        with make_client(url) as client:
            waiting = RedisStream(client, bench.space)
            thread = threading.Thread(
                target=lambda: found.extend(waiting.wait(end.ms, end.position, 4_000))
            )
            thread.start()
            while not bench.other.info("clients")["blocked_clients"]:
                time.sleep(0.001)
            bench.write("", "")
            thread.join()
        # A commit is written in one step, so that whoever waits never sees half of it.
        assert found == bench.all()[1:]


class TestEmbeddedServer(ServerContract):
    """The contract on the server that `ipledger` brings."""

    @pytest.fixture
    def url(self, embedded_url: str) -> str:
        """Where the server is."""
        return embedded_url


class TestSystemServer(ServerContract):
    """The contract on the distribution's Redis."""

    @pytest.fixture
    def url(self, debian_url: str) -> str:
        """Where the server is."""
        return debian_url
