"""The maximal free aligned blocks of one pool: found by size, the lowest first.

A block of order k is 2^k offsets that begin at a multiple of 2^k; it is maximal if the block of the
next order around it is not all free. What is free is a tree of nodes with 256 children each. Level
0 has a leaf for each 256 offsets; a node knows, in one mask of 256 bits, which of its children are
free throughout. A node that none or all of is free is left out, so that a `::/64` of which one
address is taken is eight nodes, and one that is free is none. For each order there is a bitmap of
the nodes that have a maximal block of it: a node of level n has those of orders 8n to 8n + 7.

Whether a node that is left out is free throughout, or not at all, is told by what happens to it:
only what is free can be taken, and only what is not can be given back.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import Final

from engine.ranges import aligned_blocks
from projections.bitmaps import next_held
from projections.containers import LEAF_BYTES, Runs
from projections.wide_blocks import ByOrder

SCHEMA_VERSION = 1

_BITS: Final = 8
_CHILDREN: Final = 1 << _BITS
_ALL: Final = (1 << _CHILDREN) - 1
_LEVELS: Final = 17  # the last one has the whole of the IPv6 address space as a child
_NONE_HELD: Final = bytes(LEAF_BYTES)
# Every second bit, every fourth, and so on: where a block of twice the size can begin.
_ALIGNED: Final = tuple(_ALL // ((1 << (1 << (r + 1))) - 1) for r in range(_BITS))
# So many changes of single addresses are remembered between two questions. When there were more,
# the index is built anew, which costs less than to make up for a missed one would.
JOURNAL_MAX: Final = 1 << 17
_RUNS_MAX: Final = 64


def maximal(mask: int, order: int) -> int:
    """Where in a mask of free children the maximal blocks of 2^order of them begin."""
    for r in range(order + 1):
        joined = mask & (mask >> (1 << r)) & _ALIGNED[r]
        if r == order:
            return mask & ~(joined | joined << (1 << r))
        mask = joined
    raise AssertionError("there is no order below the first")


def _orders_in(mask: int) -> int:
    """Which orders have a maximal block in a mask: a bit for each of the eight."""
    found = 0
    for r in range(_BITS):
        joined = mask & (mask >> (1 << r)) & _ALIGNED[r]
        if mask & ~(joined | joined << (1 << r)):
            found |= 1 << r
        if not joined:
            return found
        mask = joined
    return found


def _bits_of(runs: Runs) -> bytes:
    """The bits of a page, of its runs."""
    mask = sum(((1 << (high + 1 - low)) - 1) << low for low, high in runs)
    return mask.to_bytes(LEAF_BYTES * _CHILDREN, "little")


class FreeBlocks:
    """Which aligned blocks are free. It begins with nothing that is."""

    __slots__ = ("_journal", "_nodes", "_with")

    def __init__(self) -> None:
        # The mask, and below it the orders that it has.
        self._nodes: list[dict[int, int]] = [{} for _ in range(_LEVELS)]
        self._with = ByOrder()
        self._journal: deque[int] = deque(maxlen=JOURNAL_MAX)

    # ------------------------------------------------------------------------------ being changed

    @property
    def journal(self) -> deque[int]:
        """Where an offset is put that is no longer free, and the complement of one that is again.

        Nothing else is done with it before somebody asks.
        """
        return self._journal

    @property
    def overflown(self) -> bool:
        """Whether changes may have been forgotten, so that the index is of no use any more."""
        return len(self._journal) == JOURNAL_MAX

    def catch_up(self) -> None:
        """Take in what is in the journal."""
        assert not self.overflown, "some of it is lost"
        if not self._journal:
            return
        leaves = self._nodes[0]
        old: dict[int, int] = {}
        new: dict[int, int] = {}
        for entry in self._journal:
            freed = entry < 0
            offset = ~entry if freed else entry
            leaf = offset >> _BITS
            mask = new.get(leaf)
            if mask is None:
                stored = leaves.get(leaf)
                mask = stored >> _BITS if stored is not None else 0 if freed else _ALL
                old[leaf] = mask
            new[leaf] = mask ^ 1 << (offset & _CHILDREN - 1)
        self._journal.clear()
        for leaf, mask in new.items():
            self._replace(0, leaf, old[leaf], mask)

    def set_range(self, start: int, end: int, *, free: bool) -> None:
        """The offsets from `start` to before `end` are free now, or not; none of them was so."""
        for low, order in aligned_blocks(start, end - 1):
            self.set_block(low, order, free=free)

    def set_block(self, start: int, order: int, *, free: bool) -> None:
        """As `set_range`, of an aligned block."""
        level, within = divmod(order, _BITS)
        child = start >> (_BITS * level)
        bits = ((1 << (1 << within)) - 1) << (child & _CHILDREN - 1)
        self._change(level, child >> _BITS, bits, free=free)

    def take_page(self, page: int, held: Runs | bytes, opened: Runs | None = None) -> None:
        """Of a page of 2^16 offsets, these are not free: how an index begins.

        All others are, or those that are `opened`, and have been set so.
        """
        base = page << 2 * _BITS
        if not isinstance(held, bytes):
            if opened is None and len(held) <= _RUNS_MAX:
                for low, high in held:
                    self.set_range(base + low, base + high + 1, free=False)
                return
            held = _bits_of(held)
        first, touched = page << _BITS, 0
        before = None if opened is None else _bits_of(opened)
        for at in range(_CHILDREN):
            raw = held[at * LEAF_BYTES : (at + 1) * LEAF_BYTES]
            if raw == _NONE_HELD:
                continue
            old = _ALL
            if before is not None:
                old = int.from_bytes(before[at * LEAF_BYTES : (at + 1) * LEAF_BYTES], "little")
            new = old & ~int.from_bytes(raw, "little")
            if old == _ALL:
                touched |= 1 << at
                self._begin_leaf(first + at, new)
            elif new != old:
                self._replace(0, first + at, old, new)
        if touched:
            self._change(1, page, touched, free=False)

    def _begin_leaf(self, number: int, mask: int) -> None:
        """A leaf that was free throughout has another mask; its parent is told with others."""
        if not mask:
            return
        has = _orders_in(mask)
        self._nodes[0][number] = mask << _BITS | has
        while has:
            lowest = has & -has
            self._with.add(lowest.bit_length() - 1, number)
            has ^= lowest

    def _change(self, level: int, number: int, bits: int, *, free: bool) -> None:
        stored = self._nodes[level].get(number)
        old = stored >> _BITS if stored is not None else 0 if free else _ALL
        assert old & bits == (0 if free else bits), "it is so already"
        self._replace(level, number, old, old ^ bits)

    def _replace(self, level: int, number: int, old: int, new: int) -> None:
        """A node has another mask; its parent is told if it was, or is, free throughout."""
        nodes = self._nodes[level]
        had = nodes[number] & _CHILDREN - 1 if number in nodes else 0
        if new in {0, _ALL}:
            nodes.pop(number, None)
            has = 0
        else:
            has = _orders_in(new)
            nodes[number] = new << _BITS | has
        changed = had ^ has
        while changed:
            lowest = changed & -changed
            order = _BITS * level + lowest.bit_length() - 1
            if has & lowest:
                self._with.add(order, number)
            else:
                self._with.remove(order, number)
            changed ^= lowest
        if new != old and _ALL in {new, old}:
            bit = 1 << (number & _CHILDREN - 1)
            self._change(level + 1, number >> _BITS, bit, free=new == _ALL)

    # ---------------------------------------------------------------------------------- questions

    def blocks(self, order: int) -> Iterator[tuple[int, int]]:
        """The maximal free blocks of at least this order: the smallest first, then the lowest.

        Each with its first offset and its order. Nothing may change meanwhile.
        """
        for at_least in self._with.orders():
            if at_least >= order:
                yield from self._of(at_least)

    def by_address(self, order: int) -> Iterator[tuple[int, int]]:
        """As `blocks`, the lowest first whatever their size."""
        fitting = [found for found in self._with.orders() if found >= order]
        return heapq.merge(*(self._of(found) for found in fitting))

    def _of(self, order: int) -> Iterator[tuple[int, int]]:
        level, within = divmod(order, _BITS)
        numbers = self._with.of(order)
        number = next_held(numbers, 0)
        while number is not None:
            begins = maximal(self._nodes[level][number] >> _BITS, within)
            while begins:
                lowest = begins & -begins
                child = (number << _BITS) + lowest.bit_length() - 1
                yield child << (_BITS * level), order
                begins ^= lowest
            number = next_held(numbers, number + 1)

    def histogram(self) -> dict[int, int]:
        """How many maximal free blocks there are of each order that has any."""
        found: dict[int, int] = {}
        for order in self._with.orders():
            level, within = divmod(order, _BITS)
            numbers = self._with.of(order)
            nodes, number = self._nodes[level], next_held(numbers, 0)
            count = 0
            while number is not None:
                count += maximal(nodes[number] >> _BITS, within).bit_count()
                number = next_held(numbers, number + 1)
            found[order] = count
        return found
