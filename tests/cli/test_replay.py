"""`replay`: the events folded anew, to their end or to an earlier moment."""

from __future__ import annotations

from pathlib import Path

import pytest

import ipledger
from ipledger.change_views import KINDS
from ipledger.cli import progress
from tests.cli.conftest import Cli, reservation_yaml


def test_the_digest_is_the_live_states(web: Cli) -> None:
    """Folded anew, the same events are the same state."""
    web.ok("allocate", "--pool", "web", "--owner", "a")
    with ipledger.connect(web.options[1], web.options[-1], state_dir=web.options[3]) as ledger:
        live = ledger.digest()
    answer = web.json("replay", "--digest").data
    assert answer["digest"] == live
    assert (answer["events"], answer["pools"], answer["leases"]) == (4, 2, 1)
    assert f"digest        {live}" in web.ok("replay", "--digest")


def test_to_an_earlier_moment(web: Cli) -> None:
    """A position or a time; the digest of then is what it was then."""
    then = web.json("replay", "--digest").data
    web.ok("allocate", "--pool", "web", "--owner", "a")
    assert web.json("replay", "--digest", "--to", str(then["position"])).data == then
    assert web.json("replay", "--digest", "--to", then["time"]).data == then
    assert web.json("replay", "--to", "0").data["time"] is None
    assert web.json("replay", "--to", "now").data["events"] == 4


@pytest.mark.parametrize(
    ("to", "hint"),
    [
        ("2", "the nearest commit ends are 1 and 3"), ("99", "the last position"),
        ("9" * 5_000, ""), ("garbage", "use 2026-11-03T04:05:06Z"), ("", ""),
        ("-1h", "the space begins at 2"), ("1969-01-01T00:00:00Z", "the space begins at 2"),
        ("9999-01-01T00:00:00Z", "now"), ("2026-11-03T04:05:06", "end it with Z for UTC"),
    ],
    ids=["inside", "beyond", "digits", "garbage", "empty", "early", "ages", "future", "zone"],
)  # fmt: skip
@pytest.mark.parametrize("option", ["--to", "--diff"])
def test_a_bad_moment_is_refused(web: Cli, option: str, to: str, hint: str) -> None:
    """A position inside a commit names the nearest ends; no other moment is guessed either."""
    moments = [to] if option == "--to" else ["1", to]
    result = web("replay", option, *moments, "-o", "json")
    assert result.code == 6
    assert hint in result.error["hint"]


def test_moments_are_given_in_order(web: Cli) -> None:
    """A reversed pair is more likely a slip than a wish to see it backwards."""
    result = web("replay", "--diff", "now", "1", "-o", "json")
    assert result.code == 6
    assert result.error["message"] == "now is after 1"
    assert "positions 3 and 1" in result.error["hint"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--diff 1 3 --check x", "--diff and --check"), ("--diff 1 3 --to 3", "--diff and --to"),
        ("--check x --digest", "--check and --digest"), ("--pool web", "--diff only"),
        ("--to 3 --owner a", "--diff only"), ("--every 5", "--digests only"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(web: Cli, words: str, told: str) -> None:
    """Nothing is left out silently."""
    result = web("replay", *words.split(), "-o", "json")
    assert result.code == 6
    assert told in result.error["message"]


def test_a_space_that_does_not_exist(cli: Cli) -> None:
    """A typing error is told as such."""
    assert cli("replay", "--space", "nope").code == 3


def test_what_changed_between_two_moments(web: Cli, tmp_path: Path) -> None:
    """Each object with a sign, how it ended, and the fields that are others now."""
    web.ok("allocate", "--pool", "web", "--owner", "a", "--ttl", "1h")
    web.ok("allocate", "--pool", "web", "--owner", "b")
    begin = web.json("replay").data["position"]
    kept = tmp_path / "kept.yaml"
    kept.write_text(reservation_yaml("kept", "10.0.0.19"))
    web.ok("apply", "-f", str(kept))
    web.ok("renew", "4", "--ttl", "3h")
    web.ok("release", "5")
    web.ok("allocate", "--pool", "six", "--owner", "c")
    web.ok("quarantine", "10.0.0.18", "--reason", "arp")
    web.ok("allocate", "--pool", "web", "--owner", "passing")
    web.ok("release", "--owner", "passing")
    web.ok("delete", "pool", "six")

    said = web.ok("replay", "--diff", str(begin), "now").splitlines()
    for line in (
        "8 events in between", "1 lease was granted and ended in between",
        "leases         1       1         1", "~ pool six (3)", "    state: active → terminating",
        "+ reservation kept (6)", "- lease 5: 10.0.0.11 of web, b, released",
        "~ lease 4: 10.0.0.10 of web, a", "    ttl_s: 3600 → 10800",
        "+ quarantine 10: 10.0.0.18",
    ):  # fmt: skip
        assert line in said, said

    data = web.json("replay", "--diff", str(begin), "now").data
    changed = {(kind, item["id"]): item for kind in KINDS for item in data[kind]}
    assert sorted(changed) == [
        ("leases", 4), ("leases", 5), ("leases", 9), ("pools", 3), ("quarantines", 10),
        ("reservations", 6),
    ]  # fmt: skip
    assert changed["leases", 4]["fields"] == ["expires_at", "ttl_s"]
    assert changed["leases", 5]["after"] is None
    assert web.json("replay", "--diff", str(begin), str(begin)).data["events"] == 0


def test_a_difference_is_narrowed_down(web: Cli) -> None:
    """To a pool and its leases, or to what an owner has."""
    web.ok("allocate", "--pool", "web", "--owner", "a")
    web.ok("allocate", "--pool", "six", "--owner", "a")
    web.ok("allocate", "--pool", "six", "--owner", "b")
    by_pool = web.json("replay", "--diff", "1", "now", "--pool", "six").data
    assert [item["id"] for item in by_pool["pools"]] == [3]
    assert [item["after"]["owner"] for item in by_pool["leases"]] == ["a", "b"]
    assert by_pool["granted_and_ended"] is None, "nobody knows whose they were"
    assert by_pool["summary"]["leases"] == {"added": 2, "removed": 0, "changed": 0}
    by_owner = web.json("replay", "--diff", "1", "now", "--owner", "a").data
    assert [item["after"]["pool"] for item in by_owner["leases"]] == ["web", "six"]
    assert by_owner["pools"] == []
    lines = web.ok("replay", "--diff", "1", "now", "--owner", "a", "-o", "jsonl")
    assert len(lines.splitlines()) == 2


@pytest.mark.parametrize("words", ["", "--diff 1 now", "--digests FILE --every 2", "--check FILE"])
def test_long_work_says_how_far_it_is(
    web: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """On stderr, whatever is asked for and in whatever form; stdout has the answer only."""
    path = str(tmp_path / "digests")
    web.ok("replay", "--digests", path)
    monkeypatch.setattr(progress, "_LINE_S", 0.0)
    result = web("replay", *words.replace("FILE", path).split(), "-o", "json")
    assert result.code == 0
    assert "ipledger: replaying: 3 of 3 events (100 %)" in result.err
    assert result.data["space"] == web.options[-1]
