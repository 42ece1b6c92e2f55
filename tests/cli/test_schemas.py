"""Every JSON shape that the command line prints is the one that docs/schemas/ promises."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from docs.make_reference import SCHEMAS, schema_name, walk
from engine.entry import Record
from engine.wire import REGISTRY
from ipledger.event_views import event_view
from tests.cli.conftest import (
    Cli,
    Result,
    deployment_yaml,
    pool_yaml,
    reservation_yaml,
    shown,
)
from tests.engine.samples import ALL, COMMIT, IDS, MS, POSITION, Sample

# What is no answer of a verb but a part of several, or goes to stderr.
SHARED: Final = {
    "common", "digests", "error", "lease", "manifest", "pool", "quarantined", "replay-check",
    "replay-diff", "reservation", "space",
}  # fmt: skip
# Verbs whose output is for a person or a shell.
WITHOUT: Final = {("completion",), ("demo",), ("schema",)}
# Keys that are there in some cases only.
OPTIONAL: Final = {"refused"}
# What people write, too: most of its keys may be left out. tests/ipledger/test_manifest_schema.py
# holds it to what is read.
WRITTEN: Final = "manifest.schema.json"

DOCUMENTS: Final[dict[str, dict[str, Any]]] = {
    path.name: json.loads(path.read_text("utf-8")) for path in SCHEMAS.glob("*.schema.json")
}
_REGISTRY: Final = Registry().with_resources(
    (name, Resource.from_contents(document)) for name, document in DOCUMENTS.items()
)  # fmt: skip


def hold(name: str, data: object) -> None:
    """Fail unless `data` is as the schema of that name says."""
    validator = Draft202012Validator(DOCUMENTS[name], registry=_REGISTRY)
    faults = [f"{list(e.absolute_path)}: {e.message}" for e in validator.iter_errors(data)]
    assert not faults, "\n".join(faults)


def _objects(schema: object) -> Iterator[dict[str, Any]]:
    """Every part of a schema that lists properties."""
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            yield schema
        for part in schema.values():
            yield from _objects(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _objects(part)


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_a_schema_is_strict(name: str) -> None:
    """It is JSON Schema 2020-12, knows every key, and every key is always there."""
    Draft202012Validator.check_schema(DOCUMENTS[name])
    assert DOCUMENTS[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for described in _objects(DOCUMENTS[name]):
        assert described["additionalProperties"] is False
        if name != WRITTEN:
            assert set(described["properties"]) - set(described["required"]) <= OPTIONAL


def test_every_verb_has_a_schema_and_every_schema_a_verb() -> None:
    """Named after the verb: docs/schemas/history-ip.schema.json is of `history ip`."""
    verbs = {schema_name(path) for path, _ in walk() if path not in WITHOUT}
    shared = {schema_name((name,)) for name in SHARED}
    assert verbs | shared == set(DOCUMENTS)


@pytest.fixture
def world(cli: Cli, manifest: Callable[[str], str], tmp_path: Path) -> Cli:
    """A space with a bit of everything; its files are in the test's directory."""
    everything = (
        "ttl: 1h, gateway: 10.1.0.1, routes: [{dst: 10.9.0.0/16, gw: 10.1.0.2}], podAffinity: "
        "{matchLabels: {a: b}, matchExpressions: [{key: k, operator: Exists}]}, nodeName: [n1]"
    )
    cli.ok("apply", "-f", manifest(
        pool_yaml("web", "10.0.0.0/24", "10.0.0.10-10.0.0.12")
        + pool_yaml("full", "fd00::/64", "fd00::5-fd00::9", more="disable: true")
        + pool_yaml("rich", "10.1.0.0/24", "10.1.0.10-10.1.0.12", more=everything)
        + reservation_yaml("kept", "10.0.0.12", more="owner: me, reason: why, for: 1h")
    ))  # fmt: skip
    lease = cli.json("allocate", "--pool", "web", "--owner", "a", "--ttl", "1h", "--uid", "u",
                     "--label", "k=v", "--cluster", "c", "--actor", "boss",
                     ).data["leases"][0]  # fmt: skip
    cli.ok("allocate", "--pool", "web", "--owner", "a", "--uid", "v", "--label", "k=v")
    assert cli("release", str(lease["lease"])).code == 0
    cli.ok("quarantine", "fd00::8", "--reason", "arp", "--for", "1h")
    cli.ok("allocate", "--pool", "web", "--owner", "me")
    cli.ok("release", "10")
    cli.ok("follow", "--consumer", "dns", "--shard", "1/2", "--until-end")
    (tmp_path / "flows.csv").write_text("t,a\n2026-01-01T00:00:00Z,10.0.0.10\nx,y\n1\n")
    (tmp_path / "seen").write_text("address,owner\n10.0.0.11,x\n10.0.0.12,y\n")
    (tmp_path / "shop.yaml").write_text(deployment_yaml("shop", 3, "web"))
    (tmp_path / "held.yaml").write_text(cli.ok("export", "--kind", "space") + HELD)
    (tmp_path / "leases.csv").write_text(
        "address,owner,since,ttl\n10.0.0.11,x,,\n9.9.9.9,y,,\n10.0.0.10,z,2020-01-01T00:00:00Z,1h\n"
    )
    (tmp_path / "kea.csv").write_text(
        "address,hwaddr,valid_lifetime,expire,state,hostname\n10.0.0.11,aa:bb,60,9999999999,1,\n"
        "10.0.0.10,,0,0,2,\n10.1.0.10,aa:bb,4294967295,4294967296,0,a&#x01b\n"
    )
    (tmp_path / "new.yaml").write_text(pool_yaml("new", "10.2.0.0/24"))
    (tmp_path / "pools.yaml").write_text(pool_yaml("new", "10.2.0.0/24"))
    return cli


