"""Times in words, for refusals and reasons; as `ipledger.times.format_ms` prints them."""

from __future__ import annotations

from datetime import UTC, datetime


def time_text(ms: int) -> str:
    """Milliseconds since the epoch as ``2026-11-03T04:05:06.789Z``; until the year 9999."""
    seconds, rest = divmod(ms, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{rest:03d}Z"
