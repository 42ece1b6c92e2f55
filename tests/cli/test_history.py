"""`history`: who held what, from when to when, on both time axes, and why nobody did."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, pool_yaml, reservation_yaml, shown


@pytest.fixture
def told(web: Cli) -> Cli:
    """A space in which a, then b, held the first address; the pool is deleted by now."""
    for owner in ("a", "b"):
        web.ok("allocate", "--pool", "web", "--owner", owner, "--actor", f"{owner}'s boss",
               "--label", f"for={owner}", "--reason", "asked for")  # fmt: skip
        web.ok("release", "--owner", owner, "--actor", "cleaner", "--reason", "gone")
    web.ok("delete", "pool", "web")
    return web


def test_every_holder_also_after_everything_was_deleted(told: Cli) -> None:
    """Who, from when to when, by whose hand and why, and the positions that prove it."""
    answer = told.json("history", "ip", "10.0.0.10").data
    first, second = answer["items"]
    assert (first["owner"], first["pool"], first["ended_by"]) == ("a", "web", "released")
    assert (first["granted_by"], first["ended_by_actor"]) == ("a's boss", "cleaner")
    assert (first["granted_reason"], first["ended_reason"]) == ("asked for", "gone")
    assert first["granted_position"] < first["ended_position"] < second["granted_position"]
    assert first["from"] <= first["to"] <= second["from"]
    assert (answer["first_seen"], answer["last_seen"]) == (first["from"], second["to"])
    assert answer["position"] == second["ended_position"] + 1
    assert told.ok("history", "ip", "10.0.0.10").endswith(f"as of position {answer['position']}\n")


def test_at_a_time(told: Cli) -> None:
    """The time that was printed is understood to the millisecond; the end does not belong to it."""
    first, second = told.json("history", "ip", "10.0.0.10").items
    at = told.json("history", "ip", "10.0.0.10", "--at", second["from"]).items
    assert [held["owner"] for held in at] == ["b"]
    assert told.json("history", "ip", "10.0.0.10", "--at", first["to"]).items != [first]
    said = told.ok("history", "ip", "10.0.0.10", "--at", "now")
    assert "10.0.0.10 was held by nobody at now: in no pool" in said


def test_a_range(told: Cli) -> None:
    """What overlaps it: what ended as it begins, or begins as it ends, does not."""
    first, second = told.json("history", "ip", "10.0.0.10").items
    words = ["history", "ip", "10.0.0.10"]
    late = told.json(*words, "--from", first["to"]).items
    assert [held["owner"] for held in late] == ["b"]
    early = told.json(*words, "--to", second["from"]).items
    assert [held["owner"] for held in early] == ["a"]
    assert told.json(*words, "--limit", "1").data["truncated"] is True
    assert "see --limit" in told.ok(*words, "--limit", "1")


def test_by_subnet_owner_label_and_actor(told: Cli) -> None:
    """The same tenures, found by whatever is known of them."""
    first, second = told.json("history", "ip", "10.0.0.10").items
    for words in (["subnet", "10.0.0.0/24"], ["ip", "10.0.0.0/8"], ["subnet", "0.0.0.0/0"]):
        assert told.json("history", *words).items == [first, second]
    assert told.json("history", "subnet", "10.0.1.0/24").items == []
    assert told.json("history", "owner", "a").items == [first]
    assert told.json("history", "owner", "a", "--interface", "eth0").items == [first]
    assert told.json("history", "owner", "a", "--interface", "eth1").items == []
    assert told.json("history", "label", "for=b").items == [second]
    assert told.json("history", "label", "for=c").items == []
    assert told.json("history", "actor", "b's boss").items == [second]
    assert "nobody held" not in told.ok("history", "owner", "c")
    assert told.ok("history", "owner", "c").startswith("c held nothing\n")
    assert told.ok("history", "actor", "cleaner").startswith("cleaner granted nothing\n")


def test_an_address_nobody_held(web: Cli, manifest: Callable[[str], str]) -> None:
    """In any spelling of it; that is an answer, not an error, and says what it was instead."""
    web.ok("apply", "-f", manifest(
        pool_yaml("more", "10.1.0.0/24", "10.1.0.10-10.1.0.20",
                  more="excludeIPs: [10.1.0.12], cooldown: 1h")
        + reservation_yaml("kept", "10.1.0.11", more="reason: the router")
    ))  # fmt: skip
    web.ok("quarantine", "10.1.0.13", "--reason", "answers ARP", "--for", "1h")
    web.ok("allocate", "--pool", "more", "--owner", "a")
    web.ok("release", "--owner", "a")
    expected = {
        "FD99:0::5": "fd99::5 was held by nobody: in no pool",
        "10.0.0.10": "10.0.0.10 was held by nobody: free in pool web",
        "10.1.0.11": "10.1.0.11 was held by nobody: reserved by kept (the router) in pool more",
        "10.1.0.12": "10.1.0.12 was held by nobody: excluded by pool more",
        "10.1.0.10": "now: at rest until ",
    }
    for address, words in expected.items():
        assert words in web.ok("history", "ip", address)
    assert "quarantined by quarantine/" in web.ok("history", "ip", "10.1.0.13")
    why = web.json("history", "ip", "10.1.0.11", "--at", "now").data["unheld"]
    assert (why["why"], why["pool"], why["named"]) == ("reserved", "more", ["kept"])


def test_late_news_on_both_axes(web: Cli) -> None:
    """A release that was told late: then as it was known then, and as it is known now."""
    lease = web.json("allocate", "--pool", "web", "--owner", "a", "--effective-at", "-2h")
    number = str(lease.data["leases"][0]["lease"])
    web.ok("release", number, "--effective-at", "-1h")
    (held,) = web.json("history", "ip", "10.0.0.10").items
    assert held["from"] < held["to"] < held["granted_at"] <= held["ended_at"]
    words = ["history", "ip", "10.0.0.10", "--at"]
    assert web.json(*words, "-90m").items == [held]
    assert web.json(*words, "-30m").items == []
    if held["granted_at"] < held["ended_at"]:
        (then,) = web.json(*words, "-30m", "--known-at", held["granted_at"]).items
        assert (then["owner"], then["to"], then["ended_by"]) == ("a", None, None)
    assert web(*words, "-3h").code == 6
    assert web("history", "ip", "10.0.0.10", "--known-at", "-90m").code == 6


def test_a_new_incarnation_is_merged_on_request(web: Cli) -> None:
    """Contiguous tenures of one owner are one; without --merge each is told."""
    for uid in ("u1", "u2", "u3"):
        web.ok("allocate", "--pool", "web", "--owner", "a", "--uid", uid)
    items = web.json("history", "owner", "a").items
    assert [item["began"] for item in items] == ["granted", "superseding", "superseding"]
    (merged,) = web.json("history", "owner", "a", "--merge").items
    assert merged["leases"] == [item["lease"] for item in items]
    assert (merged["from"], merged["to"]) == (items[0]["from"], None)
    assert (merged["began"], merged["uid"]) == ("granted", "u3")


def test_every_change_of_a_pool(web: Cli, manifest: Callable[[str], str]) -> None:
    """Whole before and after, and the name's next pool after it was deleted."""
    web.ok("apply", "-f", manifest(pool_yaml("web", "10.0.0.0/24", "10.0.0.10-10.0.0.30")),
           "--actor", "me", "--reason", "more room")  # fmt: skip
    web.ok("delete", "pool", "web")
    web.ok("apply", "-f", manifest(pool_yaml("web", "10.9.0.0/24", "10.9.0.1")))
    items = web.json("history", "pool", "web").items
    assert [item["what"] for item in items] == ["created", "updated", "deleted", "created"]
    created, updated, deleted, again = items
    assert created["before"] is None
    assert created["after"] == updated["before"]
    assert (updated["after"]["ips"], updated["actor"], updated["reason"]) == (
        ["10.0.0.10-10.0.0.30"], "me", "more room",
    )  # fmt: skip
    assert (deleted["before"], deleted["after"]) == (updated["after"], None)
    assert created["id"] == updated["id"] == deleted["id"] != again["id"]
    (then,) = web.json("history", "pool", "web", "--at", updated["time"]).items
    assert then["position"] <= updated["position"] or then["time"] == updated["time"]
    said = web.ok("history", "pool", "web")
    assert "ips=10.0.0.10-10.0.0.30 (was 10.0.0.10-10.0.0.19)" in said
    overlaps = web.json("history", "overlaps", "10.0.0.0/27").items
    assert [(item["pool"], item["ips"]) for item in overlaps] == [
        ("web", ["10.0.0.10-10.0.0.19"]), ("web", ["10.0.0.10-10.0.0.30"]),
    ]  # fmt: skip
    assert overlaps[0]["to"] == overlaps[1]["from"]
    assert "no pool had addresses" in web.ok("history", "overlaps", "10.8.0.0/16")


