"""Time and trouble on the command line: renewals, sweeps, quarantines, previews, late reports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, pool_yaml, reservation_yaml
from tests.cli.test_schemas import hold

Manifest = Callable[[str], str]
ROOT = Path(__file__).parents[2]


def lease_of(web: Cli, owner: str, *more: str) -> str:
    """The number of a new lease."""
    answer = web.json("allocate", "--pool", "web", "--owner", owner, *more).data
    return str(answer["leases"][-1]["lease"])


def leases(web: Cli) -> list[str]:
    """The owners of what is leased."""
    return [lease["owner"] for lease in web.json("get", "leases").items]


def written(web: Cli) -> int:
    """How long the stream is."""
    position: int = web.json("replay").data["position"]
    return position


# ---------------------------------------------------------------------------------------- renewal


def test_renew(web: Cli) -> None:
    """It tells until when; earlier only if that is said."""
    lease = lease_of(web, "a", "--ttl", "1h")
    until = web.json("get", "lease", lease).items[0]["expires_at"]
    (item,) = web.json("renew", lease, "--ttl", "2h").items
    assert (item["lease"], item["result"]) == (int(lease), "renewed")
    assert item["expires_at"] > until
    assert web.json("get", "lease", lease).items[0]["expires_at"] == item["expires_at"]
    shorter = web("renew", lease, "--ttl", "1m", "-o", "json")
    assert (shorter.code, shorter.error["kind"]) == (4, "conflict")
    assert "--shorten" in shorter.error["hint"]
    said = web.ok("renew", lease, "--ttl", "1m", "--shorten")
    assert said.startswith(f"lease/{lease} renewed until 20")


def test_a_repeated_renewal(web: Cli) -> None:
    """The same command id is the same renewal."""
    lease = lease_of(web, "a", "--ttl", "1h")
    words = ("renew", lease, "--command-id", "heartbeat-1")
    first, length = web.json(*words).items, written(web)
    assert web.json(*words).items == first
    assert written(web) == length


def test_renewing_what_has_no_end(web: Cli) -> None:
    """Nothing to do, and that is told."""
    lease = lease_of(web, "a")
    length = written(web)
    assert web.ok("renew", lease) == f"lease/{lease} renewed until it is released\n"
    assert written(web) == length


# ------------------------------------------------------------------------------------------ sweep


@pytest.fixture
def overdue(web: Cli, manifest: Manifest) -> str:
    """A lease that has been over for a while: it was renewed to end in a second, and that is over.

    The server's clock cannot be moved, so a whole second has to pass.
    """
    lease = lease_of(web, "a", "--ttl", "1s")
    web.ok("apply", "-f", manifest(reservation_yaml("r", "10.0.0.19", more="for: 1s")))
    web.ok("quarantine", "10.0.0.18", "--reason", "answers ARP", "--for", "1s")
    while len(web.json("sweep", "--dry-run").items) != 3:
        pass
    return lease


def test_sweep(web: Cli, overdue: str) -> None:
    """What is due is told first, then ended; then there is nothing."""
    length = written(web)
    told = web.json("sweep", "--dry-run").items
    assert [(item["kind"], item["result"]) for item in told] == [
        ("lease", "would expire"), ("reservation", "would expire"), ("quarantine", "would expire"),
    ]  # fmt: skip
    assert written(web) == length
    said = web.ok("sweep").splitlines()
    assert said[:2] == [f"lease/{overdue} expired", "reservation/r expired"]
    assert said[2].startswith("quarantine/")
    assert written(web) == length + 3
    assert web.ok("sweep") == "nothing is due\n"
    assert web.json("get", "quarantines").items == []
    (told_of,) = web.json("release", overdue).items
    assert told_of["result"] == "already released"
    assert web("renew", overdue).code == 4


def test_sweep_every(web: Cli, overdue: str) -> None:
    """Round after round until it is stopped; what has ended is told, silence otherwise."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ipledger", *web.options, "sweep", "--every", "1s", "-o", "jsonl"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=60)
    assert process.returncode in {130, -signal.SIGINT}
    assert "Traceback" not in said
    assert json.loads(first) == {"kind": "lease", "name": overdue, "result": "expired"}
    assert len(rest.splitlines()) <= 2
    assert leases(web) == []


