"""Blocks and single addresses in any order: the free set says what plain sets and ranges say."""

from __future__ import annotations

from random import Random
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from engine.addresses import RangeSet
from engine.ranges import Ranges
from projections import block_set, free_blocks
from projections.block_set import BlockSet
from tests.projections.test_free_set import (
    SMALL_PLACES,
    WIDE_PLACES,
    FreeSetMachine,
    SetModel,
    points,
)

V4 = 10 << 24


def decomposed(free: Ranges) -> list[tuple[int, int]]:
    """The maximal aligned blocks of some ranges, as offset and order."""
    blocks = []
    for low, high in free:
        start = low
        while start <= high:
            order = 0
            while not start & (1 << order) and start + (2 << order) - 1 <= high:
                order += 1
            blocks.append((start, order))
            start += 1 << order
    return blocks


def maximal_of(free: set[int]) -> list[tuple[int, int]]:
    """The same of single offsets: every block that is free while the one around it is not."""

    def is_free(start: int, order: int) -> bool:
        return all(value in free for value in range(start, start + (1 << order)))

    return sorted(
        (start, order)
        for start in free
        for order in range(8)
        if start % (1 << order) == 0
        and is_free(start, order)
        and not is_free(start >> (order + 1) << (order + 1), order + 1)
    )


class BlockMachine(FreeSetMachine):
    """As the machine of the free set, with blocks."""

    set_type = BlockSet
    orders: ClassVar[tuple[int, ...]] = (0, 1, 2, 3, 4, 5, 6)

    def block(self, data: st.DataObject) -> tuple[int, int]:
        """Draw an aligned block of the universe."""
        order = data.draw(st.sampled_from(self.orders))
        offset = (self.address(data) - self.place.first) >> order << order
        return self.place.first + offset, order

    def free_offsets(self) -> Ranges:
        """What the model says is free, from the first address of the subnet."""
        first = self.place.first
        return tuple((low - first, high - first) for low, high in self.model.free())

    @rule(data=st.data())
    def take_block(self, data: st.DataObject) -> None:
        """A block is taken as a whole, or not at all."""
        low, order = self.block(data)
        if self.model.change(low, low + (1 << order) - 1, takes=True):
            self.block_set.take_block(low, order)
        else:
            with pytest.raises(AssertionError):
                self.block_set.take_block(low, order)

    @rule(data=st.data())
    def give_back_block(self, data: st.DataObject) -> None:
        """A block is given back however it was taken: as one, in parts, or in a larger one."""
        low, order = self.block(data)
        if self.model.change(low, low + (1 << order) - 1, takes=False):
            self.block_set.give_back_block(low, order)
        else:
            with pytest.raises(AssertionError):
                self.block_set.give_back_block(low, order)

    @rule(data=st.data(), count=st.integers(1, 6))
    def take_best(self, data: st.DataObject, count: int) -> None:
        """The best block is the lowest of the smallest that are large enough."""
        order = data.draw(st.sampled_from(self.orders))
        for _ in range(count):
            fitting = [(o, at) for at, o in decomposed(self.free_offsets()) if o >= order]
            found = next(self.block_set.blocks(order), None)
            if not fitting:
                assert found is None
                return
            best, at = min(fitting)
            assert found == (self.place.first + at, best)
            low = self.place.first + at
            self.block_set.take_block(low, order)
            assert self.model.change(low, low + (1 << order) - 1, takes=True)

    @rule(order=st.integers(0, 130))
    def ask_for_blocks(self, order: int) -> None:
        """The maximal blocks are listed by their size, then by their address."""
        first = self.place.first
        expected = sorted((o, at) for at, o in decomposed(self.free_offsets()) if o >= order)
        found = [(o, at - first) for at, o in self.block_set.blocks(order)]
        assert found == expected
        histogram = self.block_set.histogram()
        listed = [o for _, o in decomposed(self.free_offsets())]
        assert histogram == {o: listed.count(o) for o in set(listed)}

    @precondition(lambda self: isinstance(self.model, SetModel))
    @rule()
    def ask_every_address(self) -> None:
        """The same once more, one address after the other."""
        first = self.place.first
        free = {value - first for value in points(self.model.free())}
        found = sorted((at - first, order) for at, order in self.block_set.blocks(0))
        assert found == maximal_of(free)

    @rule()
    def keep(self) -> None:
        """What is kept is read back, and goes on."""
        kept = self.block_set.kept()
        family, first = self.place.family, self.place.first
        effective = RangeSet(family, self.model.effective)
        again = BlockSet(first, family, effective, RangeSet(family, self.model.closed))
        again.take_kept(kept)
        self.free_set = again

    @property
    def block_set(self) -> BlockSet:
        """What is tested."""
        assert isinstance(self.free_set, BlockSet)
        return self.free_set


