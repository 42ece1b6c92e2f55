"""Large aligned blocks of numbers, each held as one, however large it is.

A block of order k is 2^k numbers that begin at a multiple of 2^k. What is held is kept by order, as
bitmaps of block numbers. Two halves of a block that are both held become that block, so that what
lies packed side by side is a few large blocks, and a search goes past it in as many steps.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from projections.bitmaps import (
    BLOCK_SIZE,
    CHUNK_SIZE,
    NarrowBitmap,
    WideBitmap,
    bitmap_of,
    next_held,
)

if TYPE_CHECKING:
    from pyroaring import BitMap64

# What is smaller is a matter for bits: it lies in one container of the library.
WIDE_ORDER: Final = BLOCK_SIZE.bit_length() - 1

Chunks = Sequence[tuple[int, bytes]]


class ByOrder:
    """Sets of natural numbers of any size, one for each order; none of them is ever empty."""

    __slots__ = ("_sets",)

    def __init__(self) -> None:
        self._sets: dict[int, NarrowBitmap | WideBitmap] = {}

    def __bool__(self) -> bool:
        return bool(self._sets)

    def orders(self) -> list[int]:
        """The orders that have a number, the lowest first."""
        return sorted(self._sets)

    def of(self, order: int) -> NarrowBitmap | WideBitmap:
        """The numbers of an order, which must have some."""
        return self._sets[order]

    def has(self, order: int, number: int) -> bool:
        """Whether an order has a number."""
        found = self._sets.get(order)
        return found is not None and found.range_cardinality(number, number + 1) == 1

    def add(self, order: int, number: int) -> None:
        """Give an order a number, which it must not have yet."""
        found = self._sets.get(order)
        if found is None:
            found = self._sets[order] = NarrowBitmap()
        if number >= CHUNK_SIZE and isinstance(found, NarrowBitmap):
            found = self._sets[order] = WideBitmap(found)
        found.add_checked(number)

    def remove(self, order: int, number: int) -> None:
        """Take a number from an order, which must have it."""
        found = self._sets[order]
        found.remove(number)
        if not found:
            del self._sets[order]

    def remove_range(self, order: int, start: int, end: int) -> None:
        """Take from an order the numbers from `start` to before `end`, if it has any."""
        found = self._sets[order]
        found.remove_range(start, end)
        if not found:
            del self._sets[order]

    def chunks(self) -> list[tuple[int, Chunks]]:
        """All of them, as `of_chunks` reads them."""
        return [(order, self._sets[order].chunks()) for order in self.orders()]

    @classmethod
    def of_chunks(cls, told: Sequence[tuple[int, Chunks]]) -> ByOrder:
        """What `chunks` wrote."""
        made = cls()
        made._sets = {order: bitmap_of(chunks) for order, chunks in told}
        return made


class WideBlocks:
    """A set of numbers that consists of aligned blocks of at least 2^16."""

    __slots__ = ("_held",)

    def __init__(self, held: ByOrder | None = None) -> None:
        self._held = ByOrder() if held is None else held

    def __bool__(self) -> bool:
        return bool(self._held)

    def __contains__(self, number: int) -> bool:
        return self.end_of(number) is not None

    def end_of(self, number: int) -> int | None:
        """Where the held block ends that a number lies in, or None if it lies in none."""
        held = self._held
        for order in held.orders():
            if held.has(order, number >> order):
                return ((number >> order) + 1) << order
        return None

    def add(self, start: int, order: int) -> None:
        """Hold a block, of which nothing may be held yet."""
        held, number = self._held, start >> order
        while held.has(order, number ^ 1):
            held.remove(order, number ^ 1)
            number >>= 1
            order += 1
        held.add(order, number)

    def remove(self, start: int, order: int) -> None:
        """Hold no part of a block any more."""
        held = self._held
        for above in held.orders():
            if above < order:
                first = start >> above
                held.remove_range(above, first, first + (1 << (order - above)))
            elif held.has(above, start >> above):
                held.remove(above, start >> above)
                for below in range(order, above):  # the halves beside it stay held
                    held.add(below, (start >> below) ^ 1)

    def next_outside(self, number: int) -> int:
        """The lowest number from `number` on that is in no held block."""
        while (end := self.end_of(number)) is not None:
            number = end
        return number

    def next_inside(self, number: int) -> int | None:
        """The lowest number from `number` on that is in a held block, or None."""
        if number in self:
            return number
        found: int | None = None
        for order in self._held.orders():
            following = next_held(self._held.of(order), (number >> order) + 1)
            if following is not None and (found is None or following << order < found):
                found = following << order
        return found

    def count(self, start: int, end: int) -> int:
        """How many held numbers there are from `start` to before `end`."""
        total = 0
        for order in self._held.orders():
            first, last = start >> order, (end - 1) >> order
            total += self._held.of(order).range_cardinality(first, last + 1) << order
            if self._held.has(order, first):
                total -= start - (first << order)
            if self._held.has(order, last):
                total -= ((last + 1) << order) - end
        return total

    def runs(self) -> Iterator[tuple[int, int]]:
        """The ranges held, the lowest first; those of two blocks side by side are two."""
        return heapq.merge(*(self._runs_of(order) for order in self._held.orders()))

    def _runs_of(self, order: int) -> Iterator[tuple[int, int]]:
        for low, high in self._held.of(order).runs():
            yield low << order, ((high + 1) << order) - 1

    def chunks(self) -> list[tuple[int, Chunks]]:
        """As `ByOrder.chunks`."""
        return self._held.chunks()


class BlockBitmap:
    """A set of numbers, some as bits and some as wide blocks. No number is in both.

    It answers what `NarrowBitmap` and `WideBitmap` do, and takes the place of one when the first
    wide block is held.
    """

    __slots__ = ("bits", "wide")

    def __init__(self, bits: NarrowBitmap | WideBitmap, wide: WideBlocks | None = None) -> None:
        self.bits = bits
        self.wide = WideBlocks() if wide is None else wide

    def __bool__(self) -> bool:
        return bool(self.bits) or bool(self.wide)

    def __contains__(self, number: int) -> bool:
        return number in self.bits or number in self.wide

    def add_checked(self, number: int) -> None:
        """Add a number.

        Raises:
            KeyError: It is held already.
        """
        if number in self.wide:
            raise KeyError(number)
        self.bits.add_checked(number)

    def remove(self, number: int) -> None:
        """Remove a number.

        Raises:
            KeyError: It is not held.
        """
        self._spread(number)
        self.bits.remove(number)

    def add_range(self, start: int, end: int) -> None:
        """Add numbers, of which none is held, as bits."""
        self.bits.add_range(start, end)

    def remove_range(self, start: int, end: int) -> None:
        """Remove the numbers from `start` to before `end`, all of which are held."""
        while start < end:
            page = start & -BLOCK_SIZE
            piece_end = min(end, page + BLOCK_SIZE)
            if (page, page + BLOCK_SIZE) == (start, piece_end):
                self.remove_block(start, WIDE_ORDER)
            else:
                self._spread(start)
                self.bits.remove_range(start, piece_end)
            start = piece_end

    def add_block(self, start: int, order: int) -> None:
        """Add a wide block, of which nothing is held."""
        self.wide.add(start, order)

    def remove_block(self, start: int, order: int) -> None:
        """Remove all numbers of a wide block, however they are held."""
        self.wide.remove(start, order)
        if self.bits:
            self.bits.remove_range(start, start + (1 << order))

    def range_cardinality(self, start: int, end: int) -> int:
        """Return how many numbers are held from `start` to before `end`."""
        return self.bits.range_cardinality(start, end) + self.wide.count(start, end)

    def next_set_bit(self, start: int) -> int:
        """Return the lowest number held from `start` on.

        Raises:
            ValueError: There is none.
        """
        inside = self.wide.next_inside(start)
        held = next_held(self.bits, start)
        if inside is None:
            if held is None:
                raise ValueError("no number from there on is held")
            return held
        return inside if held is None else min(inside, held)

    def next_clear(self, start: int) -> int:
        """Return the lowest number from `start` on that is not held."""
        while True:
            start = self.bits.next_clear(start)
            end = self.wide.end_of(start)
            if end is None:
                return start
            start = end

    def nth_clear(self, start: int, n: int) -> int:
        """Return the number not held that has exactly `n` such numbers from `start` to it."""
        while True:
            start = self.wide.next_outside(start)
            end = self.wide.next_inside(start)
            if end is None:
                return self.bits.nth_clear(start, n)
            room = end - start - self.bits.range_cardinality(start, end)
            if n < room:
                return self.bits.nth_clear(start, n)
            n -= room
            start = end

    def runs(self) -> Iterator[tuple[int, int]]:
        """Return the ranges held, the lowest first, each with its lowest and highest number."""
        pending: tuple[int, int] | None = None
        for low, high in heapq.merge(self.bits.runs(), self.wide.runs()):
            if pending is not None and pending[1] + 1 == low:
                pending = (pending[0], high)
                continue
            if pending is not None:
                yield pending
            pending = (low, high)
        if pending is not None:
            yield pending

    def chunks(self) -> list[tuple[int, bytes]]:
        """What is held as bits, as `bitmap_of` reads it; `WideBlocks.chunks` has the rest."""
        return self.bits.chunks()

    def _spread(self, number: int) -> None:
        """Hold the page of a number as bits, if it is part of a wide block."""
        if number in self.wide:
            page = number & -BLOCK_SIZE
            self.wide.remove(page, WIDE_ORDER)
            self.bits.add_range(page, page + BLOCK_SIZE)


def bits_of(taken: NarrowBitmap | WideBitmap | BlockBitmap) -> NarrowBitmap | WideBitmap:
    """What of a set is held as bits."""
    return taken.bits if isinstance(taken, BlockBitmap) else taken


def widened(taken: NarrowBitmap | WideBitmap | BlockBitmap) -> WideBitmap | BlockBitmap:
    """The same set, whose bits may be of numbers of any size; the old one is of no use any more."""
    bits = bits_of(taken)
    wide = WideBitmap(bits) if isinstance(bits, NarrowBitmap) else bits
    return BlockBitmap(wide, taken.wide) if isinstance(taken, BlockBitmap) else wide


def by_chunk(bitmap: NarrowBitmap | WideBitmap) -> Iterator[tuple[int, BitMap64]]:
    """The chunks of a set, each with the number that it begins at."""
    if isinstance(bitmap, NarrowBitmap):
        yield 0, bitmap
    else:
        yield from bitmap.by_chunk()
