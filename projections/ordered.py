"""A sorted set of pairs in parts, of which those are read that are looked at.

What was idle for longest is asked for, over and over, of perhaps a million addresses; a process
that asks once must not read a million. So the pairs lie in parts of some hundred, in their order,
and a directory of where each part begins is all that has to be read before one of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from typing import Any, Final

from projections.pages import PageSink, PageSource

Pair = tuple[int, int]

# Twice as many split a part: small enough to be read for one pair, large enough that the directory
# of a million pairs is read in a millisecond or two.
PART_PAIRS: Final = 512
_PARTS_BITS: Final = 20
_LEAST: Final = (-1, -1)  # below every pair of natural numbers


def page_of(key: int, number: int) -> int:
    """Where a part is kept of the set with that key."""
    return key << _PARTS_BITS | number


def numbers_of(told: tuple[Any, ...]) -> tuple[int, ...]:
    """The numbers of the parts that `Ordered.keep` wrote, from what it returned."""
    return tuple(told[1])


class Ordered:
    """A set of pairs of natural numbers, the smallest first."""

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        """Hold these, in memory."""
        entries = sorted(pairs)
        pieces = [entries[at : at + PART_PAIRS] for at in range(0, len(entries), PART_PAIRS)]
        self._parts: list[list[Pair] | None] = [*pieces] or [[]]
        self._lows: list[Pair] = [_LEAST, *(piece[0] for piece in pieces[1:])]
        self._numbers = list(range(len(self._parts)))  # of the pages that they are kept in
        self._next = len(self._numbers)
        self._changed: set[int] = set()
        self._dropped: set[int] = set()
        self._source: tuple[PageSource, str, int] | None = None

    def __iter__(self) -> Iterator[Pair]:
        """All of them, in their order. None may be added or removed meanwhile."""
        for at in range(len(self._parts)):
            yield from self._part(at)

    def add(self, pair: Pair) -> None:
        """Add a pair, which must not be there."""
        at = bisect_right(self._lows, pair) - 1
        part = self._part(at)
        insort(part, pair)
        self._changed.add(self._numbers[at])
        if len(part) > 2 * PART_PAIRS:
            upper = part[PART_PAIRS:]
            del part[PART_PAIRS:]
            self._parts.insert(at + 1, upper)
            self._lows.insert(at + 1, upper[0])
            self._numbers.insert(at + 1, self._next)
            self._changed.add(self._next)
            self._next += 1

    def remove(self, pair: Pair) -> None:
        """Remove a pair.

        Raises:
            KeyError: it is not there.
        """
        at = bisect_right(self._lows, pair) - 1
        part = self._part(at)
        index = bisect_left(part, pair)
        if index == len(part) or part[index] != pair:
            raise KeyError(pair)
        del part[index]
        self._changed.add(self._numbers[at])
        if not part and len(self._parts) > 1:
            self._changed.discard(self._numbers[at])
            self._dropped.add(self._numbers[at])
            del self._parts[at], self._lows[at], self._numbers[at]
            self._lows[0] = _LEAST

    def _part(self, at: int) -> list[Pair]:
        part = self._parts[at]
        if part is None:
            assert self._source is not None, "what was never kept is in memory"
            source, table, key = self._source
            page = source.read(table, page_of(key, self._numbers[at]))
            part = self._parts[at] = [(high, int.from_bytes(low)) for high, low in page]
        return part

    # --- being kept in pages ---

    def keep(self, sink: PageSink, table: str, key: int) -> tuple[Any, ...]:
        """Write the parts, or those that have changed; return what it takes to show them again."""
        for number in self._dropped:
            sink.drop(table, page_of(key, number))
        for at, number in enumerate(self._numbers):
            if self._source is None or number in self._changed:
                page = tuple((high, low.to_bytes(16)) for high, low in self._part(at))
                sink.put(table, page_of(key, number), page)
        self._changed.clear()
        self._dropped.clear()
        lows = [(high, low.to_bytes(16)) for high, low in self._lows[1:]]
        return self._next, tuple(self._numbers), tuple(lows)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of all parts that may have been kept."""
        return (*self._numbers, *self._dropped)

    def read_all(self) -> None:
        """Hold everything in memory."""
        for at in range(len(self._parts)):
            self._part(at)
        self._source = None

    @classmethod
    def kept(cls, source: PageSource, table: str, key: int, told: tuple[Any, ...]) -> Ordered:
        """Show the pairs that `keep` wrote."""
        ordered = cls()
        ordered._next, numbers, lows = told
        ordered._numbers = list(numbers)
        ordered._lows = [_LEAST, *((high, int.from_bytes(low)) for high, low in lows)]
        ordered._parts = [None] * len(numbers)
        ordered._source = source, table, key
        return ordered
