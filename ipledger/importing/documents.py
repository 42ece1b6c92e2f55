"""Spiderpool's objects and our own manifests as what they say is leased.

Spiderpool keeps the leases of a pool in its ``status.allocatedIPs``: one JSON text that maps each
address to the Pod that has it. What the Pod's SpiderEndpoint adds is looked up there: interface,
node, and since when. Neither has a time of its own. An endpoint is made with the addresses of its
Pod, so its ``creationTimestamp`` is since when they are held, if the Pod is still the same and of
a kind that never comes back under its name with other addresses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from engine.addresses import Address, format_address, parse_address
from engine.commands import Adopted
from engine.errors import InvalidInput
from engine.model import DEFAULT_INTERFACE
from engine.names import check_interface, check_labels, check_name, check_text
from ipledger.importing.found import CLOCKS_APART_MS, Found, FoundAside, FoundLease, Once
from ipledger.manifests.fields import Fields, inside, shown
from ipledger.manifests.json_text import read_json, read_json_documents
from ipledger.manifests.parsing import manifests_of, parse_placed
from ipledger.manifests.sources import Source
from ipledger.manifests.stated import StatedLease, StatedQuarantine
from ipledger.times import parse_time

_VALUES_MAX: Final = 40_000_000
_COMES_BACK: Final = frozenset({"StatefulSet", "VirtualMachineInstance"})
_FEW: Final = 3

Placed = tuple[str, object]


class _Endpoint(NamedTuple):
    """What a SpiderEndpoint adds to the leases of its Pod."""

    uid: str | None
    node: str | None
    since_ms: int | None
    interfaces: dict[Address, str]


def read_objects(sources: Sequence[Source], now_ms: int, cluster: str | None = None) -> Found:
    """Read YAML or JSON documents, lists of them, or a JSON object a line.

    Raises:
        InvalidInput: naming file, document and field.
    """
    definitions: list[Placed] = []
    pools: list[tuple[str, str, dict[str, object]]] = []
    endpoints: dict[str, _Endpoint] = {}
    for place, data in _placed(sources):
        kind = data.get("kind") if isinstance(data, dict) else None
        if isinstance(data, dict) and kind == "SpiderEndpoint":
            with inside(f"{place} (SpiderEndpoint): "):
                name, endpoint = _endpoint(Fields(data), now_ms)
            endpoints[name] = endpoint
        elif isinstance(data, dict) and kind == "SpiderIPPool":
            # Its leases are read here, so it need not be warned of them.
            definitions.append((place, {k: v for k, v in data.items() if k != "status"}))
            with inside(f"{place} (SpiderIPPool): "):
                pools += _allocated(place, Fields(data))
        else:
            definitions.append((place, data))
    parsed = parse_placed(definitions)
    if parsed.workloads:
        first = parsed.workloads[0]
        message = f"{first.kind} {first.name} is not imported: it asks for addresses"
        raise InvalidInput(message, "use `ipledger allocate -f` for it")
    once = Once()
    leases = [*_from_pools(pools, endpoints, cluster, once)]
    warnings = [*parsed.warnings, *_unrecorded(leases, endpoints)]
    for stated in parsed.leases:
        own = own_lease(stated, cluster)
        once.check(own.where, own.lease)
        leases.append(own)
    aside = tuple(map(own_quarantine, parsed.quarantines))
    return Found(parsed.objects, tuple(leases), aside, tuple(warnings))


# -------------------------------------------------------------------------------------- documents


def _placed(sources: Sequence[Source]) -> Iterator[Placed]:
    """Every document of the sources with its place; those of a list one by one."""
    for name, text in sources:
        found = False
        for place, data in _documents(name, text):
            for placed in manifests_of(place, data):
                found = True
                yield placed
        if not found:
            raise InvalidInput(f"{name}: it holds nothing to import", "it is empty")


def _documents(name: str, text: str) -> list[Placed]:
    documents = read_json_documents(text)
    if documents is None:
        from ipledger.manifests.yaml_text import read_documents

        with inside(f"{name}: "):
            documents = read_documents(text, _VALUES_MAX)
    return [(f"{name}, document {number}", data) for number, data in enumerate(documents, 1)]


# ------------------------------------------------------------------------------------- Spiderpool


def _allocated(place: str, pool: Fields) -> list[tuple[str, str, dict[str, object]]]:
    """The pool's name and its leases by address, as Spiderpool has written them down."""
    metadata = pool.child("metadata") or Fields({}, "metadata")
    name = check_name(metadata.required_text("name", "it has one"), "metadata.name")
    status = pool.child("status")
    written = None if status is None else status.values.get("allocatedIPs")
    if not written:
        return []
    try:
        leases = read_json(written) if isinstance(written, str) else written
    except ValueError as error:
        raise InvalidInput(f"status.allocatedIPs is not JSON: {error}") from None
    if not isinstance(leases, dict):
        raise InvalidInput(f"status.allocatedIPs is {shown(leases)}, not a mapping of addresses")
    return [(place, name, leases)]


