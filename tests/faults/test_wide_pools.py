"""A pool of a whole v6 /64 with half of it reserved: everything works, and counts are exact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ipledger.cli import run

POOL = """\
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: wide}
spec:
  subnet: fd00:1::/64
  ips: ["fd00:1::-fd00:1::ffff:ffff:ffff:ffff"]
  excludeIPs: ["fd00:1::", "fd00:1::8000:0:0:0-fd00:1::8000:0:0:f"]
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderReservedIP
metadata: {name: lower-half}
spec:
  ips: ["fd00:1::-fd00:1::7fff:ffff:ffff:ffff"]
"""


@pytest.fixture
def applied(embedded_url: str, space: str, tmp_path: Path) -> list[str]:
    """The global options for a space with the pool and the reservation."""
    options = ["--url", embedded_url, "--state-dir", str(tmp_path), "--space", space, "-o", "json"]
    assert run([*options, "space", "create", space]) == 0
    manifest = tmp_path / "wide.yaml"
    manifest.write_text(POOL)
    assert run([*options, "apply", "-f", str(manifest)]) == 0
    return options


def test_counts_of_a_whole_64_are_exact(
    applied: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """2^64 less the excluded; half of it reserved; the rest free, to the last address."""
    assert run([*applied, "allocate", "--pool", "wide", "--owner", "o", "--count", "3"]) == 0
    capsys.readouterr()
    assert run([*applied, "get", "pools", "wide"]) == 0
    counts = json.loads(capsys.readouterr().out)["items"][0]["counts"]
    assert counts == {
        "total": 2**64 - 17,
        "leased": 3,
        "quarantined": 0,
        "cooling": 0,
        "reserved": 2**63 - 1,
        "free": 2**63 - 16 - 3,
    }
    assert sum(counts.values()) == 2 * counts["total"]


def test_lowest_free_lies_behind_the_reservation(
    applied: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Excluded and reserved addresses are passed over without being looked at one by one."""
    capsys.readouterr()
    assert run([*applied, "allocate", "--pool", "wide", "--owner", "o"]) == 0
    lease = json.loads(capsys.readouterr().out)["leases"][0]
    assert lease["address"] == "fd00:1::8000:0:0:10"
    assert run([*applied, "free", "wide"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["items"] == [{
        "first": "fd00:1::8000:0:0:11",
        "last": "fd00:1::ffff:ffff:ffff:ffff",
        "size": 2**63 - 17,
    }]  # fmt: skip


def test_every_command_works_on_it(applied: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A reserved address is refused, a free one granted; release, history and replay answer."""
    for command, code in [
        (["allocate", "--pool", "wide", "--owner", "o", "--ip", "fd00:1::5"], 4),
        (["allocate", "--pool", "wide", "--owner", "o", "--ip", "fd00:1::ffff:0:0:5"], 0),
        (["describe", "pool", "wide"], 0),
        (["get", "leases"], 0),
        (["release", "--owner", "o"], 0),
        (["history", "ip", "fd00:1::ffff:0:0:5"], 0),
        (["replay", "--digest"], 0),
        (["delete", "reservation", "lower-half"], 0),
        (["delete", "pool", "wide"], 0),
    ]:
        assert run([*applied, *command]) == code, command
    capsys.readouterr()
