"""Pools and reservations are read from manifests exactly, or refused naming document and field."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.addresses import RangeSet, parse_address, parse_subnet
from engine.commands import PutPool, PutReservation
from engine.errors import InvalidInput
from engine.model import Expression, PoolSpec, ReservationSpec, Route, Selector, Selectors
from ipledger.manifests import Parsed, Source, parse

SPIDERPOOL: Final = "spiderpool.spidernet.io/v2beta1"


def manifest(kind: str, spec: object, **others: object) -> dict[str, object]:
    """A manifest of a kind as plain data, named p; other fields are put beside."""
    api_version = "ipledger/v1" if kind in {"Pool", "Reservation"} else SPIDERPOOL
    base = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "p"}, "spec": spec}
    return {**base, **others}


def read(*documents: object) -> Parsed:
    """What documents mean, one after the other in one file."""
    return parse([Source("pools.yaml", "\n---\n".join(json.dumps(data) for data in documents))])


def read_spec(kind: str, spec: object) -> PoolSpec | ReservationSpec:
    """What the spec of a single manifest means."""
    parsed = read(manifest(kind, spec))
    assert not parsed.warnings
    (put,) = parsed.objects
    assert put.name == "p"
    return put.spec


def refusal(*documents: object) -> InvalidInput:
    """The error that documents are refused with."""
    with pytest.raises(InvalidInput) as caught:
        read(*documents)
    return caught.value


FULL_SPIDER_POOL: Final = """\
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata:
  name: full
  labels: {team: web, ipam.spidernet.io/ippool-cidr: 172-18-41-0-24}
spec:
  ipVersion: 4
  subnet: 172.18.41.0/24
  ips: [172.18.41.40-172.18.41.50, 172.18.41.60]
  excludeIPs: [172.18.41.45]
  gateway: 172.18.41.1
  routes:
  - {dst: 10.0.0.0/8, gw: 172.18.41.2}
  disable: true
  default: true
  podAffinity:
    matchLabels: {app: web}
    matchExpressions:
    - {key: tier, operator: In, values: [front, back]}
    - {key: old, operator: DoesNotExist}
  namespaceAffinity: {matchLabels: {zone: a}}
  nodeAffinity: {matchExpressions: [{key: gpu, operator: Exists}]}
  namespaceName: [shop, blog]
  nodeName: [node-1]
  multusName: [kube-system/macvlan]
