"""[format] How long a lease lasts that nobody has renewed: from when its time is counted."""

from __future__ import annotations

from engine.facts import Lease


def ends_ms(
    recorded_ms: int, effective_at_ms: int | None, ttl_s: int | None, source: str | None
) -> int | None:
    """When a lease may be expired, in milliseconds since the epoch; None if never.

    The time of a lease is counted from the entry that grants it, whenever it became true: a
    duration is a promise for what comes. A lease with a ``source`` was promised elsewhere, and
    ends when it would have ended there, so its time is counted from ``effective_at_ms``.
    """
    if ttl_s is None:
        return None
    if source is None or effective_at_ms is None:
        return recorded_ms + ttl_s * 1_000
    return effective_at_ms + ttl_s * 1_000


def term_began_ms(lease: Lease) -> int:
    """Since when the time of a lease counts: its last renewal, or else when it became true.

    With ``ttl_s`` from then it ends when it ends, so this is what another ledger is to be told.
    """
    began_ms = _counted_from_ms(lease)
    return lease.effective_at_ms if began_ms is None else began_ms


def alive_ms(lease: Lease) -> int:
    """When its holder last said that it holds the lease: when it was granted or renewed."""
    began_ms = _counted_from_ms(lease)
    return lease.granted_at_ms if began_ms is None else max(lease.granted_at_ms, began_ms)


def _counted_from_ms(lease: Lease) -> int | None:
    """From when the ttl of a lease counts; None if it has none."""
    if lease.ttl_s is None or lease.expires_at_ms is None:
        return None
    return lease.expires_at_ms - lease.ttl_s * 1_000