HELD: Final = """---
{apiVersion: ipledger/v1, kind: Lease,
 spec: {pool: web, address: 10.0.0.11, owner: z, since: "2026-01-01T00:00:00Z"}}
---
{apiVersion: ipledger/v1, kind: Quarantine, spec: {ips: [10.1.0.11], reason: arp, for: 1h}}
"""

# By verb: commands whose answers differ in shape. FILES is the test's directory, SPACE the space,
# URL that of its server.
COMMANDS: Final[dict[str, list[str]]] = {
    "allocate": [
        "allocate --pool web --owner b", "allocate -f FILES/shop.yaml",
    ],
    "apply": ["apply -f FILES/pools.yaml", "apply -f FILES/held.yaml"],
    "audit": ["audit", "audit --to 5"],
    "consumers forget": ["consumers forget dns"],
    "consumers list": ["consumers", "consumers list", "consumers list --space default"],
    "attribute": ["attribute FILES/flows.csv --time-column t --address-column a --into FILES/out"],
    "views follow": ["views follow --until-end"],
    "views list": ["views", "views list"],
    "views rebuild": ["views rebuild"],
    "delete": [
        "delete pool full", "delete pool web", "delete reservation kept nope --ignore-not-found",
        "delete -f FILES/shop.yaml --ignore-not-found",
    ],
    "describe": ["describe pool rich", "describe reservation kept", "describe space SPACE"],
    "doctor": ["doctor"],
    "embedded status": ["embedded status --data-dir FILES/home"],
    "embedded stop": ["embedded stop --data-dir FILES/home"],
    "explain": ["explain 10.0.0.10", "explain 10.0.0.12 --for me", "explain fd00::8",
                "explain 10.1.0.1 --at 5", "explain 192.0.2.1", "explain --owner a",
                "explain --owner nobody", "explain --owner me --pool full --interface eth0"],
    "export": ["export", "export --at 1", "export --digest", "export --definitions"],
    "follow": ["follow --from 1 --until-end"],
    "free": ["free web", "free web --limit 1", "free full", "free web --prefix-length 31",
             "free web --blocks", "free full --blocks", "free full --prefix-length 64"],
    "get": ["get pools", "get reservations", "get leases", "get space SPACE", "get pool web",
            "get quarantines"],
    "history actor": ["history actor nobody", "history actor boss"],
    "history ip": ["history ip 10.0.0.10", "history ip 10.0.0.11 --at now",
                   "history ip 10.0.0.12", "history ip 10.0.0.0/24 --merge --known-at now",
                   "history ip fd00::8", "history ip 10.1.0.1"],
    "history label": ["history label k=v"],
    "history overlaps": ["history overlaps 10.0.0.0/8"],
    "history owner": ["history owner a --merge"],
    "history pool": ["history pool rich", "history pool web"],
    "history reservation": ["history reservation kept"],
    "history subnet": ["history subnet 10.0.0.0/24"],
    "import": ["import FILES/leases.csv", "import FILES/leases.csv --dry-run",
               "import FILES/kea.csv", "import FILES/new.yaml"],
    "mirror": ["mirror --from URL --to URL?db=4"],
    "quarantine": ["quarantine 10.0.0.10 10.0.0.12 --for 1h --reason arp",
                   "quarantine fd00::9 --reason arp --dry-run"],
    "reconcile": ["reconcile --observed FILES/seen --accept-many-missing --observed-at now",
                  "reconcile --observed FILES/seen --pool full --dry-run"],
    "release": ["release 6 8", "release --owner nobody", "release --label k=v --dry-run"],
    "renew": ["renew 8", "renew 8 --ttl 3h --shorten"],
    "replay": ["replay", "replay --digest", "replay --to 0", "replay --diff 0 now",
               "replay --diff 0 now --pool web --owner a",
               "replay --digests FILES/digests --every 3"],
    "space create": ["space create SPACE-2"],
    "space raise": ["space raise", "space raise SPACE --dry-run --level 3"],
    "space set": ["space set --durability local",
                  "space set SPACE --dry-run --durability local"],
    "space forget": ["space forget SPACE", "space forget SPACE-3"],
    "space list": ["space list"],
    "sweep": ["sweep", "sweep --dry-run"],
    "undo": ["undo 10"],
    "unquarantine": ["unquarantine fd00::8"],
}  # fmt: skip


