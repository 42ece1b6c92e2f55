"""What this machine keeps of a space: listed, kept up to date, built anew."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli


def listed(cli: Cli) -> list[dict[str, Any]]:
    """The views, as JSON."""
    return cli.json("views").items


def leased(cli: Cli) -> int:
    """An address is leased; the position of that."""
    lease: int = cli.json("allocate", "--pool", "web", "--owner", "a").data["leases"][0]["lease"]
    return lease


def test_nothing_is_kept_at_first(web: Cli) -> None:
    """And that is no error."""
    assert listed(web) == []
    assert "no views of space" in web.ok("views")


def test_a_question_leaves_a_history_whose_lag_is_told(web: Cli) -> None:
    """In positions, by the stream's own figures."""
    at = leased(web)
    web.ok("history", "ip", "10.0.0.10")
    (history,) = listed(web)
    assert (history["name"], history["position"], history["lag_positions"]) == ("history", at, 0)
    web.ok("release", str(at))
    (history,) = listed(web)
    assert (history["position"], history["lag_positions"]) == (at, 1)
    web.ok("views", "follow", "--until-end")
    (history,) = listed(web)
    assert (history["position"], history["lag_positions"]) == (at + 1, 0)


def test_a_rebuilt_history_answers_the_same(web: Cli) -> None:
    """All events are folded again, beside the file that was in use."""
    at = leased(web)
    before = web.ok("history", "ip", "10.0.0.10", "-o", "json")
    ended = web.json("views", "rebuild").data
    assert (ended["events"], ended["position"]) == (at, at)
    assert web.ok("history", "ip", "10.0.0.10", "-o", "json") == before


def test_a_damaged_history_is_told_of(web: Cli) -> None:
    """It is listed with what is wrong; the next that needs it builds it anew."""
    at = leased(web)
    web.ok("history", "ip", "10.0.0.10")
    (history,) = listed(web)
    Path(history["path"]).resolve().write_bytes(b"this is no database" * 100)
    (history,) = listed(web)
    assert history["position"] is None
    assert "damaged" in history["trouble"]
    web.ok("views", "follow", "--until-end")
    assert listed(web)[0]["position"] == at


def test_a_space_that_does_not_exist_is_not_found(web: Cli) -> None:
    """By none of the verbs."""
    for words in (("list",), ("follow", "--until-end"), ("rebuild",)):
        assert web("--space", "nope", "views", *words).code == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_following_ends_when_it_is_interrupted(web: Cli, number: signal.Signals) -> None:
    """With exit code 0: what was folded is saved."""
    at = leased(web)
    words = [sys.executable, "-m", "ipledger", *web.options, "views", "follow", "-o", "json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        while not listed(web) or listed(web)[0]["position"] != at:
            assert process.poll() is None
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert json.loads(out)["position"] == at