"""


def test_every_field_of_a_spider_pool_is_read() -> None:
    """A manifest that uses all of v2beta1 arrives complete and in order."""
    parsed = parse([Source("full.yaml", FULL_SPIDER_POOL)])
    subnet = parse_subnet("172.18.41.0/24")
    spec = PoolSpec(
        subnet=subnet,
        ips=RangeSet.parse(["172.18.41.40-172.18.41.50", "172.18.41.60"]),
        exclude_ips=RangeSet.parse(["172.18.41.45"]),
        gateway=parse_address("172.18.41.1"),
        routes=(Route(parse_subnet("10.0.0.0/8"), parse_address("172.18.41.2")),),
        disabled=True,
        default=True,
        selectors=Selectors(
            pod_affinity=Selector(
                (("app", "web"),),
                (
                    Expression("tier", "In", ("front", "back")),
                    Expression("old", "DoesNotExist", ()),
                ),
            ),
            namespace_affinity=Selector((("zone", "a"),)),
            node_affinity=Selector((), (Expression("gpu", "Exists", ()),)),
            namespace_names=("shop", "blog"),
            node_names=("node-1",),
            multus_names=("kube-system/macvlan",),
        ),
        labels=(("ipam.spidernet.io/ippool-cidr", "172-18-41-0-24"), ("team", "web")),
    )
    assert parsed == Parsed((PutPool("full", spec),), (), ())


def test_an_own_pool_has_more_fields() -> None:
    """Our own kind takes blocks, a policy and durations as texts or seconds, beside the rest."""
    spec = read_spec(
        "Pool",
        {
            "subnet": "fd00::/64", "ips": ["fd00::/65"], "excludeIPs": ["fd00::/120"],
            "policy": "sticky", "cooldown": "1h30m", "ttl": 90, "sticky": "7d",
        },
    )  # fmt: skip
    assert spec == PoolSpec(
        subnet=parse_subnet("fd00::/64"),
        ips=RangeSet.parse(["fd00::/65"], allow_cidr=True),
        exclude_ips=RangeSet.parse(["fd00::/120"], allow_cidr=True),
        policy="sticky",
        cooldown_s=5_400,
        ttl_s=90,
        sticky_s=604_800,
    )


def test_both_kinds_of_reservation_are_read() -> None:
    """A SpiderReservedIP has addresses; our own has an owner, a reason and an end as well."""
    ips = RangeSet.parse(["10.0.0.1-10.0.0.9"])
    spider = {"ips": ["10.0.0.1-10.0.0.5", "10.0.0.6-10.0.0.9"], "ipVersion": 4}
    assert read_spec("SpiderReservedIP", spider) == ReservationSpec(ips)
    own = {"ips": ["10.0.0.0/30"], "owner": "shop/redis", "reason": "the old box", "for": "30m"}
    assert read_spec("Reservation", own) == ReservationSpec(
        RangeSet.parse(["10.0.0.0-10.0.0.3"]), "shop/redis", "the old box", 1_800
    )


def test_null_is_absent() -> None:
    """A field without a value is as good as left out."""
    nulls = dict.fromkeys(["ips", "excludeIPs", "gateway", "routes", "ipVersion", "default", "ttl"])
    spec = read_spec("Pool", {"subnet": "10.0.0.0/24", **nulls})
    assert spec == PoolSpec(parse_subnet("10.0.0.0/24"), RangeSet(4), RangeSet(4))


PRINTED_BY_KUBECTL: Final = """\
apiVersion: v1
items:
- apiVersion: spiderpool.spidernet.io/v2beta1
  kind: SpiderIPPool
  metadata:
    annotations:
      kubectl.kubernetes.io/last-applied-configuration: |
        {"apiVersion":"spiderpool.spidernet.io/v2beta1","kind":"SpiderIPPool"}
    creationTimestamp: "2026-07-08T09:10:11Z"
    finalizers:
    - spiderpool.spidernet.io
    generation: 2
    managedFields:
    - apiVersion: spiderpool.spidernet.io/v2beta1
      fieldsType: FieldsV1
      fieldsV1: {"f:spec": {".": {}, "f:ips": {}}}
      manager: kubectl
      operation: Update
      time: "2026-07-08T09:10:11Z"
    name: test-ipv4-ippool
    namespace: ""
    resourceVersion: "1234"
    uid: 0a1b2c3d-0000-4000-8000-000000000001
  spec:
    default: false
    disable: false
    ipVersion: 4
    ips:
    - 172.18.42.41-172.18.42.50
    subnet: 172.18.42.0/24
    vlan: 0
  status:
    allocatedIPCount: 4
    allocatedIPs: '{"172.18.42.41":{"pod":"default/a","podUid":"1"},"172.18.42.42":{},
      "172.18.42.43":{},"172.18.42.44":{}}'
    totalIPCount: 10
- apiVersion: spiderpool.spidernet.io/v2beta1
  kind: SpiderReservedIP
  metadata:
    deletionGracePeriodSeconds: 0
    deletionTimestamp: "2026-07-08T09:10:12Z"
    name: test-ipv4-reservedip
  spec:
    ipVersion: 4
    ips:
    - 172.18.42.41-172.18.42.49
kind: List
metadata:
  resourceVersion: ""
