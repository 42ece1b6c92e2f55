"""`audit`: what it tells of a history that is right, and of one that is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from engine.redis_stream import stream_key
from tests.cli.conftest import Cli
from tests.cli.test_schemas import hold
from tests.replay.forger import Forger, granted


def forged(cli: Cli, history: Forger) -> None:
    """Put a history in the place of the space's own, and forget what was seen of that."""
    cli.ok("space", "forget", cli.options[-1])
    key = stream_key(cli.options[-1])
    with redis.Redis.from_url(cli.options[1]) as client:
        client.delete(key)
        for raw in history.stream.entries:
            fields: dict[Any, Any] = {"e": raw.e, "s": raw.s, "t": raw.t, "c": raw.c}
            client.xadd(key, fields, id=raw.entry_id)


def test_all_is_well(web: Cli) -> None:
    """Exit code 0, the verdict last, the digest that replay has, and what was compared."""
    web.ok("allocate", "--pool", "web", "--owner", "a")
    assert web.ok("audit").endswith("\nNo breach was found.\n")
    told = web.json("audit").data
    assert told["digest"] == web.json("replay", "--digest").data["digest"]
    assert (told["events"], told["commits"], told["position"], told["seen_before"]) == (4, 3, 4, 4)
    assert (told["breaches_total"], told["breaches"], told["restorations"]) == (0, [], [])
    assert web.ok("audit", "-o", "jsonl") == ""


def test_a_breach_is_told(cli: Cli) -> None:
    """Exit code 8; each with its position, rule and events, and a summary by rule."""
    history = Forger()
    history.write(granted(1, "z"))
    history.write(granted(2, "z\n"))
    forged(cli, history)
    result = cli("audit", "-o", "json")
    assert result.code == 8
    hold("audit.schema.json", result.data)
    assert [(b["position"], b["rule"], b["events"]) for b in result.data["breaches"]] == [
        (16, "one-holder", [7, 16]), (17, "names", [17]),
    ]  # fmt: skip
    assert {entry["rule"]: entry["breaches"] for entry in result.data["by_rule"]} == {
        "one-holder": 1, "names": 1,
    }  # fmt: skip
    assert result.data["digest"] is None, "the fold refuses it, too"
    told = cli("audit")
    assert told.code == 8
    assert told.out.endswith("\n2 breaches were found.\n")
    assert "10.0.0.1 is granted while a holds it (lease 7)" in told.out
    few = cli("audit", "--max-breaches", "1")
    assert "1 more breach is not told" in few.out
    assert few.out.endswith("\n2 breaches were found.\n")
    assert len(cli("audit", "-o", "jsonl").out.splitlines()) == 2
    none = cli("audit", "--max-breaches", "0", "-o", "json")
    assert (none.code, none.data["breaches"], none.data["breaches_total"]) == (8, [], 2)


def test_an_audit_ends_before_the_breach(cli: Cli) -> None:
    """At a position, as everything was then; counting often finds nothing more."""
    history = Forger()
    history.write(granted(1, "z"))
    forged(cli, history)
    told = cli.json("audit", "--to", "15", "--count-every", "1").data
    assert (told["position"], told["breaches_total"]) == (15, 0)
    assert cli("audit", "--to", "2024-01-01T00:00:00Z").code == 8


def test_what_may_follow_from_a_hole_is_told(cli: Cli) -> None:
    """A stream that cannot even be opened is audited; doubt is told beside what it concerns."""
    history = Forger()
    history.write(history.ended(10))
    history.write(granted(40, "z", 3))
    history.drop([16])
    forged(cli, history)
    assert cli("get", "pools").code == 8
    told = cli("audit")
    assert told.code == 8
    assert "may follow from what cannot be read at position 16" in told.out
    assert [breach["doubt"] for breach in cli("audit", "-o", "json").data["breaches"]] == [None, 16]


def test_a_restoration_is_told(cli: Cli) -> None:
    """What an operator accepted is no breach; whether it was right, a person must know."""
    from tests.replay.forgeries import FORGERIES

    history = Forger()
    FORGERIES["a commit that was decided on what is void"][1](history)
    history.drop([22])
    forged(cli, history)
    assert "void through" in cli.ok("audit").lower()
    (restoration,) = cli.json("audit").data["restorations"]
    assert (restoration["position"], restoration["kept"], restoration["reason"]) == (21, 15, "why")


def test_a_shorter_history_is_told(web: Cli) -> None:
    """This machine has seen more; where its memory is damaged it is not compared, and that said."""
    key = stream_key(web.options[-1])
    with redis.Redis.from_url(web.options[1]) as client:
        entries: Any = client.xrange(key)
        client.delete(key)
        client.xadd(key, entries[0][1], id=entries[0][0])
    result = web("audit", "-o", "json")
    assert (result.code, [b["rule"] for b in result.data["breaches"]]) == (8, ["as-seen"])
    (path,) = Path(web.options[3]).glob(f"{web.options[-1]}-*.json")
    path.write_bytes(b"{")
    result = web("audit", "-o", "json")
    assert (result.code, result.data["seen_before"]) == (0, 0)
    assert "nothing is compared with it" in result.err


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["--to", "2"], 6, "the nearest commit ends are 1 and 3"),
        (["--to", "99"], 6, "leave it out"), (["--to", "0"], 6, "leave it out"),
        (["--to", "2999-01-01T00:00:00Z"], 6, "it is 2"), (["--to", "-1h"], 6, "a later time"),
        (["--to", "2026-11-03T04:05:00"], 6, "end it with Z"), (["--to", "garbage"], 6, "-2h"),
        (["--to", "9" * 5_000], 6, ""), (["--to", ""], 6, ""),
        (["--max-breaches", "-1"], 2, ""), (["--count-every", "0"], 2, ""),
    ],
    ids=["inside", "beyond", "before", "future", "early", "zone", "garbage", "digits", "empty",
         "breaches", "count"],
)  # fmt: skip
def test_a_bad_point_is_refused(web: Cli, words: list[str], code: int, hint: str) -> None:
    """A clear error, and nothing on stdout."""
    result = web("audit", *words, "-o", "json")
    assert (result.code, result.out) == (code, "")
    assert hint in result.error["hint"]


def test_an_unknown_space_is_not_found(cli: Cli) -> None:
    """A typing error is no sound history."""
    assert cli("--space", "typo", "audit").code == 3


@pytest.mark.parametrize("text", ["a\nb", " ", "x" * 513, "\x1b[2J"], ids=ascii)
def test_what_an_audit_would_find_is_not_written(cli: Cli, text: str) -> None:
    """Actors and reasons are texts, whoever gives them: a new space and a restoration, too."""
    space = cli.options[-1]
    for words in (
        ["--actor", text, "space", "create", f"{space}-2"],
        ["--reason", text, "space", "create", f"{space}-2"],
        ["--actor", text, "sweep"],
    ):
        assert cli(*words).code == 6, words
    assert cli("--space", f"{space}-2", "audit").code == 3
    cli.options[-1] = f"{space}-3"
    cli.ok("space", "create", cli.options[-1])
    cli.ok("space", "forget", cli.options[-1])
    with redis.Redis.from_url(cli.options[1]) as client:
        client.xadd(stream_key(cli.options[-1]), {"hello": "world"})
    accept = ["doctor", "--accept-rollback", "--void-through", "9"]
    assert cli(*accept, "--reason", text).code == 6
    assert cli(*accept, "--reason", "why").code == 0
    assert cli.json("audit").data["restorations"][0]["reason"] == "why"
