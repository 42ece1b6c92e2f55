"""Sets of addresses: against a naive model (a Python set of numbers), and as values."""

from __future__ import annotations

import copy
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import ranges as arithmetic
from engine.addresses import BITS, Family, RangeSet, parse_address, parse_subnet, to_int

UNIVERSE_SIZE = 48
ALL_OF_V6 = (1 << 128) - 1
V4 = "172.18.40"
Pairs = list[tuple[int, int]]


class Universe(NamedTuple):
    """A small piece of an address space, small enough to count through."""

    family: Family
    offset: int

    def range_set(self, pairs: Pairs) -> RangeSet:
        """Return the set under test."""
        return RangeSet(
            self.family, [(self.offset + low, self.offset + high) for low, high in pairs]
        )

    def model(self, pairs: Pairs) -> set[int]:
        """Return the same set as numbers."""
        return {self.offset + number for low, high in pairs for number in range(low, high + 1)}


def numbers_in(ranges: RangeSet) -> set[int]:
    """Return the members of a set, one by one."""
    return {number for low, high in ranges for number in range(low, high + 1)}


universes = st.sampled_from(
    [
        Universe(family, offset)
        for family in BITS
        for offset in (0, 10 << 24, (1 << BITS[family]) - UNIVERSE_SIZE)
    ]
)
pair = st.tuples(st.integers(0, UNIVERSE_SIZE - 1), st.integers(0, UNIVERSE_SIZE - 1)).map(
    lambda ends: (min(ends), max(ends))
)
pair_lists = st.lists(pair | st.integers(0, UNIVERSE_SIZE - 1).map(lambda n: (n, n)), max_size=12)


@given(universes, pair_lists)
def test_a_set_has_the_members_of_its_ranges_in_normal_form(
    universe: Universe, pairs: Pairs
) -> None:
    """However ranges are given, the set holds their members, in one form only."""
    made, model = universe.range_set(pairs), universe.model(pairs)
    assert numbers_in(made) == model
    assert made.size == len(model)
    assert arithmetic.is_normal(made.ranges)
    assert len(made) == sum(1 for number in model if number - 1 not in model)
    assert made == universe.range_set([(n - universe.offset,) * 2 for n in sorted(model)])
    assert made.is_empty is (not model)
    assert bool(made) is bool(model)


@given(universes, pair_lists, pair_lists)
def test_operations_agree_with_the_model(universe: Universe, left: Pairs, right: Pairs) -> None:
    """Union, difference and intersection hold what they must, and are in normal form."""
    one, other = universe.range_set(left), universe.range_set(right)
    one_model, other_model = universe.model(left), universe.model(right)
    for result, expected in (
        (one | other, one_model | other_model),
        (one - other, one_model - other_model),
        (one & other, one_model & other_model),
    ):
        assert numbers_in(result) == expected
        assert arithmetic.is_normal(result.ranges)
        assert result.family == universe.family


@given(universes, pair_lists, pair_lists)
def test_comparisons_agree_with_the_model(universe: Universe, left: Pairs, right: Pairs) -> None:
    """Equality, containment and overlap are those of the members."""
    one, other = universe.range_set(left), universe.range_set(right)
    one_model, other_model = universe.model(left), universe.model(right)
    assert (one == other) is (one_model == other_model)
    assert one.contains_set(other) is (one_model >= other_model)
    assert one.contains_set(one & other)
    assert one.overlaps(other) is bool(one_model & other_model)
    assert (one != other) or hash(one) == hash(other)


@given(universes, pair_lists)
def test_every_number_is_found_where_it_is(universe: Universe, pairs: Pairs) -> None:
    """The index of a member is that of its range, and no other number has one."""
    made, model = universe.range_set(pairs), universe.model(pairs)
    for number in range(universe.offset - 1, universe.offset + UNIVERSE_SIZE + 1):
        index = made.index_of(number)
        assert (number in made) is (index >= 0) is (number in model)
        if index >= 0:
            low, high = made.ranges[index]
            assert low <= number <= high


@given(universes, pair_lists)
def test_texts_read_back_as_the_same_set(universe: Universe, pairs: Pairs) -> None:
    """What is printed can be read again, and is printed the same then."""
    made = universe.range_set(pairs)
    again = RangeSet.parse(made.texts(), universe.family)
    assert again == made
    assert again.texts() == made.texts()


@given(universes, pair_lists)
def test_every_form_but_the_normal_one_is_recognised(universe: Universe, pairs: Pairs) -> None:
    """Ranges are taken for normal exactly if making a set of them changes nothing."""
    given_ranges = tuple((universe.offset + low, universe.offset + high) for low, high in pairs)
    made = universe.range_set(pairs)
    assert arithmetic.is_normal(given_ranges) is (made.ranges == given_ranges)


