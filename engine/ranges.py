"""Arithmetic on ranges of whole numbers, which knows nothing of addresses.

A range is a pair of its lowest and its highest member. Ranges are in normal form when they are
sorted, disjoint, and joined where they touch: then there is one way only to write a set of
numbers. Everything here costs by the number of ranges, never by the number of their members.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Ranges: TypeAlias = "tuple[tuple[int, int], ...]"


def is_normal(ranges: Ranges) -> bool:
    """Tell whether ranges of natural numbers are in normal form."""
    before = -2
    for low, high in ranges:
        if not before + 1 < low <= high:
            return False
        before = high
    return True


def normalise(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return the normal form of ranges in any order, which may overlap and repeat.

    Raises:
        ValueError: A range is reversed.
    """
    merged: list[tuple[int, int]] = []
    # Where the caller strings sorted runs together, Python's sort is one linear merge of them.
    for low, high in sorted(ranges):
        if low > high:
            raise ValueError(f"the range {low}-{high} is reversed")
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def aligned_blocks(low: int, high: int) -> Iterator[tuple[int, int]]:
    """Cut a range into the fewest aligned blocks: where each begins, and its order.

    A block of order k is 2^k numbers that begin at a multiple of 2^k.
    """
    while low <= high:
        order = (high - low + 1).bit_length() - 1
        if low:
            order = min(order, (low & -low).bit_length() - 1)
        yield low, order
        low += 1 << order


def union(left: Ranges, right: Ranges) -> Ranges:
    """Return what is in either."""
    return normalise(left + right)


def intersection(left: Ranges, right: Ranges) -> Ranges:
    """Return what is in both, by one walk along both."""
    found = []
    left_index = right_index = 0
    while left_index < len(left) and right_index < len(right):
        left_low, left_high = left[left_index]
        right_low, right_high = right[right_index]
        low, high = max(left_low, right_low), min(left_high, right_high)
        if low <= high:
            found.append((low, high))
        # The range that ends first can meet nothing further on.
        if left_high < right_high:
            left_index += 1
        else:
            right_index += 1
    return tuple(found)


def difference(left: Ranges, right: Ranges) -> Ranges:
    """Return what is in the left one and not in the right one."""
    if not left:
        return ()
    return intersection(left, _gaps(right, left[0][0], left[-1][1]))


def index_of(ranges: Ranges, value: int) -> int:
    """Return which of the ranges holds the number, or -1."""
    index = _last_starting_by(ranges, value)
    return index if index >= 0 and value <= ranges[index][1] else -1


def covers(outer: Ranges, inner: Ranges) -> bool:
    """Tell whether all of the inner is in the outer."""
    for low, high in inner:
        # Normal ranges do not touch, so what has no gap lies within a single one.
        index = index_of(outer, low)
        if index < 0 or outer[index][1] < high:
            return False
    return True


def overlap(left: Ranges, right: Ranges) -> bool:
    """Tell whether the two have any number in common, at the cost of the shorter one."""
    few, many = sorted((left, right), key=len)
    for low, high in few:
        index = _last_starting_by(many, high)
        if index >= 0 and low <= many[index][1]:
            return True
    return False


def _last_starting_by(ranges: Ranges, value: int) -> int:
    """Return the last range that starts at or before the number, or -1."""
    # The one-element tuple sorts before every range that starts at the next number.
    return bisect_left(ranges, (value + 1,)) - 1


def _gaps(ranges: Ranges, lowest: int, highest: int) -> Ranges:
    """Return what the ranges leave out from the lowest to the highest number."""
    gaps = []
    start = lowest
    for low, high in ranges:
        if start < low:
            gaps.append((start, low - 1))
        start = max(start, high + 1)
    if start <= highest:
        gaps.append((start, highest))
    return tuple(gaps)


def size_between(ranges: Ranges, low: int, high: int) -> int:
    """How many numbers of the ranges lie from `low` to `high`, both included."""
    size = 0
    index = max(bisect_left(ranges, (low + 1,)) - 1, 0)
    while index < len(ranges) and ranges[index][0] <= high:
        range_low, range_high = ranges[index]
        size += max(min(high, range_high) - max(low, range_low) + 1, 0)
        index += 1
    return size
