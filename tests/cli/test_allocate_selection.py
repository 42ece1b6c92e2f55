"""`allocate` and the pools that select: for whom, by pattern, by default; and with -f, beside whom.

Which rule is followed is held by tests/scenarios/test_spiderpool_selection.py; here it is what the
options do, and that every refusal reaches the user.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import pytest

import ipledger
from engine.memory_stream import MemoryStream
from ipledger import operations
from ipledger.ledger import Ledger
from tests.cli.conftest import Cli, deployment_yaml, pool_yaml

Manifest = Callable[[str], str]

PICKY = (
    pool_yaml("by-node", "10.1.0.0/24", "10.1.0.1-10.1.0.9", more="nodeName: [n1]")
    + pool_yaml("by-zone", "10.1.1.0/24", "10.1.1.1-10.1.1.9",
                more="nodeAffinity: {matchLabels: {zone: a}}")
    + pool_yaml("by-ns", "10.1.2.0/24", "10.1.2.1-10.1.2.9", more="namespaceName: [shop]")
    + pool_yaml("by-tier", "10.1.3.0/24", "10.1.3.1-10.1.3.9",
                more="namespaceAffinity: {matchExpressions: [{key: tier, operator: Exists}]}")
    + pool_yaml("by-net", "10.1.4.0/24", "10.1.4.1-10.1.4.9", more="multusName: [lab/macvlan]")
    + pool_yaml("by-app", "10.1.5.0/24", "10.1.5.1-10.1.5.9",
                more="podAffinity: {matchLabels: {app: web}}")
)  # fmt: skip

POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  annotations:
    ipam.spidernet.io/ippools: '[{"ipv4": ["by-zone"]}, {"ipv4": ["by-tier"]}]'
spec: {nodeName: n1}
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {zone: a}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {tier: front}}
"""


@pytest.fixture
def picky(web: Cli, manifest: Manifest) -> Cli:
    """Pools beside `web` and `six`, each of which is for others by another selector."""
    web.ok("apply", "-f", manifest(PICKY))
    return web


@pytest.mark.parametrize(
    ("pool", "options", "wrong"),
    [
        ("by-node", ["--node", "n1"], ["--node", "n2"]),
        ("by-zone", ["--node-label", "zone=a"], ["--node-label", "zone=b"]),
        ("by-ns", ["--namespace", "shop"], ["--namespace", "bank"]),
        ("by-tier", ["--namespace-label", "tier=x"], ["--namespace-label", "rank=x"]),
        ("by-net", ["--network", "lab/macvlan"], ["--network", "lab/ipvlan"]),
        ("by-app", ["--label", "app=web"], ["--label", "app=db"]),
    ],
)
def test_each_option_opens_the_pools_that_ask_for_it(
    picky: Cli, pool: str, options: list[str], wrong: list[str]
) -> None:
    """Without it the hint names the option; with another value the reason names it; exit code 4."""
    ask = ["allocate", "--pool", pool, "--owner", "a"]
    silent = picky(*ask, "-o", "json")
    assert silent.code == 4
    assert "the request does not say" in silent.error["message"]
    assert f"say it with {options[0]}" in silent.error["hint"]
    other = picky(*ask, *wrong, "-o", "json")
    assert (other.code, other.error["kind"]) == (4, "forbidden")
    (lease,) = picky.json(*ask, *options).data["leases"]
    assert lease["pool"] == pool
    assert picky.json(*ask, *options).data["leases"] == [lease], "the same words, the same lease"


def test_where_it_runs_is_recorded(picky: Cli) -> None:
    """As labels of the lease, so that history can say it; a label that is given goes before."""
    ask = ["allocate", "--pool", "web", "--owner", "a", "--node", "n1", "--namespace", "shop"]
    (lease,) = picky.json(*ask).data["leases"]
    assert lease["labels"] == {"namespace": "shop", "node": "n1"}
    assert picky.json(*ask).data["leases"] == [lease]
    (found,) = picky.json("history", "label", "node=n1").items
    assert found["owner"] == "a"
    ask[4:] = ["b", "--node", "n1", "--label", "node=rack-7/n1"]
    (lease,) = picky.json(*ask).data["leases"]
    assert lease["labels"] == {"node": "rack-7/n1"}
    moved = picky("allocate", "--pool", "web", "--owner", "a", "--node", "n2", "-o", "json")
    assert (moved.code, moved.error["kind"]) == (4, "conflict")


