"""Consumers on a real server: at least once, in order, at commit ends, by a cursor that lasts."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

import ipledger
from engine.errors import (
    HistoryDiverged,
    InvalidInput,
    Refused,
    SpaceReplaced,
    Unavailable,
)
from ipledger.cli import run
from ipledger.cursors import consumers_key
from ipledger.ledger import Ledger
from ipledger.servers import make_client
from tests.servers import bundled_program, serving


class Place:
    """A space of a server, with what a consumer of it is opened with."""

    def __init__(self, url: str, space: str, states: Path) -> None:
        self.url = url
        self.space = space
        self.states = states
        with self.ledger() as ledger:
            ledger.create_space()
            ledger.apply(ipledger.pool("web", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.250"]))

    def ledger(self) -> Ledger:
        """A ledger of the space."""
        return ipledger.connect(self.url, self.space, state_dir=self.states)

    def allocate(self, *owners: str) -> None:
        """A lease for each owner, each in a commit of its own."""
        with self.ledger() as ledger:
            for owner in owners:
                ledger.allocate("web", owner=owner)

    def consumer(self, name: str | None = None, **options: Any) -> ipledger.Consumer:
        """A consumer to the stream's end, unless told otherwise."""
        return ipledger.Consumer(name, **self.options(**options))

    def options(self, **options: Any) -> dict[str, Any]:
        """What a consumer here is opened with."""
        about = {"url": self.url, "space": self.space, "state_dir": self.states}
        return {**about, "until_end": True, **options}

    def positions(self, name: str | None = None, **options: Any) -> list[int]:
        """What a consumer is delivered up to the end, handled to the end."""
        with self.consumer(name, **options) as consumer:
            return [event.position for commit in consumer for event in commit.events]


@pytest.fixture
def place(embedded_url: str, space: str, tmp_path: Path) -> Place:
    """A space with a pool: positions 1 and 2."""
    return Place(embedded_url, space, tmp_path / "state")


def test_what_was_handled_is_not_delivered_again(place: Place) -> None:
    """By name, from the server; by file; each from its own place."""
    place.allocate("a", "b")
    assert place.positions("one") == [1, 2, 3, 4]
    assert place.positions(cursor=place.states / "cursor") == [1, 2, 3, 4]
    place.allocate("c")
    assert place.positions("one") == place.positions(cursor=place.states / "cursor") == [5]
    assert place.positions("one") == []
    assert place.positions("two", start=4) == [4, 5]
    assert place.positions("two", start=4) == []  # the start counts the first time only


def test_a_commit_whose_handling_failed_is_delivered_again(place: Place) -> None:
    """What came before it is not."""
    place.allocate("a", "b")

    def consume() -> None:
        with place.consumer("one") as consumer:
            for commit in consumer:
                assert commit.position < 3 or 1 / 0

    with pytest.raises(ZeroDivisionError):
        consume()
    assert place.positions("one") == [3, 4]


def test_break_needs_commit(place: Place) -> None:
    """Leaving the loop handles nothing; `commit` does."""
    place.allocate("a", "b")
    for position, commits in [(1, False), (1, True), (2, True), (3, False), (3, False)]:
        with place.consumer("one") as consumer:
            for commit in consumer:
                assert commit.position == position
                if commits:
                    consumer.commit()
                break


def test_the_cursor_in_the_consumers_own_database(place: Place, tmp_path: Path) -> None:
    """Kept in the same transaction as what was made of the events: exactly once, then."""
    place.allocate("a", "b", "c")
    database = sqlite3.connect(tmp_path / "own.sqlite")
    database.execute("CREATE TABLE addresses (address, owner)")
    database.execute("CREATE TABLE stands (cursor)")
    for fail_at in (3, 4, 5, 0):
        row = database.execute("SELECT cursor FROM stands").fetchone()
        with place.consumer(start=row[0] if row else 1, types=["LeaseGranted"]) as consumer:
            for commit in consumer:
                for event in commit.events:
                    database.execute(
                        "INSERT INTO addresses VALUES (?, ?)", (event.address, event.owner)
                    )
                database.execute("DELETE FROM stands")
                database.execute("INSERT INTO stands VALUES (?)", (commit.cursor,))
                if commit.position == fail_at:
                    database.rollback()
                    break
                database.commit()
    rows = database.execute("SELECT * FROM addresses").fetchall()
    assert rows == [("10.0.0.1", "a"), ("10.0.0.2", "b"), ("10.0.0.3", "c")]


def test_the_cursor_moves_on_though_nothing_is_wanted(place: Place) -> None:
    """A consumer that wants little is not behind."""
    place.allocate("a", "b")
    assert place.positions("one", types=["QuarantineEnded"]) == []
    with place.consumer("one") as consumer:
        assert consumer.resumed_at is not None
        assert consumer.resumed_at.position == 4
        assert consumer.lag.positions == 0


