"""`follow --consumer` and `consumers`: cursors that last, who has which, what is wrong with one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from engine.entry import ORIGIN, Commit, Header
from engine.events import Sealed
from engine.stream import NewEntry, Proposal
from engine.wire import encode_commit, encode_sealed, pack
from ipledger.cursors import consumers_key
from ipledger.servers import open_stream, reach
from tests.cli.conftest import Cli, pool_yaml


def _positions(text: str) -> list[int]:
    return [json.loads(line)["position"] for line in text.splitlines()]


def _follow(cli: Cli, *words: str) -> list[int]:
    return _positions(cli.ok("follow", "--until-end", *words))


@pytest.fixture
def busy(web: Cli, manifest: Callable[[str], str]) -> Cli:
    """Positions 1 to 8: the space, three pools, grants (5, 6, 7) and the end of the first (8)."""
    web.ok("apply", "-f", manifest(pool_yaml("db", "10.2.0.0/24", "10.2.0.1-10.2.0.9")))
    web.ok("allocate", "--pool", "web", "--owner", "a", "--cluster", "east", "--label", "app=x")
    web.ok("allocate", "--pool", "db", "--owner", "b", "--cluster", "west", "--label", "app=y")
    web.ok("allocate", "--pool", "six", "--owner", "c", "--cluster", "east")
    web.ok("release", "--owner", "a")
    return web


@pytest.mark.parametrize(
    ("words", "positions"),
    [
        (["--type", "LeaseGranted"], [5, 6, 7]),
        (["--pool", "web"], [2, 5, 8]),
        (["--pool", "web", "--pool", "db", "--type", "leasegranted"], [5, 6]),
        (["--cluster", "east"], [5, 7, 8]),
        (["--cluster", "west"], [6]),
        (["--label", "app=x"], [5, 8]),
        (["--label", "app=x", "--label", "n=1"], []),
        (["--prefix", "10.0.0.0/16"], [2, 5, 8]),
        (["--prefix", "10.0.0.0/8", "--prefix", "fd00::/8", "--type", "LeaseGranted"], [5, 6, 7]),
        (["--pool", "nope"], []),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_filters(busy: Cli, words: list[str], positions: list[int]) -> None:
    """Each by itself and together, also for the end of a lease, which says neither."""
    assert _follow(busy, "--from", "1", *words) == positions
    assert _follow(busy, "--from", "8", *words) == [at for at in positions if at >= 8]


def test_shards_are_a_partition_of_the_leases(busy: Cli) -> None:
    """What is no lease's comes to each."""
    first, second = (_follow(busy, "--from", "1", "--shard", f"{n}/2") for n in (1, 2))
    assert sorted({*first, *second}) == list(range(1, 9))
    assert set(first) & set(second) == {1, 2, 3, 4}


def test_a_consumer_resumes_behind_its_last(busy: Cli) -> None:
    """From the beginning the first time, whatever --from would say later."""
    assert _follow(busy, "--consumer", "dns") == list(range(1, 9))
    busy.ok("release", "--owner", "b")
    again = busy("follow", "--until-end", "--consumer", "dns", "--from", "1")
    assert _positions(again.out) == [9]
    assert again.err == "ipledger: consumer dns goes on behind position 8\n"
    assert _follow(busy, "--consumer", "dns") == []
    assert _follow(busy, "--consumer", "late", "--from", "9") == [9]


def test_consumers_are_listed(busy: Cli) -> None:
    """By name, with lag, filters and when they were seen; with and without `list`."""
    assert busy.ok("consumers") == f"no consumers of space {busy.options[-1]}\n"
    _follow(busy, "--consumer", "fw", "--shard", "2/5", "--prefix", "10.0.0.0/8")
    busy.ok("release", "--owner", "b")
    _follow(busy, "--consumer", "dns", "--type", "LeaseEnded")
    items = busy.json("consumers", "list").items
    assert busy.json("consumers").items == items
    assert [(i["name"], i["position"], i["lag_positions"], i["filters"]) for i in items] == [
        ("dns", 9, 0, ["type=LeaseEnded"]), ("fw", 8, 1, ["prefix=10.0.0.0/8", "shard=2/5"]),
    ]  # fmt: skip
    assert items[0]["lag_s"] == 0
    assert items[1]["lag_s"] > 0
    assert items[0]["last_seen"] > items[1]["last_seen"]
    assert "shard=2/5" in busy.ok("consumers")