def test_pools_by_pattern_and_by_default(picky: Cli, manifest: Manifest) -> None:
    """A pattern, no pool at all, and of which IP version."""
    ask = ["allocate", "--owner", "a", "--node", "n1"]
    (lease,) = picky.json(*ask, "--pool", "by-n*").data["leases"]
    assert lease["pool"] == "by-node"
    nothing = picky("allocate", "--owner", "b", "-o", "json")
    assert (nothing.code, nothing.error["kind"]) == (3, "not_found")
    assert "no pool selection rules of any type are specified" in nothing.error["message"]
    none_like = picky("allocate", "--owner", "b", "--pool", "x-*", "-o", "json")
    assert (none_like.code, none_like.error["message"]) == (3, "no pool is named like x-*")
    picky.ok("apply", "-f", manifest(
        pool_yaml("d4", "10.9.0.0/24", "10.9.0.1-10.9.0.9", more="default: true")
        + pool_yaml("d6", "fd09::/64", "fd09::1-fd09::9", more="default: true")
    ))  # fmt: skip
    both = picky.json("allocate", "--owner", "b").data["leases"]
    assert [lease["pool"] for lease in both] == ["d4", "d6"]
    six = picky.json("allocate", "--owner", "c", "--ip-version", "6").data["leases"]
    assert [lease["pool"] for lease in six] == ["d6"]
    pattern = ["--pool", "*", "--ip-version", "6", "--pool", "d*", "--ip-version", "4"]
    mixed = picky.json("allocate", "--owner", "d", *pattern).data["leases"]
    assert [lease["pool"] for lease in mixed] == ["d6", "d4"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--ip-version", "5"], 2, "'5' is not one of '4', '6'"),
        (["--pool", "web", "--ip-version", "6"], 6, "pool web is of IPv4, but IPv6 is asked for"),
        (["--pool", "web", "--ip-version", "4", "--ip-version", "6"], 6, "2 IP versions for 1"),
        (["--pool", "[", "--node", "n"], 6, "pool '[' is not a pattern of names"),
        (["--pool", "web", "--node", ""], 6, "node is empty"),
        (["--pool", "web", "--node-label", "x"], 6, "label 'x' is not KEY=VALUE"),
        (["--pool", "web", "--namespace", "a\nb"], 6, "has the control character"),
        (["--pool", "web", "--network", "a/b/c"], 6, "network 'a/b/c' is not NAME or"),
        (["--pool", "web", "--network", "/c"], 6, "network '/c' is not NAME or"),
    ],
)
def test_options_that_make_no_sense(web: Cli, words: list[str], code: int, says: str) -> None:
    """Each with its exit code, and nothing is granted."""
    result = web("allocate", "--owner", "a", *words)
    assert result.code == code
    assert says in result.err
    assert web.json("get", "leases").items == []


def test_namespaces_and_nodes_beside_workloads(picky: Cli, manifest: Manifest) -> None:
    """What their labels are is known from their documents, and goes before the options."""
    path = manifest(POD)
    leases = picky.json("allocate", "-f", path, "--node-label", "zone=b").data["leases"]
    assert [(lease["interface"], lease["pool"]) for lease in leases] == [
        ("eth0", "by-zone"), ("net1", "by-tier"),
    ]  # fmt: skip
    assert leases[0]["labels"] == {"namespace": "shop", "node": "n1", "workload": "pod/web"}
    assert leases[0]["granted_at"] == leases[1]["granted_at"], "in one commit"
    assert picky.json("allocate", "-f", path).data["leases"] == leases
    assert len(picky.json("delete", "-f", path).items) == 2
    alone = manifest(POD.split("---", maxsplit=1)[0])
    refused = picky("allocate", "-f", alone, "-o", "json")
    assert refused.code == 4
    assert "the request does not say the node's" in refused.data["refused"][0]["error"]["message"]
    options = ["--node-label", "zone=a", "--namespace-label", "tier=x"]
    assert len(picky.json("allocate", "-f", alone, *options).data["leases"]) == 2


def test_a_node_may_have_many_labels(picky: Cli, manifest: Manifest) -> None:
    """More than a lease has room for: they are looked at, and not kept."""
    labels = {"zone": "a"} | {f"feature.node.kubernetes.io/cpu-{n}": "true" for n in range(300)}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": labels}}
    pod, _, namespace = POD.split("---")
    path = manifest(f"{pod}---\n{json.dumps(node)}\n---{namespace}")
    assert len(picky.json("allocate", "-f", path).data["leases"]) == 2


