"""A dump of Spiderpool: leases from its pools, and what its endpoints add to them."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
import yaml

from engine.addresses import format_address
from engine.commands import PutPool, PutReservation
from engine.errors import InvalidInput
from ipledger.importing.documents import read_objects
from ipledger.importing.found import Found
from ipledger.manifests import Source

API: Final = "spiderpool.spidernet.io/v2beta1"
CREATED_MS: Final = 1_793_491_200_000  # 2026-11-01
NOW_MS: Final = CREATED_MS + 3_600_000


def pool(name: str = "a", leases: dict[str, Any] | None = None) -> dict[str, Any]:
    """A pool with leases by address, as `kubectl get -o json` prints it."""
    return {
        "apiVersion": API, "kind": "SpiderIPPool",
        "metadata": {"name": name, "managedFields": [], "uid": "x"},
        "spec": {"subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.99"]},
        "status": {"allocatedIPs": json.dumps(leases or {}), "totalIPCount": 99},
    }  # fmt: skip


def pod(name: str = "ns/web-0", uid: str = "u0", **more: str) -> dict[str, str]:
    """A lease as a pool has it."""
    return {"pod": name, "podUid": uid, **more}


def endpoint(
    name: str = "web-0", uid: str = "u0", kind: str = "ReplicaSet", ip: str = "10.0.0.5/24",
    interface: str = "net1",
) -> dict[str, Any]:  # fmt: skip
    """A SpiderEndpoint of a Pod in ``ns``."""
    return {
        "apiVersion": API, "kind": "SpiderEndpoint",
        "metadata": {"name": name, "namespace": "ns", "creationTimestamp": "2026-11-01T00:00:00Z"},
        "status": {
            "ownerControllerType": kind, "ownerControllerName": "web",
            "current": {"uid": uid, "node": "n7", "ips": [
                {"interface": interface, "ipv4": ip, "ipv4Pool": "a", "vlan": 0},
                {"interface": "eth0", "ipv4": None, "ipv6": ""},
            ]},
        },
    }  # fmt: skip


def listed(*items: dict[str, Any]) -> dict[str, Any]:
    """As `kubectl get` prints several kinds."""
    return {"apiVersion": "v1", "kind": "List", "items": list(items), "metadata": {}}


def read(*items: dict[str, Any], cluster: str | None = None, now_ms: int = NOW_MS) -> Found:
    """Read a dump."""
    return read_objects([Source("dump", json.dumps(listed(*items), indent=4))], now_ms, cluster)


def test_a_pool_says_who_holds_what() -> None:
    """Owner, uid and labels as `allocate -f` makes them; what else is said is passed over."""
    reserved = {"apiVersion": API, "kind": "SpiderReservedIP", "metadata": {"name": "r"},
                "spec": {"ips": ["10.0.0.9"]}}  # fmt: skip
    found = read(pool(leases={"10.0.0.5": pod(interface="net9", node="old")}), reserved)
    assert [type(one) for one in found.objects] == [PutPool, PutReservation]
    assert not found.warnings
    (entry,) = found.leases
    assert entry.where == "dump, document 1, item 1 (SpiderIPPool a), 10.0.0.5"
    lease = entry.lease
    assert format_address(lease.address) == "10.0.0.5"
    assert (lease.owner, lease.uid, lease.interface, lease.pool) == ("ns/web-0", "u0", "net9", "a")
    assert lease.labels == (("namespace", "ns"),)
    assert (lease.cluster, lease.effective_at_ms, lease.ttl_s) == (None, None, None)


def test_an_endpoint_adds_what_it_knows() -> None:
    """Interface, node, and since when; a cluster goes before the Pod's name."""
    found = read(pool(leases={"10.0.0.5": pod()}), endpoint(), cluster="c1")
    lease = found.leases[0].lease
    assert (lease.owner, lease.cluster, lease.interface) == ("c1/ns/web-0", "c1", "net1")
    assert lease.labels == (("namespace", "ns"), ("node", "n7"))
    assert lease.effective_at_ms == CREATED_MS


