"""Spiderpool's end-to-end cases about which pools a pod draws from, by their ids.

Pods, Deployments, Namespaces and Nodes are the manifests that those cases apply; what the CNI
configuration says there, an option says here. Every history is held against the invariant checker
at its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pytest

from engine.commands import Requester
from engine.errors import InvalidInput, Refusal
from engine.model import Expression, Selector, Selectors
from ipledger.asking import read_groups
from ipledger.manifests import Source, parse
from ipledger.manifests.choosing import Given
from ipledger.wishes import make_wishes
from ipledger.writing import Done, Held
from tests.builders import TestLedger, granted, make_allocate, make_pool, make_release
from tests.invariants import check_stream

POOL: Final = "ipam.spidernet.io/ippool"
POOLS: Final = "ipam.spidernet.io/ippools"
USED_OUT: Final = "all IP addresses used out"
Document = dict[str, Any]


@pytest.fixture
def ledger() -> Iterator[TestLedger]:
    """A space with pools of each rule; whatever a test does, every invariant holds at its end."""
    ledger = TestLedger()
    names = ("pod", "pod-b", "ns-a", "ns-b", "cni", "default")
    for number, name in enumerate(names):
        subnet, ips = f"10.0.{number}.0/24", [f"10.0.{number}.1-10.0.{number}.2"]
        ledger.apply(make_pool(name, subnet, ips=ips, default=name == "default"))
    ledger.apply(make_pool("six", "fd00::/64", ips=["fd00::1-fd00::9"]))
    yield ledger
    check_stream(ledger.stream, ledger.digest())


def pod(
    annotations: Mapping[str, object] | None = None, *, name: str = "web", **more: Any
) -> Document:
    """A Pod of the namespace `shop`; annotations that are not text yet become JSON."""
    written = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in (annotations or {}).items()
    }
    metadata = {"name": name, "namespace": "shop", "annotations": written,
                "labels": more.get("labels", {})}  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": more.get("spec", {})}


def stateful(name: str, replicas: int, pool: str, labels: dict[str, str]) -> Document:
    """A StatefulSet of the namespace `shop` whose Pods draw from a pool."""
    of_pods = {"labels": labels, "annotations": {POOL: json.dumps({"ipv4": [pool]})}}
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": replicas, "template": {"metadata": of_pods}},
    }  # fmt: skip


def namespace(**annotations: list[str]) -> Document:
    """The Namespace `shop` with its default pools of each family, ``ipv4`` and ``ipv6``."""
    written = {
        f"ipam.spidernet.io/default-{family}-ippool": json.dumps(pools)
        for family, pools in annotations.items()
    }
    metadata = {"name": "shop", "annotations": written}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def ask(
    ledger: TestLedger,
    *documents: Document,
    cni: Sequence[str] = (),
    adding: str | None = None,
) -> list[tuple[str, ...] | Refusal]:
    """What the replicas of the manifests get: the addresses of each, or why none."""
    text = "\n---\n".join(map(json.dumps, documents))
    given = Given(interface=adding, pools=read_groups(cni))
    answers: list[tuple[str, ...] | Refusal] = []
    for wish in make_wishes(parse([Source("web.yaml", text)]), given):
        outcome = ledger.run(wish.operation.command, claim=wish.operation.claim)
        if isinstance(outcome, Done):
            answers.append(tuple(lease.text for lease in granted(outcome)))
        elif isinstance(outcome, Held):
            answers.append(tuple(lease.text for lease in outcome.leases))
        else:
            assert isinstance(outcome, Refusal), outcome
            answers.append(outcome)
    return answers


def get(ledger: TestLedger, *documents: Document, **given: Any) -> tuple[str, ...]:
    """The addresses that the only replica of the manifests gets."""
    (answer,) = ask(ledger, *documents, **given)
    assert not isinstance(answer, Refusal), answer
    return answer


def fail(ledger: TestLedger, *documents: Document, **given: Any) -> Refusal:
    """Why the only replica of the manifests gets nothing."""
    (answer,) = ask(ledger, *documents, **given)
    assert isinstance(answer, Refusal), answer
    return answer


# --------------------------------------------------------------------------------- A: annotations


@pytest.mark.parametrize(
    ("annotations", "field"),
    [
        ({POOL: "pod"}, f"{POOL}: it is not JSON"),
        ({POOL: ["pod"]}, f"{POOL}: must be a mapping"),
        ({POOL: {"IPv4": ["pod"]}}, f"{POOL}: unknown field 'IPv4'"),
        ({POOL: {"ipv4": "pod"}}, f"{POOL}: ipv4: must be a list"),
        ({POOL: {"ipv4": [4]}}, f"{POOL}: ipv4[0]: must be text"),
        ({POOL: {}}, f"{POOL}: it names no pool"),
        ({POOLS: {"ipv4": ["pod"]}}, f"{POOLS}: must be a list"),
        ({POOLS: []}, f"{POOLS}: it has no item"),
        ({POOLS: [{"ipv4": ["pod"]}, {}]}, f"{POOLS}: [1]: it names no pool"),
        ({POOLS: [{"ipv4": ["a b"]}]}, f"{POOLS}: [0]: the pool 'a b' is not a name"),
        ({POOLS: [{"ipv4": ["pod"], "gateway": 1}]}, f"{POOLS}: [0]: unknown field 'gateway'"),
        ({POOLS: [{"ipv4": ["pod"], "cleangateway": 1}]}, "[0].cleangateway: must be true or"),
        ({POOLS: [{"ipv4": ["pod", "pod"]}]}, f"{POOLS}: [0]: the pool 'pod' is named twice"),
        ({"ipam.spidernet.io/ippol": {}}, "unknown annotation 'ipam.spidernet.io/ippol'"),
        ({"ipam.spidernet.io/subnet": {}}, "ipam.spidernet.io/subnet is not read"),
    ],
)
def test_a00003_an_invalid_annotation_fails(
    ledger: TestLedger, annotations: dict[str, object], field: str
) -> None:
    """A00003: a value or a key that cannot be meant is refused, and the field is named."""
    with pytest.raises(InvalidInput) as caught:
        ask(ledger, pod(annotations))
    assert field in caught.value.message
    assert "metadata.annotations" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("ns-a", "default-ipv4-ippool: it is not JSON"),
        ('{"ipv4": []}', "default-ipv4-ippool: must be a list"),
        ("[1]", "default-ipv4-ippool: [0]: the pool 1 is not a name"),
        ('["ns-a", "ns-a"]', "default-ipv4-ippool: the pool 'ns-a' is named twice"),
    ],
)
def test_a00003_an_invalid_annotation_of_a_namespace_fails(
    ledger: TestLedger, value: str, field: str
) -> None:
    """A00003, of a Namespace: it holds an array of names, as JSON."""
    shop = namespace(ipv4=["ns-a"])
    shop["metadata"]["annotations"]["ipam.spidernet.io/default-ipv4-ippool"] = value
    with pytest.raises(InvalidInput) as caught:
        ask(ledger, pod(), shop)
    assert field in caught.value.message


def test_a00003_an_unknown_pool_fails_the_whole_request(ledger: TestLedger) -> None:
    """A00003: also if others in the list would do."""
    refusal = fail(ledger, pod({POOL: {"ipv4": ["pod", "nope"]}}))
    assert (refusal.kind, refusal.message) == ("not_found", "pool nope does not exist")


def test_a00004_pod_before_namespace_before_cni_before_default(ledger: TestLedger) -> None:
    """A00004: the first rule that says anything is followed, wherever its document stands."""
    shop = namespace(ipv4=["ns-a"])
    asked = pod({POOL: {"ipv4": ["pod"]}})
    assert get(ledger, asked, shop, cni=["cni"]) == ("10.0.0.1",)
    assert get(ledger, shop, pod(name="b"), cni=["cni"]) == ("10.0.2.1",)
    assert get(ledger, pod(name="c"), namespace(), cni=["cni"]) == ("10.0.4.1",)
    assert get(ledger, pod(name="d"), namespace(ipv4=[])) == ("10.0.5.1",)
    assert get(ledger, pod(name="e"), cni=["cni,pod-b", "six"]) == ("10.0.4.2", "fd00::1")


def test_a00004_there_is_no_falling_through(ledger: TestLedger) -> None:
    """A00004: when the pools of the rule that matches are used up, those of the next stay."""
    ledger.take("pod", number=2, owner="other")
    refusal = fail(ledger, pod({POOL: {"ipv4": ["pod"]}}), namespace(ipv4=["ns-a"]), cni=["cni"])
    assert refusal.message.startswith(f"{USED_OUT}: pool pod has 2 addresses")
    assert ledger.counts("default").free == ledger.counts("cni").free == 2


def test_a00005_ippools_goes_before_ippool(ledger: TestLedger) -> None:
    """A00005: with both annotations the list is followed."""
    both = {POOLS: [{"interface": "eth0", "ipv4": ["pod-b"]}], POOL: {"ipv4": ["pod"]}}
    assert get(ledger, pod(both)) == ("10.0.1.1",)


def test_a00006_the_namespace_goes_before_the_default_pools(ledger: TestLedger) -> None:
    """A00006: both families of it, and not those of another namespace."""
    shop = namespace(ipv4=["ns-a", "ns-b"], ipv6=["six"])
    assert get(ledger, pod(), shop) == ("10.0.2.1", "fd00::1")
    other = pod(name="other")
    other["metadata"]["namespace"] = "bank"
    assert get(ledger, other, shop) == ("10.0.5.1",)


def test_a00007_pools_are_tried_in_order_and_by_wildcard(ledger: TestLedger) -> None:
    """A00007: the order of the list, until one succeeds or all fail; names with wildcards."""
    in_order = {POOL: {"ipv4": ["pod-b", "pod"]}}
    got = [get(ledger, pod(in_order, name=f"p{number}")) for number in range(4)]
    assert got == [("10.0.1.1",), ("10.0.1.2",), ("10.0.0.1",), ("10.0.0.2",)]
    assert fail(ledger, pod(in_order, name="late")).kind == "exhausted"
    shop = namespace(ipv4=["ns-[b-z]", "ns-*"], ipv6=["s?x"])
    got = [get(ledger, pod(name=f"n{number}"), shop) for number in range(3)]
    assert got == [("10.0.3.1", "fd00::1"), ("10.0.3.2", "fd00::2"), ("10.0.2.1", "fd00::3")]
    refusal = fail(ledger, pod(name="x"), namespace(ipv4=["nope-*"]))
    assert (refusal.kind, refusal.message) == (
        "not_found", "no pool of IPv4 is named like nope-*",
    )  # fmt: skip


def test_a00013_the_interface_being_added_must_be_in_the_list(ledger: TestLedger) -> None:
    """A00013: in Spiderpool's words, before anything is granted; one that is there gets its own."""
    two = {POOLS: [{"interface": "eth0", "ipv4": ["pod"]}, {"interface": "net2", "ipv4": ["cni"]}]}
    with pytest.raises(InvalidInput, match="interface net1 must be specified") as caught:
        ask(ledger, pod(two), adding="net1")
    assert "eth0, net2" in caught.value.message
    assert not list(ledger.state.leases())
    assert get(ledger, pod(two), adding="net2") == ("10.0.0.1", "10.0.4.1")
    with pytest.raises(InvalidInput, match="interface net2 must be specified"):
        ask(ledger, pod({POOLS: [{"ipv4": ["pod"]}, {"ipv4": ["cni"]}]}), adding="net2")
    only = {POOL: {"interface": "eth0", "ipv4": ["pod"]}}
    with pytest.raises(InvalidInput, match="interface net1 must be specified"):
        ask(ledger, pod(only), adding="net1")


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([{"interface": "eth0"}, {"interface": "eth0"}], "[1].interface: 'eth0' is there twice"),
        ([{"interface": "eth0"}, {}], "[1].interface is missing"),
        ([{}, {"interface": "net1"}], "[0].interface is missing"),
    ],
)
def test_a00014_interfaces_are_named_once_and_all_or_none(
    ledger: TestLedger, items: list[dict[str, object]], says: str
) -> None:
    """A00014: an interface that is there twice is refused, and so is one that lacks its name."""
    listed = [{**item, "ipv4": ["pod"]} for item in items]
    with pytest.raises(InvalidInput) as caught:
        ask(ledger, pod({POOLS: listed}))
    assert says in caught.value.message


