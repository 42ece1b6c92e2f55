"""A lease as a fold makes it and a table keeps it: plain fields, then as few bytes as it takes."""

from __future__ import annotations

from typing import Any, Final

import msgpack

from engine.entry import Record
from engine.events import LeaseGranted
from engine.facts import Lease
from engine.lasting import ends_ms
from engine.wire import pack

# The members of an event, a sealed part or a lease, named or plain: a replay folds millions.
Fields = tuple[Any, ...]


def granted_lease(record: Record, event: LeaseGranted) -> Lease:
    """The lease that a grant made, as it was made."""
    effective_at_ms = record.header.effective_at_ms
    fields = granted_fields(record.position, record.ms, effective_at_ms, event, record.sealed)
    return tuple.__new__(Lease, fields)


def granted_fields(
    position: int, ms: int, effective_at_ms: int | None, event: Fields, sealed: Fields
) -> Fields:
    """The fields of the lease that a grant made."""
    pool_id, address, prefix_length, interface, ttl_s, cluster, _, _, _, source = event
    _, owner, uid, labels, *_ = sealed
    return (
        position,
        pool_id,
        address,
        prefix_length,
        owner or "",
        interface,
        uid,
        labels,
        cluster,
        ms,
        ms if effective_at_ms is None else effective_at_ms,
        ttl_s,
        None if ttl_s is None else ends_ms(ms, effective_at_ms, ttl_s, source),
        position,
    )


_EXPIRES_AT_MS: Final = Lease._fields.index("expires_at_ms")

# What most leases do not have comes last, and is left out: an `effective_at_ms` and a `position`
# other than those of the grant, a ttl and an end, a uid, labels, a cluster.
_PLAIN: Final = (None, None, None, None, None, (), None)


def packed_grant(
    position: int, ms: int, effective_at_ms: int | None, event: Fields, sealed: Fields
) -> tuple[bytes, int | None]:
    """The lease that a grant made, packed; and when it may be expired."""
    pool_id, address, prefix_length, interface, ttl_s, cluster, *_ = event
    _, owner, uid, labels, *_ = sealed
    if ttl_s is None and effective_at_ms is None and not labels and uid is None and cluster is None:
        return pack((pool_id, address, prefix_length, owner or "", interface, ms)), None
    fields = granted_fields(position, ms, effective_at_ms, event, sealed)
    return packed(fields), fields[_EXPIRES_AT_MS]


def packed(lease: Fields) -> bytes:
    """A lease without its id."""
    (
        lease_id, pool_id, address, prefix_length, owner, interface, uid, labels, cluster,
        granted_at_ms, effective_at_ms, ttl_s, expires_at_ms, position,
    ) = lease  # fmt: skip
    always = (pool_id, address, prefix_length, owner, interface, granted_at_ms)
    rest = (
        None if effective_at_ms == granted_at_ms else effective_at_ms, ttl_s, expires_at_ms,
        None if position == lease_id else position, uid, labels, cluster,
    )  # fmt: skip
    return pack(always if rest == _PLAIN else always + rest)


def unpacked(lease_id: int, row: bytes) -> Lease:
    """The lease that `packed` packed."""
    pool_id, address, prefix_length, owner, interface, granted_at_ms, *rest = msgpack.unpackb(
        row, use_list=False
    )
    effective_at_ms, ttl_s, expires_at_ms, position, uid, labels, cluster = rest or _PLAIN
    return Lease(
        lease_id, pool_id, address, prefix_length, owner, interface, uid, labels, cluster,
        granted_at_ms, granted_at_ms if effective_at_ms is None else effective_at_ms, ttl_s,
        expires_at_ms, lease_id if position is None else position,
    )  # fmt: skip
