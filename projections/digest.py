"""The canonical digest of a state: equal events, equal digest, on every machine.

It is SHA-256 over a msgpack listing in a fixed order that holds what the events determine and
nothing of how a view stores it: no library's serialised form, no hash order, no clock. Cooling,
stickiness and free ranges are derived, so they are not in it.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import msgpack

from engine.decide_config import pack_ranges, pool_event, reservation_event
from engine.model import LOCAL
from projections.state import LedgerState

DIGEST_VERSION: Final = 1


def state_digest(state: LedgerState) -> str:
    """Return 64 hex digits. O(n log n) in pools, reservations and leases."""
    hasher = sha256()
    packer = msgpack.Packer()

    def put(*row: Any) -> None:
        hasher.update(packer.pack(row))

    space_id = b"" if state.space is None else state.space.space_id
    put("ipledger state", DIGEST_VERSION, space_id, state.generation, state.position)
    if state.durability != LOCAL:
        put("durability", *state.durability)
    for pool in sorted(state.pools(), key=lambda pool: pool.pool_id):
        event = pool_event(pool.name, pool.spec)
        put("pool", pool.pool_id, pool.terminating, *event, pool.spec.labels)
    for held in sorted(state.reservations(), key=lambda held: held.reservation_id):
        spec = held.spec
        event_fields = reservation_event(held.name, spec)
        times = (held.created_at_ms, held.defined_at_ms)
        put("reservation", held.reservation_id, *times, *event_fields,
            spec.owner, spec.reason, spec.labels)  # fmt: skip
    for lease in sorted(state.leases(), key=lambda lease: lease.lease_id):
        report = state.conflict_on(lease.lease_id)
        put("lease", *lease, *([] if report is None else report))
        absence = state.absence_of(lease.lease_id)
        if absence is not None:
            put("absence", *absence)
    for aside in sorted(state.quarantines(), key=lambda aside: aside.quarantine_id):
        put("quarantine", aside.quarantine_id, aside.ips.family, pack_ranges(aside.ips),
            *aside[2:])  # fmt: skip
    return hasher.hexdigest()