"""


def test_a_list_as_kubectl_prints_it_is_read() -> None:
    """What the API server added is passed over; what matters beyond the definition is told."""
    parsed = parse([Source("<stdin>", PRINTED_BY_KUBECTL)])
    assert [type(put) for put in parsed.objects] == [PutPool, PutReservation]
    assert [put.name for put in parsed.objects] == ["test-ipv4-ippool", "test-ipv4-reservedip"]
    vlan, leases, deleted = parsed.warnings
    pool = "<stdin>, document 1, item 1 (SpiderIPPool test-ipv4-ippool): "
    assert vlan.startswith(f"{pool}spec.vlan is ignored")
    assert leases.startswith(
        f"{pool}4 ADDRESSES ARE IN USE ELSEWHERE, says status.allocatedIPs: "
        "'172.18.42.41', '172.18.42.42', '172.18.42.43' and 1 more."
    )
    assert deleted == (
        "<stdin>, document 1, item 2 (SpiderReservedIP test-ipv4-reservedip): "
        "metadata.deletionTimestamp says that it was being deleted where it came from"
    )


def test_a_typed_list_says_what_its_items_are() -> None:
    """Items of a SpiderIPPoolList need not repeat their kind; an empty list is no error."""
    item = {"metadata": {"name": "p"}, "spec": {"subnet": "10.0.0.0/24"}}
    listed = {"apiVersion": SPIDERPOOL, "kind": "SpiderIPPoolList", "items": [item]}
    assert [put.name for put in read(listed).objects] == ["p"]
    assert read({"apiVersion": "v1", "kind": "List", "items": []}) == Parsed((), (), ())


@pytest.mark.parametrize(
    ("status", "warning"),
    [
        ({"allocatedIPs": '{"10.0.0.1": {}}'}, "1 ADDRESS IS IN USE ELSEWHERE"),
        ({"allocatedIPs": '{"10.0.0.1": {}, "10.0.0.2": {}}'}, "2 ADDRESSES ARE IN USE ELSEWHERE"),
        ({"allocatedIPs": {"10.0.0.1": {}}}, "1 ADDRESS IS IN USE ELSEWHERE"),
        ({"allocatedIPs": "{broken"}, "ADDRESSES MAY BE IN USE ELSEWHERE"),
        ({"allocatedIPs": "[" * 100_000}, "ADDRESSES MAY BE IN USE ELSEWHERE"),
        ({"allocatedIPs": '["10.0.0.1"]'}, "ADDRESSES MAY BE IN USE ELSEWHERE"),
        ({"allocatedIPs": 5}, "ADDRESSES MAY BE IN USE ELSEWHERE"),
        ({"allocatedIPs": "{}"}, None),
        ({"allocatedIPs": ""}, None),
        ({"allocatedIPs": None}, None),
        ({}, None),
        (None, None),
    ],
)
def test_leases_of_elsewhere_are_warned_of(status: object, warning: str | None) -> None:
    """Addresses that another cluster gave out are never passed over in silence."""
    parsed = read(manifest("SpiderIPPool", {"subnet": "10.0.0.0/24"}, status=status))
    assert len(parsed.warnings) == (warning is not None)
    assert warning is None or warning in parsed.warnings[0]


def test_errors_name_file_document_object_and_field() -> None:
    """The whole address of a fault stands in front of it, and a hint behind it."""
    good = manifest("SpiderIPPool", {"subnet": "10.0.0.0/24"})
    bad = manifest(
        "SpiderIPPool",
        {"subnet": "10.0.0.0/24", "ips": ["10.0.0.9-10.0.0.1"]},
        metadata={"name": "use-excludeips"},
    )
    error = refusal(good, bad)
    assert error.message == (
        "pools.yaml, document 2 (SpiderIPPool use-excludeips): spec.ips: "
        "'10.0.0.9-10.0.0.1': the range is reversed (V10)"
    )
    assert error.hint == "write 10.0.0.1-10.0.0.9"
    listed = {"apiVersion": "v1", "kind": "List", "items": [good, bad]}
    assert refusal(listed).message.startswith("pools.yaml, document 1, item 2 (SpiderIPPool use-")


def test_a_syntax_error_names_file_and_place() -> None:
    """What is not YAML has no document to name: file, line and column must do."""
    with pytest.raises(InvalidInput) as caught:
        parse([Source("good.yaml", FULL_SPIDER_POOL), Source("bad.yaml", "a: [1\n")])
    message = "bad.yaml: line 2, column 1: did not find expected ',' or ']'"
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("kind", "spec", "message", "hint"),
    [
        ("SpiderIPPool", {"exludeIPs": []}, ": unknown field 'exludeIPs'", "mean excludeIPs?"),
        ("SpiderIPPool", {"zzz": 1}, ": unknown field 'zzz'", "known: subnet, ips"),
        ("SpiderIPPool", {"ttl": 1}, ": unknown field 'ttl'", ""),
        ("SpiderReservedIP", {"subnet": "10.0.0.0/24"}, ": unknown field 'subnet'", "ips"),
        ("SpiderReservedIP", {"owner": "x"}, ": unknown field 'owner'", "ips"),
        ("Pool", {"vlan": 1}, ": unknown field 'vlan'", ""),
        ("Pool", {"a\n" * 100: 1}, ": unknown field 'a\\na\\n", ""),
        ("SpiderIPPool", {}, ".subnet is missing", "subnet: 172.18.41.0/24"),
        ("SpiderIPPool", {"subnet": None}, ".subnet is missing", ""),
        ("SpiderIPPool", {"subnet": 10}, ".subnet: must be text, not 10", "quotes"),
        ("SpiderIPPool", {"subnet": "10.0.0.1/24"}, ".subnet: '10.0.0.1/24': not", ""),
        ("SpiderIPPool", {"ips": "10.0.0.1"}, ".ips: must be a list, not '10.0.0.1'", "- "),
        ("SpiderIPPool", {"ips": [1.5]}, ".ips[0]: must be text, not 1.5", "quotes"),
        ("SpiderIPPool", {"ips": ["10.0.0.1", None]}, ".ips[1]: must be text, not nothing", ""),
        ("SpiderIPPool", {"ips": [""]}, ".ips: '': an address is missing (V10)", ""),
        ("SpiderIPPool", {"ips": ["10.0.0.0/30"]}, ".ips: '10.0.0.0/30': a subnet is not", ""),
        ("SpiderIPPool", {"ips": ["10.0.1.1"]}, ".ips: '10.0.1.1': not inside", ""),
        ("SpiderIPPool", {"excludeIPs": {}}, ".excludeIPs: must be a list, not a mapping", ""),
        ("SpiderIPPool", {"gateway": ["x"]}, ".gateway: must be text, not a list", ""),
        ("SpiderIPPool", {"gateway": "10.1.0.1"}, ".gateway: '10.1.0.1' is not in", ""),
        ("SpiderIPPool", {"ipVersion": "4"}, ".ipVersion: must be a whole number, not '4'", ""),
        ("SpiderIPPool", {"ipVersion": True}, ".ipVersion: must be a whole number, not true", ""),
        ("SpiderIPPool", {"ipVersion": 6}, ".ipVersion: 6 is not that of subnet", ""),
        ("SpiderIPPool", {"disable": "yes"}, ".disable: must be true or false, not 'yes'", ""),
        ("SpiderIPPool", {"default": 1}, ".default: must be true or false, not 1", ""),
        ("SpiderIPPool", {"routes": [1]}, ".routes[0]: must be a mapping, not 1", ""),
        ("SpiderIPPool", {"routes": [{"dst": "10.0.0.0/8"}]}, ".routes[0].gw is missing", "gw:"),
        ("SpiderIPPool", {"routes": [{"via": "x"}]}, ".routes[0]: unknown field 'via'", ""),
        (
            "SpiderIPPool",
            {"routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]},
            ".routes[0].dst",
            "",
        ),
        ("SpiderIPPool", {"podAffinity": {}}, ".podAffinity: it is present but empty", ""),
        ("SpiderIPPool", {"podAffinity": []}, ".podAffinity: must be a mapping, not a list", ""),
        (
            "SpiderIPPool",
            {"podAffinity": {"matchLabel": {}}},
            ".podAffinity: unknown field 'matchLabel'",
            "",
        ),
        (
            "SpiderIPPool",
            {"podAffinity": {"matchLabels": {"a": 1}}},
            ".podAffinity.matchLabels",
            "",
        ),
        (
            "SpiderIPPool",
            {"nodeAffinity": {"matchExpressions": [{"key": "a"}]}},
            ".nodeAffinity.matchExpressions[0].operator is missing",
            "NotIn",
        ),
        ("SpiderIPPool", {"namespaceName": ["a\n"]}, ".namespaceName[0] 'a\\n' has the con", ""),
        ("SpiderIPPool", {"nodeName": "n"}, ".nodeName: must be a list", ""),
        ("SpiderReservedIP", {}, ".ips: a reservation needs at least one address", ""),
        ("SpiderReservedIP", {"ips": ["10.0.0.1", "fd00::1"]}, ".ips: 'fd00::1': this is", ""),
        ("Reservation", {"ips": ["10.0.0.1"], "for": "5"}, ".for: '5' is not a duration", "90s"),
        ("Reservation", {"ips": ["10.0.0.1"], "owner": ""}, ".owner is empty", ""),
        ("Reservation", {"ips": ["10.0.0.1"], "reason": 5}, ".reason: must be text, not 5", ""),
        ("Pool", {"policy": "best"}, ".policy: 'best' is not a policy", "lowest"),
        ("Pool", {"cooldown": "1.5h"}, ".cooldown: '1.5h' is not a duration", "90s"),
        ("Pool", {"ttl": 0}, ".ttl: 0 seconds is shorter than 1 s", ""),
        ("Pool", {"ttl": [1]}, ".ttl: a duration is wanted, not list", ""),
        ("Pool", {"sticky": "101y"}, ".sticky: '101y' is not a duration", ""),
    ],
)
def test_a_wrong_field_of_the_spec_is_refused(
    kind: str, spec: dict[str, object], message: str, hint: str
) -> None:
    """Unknown, missing, mistyped and unacceptable fields are each named by their full name."""
    if kind.endswith("Pool") and "subnet" not in spec and "missing" not in message[:20]:
        spec = {"subnet": "10.0.0.0/24", **spec}
    error = refusal(manifest(kind, spec))
    assert error.message.startswith(f"pools.yaml, document 1 ({kind} p): spec{message}")
    assert len(error.message) < 300
    assert hint in error.hint


def test_a_pool_without_cooldown_may_say_so() -> None:
    """A cooldown of nothing is what a pool has by default, so it can be written."""
    spec = read_spec("Pool", {"subnet": "10.0.0.0/24", "cooldown": "0s"})
    assert isinstance(spec, PoolSpec)
    assert spec.cooldown_s == 0


@pytest.mark.parametrize(
    ("document", "message", "hint"),
    [
        ("text", "document 1: must be a mapping, not 'text'", ""),
        (["a"], "document 1: must be a mapping, not a list", ""),
        ({}, "document 1: kind is missing", "SpiderIPPool"),
        ({"kind": 5}, "document 1: kind: must be text, not 5", ""),
        ({"kind": ["List"]}, "document 1: kind: must be text, not a list", ""),
        (
            {"kind": "DaemonSet", "apiVersion": "apps/v1"},
            "document 1: kind 'DaemonSet' (apiVersion 'apps/v1') is not known",
            "SpiderIPPool, SpiderReservedIP, Pool, Reservation, Deployment",
        ),
        ({"kind": "X"}, "document 1: kind 'X' (apiVersion nothing) is not known", "Pod"),
        ({"kind": "Pool"}, "document 1 (Pool): apiVersion is missing", "ipledger/v1"),
        (
            manifest("SpiderIPPool", {}, apiVersion="spiderpool.spidernet.io/v1"),
            "document 1 (SpiderIPPool): apiVersion 'spiderpool.spidernet.io/v1' is not supported",
            "v2beta1",
        ),
        (manifest("Pool", {}, metadata=None), "document 1 (Pool): metadata.name is missing", ""),
        (manifest("Pool", {}, metadata=[]), "document 1 (Pool): metadata: must be a mapping", ""),
        (manifest("Pool", {}, metadata={}), "document 1 (Pool): metadata.name is missing", ""),
        (
            manifest("Pool", {}, metadata={"generateName": "p-"}),
            "document 1 (Pool): metadata.name is missing",
            "",
        ),
        (
            manifest("Pool", {}, metadata={"name": "a b"}),
            "document 1 (Pool): metadata.name 'a b' is not a name",
            "letters",
        ),
        (
            manifest("Pool", {}, metadata={"name": "p", "label": {}}),
            "document 1 (Pool p): metadata: unknown field 'label'",
            "mean labels?",
        ),
        (
            manifest("Pool", {}, metadata={"name": "p", "labels": {"a": 1}}),
            "document 1 (Pool p): metadata.labels: label 'a' must be text, not 1",
            "quotes",
        ),
        (manifest("Pool", {}, sepc={}), "document 1 (Pool p): unknown field 'sepc'", "mean spec?"),
        (manifest("Pool", None), "document 1 (Pool p): spec is missing", "subnet"),
        (manifest("Pool", []), "document 1 (Pool p): spec: must be a mapping, not a list", ""),
        (manifest("SpiderIPPool", {"subnet": "10.0.0.0/8"}, status=1), "document 1 (Spider", ""),
        ({"kind": "List", "apiVersion": "v2"}, "document 1 (List): apiVersion 'v2' is not", "v1"),
        ({"kind": "List", "apiVersion": "v1"}, "document 1 (List): items is missing", ""),
        (
            {"kind": "List", "apiVersion": "v1", "items": {}},
            "document 1 (List): items: must be a list, not a mapping",
            "",
        ),
        (
            {"kind": "List", "apiVersion": "v1", "items": [1]},
            "document 1, item 1: must be a mapping, not 1",
            "",
        ),
        (
            {"kind": "List", "apiVersion": "v1", "items": [{"kind": "List", "apiVersion": "v1"}]},
            "document 1, item 1: kind 'List' (apiVersion 'v1') is not known",
            "",
        ),
    ],
)
def test_a_document_that_is_no_manifest_is_refused(
    document: object, message: str, hint: str
) -> None:
    """Whatever a document lacks to be one of our kinds is named, with what would do."""
    error = refusal(document)
    assert error.message.startswith(f"pools.yaml, {message}")
    assert hint in error.hint


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n---\n", "null\n"])
def test_a_file_without_a_manifest_is_refused(text: str) -> None:
    """An empty file is a mistake, not a wish for nothing."""
    with pytest.raises(InvalidInput) as caught:
        parse([Source("empty.yaml", text)])
    assert caught.value.message == "empty.yaml: it holds no manifest"


def test_empty_documents_are_passed_over_but_counted() -> None:
    """A separator too many is harmless, and the numbers in messages stay those of the file."""
    good = json.dumps(manifest("Pool", {"subnet": "10.0.0.0/24"}))
    parsed = parse([Source("a.yaml", f"---\n# nothing\n---\n{good}\n---\n")])
    assert len(parsed.objects) == 1
    with pytest.raises(InvalidInput, match="document 3: must be"):
        parse([Source("a.yaml", f"---\n# nothing\n---\n{good}\n---\nx\n")])


def test_an_object_is_defined_once() -> None:
    """A second definition of the same object is refused naming both, whatever kind spells it."""
    pool = manifest("SpiderIPPool", {"subnet": "10.0.0.0/24"})
    own = manifest("Pool", {"subnet": "10.0.0.0/24"})
    with pytest.raises(InvalidInput) as caught:
        parse([Source("a.yaml", json.dumps(pool)), Source("b.yaml", json.dumps(own))])
    assert caught.value.message == (
        "b.yaml, document 1 (Pool p): it is defined already by a.yaml, document 1 (SpiderIPPool p)"
    )
    reservation = manifest("Reservation", {"ips": ["10.0.0.1"]})
    assert len(read(pool, reservation).objects) == 2, "a pool and a reservation may share a name"


def test_three_hundred_manifests_are_read_quickly() -> None:
    """A file of 300 manifests takes some 40 ms; ten times that would be a fault of the code."""
    text = "---\n".join(FULL_SPIDER_POOL.replace("name: full", f"name: p{i}") for i in range(300))
    started = time.process_time()
    assert len(parse([Source("many.yaml", text)]).objects) == 300
    assert time.process_time() - started < 0.5


def test_reading_manifests_is_imported_without_yaml() -> None:
    """PyYAML is loaded when the first text is read: completion and --help do without."""
    program = "import sys, ipledger.manifests; sys.exit('yaml' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


NAMES: Final = [
    "apiVersion", "kind", "metadata", "spec", "status", "items", "name", "namespace", "labels",
    "annotations", "subnet", "ips", "excludeIPs", "gateway", "routes", "dst", "gw", "ipVersion",
    "disable", "default", "podAffinity", "matchLabels", "matchExpressions", "key", "operator",
    "values", "namespaceName", "vlan", "policy", "cooldown", "ttl", "owner", "for", "replicas",
    "template", "ipam.spidernet.io/ippool", "allocatedIPs", "deletionTimestamp",
]  # fmt: skip
VALUES: Final = [
    SPIDERPOOL, "ipledger/v1", "apps/v1", "v1", "SpiderIPPool", "SpiderReservedIP", "Pool", "Pod",
    "Reservation", "Deployment", "List", "SpiderIPPoolList", "p", "10.0.0.0/24", "fd00::/64",
    "10.0.0.1", "10.0.0.1-10.0.0.9", "fd00::1", "1h", "In", "Exists", '{"ipv4": ["p"]}', "{}", "[",
]  # fmt: skip

ANYTHING: Final[st.SearchStrategy[Any]] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(VALUES),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=12,
)
PLAUSIBLE: Final = st.fixed_dictionaries(
    {
        "apiVersion": st.sampled_from([SPIDERPOOL, "ipledger/v1", "apps/v1", "v1"]),
        "kind": st.sampled_from(["SpiderIPPool", "Pool", "Reservation", "Deployment", "Pod"]),
        "metadata": st.fixed_dictionaries({"name": st.just("p")}) | ANYTHING,
        "spec": ANYTHING
        | st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES[10:-4], ANYTHING))
        | st.fixed_dictionaries(
            {"subnet": st.just("10.0.0.0/24")}, optional=dict.fromkeys(NAMES[11:31], ANYTHING)
        ),
    },
    optional={"status": ANYTHING},
)


@given(st.lists(PLAUSIBLE | ANYTHING, max_size=3))
def test_any_data_are_read_or_refused(documents: list[object]) -> None:
    """Nothing but `InvalidInput` comes out of data shaped like manifests."""
    with suppress(InvalidInput):
        read(*documents)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but `InvalidInput` comes out of any text."""
    with suppress(InvalidInput):
        parse([Source("any", text)])
