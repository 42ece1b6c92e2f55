"""Which addresses of one pool may be given out, and how many.

What is *taken* is a compressed bitmap of offsets from the subnet's first address; a pool's subnet
never changes, so the bitmap never has to be laid anew. What is *open* (the pool's addresses minus
what is closed: reserved, for one) is a short list of ranges, and never bits: a closed `::/64` costs
what a closed `/30` does. Free is what is open and not taken.

Two things make the lowest free address cost the same in an empty pool and in one that is full but
for one address. Every open range counts its free addresses, so that full ranges are passed over
together. And up to a *frontier* that moves upwards as addresses are asked for, the free addresses
are kept as a bitmap of their own, so that what is given back is found again without a search. Both
are worked out from the open ranges and the taken bitmap and never change an answer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence

from pyroaring import BitMap

from engine.addresses import BITS, Family, RangeSet
from engine.ranges import size_between
from projections.bitmaps import BLOCK_SIZE, CHUNK_SIZE, Bitmap, NarrowBitmap, bitmap_of, next_held
from projections.free_counts import FreeSetCounts
from projections.wide_blocks import BlockBitmap, bits_of, widened

# Taking a range costs by its bits. Anything larger is a matter for ranges, not for bitmaps.
RANGE_SIZE_MAX = 1 << 20


class FreeSet:
    """The free addresses of one pool. Addresses are spoken of as numbers.

    An address may be taken that is not open: it was leased before it was reserved, or before the
    pool was shrunk. It stays taken until it is given back, and then is not free.
    """

    __slots__ = (
        "_closed",
        "_closed_size",
        "_effective",
        "_first",
        "_free",
        "_free_in",
        "_frontier",
        "_highs",
        "_holes",
        "_journal",
        "_lows",
        "_open",
        "_roomy",
        "_taken",
        "_taken_in_closed",
        "_taken_outside",
        "_total",
    )

    def __init__(
        self, subnet_first: int, family: Family, effective: RangeSet, closed: RangeSet
    ) -> None:
        """Begin with nothing taken.

        Args:
            subnet_first: The lowest address of the pool's subnet.
            family: The pool's address family.
            effective: The pool's addresses, without those that it excludes.
            closed: What must not be given out; it may reach beyond the pool.
        """
        self._first = subnet_first
        self._taken: Bitmap | BlockBitmap = NarrowBitmap()
        # Where changes of what is free are told, once somebody has asked for a block.
        self._journal: deque[int] | None = None
        self._taken_in_closed = self._taken_outside = self._free = self._frontier = 0
        self._effective = self._open = RangeSet(family)
        self._lay_out(effective, effective & closed)

    def chunks(self) -> list[tuple[int, bytes]]:
        """What is taken, as `restored` reads it."""
        return self._taken.chunks()

    def take_chunks(self, chunks: Sequence[tuple[int, bytes]]) -> None:
        """Take what `chunks` told, of a set of which nothing is taken."""
        self._take_all(bitmap_of(chunks))

    def _take_all(self, taken: Bitmap | BlockBitmap) -> None:
        self._taken = taken  # all of it is outside until it is laid out
        self._forget_holes()
        self._taken_outside = self._taken.range_cardinality(0, 1 << 128)
        effective, self._effective = self._effective, RangeSet(self._effective.family)
        self._open = self._effective
        self._free = 0
        self._lay_out(effective, self._closed)

    def reshape(self, effective: RangeSet, closed: RangeSet) -> None:
        """Change the pool's addresses, or what of them is closed. What is taken stays taken."""
        closed_here = effective & closed
        if effective != self._effective or closed_here != self._closed:
            self._lay_out(effective, closed_here)

    # ------------------------------------------------------------------------- taking and giving

    def take(self, value: int) -> None:
        """Mark an address as taken. It must not be taken already."""
        if self.take_open(value):
            return
        offset = value - self._first
        try:
            self._taken.add_checked(offset)
        except KeyError:
            raise AssertionError(f"address {value:#x} is taken already") from None
        except OverflowError:  # none of the pool's, or the bitmap would be wide enough
            self._make_room_for(offset)
            self._taken.add_checked(offset)
        self._count_not_open(value, value, 1)

    def take_open(self, value: int) -> bool:
        """Mark an address as taken if it is free; False, and nothing is done, if it is not."""
        offset = value - self._first
        index = bisect_right(self._lows, offset) - 1
        if index < 0 or offset > self._highs[index]:
            return False
        try:
            self._taken.add_checked(offset)
        except KeyError:
            return False
        if offset < self._frontier:
            self._holes.remove(offset)
        if self._journal is not None:
            self._journal.append(offset)
        self._free -= 1
        free = self._free_in[index] = self._free_in[index] - 1
        if not free:
            self._roomy.remove(index)
        return True

    def give_back(self, value: int) -> None:
        """Mark an address as no longer taken. It must be taken."""
        offset = value - self._first
        try:
            self._taken.remove(offset)
        except (KeyError, OverflowError):
            raise AssertionError(f"address {value:#x} is not taken") from None
        index = bisect_right(self._lows, offset) - 1
        if index < 0 or offset > self._highs[index]:
            self._count_not_open(value, value, -1)
            return
        if offset < self._frontier:
            self._holes.add_checked(offset)
        if self._journal is not None:
            self._journal.append(~offset)
        self._free += 1
        free = self._free_in[index]
        self._free_in[index] = free + 1
        if not free:
            self._roomy.add(index)

    def take_range(self, low: int, high: int) -> None:
        """Mark all addresses of a range as taken. None of them must be taken already.

        It is meant to be given back as a range: giving back its addresses one by one costs up to
        five times as much, since the library keeps a block that is full at once as a run.
        """
        start, end = self._checked_bounds(low, high)
        self._make_room_for(end - 1)
        assert not self._taken.range_cardinality(start, end), "a part of the range is taken already"
        self._taken.add_range(start, end)
        for index, piece_start, piece_end in self._open_pieces(start, end):
            self._holes.remove_range(piece_start, piece_end)
            self._change_free(index, piece_start - piece_end)
        self._count_not_open(low, high, 1)

    def give_back_range(self, low: int, high: int) -> None:
        """Mark all addresses of a range as no longer taken. All of them must be taken."""
        start, end = self._checked_bounds(low, high)
        held = self._taken.range_cardinality(start, end)
        assert held == end - start, "a part of the range is not taken"
        self._taken.remove_range(start, end)
        for index, piece_start, piece_end in self._open_pieces(start, end):
            if piece_start < self._frontier:
                self._holes.add_range(piece_start, min(piece_end, self._frontier))
            self._change_free(index, piece_end - piece_start)
        self._count_not_open(low, high, -1)

    # -------------------------------------------------------------------------------- questions

    @property
    def counts(self) -> FreeSetCounts:
        """How the pool's addresses divide."""
        taken = self._total - self._closed_size - self._free + self._taken_in_closed
        reserved = self._closed_size - self._taken_in_closed
        return FreeSetCounts(self._total, taken, self._taken_in_closed, reserved, self._free)

    @property
    def taken_outside(self) -> int:
        """How many taken addresses are none of the pool's: none, as the ledger's rules have it.

        Rule V20 refuses a pool update that would leave a lease outside. If one is outside all the
        same, it is in no other count.
        """
        return self._taken_outside

    @property
    def open(self) -> RangeSet:
        """What is not closed, taken or not."""
        return self._open

    def taken_within(self, ranges: RangeSet) -> int:
        """Count what is taken of the addresses in `ranges`."""
        return self._count_taken(ranges)

    def is_taken(self, value: int) -> bool:
        """Tell whether an address is taken, wherever it lies."""
        offset = value - self._first
        # Unlike membership, this question may be asked of an offset of any size.
        return offset >= 0 and self._taken.range_cardinality(offset, offset + 1) == 1

    def is_free(self, value: int) -> bool:
        """Tell whether an address may be given out."""
        return value in self._open and value - self._first not in self._taken

    def lowest(self, start: int | None = None) -> int | None:
        """Return the lowest free address, or the lowest from `start` on; None if there is none."""
        offset = self._lowest(0 if start is None else max(start - self._first, 0))
        return None if offset is None else self._first + offset

    def run(self, start: int) -> tuple[int, int] | None:
        """Return the lowest free address from `start` on, and one up to which all is free."""
        low = self.lowest(start)
        return None if low is None else (low, self._first + self._end(low - self._first))

    def nth(self, n: int, start: int | None = None) -> int | None:
        """Return the free address with exactly `n` free ones below it (but not below `start`).

        It is None if there are not so many. It costs by `n` only over many open ranges.
        """
        assert n >= 0, "there is no address before the lowest"
        offset = self._lowest(0 if start is None else max(start - self._first, 0))
        if offset is None:
            return None
        index = bisect_right(self._lows, offset) - 1
        end = self._highs[index] + 1
        if n < end - offset:
            found = self._taken.nth_clear(offset, n)
            if found < end:
                return self._first + found
        n -= end - offset - self._taken.range_cardinality(offset, end)
        for following in self._roomy.iter_equal_or_larger(index + 1):
            if n < self._free_in[following]:
                return self._first + self._taken.nth_clear(self._lows[following], n)
            n -= self._free_in[following]
        return None

    def free_ranges(
        self, limit: int | None = None, start: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """Find the ranges of free addresses one by one, the lowest first.

        Args:
            limit: Stop after so many ranges.
            start: Leave out what is below this address.
        """
        offset = self._search(0 if start is None else max(start - self._first, 0))
        while offset is not None and limit != 0:
            end = self._end(offset)
            yield self._first + offset, self._first + end
            limit = None if limit is None else limit - 1
            offset = self._search(end + 1)

    def canonical(self) -> list[tuple[int, int]]:
        """Return the ranges of all that is taken, lowest first: the same however it came about."""
        first = self._first
        return [(first + low, first + high) for low, high in self._taken.runs()]

    # --------------------------------------------------------------------------------- searching

    def _lowest(self, start: int) -> int | None:
        """Return the lowest free offset from `start` on, or None."""
        if start < self._frontier and self._holes:
            try:
                return self._holes.next_set_bit(start)
            except ValueError:
                pass  # all holes are below the start
        if start <= self._frontier:
            return self._advance()
        return self._search(start)

    def _end(self, offset: int) -> int:
        """The last of the free offsets that follow a free one without a gap."""
        last = self._highs[bisect_right(self._lows, offset) - 1]
        taken = next_held(self._taken, offset)
        return last if taken is None else min(last, taken - 1)

    def _advance(self) -> int | None:
        """Move the frontier past the next free offset, and return that; None if there is none."""
        offset = self._search(self._frontier)
        if offset is None:
            return None
        # Up to the end of the block costs hardly more than this one offset, and is asked for next.
        range_end = self._highs[bisect_right(self._lows, offset) - 1] + 1
        end = min(range_end, (offset | BLOCK_SIZE - 1) + 1)
        self._holes.add_missing(bits_of(self._taken), offset, end)  # no wide block begins there
        self._frontier = end
        return offset

    def _search(self, start: int) -> int | None:
        """Find the lowest free offset from `start` on without the help of the frontier."""
        index = bisect_left(self._highs, start)
        while (roomy := next_held(self._roomy, index)) is not None:
            offset = self._taken.next_clear(max(start, self._lows[roomy]))
            if offset <= self._highs[roomy]:
                return offset
            index = roomy + 1  # its free addresses are all below the start
        return None

    # ------------------------------------------------------------------------------- bookkeeping

    def _lay_out(self, effective: RangeSet, closed: RangeSet) -> None:
        """Work out everything that follows from the pool's ranges and from what is taken."""
        taken = self._open.size - self._free + self._taken_in_closed + self._taken_outside
        if effective != self._effective:
            last = (1 << BITS[effective.family]) - 1
            everything = RangeSet(effective.family, [(self._first, last)])
            self._taken_outside = self._count_taken(everything - effective)
        if effective:
            self._make_room_for(effective.ranges[-1][1] - self._first)
        self._effective, self._closed, self._open = effective, closed, effective - closed
        self._lows = [low - self._first for low, _ in self._open]
        self._highs = [high - self._first for _, high in self._open]
        self._forget_holes()
        self._total = effective.size
        self._closed_size = closed.size
        self._taken_in_closed = self._count_taken(closed)
        self._count_free(taken - self._taken_in_closed - self._taken_outside)

    def _make_room_for(self, offset: int) -> None:
        """Widen the bitmaps if they cannot hold an offset."""
        assert offset >= 0, "the address lies before the subnet"
        if offset >= CHUNK_SIZE and isinstance(bits_of(self._taken), NarrowBitmap):
            self._taken = widened(self._taken)
            self._forget_holes()

    def _forget_holes(self) -> None:
        """Begin anew to find holes, which are always of the same kind as what is taken."""
        self._holes: Bitmap = type(bits_of(self._taken))()
        self._frontier = 0

    def _count_free(self, taken: int) -> None:
        """Count the free addresses of each open range, of which so many are taken in all."""
        self._free = self._open.size - taken
        self._free_in = [high - low + 1 for low, high in self._open]
        self._roomy = BitMap()
        if not self._free_in:
            return
        # Counting what is taken costs by the extent of it, so the widest range is not counted: it
        # has what the others have not. Often it is the only one.
        widest = self._free_in.index(max(self._free_in))
        for index, size in enumerate(self._free_in):
            if index != widest:
                low = self._lows[index]
                taken_here = self._taken.range_cardinality(low, low + size)
                self._free_in[index] -= taken_here
                taken -= taken_here
        self._free_in[widest] -= taken
        assert self._free_in[widest] >= 0, "more is taken than there is"
        self._roomy.update(index for index, free in enumerate(self._free_in) if free)

    def _count_taken(self, ranges: RangeSet) -> int:
        """Count what is taken in some ranges."""
        count, first = self._taken.range_cardinality, self._first
        return sum(count(low - first, high - first + 1) for low, high in ranges)

    def _count_not_open(self, low: int, high: int, sign: int) -> None:
        """Count those addresses of a range that are not open as taken, or as given back."""
        within = size_between(self._effective.ranges, low, high)
        self._taken_in_closed += sign * (within - size_between(self._open.ranges, low, high))
        self._taken_outside += sign * (high - low + 1 - within)

    def _checked_bounds(self, low: int, high: int) -> tuple[int, int]:
        """Return the offset where a range begins, and the one before which it ends."""
        assert self._first <= low <= high < low + RANGE_SIZE_MAX, "no range to keep as bits"
        return low - self._first, high - self._first + 1

    def _open_pieces(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Find what is open from an offset to before another: index of the range, start, end."""
        index = bisect_left(self._highs, start)
        while index < len(self._lows) and self._lows[index] < end:
            yield index, max(start, self._lows[index]), min(end, self._highs[index] + 1)
            index += 1

    def _change_free(self, index: int, difference: int) -> None:
        """Count some addresses of an open range as free, or no longer so."""
        self._free += difference
        self._free_in[index] += difference
        if self._free_in[index]:
            self._roomy.add(index)
        else:
            self._roomy.discard(index)
