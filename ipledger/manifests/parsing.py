"""Documents to definitions and workloads, kind by kind; changes with the kinds we know."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from engine.commands import PutPool, PutReservation
from engine.errors import InvalidInput
from engine.names import LABELS_MAX, SELECTED_LABELS_MAX
from ipledger.manifests.definitions import (
    read_own_pool,
    read_own_reservation,
    read_spider_pool,
    read_spider_reservation,
)
from ipledger.manifests.fields import Fields, inside, shown
from ipledger.manifests.json_text import read_json_documents
from ipledger.manifests.metadata import Metadata, read_metadata, read_name
from ipledger.manifests.sources import Source
from ipledger.manifests.stated import (
    StatedLease,
    StatedQuarantine,
    StatedSpace,
    read_lease,
    read_quarantine,
    read_space,
)
from ipledger.manifests.surroundings import Namespace, Node, read_namespace, read_node
from ipledger.manifests.workloads import Workload, read_deployment, read_pod

_Stated = StatedSpace | StatedLease | StatedQuarantine
_Described = PutPool | PutReservation | Workload | Namespace | Node
_Object = _Described | _Stated
_Reader = Callable[[Fields, Metadata, list[str]], _Described]

_SPIDERPOOL: Final = "spiderpool.spidernet.io/v2beta1"
_OWN: Final = "ipledger/v1"
_APPS: Final = "apps/v1"
_CORE: Final = "v1"

_READERS: Final[dict[str, tuple[str, _Reader]]] = {
    "SpiderIPPool": (_SPIDERPOOL, read_spider_pool),
    "SpiderReservedIP": (_SPIDERPOOL, read_spider_reservation),
    "Pool": (_OWN, read_own_pool),
    "Reservation": (_OWN, read_own_reservation),
    "Deployment": (_APPS, read_deployment),
    "StatefulSet": (_APPS, read_deployment),
    "ReplicaSet": (_APPS, read_deployment),
    "Pod": (_CORE, read_pod),
    "Namespace": (_CORE, read_namespace),
    "Node": (_CORE, read_node),
}
# What is stated of a ledger, all of apiVersion ipledger/v1. Leases and quarantines have no name.
_STATED: Final[dict[str, Callable[[Fields], _Stated]]] = {
    "Space": read_space,
    "Lease": read_lease,
    "Quarantine": read_quarantine,
}
_SURROUNDINGS: Final = ("Namespace", "Node")
# What holds objects: its apiVersion, and what its items are if they do not say so themselves.
_LISTS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "List": (_CORE, {}),
    "SpiderIPPoolList": (_SPIDERPOOL, {"apiVersion": _SPIDERPOOL, "kind": "SpiderIPPool"}),
    "SpiderReservedIPList": (_SPIDERPOOL, {"apiVersion": _SPIDERPOOL, "kind": "SpiderReservedIP"}),
    "SpiderEndpointList": (_SPIDERPOOL, {"apiVersion": _SPIDERPOOL, "kind": "SpiderEndpoint"}),
}
_API_VERSIONS: Final = {
    **{kind: known[0] for kind, known in (*_READERS.items(), *_LISTS.items())},
    **dict.fromkeys(_STATED, _OWN),
}
_KINDS_HINT: Final = f"known kinds: {', '.join((*_READERS, *_STATED))}"
_OBJECT_FIELDS: Final = ("apiVersion", "kind", "metadata", "spec", "status")


class Parsed(NamedTuple):
    """What the manifests say: what to define, who asks for addresses, and what to be told of.

    ``spaces``, ``leases`` and ``quarantines`` are what an export states beside definitions.
    Namespaces and nodes, by name, are what is told of the workloads' surroundings.
    """

    objects: tuple[PutPool | PutReservation, ...]
    workloads: tuple[Workload, ...]
    warnings: tuple[str, ...]
    spaces: tuple[StatedSpace, ...] = ()
    leases: tuple[StatedLease, ...] = ()
    quarantines: tuple[StatedQuarantine, ...] = ()
    namespaces: Mapping[str, Namespace] = MappingProxyType({})
    nodes: Mapping[str, Node] = MappingProxyType({})


def parse(sources: Sequence[Source], namespace: str | None = None) -> Parsed:
    """Read manifests; all of them are good, or an error is raised.

    Args:
        sources: the texts.
        namespace: of what does not name its own, and of no workload that names another;
            ``default`` otherwise.

    Raises:
        InvalidInput: naming file, document, object and field; or line and column, where the text
            is not even YAML.
    """
    return parse_placed(_manifests(sources), namespace)


def parse_placed(placed: Iterable[tuple[str, object]], namespace: str | None = None) -> Parsed:
    """Read manifests that are data already, each with its place; as `parse`."""
    found: dict[type, list[Any]] = defaultdict(list)
    objects: list[PutPool | PutReservation] = []  # of both kinds, in the order of the files
    warnings: list[str] = []
    defined: dict[tuple[type, str], str] = {}
    for place, data in placed:
        read, where = _read(place, data, warnings, namespace)
        found[type(read)].append(read)
        if isinstance(read, Workload):
            continue
        first = defined.setdefault((type(read), read.name), where)
        if first is not where:
            raise InvalidInput(f"{where}: it is defined already by {first}", "define it once")
        if isinstance(read, PutPool | PutReservation):
            objects.append(read)
    return Parsed(
        objects=tuple(objects),
        workloads=tuple(found[Workload]),
        warnings=tuple(warnings),
        spaces=tuple(found[StatedSpace]),
        leases=tuple(found[StatedLease]),
        quarantines=tuple(found[StatedQuarantine]),
        namespaces={read.name: read for read in found[Namespace]},
        nodes={read.name: read for read in found[Node]},
    )


def _manifests(sources: Sequence[Source]) -> Iterator[tuple[str, object]]:
    """Every manifest with its place; those of a list one by one."""
    for name, text in sources:
        documents = read_json_documents(text)
        if documents is None:
            # Imported here because it brings PyYAML with it.
            from ipledger.manifests.yaml_text import read_documents

            with inside(f"{name}: "):
                documents = read_documents(text)
        if all(data is None for data in documents):
            raise InvalidInput(f"{name}: it holds no manifest", "it is empty, or only comments")
        for number, data in enumerate(documents, 1):
            yield from manifests_of(f"{name}, document {number}", data)


def manifests_of(place: str, data: object) -> Iterator[tuple[str, object]]:
    """What a document holds: the items of a list, each with its place, or itself; or nothing.

    Raises:
        InvalidInput: it is no list that we know.
    """
    kind = data.get("kind") if isinstance(data, dict) else None
    if isinstance(kind, str) and kind in _LISTS:
        yield from _items(place, kind, Fields(data))
    elif data is not None:
        yield place, data


def _items(place: str, kind: str, listed: Fields) -> Iterator[tuple[str, object]]:
    with inside(f"{place} ({kind}): "):
        _check_api_version(kind, listed)
        if not listed.has("items"):
            raise InvalidInput("items is missing", "a list holds its objects as items")
        items = listed.items("items")
    _, defaults = _LISTS[kind]
    for number, (_, item) in enumerate(items, 1):
        yield f"{place}, item {number}", defaults | item if isinstance(item, dict) else item


def _read(
    place: str, data: object, warnings: list[str], namespace: str | None
) -> tuple[_Object, str]:
    """Return what a manifest says, and its place with its kind and name."""
    with inside(f"{place}: "):
        document = Fields(data)
        kind = document.required_text("kind", _KINDS_HINT)
        if kind not in _READERS and kind not in _STATED:
            version = shown(document.values.get("apiVersion"))
            raise InvalidInput(
                f"kind {shown(kind)} (apiVersion {version}) is not known", _KINDS_HINT
            )
    with inside(f"{place} ({kind}): "):
        _check_api_version(kind, document)
        if kind in _STATED:
            read_stated = _STATED[kind](Fields(data, known=_OBJECT_FIELDS))
            return read_stated, f"{place} ({kind})"
        name = read_name(document)
    where = f"{place} ({kind} {name})"
    told: list[str] = []
    with inside(f"{where}: "):
        labels_max = SELECTED_LABELS_MAX if kind in _SURROUNDINGS else LABELS_MAX
        metadata = read_metadata(Fields(data, known=_OBJECT_FIELDS), labels_max)
        own = metadata.namespace
        _, read_object = _READERS[kind]
        read = read_object(document, metadata._replace(namespace=own or namespace), told)
        if isinstance(read, Workload) and namespace not in {None, read.namespace}:
            message = f"metadata.namespace is {own}, but namespace {namespace} is asked for"
            raise InvalidInput(message, "leave --namespace out, or say the same")
    if metadata.being_deleted:
        told.append("metadata.deletionTimestamp says that it was being deleted where it came from")
    warnings += [f"{where}: {warning}" for warning in told]
    return read, where


def _check_api_version(kind: str, fields: Fields) -> None:
    supported = _API_VERSIONS[kind]
    hint = f"this release reads {kind} of apiVersion {supported}"
    if (found := fields.required_text("apiVersion", hint)) != supported:
        raise InvalidInput(f"apiVersion {shown(found)} is not supported", hint)
