"""The free set answers like plain sets and plain ranges of addresses do, whatever went before."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine import ranges as arithmetic
from engine.addresses import BITS, Family, RangeSet
from engine.ranges import Ranges
from projections.free_counts import FreeSetCounts
from projections.free_set import RANGE_SIZE_MAX, FreeSet

V4 = 10 << 24
V6 = 0x20010DB8 << 96
BLOCK = 1 << 16
CHUNK = 1 << 64


class Place(NamedTuple):
    """Where a pool's subnet begins, and the offsets around which its addresses lie."""

    family: Family
    first: int
    centres: tuple[int, ...]


# A universe of 64 addresses, which may straddle a block, a chunk or the end of the space.
SMALL_SIZE = 64
SMALL_PLACES = (
    Place(4, 0, (0,)),
    Place(4, V4, (0,)),
    Place(4, V4, (BLOCK - 32,)),
    Place(4, (1 << 32) - BLOCK, (BLOCK - 64,)),
    Place(6, V6, (0,)),
    Place(6, V6, (CHUNK - 50,)),
    Place(6, V6, (CHUNK - 14,)),
    Place(6, V6, (CHUNK - 64,)),
    Place(6, (1 << 128) - 64, (0,)),
)

# Addresses in clusters that lie far apart, and ranges that reach from one cluster into another.
WIDE_PLACES = (
    Place(4, V4, (0, BLOCK - 32, 5 * BLOCK, (1 << 24) - 64)),
    Place(6, V6, (0, BLOCK - 32, 1 << 63, CHUNK - 64)),
    Place(6, V6, (0, BLOCK - 32, CHUNK - 32, 5 * CHUNK, (1 << 80) - 64)),
)


class Model:
    """What a free set is, said as plainly as possible: three sets and their differences."""

    effective: Ranges = ()
    closed: Ranges = ()
    taken: Ranges = ()

    def free(self) -> Ranges:
        """Return the ranges of free addresses."""
        return arithmetic.difference(arithmetic.difference(self.effective, self.closed), self.taken)

    def counts(self) -> FreeSetCounts:
        """Return how the addresses divide."""
        taken = arithmetic.intersection(self.effective, self.taken)
        taken_in_closed = size(arithmetic.intersection(taken, self.closed))
        return FreeSetCounts(
            total=size(self.effective),
            taken=size(taken),
            taken_in_closed=taken_in_closed,
            reserved=size(arithmetic.intersection(self.effective, self.closed)) - taken_in_closed,
            free=size(self.free()),
        )

    def taken_outside(self) -> int:
        """Return how many taken addresses are not the pool's."""
        return size(arithmetic.difference(self.taken, self.effective))

    def change(self, low: int, high: int, *, takes: bool) -> bool:
        """Take or give back a range, if that is allowed."""
        span = ((low, high),)
        if takes and not arithmetic.overlap(self.taken, span):
            self.taken = arithmetic.union(self.taken, span)
            return True
        if not takes and arithmetic.covers(self.taken, span):
            self.taken = arithmetic.difference(self.taken, span)
            return True
        return False


class SetModel(Model):
    """The same once more with one element per address, for universes that are small enough."""

    def free(self) -> Ranges:
        """Return the ranges of free addresses."""
        effective, closed, taken = map(points, (self.effective, self.closed, self.taken))
        return arithmetic.normalise((value, value) for value in effective - closed - taken)

    def counts(self) -> FreeSetCounts:
        """Return how the addresses divide."""
        effective, closed, taken = map(points, (self.effective, self.closed, self.taken))
        return FreeSetCounts(
            total=len(effective),
            taken=len(effective & taken),
            taken_in_closed=len(effective & closed & taken),
            reserved=len((effective & closed) - taken),
            free=len(effective - closed - taken),
        )

    def taken_outside(self) -> int:
        """Return how many taken addresses are not the pool's."""
        return len(points(self.taken) - points(self.effective))


