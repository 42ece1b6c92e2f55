"""Bitmaps answer like plain ranges of numbers do, also at the borders of blocks and of chunks."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine import ranges as arithmetic
from engine.ranges import Ranges
from projections.bitmaps import BLOCK_SIZE, CHUNK_SIZE, Bitmap, NarrowBitmap, WideBitmap

# Numbers lie around these, so that ranges begin, end and touch at every kind of border.
NARROW_CENTRES = (
    0,
    BLOCK_SIZE,
    3 * BLOCK_SIZE,
    1 << 32,
    1 << 63,
    CHUNK_SIZE - BLOCK_SIZE,
    CHUNK_SIZE,
)
WIDE_CENTRES = (0, BLOCK_SIZE, CHUNK_SIZE, CHUNK_SIZE + BLOCK_SIZE, 9 * CHUNK_SIZE, 1 << 127)

Change = tuple[bool, int, int]


def numbers(centres: tuple[int, ...]) -> st.SearchStrategy[int]:
    """Numbers at the borders, and some within ten blocks of them."""
    near = st.integers(-5, 5) | st.integers(-10 * BLOCK_SIZE, 10 * BLOCK_SIZE)
    return st.builds(lambda centre, by: max(centre + by, 0), st.sampled_from(centres), near)


def histories(centres: tuple[int, ...]) -> st.SearchStrategy[list[Change]]:
    """Additions (True) and removals of ranges, each with its start and its length."""
    lengths = st.integers(1, 5) | st.integers(1, 8).map(lambda blocks: blocks * BLOCK_SIZE)
    changes = st.tuples(st.booleans(), numbers(centres), lengths)
    clearings = st.tuples(st.just(False), st.sampled_from(centres), st.just(1 << 20))
    return st.lists(changes | clearings, max_size=8)


def distances(centres: tuple[int, ...]) -> st.SearchStrategy[int]:
    """How far two numbers lie apart: some land exactly on a border."""
    return st.builds(lambda one, other: abs(one - other), numbers(centres), numbers(centres))


NARROW_HISTORIES = histories(NARROW_CENTRES)
WIDE_HISTORIES = histories(WIDE_CENTRES)


def replay(bitmap: Bitmap, history: list[Change], limit: int) -> Ranges:
    """Apply a history to a bitmap, and return what it must hold after it."""
    held: Ranges = ()
    for adds, start, length in history:
        first = min(start, limit - 1)
        end = min(first + length, limit)
        if adds:
            bitmap.add_range(first, end)
            held = arithmetic.union(held, ((first, end - 1),))
        else:
            bitmap.remove_range(first, end)
            held = arithmetic.difference(held, ((first, end - 1),))
    return held


def holds(bitmap: Bitmap, held: Ranges) -> bool:
    """Tell whether a bitmap holds just that, and keeps no empty chunk (see `WideBitmap`)."""
    no_empty_chunk = isinstance(bitmap, NarrowBitmap) or all(bitmap._chunks.values())
    return tuple(bitmap.runs()) == held and bool(bitmap) == bool(held) and no_empty_chunk


def cut(held: Ranges, start: int, end: int) -> Ranges:
    """Return what is held from a number to before another."""
    return arithmetic.intersection(held, ((start, end - 1),)) if start < end else ()


def size(held: Ranges) -> int:
    """Return how many numbers are held."""
    return sum(high - low + 1 for low, high in held)


def clear_after(held: Ranges, start: int) -> Ranges:
    """Return what is not held from a number on, up to further than anyone asks."""
    return arithmetic.difference(((start, 1 << 130),), held)


def nth(ranges: Ranges, n: int) -> int:
    """Return the number with exactly `n` below it in the ranges."""
    for low, high in ranges:
        if n <= high - low:
            return low + n
        n -= high - low + 1
    raise AssertionError("there are not so many")


def check(bitmap: Bitmap, held: Ranges, start: int, length: int, n: int) -> None:
    """Ask every question, and compare."""
    end = start + length
    assert holds(bitmap, held)
    assert bitmap.range_cardinality(start, end) == size(cut(held, start, end))
    assert (start in bitmap) == bool(cut(held, start, start + 1))
    assert bitmap.next_clear(start) == clear_after(held, start)[0][0]
    assert bitmap.nth_clear(start, n) == nth(clear_after(held, start), n)
    following = cut(held, start, 1 << 130)
    if following:
        assert bitmap.next_set_bit(start) == following[0][0]
    else:
        with pytest.raises(ValueError, match=r"from there on|larger or equal"):
            bitmap.next_set_bit(start)


@given(
    NARROW_HISTORIES,
    numbers(NARROW_CENTRES),
    distances(NARROW_CENTRES),
    distances(NARROW_CENTRES[:3]),
)
@example([(True, CHUNK_SIZE - 3, 3), (False, CHUNK_SIZE - 2, 2)], 0, 0, 0)
def test_narrow(history: list[Change], start: int, length: int, n: int) -> None:
    """A narrow bitmap answers every question as ranges do, up to the last number it can hold."""
    bitmap = NarrowBitmap()
    held = replay(bitmap, history, CHUNK_SIZE)
    check(bitmap, held, min(start, CHUNK_SIZE - 1), length, n)


@given(WIDE_HISTORIES, numbers(WIDE_CENTRES), distances(WIDE_CENTRES), distances(WIDE_CENTRES))
@example([(True, CHUNK_SIZE, 3)], 5, CHUNK_SIZE, CHUNK_SIZE - 5)
def test_wide(history: list[Change], start: int, length: int, n: int) -> None:
    """A wide bitmap answers every question as ranges do, across the borders of its chunks."""
    bitmap = WideBitmap()
    held = replay(bitmap, history, 1 << 128)
    check(bitmap, held, start, length, n)


@given(WIDE_HISTORIES, numbers(WIDE_CENTRES), st.booleans())
def test_wide_single_numbers(history: list[Change], number: int, adds: bool) -> None:
    """A number can be added once and removed once; again is an error that changes nothing."""
    bitmap = WideBitmap()
    held = replay(bitmap, history, 1 << 128)
    is_held = number in bitmap
    if adds == is_held:
        with pytest.raises(KeyError):
            (bitmap.add_checked if adds else bitmap.remove)(number)
        assert holds(bitmap, held)
    else:
        (bitmap.add_checked if adds else bitmap.remove)(number)
        one = ((number, number),)
        change = arithmetic.union if adds else arithmetic.difference
        assert holds(bitmap, change(held, one))


@given(WIDE_HISTORIES, WIDE_HISTORIES, numbers(WIDE_CENTRES), st.integers(1, BLOCK_SIZE))
@example([], [(True, 3, 5)], 4, 2)  # nothing is missing, so nothing is added
def test_add_missing(own: list[Change], other: list[Change], start: int, length: int) -> None:
    """What another bitmap does not hold is added, within the bounds; the other is left alone."""
    limit = 1 << 128
    end = min(start + length, (start | BLOCK_SIZE - 1) + 1)
    ours, theirs = WideBitmap(), WideBitmap()
    ours_held, theirs_held = replay(ours, own, limit), replay(theirs, other, limit)
    ours.add_missing(theirs, start, end)
    missing = cut(clear_after(theirs_held, start), start, end)
    assert holds(ours, arithmetic.union(ours_held, missing))
    assert holds(theirs, theirs_held)


def test_a_block_is_added_as_bits() -> None:
    """What `add_missing` adds is not kept as runs, which single removals would split ever more."""
    bitmap = NarrowBitmap()
    bitmap.add_missing(NarrowBitmap(), 5, BLOCK_SIZE)
    assert bitmap.get_statistics()["n_bitset_containers"] == 1
    assert bitmap.get_statistics()["n_run_containers"] == 0


def test_widening_keeps_the_numbers() -> None:
    """A wide bitmap made from a narrow one holds the same numbers, and can hold larger ones."""
    narrow = NarrowBitmap([3, CHUNK_SIZE - 1])
    wide = WideBitmap(narrow)
    wide.add_checked(CHUNK_SIZE)
    assert list(wide.runs()) == [(3, 3), (CHUNK_SIZE - 1, CHUNK_SIZE)]
    assert not WideBitmap(NarrowBitmap())