def test_heartbeats_and_lag(place: Place) -> None:
    """An empty commit at the end; the lag counts what was not handled."""
    place.allocate("a", "b")
    with place.consumer(heartbeats=True) as consumer:
        seen = [(c.position, len(c.events), consumer.lag.positions) for c in consumer]
    assert seen == [(1, 1, 4), (2, 1, 3), (3, 1, 2), (4, 1, 1), (4, 0, 0)]


def test_it_waits_for_more_until_it_is_stopped(place: Place) -> None:
    """From another thread; what comes meanwhile is delivered."""
    seen: list[int] = []
    with place.consumer(until_end=False, start="now") as consumer:

        def follow() -> None:
            seen.extend(event.position for commit in consumer for event in commit.events)

        thread = threading.Thread(target=follow)
        thread.start()
        place.allocate("a")
        _wait_until(lambda: seen == [3])
        consumer.stop()
        thread.join(20)
        assert not thread.is_alive()


def _wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_who_starts_last_has_the_name(place: Place) -> None:
    """The one before stops at its next save, and has not moved its successor's cursor."""
    place.allocate("a", "b")
    with suppress(Refused), place.consumer("one", save_every_s=0) as first:
        commits = iter(first)
        next(commits)
        with place.consumer("one") as second:
            assert [c.position for c in second] == [1, 2, 3, 4]
        with pytest.raises(Refused, match="another process consumes as one") as caught:
            next(commits)
    assert caught.value.kind == "conflict"
    assert place.positions("one") == []


def test_a_name_that_is_forgotten_stops_its_consumer(place: Place) -> None:
    """It does not write the cursor again, as if nothing had been said."""
    client = redis.Redis.from_url(place.url)
    with client, suppress(Refused), place.consumer("one", save_every_s=0) as consumer:
        commits = iter(consumer)
        next(commits), next(commits)
        assert client.hdel(consumers_key(place.space), "one")
        with pytest.raises(Refused, match="removed while it ran"):
            next(commits)
        assert not client.exists(consumers_key(place.space))


