"""`replay`: the events folded anew, to their end or to an earlier point."""

from __future__ import annotations

import pytest

import ipledger
from tests.cli.conftest import Cli


def test_the_digest_is_the_live_states(web: Cli) -> None:
    """Folded anew, the same events are the same state."""
    web.ok("allocate", "--pool", "web", "--owner", "a")
    with ipledger.connect(web.options[1], web.options[-1], state_dir=web.options[3]) as ledger:
        live = ledger.digest()
    answer = web.json("replay", "--digest").data
    assert answer["digest"] == live
    assert (answer["events"], answer["pools"], answer["leases"]) == (4, 2, 1)
    assert f"digest        {live}" in web.ok("replay", "--digest")


def test_to_an_earlier_point(web: Cli) -> None:
    """A position or a time; the digest of then is what it was then."""
    then = web.json("replay", "--digest").data
    web.ok("allocate", "--pool", "web", "--owner", "a")
    assert web.json("replay", "--digest", "--to", str(then["position"])).data == then
    assert web.json("replay", "--to", "0").data["time"] is None
    assert web.json("replay", "--to", "-1h").data["events"] == 0
    assert web.json("replay", "--to", "now").data["events"] == 4


@pytest.mark.parametrize(
    ("to", "code", "hint"),
    [
        ("2", 6, "the nearest commit ends are 1 and 3"), ("99", 6, "leave it out"),
        ("9" * 5_000, 6, ""), ("garbage", 6, "use 2026-11-03T04:05:06Z"), ("", 6, ""),
    ],
    ids=["inside", "beyond", "digits", "garbage", "empty"],
)  # fmt: skip
def test_a_bad_point_is_refused(web: Cli, to: str, code: int, hint: str) -> None:
    """A position inside a commit names the nearest ends."""
    result = web("replay", "--to", to, "-o", "json")
    assert result.code == code
    assert hint in result.error["hint"]
