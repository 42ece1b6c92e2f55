"""`allocate -f`: a lease for each replica of a workload, each on its own."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.cli.conftest import Cli, deployment_yaml, pool_yaml, reservation_yaml

Manifest = Callable[[str], str]


def test_a_lease_a_replica(web: Cli, manifest: Manifest) -> None:
    """Owners are NAMESPACE/NAME-0…; asked again, they get what they hold."""
    path = manifest(deployment_yaml("shop", 3, "web"))
    answer = web.json("allocate", "-f", path).data
    assert [lease["owner"] for lease in answer["leases"]] == [
        "default/shop-0", "default/shop-1", "default/shop-2",
    ]  # fmt: skip
    assert answer["refused"] == []
    assert web.json("allocate", "-f", path).data == answer


def test_who_fits_runs(web: Cli, manifest: Manifest) -> None:
    """Exit code 5 if any was refused; those that fit hold their leases."""
    result = web("allocate", "-f", manifest(deployment_yaml("shop", 12, "web")), "-o", "json")
    assert result.code == 5
    assert len(result.data["leases"]) == 10
    assert [entry["owner"] for entry in result.data["refused"]] == [
        "default/shop-10", "default/shop-11",
    ]  # fmt: skip
    for entry in result.data["refused"]:
        assert entry["error"]["kind"] == "exhausted"
        assert entry["error"]["message"].startswith("all IP addresses used out")


def test_every_form_of_output_tells_the_refused(web: Cli, manifest: Manifest) -> None:
    """Lines of JSON as well as the table say who got nothing."""
    path = manifest(deployment_yaml("shop", 11, "web"))
    table = web("allocate", "-f", path)
    assert table.code == 5
    assert "default/shop-10: refused: all IP addresses used out" in table.out
    lines = [json.loads(line) for line in web("allocate", "-f", path, "-o", "jsonl").out.split("\n")
             if line]  # fmt: skip
    assert [("lease" in line, "error" in line) for line in lines] == (
        [(True, False)] * 10 + [(False, True)]
    )


def test_no_replica_is_no_error(web: Cli, manifest: Manifest) -> None:
    """A workload of none asks for nothing."""
    answer = web.json("allocate", "-f", manifest(deployment_yaml("shop", 0, "web"))).data
    assert answer == {"leases": [], "refused": []}


def test_an_unknown_pool_is_refused_for_each(web: Cli, manifest: Manifest) -> None:
    """As a refusal of the replica, with exit code 5."""
    result = web("allocate", "-f", manifest(deployment_yaml("shop", 1, "nope")), "-o", "json")
    assert result.code == 5
    assert result.data["refused"][0]["error"]["kind"] == "not_found"


def test_only_workloads(web: Cli, manifest: Manifest) -> None:
    """A pool among them is invalid: nothing is granted."""
    path = manifest(deployment_yaml("shop", 1, "web") + pool_yaml("b", "10.0.1.0/24"))
    result = web("allocate", "-f", path, "-o", "json")
    assert (result.code, result.error["kind"]) == (6, "invalid")
    assert web("allocate", "-f", manifest(reservation_yaml("r", "10.0.0.1"))).code == 6
    assert web.json("get", "leases").items == []


def test_what_the_manifest_says_is_not_said_twice(web: Cli, manifest: Manifest) -> None:
    """An option that would be ignored is refused with exit code 2."""
    path = manifest(deployment_yaml("shop", 1, "web"))
    for words in (
        ["--pool", "web"], ["--owner", "a"], ["--count", "2"], ["--ip", "10.0.0.12"],
        ["--uid", "u"],
    ):  # fmt: skip
        assert web("allocate", "-f", path, *words).code == 2, words


def test_a_command_id_covers_all_replicas(web: Cli, manifest: Manifest) -> None:
    """Repeated, every replica gets the lease that it got, though it has ended since."""
    ask = ["allocate", "-f", manifest(deployment_yaml("shop", 2, "web")), "--command-id", "X"]
    first = [lease["lease"] for lease in web.json(*ask).data["leases"]]
    web.ok("release", *map(str, first))
    assert [lease["lease"] for lease in web.json(*ask).data["leases"]] == first
