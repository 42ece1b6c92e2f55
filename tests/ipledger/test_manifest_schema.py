"""The published schema and the reader of manifests agree on what a manifest is.

What depends on several fields or on other objects is the reader's alone; each such disagreement
is named here.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engine.errors import InvalidInput
from engine.model import POLICIES
from engine.shapes import SECONDS_MAX
from ipledger.manifests import Source, definitions, metadata, parse, stated

ROOT: Final = Path(__file__).parents[2]
PUBLISHED: Final = ROOT / "docs" / "schemas" / "manifest.schema.json"
SCHEMA: Final[dict[str, Any]] = json.loads(
    files("ipledger.manifests").joinpath("manifest.schema.json").read_text("utf-8")
)
_VALIDATOR: Final = Draft202012Validator(SCHEMA)

COMPLETE: Final[tuple[dict[str, Any], ...]] = (
    {
        "apiVersion": "ipledger/v1", "kind": "Space", "metadata": {"name": "default"},
        "spec": {"formatLevel": 2},
    },
    {
        "apiVersion": "ipledger/v1", "kind": "Pool",
        "metadata": {"name": "web", "labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {
            "subnet": "10.0.0.0/24", "ips": ["10.0.0.4", "10.0.0.8-10.0.0.9", "10.0.0.16/28"],
            "excludeIPs": ["10.0.0.17"], "gateway": "10.0.0.1",
            "routes": [{"dst": "192.168.0.0/16", "gw": "10.0.0.2"}], "ipVersion": 4,
            "disable": True, "default": True,
            "podAffinity": {
                "matchLabels": {"app": "web"},
                "matchExpressions": [{"key": "tier", "operator": "In", "values": ["x"]}],
            },
            "namespaceAffinity": {"matchLabels": {"a": "b"}},
            "nodeAffinity": {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]},
            "namespaceName": ["shop"], "nodeName": ["n7"], "multusName": ["kube-system/vlan"],
            "policy": "sticky", "cooldown": "90s", "ttl": "1h", "sticky": 86_400,
        },
    },
    {
        "apiVersion": "ipledger/v1", "kind": "Reservation",
        "metadata": {"name": "kept", "labels": {"a": "b"}},
        "spec": {"ips": ["fd00::1"], "ipVersion": 6, "owner": "o", "reason": "r", "for": "7d"},
    },
    {
        "apiVersion": "ipledger/v1", "kind": "Lease", "metadata": {"labels": {"a": "b"}},
        "spec": {
            "pool": "web", "address": "10.0.0.16/30", "owner": "o", "interface": "eth1",
            "uid": "u", "cluster": "c", "since": "2026-11-03T04:05:06.789Z", "ttl": "3600s",
            "expires": "2026-11-03T06:05:06Z", "source": "s",
        },
    },
    {
        "apiVersion": "ipledger/v1", "kind": "Quarantine", "metadata": {"annotations": {}},
        "spec": {"ips": ["10.0.0.9"], "reason": "arp", "until": "2026-11-03T06:05:06+02:00"},
    },
)  # fmt: skip
# Refused by the reader for a reason that is no single field's.
_OF_SEVERAL_FIELDS: Final = re.compile(
    r"\(V\d|is not after|needs spec\.ttl|cannot reach|reversed|where IPv\d is wanted|"
    r"is not an IP address|not a subnet|canonical|prefix length|not inside|years|is not a time|"
    r"day is out of range|before 1970|IPv4-mapped"
)


def faults_of(document: object) -> list[str]:
    """What the schema finds wrong."""
    return [error.message for error in _VALIDATOR.iter_errors(document)]


def refusal_of(document: object) -> str | None:
    """Why the reader refuses a document, or None if it reads it."""
    try:
        parse([Source("m.json", json.dumps(document))])
    except InvalidInput as error:
        return error.message
    return None


def test_the_published_schema_is_the_one_that_is_printed() -> None:
    """`ipledger schema > docs/schemas/manifest.schema.json` publishes it."""
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(PUBLISHED.read_text("utf-8")) == SCHEMA


def _parts(schema: object) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for part in schema.values():
            yield from _parts(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _parts(part)


def test_no_field_is_known_to_one_only() -> None:
    """The names of the fields, kind by kind; and nothing else is let through."""
    known = {
        "Pool": definitions._OWN_POOL_FIELDS,
        "Reservation": definitions._OWN_RESERVATION_FIELDS,
        "Space": stated._SPACE_FIELDS,
        "Lease": stated._LEASE_FIELDS,
        "Quarantine": stated._QUARANTINE_FIELDS,
    }
    kinds = SCHEMA["$defs"]
    assert {option["$ref"].rpartition("/")[2] for option in SCHEMA["oneOf"]} == set(known)
    for kind, names in known.items():
        assert set(kinds[kind]["properties"]["spec"]["properties"]) == set(names)
    assert set(kinds["metadata"]["properties"]) == set(metadata._KNOWN)
    closed = [part for part in _parts(SCHEMA) if "properties" in part]
    assert all(part["additionalProperties"] is False for part in closed)
    assert set(kinds["Pool"]["properties"]["spec"]["properties"]["policy"]["enum"]) == set(POLICIES)


@pytest.mark.parametrize("document", COMPLETE, ids=lambda document: str(document["kind"]))
def test_each_kind_with_every_field_is_good(document: dict[str, Any]) -> None:
    """To both; and none of its fields is left out here but one that excludes another."""
    assert (faults_of(document), refusal_of(document)) == ([], None)
    spec = SCHEMA["$defs"][document["kind"]]["properties"]["spec"]
    left_out = {"for"} if document["kind"] == "Quarantine" else set()
    assert set(document["spec"]) == set(spec["properties"]) - left_out


def _places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every part of a document."""
    children: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    for key, child in children:
        yield (*path, key)
        yield from _places(child, (*path, key))


