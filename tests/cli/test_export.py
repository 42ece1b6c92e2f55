"""`export`: what is, as manifests that apply back to the same, in an order of their own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from engine.redis_stream import stream_key
from ipledger.cli import export as export_module
from ipledger.exporting import KINDS
from ipledger.times import format_ms
from tests.cli.conftest import Cli, pool_yaml, reservation_yaml, shown
from tests.ipledger.test_manifest_schema import COMPLETE, faults_of

Manifest = Callable[[str], str]
OTHER_DB = 5


@pytest.fixture
def elsewhere(cli: Cli, tmp_path: Path) -> Iterator[Cli]:
    """The command line on a space of the same name that is not there yet, on another database."""
    url, space = f"{cli.options[1]}?db={OTHER_DB}", cli.options[-1]
    options = ["--url", url, "--state-dir", str(tmp_path / "elsewhere"), "--space", space]
    yield Cli(options, cli._capsys, cli._patch)
    with redis.Redis.from_url(url) as client:
        client.delete(stream_key(space))


@pytest.fixture
def full(web: Cli, manifest: Manifest) -> Cli:
    """A space with all that can be exported: also a renewed lease and a conflict on a lease."""
    web.ok("apply", "-f", manifest(
        pool_yaml("rich", "10.1.0.0/24", "10.1.0.0/28", more="ttl: 1h, default: true, cooldown: 9s")
        + reservation_yaml("kept", "10.0.0.12", more="owner: me, reason: why, for: 1d")
    ))  # fmt: skip
    web.ok("allocate", "--pool", "web", "--pool", "six", "--owner", "a", "--label", "k=v")
    web.ok("allocate", "--pool", "rich", "--owner", "b", "--uid", "u", "--cluster", "c")
    web.ok("allocate", "--pool", "rich", "--owner", "c", "--interface", "net1")
    lease = web.json("get", "leases", "--owner", "c").items[0]["lease"]
    time.sleep(0.002)  # a renewal in the same millisecond would change nothing
    web.ok("renew", str(lease))
    web.ok("quarantine", "10.1.0.9", "--reason", "arp")
    web.ok("quarantine", "10.1.0.1", "--for", "1h", "--reason", "two answers")
    return web


def documents(cli: Cli, *words: str) -> list[dict[str, Any]]:
    """What is exported, as a reader of YAML sees it."""
    return list(yaml.load_all(cli.ok("export", *words), Loader=yaml.CSafeLoader))


def names(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Kind and name of each, or what stands for a name."""
    return [
        (one["kind"], one.get("metadata", {}).get("name") or one["spec"].get("address")
         or one["spec"]["ips"][0])
        for one in found
    ]  # fmt: skip


def test_everything_in_an_order_of_its_own(full: Cli) -> None:
    """By kind, name and address, whatever came first; every document is as the schema says."""
    found = documents(full)
    assert names(found) == [
        ("Space", full.options[-1]), ("Pool", "rich"), ("Pool", "six"), ("Pool", "web"),
        ("Reservation", "kept"), ("Lease", "10.1.0.0"), ("Lease", "10.1.0.1"), ("Lease", "fd00::"),
        ("Lease", "10.0.0.10"), ("Quarantine", "10.1.0.1"), ("Quarantine", "10.1.0.9"),
    ]  # fmt: skip
    assert [fault for document in found for fault in faults_of(document)] == []