def test_a_consumer_is_forgotten(busy: Cli) -> None:
    """It begins anew; one that is not there is `not_found`."""
    _follow(busy, "--consumer", "dns")
    assert busy.ok("consumers", "forget", "dns") == "consumer dns forgotten\n"
    assert busy("consumers", "forget", "dns").code == 3
    assert _follow(busy, "--consumer", "dns") == list(range(1, 9))


def test_what_is_wrong_with_a_cursor_is_listed(busy: Cli, embedded_url: str) -> None:
    """Beside those that are right."""
    space = busy.options[-1]
    _follow(busy, "--consumer", "good")
    with redis.Redis.from_url(embedded_url) as client:
        key = consumers_key(space)
        value: Any = client.hget(key, "good")
        kept = json.loads(value)
        cursor = json.loads(kept["cursor"])
        ms = cursor["id"].partition("-")[0]
        changes: dict[str, dict[str, object]] = {
            "beyond": {"id": f"{ms}-99"}, "other": {"space_id": "00" * 16},
            "odd": {"format": 9},
        }  # fmt: skip
        for name, fields in changes.items():
            text = json.dumps({**cursor, **fields})
            client.hset(key, name, json.dumps({**kept, "cursor": text}))
        client.hset(key, "rubbish", b"\xff")
    items = {item["name"]: item for item in busy.json("consumers").items}
    assert {name: item["trouble"] is None for name, item in items.items()} == {
        "beyond": False, "good": True, "odd": False, "other": False, "rubbish": False,
    }  # fmt: skip
    assert "ends at position 8" in items["beyond"]["trouble"]
    assert "another one" in items["other"]["trouble"]
    for name, code in {"beyond": 8, "other": 8, "odd": 6, "rubbish": 8}.items():
        result = busy("follow", "--until-end", "--consumer", name, "-o", "json")
        assert (result.code, result.out) == (code, "")
        assert f"consumers forget {name}" in result.error["hint"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--shard", "6/5"], 6), (["--shard", "x"], 6), (["--prefix", "10.0.0.1/8"], 6),
        (["--label", "x"], 6), (["--consumer", "a b"], 6), (["--type", "Nope"], 6),
        (["--from", "99"], 6), (["--from", "2099-01-01T00:00:00Z"], 6),
        (["--from", "2026-11-03T04:05:06"], 6), (["--space", "nope"], 3), (["--pool", "a b"], 6),
        (["--consumer", ""], 6),
    ],
    ids=str,
)  # fmt: skip
def test_bad_input_is_refused(busy: Cli, words: list[str], code: int) -> None:
    """Before anything is printed or kept."""
    result = busy("follow", "--until-end", *words, "-o", "json")
    assert (result.code, result.out) == (code, "")
    assert result.error["message"]
    assert busy.json("consumers").items == []


def test_an_unknown_informational_event_is_relayed_as_it_is(busy: Cli, embedded_url: str) -> None:
    """Code, version and the bytes of its fields; whatever else is unknown stops the reader."""
    server = reach(embedded_url)
    stream = open_stream(server, busy.options[-1])
    for code in (200, 99):
        fields = pack((code, 3, *Header(bytes(16)), "text", b"\0\1"))
        sealed = encode_sealed(Sealed(bytes(16)))
        last = stream.read(stream.head().ms, stream.head().position - 1, 1)[0]
        commit = Commit(bytes(8), 0, 1, 0, last.position, bytes(16))
        entry = NewEntry(fields, sealed, b"c" + b"0" * 40, encode_commit(commit, fields, sealed)[1])
        after = ORIGIN._replace(ms=last.ms, position=last.position, c=last.c)
        reply = stream.append(after, 0, last.ms, [Proposal("", (entry,))])
        assert reply.status == "ok"
    server.close()
    result = busy("follow", "--from", "9", "--until-end", "-o", "json")
    assert result.out, result.err
    event = json.loads(result.out)
    assert (event["type"], event["position"]) == ("Informational", 9)
    assert event["data"] == {
        "code": 200, "version": 3, "fields": pack(("text", b"\0\1")).hex(),
    }  # fmt: skip
    assert result.code == 8
    assert "event type 99 version 3 at position 10 is unknown" in result.error["message"]
