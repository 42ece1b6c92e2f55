"""From the beginning of a stream to chosen ends of commits, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from engine.entry import Record
from engine.errors import HistoryDiverged
from engine.reading import Continuity, HighWater, read_commits
from engine.stream import RESTORE_HINT, Stream


class Fold(Protocol):
    """Anything that can be folded: the whole state, a view, a count of something."""

    def apply_all(self, records: Sequence[Record]) -> None:
        """Fold whole commits, in their order."""


class Step(NamedTuple):
    """Whole commits, in their order; ``arrived`` if they end at a stop."""

    records: list[Record]
    arrived: bool


def walk(
    stream: Stream, continuity: Continuity, stops: Iterable[int], remembered: HighWater | None
) -> Iterator[Step]:
    """Yield the records behind `continuity` up to the last stop; a step ends at each stop.

    A stop is a position, ascending; one inside a commit is met at the commit's end, one that is
    void at the first end behind it. Pages without a stop are handed on as they were read.

    Raises:
        HistoryDiverged: the stream is shorter than it was seen before.
        IntegrityError: it is not what it must be otherwise.
        Unavailable: it cannot be read.
    """
    head = stream.head()
    if remembered is not None and head.position < remembered.position:
        message = (
            f"the stream ends at position {head.position}, "
            f"but position {remembered.position} was seen before"
        )
        raise HistoryDiverged(message, RESTORE_HINT, head.position)
    ahead = iter(stops)
    stop = next(ahead, None)
    while stop is not None and stop <= continuity.anchor.position:
        yield Step([], arrived=True)
        stop = next(ahead, None)
    if stop is None:
        return
    for page in read_commits(stream, continuity):
        begin = 0
        while stop is not None and page[-1].position >= stop:
            end = _end_of_commit(page, stop)
            yield Step(page[begin:end], arrived=True)
            begin = end
            reached = page[end - 1].position
            while stop is not None and stop <= reached:
                stop = next(ahead, None)
        if stop is None:
            return
        if begin < len(page):
            yield Step(page[begin:] if begin else page, arrived=False)
    message = f"the stream has a hole: position {stop} is missing at its end"
    raise HistoryDiverged(message, RESTORE_HINT, stop)


def _end_of_commit(page: list[Record], stop: int) -> int:
    """The index behind the first commit of the page that ends at `stop` or behind it."""
    low, high = 0, len(page)
    while low < high:  # the first record at or behind the stop
        middle = (low + high) // 2
        if page[middle].position < stop:
            low = middle + 1
        else:
            high = middle
    commit = page[low].commit
    return low + commit.parts - commit.part