def test_sweep_every_is_no_preview(web: Cli) -> None:
    """The two do not go together, and a round takes a time."""
    for words, code in ((["--every", "1s", "--dry-run"], 6), (["--every", "0s"], 6),
                        (["--every", "often"], 6), (["--every", "-1s"], 6)):  # fmt: skip
        assert web("sweep", *words).code == code


# ------------------------------------------------------------------------------------- quarantine


def test_quarantine(web: Cli) -> None:
    """At once for what is free, at the end of the lease for what is not; all of it can be seen."""
    lease = lease_of(web, "a")
    words = ("quarantine", "10.0.0.10-10.0.0.11", "fd00::1", "--reason", "answers ARP")
    mixed = web(*words, "-o", "json")
    assert (mixed.code, mixed.error["kind"]) == (6, "invalid")
    told = web.json(*words[:2], *words[3:], "--dry-run").items
    length = written(web)
    assert [item["result"] for item in told] == [
        "would be set aside", "would be set aside when it ends",
    ]  # fmt: skip
    told = web.json(*words[:2], *words[3:], "--for", "1h").items
    assert [(item["kind"], item["result"]) for item in told] == [
        ("quarantine", "set aside"), ("lease", "set aside when it ends"),
    ]  # fmt: skip
    assert written(web) == length + 2
    assert told[1]["name"] == lease
    (shown,) = web.json("get", "quarantines").items
    assert "10.0.0.11" in json.dumps(shown)
    assert "answers ARP" in json.dumps(shown)
    web.ok("release", lease)
    assert len(web.json("get", "quarantines").items) == 2
    assert web.json("allocate", "--pool", "web", "--owner", "b").data["leases"][0]["address"] == (
        "10.0.0.12"
    )
    again = web(*words[:2], *words[3:], "-o", "json")
    assert (again.code, again.error["kind"]) == (4, "conflict")
    assert len(web.json("unquarantine", "10.0.0.10-10.0.0.11").items) == 2
    assert web.json("get", "quarantines").items == []


def test_a_part_of_a_quarantine_is_put_back(web: Cli) -> None:
    """It is told what is back, and that the rest goes on; only the last part ends it."""
    (aside,) = web.json("quarantine", "10.0.0.10-10.0.0.14", "--reason", "answers ARP").items
    said = web.ok("unquarantine", "10.0.0.12")
    assert said.strip() == (
        f"10.0.0.12 may be given out again; the rest of quarantine/{aside['name']} goes on: "
        "10.0.0.10-10.0.0.11, 10.0.0.13-10.0.0.14"
    )
    told = web.json("unquarantine", "10.0.0.13")
    hold("unquarantine.schema.json", told.data)
    assert told.items == [{"kind": "quarantine", "name": aside["name"], "result": "ended in part"}]
    last = ("unquarantine", "10.0.0.10-10.0.0.11", "10.0.0.14")
    assert web.ok(*last).strip() == f"quarantine/{aside['name']} ended"
    assert web.json("get", "quarantines").items == []


def test_a_quarantine_says_why(web: Cli) -> None:
    """Without a reason nothing is set aside."""
    result = web("quarantine", "10.0.0.10", "-o", "json")
    assert (result.code, result.error["kind"]) == (6, "invalid")
    assert "--reason" in result.error["hint"]


# -------------------------------------------------------------------------- previews and cascades