def test_every_verb_is_held_to_its_schema() -> None:
    """The list above leaves no verb out."""
    assert set(COMMANDS) == {" ".join(path) for path, _ in walk() if path not in WITHOUT}


@pytest.mark.parametrize(
    ("verb", "command"),
    [(verb, command) for verb, commands in COMMANDS.items() for command in commands],
)
def test_the_output_is_as_promised(world: Cli, tmp_path: Path, verb: str, command: str) -> None:
    """Key by key, whatever the case."""
    url = world.options[1]
    words = command.replace("FILES", str(tmp_path)).replace("SPACE", world.options[-1])
    words = words.replace("URL", url)
    result = world(*words.split(), "-o", "json")
    assert result.code in {0, 4 if verb == "import" else 5}, result
    name = schema_name(tuple(verb.split()))
    if verb == "follow":
        for line in result.out.splitlines():
            hold(name, json.loads(line))
    else:
        hold(name, result.data)


@pytest.mark.parametrize(
    "words",
    [["get", "pool", "x"], ["get", "nope"], ["allocate", "--pool", "web", "--owner", ""],
     ["allocate", "--pool", "web", "--owner", "z", "--count", "99"], ["--url", "x:", "doctor"]],
    ids=shown,
)  # fmt: skip
def test_errors_are_as_promised(world: Cli, words: list[str]) -> None:
    """One line on stderr, nothing on stdout."""
    result: Result = world(*words, "-o", "json")
    assert result.code
    assert result.out == ""
    hold("error.schema.json", json.loads(result.err))


@pytest.mark.parametrize("sample", ALL, ids=IDS)
def test_every_type_of_event_is_as_promised(sample: Sample) -> None:
    """With nothing optional and with everything."""
    record = Record(POSITION, MS, sample.event, sample.sealed, sample.header, COMMIT)
    view = json.loads(json.dumps(event_view(record, "default")))
    hold("follow.schema.json", view)
    assert view["type"] == type(sample.event).__name__


def test_every_type_of_event_has_a_promise() -> None:
    """Also the ones that this test's samples forget."""
    known = {cls.__name__ for cls in REGISTRY.classes} | {"Informational"}
    assert set(DOCUMENTS["follow.schema.json"]["$defs"]) == known


def test_a_schema_refuses_what_it_does_not_know(world: Cli) -> None:
    """The schemas bite: a key too many or too few is a fault."""
    data = world.json("get", "pools").data
    data["items"][0]["surprise"] = 1
    with pytest.raises(AssertionError):
        hold("get.schema.json", data)
    del data["items"][0]["surprise"]
    hold("get.schema.json", data)
    del data["items"][0]["counts"]["free"]
    with pytest.raises(AssertionError):
        hold("get.schema.json", data)
