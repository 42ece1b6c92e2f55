"""Leak collection on the command line: a wrong one is undone, and the history shows both."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, pool_yaml
from tests.cli.test_schemas import hold

RELEASING = ("--release-after-observations", "2", "--grace", "0s")


@pytest.fixture
def shop(cli: Cli, tmp_path: Path) -> Cli:
    """Three owners in a pool whose addresses rest for ten minutes: leases 3, 4 and 5."""
    path = tmp_path / "shop.yaml"
    path.write_text(pool_yaml("web", "10.0.0.0/24", "10.0.0.10-10.0.0.19", more="cooldown: 10m"))
    cli.ok("apply", "-f", str(path))
    for number in range(3):
        cli.ok("allocate", "--pool", "web", "--owner", f"cart-{number}")
    time.sleep(0.002)  # an observation of the very millisecond of a grant says nothing about it
    return cli


def written(path: Path, *users: tuple[str, str | None], ago_s: float = 0) -> str:
    """A file with an observation that was written some time ago."""
    lines = (json.dumps({"address": at, "owner": owner}) + "\n" for at, owner in users)
    path.write_text("".join(lines))
    if ago_s:
        then_ns = time.time_ns() - int(ago_s * 1e9)
        os.utime(path, ns=(then_ns, then_ns))
    return str(path)


ALL = tuple((f"10.0.0.{10 + number}", f"cart-{number}") for number in range(3))


def report(cli: Cli, *words: str) -> dict[str, Any]:
    """What a reconciliation tells, in the promised form."""
    data: dict[str, Any] = cli.json("reconcile", *words).data
    hold("reconcile.schema.json", data)
    return data


def position(cli: Cli) -> int:
    """How long the stream is."""
    found: int = cli.json("replay").data["position"]
    return found


def test_a_wrong_reconcile_is_undone_and_the_history_shows_both(shop: Cli, tmp_path: Path) -> None:
    """The agent missed a pod twice; its very address is given back, with all that led there."""
    seen = tmp_path / "seen.jsonl"
    told: dict[str, Any] = {}
    for number in range(2):
        path = written(seen, *ALL[:2])
        told = report(shop, "--observed", path, *RELEASING)
        assert [item["owner"] for item in told["missing"]] == ["cart-2"]
        assert told["missing"][0]["missing_in"] == number + 1
        assert told["released"] == [5] * number
        time.sleep(0.01)
    assert [lease["owner"] for lease in shop.json("get", "leases").items] == ["cart-0", "cart-1"]
    undone = shop.json("undo", "5", "--reason", "the agent on n7 was down").data
    hold("undo.schema.json", undone)
    assert (undone["undone"], undone["already"]) == (5, False)
    assert (undone["lease"]["address"], undone["lease"]["owner"]) == ("10.0.0.12", "cart-2")

    first, second = shop.json("history", "ip", "10.0.0.12").items
    assert (first["lease"], first["ended_by"], first["to"]) == (5, "revoked", second["from"])
    path, since = str(seen), told["missing"][0]["missing_since"]
    evidence = f"{path} (2 lines, SHA-256 "
    assert first["ended_reason"].startswith(f"missing in 2 observations since {since}, last in ")
    assert evidence in first["ended_reason"]
    assert second["supersedes"] == 5
    assert second["granted_reason"] == (
        "the agent on n7 was down: undoes that lease 5 was revoked at position 8"
    )
    (merged,) = shop.json("history", "owner", "cart-2", "--merge").items
    assert (merged["leases"], merged["to"]) == ([5, undone["lease"]["lease"]], None)

    lines = shop.ok("follow", "--from", "6", "--until-end").splitlines()
    one, two, end, grant = map(json.loads, lines)
    for event in (one, two):
        assert event["type"] == "LeaseObserved"
        assert (event["data"]["lease"], event["data"]["present"]) == (5, False)
        assert event["data"]["evidence"].startswith(evidence)
    assert one["data"]["observation"] != two["data"]["observation"] == told["observation"]
    assert two["effective_at"] == told["observed_at"]
    assert (end["cause"], grant["cause"]) == (two["position"], end["position"])
    assert shop("audit").code == 0

    assert shop.json("undo", "5").data == {**undone, "already": True}
    again = report(shop, "--observed", written(seen, *ALL))
    assert (again["missing"], again["counted"], again["back"]) == ([], [], [])


def test_a_file_that_is_given_twice_counts_once(shop: Cli, tmp_path: Path) -> None:
    """It was written once: an agent that has stopped ends nothing. Told when, it is another."""
    path = written(tmp_path / "seen", *ALL[:2])
    assert report(shop, "--observed", path, *RELEASING)["counted"] == [5]
    assert report(shop, "--observed", path, *RELEASING)["counted"] == []
    told = report(shop, "--observed", path, "--observed-at", "now", *RELEASING)
    assert (told["counted"], told["released"]) == ([5], [5])


def test_a_dry_run_writes_nothing(shop: Cli, tmp_path: Path) -> None:
    """It tells what would be counted, what is back and what would end."""
    report(shop, "--observed", written(tmp_path / "seen", *ALL[:2]))
    before = position(shop)
    time.sleep(0.01)
    path = written(tmp_path / "seen", *ALL[1:2], ALL[2])
    told = report(shop, "--observed", path, "--dry-run", "--release-after-observations", "1",
                  "--grace", "0s")  # fmt: skip
    assert (told["counted"], told["back"], told["released"]) == ([3], [5], [3])
    assert told["dry_run"] is True
    assert told["missing"][0]["state"] == "active"
    assert position(shop) == before
    assert "1 would be released" in shop.ok(
        "reconcile", "--observed", path, "--dry-run", "--release-after-observations", "1",
        "--grace", "0s",
    )  # fmt: skip


def test_the_table_says_what_is_what(shop: Cli, tmp_path: Path) -> None:
    """One line for each difference, and a last one that sums up."""
    seen = written(tmp_path / "seen", ALL[0], ("10.0.0.11", "thief"), ("10.0.0.19", "guest"),
                   ("10.9.9.9", None))  # fmt: skip
    lines = shop.ok("reconcile", "--observed", seen).splitlines()
    assert [line.split()[:4] for line in lines[1:-1]] == [
        ["missing", "5", "10.0.0.12", "cart-2"],
        ["unleased", "-", "10.0.0.19", "guest"],
        ["wrong", "4", "10.0.0.11", "cart-1"],
    ]
    assert "seen: thief at 10.0.0.11" in lines[3]
    assert "of 3 leases expected 1 missing; 1 counted, 0 back, 0 released" in lines[-1]
    jsonl = shop.ok("reconcile", "--observed", seen, "-o", "jsonl").splitlines()
    assert len(jsonl) == 3


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_is_suspicious_is_told_and_refused(
    shop: Cli, tmp_path: Path, *, dry_run: bool
) -> None:
    """The report is printed, nothing is written, and the exit code is that of the refusal."""
    before = position(shop)
    words = ["reconcile", "--observed", str(tmp_path / "seen"), "-o", "json"]
    words += ["--dry-run"] * dry_run
    for users in ((), ALL[:1]):
        written(tmp_path / "seen", *users)
        result = shop(*words)
        assert (result.code, result.error["kind"]) == (4, "forbidden")
        assert len(result.data["missing"]) == 3 - len(users)
        assert result.data["counted"] == []
    assert position(shop) == before
    assert shop(*words, "--accept-many-missing").code == 0


def test_stdin_and_scope(shop: Cli) -> None:
    """Read from a pipe; only what the list should know is expected in it."""
    shop.ok("allocate", "--pool", "web", "--owner", "far", "--cluster", "west", "--label", "k=v")
    time.sleep(0.002)
    for scope in (["--cluster", "west"], ["--label", "k=v"]):
        result = shop("reconcile", "--observed", "-", "-o", "json", *scope,
                      stdin=b"address,owner\n10.0.0.13,far\n")  # fmt: skip
        assert result.code == 0, result
        assert (result.data["expected"], result.data["missing"]) == (1, [])
    result = shop("reconcile", "--observed", "-", "--pool", "nope", stdin=b"")
    assert (result.code, "pool nope does not exist" in result.err) == (3, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["reconcile"], 2, "--observed"),
        (["reconcile", "--observed", "FILES/none"], 6, "No such file"),
        (["reconcile", "--observed", "FILES"], 6, "directory"),
        (["reconcile", "--observed", "\0"], 6, "null"),
        (["reconcile", "--observed", "FILES/bad"], 6, "/bad, line 2: '10.0.0.300'"),
        (["reconcile", "--observed", "FILES/good", "--grace", "5m"], 2, "--grace needs"),
        (["reconcile", "--observed", "FILES/good", "--observed-at", "soon"], 6, "not a time"),
        (["reconcile", "--observed", "FILES/good", "--observed-at", "2100-01-01T00:00:00Z"], 6,
         "in the future"),
        (["reconcile", "--observed", "FILES/good", "--observed-at", "1969-01-01T00:00:00Z"], 6,
         "before 1970"),
        (["reconcile", "--observed", "FILES/good", "--release-after-observations", "0"], 2, "0"),
        (["reconcile", "--observed", "FILES/good", "--label", "x"], 6, "KEY=VALUE"),
        (["undo"], 2, "LEASE"),
        (["undo", "0"], 2, "0"),
        (["undo", "9" * 40], 6, "no lease"),
        (["undo", "77"], 3, "lease 77 does not exist"),
        (["undo", "3"], 4, "lease 3 has not ended"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else None,
)  # fmt: skip
def test_what_cannot_be_understood(
    shop: Cli, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    """It is told what is wrong; nothing is written, and no traceback is shown."""
    (tmp_path / "bad").write_text('{"address": "10.0.0.10"}\n{"address": "10.0.0.300"}\n')
    written(tmp_path / "good", *ALL[:2])
    before = position(shop)
    result = shop(*(word.replace("FILES", str(tmp_path)) for word in words))
    assert result.code == code, result
    assert said in result.err
    assert "Traceback" not in result.err
    assert position(shop) == before


def test_a_command_that_is_repeated_is_the_same(shop: Cli, tmp_path: Path) -> None:
    """With its id, and the file as it was: it answers what it did, and does it once."""
    path = written(tmp_path / "seen", *ALL[:2])
    words = ["--observed", path, "--command-id", "nightly-1", "--release-after-observations", "1",
             "--grace", "0s"]  # fmt: skip
    told = report(shop, *words)
    before = position(shop)
    again = report(shop, *words)
    assert (
        (again["counted"], again["released"]) == (told["counted"], told["released"]) == ([5], [5])
    )
    assert position(shop) == before
    os.utime(path)
    assert shop("reconcile", *words).code == 4
