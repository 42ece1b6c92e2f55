"""The auditor's own tables are what sets of numbers are, and nobody else's."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from engine.ranges import normalise
from replay.audit.intervals import Intervals
from replay.audit.world import Numbers

ROOM: Final = Path(__file__).resolve().parents[2] / "replay" / "audit"
# Steps over the border of two chunks of 2^64, so that both sides of it are met.
NUMBERS: Final = st.sampled_from([0, 1, 2, 3, 5, 8, 2**64 - 2, 2**64 - 1, 2**64, 2**64 + 3, 2**127])
RANGES: Final = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 4)), min_size=1, max_size=3
).map(lambda pairs: normalise((low, low + more) for low, more in pairs))


@given(st.lists(st.tuples(st.booleans(), RANGES, st.integers(1, 3)), max_size=12))
def test_intervals_are_a_dictionary_of_numbers(
    steps: list[tuple[bool, tuple[tuple[int, int], ...], int]],
) -> None:
    """Who comes first keeps a number; what was somebody's already is told."""
    intervals, naive = Intervals(), dict[int, int]()
    for adds, ranges, key in steps:
        values = [value for low, high in ranges for value in range(low, high + 1)]
        if adds:
            told = intervals.add(ranges, key)
            expected = {value: naive[value] for value in values if value in naive}
            assert {v: k for low, high, k in told for v in range(low, high + 1)} == expected
            naive = dict.fromkeys(values, key) | naive
        else:
            intervals.remove(ranges, key)
            naive = {v: k for v, k in naive.items() if k != key or v not in values}
        assert {v: intervals.at(v) for v in range(18)} == {v: naive.get(v) for v in range(18)}
        assert sorted(v for low, high in intervals for v in range(low, high + 1)) == sorted(naive)
        shown = intervals.within(3, 9)
        assert {v: k for low, high, k in shown for v in range(low, high + 1)} == {
            v: k for v, k in naive.items() if 3 <= v <= 9
        }


@given(st.lists(st.tuples(st.booleans(), NUMBERS), max_size=12), NUMBERS, NUMBERS)
def test_numbers_are_a_set(steps: list[tuple[bool, int]], one: int, other: int) -> None:
    """Of any size, and the lowest member of a range is found."""
    numbers, naive = Numbers(), set[int]()
    for adds, value in steps:
        (numbers.add if adds else numbers.discard)(value)
        (naive.add if adds else naive.discard)(value)
    low, high = sorted((one, other))
    inside = [value for value in naive if low <= value <= high]
    assert numbers.first_in(low, high) == min(inside, default=None)


def test_the_auditor_shares_no_books() -> None:
    """Of what it is there to doubt, one module knows: the one that compares."""
    doubted = ("projections", "engine.decide", "engine.granting", "engine.endings",
               "engine.pool_spec", "engine.placement", "replay.rebuild")  # fmt: skip
    knowing = {
        path.stem: sorted(
            node.module or "" for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(doubted)
        )
        for path in ROOM.glob("*.py")
    }  # fmt: skip
    assert {name: modules for name, modules in knowing.items() if modules} == {
        "beside": ["projections.digest", "projections.state"],
        "walk": ["projections.collector"],  # which only tells the garbage collector to wait
    }
