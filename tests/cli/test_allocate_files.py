"""`allocate -f`: a lease for each replica of a workload, each on its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.cli.conftest import Cli, deployment_yaml, pool_yaml, reservation_yaml

if TYPE_CHECKING:
    import pytest

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
    """As a refusal of the replica, with its exit code, and its hint in the table, too."""
    path = manifest(deployment_yaml("shop", 1, "nope"))
    result = web("allocate", "-f", path, "-o", "json")
    assert result.code == 3
    error = result.data["refused"][0]["error"]
    assert error["kind"] == "not_found"
    assert error["hint"]
    table = web("allocate", "-f", path)
    assert table.code == 3
    told = f"default/shop-0: refused: {error['message']}\nhint: {error['hint']}\n"
    assert table.out == told


def test_refusals_that_differ_have_one_exit_code(web: Cli, manifest: Manifest) -> None:
    """5 if any found all addresses used out; otherwise that of the first."""
    unknown, full = deployment_yaml("a", 1, "nope"), deployment_yaml("b", 11, "web")
    web.ok("apply", "-f", manifest(
        pool_yaml("picky", "10.8.0.0/24", "10.8.0.1", more="nodeName: [n7]")
    ))  # fmt: skip
    forbidden = deployment_yaml("c", 1, "picky")
    for text, code in (
        (unknown + forbidden, 3), (forbidden + unknown, 4), (forbidden, 4),
        (unknown + full, 5), (full + forbidden, 5),
    ):  # fmt: skip
        assert web("allocate", "-f", manifest(text)).code == code


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
        ["--uid", "u"], ["--prefix-length", "28"],
    ):  # fmt: skip
        assert web("allocate", "-f", path, *words).code == 2, words


def test_a_command_id_covers_all_replicas(web: Cli, manifest: Manifest) -> None:
    """Repeated, every replica gets the lease that it got, though it has ended since."""
    ask = ["allocate", "-f", manifest(deployment_yaml("shop", 2, "web")), "--command-id", "X"]
    first = [lease["lease"] for lease in web.json(*ask).data["leases"]]
    web.ok("release", *map(str, first))
    assert [lease["lease"] for lease in web.json(*ask).data["leases"]] == first


def pod_yaml(name: str, uid: str, more: str = "") -> str:
    """A Pod of the namespace `ns` as a cluster knows it, which names no pool."""
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: ns, uid: {uid}}}\n"
        f"spec: {{{more}}}\n---\n"
    )


def dump(pod: str, uid: str) -> str:
    """What a Spiderpool dump says of a Pod with an address of the default pool `old`."""
    return json.dumps({
        "apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool",
        "metadata": {"name": "old"},
        "spec": {"subnet": "10.3.0.0/24", "ips": ["10.3.0.1-10.3.0.9"], "default": True},
        "status": {"allocatedIPs": json.dumps({"10.3.0.4": {"pod": pod, "podUid": uid}})},
    })  # fmt: skip


def test_a_cluster_goes_before_its_owners(
    web: Cli, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the option or the environment; workloads of the same name are then two."""
    path = manifest(deployment_yaml("shop", 1, "web"))
    (first,) = web.json("allocate", "-f", path, "--cluster", "c1").data["leases"]
    monkeypatch.setenv("IPLEDGER_CLUSTER", "c2")
    (second,) = web.json("allocate", "-f", path).data["leases"]
    assert [first["owner"], second["owner"]] == ["c1/default/shop-0", "c2/default/shop-0"]
    assert [first["cluster"], second["cluster"]] == ["c1", "c2"]


def test_an_imported_pod_gets_what_it_holds(web: Cli, manifest: Manifest) -> None:
    """Its manifest makes the owner and the uid that the import made; a new uid supersedes it."""
    web.ok("import", manifest(dump("ns/web-0", "u-1")), "--cluster", "c1")
    (imported,) = web.json("get", "leases").items
    ask = ["--cluster", "c1", "-f", manifest(pod_yaml("web-0", "u-1"))]
    assert [lease["lease"] for lease in web.json("allocate", *ask).data["leases"]] == [
        imported["lease"]
    ]
    other = web("allocate", *ask, "--label", "a=b", "-o", "json")
    assert other.data["refused"][0]["error"]["kind"] == "conflict", "that is asked for, and not so"
    assert len(web.json("delete", *ask, "--dry-run").items) == 1
    again = ["--cluster", "c1", "-f", manifest(pod_yaml("web-0", "u-2"))]
    assert web("delete", *again).code == 3, "it is another Pod's"
    (newer,) = web.json("allocate", *again).data["leases"]
    assert newer["lease"] != imported["lease"]
    assert (newer["uid"], newer["address"]) == ("u-2", imported["address"])
    assert web.json("get", "leases").items == [newer]


def test_the_uid_of_what_makes_pods_is_not_theirs(web: Cli, manifest: Manifest) -> None:
    """A Deployment's own uid is on none of its replicas' leases."""
    text = deployment_yaml("shop", 1, "web").replace("{name: shop}", "{name: shop, uid: u-1}")
    (lease,) = web.json("allocate", "-f", manifest(text)).data["leases"]
    assert lease["uid"] is None


def test_node_and_namespace_do_not_contradict_the_manifest(web: Cli, manifest: Manifest) -> None:
    """Exit code 6 names both, and nothing is done; the same said twice is no contradiction."""
    path = manifest(pod_yaml("web-0", "u-1", "nodeName: n1"))
    ask = ["-f", path, "--default-pool", "web"]
    for words, says in (
        (["--node", "n2"], "Pod ns/web-0 is on node n1, but node n2 is asked for"),
        (["--namespace", "shop"], "metadata.namespace is ns, but namespace shop is asked for"),
    ):
        result = web("allocate", *ask, *words, "-o", "json")
        assert (result.code, result.error["kind"]) == (6, "invalid"), words
        assert says in result.error["message"]
    assert web.json("get", "leases").items == []
    same = ["--node", "n1", "--namespace", "ns"]
    assert len(web.json("allocate", *ask, *same).data["leases"]) == 1
    assert web("delete", "-f", path, "--namespace", "shop").code == 6
    assert len(web.json("delete", "-f", path, "--namespace", "ns").items) == 1
