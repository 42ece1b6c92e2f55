"""A space of an older release is read, says what it does not know, and is raised when told to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import redis

from engine.entry import ORIGIN
from engine.errors import InvalidInput, Refused
from engine.events import LEVEL
from engine.redis_stream import marker_key, stream_key
from ipledger import opening, operations, servers
from ipledger.aio import AsyncLedger
from ipledger.ledger import Ledger
from projections.digest import state_digest
from tests.builders import TestLedger, make_pool, space_created
from tests.cli.conftest import Cli, pool_yaml
from tests.cli.test_export import lease_yaml
from tests.cli.test_schemas import hold

Manifest = Callable[[str], str]


@pytest.fixture
def old(cli: Cli, manifest: Manifest) -> Cli:
    """The command line on a space that a release of format level 1 has made."""
    name = f"{cli.options[-1]}-old"
    with closing(servers.reach(cli.options[1])) as server:
        stream = servers.open_stream(server, name)
        now_ms = time.time_ns() // 1_000_000
        assert stream.append(ORIGIN, 0, now_ms, [space_created(name, 1)]).status == "ok"
    made = Cli([*cli.options[:-1], name], cli._capsys, cli._patch)
    made.ok("apply", "-f", manifest(pool_yaml("web", "10.0.0.0/24", "10.0.0.10-10.0.0.19")))
    return made


def level(cli: Cli) -> int:
    """The level that the space is shown with."""
    found: int = cli.json("get", "space", cli.options[-1]).items[0]["level"]
    (listed,) = (
        item for item in cli.json("space", "list").items if item["name"] == cli.options[-1]
    )
    assert listed["level"] == found
    return found


def test_it_is_read_and_raised(old: Cli, manifest: Manifest) -> None:
    """What needs the level is refused before, with how to get it; afterwards it works."""
    old.ok("allocate", "--pool", "web", "--owner", "a")
    path = manifest(lease_yaml("10.0.0.15", "b"))
    before = old("apply", "-f", path, "-o", "json")
    assert (before.code, before.error["kind"]) == (4, "forbidden")
    assert "space raise" in before.error["hint"]
    assert level(old) == 1
    told = old("space", "raise")
    assert told.out == f"space/{old.options[-1]} raised from format level 1 to {LEVEL}\n"
    assert "stop reading" in told.err
    assert level(old) == LEVEL
    assert f"level       {LEVEL}" in old.ok("describe", "space", old.options[-1])
    assert old("apply", "-f", path).out == "lease/10.0.0.15 created (b)\n"
    assert old("audit").code == 0
    assert old("doctor").code == 0


def test_a_second_time_changes_nothing(old: Cli) -> None:
    """It says that the space has the level."""
    first = old.json("space", "raise", "--reason", "all readers are new").data
    assert (first["raised_from"], first["items"][0]["level"]) == (1, LEVEL)
    again = old.json("space", "raise", old.options[-1]).data
    assert again["raised_from"] is None
    assert again["items"] == first["items"]
    assert old("space", "raise").out.endswith(f"has format level {LEVEL} already\n")


def test_a_dry_run_raises_nothing(old: Cli) -> None:
    """It says what would be, and what that means."""
    told = old("space", "raise", "--dry-run")
    assert "would be raised" in told.out
    assert "stop reading" in told.err
    assert level(old) == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--level", "1"], 0), (["--level", "99"], 6), (["--level", "0"], 2), (["--level", "x"], 2),
     (["nope"], 3), (["a/b"], 6)],
)  # fmt: skip
def test_levels_that_cannot_be(old: Cli, words: list[str], code: int) -> None:
    """One that is not known, is none, or of a space that is not there."""
    assert old("space", "raise", *words).code == code
    assert level(old) == 1


def test_a_level_is_never_lowered(cli: Cli) -> None:
    """A new space has the highest one from the beginning."""
    result = cli("space", "raise", "--level", "1", "-o", "json")
    assert (result.code, result.error["kind"]) == (6, "invalid")
    assert level(cli) == LEVEL


def test_a_manifest_raises_it(old: Cli, manifest: Manifest) -> None:
    """Together with the leases that need it; one of a lower level is met already."""
    text = old.ok("export", "--kind", "space")
    assert old.ok("apply", "-f", manifest(text)) == f"space/{old.options[-1]} unchanged\n"
    raised = text.replace("formatLevel: 1", f"formatLevel: {LEVEL}")
    path = manifest(raised + "---\n" + lease_yaml("10.0.0.15", "b"))
    assert old("apply", "-f", path).out.splitlines() == [
        f"space/{old.options[-1]} configured", "lease/10.0.0.15 created (b)",
    ]  # fmt: skip
    assert old.ok("apply", "-f", manifest(text)) == f"space/{old.options[-1]} unchanged\n"
    assert level(old) == LEVEL


def test_the_local_view_and_a_replay_follow(old: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept here of the state has the level that the stream has."""
    monkeypatch.setattr(opening, "KEEP_FROM", 2)
    monkeypatch.setattr(opening, "KEEP_EVERY", 1)
    old.ok("get", "pools")
    assert level(old) == 1
    old.ok("space", "raise")
    old.ok("get", "pools")
    assert level(old) == LEVEL
    assert json.loads(old.ok("export", "--at", "2", "-o", "jsonl").splitlines()[0]) == {
        "apiVersion": "ipledger/v1", "kind": "Space", "metadata": {"name": old.options[-1]},
        "spec": {"formatLevel": 1},
    }  # fmt: skip
    assert f"formatLevel: {LEVEL}" in old.ok("export", "--at", "now")