def test_a00015_wildcards_in_ippools(ledger: TestLedger) -> None:
    """A00015: each interface by its own; unnamed they are eth0, net1 and so on."""
    two = {POOLS: [{"ipv4": ["p*"], "ipv6": ["s*"]}, {"ipv4": ["ns-?"], "cleangateway": True}]}
    assert get(ledger, pod(two)) == ("10.0.0.1", "fd00::1", "10.0.2.1")
    leases = ledger.state.leases_of("shop/web")
    assert [lease.interface for lease in leases] == ["eth0", "eth0", "net1"]
    assert get(ledger, pod(two)) == ("10.0.0.1", "fd00::1", "10.0.2.1"), "the same again"
    assert len(list(ledger.state.leases())) == 3


def test_a00016_the_second_interfaces_empty_pool_does_not_drain_the_firsts(
    ledger: TestLedger,
) -> None:
    """A00016: over many retries the first interface's pool loses nothing, in either order."""
    ledger.take("cni", number=2, owner="other")
    for items in (["pod", "cni"], ["cni", "pod"]):
        two = {POOLS: [{"ipv4": [items[0]]}, {"ipv4": [items[1]]}]}
        for retry in range(10):
            refusal = fail(ledger, pod(two, name=f"p{retry % 3}"))
            assert refusal.message.startswith(f"{USED_OUT}: pool cni has 2 addresses")
            assert f"(interface {'net1' if items[1] == 'cni' else 'eth0'})" in refusal.message
            assert ledger.counts("pod").free == 2
    ledger.done(make_release(owner="other"))
    two = {POOLS: [{"ipv4": ["cni"]}, {"ipv4": ["pod"]}]}
    assert get(ledger, pod(two)) == ("10.0.4.1", "10.0.0.1")


