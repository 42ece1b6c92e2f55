"""The JSON shape of events, one function a type: what `follow` prints and consumers read.

docs/schemas/follow.schema.json is the promise; a test holds every type to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from engine import events as ev
from engine.addresses import Address, format_address
from engine.entry import Record
from engine.model import ENDINGS, Durability, ReservationSpec
from engine.wire import pack
from ipledger.selection import LeaseEvent
from ipledger.times import format_ms
from ipledger.views import Json, durability_view, pool_definition, reservation_definition
from projections.unpack import unpack_pool, unpack_ranges


def event_view(record: Record, space: str) -> Json:
    """An event with where, when, by whom and why: one line of `follow`."""
    sealed, header, commit = record.sealed, record.header, record.commit
    effective_at_ms = header.effective_at_ms
    return {
        "position": record.position,
        "id": record.entry_id,
        "time": format_ms(record.ms),
        "effective_at": None if effective_at_ms is None else format_ms(effective_at_ms),
        "space": space,
        "type": type(record.event).__name__,
        "commit": {
            "nonce": commit.nonce.hex(),
            "part": commit.part,
            "parts": commit.parts,
            "generation": commit.generation,
        },
        "command": header.command.hex(),
        "command_id": sealed.command_id,
        "cause": header.cause,
        "actor": sealed.actor,
        "reason": sealed.reason,
        "data": _DATA[type(record.event)](record.event, record),
    }


def _space_created(event: ev.SpaceCreated, _record: Record) -> Json:
    return {"space_id": event.space_id.hex(), "name": event.name, "level": event.level}


def _as_it_is(event: ev.HistoryRestored | ev.LevelRaised, _record: Record) -> Json:
    return event._asdict()


def _durability_set(event: ev.DurabilitySet, _record: Record) -> Json:
    return durability_view(Durability(*event))


def _pool_created(event: ev.PoolCreated, record: Record) -> Json:
    return _pool(event, record, record.position)


def _pool_updated(event: ev.PoolUpdated, record: Record) -> Json:
    return _pool(event.pool, record, event.pool_id)


def _pool(event: ev.PoolCreated, record: Record, pool_id: int) -> Json:
    spec = unpack_pool(event, record.sealed.labels)
    return {"pool": pool_id, "name": event.name, **pool_definition(spec)}


def _pool_deleted(event: ev.PoolDeleted, _record: Record) -> Json:
    return {"pool": event.pool_id, "name": event.name}


def _reservation_created(event: ev.ReservationCreated, record: Record) -> Json:
    return _reservation(event, record, record.position)


def _reservation_updated(event: ev.ReservationUpdated, record: Record) -> Json:
    return _reservation(event.reservation, record, event.reservation_id)


def _reservation(event: ev.ReservationCreated, record: Record, reservation_id: int) -> Json:
    sealed = record.sealed
    spec = ReservationSpec(
        unpack_ranges(event.ips, 4 if event.family == 4 else 6),
        owner=sealed.owner,
        reason=sealed.text,
        for_s=event.for_s,
        labels=sealed.labels,
    )
    return {"reservation": reservation_id, "name": event.name, **reservation_definition(spec)}


def _reservation_deleted(event: ev.ReservationDeleted, _record: Record) -> Json:
    return {"reservation": event.reservation_id, "name": event.name, "expired": event.expired}


def _lease_granted(event: ev.LeaseGranted, record: Record) -> Json:
    return {
        **_holding(record.position, event, record),
        "ttl_s": event.ttl_s,
        "cluster": event.cluster,
        "supersedes": event.supersedes,
        "beside": list(event.beside),
        "seed": event.seed,
        "source": event.source,
    }


def _lease_renewed(event: ev.LeaseRenewed, record: Record) -> Json:
    return {**_holding(event.lease, event, record), "ttl_s": event.ttl_s}


def _lease_ended(event: ev.LeaseEnded, record: Record) -> Json:
    return {**_holding(event.lease, event, record), "ended_by": ENDINGS[event.ended_by]}


def _conflict_reported(event: ev.ConflictReported, record: Record) -> Json:
    return {
        **_holding(event.lease, event, record),
        "quarantine_s": event.quarantine_s,
        "evidence": record.sealed.text,
    }


def _lease_observed(event: ev.LeaseObserved, record: Record) -> Json:
    return {
        **_holding(event.lease, event, record),
        "observation": event.observation.hex(),
        "present": event.present,
        "evidence": record.sealed.text,
    }


def _holding(lease_id: int, event: LeaseEvent, record: Record) -> Json:
    """Which lease an event is about: of what, to whom."""
    sealed = record.sealed
    return {
        "lease": lease_id,
        "pool": event.pool_id,
        "address": format_address(Address(event.address)),
        "prefix_length": event.prefix_length,
        "owner": sealed.owner,
        "interface": event.interface,
        "uid": sealed.uid,
        "labels": dict(sealed.labels),
    }


def _quarantined(event: ev.Quarantined, record: Record) -> Json:
    return {
        "quarantine": record.position,
        "ips": unpack_ranges(event.ips, 4 if event.family == 4 else 6).texts(),
        "for_s": event.for_s,
        "lease": event.lease,
        "reason": record.sealed.text,
    }


def _quarantine_ended(event: ev.QuarantineEnded, _record: Record) -> Json:
    return {
        "quarantine": event.quarantine,
        "ips": unpack_ranges(event.ips, 4 if event.family == 4 else 6).texts(),
        "expired": event.expired,
    }


def _informational(event: ev.Informational, _record: Record) -> Json:
    # Relayed as it is: a reader that knows the type can make of it what this release cannot.
    return {"code": event.code, "version": event.version, "fields": pack(event.fields).hex()}


# The table's key guarantees that each function is given its own type of event.
_DATA: Final[dict[type[Any], Callable[[Any, Record], Json]]] = {
    ev.SpaceCreated: _space_created,
    ev.HistoryRestored: _as_it_is,
    ev.LevelRaised: _as_it_is,
    ev.DurabilitySet: _durability_set,
    ev.PoolCreated: _pool_created,
    ev.PoolUpdated: _pool_updated,
    ev.PoolDeleted: _pool_deleted,
    ev.ReservationCreated: _reservation_created,
    ev.ReservationUpdated: _reservation_updated,
    ev.ReservationDeleted: _reservation_deleted,
    ev.LeaseGranted: _lease_granted,
    ev.LeaseRenewed: _lease_renewed,
    ev.LeaseEnded: _lease_ended,
    ev.ConflictReported: _conflict_reported,
    ev.LeaseObserved: _lease_observed,
    ev.Quarantined: _quarantined,
    ev.QuarantineEnded: _quarantine_ended,
    ev.Informational: _informational,
}