_PLACES: Final = [
    (index, path) for index, document in enumerate(COMPLETE) for path in _places(document)
]
_OTHERS: Final[tuple[Any, ...]] = (
    "", " ", "x", "x y", "no\x07", "10.0.0.9", "10.0.0.9-10.0.0.10", "10.0.0.16/28", "fd00::1",
    "fd00::/64", "::ffff:10.0.0.9", "10.0.0.9%eth0", "10.0.0.9 ",
    "0s", "00m", "1h30m", "30m1h", "1w", "-1s", "now", "-2h",
    "2026-11-03", "2026-11-03T04:05:06", "2026-11-03T04:05:06.123456789Z", "2026-02-30T00:00:00Z",
    "x" * 254, "x" * 600, 0, 1, -1, 4, 5, 6, 90, SECONDS_MAX, SECONDS_MAX + 1, 0.5,
    True, False, [], [""], ["x"],
    [1], [[]], ["10.0.0.9", "10.0.0.4"], {}, {"x": "y"}, {"x": 1}, {"x": ""}, {"": "y"}, "sticky",
    "In", "Exists", "Lease", "Pool", "ipledger/v1", "v1",
)  # fmt: skip


def _agree(document: object) -> None:
    """Both take a document, or both refuse it, or the reason is one that only a reader can see."""
    is_good, refused = _VALIDATOR.is_valid(document), refusal_of(document)
    if not is_good:
        assert refused is not None, f"the schema alone refuses {document}"
    elif refused is not None:
        assert _OF_SEVERAL_FIELDS.search(refused), f"the reader alone refuses {document}: {refused}"


@pytest.mark.parametrize(("index", "path"), _PLACES, ids=str)
def test_they_agree_on_every_value_of_every_field(index: int, path: tuple[str | int, ...]) -> None:
    """Each part of a good document in turn is replaced, taken out, and given a field too many."""
    document = copy.deepcopy(COMPLETE[index])
    parent: Any = document
    for key in path[:-1]:
        parent = parent[key]
    was = parent[path[-1]]
    for other in _OTHERS:
        parent[path[-1]] = other
        _agree(document)
    parent[path[-1]] = was
    if isinstance(was, dict):
        was["surprise"] = "x"
        _agree(document)
        del was["surprise"]
    del parent[path[-1]]
    _agree(document)


@given(data=st.data())
def test_they_agree_on_whatever_is_put_together(data: st.DataObject) -> None:
    """Several changes at once, of parts of any kind."""
    document = copy.deepcopy(data.draw(st.sampled_from(COMPLETE)))
    for _change in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(_places(document)) or [("kind",)]))
        parent: Any = document
        for key in path[:-1]:
            parent = parent[key]
        part_of = data.draw(st.sampled_from(COMPLETE))
        # A copy: a later change must not reach what it was drawn from, nor make a cycle.
        drawn = data.draw(st.sampled_from([*_OTHERS, *part_of["spec"].values()]))
        parent[path[-1]] = copy.deepcopy(drawn)
    _agree(document)


_FENCED: Final = re.compile(
    r"^> (apiVersion: ipledger/v1\n(?:> .*\n)*?)(?=> E|\$|```)", re.MULTILINE
)


def test_every_example_in_the_documentation_is_good() -> None:
    """Manifests of our own kinds in the pages' commands."""
    found = 0
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for match in _FENCED.finditer(page.read_text("utf-8")):
            text = match[1].replace("\n> ", "\n")
            for document in yaml.load_all(text, Loader=yaml.CSafeLoader):
                if document["apiVersion"] == "ipledger/v1":
                    assert faults_of(document) == [], (page, document)
                    found += 1
    assert found
