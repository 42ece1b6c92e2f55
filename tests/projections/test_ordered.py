"""A sorted set in parts is a sorted set, whichever of its parts are in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections import ordered
from projections.ordered import Ordered, Pair
from tests.builders import MemoryPages

PAIRS = st.tuples(st.integers(0, 5), st.integers(0, 9) | st.just((1 << 128) - 1))
STEPS = st.lists(st.tuples(st.sampled_from(("put", "put", "keep", "read_all")), PAIRS))


@given(start=st.sets(PAIRS), steps=STEPS)
def test_it_is_what_a_set_says(start: set[Pair], steps: list[tuple[str, Pair]]) -> None:
    """Added, removed, kept and shown again in any order, with parts of two to four pairs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordered, "PART_PAIRS", 2)
        model, pages, tested = set(start), MemoryPages(), Ordered(start)
        for what, pair in steps:
            if what == "put" and pair in model:
                tested.remove(pair)
                model.remove(pair)
            elif what == "put":
                with pytest.raises(KeyError):
                    tested.remove(pair)
                tested.add(pair)
                model.add(pair)
            elif what == "keep":
                told = tested.keep(pages, "t", 7)
                tested = Ordered.kept(pages, "t", 7, told)
            else:
                tested.read_all()
                pages = MemoryPages()
            if what == "keep" and pair[0] % 2:
                continue  # not looked at, so that parts stay unread
            assert list(tested) == sorted(model)
        assert list(tested) == sorted(model)
        assert len(tested.numbers) == len(set(tested.numbers))


def test_only_the_parts_that_are_looked_at_are_read() -> None:
    """The first of a hundred thousand pairs costs one part of them."""
    pages = MemoryPages()
    many = Ordered((number, 0) for number in range(100_000))
    told = many.keep(pages, "t", 7)
    assert len(pages.stored) > 100
    again = Ordered.kept(pages, "t", 7, told)
    assert next(iter(again)) == (0, 0)
    again.remove((50_000, 0))
    assert sum(pages.read_of.values()) == 2
    again.keep(pages, "t", 7)
    assert sum(pages.read_of.values()) == 2


def test_what_is_empty_is_kept_no_more() -> None:
    """The pages of parts that have emptied are dropped."""
    pages = MemoryPages()
    tested = Ordered((number, 0) for number in range(5_000))
    tested = Ordered.kept(pages, "t", 7, tested.keep(pages, "t", 7))
    before = len(pages.stored)
    for number in range(4_999):
        tested.remove((number, 0))
    tested.keep(pages, "t", 7)
    assert before > 5
    assert len(pages.stored) == 1
