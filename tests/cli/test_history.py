"""`history ip`: who held an address, from when to when."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli, shown


@pytest.fixture
def told(web: Cli) -> Cli:
    """A space in which a, then b, held the first address; the pool is deleted by now."""
    for owner in ("a", "b"):
        web.ok("allocate", "--pool", "web", "--owner", owner, "--actor", f"{owner}'s boss")
        web.ok("release", "--owner", owner, "--actor", "cleaner")
    web.ok("delete", "pool", "web")
    return web


def test_every_holder_also_after_everything_was_deleted(told: Cli) -> None:
    """Who, from when to when, by whose hand, and the positions that prove it."""
    answer = told.json("history", "ip", "10.0.0.10").data
    first, second = answer["items"]
    assert (first["owner"], first["pool"], first["ended_by"]) == ("a", "web", "released")
    assert (first["granted_by"], first["ended_by_actor"]) == ("a's boss", "cleaner")
    assert first["granted_position"] < first["ended_position"] < second["granted_position"]
    assert first["from"] <= first["to"] <= second["from"]
    assert answer["position"] == second["ended_position"] + 1
    assert told.ok("history", "ip", "10.0.0.10").endswith(f"as of position {answer['position']}\n")


def test_at_a_time(told: Cli) -> None:
    """The time that was printed is understood to the millisecond; the end does not belong to it."""
    first, second = told.json("history", "ip", "10.0.0.10").items
    at = told.json("history", "ip", "10.0.0.10", "--at", second["from"]).items
    assert "b" in {held["owner"] for held in at}
    before = told.json("history", "ip", "10.0.0.10", "--at", "2020-01-01T00:00:00Z").items
    assert before == []
    assert told.json("history", "ip", "10.0.0.10", "--at", first["to"]).items != [first]
    assert "held by nobody at now" in told.ok("history", "ip", "10.0.0.10", "--at", "now")


def test_an_address_nobody_held(told: Cli) -> None:
    """In any spelling of it; that is an answer, not an error."""
    assert "fd00::5 was held by nobody" in told.ok("history", "ip", "FD00:0::5")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2), (["ip"], 2), (["owner", "a"], 2), (["ip", "10.0.0.300"], 6), (["ip", ""], 6),
        (["ip", "10.0.0.1", "--at", "garbage"], 6), (["ip", "10.0.0.1", "--at", "x" * 9_999], 6),
        (["ip", "10.0.0.1", "--at", "2026-01-01T00:00:00"], 6),
        (["ip", "10.0.0.1", "--at", "-99999999d"], 6), (["ip", "10.0.0.1", "--at", ""], 6),
    ],
    ids=shown,
)  # fmt: skip
def test_misuse(web: Cli, words: list[str], code: int) -> None:
    """A time needs a zone, an address is an address."""
    assert web("history", *words).code == code
