"""`apply`: manifests become pools and reservations, all of them or none."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, deployment_yaml, pool_yaml, reservation_yaml

Manifest = Callable[[str], str]

POOL = pool_yaml("web", "10.0.0.0/24", "10.0.0.1-10.0.0.9")


def test_each_object_is_told_what_became_of_it(cli: Cli, manifest: Manifest) -> None:
    """Created at first, unchanged the next time, configured when the manifest has changed."""
    both = manifest(POOL + reservation_yaml("printers", "10.0.0.3"))
    assert cli.ok("apply", "-f", both) == (
        "pool/web created\nreservation/printers created (pool web: 8 free)\n"
    )
    assert cli.ok("apply", "-f", both) == "pool/web unchanged\nreservation/printers unchanged\n"
    larger = manifest(pool_yaml("web", "10.0.0.0/24", "10.0.0.1-10.0.0.20"))
    assert cli.ok("apply", "-f", larger, "-f", manifest(reservation_yaml("more", "10.0.1.1"))) == (
        "pool/web configured\nreservation/more created (no pool has these addresses)\n"
    )


def test_a_file_is_one_commit(cli: Cli, manifest: Manifest) -> None:
    """All objects of all files of one command are events of the same commit."""
    cli.ok("apply", "-f", manifest(POOL + reservation_yaml("a", "10.0.0.3")),
           "-f", manifest(reservation_yaml("b", "10.0.0.4")))  # fmt: skip
    lines = [json.loads(line) for line in cli.ok("follow", "--from", "2", "--until-end").split()]
    assert [(e["commit"]["part"], e["commit"]["parts"]) for e in lines] == [(0, 3), (1, 3), (2, 3)]
    assert len({event["commit"]["nonce"] for event in lines}) == 1


@pytest.mark.parametrize(
    ("second", "code", "says"),
    [
        (pool_yaml("other", "10.0.0.0/24", "10.0.0.9"), 4, "(V11)"),
        (pool_yaml("other", "10.0.1.0/24", "10.0.0.9"), 6, "document 2 (Pool other): spec.ips"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", 6, "kind 'ConfigMap'"),
        ("apiVersion: ipledger/v1\nkind: Pool\nmetadata: {name: a b}\n", 6, "metadata.name 'a b'"),
        ("a: [b\n", 6, "line "),
        (deployment_yaml("web", 3, "web"), 6, "Deployment web is not applied"),
        (POOL, 6, "defined already"),
    ],
    ids=["overlap", "outside", "unknown-kind", "name", "broken", "workload", "twice"],
)
def test_nothing_of_a_refused_file_is_applied(
    cli: Cli, manifest: Manifest, second: str, code: int, says: str
) -> None:
    """A file with one bad document changes nothing, and the message says which one it is."""
    result = cli("apply", "-f", manifest(POOL + second), "-o", "json")
    assert result.code == code
    assert says in result.error["message"]
    assert cli.json("get", "pools").items == []
    assert cli.json("replay").data["position"] == 1


def test_a_directory_stands_for_its_manifests(cli: Cli, tmp_path: Path) -> None:
    """In the order of their names; other files in it are no manifests."""
    directory = tmp_path / "pools"
    directory.mkdir()
    (directory / "2.yaml").write_text(pool_yaml("b", "10.0.2.0/24"))
    (directory / "1.yml").write_text(pool_yaml("a", "10.0.1.0/24"))
    (directory / "readme.txt").write_text("not YAML: [")
    assert cli.ok("apply", "-f", str(directory)) == "pool/a created\npool/b created\n"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("missing.yaml", "cannot be read: No such file"),
        ("", "-f names no file"),
        ("a\x1b[31m.yaml", "a\x1b[31m.yaml: it cannot be read"),
        ("/dev/null", "holds no manifest"),
    ],
)
def test_what_cannot_be_read_is_named(cli: Cli, path: str, says: str) -> None:
    """A file that is not there, or is empty, is invalid input."""
    result = cli("apply", "-f", path, "-o", "json")
    assert (result.code, result.error["kind"]) == (6, "invalid")
    assert says in result.error["message"]


def test_a_dash_is_standard_input(cli: Cli) -> None:
    """It is read as UTF-8, with or without a byte order mark."""
    assert cli("apply", "-f", "-", stdin=b"\xef\xbb\xbf" + POOL.encode()).out == (
        "pool/web created\n"
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "holds no manifest"), (b"\xff\xfe", "not UTF-8"), (bytes(65 << 20), "larger than")],
    ids=["empty", "binary", "endless"],
)
def test_bad_standard_input_is_refused(cli: Cli, content: bytes, says: str) -> None:
    """Nothing, bytes and far too much on stdin are told as such."""
    result = cli("apply", "-f", "-", "-o", "json", stdin=content)
    assert (result.code, result.error["kind"]) == (6, "invalid")
    assert says in result.error["message"]


def test_a_closed_standard_input_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has no stdin at all when it was closed; that is no crash."""
    monkeypatch.setattr(sys, "stdin", None)
    result = cli("apply", "-f", "-")
    assert (result.code, result.err.count("\n")) == (6, 2)


def test_addresses_in_use_elsewhere_are_a_loud_warning(cli: Cli, manifest: Manifest) -> None:
    """A pool whose status names leases is applied, and stderr says what that means."""
    leases = json.dumps({"10.0.0.7": {"interface": "eth0", "pod": "ns/a", "podUid": "1"}})
    result = cli("apply", "-f", manifest(
        "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderIPPool\nmetadata: {name: web}\n"
        f"spec: {{subnet: 10.0.0.0/24, ips: [10.0.0.7]}}\nstatus: {{allocatedIPs: '{leases}'}}\n"
    ))  # fmt: skip
    assert (result.code, result.out) == (0, "pool/web created\n")
    assert result.err.startswith("warning: ")
    assert "10.0.0.7" in result.err


def test_the_same_command_id_gives_the_same_answer(cli: Cli, manifest: Manifest) -> None:
    """Repeated, it is what it was; with another request it is a conflict."""
    path = manifest(POOL)
    assert cli.ok("apply", "-f", path, "--command-id", "one") == "pool/web created\n"
    assert cli.ok("apply", "-f", path, "--command-id", "one") == "pool/web created\n"
    other = cli("apply", "-f", manifest(pool_yaml("b", "10.0.1.0/24")), "--command-id", "one")
    assert other.code == 4