def test_release_by_label(web: Cli) -> None:
    """All leases of a node, whoever's; a preview frees nothing."""
    for owner, node in (("a", "n1"), ("b", "n2"), ("c", "n1")):
        lease_of(web, owner, "--label", f"node={node}")
    length = written(web)
    told = web.json("release", "--label", "node=n1", "--dry-run").items
    assert [item["result"] for item in told] == ["would be released"] * 2
    assert written(web) == length
    assert len(web.json("release", "--label", "node=n1").items) == 2
    assert leases(web) == ["b"]
    assert "nothing to release" in web.ok("release", "--label", "node=n1")


def test_delete_cascade(web: Cli) -> None:
    """The leases are revoked and the pool is gone; a preview does nothing of it."""
    lease_of(web, "a", "--count", "3")
    length = written(web)
    web.ok("delete", "pool", "web", "--cascade", "--dry-run")
    web.ok("delete", "pool", "web", "--dry-run")
    assert written(web) == length
    assert len(leases(web)) == 3
    said = web.ok("delete", "pool", "web", "--cascade")
    assert said == "pool/web deleted (3 leases revoked)\n"
    assert leases(web) == []
    assert web("get", "pool", "web").code == 3


def test_apply_dry_run(web: Cli, manifest: Manifest) -> None:
    """It tells what would be done, or refused, and does not."""
    length = written(web)
    path = manifest(pool_yaml("new", "10.1.0.0/24") + reservation_yaml("r", "10.0.0.1"))
    result = web("apply", "-f", path, "--dry-run", "-o", "json")
    assert result.code == 0
    assert [(item["name"], item["result"]) for item in result.items] == [
        ("new", "created"), ("r", "created"),
    ]  # fmt: skip
    assert "nothing was changed" in result.err
    lease_of(web, "a")
    taken = manifest(pool_yaml("web", "10.0.0.0/24", "10.0.0.12"))
    assert web("apply", "-f", taken, "--dry-run").code == 4
    assert written(web) == length + 1


def test_the_impact_of_a_reservation(web: Cli, manifest: Manifest) -> None:
    """Which leases it covers, which pools it shrinks, and how many addresses are left."""
    lease_of(web, "a")
    path = manifest(reservation_yaml("r", "10.0.0.10-10.0.0.14"))
    assert web.ok("apply", "-f", path) == (
        "reservation/r created (pool web: 5 free, 10.0.0.10 of a stays leased until its release)\n"
    )
    assert web.ok("apply", "-f", path) == "reservation/r unchanged\n"
    path = manifest(reservation_yaml("elsewhere", "10.9.0.1"))
    assert "no pool has these addresses" in web.ok("apply", "-f", path)


# ---------------------------------------------------------------------- interfaces, late reports


def test_two_interfaces(web: Cli) -> None:
    """Two addresses of one pool in one go, or none."""
    words = ["allocate", "--pool", "web", "--owner", "a", "--interface", "eth0"]
    answer = web.json(*words, "--interface", "net1").data["leases"]
    assert [(lease["address"], lease["interface"]) for lease in answer] == [
        ("10.0.0.10", "eth0"), ("10.0.0.11", "net1"),
    ]  # fmt: skip
    assert web.json(*words, "--interface", "net1").data["leases"] == answer
    assert web(*words, "--interface", "eth0").code == 6
    lease_of(web, "b", "--count", "7")
    assert web(*words, "--interface", "net2", "--interface", "net3").code == 5
    assert len(leases(web)) == 9


def test_effective_at(web: Cli) -> None:
    """A lease that began and ended before it was told, in the order of all tenures."""
    lease = lease_of(web, "a", "--effective-at", "-2h")
    early = web("release", lease, "--effective-at", "-3h", "-o", "json")
    assert (early.code, early.error["kind"]) == (6, "invalid")
    assert "effective_at" in early.error["message"]
    web.ok("release", lease, "--effective-at", "-1h")
    words = ["allocate", "--pool", "web", "--owner", "b", "--ip", "10.0.0.10", "--effective-at"]
    refused = web(*words, "-90m", "-o", "json")
    assert (refused.code, refused.error["kind"]) == (6, "invalid")
    assert "effective_at" in refused.error["message"]
    assert web(*words, "-30m").code == 0
