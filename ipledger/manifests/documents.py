"""What is, as manifests of our own kinds: the way back from `definitions` and `stated`.

Each document is written in one way only: its fields in a fixed order, and what has its default
left out. So two exports of the same state are the same text, and two states can be compared line
by line.
"""

from __future__ import annotations

from typing import Any, Final

from engine.addresses import format_address
from engine.facts import Lease, Pool, Quarantine, Report, Reservation
from engine.model import DEFAULT_INTERFACE, Selector
from ipledger.durations import format_duration
from ipledger.times import format_ms

Document = dict[str, Any]

API_VERSION: Final = "ipledger/v1"
_NO_REASON: Final = "no reason is recorded"


def space_document(name: str, level: int) -> Document:
    """The space and its format level."""
    return _document("Space", {"name": name}, {"formatLevel": level})


def pool_document(pool: Pool) -> Document:
    """A pool's definition. One that is terminating gives out nothing: it is stated as disabled."""
    spec = pool.spec
    selectors = spec.selectors
    fields: Document = {
        "subnet": str(spec.subnet),
        "ips": spec.ips.texts(),
        "excludeIPs": spec.exclude_ips.texts(),
        "gateway": None if spec.gateway is None else format_address(spec.gateway),
        "routes": [
            {"dst": str(route.destination), "gw": format_address(route.gateway)}
            for route in spec.routes
        ],
        "disable": spec.disabled or pool.terminating,
        "default": spec.default,
        "podAffinity": _selector(selectors.pod_affinity),
        "namespaceAffinity": _selector(selectors.namespace_affinity),
        "nodeAffinity": _selector(selectors.node_affinity),
        "namespaceName": list(selectors.namespace_names),
        "nodeName": list(selectors.node_names),
        "multusName": list(selectors.multus_names),
        "policy": None if spec.policy == "lowest" else spec.policy,
        "cooldown": _duration(spec.cooldown_s or None),
        "ttl": _duration(spec.ttl_s),
        "sticky": _duration(spec.sticky_s),
    }
    return _document("Pool", {"name": pool.name, "labels": dict(spec.labels)}, fields)


def reservation_document(held: Reservation) -> Document:
    """A reservation's definition."""
    spec = held.spec
    fields: Document = {
        "ips": spec.ips.texts(),
        "owner": spec.owner,
        "reason": spec.reason,
        "for": _duration(spec.for_s),
    }
    return _document("Reservation", {"name": held.name, "labels": dict(spec.labels)}, fields)


def lease_document(lease: Lease, pool: str) -> Document:
    """A lease: since when it has been held, and when its time is over if that has changed since."""
    ttl_s, since_ms, ends_ms = lease.ttl_s, lease.effective_at_ms, lease.expires_at_ms
    as_granted_ms = None if ttl_s is None else since_ms + ttl_s * 1_000
    fields: Document = {
        "pool": pool,
        "address": lease.text,
        "owner": lease.owner,
        "interface": None if lease.interface == DEFAULT_INTERFACE else lease.interface,
        "uid": lease.uid,
        "cluster": lease.cluster,
        "since": format_ms(since_ms),
        "ttl": _duration(ttl_s),
        "expires": None if ends_ms is None or ends_ms == as_granted_ms else format_ms(ends_ms),
    }
    return _document("Lease", {"labels": dict(lease.labels)}, fields)


def quarantine_document(aside: Quarantine) -> Document:
    """A quarantine, and when it ends by itself."""
    ends_ms = aside.ends_at_ms
    fields: Document = {
        "ips": aside.ips.texts(),
        "reason": aside.reason or _NO_REASON,
        "until": None if ends_ms is None else format_ms(ends_ms),
    }
    return _document("Quarantine", {}, fields)


def report_document(lease: Lease, report: Report) -> Document:
    """A quarantine that waits for the end of a lease, and how long it will last from then on."""
    fields: Document = {
        "ips": [lease.text],
        "reason": report.reason or _NO_REASON,
        "for": _duration(report.quarantine_s),
    }
    return _document("Quarantine", {}, fields)


def _document(kind: str, metadata: Document, spec: Document) -> Document:
    document: Document = {"apiVersion": API_VERSION, "kind": kind}
    for part, fields in (("metadata", metadata), ("spec", spec)):
        # Nothing is left out that means something: no field has a zero or an empty text for value.
        said = {name: value for name, value in fields.items() if value}
        if said:
            document[part] = said
    return document


def _selector(selector: Selector | None) -> Document | None:
    if selector is None:
        return None
    fields: Document = {}
    if selector.match_labels:
        fields["matchLabels"] = dict(selector.match_labels)
    if selector.match_expressions:
        fields["matchExpressions"] = [
            {"key": part.key, "operator": part.operator}
            | ({"values": list(part.values)} if part.values else {})
            for part in selector.match_expressions
        ]
    return fields


def _duration(seconds: int | None) -> str | None:
    return None if seconds is None else format_duration(seconds)