@pytest.mark.parametrize("family", [4, 6])
def test_huge_sets_cost_by_their_ranges(family: Family) -> None:
    """Operations on half and on all of an address space make one or two ranges, never a list."""
    highest = (1 << BITS[family]) - 1
    everything = RangeSet(family, [(0, highest)])
    lower_half = RangeSet(family, [(0, highest >> 1)])
    upper_half = everything - lower_half
    hole = RangeSet(family, [(highest >> 2, highest >> 2)])
    assert upper_half.ranges == ((highest // 2 + 1, highest),)
    assert (lower_half | upper_half).ranges == ((0, highest),)
    assert (everything & upper_half) == upper_half
    assert (everything - everything).ranges == ()
    assert len(everything - hole) == 2
    assert (everything - hole).size == highest
    assert everything.size == highest + 1
    assert everything.contains_set(upper_half)
    assert not lower_half.overlaps(upper_half)
    assert everything.index_of(highest) == 0
    assert everything.index_of(highest + 1) == -1


def test_combining_many_ranges_keeps_as_many_as_there_are() -> None:
    """Thousands of holes in a /64-sized range leave one range more than there are holes."""
    count = 5000
    holes = RangeSet(6, [(number << 40, (number << 40) + 7) for number in range(1, count + 1)])
    left = RangeSet(6, [(0, (1 << 64) - 1)]) - holes
    assert len(left) == count + 1
    assert left.size == (1 << 64) - 8 * count
    assert (left | holes).ranges == ((0, (1 << 64) - 1),)
    assert not left.overlaps(holes)


# ------------------------------------------------------------------------------- pool arithmetic

# Last parts of addresses: ips, excludeIPs, the remaining texts, and their size read as decimal
# (IPv4) and as hexadecimal (IPv6).
POOL_CASES = [
    ("", "", "", 0, 0),
    ("1-2", "", "1-2", 2, 2),
    ("1-2 4-6", "", "1-2 4-6", 5, 5),
    ("1", "", "1", 1, 1),
    ("1-2 1-2", "", "1-2", 2, 2),
    ("1-10 10-20", "", "1-20", 20, 32),
    ("1-10 3-5", "", "1-10", 10, 16),
    ("1-10 3", "", "1-10", 10, 16),
    ("1-10", "1-2", "3-10", 8, 14),
    ("1-10", "1-2 8-10", "3-7", 5, 5),
    ("1-10 11-20 21-30", "1-2 8-22", "3-7 23-30", 13, 19),
    ("10 1-2", "10 2-3", "1", 1, 1),
    ("1-10", "1-10", "", 0, 0),
    ("1-2", "50-60", "1-2", 2, 2),
]


@pytest.mark.parametrize(("ips", "exclude_ips", "left", "size_v4", "size_v6"), POOL_CASES)
@pytest.mark.parametrize(
    ("subnet", "prefix"),
    [
        ("10.6.0.0/24", "10.6.0."),
        ("fd00::/64", "fd00::"),
        ("fd12:3456:789a:baba::/64", "fd12:3456:789a:baba::"),
    ],
)
def test_what_a_pool_has_is_ips_without_exclude_ips(
    subnet: str, prefix: str, ips: str, exclude_ips: str, left: str, size_v4: int, size_v6: int
) -> None:
    """The addresses that remain, and how many, are exact in both families."""

    def full(short: str) -> list[str]:
        return [prefix + entry.replace("-", f"-{prefix}") for entry in short.split()]

    within = parse_subnet(subnet)
    ranges, excluded = (RangeSet.parse(full(short), subnet=within) for short in (ips, exclude_ips))
    remaining = ranges - excluded
    assert remaining.texts() == full(left)
    assert remaining.size == (size_v4 if within.family == 4 else size_v6)


def test_a_whole_v6_subnet_is_counted_exactly() -> None:
    """A /64 less a few addresses has an exact size beyond 2^63, and shares none of the few."""
    prefix = "fd12:3456:789a:baba"
    subnet = parse_subnet(f"{prefix}::/64")
    ips = RangeSet.parse([f"{prefix}::1-{prefix}:ffff:ffff:ffff:ffff"], subnet=subnet)
    left = ips - RangeSet.parse([f"{prefix}::1-{prefix}::10"], subnet=subnet)
    assert left.size == (1 << 64) - 17
    assert left.overlaps(RangeSet.parse([f"{prefix}::11-{prefix}::12"]))
    assert not left.overlaps(RangeSet.parse([f"{prefix}::-{prefix}::10"]))


# ------------------------------------------------------------------------------- sets of addresses


def test_a_set_answers_about_members_and_overlaps() -> None:
    """Membership is by number; sets overlap only where they share an address."""
    ends = RangeSet.parse([f"{V4}.1-{V4}.2"])
    assert to_int(parse_address(f"{V4}.1")) in ends
    assert to_int(parse_address(f"{V4}.10")) not in ends
    assert ends.overlaps(RangeSet.parse([f"{V4}.2-{V4}.3"]))
    assert not ends.overlaps(RangeSet.parse([f"{V4}.3-{V4}.4"]))


def test_operators_are_the_named_operations() -> None:
    """``|``, ``-`` and ``&`` are union, subtract and intersect; emptiness is falsehood."""
    left, right = RangeSet(4, [(1, 5)]), RangeSet(4, [(4, 9)])
    assert left | right == left.union(right) == RangeSet(4, [(1, 9)])
    assert left - right == left.subtract(right) == RangeSet(4, [(1, 3)])
    assert left & right == left.intersect(right) == RangeSet(4, [(4, 5)])
    assert left
    assert not left.is_empty
    assert not left - left
    assert (left - left).is_empty


def test_sets_of_different_families_are_never_equal_nor_combined() -> None:
    """The same numbers in another family are another set, and mixing is a programming error."""
    left, right = RangeSet(4, [(1, 5)]), RangeSet(6, [(1, 5)])
    assert left != right
    assert RangeSet(4) != RangeSet(6)
    assert left != ((1, 5),)
    for mixed in (left.union, left.subtract, left.intersect, left.overlaps, left.contains_set):
        with pytest.raises(ValueError, match="cannot be combined"):
            mixed(right)


@pytest.mark.parametrize(
    ("family", "low", "high"),
    [(4, 2, 1), (4, -1, 1), (4, 0, 1 << 32), (6, 0, 1 << 128), (976, 0, 1)],
)
def test_ranges_that_are_none_of_the_family_are_an_error(
    family: Family, low: int, high: int
) -> None:
    """Reversed ranges, numbers outside the address space and unknown families do not pass."""
    with pytest.raises(ValueError, match=r"reversed|leave|no IP version"):
        RangeSet(family, [(low, high)])


def test_a_reversed_range_is_an_error_also_among_others() -> None:
    """A range of no members is not swallowed by one that is around it."""
    with pytest.raises(ValueError, match="reversed"):
        RangeSet(4, [(0, 9), (5, 4)])


@pytest.mark.parametrize(
    "ranges",
    [
        ((5, 6), (1, 2)),
        ((1, 3), (3, 4)),
        ((1, 3), (4, 5)),
        ((2, 1),),
        ((-1, 0),),
    ],
)
def test_ranges_not_in_normal_form_are_never_taken_as_they_are(
    ranges: tuple[tuple[int, int], ...],
) -> None:
    """A decoder cannot make a set that is unsorted, overlapping, touching or reversed."""
    with pytest.raises(AssertionError, match="not sorted"):
        RangeSet.of_sorted(4, ranges)


def test_a_set_in_normal_form_is_taken_as_it_is() -> None:
    """`of_sorted` makes the set that the constructor makes."""
    ranges = ((0, 0), (2, 5), (9, (1 << 32) - 1))
    assert RangeSet.of_sorted(4, ranges) == RangeSet(4, reversed(ranges))
    with pytest.raises(ValueError, match="leave"):
        RangeSet.of_sorted(4, ((0, 1 << 32),))


def test_a_set_cannot_be_changed_and_serves_as_a_key() -> None:
    """Equal sets have equal hashes, and no attribute can be set, added or deleted."""
    made = RangeSet(4, [(1, 2), (3, 5)])
    assert {made: "found"}[RangeSet(4, [(1, 5)])] == "found"
    for name in ("family", "ranges", "extra"):
        with pytest.raises(AttributeError):
            setattr(made, name, 6)
    with pytest.raises(AttributeError):
        del made.ranges
    assert made == RangeSet(4, [(1, 5)])


def test_a_set_survives_copying() -> None:
    """Copies are equal to what they were made of, hash the same, and cannot be changed either."""
    made = RangeSet(6, [(1, 2), (ALL_OF_V6, ALL_OF_V6)])
    for twin in (copy.copy(made), copy.deepcopy(made)):
        assert twin == made
        assert hash(twin) == hash(made)
        with pytest.raises(AttributeError):
            twin.family = 4


def test_a_set_shows_its_texts() -> None:
    """The representation is readable in a failed assertion."""
    assert repr(RangeSet.parse([f"{V4}.1-{V4}.2"])) == f"RangeSet(4, ['{V4}.1-{V4}.2'])"
