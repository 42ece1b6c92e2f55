"""The JSON shapes of everything that the command line and the API show.

Each has its schema in docs/schemas/, and a test holds the output to it. Keys are snake_case;
counts are integers of any size.
"""

from __future__ import annotations

from typing import Any

from engine import events as ev
from engine.addresses import Address, format_address, from_int
from engine.entry import Record
from engine.facts import Lease, Pool, Reservation
from engine.model import ENDINGS, POLICIES, Selector
from ipledger.times import format_ms
from projections.state import LedgerState
from projections.unpack import unpack_pool, unpack_ranges

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


def pool_view(state: LedgerState, pool: Pool, space: str) -> Json:
    """A pool: its definition, its state and its buckets."""
    spec = pool.spec
    phase = "terminating" if pool.terminating else "disabled" if spec.disabled else "active"
    pod, namespace, node, namespaces, nodes, multus = spec.selectors
    return {
        "pool": pool.pool_id,
        "space": space,
        "name": pool.name,
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
        "state": phase,
        "counts": state.counts(pool.pool_id)._asdict(),
    }


def reservation_view(held: Reservation, space: str) -> Json:
    """A reservation: what it keeps, for whom and why."""
    spec = held.spec
    return {
        "reservation": held.reservation_id,
        "space": space,
        "name": held.name,
        "ip_version": spec.ips.family,
        "ips": spec.ips.texts(),
        "size": spec.ips.size,
        "owner": spec.owner,
        "reason": spec.reason,
        "for_s": spec.for_s,
        "labels": dict(spec.labels),
        "created_at": format_ms(held.created_at_ms),
    }


def free_range_view(first: int, last: int, pool: Pool) -> Json:
    """One stretch of free addresses."""
    family = pool.spec.family
    return {
        "first": format_address(from_int(first, family)),
        "last": format_address(from_int(last, family)),
        "size": last - first + 1,
    }


def event_view(record: Record, space: str) -> Json:
    """An event with where, when, by whom and why: one line of `follow`."""
    sealed, commit = record.sealed, record.commit
    return {
        "position": record.position,
        "id": record.entry_id,
        "time": format_ms(record.ms),
        "space": space,
        "type": type(record.event).__name__,
        "commit": {
            "nonce": commit.nonce.hex(),
            "part": commit.part,
            "parts": commit.parts,
            "generation": commit.generation,
        },
        "command": record.header.command.hex(),
        "command_id": sealed.command_id,
        "cause": record.header.cause,
        "actor": sealed.actor,
        "reason": sealed.reason,
        "data": _data(record),
    }


def _data(record: Record) -> Json:
    """What an event says, in words."""
    event, sealed = record.event, record.sealed
    holder = {"owner": sealed.owner, "uid": sealed.uid, "labels": dict(sealed.labels)}
    match event:
        case ev.SpaceCreated():
            return {"space_id": event.space_id.hex(), "name": event.name, "level": event.level}
        case ev.HistoryRestored():
            return event._asdict()
        case ev.PoolCreated():
            return _pool_data(event, record, record.position)
        case ev.PoolUpdated():
            return _pool_data(event.pool, record, event.pool_id)
        case ev.PoolDeleted():
            return {"pool": event.pool_id, "name": event.name}
        case ev.ReservationCreated():
            return _reservation_data(event, record, record.position)
        case ev.ReservationUpdated():
            return _reservation_data(event.reservation, record, event.reservation_id)
        case ev.ReservationDeleted():
            return {
                "reservation": event.reservation_id, "name": event.name, "expired": event.expired,
            }  # fmt: skip
        case ev.LeaseGranted():
            return {
                "lease": record.position,
                "pool": event.pool_id,
                "address": format_address(Address(event.address)),
                "prefix_length": event.prefix_length,
                "interface": event.interface,
                "ttl_s": event.ttl_s,
                "cluster": event.cluster,
                "supersedes": event.supersedes,
                **holder,
            }
        case ev.LeaseEnded():
            return {
                "lease": event.lease,
                "pool": event.pool_id,
                "address": format_address(Address(event.address)),
                "prefix_length": event.prefix_length,
                "interface": event.interface,
                "ended_by": ENDINGS[event.ended_by],
                **holder,
            }
        case ev.Informational():
            return {"code": event.code, "version": event.version}


def _pool_data(event: ev.PoolCreated, record: Record, pool_id: int) -> Json:
    spec = unpack_pool(event, record.sealed.labels)
    return {
        "pool": pool_id,
        "name": event.name,
        "subnet": str(spec.subnet),
        "ips": spec.ips.texts(),
        "exclude_ips": spec.exclude_ips.texts(),
        "gateway": None if spec.gateway is None else format_address(spec.gateway),
        "routes": [[str(r.destination), format_address(r.gateway)] for r in spec.routes],
        "disabled": spec.disabled,
        "default": spec.default,
        "selectors": list(spec.selectors.given),
        "policy": POLICIES[event.policy],
        "cooldown_s": spec.cooldown_s,
        "ttl_s": spec.ttl_s,
        "labels": dict(spec.labels),
    }


def _reservation_data(event: ev.ReservationCreated, record: Record, reservation_id: int) -> Json:
    ips = unpack_ranges(event.ips, 4 if event.family == 4 else 6)
    return {
        "reservation": reservation_id,
        "name": event.name,
        "ips": ips.texts(),
        "owner": record.sealed.owner,
        "why": record.sealed.text,
        "for_s": event.for_s,
        "labels": dict(record.sealed.labels),
    }
