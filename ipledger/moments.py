"""Moments of a space's history as a user names them: a position, or a time."""

from __future__ import annotations

from engine.errors import InvalidInput
from engine.stream import Stream
from ipledger.times import Point, format_ms
from replay.moments import Moment, last_moment, moment_at, moment_by


def find_moment(stream: Stream, point: Point, now_ms: int) -> Moment:
    """The end of a commit that a point names: at a position, or the last one by a time.

    Raises:
        InvalidInput: a position inside a commit or beyond the end; a time in the future, or
            before the first event.
        DamagedEntry: the entry there does not decode.
        Unavailable: the stream cannot be read.
    """
    if point.position is not None:
        return moment_at(stream, point.position)
    end = last_moment(stream)
    if point.ms is None:
        return end
    # The server's clock may be a little ahead of ours: what it has written is no future.
    if point.ms > max(now_ms, end.ms):
        raise InvalidInput(f"{_shown(point.ms)} is in the future", f"it is {format_ms(now_ms)} now")
    found = moment_by(stream, point.ms)
    if found is None:
        first = stream.read(0, 0, 1)
        hint = f"the space begins at {format_ms(first[0].ms)}" if first else "it has no events"
        raise InvalidInput(f"{_shown(point.ms)} is before the first event", hint)
    return found


def _shown(ms: int) -> str:
    return format_ms(ms) if ms >= 0 else f"{-ms} ms before 1970"