def test_a_file_has_one_consumer(place: Place, tmp_path: Path) -> None:
    """The second is refused as long as the first runs."""
    refused = pytest.raises(Refused, match="another process keeps its cursor")
    with place.consumer(cursor=tmp_path / "c"), refused:
        place.consumer(cursor=tmp_path / "c")
    assert place.positions(cursor=tmp_path / "c") == [1, 2]


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", "{" * 9_000, '{"format":1}'])
def test_a_damaged_cursor_is_refused(place: Place, tmp_path: Path, text: str) -> None:
    """It is not taken for a beginning; and the file is named."""
    (tmp_path / "c").write_text(text)
    with pytest.raises(InvalidInput, match="is not a cursor") as caught:
        place.consumer(cursor=tmp_path / "c")
    assert str(tmp_path / "c") in caught.value.hint


def test_a_damaged_cursor_in_redis_is_refused(place: Place) -> None:
    """With the way out."""
    with redis.Redis.from_url(place.url) as client:
        client.hset(consumers_key(place.space), "one", "nonsense")
    with pytest.raises(ipledger.IntegrityError, match="consumer one is damaged") as caught:
        place.consumer("one")
    assert "consumers forget one" in caught.value.hint


def test_a_cursor_beyond_the_end_is_refused(place: Place) -> None:
    """A backup was restored: whoever has seen more says so, and how to begin anew."""
    place.allocate("a", "b")
    place.positions("one")
    _cut(place, 3)
    fresh: dict[str, Any] = {"state_dir": place.states / "other"}  # this machine remembers nothing
    with pytest.raises(HistoryDiverged, match="ends at position 3") as caught:
        place.consumer("one", **fresh)
    assert "doctor" in caught.value.hint
    assert "consumers forget one" in caught.value.hint
    with pytest.raises(HistoryDiverged):  # and this one's memory notices without a cursor
        place.positions()


def test_a_cursor_of_another_space_is_refused(place: Place, tmp_path: Path) -> None:
    """Of another name, or of the same name and made anew."""
    cursor = tmp_path / "c"
    other = Place(place.url, f"{place.space}-2", tmp_path / "s")
    other.positions(cursor=cursor)
    with pytest.raises(SpaceReplaced):
        place.consumer(cursor=cursor)


def test_what_was_voided_is_refused(place: Place) -> None:
    """A consumer that saw positions which an accepted restoration voided must not go on."""
    place.allocate("a", "b")
    place.positions("one")
    with place.consumer("early") as early:
        for commit in early:
            if commit.position == 3:
                early.commit()
                break
    _restore(place, kept=3, void_through=6)
    other: dict[str, Any] = {"state_dir": place.states / "other"}
    with pytest.raises(HistoryDiverged, match="positions 4 to 6 are void"):
        place.consumer("one", **other)
    assert place.positions("early", **other) == [7]  # it has seen nothing that is void


def _cut(place: Place, kept: int) -> None:
    """Leave only so many entries, as an older backup has them."""
    key = f"ipledger:{{{place.space}}}:events"
    with redis.Redis.from_url(place.url) as client:
        entries: Any = client.xrange(key)
        client.delete(key)
        for entry_id, fields in entries[:kept]:
            client.xadd(key, fields, id=entry_id)


def _restore(place: Place, kept: int, void_through: int) -> None:
    """Accept what is left, as `ipledger doctor --accept-rollback` does."""
    key = f"ipledger:{{{place.space}}}:events"
    with redis.Redis.from_url(place.url) as client:
        entries = client.xrange(key)
        client.delete(key)
        for entry_id, fields in entries[:kept]:
            client.xadd(key, fields, id=entry_id)
    command = ["--url", place.url, "--space", place.space, "--state-dir", str(place.states)]
    command += ["doctor", "--accept-rollback", "--void-through", str(void_through)]
    assert run([*command, "--reason", "test"]) == 0


def test_a_space_that_does_not_exist(embedded_url: str, space: str, tmp_path: Path) -> None:
    """Is `not_found`, as everywhere: it may be a typing error."""
    with pytest.raises(Refused) as caught:
        ipledger.Consumer(url=embedded_url, space=space, state_dir=tmp_path)
    assert caught.value.kind == "not_found"


@pytest.mark.parametrize("start", [0, 99, "later", "", "2099-01-01T00:00:00Z", '{"a":1}', "-1"])
def test_bad_starts_are_refused(place: Place, start: int | str) -> None:
    """No place in the stream, no time, a time to come, no cursor."""
    with pytest.raises(InvalidInput):
        place.consumer(start=start)


@pytest.fixture
def own_server() -> Iterator[str]:
    """The URL of a server that the test may do anything to."""
    with serving(bundled_program()) as served:
        yield served.url


def test_a_replica_is_read_but_keeps_no_cursor(own_server: str, tmp_path: Path) -> None:
    """It is read with a cursor in a file; a shorter one lags; a cursor there is refused."""
    place = Place(own_server, "s", tmp_path / "state")
    place.allocate("a", "b")
    assert place.positions(cursor=tmp_path / "c", start=1) == [1, 2, 3, 4]
    _cut(place, 3)
    fresh: dict[str, Any] = {"state_dir": tmp_path / "fresh"}
    with closing(make_client(own_server)) as client:
        client.replicaof("127.0.0.1", "1")  # nobody is there
        with pytest.raises(Unavailable, match="read-only replica"):
            place.consumer("one", **fresh)
        with pytest.raises(Unavailable, match="ends at position 3, and position 4"):
            place.consumer(cursor=tmp_path / "c", **fresh)
        client.replicaof("NO", "ONE")
    with pytest.raises(HistoryDiverged):
        place.consumer(cursor=tmp_path / "c", **fresh)


def test_a_mirror_that_is_shorter_lags(place: Place, tmp_path: Path) -> None:
    """Whether the cursor or this machine's memory has seen more of it."""
    place.allocate("a", "b")
    place.positions(cursor=tmp_path / "c")
    _cut(place, 3)
    marker = {"format": 1, "space_id": "00" * 16, "source": "redis://elsewhere", "voided": 0}
    with redis.Redis.from_url(place.url) as client:
        client.hset(f"ipledger:{{{place.space}}}:mirror", mapping=marker)
    with pytest.raises(Unavailable, match="ends at position 3, and position 4"):
        place.consumer(cursor=tmp_path / "c")
    with pytest.raises(Unavailable, match="ends at position 3"):
        place.positions()


def test_asyncio(place: Place) -> None:
    """The same, awaited; many at once, each in a thread of its own."""

    async def consume(name: str) -> list[int]:
        seen: list[int] = []
        async with ipledger.AsyncConsumer(name, **place.options()) as consumer:
            async for commit in consumer:
                seen += [event.position for event in commit.events]
            assert consumer.lag.positions == 0
        return seen

    async def main() -> list[list[int]]:
        return await asyncio.gather(*(consume(f"c{n}") for n in range(5)))

    place.allocate("a")
    assert asyncio.run(main()) == [[1, 2, 3]] * 5
    assert place.positions("c0") == []


def test_waiting_that_is_cancelled_loses_nothing(place: Place) -> None:
    """What the thread finds afterwards goes to who waits next; leaving does not hang."""

    async def main() -> list[int]:
        options = place.options(until_end=False, start="now")
        async with ipledger.AsyncConsumer("one", **options) as consumer:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(consumer), 0.01)
            await asyncio.to_thread(place.allocate, "a", "b")
            seen = [(await anext(consumer)).position, (await anext(consumer)).position]
            await consumer.commit()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(consumer), 0.01)
            return seen

    assert asyncio.run(main()) == [3, 4]
    assert place.positions("one") == []


def test_an_async_body_that_fails(place: Place) -> None:
    """Its commit is delivered again, and the error is the body's."""

    async def main() -> None:
        async with ipledger.AsyncConsumer("one", **place.options()) as consumer:
            async for commit in consumer:
                assert commit.position < 2 or 1 / 0

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert place.positions("one") == [2]
