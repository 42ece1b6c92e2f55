"""The digest of what a space says, whichever space it is: names and times, no ids, no positions.

Two spaces have the same content when pools, reservations and leases are defined alike, so it is
the same after an export into an empty space. It is not the digest of a state (`digest`), which
tells two histories apart. Quarantines are left out: theirs is a time from when they were set.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import msgpack

from engine.decide_config import pool_event, reservation_event
from engine.facts import Facts, Lease
from engine.lasting import term_began_ms

CONTENT_VERSION: Final = 1


def content_digest(facts: Facts) -> str:
    """Return 64 hex digits. O(n log n) in pools, reservations and leases."""
    hasher = sha256()
    packer = msgpack.Packer()

    def put(*row: Any) -> None:
        hasher.update(packer.pack(row))

    put("ipledger content", CONTENT_VERSION)
    names: dict[int, str] = {}
    for pool in sorted(facts.pools(), key=lambda pool: pool.name):
        names[pool.pool_id] = pool.name
        # One that is terminating gives out nothing, as one that is disabled: an export says so.
        spec = pool.spec._replace(disabled=pool.spec.disabled or pool.terminating)
        put("pool", *pool_event(pool.name, spec), spec.labels)
    for held in sorted(facts.reservations(), key=lambda held: held.name):
        kept = held.spec
        event = reservation_event(held.name, kept)
        put("reservation", *event, kept.owner, kept.reason, kept.labels)
    for lease in sorted(facts.leases(), key=_place):
        put("lease", names[lease.pool_id], *lease[2:9], term_began_ms(lease), lease.ttl_s)
    return hasher.hexdigest()


def _place(lease: Lease) -> tuple[int, bytes, int]:
    return len(lease.address), lease.address, lease.prefix_length