def test_two_interfaces_from_one_pool_get_two_addresses(ledger: TestLedger) -> None:
    """Spiderpool gives both the same one."""
    assert get(ledger, pod({POOLS: [{"ipv4": ["pod"]}] * 2})) == ("10.0.0.1", "10.0.0.2")


# ---------------------------------------------------------------------- D: names that pools select


def chosen(ledger: TestLedger, selectors: Selectors, **around: Any) -> str | Refusal:
    """Who runs there and asks for a pool that is for others: its address, or why none."""
    ledger.apply(make_pool("picky", "10.9.0.0/24", ips=["10.9.0.1"], selectors=selectors))
    command = make_allocate(
        "picky", labels=around.pop("labels", ()), requester=Requester(**around)
    )  # fmt: skip
    outcome = ledger.run(command)
    if isinstance(outcome, Refusal):
        return outcome
    assert isinstance(outcome, Done)
    return granted(outcome)[0].text


ZONE_A: Final = Selector((("zone", "a"),))
ZONES: Final = Selector((), (Expression("zone", "In", ("a", "b")),))
A: Final = (("zone", "a"),)
B: Final = (("zone", "b"),)
C: Final = (("zone", "c"),)
NODES: Final = Selectors(node_names=("n1", "n2"))
SPACES: Final = Selectors(namespace_names=("shop",))
NETWORKS: Final = Selectors(multus_names=("kube-system/macvlan",))