@pytest.fixture
def mirrored(old: Cli) -> Iterator[Cli]:
    """The command line where the mirror of the old space is."""
    url, name = f"{old.options[1]}?db=6", old.options[-1]
    yield Cli(["--url", url, *old.options[2:]], old._capsys, old._patch)
    with redis.Redis.from_url(url) as client:
        client.delete(stream_key(name), marker_key(name))


def test_a_mirror_follows(old: Cli, mirrored: Cli) -> None:
    """It is copied as any event, and a mirror itself is not raised."""
    ends = ["--from", old.options[1], "--to", mirrored.options[1]]
    old.ok("mirror", *ends)
    assert level(mirrored) == 1
    assert mirrored("space", "raise").code == 4
    old.ok("space", "raise")
    old.ok("mirror", *ends)
    assert level(mirrored) == LEVEL


@pytest.mark.parametrize("at", [1, -1], ids=["in the middle", "at the end"])
def test_damage_is_told_in_the_list(old: Cli, at: int) -> None:
    """A space whose level cannot be found out says what is wrong instead."""
    old.ok("allocate", "--pool", "web", "--owner", "a")
    with redis.Redis.from_url(old.options[1]) as client:
        entry = client.xrange(stream_key(old.options[-1]))[at][0]
        client.xdel(stream_key(old.options[-1]), entry)
    items = old.json("space", "list")
    hold("space-list.schema.json", items.data)
    (item,) = (item for item in items.items if item["name"] == old.options[-1])
    assert item["level"] is None
    assert item["trouble"]


def test_both_faces_raise_it() -> None:
    """In Python, awaited or not."""
    written = TestLedger(level=1)
    written.apply(make_pool())
    written.clock.now_ms = time.time_ns() // 1_000_000
    ledger = Ledger(written.stream)
    assert ledger.state.level == 1

    async def main() -> list[bool]:
        async with AsyncLedger(ledger) as faces:
            return [
                await faces.raise_level(1),
                await faces.raise_level(),
                await faces.raise_level(),
            ]

    assert asyncio.run(main()) == [False, True, False]
    assert ledger.raise_level(LEVEL) is False
    assert ledger.state.level == LEVEL
    written.refresh()
    assert (written.state.level, written.digest()) == (LEVEL, state_digest(written.replayed()))
    with pytest.raises(Refused, match="not from"):
        ledger.raise_level(LEVEL + 1)
    for wrong in (0, True, "2", 1 << 70):
        with pytest.raises(InvalidInput):
            operations.raise_level(wrong)  # type: ignore[arg-type]
