"""Points in time as text: RFC 3339 in, RFC 3339 out, always UTC and always with milliseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from engine.errors import IntegrityError, InvalidInput
from ipledger.durations import parse_duration

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_MS_MAX: Final = 253_402_300_799_999  # the end of the year 9999
_POSITION_DIGITS_MAX: Final = 20  # as many as a position can have


class Point(NamedTuple):
    """A point of a history: a position or a time in milliseconds, one of which is None."""

    position: int | None
    ms: int | None


def format_ms(ms: int) -> str:
    """Milliseconds since the epoch as ``2026-11-03T04:05:06.789Z``.

    Raises:
        IntegrityError: no clock has ever said so.
    """
    if not 0 <= ms <= _MS_MAX:
        message = f"{ms} ms is no time of an event"
        raise IntegrityError(message, "run `ipledger doctor`")
    seconds, rest = divmod(ms, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{rest:03d}Z"


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
        shown = repr(text if len(text) <= 60 else f"{text[:57]}...")
        message = f"{shown} is not a time"
        raise InvalidInput(message, "use 2026-11-03T04:05:06Z, or -2h for two hours ago") from None
    if moment.tzinfo is None:
        message = f"the time {text!r} has no zone"
        raise InvalidInput(message, "end it with Z for UTC, or with an offset such as +02:00")
    return (moment - _EPOCH) // _MILLISECOND


def parse_point(text: str, now_ms: int) -> Point:
    """A position, or a time as `parse_time` reads it.

    Raises:
        InvalidInput: neither of the two.
    """
    if text.isascii() and text.isdigit():
        if len(text) > _POSITION_DIGITS_MAX:
            message = f"a number of {len(text)} digits is not a position"
            raise InvalidInput(message, "`ipledger replay` tells the last one")
        return Point(int(text), None)
    return Point(None, parse_time(text, now_ms))
