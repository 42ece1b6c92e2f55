"""Disjoint ranges of numbers, each with whose it is: asked and changed in O(log n)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Intervals:
    """Ranges that never overlap. What overlaps is told to who adds it, and left as it was."""

    __slots__ = ("_highs", "_keys", "_lows")

    def __init__(self) -> None:
        self._lows: list[int] = []
        self._highs: list[int] = []
        self._keys: list[int] = []

    def __len__(self) -> int:
        return len(self._lows)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """All ranges, ascending."""
        return iter(zip(self._lows, self._highs, strict=True))

    def at(self, value: int) -> int | None:
        """Whose a number is, or None."""
        index = bisect_right(self._lows, value) - 1
        return self._keys[index] if index >= 0 and value <= self._highs[index] else None

    def within(self, low: int, high: int) -> list[tuple[int, int, int]]:
        """The parts of ``low``–``high`` that are somebody's, with whose, ascending."""
        index = max(bisect_right(self._lows, low) - 1, 0)
        found = []
        while index < len(self._lows) and self._lows[index] <= high:
            if self._highs[index] >= low:
                part = max(low, self._lows[index]), min(high, self._highs[index])
                found.append((*part, self._keys[index]))
            index += 1
        return found

    def add(self, ranges: Iterable[tuple[int, int]], key: int) -> list[tuple[int, int, int]]:
        """Add what is nobody's yet; return what was somebody's, with whose."""
        overlaps = []
        for low, high in ranges:
            taken = self.within(low, high)
            overlaps += taken
            start = low
            for first, last, _ in taken:
                if start < first:
                    self._insert(start, first - 1, key)
                start = last + 1
            if start <= high:
                self._insert(start, high, key)
        return overlaps

    def remove(self, ranges: Iterable[tuple[int, int]], key: int) -> None:
        """Take away what of the ranges is this key's."""
        for low, high in ranges:
            for first, last, whose in self.within(low, high):
                if whose == key:
                    self._cut(first, last)

    def _insert(self, low: int, high: int, key: int) -> None:
        index = bisect_right(self._lows, low)
        self._lows.insert(index, low)
        self._highs.insert(index, high)
        self._keys.insert(index, key)

    def _cut(self, low: int, high: int) -> None:
        """Take a part out of the one range that holds it."""
        index = bisect_right(self._lows, low) - 1
        first, last, key = self._lows.pop(index), self._highs.pop(index), self._keys.pop(index)
        if first < low:
            self._insert(first, low - 1, key)
        if high < last:
            self._insert(high + 1, last, key)