def test_every_change_of_a_reservation(web: Cli, manifest: Callable[[str], str]) -> None:
    """Its owner and reason with it."""
    web.ok("apply", "-f", manifest(reservation_yaml("kept", "10.0.0.12", more="owner: me")))
    web.ok("apply", "-f", manifest(reservation_yaml("kept", "10.0.0.13", more="reason: why")))
    web.ok("delete", "reservation", "kept")
    created, updated, deleted = web.json("history", "reservation", "kept").items
    assert (created["after"]["owner"], updated["after"]["reason"]) == ("me", "why")
    assert deleted["what"] == "deleted"
    for kind in ("pool", "reservation"):
        missing = web("history", kind, "nope", "-o", "json")
        assert (missing.code, missing.error["kind"]) == (3, "not_found")


def test_a_timeline_fits_the_terminal(told: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each holder, never wider than the terminal, however narrow that is."""
    for columns in (200, 80, 40, 20):
        monkeypatch.setenv("COLUMNS", str(columns))
        for words in (["ip", "10.0.0.10"], ["subnet", "10.0.0.0/24"]):
            lines = told.ok("history", *words, "--timeline").splitlines()
            assert any("#" in line for line in lines)
            drawn = [line for line in lines if not line.startswith(("as of", "now:"))]
            assert max(map(len, drawn)) <= columns


def test_what_is_asked_again_is_not_read_again(told: Cli, tmp_path: Path) -> None:
    """The history is kept beside the other views of the space, and gone on from."""
    told.ok("history", "ip", "10.0.0.10")
    (kept,) = (tmp_path / "home" / "views").glob("*history.sqlite")
    before = kept.resolve()
    told.ok("space", "list")
    told.ok("history", "ip", "10.0.0.10")
    assert kept.resolve() == before
    kept.resolve().write_bytes(b"garbage" * 1_000)
    result = told("history", "ip", "10.0.0.10", "-o", "json")
    assert result.code == 0
    assert "the local history is damaged" in result.err
    assert len(json.loads(result.out)["items"]) == 2
    assert "built anew" not in told("history", "ip", "10.0.0.10").err


def test_an_altered_row_is_never_told(told: Cli, tmp_path: Path) -> None:
    """Its check value gives it away: the history is built anew, and the answer is right."""
    right = told.json("history", "ip", "10.0.0.10").data
    (kept,) = (tmp_path / "home" / "views").glob("*history.sqlite")
    for change in ("owner = 'evil'", "to_ms = to_ms + 1", "granted_by = NULL", "labels = NULL"):
        with closing(sqlite3.connect(kept.resolve())) as database:
            database.execute(f"UPDATE tenure SET {change}")  # noqa: S608 - from the list above
            database.commit()
        result = told.json("history", "ip", "10.0.0.10")
        assert result.data == right
        assert "damaged; it is built anew" in result.err


def test_an_empty_space_and_an_unknown_one(at_home: Cli) -> None:
    """Before anything happened nobody held anything; a misspelt space is not found."""
    answer = at_home.json("history", "ip", "10.0.0.10").data
    assert (answer["position"], answer["items"]) == (0, [])
    assert answer["unheld"]["why"] == "no_pool"
    assert at_home("--space", "nope", "history", "ip", "10.0.0.10").code == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2), (["ip"], 2), (["owner"], 2), (["ip", "10.0.0.300"], 6), (["ip", ""], 6),
        (["nope", "x"], 2), (["owner", ""], 6), (["label", "x"], 6), (["pool", "a b"], 6),
        (["ip", "10.0.0.1", "--at", "garbage"], 6), (["ip", "10.0.0.1", "--at", "x" * 9_999], 6),
        (["ip", "10.0.0.1", "--at", "2026-01-01T00:00:00"], 6),
        (["ip", "10.0.0.1", "--at", "-99999999d"], 6), (["ip", "10.0.0.1", "--at", ""], 6),
        (["ip", "10.0.0.1", "--at", "2099-01-01T00:00:00Z"], 6),
        (["ip", "10.0.0.1", "--known-at", "2099-01-01T00:00:00Z"], 6),
        (["ip", "10.0.0.1", "--at", "2001-01-01T00:00:00Z"], 6),
        (["pool", "web", "--known-at", "2001-01-01T00:00:00Z"], 6),
        (["ip", "10.0.0.1", "--from", "-1h", "--to", "-2h"], 6),
        (["ip", "10.0.0.1", "--from", "-1h", "--to", "-1h"], 6),
        (["ip", "10.0.0.1", "--at", "-1h", "--from", "-2h"], 6),
        (["ip", "10.0.0.1/24"], 6), (["ip", "10.0.0.0/33"], 6), (["subnet", "10.0.0.0"], 6),
        (["subnet", "fe80::1%eth0/64"], 6), (["overlaps", "garbage"], 6),
        (["ip", "10.0.0.1", "--limit", "0"], 2), (["ip", "::ffff:10.0.0.1"], 6),
    ],
    ids=shown,
)  # fmt: skip
def test_misuse(web: Cli, words: list[str], code: int) -> None:
    """A time needs a zone and must be known of, a range has a direction, an address is one."""
    assert web("history", *words).code == code


def test_a_time_before_everything_is_told_when_it_began(web: Cli) -> None:
    """The message names the first event, as the place to begin."""
    first = json.loads(web("follow", "--from", "1", "--until-end").out.splitlines()[0])
    refused = web("history", "ip", "10.0.0.1", "--at", "2001-01-01T00:00:00Z", "-o", "json")
    assert first["time"] in refused.error["hint"]