def test_the_interface_that_is_added_must_be_one_of_them(picky: Cli, manifest: Manifest) -> None:
    """Exit code 6 and nothing granted; with one of them, all are granted as ever."""
    path = manifest(POD)
    wrong = picky("allocate", "-f", path, "--interface", "net2", "-o", "json")
    assert (wrong.code, wrong.error["kind"]) == (6, "invalid")
    assert "interface net2 must be specified" in wrong.error["message"]
    twice = picky("allocate", "-f", path, "--interface", "eth0", "--interface", "net1")
    assert twice.code == 6
    assert picky.json("get", "leases").items == []
    assert len(picky.json("allocate", "-f", path, "--interface", "net1").data["leases"]) == 2


def test_the_interface_of_a_workload_that_names_none(web: Cli, manifest: Manifest) -> None:
    """It is the one that is being added."""
    path = manifest(deployment_yaml("shop", 1, "web"))
    (lease,) = web.json("allocate", "-f", path, "--interface", "net1").data["leases"]
    assert lease["interface"] == "net1"


def test_workloads_that_name_no_pool(web: Cli, manifest: Manifest) -> None:
    """Those of --default-pool, else the defaults; with --namespace, in that namespace."""
    bare = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: bare}\nspec: {replicas: 2}\n---\n"
    )
    path = manifest(bare)
    nothing = web("allocate", "-f", path, "-o", "json")
    assert nothing.code == 3
    assert {entry["error"]["kind"] for entry in nothing.data["refused"]} == {"not_found"}
    ask = ["allocate", "-f", path, "--default-pool", "w*", "--default-pool", "six"]
    leases = web.json(*ask, "--namespace", "shop").data["leases"]
    assert [(lease["owner"], lease["pool"]) for lease in leases] == [
        ("shop/bare-0", "web"), ("shop/bare-0", "six"),
        ("shop/bare-1", "web"), ("shop/bare-1", "six"),
    ]  # fmt: skip
    assert web("delete", "-f", path).code == 3, "of the namespace `default` there are none"
    assert len(web.json("delete", "-f", path, "--namespace", "shop").items) == 4


def test_what_only_tells_where_workloads_run_is_not_applied(web: Cli, manifest: Manifest) -> None:
    """A warning says so, beside what is; alone it is nothing to apply."""
    around = POD.partition("---\n")[2]
    result = web("apply", "-f", manifest(f"{around}---\n{pool_yaml('new', '10.9.0.0/24')}"))
    assert result.code == 0
    assert "warning: Namespace shop only tells where workloads run: it is not applied" in result.err
    assert "warning: Node n1 only tells" in result.err
    assert web("apply", "-f", manifest(around)).code == 6
    twice = manifest(f"{around}---\n{around}")
    assert "is defined already by" in web("allocate", "-f", twice).err


def test_both_faces_take_the_same_words() -> None:
    """`Ledger` and `AsyncLedger`: no pool, patterns, and where the pod runs."""
    with Ledger(MemoryStream(lambda: time.time_ns() // 1_000_000)) as ledger:
        ledger.apply(ipledger.pool("a", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.9"]))
        (lease,) = ledger.allocate("?", "x", node="n1", namespace="shop").granted
        assert lease.labels == (("namespace", "shop"), ("node", "n1"))
        with pytest.raises(ipledger.Refused, match="no pool selection rules"):
            ledger.allocate(None, "y", families=[4])
        nics = (operations.allocate("a", "z"), operations.allocate("a", "z", interface="net1"))
        both = ledger.run(operations.together(*nics))
        assert [lease.interface for lease in both.granted] == ["eth0", "net1"]
        assert operations.together(nics[0]) == nics[0]

        async def ask() -> tuple[str, ...]:
            answer = await ipledger.AsyncLedger(ledger).allocate(["*"], "w", node_labels={"a": "b"})
            return tuple(lease.text for lease in answer.granted)

        assert asyncio.run(ask()) == ("10.0.0.4",)
        for wrong in ({"families": [5]}, {"families": [True]}, {"network": "a//b"}):
            with pytest.raises(ipledger.InvalidInput):
                operations.allocate("a", "x", **wrong)
