"""Points in time as text: RFC 3339 in, RFC 3339 out, always UTC and always with milliseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from engine.errors import InvalidInput
from ipledger.durations import parse_duration


def format_ms(ms: int) -> str:
    """Milliseconds since the epoch as ``2026-11-03T04:05:06.789Z``."""
    seconds, rest = divmod(ms, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def parse_time(text: str, now_ms: int) -> int:
    """Milliseconds since the epoch of an RFC 3339 time, or of one relative to now (``-2h``).

    Raises:
        InvalidInput: neither of the two, or without a zone.
    """
    if re.fullmatch(r"-\w+", text):
        return now_ms - parse_duration(text[1:]) * 1_000
    if text == "now":
        return now_ms
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is not a time"
        raise InvalidInput(message, "use 2026-11-03T04:05:06Z, or -2h for two hours ago") from None
    if moment.tzinfo is None:
        message = f"the time {text!r} has no zone"
        raise InvalidInput(message, "end it with Z for UTC, or with an offset such as +02:00")
    return int(moment.timestamp() * 1_000)
