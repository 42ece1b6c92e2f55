"""The JSON shapes of what is: pools, reservations, leases, spaces; `event_views` has the events.

Each has its schema in docs/schemas/, and a test holds the output to it. Keys are snake_case;
counts are integers of any size.
"""

from __future__ import annotations

from typing import Any

from engine.addresses import format_address, from_int
from engine.facts import Lease, Pool, Quarantine, Reservation
from engine.model import Durability, PoolSpec, ReservationSpec, Selector
from ipledger.times import format_ms
from projections.state import LedgerState

Json = dict[str, Any]


def lease_view(lease: Lease, pool: str, space: str, state: str = "active") -> Json:
    """A lease as it is, or as it was when it was granted."""
    return {
        "lease": lease.lease_id,
        "space": space,
        "pool": pool,
        "address": format_address(lease.address),
        "prefix_length": lease.prefix_length,
        "owner": lease.owner,
        "interface": lease.interface,
        "uid": lease.uid,
        "labels": dict(lease.labels),
        "cluster": lease.cluster,
        "state": state,
        "granted_at": format_ms(lease.granted_at_ms),
        "expires_at": None if lease.expires_at_ms is None else format_ms(lease.expires_at_ms),
        "position": lease.position,
    }


def _selector_view(selector: Selector | None) -> Json | None:
    if selector is None:
        return None
    return {
        "match_labels": dict(selector.match_labels),
        "match_expressions": [
            {"key": part.key, "operator": part.operator, "values": list(part.values)}
            for part in selector.match_expressions
        ],
    }


def pool_definition(spec: PoolSpec) -> Json:
    """What a pool is defined to be, as of `get` and as of the event that says so."""
    pod, namespace, node, namespaces, nodes, multus = spec.selectors
    return {
        "subnet": str(spec.subnet),
        "ip_version": spec.family,
        "ips": spec.ips.texts(),
        "exclude_ips": spec.exclude_ips.texts(),
        "gateway": None if spec.gateway is None else format_address(spec.gateway),
        "routes": [
            {"dst": str(route.destination), "gw": format_address(route.gateway)}
            for route in spec.routes
        ],
        "disabled": spec.disabled,
        "default": spec.default,
        "pod_affinity": _selector_view(pod),
        "namespace_affinity": _selector_view(namespace),
        "node_affinity": _selector_view(node),
        "namespace_name": list(namespaces),
        "node_name": list(nodes),
        "multus_name": list(multus),
        "policy": spec.policy,
        "cooldown_s": spec.cooldown_s,
        "ttl_s": spec.ttl_s,
        "sticky_s": spec.sticky_s,
        "labels": dict(spec.labels),
    }


def pool_view(state: LedgerState, pool: Pool, space: str) -> Json:
    """A pool: its definition, its state and its buckets."""
    counts = state.counts(pool.pool_id)._asdict()
    return {**defined_pool_view(pool, space), "counts": counts}


def defined_pool_view(pool: Pool, space: str) -> Json:
    """A pool: its definition and its state."""
    phase = "terminating" if pool.terminating else "disabled" if pool.spec.disabled else "active"
    return {
        "pool": pool.pool_id,
        "space": space,
        "name": pool.name,
        **pool_definition(pool.spec),
        "state": phase,
    }


def reservation_definition(spec: ReservationSpec) -> Json:
    """What a reservation is defined to be, as of `get` and as of the event that says so."""
    return {
        "ip_version": spec.ips.family,
        "ips": spec.ips.texts(),
        "size": spec.ips.size,
        "owner": spec.owner,
        "reason": spec.reason,
        "for_s": spec.for_s,
        "labels": dict(spec.labels),
    }


def reservation_view(held: Reservation, space: str) -> Json:
    """A reservation: what it keeps, for whom and why."""
    return {
        "reservation": held.reservation_id,
        "space": space,
        "name": held.name,
        **reservation_definition(held.spec),
        "created_at": format_ms(held.created_at_ms),
    }


def durability_view(durability: Durability) -> Json:
    """What a space promises of an answer; a mode alone where it is what one server keeps."""
    if not durability.replicas:
        return {"mode": "local"}
    return {"mode": "replicated", **durability._asdict()}


def space_view(
    name: str,
    space_id: bytes | None,
    position: int | None,
    generation: int | None,
    level: int | None,
    durability: Durability | None,
    trouble: str | None = None,
) -> Json:
    """A space: which it is, how far it has come, and what is wrong with it at first sight."""
    return {
        "name": name,
        "space_id": None if space_id is None else space_id.hex(),
        "position": position,
        "generation": generation,
        "level": level,
        "durability": None if durability is None else durability_view(durability),
        "trouble": trouble,
    }


def quarantine_view(aside: Quarantine, space: str) -> Json:
    """What is set aside: since when, why, until when."""
    ends_ms = aside.ends_at_ms
    return {
        "quarantine": aside.quarantine_id,
        "space": space,
        "ip_version": aside.ips.family,
        "ips": aside.ips.texts(),
        "size": aside.ips.size,
        "reason": aside.reason,
        "lease": aside.lease,
        "created_at": format_ms(aside.created_at_ms),
        "ends_at": None if ends_ms is None else format_ms(ends_ms),
    }


def free_range_view(first: int, last: int, pool: Pool) -> Json:
    """One stretch of free addresses."""
    family = pool.spec.family
    return {
        "first": format_address(from_int(first, family)),
        "last": format_address(from_int(last, family)),
        "size": last - first + 1,
    }
