"""The free set of a pool that also gives out aligned blocks.

A block is small (it lies within 2^16 addresses) or wide. A small one is kept as bits beside the
single addresses, a wide one as what it is. Which blocks are free is kept in an index, made when a
block is asked for the first time; from then on each change is told to it. Nothing of this costs
anything in a pool of which nobody wants blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from engine.addresses import RangeSet
from projections.bitmaps import BLOCK_SIZE, CHUNK_SIZE, bitmap_of, next_held
from projections.containers import pages
from projections.free_blocks import FreeBlocks
from projections.free_set import FreeSet
from projections.wide_blocks import (
    WIDE_ORDER,
    BlockBitmap,
    ByOrder,
    WideBlocks,
    bits_of,
    by_chunk,
    widened,
)

# An index is made anew rather than told of more changes than this at once.
_RELAYS_MAX: Final = 4_096

Kept = tuple[Sequence[tuple[int, bytes]], Sequence[tuple[int, Sequence[tuple[int, bytes]]]]]


class BlockSet(FreeSet):
    """A free set with blocks: of 2^order addresses, that begin at a multiple of as much."""

    __slots__ = ("_index",)

    def __init__(self, *args: Any) -> None:
        """As a `FreeSet`."""
        self._index: FreeBlocks | None = None
        super().__init__(*args)

    # ------------------------------------------------------------------------- taking and giving

    def take_block(self, low: int, order: int) -> None:
        """Mark a block as taken. Nothing of it must be taken already."""
        if order < WIDE_ORDER:
            self.take_range(low, low + (1 << order) - 1)
            return
        start, end = self._block_bounds(low, order)
        self._make_room_for(end - 1)
        assert not self._taken.range_cardinality(start, end), "a part of the block is taken already"
        if not isinstance(self._taken, BlockBitmap):
            self._taken = BlockBitmap(self._taken)
        self._taken.add_block(start, order)
        for index, piece_start, piece_end in self._open_pieces(start, end):
            self._holes.remove_range(piece_start, piece_end)
            self._change_free(index, piece_start - piece_end)
        self._count_not_open(low, low + (1 << order) - 1, 1)
        self._tell(start, end, free=False)

    def give_back_block(self, low: int, order: int) -> None:
        """Mark a block as no longer taken. All of it must be, as one or in parts."""
        if order < WIDE_ORDER:
            self.give_back_range(low, low + (1 << order) - 1)
            return
        start, end = self._block_bounds(low, order)
        assert self._taken.range_cardinality(start, end) == end - start, "a part is not taken"
        if isinstance(self._taken, BlockBitmap):
            self._taken.remove_block(start, order)
        else:
            self._taken.remove_range(start, end)
        if start < self._frontier:  # what is wide is never spread into holes
            self._holes.remove_range(start, self._frontier)
            self._frontier = start
        for index, piece_start, piece_end in self._open_pieces(start, end):
            self._change_free(index, piece_end - piece_start)
        self._count_not_open(low, low + (1 << order) - 1, -1)
        self._tell(start, end, free=True)

    def take_range(self, low: int, high: int) -> None:
        """As `FreeSet.take_range`."""
        super().take_range(low, high)
        self._tell(low - self._first, high - self._first + 1, free=False)

    def give_back_range(self, low: int, high: int) -> None:
        """As `FreeSet.give_back_range`."""
        super().give_back_range(low, high)
        self._tell(low - self._first, high - self._first + 1, free=True)

    def _block_bounds(self, low: int, order: int) -> tuple[int, int]:
        start = low - self._first
        assert start >= 0, "the block lies before the subnet"
        assert not start & (1 << order) - 1, "the block is not aligned"
        return start, start + (1 << order)

    # -------------------------------------------------------------------------------- questions

    def blocks(self, order: int) -> Iterator[tuple[int, int]]:
        """The maximal free blocks of at least this order: the smallest first, then the lowest.

        Each with its first address and its order. Nothing may change meanwhile.
        """
        first = self._first
        for start, found in self._up_to_date().blocks(order):
            yield first + start, found

    def blocks_by_address(self, order: int) -> Iterator[tuple[int, int]]:
        """As `blocks`, the lowest first whatever their size."""
        first = self._first
        for start, found in self._up_to_date().by_address(order):
            yield first + start, found

    def taken_in(self, low: int, high: int) -> int:
        """Count what is taken from one address to another."""
        return self._taken.range_cardinality(low - self._first, high - self._first + 1)

    def histogram(self) -> dict[int, int]:
        """How many maximal free blocks there are of each order that has any."""
        return self._up_to_date().histogram()

    # ----------------------------------------------------------------------------------- keeping

    def kept(self) -> Kept:
        """What is taken, as `take_kept` reads it."""
        wide = self._taken.wide.chunks() if isinstance(self._taken, BlockBitmap) else []
        return self.chunks(), wide

    def take_kept(self, kept: Kept) -> None:
        """Take what `kept` told, of a set of which nothing is taken."""
        bits, wide = bitmap_of(kept[0]), WideBlocks(ByOrder.of_chunks(kept[1]))
        taken = BlockBitmap(bits, wide) if wide else bits
        # A part of a wide block may come back as bits, wherever it lies.
        self._take_all(widened(taken) if wide.count(CHUNK_SIZE, 1 << 128) else taken)

    # --------------------------------------------------------------------------------- the index

    def _up_to_date(self) -> FreeBlocks:
        if self._index is not None and not self._index.overflown:
            self._index.catch_up()
            return self._index
        self._index = self._build()
        self._journal = self._index.journal
        return self._index

    def _tell(self, start: int, end: int, *, free: bool) -> None:
        """What is open of some offsets is free now, or not; none of it was so."""
        if self._index is None or self._index.overflown:
            return
        self._index.catch_up()
        for _, piece_start, piece_end in self._open_pieces(start, end):
            self._index.set_range(piece_start, piece_end, free=free)

    def _lay_out(self, effective: RangeSet, closed: RangeSet) -> None:
        before = self._open
        super()._lay_out(effective, closed)
        if self._index is None:
            return
        if self._index.overflown or not self._relay(before):
            self._index = self._journal = None  # made anew when a block is asked for again

    def _relay(self, before: RangeSet) -> bool:
        """Tell the index what became open and what was closed, unless that is very much."""
        assert self._index is not None, "there is one to be told"
        self._index.catch_up()
        relays: list[tuple[int, int, bool]] = []
        changed = ((before - self._open, False), (self._open - before, True))
        for ranges, free in changed:
            for low, high in ranges:
                for start, end in self._untaken(low - self._first, high - self._first + 1):
                    relays.append((start, end, free))
                    if len(relays) > _RELAYS_MAX:
                        return False
        for start, end, free in relays:
            self._index.set_range(start, end, free=free)
        return True

    def _untaken(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """What is not taken from an offset to before another: start and end of each range."""
        while (start := self._taken.next_clear(start)) < end:
            taken = next_held(self._taken, start)
            stop = end if taken is None else min(end, taken)
            yield start, stop
            start = stop

    def _build(self) -> FreeBlocks:
        """The index, of what is open and of what is taken."""
        index = FreeBlocks()
        for low, high in zip(self._lows, self._highs, strict=True):
            index.set_range(low, high + 1, free=True)
        if isinstance(self._taken, BlockBitmap):
            for low, high in self._taken.wide.runs():
                for _, start, end in self._open_pieces(low, high + 1):
                    index.set_range(start, end, free=False)
        for base, bitmap in by_chunk(bits_of(self._taken)):
            for number, held in pages(bitmap):
                page = (base >> WIDE_ORDER) + number
                start = page << WIDE_ORDER
                pieces = [
                    (low - start, end - 1 - start)
                    for _, low, end in self._open_pieces(start, start + BLOCK_SIZE)
                ]
                if pieces == [(0, BLOCK_SIZE - 1)]:
                    index.take_page(page, held)
                elif pieces:
                    index.take_page(page, held, pieces)
        return index