@pytest.mark.parametrize("other", [{"uid": "u1"}, {"kind": "StatefulSet"}])
def test_since_when_is_said_only_if_it_is_known(other: dict[str, str]) -> None:
    """An endpoint of another incarnation, or one that outlives its Pods, does not tell."""
    found = read(pool(leases={"10.0.0.5": pod()}), endpoint(**other))
    assert found.leases[0].lease.effective_at_ms is None


def test_what_has_just_begun_is_not_of_a_time_to_come() -> None:
    """The clock there may be ahead by some minutes; by an hour, something is wrong."""
    items = pool(leases={"10.0.0.5": pod()}), endpoint()
    soon, far = (read(*items, now_ms=CREATED_MS - ms) for ms in (300_000, 3_600_000))
    assert soon.leases[0].lease.effective_at_ms is None
    assert far.leases[0].lease.effective_at_ms == CREATED_MS


def test_an_address_that_no_pool_records_is_told() -> None:
    """A Pod has it and nothing keeps it from others: somebody must look."""
    (warning,) = read(pool(), endpoint()).warnings
    assert "10.0.0.5 of ns/web-0" in warning


def test_every_form_of_a_dump() -> None:
    """YAML and JSON, as lists of kinds, as documents, and one object a line."""
    items = [pool(leases={"10.0.0.5": pod()}), endpoint()]
    expected = [entry.lease for entry in read(*items).leases]
    kinds = [{"apiVersion": API, "kind": f"{item['kind']}List", "items": [item]} for item in items]
    for text in (
        yaml.safe_dump(listed(*items)), yaml.safe_dump_all(items), yaml.safe_dump_all(kinds),
        "\n".join(map(json.dumps, items)), "\n\n".join(map(json.dumps, kinds)) + "\n",
    ):  # fmt: skip
        found = read_objects([Source("dump", text)], NOW_MS)
        assert [entry.lease for entry in found.leases] == expected
    two = [Source("p", json.dumps(items[0])), Source("e", json.dumps(items[1]))]
    assert [entry.lease for entry in read_objects(two, NOW_MS).leases] == expected


def broken(**status: Any) -> dict[str, Any]:
    """A pool whose status says something else."""
    return {**pool(), "status": status}


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (broken(allocatedIPs="{"), "status.allocatedIPs is not JSON"),
        (broken(allocatedIPs="[1]"), "not a mapping"),
        (broken(allocatedIPs='{"10.0.0.1": {}}'), "pod is missing"),
        (broken(allocatedIPs='{"10.0.0.1": 5}'), "must be a mapping"),
        (broken(allocatedIPs='{"10.0.0.1": {"pod": "x"}}'), "is not NAMESPACE/NAME"),
        (broken(allocatedIPs='{"10.0.0.1": {"pod": "a/b", "podUid": 7}}'), "must be text"),
        (broken(allocatedIPs='{"x": {"pod": "a/b"}}'), "is not an IP address"),
        (broken(allocatedIPs='{"10.0.0.1": {"pod": "a/b"}, "10.0.0.1": {}}'), "twice"),
        ({**endpoint(), "status": 5}, "status: must be a mapping"),
        (endpoint(ip="nowhere"), "ipv4: "),
        ({"apiVersion": API, "kind": "SpiderSubnet", "metadata": {"name": "s"}}, "is not known"),
        ({**pool(), "metadata": {}}, "name is missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(item: dict[str, Any], told: str) -> None:
    """The message names the document and the field."""
    with pytest.raises(InvalidInput) as refused:
        read(item)
    assert told in refused.value.message
    assert "dump, document 1" in refused.value.message


def test_an_address_in_two_pools_is_refused() -> None:
    """Spiderpool's own pools cannot overlap, but two dumps can."""
    with pytest.raises(InvalidInput, match="its address is there already"):
        read(pool("a", {"10.0.0.5": pod()}), pool("b", {"10.0.0.5": pod("ns/b")}))


def test_a_workload_is_not_imported() -> None:
    """It asks for addresses and has none; and nothing is nothing."""
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": "p", "annotations": {"ipam.spidernet.io/ippool": '{"ipv4": ["a"]}'}}}  # fmt: skip
    with pytest.raises(InvalidInput, match="it asks for addresses"):
        read(made)
    with pytest.raises(InvalidInput, match="nothing to import"):
        read()
