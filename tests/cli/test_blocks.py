"""Blocks on the command line: given, listed, found again by every address in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, pool_yaml


@pytest.fixture
def told(cli: Cli, manifest: Callable[[str], str]) -> Cli:
    """A pool of a whole /24 of which an address and a /28 are leased, and a /40 of IPv6."""
    text = pool_yaml("web", "10.0.0.0/24", "10.0.0.0-10.0.0.255")
    text += pool_yaml("six", "fd00::/40", "fd00::-fd00:0:ff:ffff:ffff:ffff:ffff:ffff")
    cli.ok("apply", "-f", manifest(text))
    cli.ok("allocate", "--pool", "web", "--owner", "a")
    cli.ok("allocate", "--pool", "web", "--owner", "b", "--prefix-length", "28")
    return cli


def test_a_block_is_given(told: Cli) -> None:
    """It is shown with its length; asked for again, it is the same one."""
    (lease,) = told.json("get", "leases", "--owner", "b").data["items"]
    assert (lease["address"], lease["prefix_length"]) == ("10.0.0.16", 28)
    words = ("allocate", "--pool", "web", "--owner", "b", "--prefix-length", "28")
    assert told.json(*words).data["leases"] == [lease]
    assert "10.0.0.16/28" in told.ok(*words)
    (six,) = told.json(
        "allocate", "--pool", "six", "--owner", "b", "--prefix-length", "64"
    ).data["leases"]  # fmt: skip
    assert (six["address"], six["prefix_length"]) == ("fd00::", 64)


@pytest.mark.parametrize(
    ("length", "code", "kind"),
    [("23", 6, "invalid"), ("33", 6, "invalid"), ("-1", 6, "invalid"), ("24", 5, "exhausted")],
)
def test_a_block_that_cannot_be(told: Cli, length: str, code: int, kind: str) -> None:
    """Impossible lengths are invalid; what is used out says so."""
    words = ("allocate", "--pool", "web", "--owner", "c", "--prefix-length", length)
    result = told(*words, "-o", "json")
    assert (result.code, result.error["kind"]) == (code, kind)
    assert told("allocate", "--pool", "web", "--owner", "c", "--prefix-length", "x").code == 2


def test_free_blocks_of_a_length(told: Cli) -> None:
    """Lowest first, all counted; what is shorter than the pool's subnet is invalid."""
    answer = told.json("free", "web", "--prefix-length", "28", "--limit", "2").data
    assert [i["block"] for i in answer["items"]] == ["10.0.0.32/28", "10.0.0.48/28"]
    assert (answer["blocks"], answer["truncated"], answer["free"]) == (14, True, 239)
    assert "14 free blocks of /28 in pool web" in told.ok("free", "web", "--prefix-length", "28")
    answer = told.json("free", "six", "--prefix-length", "64", "--limit", "1").data
    assert (answer["blocks"], answer["free"]) == (2**24, 2**88)
    for length in ("23", "33"):
        assert told("free", "web", "--prefix-length", length).code == 6
    assert told("free", "web", "--prefix-length", "28", "--blocks").code == 2


def test_fragmentation(told: Cli) -> None:
    """The maximal free blocks by length, in whole numbers; as a person reads it, in per cent."""
    answer = told.json("free", "web", "--blocks").data
    assert [(i["prefix_length"], i["blocks"], i["lowest"], i["could_be_given"])
            for i in answer["items"]] == [
        (25, 1, "10.0.0.128/25", 1), (26, 1, "10.0.0.64/26", 3), (27, 1, "10.0.0.32/27", 7),
        (29, 1, "10.0.0.8/29", 29), (30, 1, "10.0.0.4/30", 59), (31, 1, "10.0.0.2/31", 119),
        (32, 1, "10.0.0.1/32", 239),
    ]  # fmt: skip
    assert answer["largest"] == 128
    assert answer["fragmentation"] == {"outside_largest": 111, "free": 239}
    told_in_words = told.ok("free", "web", "--blocks")
    assert told_in_words.endswith("46.4 % outside of the largest free block\n")
    told.ok("allocate", "--pool", "web", "--owner", "z", "--count", "239")
    answer = told.json("free", "web", "--blocks").data
    assert (answer["items"], answer["largest"], answer["free"]) == ([], 0, 0)