def _from_pools(
    pools: Sequence[tuple[str, str, dict[str, object]]],
    endpoints: dict[str, _Endpoint],
    cluster: str | None,
    once: Once,
) -> Iterator[FoundLease]:
    for place, pool, leases in pools:
        for text, record in leases.items():
            where = f"{place} (SpiderIPPool {pool}), {text[:60]}"
            with inside(f"{where}: "):
                lease = _lease(text, pool, Fields(record), endpoints, cluster)
            once.check(where, lease)
            yield FoundLease(where, lease)


def _lease(
    text: str, pool: str, record: Fields, endpoints: dict[str, _Endpoint], cluster: str | None
) -> Adopted:
    address = parse_address(text)
    pod = record.required_text("pod", "every address is some Pod's")
    namespace, slash, name = pod.partition("/")
    if not slash or not name or not namespace:
        raise InvalidInput(f"pod {pod[:60]!r} is not NAMESPACE/NAME")
    uid = record.text("podUid") or None
    endpoint = endpoints.get(pod)
    labels = {"namespace": namespace}
    interface, since_ms = record.text("interface"), None
    if endpoint is not None:
        if endpoint.node:
            labels["node"] = endpoint.node
        interface = endpoint.interfaces.get(address) or interface
        since_ms = endpoint.since_ms if uid is not None and uid == endpoint.uid else None
    return Adopted(
        address=address,
        prefix_length=len(address) * 8,
        owner=check_text(pod if cluster is None else f"{cluster}/{pod}", "pod"),
        interface=check_interface(interface or DEFAULT_INTERFACE),
        uid=None if uid is None else check_text(uid, "podUid"),
        labels=check_labels(labels),
        cluster=cluster,
        effective_at_ms=since_ms,
        ttl_s=None,
        pool=pool,
    )


def _endpoint(document: Fields, now_ms: int) -> tuple[str, _Endpoint]:
    """The Pod's name, and what is known of it. Only what is used is looked at."""
    metadata = document.child("metadata") or Fields({}, "metadata")
    name = metadata.required_text("name", "it is the Pod's")
    namespace = metadata.text("namespace") or "default"
    status = document.child("status") or Fields({}, "status")
    current = status.child("current") or Fields({}, "status.current")
    interfaces: dict[Address, str] = {}
    for where, item in current.items("ips"):
        nic = Fields(item, where)
        for family in ("ipv4", "ipv6"):
            text = nic.text(family)
            if text:
                with inside(f"{nic.at(family)}: "):
                    address = parse_address(text.partition("/")[0])
                interfaces[address] = nic.text("interface") or DEFAULT_INTERFACE
    created = metadata.text("creationTimestamp")
    since_ms = None
    if created and status.text("ownerControllerType") not in _COMES_BACK:
        with inside("metadata.creationTimestamp: "):
            since_ms = parse_time(created, 0)
        if now_ms < since_ms <= now_ms + CLOCKS_APART_MS:
            since_ms = None  # it has just begun
    endpoint = _Endpoint(current.text("uid"), current.text("node"), since_ms, interfaces)
    return f"{namespace}/{name}", endpoint


def _unrecorded(leases: Sequence[FoundLease], endpoints: dict[str, _Endpoint]) -> Iterator[str]:
    """Warn of addresses that Pods have and no pool records: nothing keeps others from them."""
    recorded = {entry.lease.address for entry in leases}
    missing = [
        f"{format_address(address)} of {name}"
        for name, endpoint in endpoints.items()
        for address in endpoint.interfaces
        if address not in recorded
    ]
    if missing:
        more = ", …" if len(missing) > _FEW else ""
        yield (
            f"{len(missing)} addresses are in SpiderEndpoints but in no pool's allocatedIPs, and "
            f"were not imported: {', '.join(missing[:_FEW])}{more}"
        )


# ------------------------------------------------------------------------------------------- ours


def own_lease(stated: StatedLease, cluster: str | None) -> FoundLease:
    """A lease of an export. Its time counts from when it was last renewed, so that it ends then."""
    since_ms = stated.since_ms
    if stated.expires_at_ms is not None and stated.ttl_s is not None:
        since_ms = stated.expires_at_ms - stated.ttl_s * 1_000
    lease = Adopted(
        stated.address, stated.prefix_length, stated.owner, stated.interface, stated.uid,
        stated.labels, stated.cluster or cluster, since_ms, stated.ttl_s, stated.pool,
    )  # fmt: skip
    return FoundLease(f"Lease {format_address(stated.address)}", lease)


def own_quarantine(stated: StatedQuarantine) -> FoundAside:
    """A quarantine of an export."""
    where = f"Quarantine {stated.name}"
    return FoundAside(where, stated.ips, stated.reason, stated.until_ms, stated.for_s)