def points(ranges: Ranges) -> set[int]:
    """Return every single address of some ranges."""
    return {value for low, high in ranges for value in range(low, high + 1)}


def size(ranges: Ranges) -> int:
    """Return how many addresses some ranges have."""
    return sum(high - low + 1 for low, high in ranges)


def nth(ranges: Ranges, n: int) -> int | None:
    """Return the address with exactly `n` below it in the ranges."""
    for low, high in ranges:
        if n <= high - low:
            return low + n
        n -= high - low + 1
    return None


def everything(first: int, length: int) -> RangeSet:
    """Return an IPv4 set of one range."""
    return RangeSet(4, [(first, first + length - 1)])


NOTHING = RangeSet(4)


class FreeSetMachine(RuleBasedStateMachine):
    """A pool is changed, filled and emptied in any order, and asked in between."""

    places: ClassVar[tuple[Place, ...]] = ()
    set_type: ClassVar[type[FreeSet]] = FreeSet
    model_type: ClassVar[type[Model]] = Model
    range_lengths: ClassVar[st.SearchStrategy[int]] = st.integers(1, 40)

    def address(self, data: st.DataObject) -> int:
        """Draw an address of the universe."""
        centre = data.draw(st.sampled_from(self.place.centres))
        return self.place.first + centre + data.draw(st.integers(0, SMALL_SIZE - 1))

    def start(self, data: st.DataObject) -> int | None:
        """Draw where to start a search: sometimes nowhere, or before or after the universe."""
        if data.draw(st.booleans()):
            return self.address(data)
        edges = (None, 0, self.place.first, self.last, self.last + 1, 1 << 128)
        return data.draw(st.sampled_from(edges))

    def ranges(self, data: st.DataObject) -> Ranges:
        """Draw a set of addresses."""
        count = data.draw(st.integers(0, 5))
        if count == 0:
            return ((self.place.first + min(self.place.centres), self.last),)
        ends = [self.address(data) for _ in range(2 * count)]
        pairs = zip(ends[::2], ends[1::2], strict=True)
        return arithmetic.normalise((min(pair), max(pair)) for pair in pairs)

    def shape(self, data: st.DataObject) -> tuple[RangeSet, RangeSet]:
        """Draw what is effective and what is closed, and tell the model."""
        self.model.effective = self.ranges(data)
        if data.draw(st.booleans()):  # a closed set is usually small
            self.model.closed = arithmetic.intersection(self.ranges(data), self.ranges(data))
        family = self.place.family
        return RangeSet(family, self.model.effective), RangeSet(family, self.model.closed)

    def free_from(self, start: int | None) -> Ranges:
        """Return what the model says is free from an address on."""
        span = ((max(start or 0, 0), 1 << 129),)
        return arithmetic.intersection(self.model.free(), span)

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Begin with an empty pool somewhere."""
        self.place = data.draw(st.sampled_from(self.places))
        self.last = self.place.first + max(self.place.centres) + SMALL_SIZE - 1
        self.model = self.model_type()
        effective, closed = self.shape(data)
        self.free_set = self.set_type(self.place.first, self.place.family, effective, closed)

    @rule(data=st.data())
    def reshape(self, data: st.DataObject) -> None:
        """What is free follows the pool's addresses and what of them is closed."""
        self.free_set.reshape(*self.shape(data))

    @rule(data=st.data())
    def change_one(self, data: st.DataObject) -> None:
        """Any address is either taken, and can be given back, or can be taken."""
        value = self.address(data)
        right, wrong = self.free_set.take, self.free_set.give_back
        if not self.model.change(value, value, takes=True):
            assert self.model.change(value, value, takes=False)
            right, wrong = wrong, right
        with pytest.raises(AssertionError):
            wrong(value)
        right(value)

    @rule(data=st.data())
    def take_range(self, data: st.DataObject) -> None:
        """A range is taken as a whole, or not at all."""
        low = self.address(data)
        high = min(low + data.draw(self.range_lengths) - 1, self.last)
        if self.model.change(low, high, takes=True):
            self.free_set.take_range(low, high)
        else:
            with pytest.raises(AssertionError):
                self.free_set.take_range(low, high)

    @precondition(lambda self: self.model.taken)
    @rule(data=st.data(), too_much=st.booleans())
    def give_back_range(self, data: st.DataObject, too_much: bool) -> None:
        """A range is given back as a whole, or not at all."""
        low, high = data.draw(st.sampled_from(self.model.taken))
        low = data.draw(st.integers(low, high))
        high = data.draw(st.integers(low, high))
        if too_much:
            # A block may have been taken that reaches beyond what is drawn from.
            high = data.draw(st.integers(high, max(high, min(high + 40, self.last))))
        high = min(high, low + RANGE_SIZE_MAX - 1)
        if self.model.change(low, high, takes=False):
            self.free_set.give_back_range(low, high)
        else:
            with pytest.raises(AssertionError):
                self.free_set.give_back_range(low, high)

    @rule(data=st.data(), count=st.integers(1, 20))
    def take_lowest(self, data: st.DataObject, count: int) -> None:
        """Whoever takes the lowest free address repeatedly gets one after the other."""
        start = self.start(data)
        for _ in range(count):
            expected = nth(self.free_from(start), 0)
            assert self.free_set.lowest(start) == expected
            if expected is not None:
                self.free_set.take(expected)
                assert self.model.change(expected, expected, takes=True)

    @rule(data=st.data(), keep=st.integers(0, 3))
    def give_back_many(self, data: st.DataObject, keep: int) -> None:
        """Much of what is taken comes back."""
        for low, high in self.model.taken[data.draw(st.integers(0, 3)) :]:
            for value in range(low, min(high, low + 30) + 1):
                if keep == 0 or value % (keep + 1) != 0:
                    self.free_set.give_back(value)
                    assert self.model.change(value, value, takes=False)

    @rule(data=st.data())
    def ask_for_lowest(self, data: st.DataObject) -> None:
        """The lowest free address is found from anywhere."""
        start = self.start(data)
        assert self.free_set.lowest(start) == nth(self.free_from(start), 0)

    @rule(data=st.data())
    def ask_for_nth(self, data: st.DataObject) -> None:
        """The n-th free address is found from anywhere."""
        start = self.start(data)
        free = self.free_from(start)
        n = data.draw(st.integers(0, 9) | st.integers(0, 70) | st.integers(0, size(free) + 1))
        if data.draw(st.booleans()) and free:
            n = size(free[: len(free) // 2])  # the first of a range
        assert self.free_set.nth(n, start) == nth(free, n)

    @rule(data=st.data(), limit=st.none() | st.integers(0, 5))
    def ask_for_ranges(self, data: st.DataObject, limit: int | None) -> None:
        """The free ranges are listed from anywhere."""
        start = self.start(data)
        expected = self.free_from(start)[:limit]
        assert tuple(self.free_set.free_ranges(limit, start)) == expected

    @rule(data=st.data())
    def ask_for_one(self, data: st.DataObject) -> None:
        """Of any address in the world it is known whether it is free, and whether taken."""
        value = self.start(data) or 0
        assert self.free_set.is_free(value) == arithmetic.covers(
            self.model.free(), ((value, value),)
        )
        assert self.free_set.is_taken(value) == arithmetic.covers(
            self.model.taken, ((value, value),)
        )

    @invariant()
    def counts_agree(self) -> None:
        """The counts are exact, add up, and what is taken is what was taken."""
        counts = self.free_set.counts
        assert counts == self.model.counts()
        assert counts.total == counts.taken + counts.reserved + counts.free
        assert self.free_set.taken_outside == self.model.taken_outside()
        assert tuple(self.free_set.canonical()) == self.model.taken

    @invariant()
    def books_agree(self) -> None:
        """What makes searches quick never says anything else than what is taken does."""
        inner, first = self.free_set, self.place.first
        free = tuple((low - first, high - first) for low, high in self.model.free())
        opened = tuple(zip(inner._lows, inner._highs, strict=True))
        inside = [size(arithmetic.intersection(free, (one,))) for one in opened]
        assert inner._free_in == inside
        assert list(inner._roomy) == [index for index, room in enumerate(inside) if room]
        below = ((0, inner._frontier - 1),) if inner._frontier else ()
        assert tuple(inner._holes.runs()) == arithmetic.intersection(free, below)


class SmallMachine(FreeSetMachine):
    """Against one element per address."""

    places = SMALL_PLACES
    model_type = SetModel


class WideMachine(FreeSetMachine):
    """Against ranges, in universes of up to 2^80 addresses."""

    places = WIDE_PLACES
    range_lengths = st.integers(1, 40) | st.sampled_from((BLOCK, 5 * BLOCK, RANGE_SIZE_MAX))


SmallMachine.TestCase.settings = WideMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=30, deadline=None
)
TestSmall = SmallMachine.TestCase
TestWide = WideMachine.TestCase


@given(st.permutations(range(12)), st.sets(st.integers(12, 40)), st.booleans())
def test_history_leaves_no_trace(order: list[int], churned: set[int], asks: bool) -> None:
    """Sets that hold the same are the same, however they came about and whatever was asked."""
    straight = FreeSet(V4, 4, everything(V4, 200), NOTHING)
    straight.take_range(V4, V4 + 11)

    winding = FreeSet(V4, 4, everything(V4, 20), everything(V4 + 5, 3))
    for offset in churned:
        winding.take(V4 + offset)
    for offset in order:
        winding.take(V4 + offset)
        if asks:
            winding.lowest()
    for offset in churned:
        winding.give_back(V4 + offset)
    winding.reshape(everything(V4, 200), NOTHING)

    assert winding.canonical() == straight.canonical() == [(V4, V4 + 11)]
    assert winding.counts == straight.counts
    assert list(winding.free_ranges()) == list(straight.free_ranges()) == [(V4 + 12, V4 + 199)]


@pytest.mark.parametrize("family", [4, 6])
def test_smallest_pool(family: Family) -> None:
    """A pool of one address gives it out once, and again after it came back."""
    last = (1 << BITS[family]) - 1
    free_set = FreeSet(last, family, RangeSet(family, [(last, last)]), RangeSet(family))
    assert free_set.lowest() == last
    free_set.take(last)
    assert (free_set.lowest(), free_set.nth(0), list(free_set.free_ranges())) == (None, None, [])
    free_set.give_back(last)
    assert free_set.lowest() == last


def test_reserved_while_leased() -> None:
    """A leased address that gets reserved stays its holder's, and is not free when it is back."""
    free_set = FreeSet(V4, 4, everything(V4, 4), NOTHING)
    free_set.take(V4)
    free_set.reshape(everything(V4, 4), everything(V4, 2))
    assert free_set.counts == FreeSetCounts(total=4, taken=1, taken_in_closed=1, reserved=1, free=2)
    free_set.give_back(V4)
    assert free_set.lowest() == V4 + 2
    assert free_set.counts == FreeSetCounts(total=4, taken=0, taken_in_closed=0, reserved=2, free=2)
    free_set.reshape(everything(V4, 4), NOTHING)
    assert free_set.lowest() == V4


def test_a_whole_space_is_counted_exactly() -> None:
    """A pool of all IPv6 addresses but a reserved /64 costs and counts what it should."""
    whole, reserved = RangeSet(6, [(0, (1 << 128) - 1)]), RangeSet(6, [(0, CHUNK - 1)])
    free_set = FreeSet(0, 6, whole, reserved)
    assert free_set.lowest() == CHUNK
    free_set.take((1 << 128) - 1)
    assert free_set.counts == FreeSetCounts(1 << 128, 1, 0, CHUNK, (1 << 128) - CHUNK - 1)
    assert free_set.nth((1 << 128) - CHUNK - 2) == (1 << 128) - 2
    assert free_set.nth((1 << 128) - CHUNK - 1) is None


def test_many_full_blocks_are_passed_over() -> None:
    """In a /8 that is full but for two addresses far apart, both are found from anywhere."""
    free_set = FreeSet(V4, 4, everything(V4, 1 << 24), NOTHING)
    for low in range(V4, V4 + (1 << 24), 1 << 20):
        free_set.take_range(low, low + (1 << 20) - 1)
    assert free_set.lowest() is None
    holes = [V4 + 9_000_000, V4 + (1 << 24) - 1]
    for hole in holes:
        free_set.give_back(hole)
    free_set.reshape(everything(V4, 1 << 24), everything(V4, 1))
    assert [free_set.lowest(), free_set.lowest(holes[0] + 1)] == holes
    assert [free_set.nth(0), free_set.nth(1), free_set.nth(2)] == [*holes, None]
    assert list(free_set.free_ranges()) == [(hole, hole) for hole in holes]


def test_the_nth_is_counted_across_ranges() -> None:
    """What is taken in one range moves the n-th free address on into the next."""
    pool = RangeSet(4, [(V4, V4 + 9), (V4 + 20, V4 + 29)])
    free_set = FreeSet(V4, 4, pool, NOTHING)
    free_set.take_range(V4 + 3, V4 + 4)
    assert [free_set.nth(7), free_set.nth(8), free_set.nth(17)] == [V4 + 9, V4 + 20, V4 + 29]
    assert [free_set.nth(7, V4 + 1), free_set.nth(18)] == [V4 + 20, None]


def test_a_range_across_the_frontier() -> None:
    """A range that was partly looked at already is given back and taken like any other."""
    free_set = FreeSet(V4, 4, everything(V4, 2 * BLOCK), NOTHING)
    border = V4 + BLOCK
    assert free_set.lowest() == V4  # a block comes into view
    free_set.take_range(V4, border + 9)
    free_set.give_back_range(border - 10, border + 9)
    free_set.take_range(border - 10, border - 1)
    free_set.take(border)
    assert free_set.lowest() == border + 1


def test_an_address_far_outside_the_pool() -> None:
    """What is taken outside is kept apart, however far it lies, and can become the pool's."""
    inside = RangeSet(6, [(V6, V6 + 3)])
    free_set = FreeSet(V6, 6, inside, RangeSet(6))
    far = V6 + 7 * CHUNK
    assert not free_set.is_taken(far)
    with pytest.raises(AssertionError):
        free_set.give_back(far)
    free_set.take(far)
    assert (free_set.taken_outside, free_set.lowest()) == (1, V6)
    assert free_set.counts == FreeSetCounts(4, 0, 0, 0, 4)
    free_set.reshape(inside | RangeSet(6, [(far, far + 1)]), RangeSet(6))
    assert (free_set.taken_outside, free_set.nth(4)) == (0, far + 1)
    assert free_set.counts == FreeSetCounts(6, 1, 0, 0, 5)


def test_a_range_far_outside_the_pool() -> None:
    """A whole range may be taken outside as well, and is given back again."""
    free_set = FreeSet(V6, 6, RangeSet(6, [(V6, V6)]), RangeSet(6))
    far = V6 + 7 * CHUNK
    free_set.take_range(far - 1, far)
    assert (free_set.taken_outside, free_set.canonical()) == (2, [(far - 1, far)])
    free_set.give_back_range(far - 1, far)
    assert (free_set.taken_outside, free_set.canonical()) == (0, [])


def test_an_address_before_the_subnet_cannot_be_taken() -> None:
    """An address that no pool of this subnet can have is refused, and nothing is changed."""
    free_set = FreeSet(V4, 4, everything(V4, 4), NOTHING)
    for change in (free_set.take, free_set.give_back):
        with pytest.raises((AssertionError, OverflowError)):
            change(V4 - 1)
    assert not free_set.is_taken(V4 - 1)
    assert not free_set.is_free(V4 - 1)
    assert free_set.counts.free == 4
