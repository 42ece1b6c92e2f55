"""From the beginning of a stream to chosen ends of commits, page by page."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from engine.bulk import Row
from engine.entry import Commit, Record
from engine.errors import HistoryDiverged
from engine.reading import Continuity, HighWater
from engine.stream import RESTORE_HINT, Stream, shorter_than_seen


class Fold(Protocol):
    """Anything that can be folded: the whole state, a view, a count of something."""

    def apply_all(self, records: Sequence[Record]) -> None:
        """Fold whole commits, in their order."""


@runtime_checkable
class RowFold(Protocol):
    """What folds lease events as plain rows, too: a replay of millions takes the faster way."""

    def apply_rows(self, items: Iterable[Record | Row]) -> None:
        """Fold whole commits, in their order."""


Item = TypeVar("Item", Record, Record | Row)


class Step(NamedTuple, Generic[Item]):
    """Whole commits, in their order; ``arrived`` if they end at a stop."""

    items: list[Item]
    arrived: bool


def walk(
    stream: Stream,
    continuity: Continuity,
    stops: Iterable[int],
    remembered: HighWater | None,
    read: Callable[[Stream, Continuity], Generator[list[Item], None, None]],
) -> Iterator[Step[Item]]:
    """Yield what lies behind `continuity` up to the last stop; a step ends at each stop.

    `read` is `read_commits`, or `read_rows` for a fold that takes rows.

    A stop is a position, ascending; one inside a commit is met at the commit's end, one that is
    void at the first end behind it. Pages without a stop are handed on as they were read.

    Raises:
        HistoryDiverged: the stream is shorter than it was seen before.
        IntegrityError: it is not what it must be otherwise.
        Unavailable: it cannot be read.
    """
    head = stream.head()
    if remembered is not None and head.position < remembered.position:
        raise shorter_than_seen(head.position, remembered.position)
    ahead = iter(stops)
    stop = next(ahead, None)
    while stop is not None and stop <= continuity.anchor.position:
        yield Step([], arrived=True)
        stop = next(ahead, None)
    if stop is None:
        return
    # Closed as soon as the last stop is reached: pages are read ahead.
    with closing(read(stream, continuity)) as pages:
        yield from _steps(pages, stop, ahead)


def _steps(
    pages: Iterable[list[Item]], stop: int | None, ahead: Iterator[int]
) -> Iterator[Step[Item]]:
    for page in pages:
        begin = 0
        while stop is not None and page[-1][0] >= stop:
            end = _end_of_commit(page, stop)
            yield Step(page[begin:end], arrived=True)
            begin = end
            reached = page[end - 1][0]
            while stop is not None and stop <= reached:
                stop = next(ahead, None)
        if stop is None:
            return
        if begin < len(page):
            yield Step(page[begin:] if begin else page, arrived=False)
    message = f"the stream has a hole: position {stop} is missing at its end"
    raise HistoryDiverged(message, RESTORE_HINT, stop)


def _end_of_commit(page: Sequence[Record | Row], stop: int) -> int:
    """The index behind the first commit of the page that ends at `stop` or behind it."""
    low, high = 0, len(page)
    while low < high:  # the first record at or behind the stop
        middle = (low + high) // 2
        if page[middle][0] < stop:
            low = middle + 1
        else:
            high = middle
    commit = Commit._make(page[low][-1])
    return low + commit.parts - commit.part