@pytest.mark.parametrize(
    ("selectors", "around", "reason"),
    [
        pytest.param(NETWORKS, {"network": "kube-system/macvlan"}, None, id="D00009"),
        pytest.param(NETWORKS, {"network": "kube-system/b"}, "multusName: network", id="D00010"),
        pytest.param(NODES, {"node": "n2"}, None, id="D00011"),
        pytest.param(NODES, {"node": "n3"}, "nodeName: node n3 is not one of n1, n2", id="D00012"),
        pytest.param(NODES._replace(node_affinity=ZONE_A), {"node": "n1", "node_labels": B}, None,
                     id="D00013 let in by name"),
        pytest.param(NODES._replace(node_affinity=ZONE_A), {"node": "n3", "node_labels": A},
                     "nodeName", id="D00013 kept out by name"),
        pytest.param(SPACES, {"namespace": "shop"}, None, id="D00014"),
        pytest.param(SPACES, {"namespace": "bank"}, "namespaceName: namespace bank is not one of",
                     id="D00015"),
        pytest.param(SPACES._replace(namespace_affinity=ZONE_A),
                     {"namespace": "shop", "namespace_labels": B}, None,
                     id="D00016 let in by name"),
        pytest.param(SPACES._replace(namespace_affinity=ZONE_A),
                     {"namespace": "bank", "namespace_labels": A}, "namespaceName",
                     id="D00016 kept out by name"),
        pytest.param(Selectors(node_affinity=ZONES), {"node_labels": B}, None, id="L00001"),
        pytest.param(Selectors(node_affinity=ZONES), {"node_labels": C}, "nodeAffinity: label zone",
                     id="L00002"),
        pytest.param(Selectors(namespace_affinity=ZONES), {"namespace_labels": A}, None,
                     id="L00003"),
        pytest.param(Selectors(namespace_affinity=ZONES), {"namespace_labels": C},
                     "namespaceAffinity: label zone=c of the namespace is not one of a, b",
                     id="L00004"),
        pytest.param(Selectors(pod_affinity=ZONES), {"labels": A}, None, id="L00005"),
        pytest.param(Selectors(pod_affinity=ZONES), {"labels": C}, "podAffinity: label zone=c",
                     id="L00006"),
    ],
)  # fmt: skip
def test_a_pool_is_for_whom_it_selects(
    ledger: TestLedger, selectors: Selectors, around: dict[str, Any], reason: str | None
) -> None:
    """Matched, the address is given; else the refusal says by which selector; a name beats labels.

    D00009, D00010: multusName. D00011, D00012, D00013: nodeName. D00014, D00015, D00016:
    namespaceName. L00001, L00002: nodeAffinity; L00003, L00004: namespaceAffinity; L00005, L00006:
    podAffinity, matched and not.
    """
    answer = chosen(ledger, selectors, **around)
    if reason is None:
        assert answer == "10.9.0.1"
    else:
        assert isinstance(answer, Refusal)
        assert answer.kind == "forbidden"
        assert f"pool picky is not for this request: {reason}" in answer.message