class SmallBlockMachine(BlockMachine):
    """Against one element per address."""

    places = SMALL_PLACES
    model_type = SetModel


class WideBlockMachine(BlockMachine):
    """Against ranges, with blocks of up to 2^66 addresses."""

    places = WIDE_PLACES
    orders = (0, 1, 4, 5, 8, 15, 16, 17, 18, 19, 20, 24, 62, 63, 64, 65, 66)
    range_lengths = st.integers(1, 40) | st.sampled_from((1 << 16, 5 << 16))

    def block(self, data: st.DataObject) -> tuple[int, int]:
        """Draw a block, which may reach as far as the universe does."""
        low, order = super().block(data)
        while low + (1 << order) - 1 > self.last:
            order -= 1
        return low, order


SmallBlockMachine.TestCase.settings = WideBlockMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=30, deadline=None
)
TestSmallBlocks = SmallBlockMachine.TestCase
TestWideBlocks = WideBlockMachine.TestCase


def indexed_by_hand(free_set: BlockSet, first: int) -> list[tuple[int, int]]:
    """The maximal blocks of what a set says is free, by address."""
    free = tuple((low - first, high - first) for low, high in free_set.free_ranges())
    return decomposed(free)


@pytest.mark.parametrize("closed_every", [None, 70_000, 5_000])
@pytest.mark.parametrize("taken", [300, 20_000, 120_000, 190_000])
def test_an_index_is_made_of_pages(taken: int, closed_every: int | None) -> None:
    """Of sparse pages, of dense ones and of runs; of pages that are only partly open, too."""
    size = 3 << 16
    closed = range(100, size, closed_every) if closed_every else ()
    free_set = BlockSet(
        V4, 4, RangeSet(4, [(V4 + 7, V4 + size - 3)]),
        RangeSet(4, [(V4 + at, V4 + at + 900) for at in closed]),
    )  # fmt: skip
    random = Random(taken)  # noqa: S311 - the same addresses on every run
    free_set.take_range(V4 + 40_000, V4 + 40_999)
    for offset in random.sample([*range(40_000), *range(41_000, size)], taken):
        free_set.take(V4 + offset)
    found = sorted((low - V4, order) for low, order in free_set.blocks(0))
    assert found == indexed_by_hand(free_set, V4)


def test_a_wide_set_is_indexed_beyond_what_bits_number() -> None:
    """Pages of every chunk, and wide blocks, in the whole address space of IPv6."""
    free_set = BlockSet(0, 6, RangeSet(6, [(0, (1 << 128) - 1)]), RangeSet(6))
    assert list(free_set.blocks(0)) == [(0, 128)]
    again = BlockSet(0, 6, RangeSet(6, [(0, (1 << 128) - 1)]), RangeSet(6))
    for made in (free_set, again):
        for value in (0, 1 << 64, (1 << 127) + 5, (1 << 128) - 1):
            made.take(value)
        made.take_block(5 << 120, 120)
    expected = sorted((order, low) for low, order in indexed_by_hand(again, 0))
    assert [(order, low) for low, order in free_set.blocks(0)] == expected
    assert [(order, low) for low, order in again.blocks(0)] == expected


def test_changes_that_are_too_many_are_not_told_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is made anew, and says the same."""
    monkeypatch.setattr(free_blocks, "JOURNAL_MAX", 4)
    monkeypatch.setattr(block_set, "_RELAYS_MAX", 2)
    whole, nothing = RangeSet(4, [(V4, V4 + 255)]), RangeSet(4)
    free_set = BlockSet(V4, 4, whole, nothing)
    assert list(free_set.blocks(0)) == [(V4, 8)]
    for offset in range(0, 100, 7):
        free_set.take(V4 + offset)
        if offset % 3 == 0:
            free_set.take_block(V4 + 128 + offset // 3 * 2, 1)
    assert sorted(free_set.blocks(0)) == [
        (V4 + low, order) for low, order in indexed_by_hand(free_set, V4)
    ]
    free_set.reshape(whole, RangeSet(4, [(V4 + at, V4 + at) for at in range(1, 90, 7)]))
    assert sorted(free_set.blocks(0)) == [
        (V4 + low, order) for low, order in indexed_by_hand(free_set, V4)
    ]
    by_address = [low for low, _ in free_set.blocks_by_address(1)]
    assert by_address == sorted(by_address)
