"""The state as it was: a fold of the stream from its beginning to any commit end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from engine.entry import Record
from engine.errors import InvalidInput
from engine.reading import Continuity, HighWater, read_commits
from engine.stream import Stream
from projections.collector import seldom_collecting
from projections.state import LedgerState


class Rebuilt(NamedTuple):
    """A state that was folded anew, and what that took."""

    state: LedgerState
    events: int


def whole_commits(records: list[Record]) -> Iterator[list[Record]]:
    """The records one commit at a time."""
    begin = 0
    for at, record in enumerate(records):
        if record.commit.ends_here:
            yield records[begin : at + 1]
            begin = at + 1


@seldom_collecting()
def rebuild(
    stream: Stream,
    *,
    to_position: int | None = None,
    to_ms: int | None = None,
    remembered: HighWater | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Rebuilt:
    """Fold the stream up to a position or a time, or to its end.

    Raises:
        InvalidInput: the position lies inside a commit (the nearest ends are named) or beyond
            the end of the stream.
        IntegrityError: the stream is not what it must be.
        Unavailable: it cannot be read.
    """
    state = LedgerState()
    events = 0
    for records in read_commits(stream, Continuity(remembered)):
        if to_position is None and to_ms is None:
            state.apply_all(records)
            events += len(records)
        else:
            for commit in whole_commits(records):
                last = commit[-1].position
                if to_position is not None and last > to_position:
                    if commit[0].position <= to_position:
                        raise _inside(to_position, commit[0].position - 1, last)
                    return Rebuilt(state, events)
                if to_ms is not None and commit[0].ms > to_ms:
                    return Rebuilt(state, events)
                state.apply_all(commit)
                events += len(commit)
        if on_progress is not None:
            on_progress(state.position)
    if to_position is not None and to_position > state.position:
        message = f"position {to_position} is beyond the end of the stream ({state.position})"
        raise InvalidInput(message, "leave it out to replay to the end")
    return Rebuilt(state, events)


def _inside(position: int, before: int, end: int) -> InvalidInput:
    message = f"position {position} lies inside a commit"
    return InvalidInput(message, f"the nearest commit ends are {before} and {end}")
