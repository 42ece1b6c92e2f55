"""Blocks and single addresses in any order: the free set says what plain sets and ranges say."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from engine.addresses import RangeSet
from engine.ranges import Ranges
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