def test_the_forms_say_the_same(full: Cli) -> None:
    """YAML documents, one JSON list, a JSON line each."""
    found = documents(full)
    listed = json.loads(full.ok("export", "-o", "json"))
    assert (listed["kind"], listed["items"]) == ("List", found)
    lines = full.ok("export", "-o", "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == found


@pytest.mark.parametrize("form", ["yaml", "json", "jsonl"])
def test_applied_elsewhere_it_is_the_same(
    full: Cli, elsewhere: Cli, manifest: Manifest, form: str
) -> None:
    """A space is made of it that says the same; applying it again changes nothing."""
    path = manifest(full.ok("export", "-o", form))
    results = [item["result"] for item in elsewhere.json("apply", "-f", path).items]
    assert set(results) == {"created"}
    assert len(results) == len(documents(full))
    assert elsewhere.ok("export", "--digest") == full.ok("export", "--digest")
    assert elsewhere.ok("export", "--definitions") == full.ok("export", "--definitions")
    before = elsewhere.json("get", "space", full.options[-1]).items
    again = {item["result"] for item in elsewhere.json("apply", "-f", path).items}
    assert again == {"unchanged"}
    assert elsewhere.json("get", "space", full.options[-1]).items == before


def test_applied_where_it_is_from_it_changes_nothing(full: Cli, manifest: Manifest) -> None:
    """Nothing is written, not even the conflict a second time."""
    before = full.json("replay", "--digest").data["digest"]
    full.ok("apply", "-f", manifest(full.ok("export")))
    assert full.json("replay", "--digest").data["digest"] == before


def test_leases_end_as_they_would_have(full: Cli, elsewhere: Cli, manifest: Manifest) -> None:
    """To the millisecond, the renewed one included."""
    elsewhere.ok("apply", "-f", manifest(full.ok("export")))

    def ends(cli: Cli) -> dict[str, str]:
        return {item["address"]: item["expires_at"] for item in cli.json("get", "leases").items}

    assert ends(elsewhere) == ends(full)
    assert ends(full)["10.1.0.1"] is not None


def test_narrowed_down(full: Cli) -> None:
    """By kind, whatever the order of the options; definitions are pools and reservations."""
    assert {kind for kind, _ in names(documents(full, "--definitions"))} == {"Pool", "Reservation"}
    chosen = names(documents(full, "--kind", "lease", "--kind", "space"))
    assert [kind for kind, _ in chosen] == ["Space", *["Lease"] * 4]


def test_as_it_was(full: Cli) -> None:
    """By a replay to a position or a time; before everything there is nothing."""
    assert names(documents(full, "--at", "3"))[1:] == [("Pool", "six"), ("Pool", "web")]
    assert documents(full, "--at", "now") == documents(full)
    assert full.ok("export", "--at", "0") == ""
    assert full.ok("export", "--at", "now", "--digest") == full.ok("export", "--digest")
    inside = full("export", "--at", "2", "-o", "json")
    assert (inside.code, inside.error["kind"]) == (6, "invalid")


def test_a_terminating_pool_is_told_of(full: Cli) -> None:
    """It is stated as disabled, and a warning says so."""
    full.ok("delete", "pool", "web")
    result = full("export", "--kind", "pool")
    assert "pool web is terminating" in result.err
    stated = {one["metadata"]["name"]: one["spec"] for one in yaml.safe_load_all(result.out)}
    assert stated["web"]["disable"] is True
    assert "terminating" not in full("export", "--kind", "lease").err


def test_spiderpools_manifests_come_out_as_ours(cli: Cli, manifest: Manifest) -> None:
    """A SpiderIPPool is exported as a Pool; applying that, or the first again, changes nothing."""
    spider = (
        "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderIPPool\nmetadata: {name: p}\n"
        "spec: {subnet: 10.0.0.0/24, ips: [10.0.0.4-10.0.0.9], excludeIPs: [10.0.0.5], "
        "podAffinity: {matchLabels: {app: web}}, nodeName: [n1], default: true}\n---\n"
        "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderReservedIP\n"
        "metadata: {name: r}\nspec: {ips: [10.0.0.4]}\n"
    )
    cli.ok("apply", "-f", manifest(spider))
    out = cli.ok("export", "--definitions")
    assert "spidernet" not in out
    assert cli.ok("apply", "-f", manifest(out)) == "pool/p unchanged\nreservation/r unchanged\n"
    assert cli.ok("apply", "-f", manifest(spider)) == "pool/p unchanged\nreservation/r unchanged\n"


def test_nothing_to_export(cli: Cli, elsewhere: Cli) -> None:
    """A new space is exported as itself; one that is not there is not found."""
    assert names(documents(cli)) == [("Space", cli.options[-1])]
    assert cli.ok("export", "--definitions") == ""
    for words in (["export"], ["export", "--at", "now"]):
        result = elsewhere(*words, "-o", "json")
        assert (result.code, result.error["kind"]) == (3, "not_found")


@pytest.mark.parametrize(
    "words",
    [["--kind", "pools"], ["--definitions", "--kind", "pool"], ["--digest", "--definitions"],
     ["--digest", "--kind", "lease"], ["stray"]],
    ids=shown,
)  # fmt: skip
def test_what_cannot_be_asked(cli: Cli, words: list[str]) -> None:
    """It is a usage error."""
    assert cli("export", *words).code == 2


@pytest.mark.parametrize("at", ["soon", "999999", "2026-01-01T00:00:00", ""])
def test_moments_that_are_none(cli: Cli, at: str) -> None:
    """They are refused as everywhere."""
    assert cli("export", "--at", at).code == 6


def test_kinds_are_the_same_in_both_places() -> None:
    """The command line names them without importing what makes them."""
    assert export_module._KINDS == KINDS


def test_the_schema_is_printed(cli: Cli) -> None:
    """It needs no server, and is JSON."""
    schema = json.loads(cli.ok("--url", "redis://127.0.0.1:1", "schema"))
    assert schema["$schema"].endswith("2020-12/schema")


# ------------------------------------------------------------------------- applying what is held


def lease_yaml(address: str, owner: str, **spec: str) -> str:
    """A Lease from the pool `web`."""
    fields = {"pool": "web", "address": address, "owner": owner,
              "since": "2026-01-01T00:00:00Z", **spec}  # fmt: skip
    return f"{json.dumps({'apiVersion': 'ipledger/v1', 'kind': 'Lease', 'spec': fields})}\n---\n"


def refused(cli: Cli, text: str, manifest: Manifest) -> tuple[int, str]:
    """The exit code and kind that applying a text is refused with; nothing may be written."""
    before = cli.json("replay", "--digest").data
    result = cli("apply", "-f", manifest(text), "-o", "json")
    after = cli.json("replay", "--digest").data
    assert after == before
    return result.code, result.error["kind"]


def test_if_one_lease_cannot_be_nothing_is(web: Cli, manifest: Manifest) -> None:
    """The definitions beside it and the other leases are not written either."""
    web.ok("allocate", "--pool", "web", "--owner", "holder", "--ip", "10.0.0.10")
    good = pool_yaml("new", "10.7.0.0/24", "10.7.0.1") + lease_yaml("10.0.0.11", "x")
    assert refused(web, good + lease_yaml("10.0.0.10", "y"), manifest) == (4, "conflict")
    assert refused(web, good + lease_yaml("10.9.0.1", "y"), manifest) == (3, "not_found")
    web.ok("apply", "-f", manifest(good))


def test_a_lease_that_has_ended_is_left_out(web: Cli, manifest: Manifest) -> None:
    """It says so; one whose time is not over is made."""
    since = format_ms(time.time_ns() // 1_000_000 - 1_000)
    path = manifest(
        lease_yaml("10.0.0.10", "old", ttl="1h")
        + lease_yaml("10.0.0.11", "a", since=since, ttl="1h")
    )
    results = {item["name"]: item["result"] for item in web.json("apply", "-f", path).items}
    assert results == {"10.0.0.10": "past", "10.0.0.11": "created"}
    assert [item["address"] for item in web.json("get", "leases").items] == ["10.0.0.11"]


def test_a_dry_run_writes_nothing(full: Cli, elsewhere: Cli, manifest: Manifest) -> None:
    """Not even the space."""
    path = manifest(full.ok("export"))
    told = elsewhere("apply", "-f", path, "--dry-run")
    assert told.code == 0
    assert "lease/10.1.0.0 created (b)" in told.out
    assert elsewhere("get", "pools").code == 3


def test_another_space_is_refused(web: Cli, manifest: Manifest) -> None:
    """A manifest of kind Space says which space the others are of."""
    other = web.ok("export").replace(f"name: {web.options[-1]}", "name: other")
    assert refused(web, other, manifest) == (6, "invalid")
    unknown = json.dumps({**COMPLETE[0], "metadata": {"name": web.options[-1]},
                          "spec": {"formatLevel": 99}})  # fmt: skip
    assert refused(web, unknown, manifest) == (6, "invalid")


def test_what_is_held_is_not_deleted_by_manifest(full: Cli, manifest: Manifest) -> None:
    """A lease is ended, and a space stays; definitions are deleted as ever."""
    assert full("delete", "-f", manifest(full.ok("export"))).code == 6
    told = full(
        "delete", "-f", manifest(full.ok("export", "--kind", "space", "--kind", "reservation"))
    )
    assert (told.code, told.out) == (0, "reservation/kept deleted\n")
    assert "is not deleted" in told.err


def test_leases_past_their_time_are_warned_of(web: Cli) -> None:
    """They are held until somebody sweeps, but would not arrive where the export is applied."""
    web.ok("allocate", "--pool", "web", "--owner", "late", "--ttl", "1s")
    lease = web.json("get", "leases").items[0]
    deadline = time.monotonic() + 10
    while web("export", "--digest").code == 0 and "past their time" not in web("export").err:
        assert time.monotonic() < deadline, lease
    web.ok("sweep")
    assert "past their time" not in web("export").err
