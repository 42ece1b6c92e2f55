"""The state as it was: a fold of the stream from its beginning to any commit end."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from engine.bulk import read_rows
from engine.reading import Continuity, HighWater, read_commits
from engine.stream import Stream
from projections.collector import seldom_collecting
from projections.state import LedgerState
from replay.moments import Moment, last_moment, moment_at, moment_by
from replay.walk import Fold, RowFold, walk


class Rebuilt(NamedTuple):
    """A state that was folded anew, and what that took."""

    state: LedgerState
    events: int


def rebuild(
    stream: Stream,
    *,
    to: Moment | None = None,
    to_position: int | None = None,
    to_ms: int | None = None,
    remembered: HighWater | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Rebuilt:
    """Fold the stream up to a moment, a position or a time, or to its end.

    Raises:
        InvalidInput: the position lies inside a commit (the nearest ends are named) or beyond
            the end of the stream.
        IntegrityError: the stream is not what it must be.
        Unavailable: it cannot be read.
    """
    if to is not None:
        pass
    elif to_position is not None:
        to = moment_at(stream, to_position)
    elif to_ms is not None:
        to = moment_by(stream, to_ms) or Moment(0, 0)
    else:
        to = last_moment(stream)
    state = LedgerState()
    events = fold_to(stream, state, to, remembered=remembered, on_progress=on_progress)
    return Rebuilt(state, events)


@seldom_collecting()
def fold_to(
    stream: Stream,
    into: Fold,
    to: Moment,
    *,
    remembered: HighWater | None = None,
    continuity: Continuity | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Fold the stream into anything that folds, up to a moment; return how many events.

    `continuity` is where `into` stands, if that is not the beginning.

    Raises:
        IntegrityError: the stream is not what it must be.
        Unavailable: it cannot be read.
    """
    reading = Continuity(remembered) if continuity is None else continuity
    events = 0
    told = on_progress or (lambda _position: None)
    if isinstance(into, RowFold):
        for items, _ in walk(stream, reading, [to.position], remembered, read_rows):
            into.apply_rows(items)
            events += len(items)
            told(reading.anchor.position)
        return events
    for records, _ in walk(stream, reading, [to.position], remembered, read_commits):
        into.apply_all(records)
        events += len(records)
        told(reading.anchor.position)
    return events