def test_an_address_in_a_block_is_its_holders(told: Cli, tmp_path: Path) -> None:
    """History, attribution and a diff know it; why it is not free is known while it rests."""
    (item,) = told.json("history", "ip", "10.0.0.19").items
    assert (item["owner"], item["prefix_length"]) == ("b", 28)
    flows = tmp_path / "flows.csv"
    flows.write_text(f"t,src\n{item['from']},10.0.0.31\n{item['from']},10.0.0.32\n")
    told_of = told.ok("attribute", str(flows), "--time-column", "t", "--address-column", "src")
    lines = told_of.splitlines()
    assert lines[1].split(",")[1:4] == ["10.0.0.31", "held", "b"]
    assert lines[2].split(",")[1:3] == ["10.0.0.32", "unheld"]
    (lease,) = [
        change for change in told.json("replay", "--diff", "0", "now").data["leases"]
        if change["after"]["owner"] == "b"
    ]  # fmt: skip
    assert (lease["after"]["address"], lease["after"]["prefix_length"]) == ("10.0.0.16", 28)


def test_a_release_by_address_means_the_whole_block(told: Cli) -> None:
    """Naming an address inside is refused, so that nobody frees more than they think."""
    result = told("release", "--owner", "b", "--ip", "10.0.0.20", "-o", "json")
    assert (result.code, result.error["kind"]) == (4, "conflict")
    told.ok("release", "--owner", "b", "--ip", "10.0.0.16")
    assert told.json("free", "web").data["free"] == 255


def test_a_consumer_of_a_prefix_sees_the_block(told: Cli) -> None:
    """A block that reaches into the prefix asked for is of interest."""
    out = told.ok("-o", "jsonl", "follow", "--from", "1", "--until-end", "--prefix", "10.0.0.30/32")
    granted = [line for line in out.splitlines() if json.loads(line)["type"] == "LeaseGranted"]
    assert len(granted) == 1
    assert '"10.0.0.16"' in granted[0]


def test_a_quarantine_inside_a_block(told: Cli) -> None:
    """The holder keeps it; when it is released, all of it is set aside."""
    told.ok("quarantine", "10.0.0.20", "--reason", "answers ARP")
    told.ok("release", "--owner", "b")
    (aside,) = told.json("get", "quarantines").items
    assert aside["ips"] == ["10.0.0.16-10.0.0.31"]
    told.ok("audit")


def test_a_block_is_named_as_it_is_printed(told: Cli) -> None:
    """It is in use if it is observed so, is asked for so, and a release says how to name it."""
    result = told("reconcile", "--observed", "-", "-o", "json",
                  stdin=b"address,owner\n10.0.0.16/28,b\n10.0.0.0,a\n")  # fmt: skip
    assert result.code == 0, result
    assert (result.data["expected"], result.data["missing"], result.data["wrong"]) == (2, [], [])
    words = ("allocate", "--pool", "web", "--owner", "c", "--ip", "10.0.0.64/28")
    assert "10.0.0.64/28" in told.ok(*words, "--prefix-length", "28")
    for more in ((), ("--prefix-length", "29")):
        refused = told(*words, *more, "-o", "json")
        assert (refused.code, refused.error["kind"]) == (6, "invalid")
        assert refused.error["hint"] == "say --prefix-length 28"
    refused = told("release", "--owner", "c", "--ip", "10.0.0.64/28", "-o", "json")
    assert (refused.code, refused.error["kind"]) == (6, "invalid")
    assert "--ip 10.0.0.64, or" in refused.error["hint"]
    assert "released" in told.ok("release", "--owner", "c", "--ip", "10.0.0.64")
