"""Moments of a history: the ends of its commits, found by position or by time in a few reads."""

from __future__ import annotations

from typing import NamedTuple

from engine.errors import InvalidInput
from engine.events import HistoryRestored
from engine.reading import entry_from
from engine.stream import Stream
from engine.wire import decode_entry


class Moment(NamedTuple):
    """The end of a commit and its time; 0 and 0 before everything."""

    position: int
    ms: int


def last_moment(stream: Stream) -> Moment:
    """Where the stream ends now."""
    head = stream.head()
    return Moment(head.position, head.ms)


def moment_at(stream: Stream, position: int) -> Moment:
    """The moment at a position, which must be the end of a commit.

    Raises:
        InvalidInput: it lies inside a commit or is void (the nearest ends are named), or beyond
            the end of the stream.
        DamagedEntry: the entry there does not decode.
        Unavailable: the stream cannot be read.
    """
    if position == 0:
        return Moment(0, 0)
    head = stream.head()
    if position > head.position:
        message = f"position {position} is beyond the end of the stream ({head.position})"
        raise InvalidInput(message, "the last position is the end of a commit, too")
    raw = entry_from(stream, position)
    if raw is None:
        raise InvalidInput(f"position {position} is not there", "run `ipledger doctor`")
    record = decode_entry(raw)
    if raw.position != position:
        kept = record.event.kept if isinstance(record.event, HistoryRestored) else position - 1
        message = f"position {position} is void: the history was restored without it"
        raise InvalidInput(message, f"the nearest commit ends are {kept} and {raw.position}")
    commit = record.commit
    if not commit.ends_here:
        before = position - commit.part - 1
        message = f"position {position} lies inside a commit"
        raise InvalidInput(
            message, f"the nearest commit ends are {before} and {before + commit.parts}"
        )
    return Moment(position, raw.ms)


def moment_by(stream: Stream, ms: int) -> Moment | None:
    """The last moment that is not after a time; None if the first event is.

    Raises:
        DamagedEntry: an entry there does not decode.
        Unavailable: the stream cannot be read.
    """
    first = stream.read(0, 0, 1)
    if not first or first[0].ms > ms:
        return None
    behind = stream.read_from(ms + 1, 1)
    if not behind:
        return last_moment(stream)
    record = decode_entry(behind[0])
    if isinstance(record.event, HistoryRestored):
        position = record.event.kept
    else:
        position = record.position - record.commit.part - 1
    last = entry_from(stream, position)
    return Moment(position, ms if last is None else last.ms)