def test_the_network_of_an_interface_is_that_of_its_annotation(ledger: TestLedger) -> None:
    """D00009: as Multus is told; of the further ones, a mere name is of the Pod's namespace."""
    for number, name in enumerate(("kube-system/macvlan", "shop/ipvlan")):
        ips = [f"10.9.{number}.1"]
        selectors = Selectors(multus_names=(name,))
        ledger.apply(make_pool(f"m{number}", f"10.9.{number}.0/24", ips=ips, selectors=selectors))
    asked = pod({
        POOLS: [{"ipv4": ["m0"]}, {"ipv4": ["m1"]}],
        "v1.multus-cni.io/default-network": "kube-system/macvlan",
        "k8s.v1.cni.cncf.io/networks": "ipvlan",
    })  # fmt: skip
    assert get(ledger, asked) == ("10.9.0.1", "10.9.1.1")
    bank = pod(
        {POOL: {"ipv4": ["m1"]}, "v1.multus-cni.io/default-network": "bank/ipvlan"}, name="b"
    )
    assert "network bank/ipvlan is not one of shop/ipvlan" in fail(ledger, bank).message


# ----------------------------------------------------------------------------------- L: affinities


def test_l00007_pods_of_one_kind_in_several_zones(ledger: TestLedger) -> None:
    """L00007: a pool a zone, all of them named: each Pod gets from the pool of its node's zone."""
    for number, zone in enumerate("abc"):
        selectors = Selectors(node_affinity=Selector((("zone", zone),)))
        ips = [f"10.9.{number}.1-10.9.{number}.2"]
        ledger.apply(make_pool(f"zone-{zone}", f"10.9.{number}.0/24", ips=ips, selectors=selectors))
    nodes: list[Document] = [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{zone}", "labels": labels}}
        for zone, labels in ((zone, {"zone": zone}) for zone in "abcd")
    ]
    for number, zone in enumerate("abc"):
        there = pod({POOL: {"ipv4": ["zone-*"]}}, name=f"p-{zone}", spec={"nodeName": f"n{zone}"})
        assert get(ledger, there, *nodes) == (f"10.9.{number}.1",)
    elsewhere = pod({POOL: {"ipv4": ["zone-*"]}}, name="p-d", spec={"nodeName": "nd"})
    message = fail(ledger, elsewhere, *nodes).message
    for zone in "abc":
        why = f"nodeAffinity: label zone=d of the node is not one of {zone}"
        assert f"pool zone-{zone} is not for this request: {why}" in message
    assert {lease.owner: dict(lease.labels)["node"] for lease in ledger.state.leases()} == {
        "shop/p-a": "na", "shop/p-b": "nb", "shop/p-c": "nc",
    }  # fmt: skip


