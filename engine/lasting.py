"""[format] How long a lease lasts that nobody has renewed: from when its time is counted."""

from __future__ import annotations


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
