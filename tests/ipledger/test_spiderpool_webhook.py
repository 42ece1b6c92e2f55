"""What Spiderpool's webhook is tested for, in both families, when a pool is made and when changed.

`tests.engine.test_pool_rules` holds each rule by its number; here each is tried at the front door:
a manifest is read and applied, and whatever is refused leaves everything as it was.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

import pytest

from engine.commands import Apply
from engine.errors import InvalidInput, Refusal
from ipledger.manifests import Source, parse
from tests.builders import TestLedger

Fields = dict[str, Any]


class Family(NamedTuple):
    """A subnet, and what may be in it and beside it, in one family."""

    version: int
    subnet: str
    ips: list[str]
    gateway: str
    outside: str
    other: str  # an address of the other family
    destination: str
    host_bits: str
    everything: str


FAMILIES: Final = {
    "IPv4": Family(
        4, "172.18.40.0/24", ["172.18.40.2-172.18.40.9"], "172.18.40.1", "172.18.41.1",
        "abcd:1234::1", "192.168.40.0/24", "172.18.40.5/24", "0.0.0.0/0",
    ),
    "IPv6": Family(
        6, "abcd:1234::/120", ["abcd:1234::2-abcd:1234::9"], "abcd:1234::1", "abcd:1234::1:1",
        "172.18.40.1", "fd00:40::/120", "abcd:1234::5/120", "::/0",
    ),
}  # fmt: skip


def route(family: Family, **fields: str) -> Fields:
    """A good route, but for the fields given."""
    return {"dst": family.destination, "gw": family.gateway, **fields}


def faults(family: Family) -> dict[str, tuple[Fields, str]]:
    """Per case: the fields that are wrong, and the rule that says so."""
    first = family.ips[0].partition("-")[0]
    return {
        "V1 ipVersion of the other family": ({"ipVersion": 10 - family.version}, "V1"),
        "V2 ipVersion that is none": ({"ipVersion": 976}, "V2"),
        "V4 subnet that is none": ({"subnet": "invalid"}, "V4"),
        "V5 subnet with host bits": ({"subnet": family.host_bits}, "V5"),
        "V10 ips: no address": ({"ips": ["invalid"]}, "V10"),
        "V10 ips: outside": ({"ips": [*family.ips, family.outside]}, "V10"),
        "V10 ips: the other family": ({"ips": [family.other]}, "V10"),
        "V10 excludeIPs: no address": ({"excludeIPs": ["invalid"]}, "V10"),
        "V10 excludeIPs: outside": ({"excludeIPs": [family.outside]}, "V10"),
        "V10 excludeIPs: the other family": ({"excludeIPs": [family.other]}, "V10"),
        "V12 gateway: no address": ({"gateway": "invalid"}, "V12"),
        "V12 gateway: outside": ({"gateway": family.outside}, "V12"),
        "V12 gateway: the other family": ({"gateway": family.other}, "V12"),
        "V13 gateway among the addresses": ({"gateway": first}, "V13"),
        "V14 default route": ({"routes": [route(family, dst=family.everything)]}, "V14"),
        "V15 two routes to one": ({"routes": [route(family), route(family)]}, "V15"),
        "V16 destination: no block": ({"routes": [route(family, dst="invalid")]}, "V16"),
        "V17 route's gateway: no address": ({"routes": [route(family, gw="invalid")]}, "V17"),
        "V17 route's gateway: outside": ({"routes": [route(family, gw=family.outside)]}, "V17"),
        "V18 podAffinity that is empty": ({"podAffinity": {}}, "V18"),
        "V18 podAffinity: no operator": (
            {"podAffinity": {"matchExpressions": [{"key": "a", "operator": "Is"}]}},
            "V18",
        ),
    }


CASES: Final = [
    pytest.param(family, fields, rule, id=f"{name} {case}")
    for name, family in FAMILIES.items()
    for case, (fields, rule) in faults(family).items()
]


def applying(family: Family, name: str = "pool", **fields: object) -> Apply:
    """What a manifest of a pool asks for, good but for the fields given."""
    spec = {"subnet": family.subnet, "ips": family.ips, "gateway": family.gateway, **fields}
    document = {
        "apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool",
        "metadata": {"name": name}, "spec": spec,
    }  # fmt: skip
    return Apply(tuple(parse([Source("pool.yaml", json.dumps(document))]).objects))


def refusal(ledger: TestLedger, command: Apply, rule: str) -> Refusal:
    """The refusal of a manifest that can be read, but cannot be beside what stands."""
    before = ledger.digest()
    found = ledger.refused(command)
    assert f"({rule})" in found.message
    assert ledger.digest() == before
    return found


@pytest.mark.parametrize(("family", "fields", "rule"), CASES)
@pytest.mark.parametrize("when", ["created", "changed"])
def test_a_definition_that_is_wrong_by_itself(
    family: Family, fields: Fields, rule: str, when: str
) -> None:
    """Refused by its rule and its field, whether or not the pool is there already."""
    ledger = TestLedger()
    if when == "changed":
        ledger.done(applying(family))
    before = ledger.digest()
    with pytest.raises(InvalidInput) as caught:
        ledger.run(applying(family, **fields))
    assert caught.value.kind == "invalid"
    assert rule in caught.value.message.rpartition("(")[2]
    assert next(iter(fields)) in caught.value.message
    assert ledger.digest() == before


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
def test_a_definition_that_is_wrong_beside_the_others(family: Family) -> None:
    """V7, V8, V9, V11 and V20 in both families: refused with the whole file, naming the rule."""
    ledger = TestLedger()
    ledger.done(applying(family))
    (other,) = (one for one in FAMILIES.values() if one is not family)
    taken = ledger.take()
    narrower = f"{family.subnet.partition('/')[0]}/{32 if family.version == 4 else 128}"

    assert refusal(ledger, applying(other), "V8").kind == "forbidden"
    nested = applying(family, "new", subnet=narrower, ips=[], gateway=None)
    assert refusal(ledger, nested, "V7").kind == "conflict"
    moved = applying(family, subnet=narrower, ips=[], gateway=None)
    assert refusal(ledger, moved, "V9").kind == "forbidden"
    assert refusal(ledger, applying(family, "new"), "V11").kind == "conflict"
    assert refusal(ledger, applying(family, ips=[]), "V20").kind == "conflict"
    assert refusal(ledger, applying(family, excludeIPs=taken), "V20").kind == "conflict"


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
def test_definitions_that_are_right(family: Family) -> None:
    """With all of it, with the least of it, beside a twin of the subnet, and changed in place."""
    ledger = TestLedger()
    first, last = family.ips[0].split("-")
    full: Fields = {
        "ipVersion": family.version, "excludeIPs": [first], "routes": [route(family)],
        "default": True, "disable": False,
    }  # fmt: skip
    ledger.done(applying(family, **full))
    assert ledger.counts().total == 7
    ledger.done(applying(family, "twin", ips=[first]))
    ledger.done(applying(family, "empty", ips=[], gateway=None))
    ledger.done(applying(family, **{**full, "routes": [], "gateway": None}))
    ledger.done(applying(family, **{**full, "ips": [*family.ips, last], "excludeIPs": [first]}))
    assert ledger.counts().total == 7