def test_l00008_a_stateful_set_keeps_its_addresses_over_a_restart(ledger: TestLedger) -> None:
    """L00008: its Pods match podAffinity; started again, each has the address that it had."""
    selectors = Selectors(pod_affinity=Selector((("app", "db"),)))
    ledger.apply(make_pool("db", "10.9.0.0/24", ips=["10.9.0.1-10.9.0.3"], selectors=selectors))
    three = stateful("db", 3, "db", {"app": "db"})
    first = ask(ledger, three)
    assert first == [("10.9.0.1",), ("10.9.0.2",), ("10.9.0.3",)]
    assert ask(ledger, three) == first
    for number in (2, 0, 1):  # a new incarnation of each, in any order
        owner = f"shop/db-{number}"
        (lease,) = ledger.state.leases_of(owner)
        again = ledger.take("db", owner=owner, uid="new", labels=lease.labels)
        assert again == [lease.text]
    (other,) = ask(ledger, stateful("web", 1, "db", {"app": "web"}))
    assert isinstance(other, Refusal)
    assert "podAffinity: label app=web of the pod is not one of db" in other.message


def test_l00009_several_pools_in_a_namespace_and_namespaces_in_a_pool(ledger: TestLedger) -> None:
    """L00009: two pools are for `shop`, and one of them for `bank`, too."""
    for number, names in enumerate([("shop",), ("shop", "bank")]):
        ips = [f"10.9.{number}.1-10.9.{number}.2"]
        selectors = Selectors(namespace_names=names)
        ledger.apply(make_pool(f"l{number}", f"10.9.{number}.0/24", ips=ips, selectors=selectors))
    both = {POOL: {"ipv4": ["l*"]}}
    got = [get(ledger, pod(both, name=f"p{number}")) for number in range(3)]
    assert got == [("10.9.0.1",), ("10.9.0.2",), ("10.9.1.1",)]
    bank = pod(both, name="b")
    bank["metadata"]["namespace"] = "bank"
    assert get(ledger, bank) == ("10.9.1.2",)
    refusal = fail(ledger, bank | {"metadata": {**bank["metadata"], "name": "b2"}})
    assert refusal.kind == "exhausted"
    assert "pool l0 is not for this request: namespaceName" in refusal.message


# ------------------------------------------------------------------------------ E: what is assigned


def test_e00008_a_workload_whose_pool_is_used_up_is_told(ledger: TestLedger) -> None:
    """E00008: those that fit get theirs, the others the known words."""
    *got, last = ask(ledger, stateful("db", 3, "pod", {}))
    assert got == [("10.0.0.1",), ("10.0.0.2",)]
    assert isinstance(last, Refusal)
    assert last.message == f"{USED_OUT}: pool pod has 2 addresses: 2 leased"


def test_e00009_e00010_only_ipv4_where_there_are_both(ledger: TestLedger) -> None:
    """E00009, E00010: an annotation of IPv4 pools alone gets IPv4 alone, by name or by pattern.

    E00010 asks by subnet, which we have none of: a pattern of pools takes its place.
    """
    ledger.apply(make_pool("six", "fd00::/64", ips=["fd00::1-fd00::9"], default=True))
    assert get(ledger, pod({POOL: {"ipv4": ["pod"]}})) == ("10.0.0.1",)
    assert get(ledger, pod({POOL: {"ipv4": ["*i*"]}}, name="b")) == ("10.0.4.1",)
    assert get(ledger, pod(name="c")) == ("10.0.5.1", "fd00::1"), "unless nothing is said"
