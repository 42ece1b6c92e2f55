"""`explain`: a headline that answers, a line a rule, and an owner's leases with how they came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from engine.addresses import parse_address
from engine.explaining import POOL_REASONS
from engine.memory_stream import MemoryStream
from engine.reasons import FINDERS, Reason
from ipledger.aio import AsyncLedger
from ipledger.definitions import pool
from ipledger.ledger import Ledger
from replay.choices import How
from tests.cli.conftest import Cli, pool_yaml, reservation_yaml, shown
from tests.cli.test_schemas import DOCUMENTS

Manifest = Callable[[str], str]


def lease_of(web: Cli, owner: str, *more: str) -> str:
    """The number of a new lease."""
    answer = web.json("allocate", "--pool", "web", "--owner", owner, *more).data
    return str(answer["leases"][-1]["lease"])


def verdict(web: Cli, *words: str) -> dict[str, Any]:
    """The verdict on an address."""
    found: dict[str, Any] = web.json("explain", *words).data["verdict"]
    return found


# ------------------------------------------------------------------------------------ an address


def test_the_headline_answers(web: Cli) -> None:
    """Free, held by the asker, held by another: the first line says it."""
    lease = lease_of(web, "a", "--uid", "u", "--label", "node=n7", "--ttl", "1h")
    said = web.ok("explain", "10.0.0.11").splitlines()
    assert said[0] == "10.0.0.11: would be given to anybody: free in pool web"
    said = web.ok("explain", "10.0.0.10").splitlines()
    assert said[0] == f"10.0.0.10: not given out: leased to a on eth0 (lease {lease})"
    assert any(line.split() == ["labels", "node=n7"] for line in said)
    assert any("until 20" in line for line in said)
    assert said[-1].startswith("as of position 4, 20")
    said = web.ok("explain", "10.0.0.10", "--for", "a").splitlines()
    assert said[0] == f"10.0.0.10: a would get it again: a holds it on eth0 (lease {lease})"
    said = web.ok("explain", "10.0.0.10", "--for", "b").splitlines()
    assert said[0].startswith("10.0.0.10: not given to b: leased to a on eth0")


def test_every_rule_has_its_line(web: Cli, manifest: Manifest) -> None:
    """An address may be spoken of by several rules; the verdict names the one that decides."""
    lease_of(web, "a")
    web.ok("quarantine", "10.0.0.10", "--reason", "answers ARP")
    web.ok("apply", "-f", manifest(reservation_yaml("kept", "10.0.0.10", more="reason: printer")))
    data = web.json("explain", "10.0.0.10", "--for", "b").data
    assert [reason["reason"] for reason in data["reasons"]] == [
        "in_pool", "leased", "conflict_reported", "reserved",
    ]  # fmt: skip
    assert data["verdict"] == {
        "free": False, "for": "b", "interface": "eth0", "given": False, "bucket": "leased",
        "reason": "leased", "kind": "conflict", "text": "leased to a on eth0 (lease 4)",
    }  # fmt: skip
    assert (data["lease"]["owner"], data["position"]) == ("a", 6)
    _, _, reported, kept = data["reasons"]
    assert (reported["why"], kept["why"], kept["name"]) == ("answers ARP", "printer", "kept")
    said = web.ok("explain", "10.0.0.10")
    assert "reserved           reserved by kept for nobody, because: printer, since 20" in said


def test_an_address_that_rests_says_after_whom(web: Cli, manifest: Manifest) -> None:
    """The last holder is looked up where its lease was granted."""
    web.ok("apply", "-f", manifest(
        pool_yaml("web", "10.0.0.0/24", "10.0.0.10-10.0.0.19", more="cooldown: 1h")
    ))  # fmt: skip
    lease = lease_of(web, "a")
    web.ok("release", lease)
    (_, rests) = web.json("explain", "10.0.0.10").data["reasons"]
    assert (rests["reason"], rests["lease"], rests["owner"]) == ("cooling", int(lease), "a")
    assert rests["text"].endswith(f"s more after lease {lease} of a")
    assert rests["since"] < rests["until"]


def test_at_a_moment_of_the_past(web: Cli) -> None:
    """By position or by time, also of a pool that is gone."""
    lease = lease_of(web, "a")
    granted_at = web.json("get", "leases").items[0]["granted_at"]
    web.ok("delete", "pool", "web", "--cascade")
    assert verdict(web, "10.0.0.10")["reason"] == "in_no_pool"
    for at in (lease, granted_at):
        then = web.json("explain", "10.0.0.10", "--for", "b", "--at", at).data
        assert (then["verdict"]["reason"], then["position"]) == ("leased", int(lease))
        assert then["at"] == granted_at
    assert verdict(web, "10.0.0.10", "--at", "3")["given"] is True


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["10.0.0.0/24"], 6, "is a block"),
        (["10.0.0.300"], 6, "not an IP address"),
        (["10.0.0.1", "--at", "99"], 6, "beyond the end"),
        (["10.0.0.1", "--at", "2"], 6, "inside a commit"),
        (["10.0.0.1", "--at", "2099-01-01T00:00:00Z"], 6, "in the future"),
        (["10.0.0.1", "--at", "-1d"], 6, "before the first event"),
        (["10.0.0.1", "--at", "soon"], 6, "not a time"),
        (["10.0.0.1", "--for", ""], 6, "owner"),
        (["10.0.0.1", "--interface", "a b"], 6, "interface"),
        (["--owner", "a", "--pool", "nope"], 3, "pool nope does not exist"),
        ([], 2, "name an ADDRESS, or an --owner"),
        (["10.0.0.1", "--owner", "a"], 2, "name an ADDRESS, or an --owner"),
        (["--owner", "a", "--for", "b"], 2, "--for goes with an ADDRESS"),
        (["10.0.0.1", "--pool", "web"], 2, "--pool goes with --owner"),
        (["10.0.0.1", "--space", "nope"], 3, "space nope does not exist"),
    ],
    ids=shown,
)
def test_what_cannot_be_answered(web: Cli, words: list[str], code: int, said: str) -> None:
    """One clear error, and nothing on stdout."""
    result = web("explain", *words, "-o", "json")
    assert (result.code, result.out) == (code, "")
    assert said in result.error["message"]


def test_a_space_that_is_not_used_yet(at_home: Cli) -> None:
    """The default space has no pools: that is an answer."""
    assert verdict(at_home, "10.0.0.1")["reason"] == "in_no_pool"
    data = at_home.json("explain", "--owner", "a").data
    assert (data["known"], data["pools"], data["would_get"]) == (False, [], None)


def test_for_whom_a_pool_selects(web: Cli, manifest: Manifest) -> None:
    """The options of `allocate` that say where a pod runs; the verdict is what it would answer."""
    web.ok("apply", "-f", manifest(
        pool_yaml("shop", "10.3.0.0/24", "10.3.0.1", more="namespaceName: [shop]")
    ))  # fmt: skip
    found = verdict(web, "10.3.0.1", "--for", "a")
    assert (found["reason"], found["kind"]) == ("pool_selectors", "forbidden")
    assert "does not say its namespace" in found["text"]
    assert verdict(web, "10.3.0.1", "--for", "a", "--namespace", "shop")["given"] is True
    data = web.json("explain", "--owner", "a", "--pool", "shop", "--namespace", "shop").data
    assert data["would_get"] == "10.3.0.1"


# -------------------------------------------------------------------------------------- an owner


def test_what_an_owner_has_and_why(web: Cli) -> None:
    """The command, who gave it and why, and how the address was chosen; what it had last."""
    first = lease_of(web, "a", "--uid", "u1", "--actor", "ops", "--reason", "new pod")
    second = lease_of(web, "a", "--uid", "u2", "--command-id", "again-1")
    data = web.json("explain", "--owner", "a").data
    (held,) = data["held"]
    assert (held["lease"], held["address"], held["uid"]) == (int(second), "10.0.0.10", "u2")
    assert held["granted"]["command_id"] == "again-1"
    assert (held["chosen"]["how"], held["chosen"]["supersedes"]) == ("superseded", int(first))
    last = data["last_ended"]
    assert (last["lease"], last["ended"]["how"]) == (int(first), "superseded")
    assert (last["granted"]["actor"], last["granted"]["reason"]) == ("ops", "new pod")
    assert (last["chosen"]["how"], last["chosen"]["decided_at"]) == ("lowest_free", 3)
    assert (data["known"], data["pools"]) == (True, [])
    said = web.ok("explain", "--owner", "a")
    assert said.startswith("a holds 1 lease\n")
    assert "by ops, because: new pod (position 4)" in said


def test_at_a_moment_an_owner_had_what_it_had(web: Cli) -> None:
    """What came later is not known there."""
    first = lease_of(web, "a")
    web.ok("release", first)
    lease_of(web, "a", "--interface", "net1")
    then = web.json("explain", "--owner", "a", "--at", first).data
    assert ([had["lease"] for had in then["held"]], then["last_ended"]) == ([int(first)], None)
    before = web.json("explain", "--owner", "a", "--at", "3").data
    assert (before["held"], before["known"]) == ([], False)
    on_eth0 = web.json("explain", "--owner", "a", "--interface", "eth0").data
    assert (on_eth0["held"], on_eth0["last_ended"]["lease"]) == ([], int(first))


def test_why_an_owner_would_get_nothing(web: Cli, manifest: Manifest) -> None:
    """Pool by pool, in the words of the refusals; which address, where one would be given."""
    web.ok("apply", "-f", manifest(
        pool_yaml("off", "10.1.0.0/24", "10.1.0.1", more="disable: true")
        + pool_yaml("tiny", "10.2.0.0/24", "10.2.0.1")
    ))  # fmt: skip
    web.ok("allocate", "--pool", "tiny", "--owner", "other")
    data = web.json("explain", "--owner", "a", "--pool", "off", "--pool", "tiny").data
    assert [seen["reason"] for seen in data["pools"]] == ["pool_disabled", "exhausted"]
    assert data["would_get"] is None
    said = web.ok("explain", "--owner", "a")
    assert "a is not known: it never held anything, and nothing is kept for it" in said
    assert "it names no pool here; if it named one, each would answer:" in said
    assert "would give fd00::" in said
    assert "pool tiny  all IP addresses used out: pool tiny has 1 addresses: 1 leased" in said
    assert web("allocate", "--pool", "off,tiny", "--owner", "a").code == 5


def test_who_is_only_kept_for_is_known(web: Cli, manifest: Manifest) -> None:
    """A reservation names it; it never held anything."""
    web.ok("apply", "-f", manifest(reservation_yaml("r", "10.0.0.15", more="owner: a")))
    said = web.ok("explain", "--owner", "a", "--pool", "web")
    assert said.startswith("a holds nothing, and never did\n")
    assert "if it asked, it would get 10.0.0.15" in said


# ------------------------------------------------------------------------------- names and Python


def test_the_names_are_those_of_the_schema() -> None:
    """Reasons of addresses and of pools, and how addresses were chosen."""
    parts = DOCUMENTS["explain.schema.json"]["$defs"]
    assert parts["reason_name"]["enum"] == [reason.value for reason in FINDERS]
    of_pools = (*POOL_REASONS, Reason.HELD_BY_OWNER, Reason.EXHAUSTED, Reason.WOULD_GIVE)
    pools = parts["owner"]["properties"]["pools"]["items"]["properties"]
    assert pools["reason"]["enum"] == [reason.value for reason in of_pools]
    how = parts["had"]["properties"]["chosen"]["properties"]["how"]
    assert how["enum"] == [way.value for way in How]


def test_both_faces_of_the_python_api() -> None:
    """The same question, plain and awaited, now and then."""
    ledger = Ledger(MemoryStream(lambda: time.time_ns() // 1_000_000))
    ledger.apply(pool("web", subnet="10.0.0.0/24", ips=["10.0.0.10-10.0.0.19"]))
    ledger.allocate("web", owner="a")
    told = ledger.explain("10.0.0.10", owner="b")
    assert (told.address, told.verdict.decides.reason) == (
        parse_address("10.0.0.10"), Reason.LEASED,
    )  # fmt: skip
    assert ledger.explain("10.0.0.10", owner="a").verdict.given

    async def ask() -> bool:
        async with AsyncLedger(ledger) as face:
            return (await face.explain("10.0.0.10", owner="b", at="2")).verdict.given

    assert asyncio.run(ask())
