"""Large sets of natural numbers as compressed bitmaps, with searches for what is *not* in them.

`NarrowBitmap` holds numbers below 2^64 and is as quick as the library it is made of. `WideBitmap`
holds numbers of any size, in a narrow bitmap per chunk of 2^64. Both answer the same questions
under the names that pyroaring gives them; upper bounds are exclusive throughout.

The cost of a question hardly depends on how many numbers are held: where the library's own
answer would take a walk over the whole set, the set is first cut down to one block of 2^16.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias

from pyroaring import BitMap64

# The library keeps 2^16 numbers in one container. Work inside a block is constant in cost.
BLOCK_SIZE = 1 << 16

CHUNK_BITS = 64
CHUNK_SIZE = 1 << CHUNK_BITS
_CHUNK_MASK = CHUNK_SIZE - 1

# How many numbers are tried one by one (25 ns each) before a block is taken apart (1 µs).
_PROBES = 4


class NarrowBitmap(BitMap64):
    """A set of numbers below 2^64.

    The library cannot take 2^64 as a bound. Here any bound will do, and nothing from 2^64 on is
    held. The questions about single numbers are the library's own, since those are asked most.
    """

    __slots__ = ()

    def add_range(self, start: int, end: int) -> None:
        """Add the numbers from `start` to before `end`."""
        assert end <= CHUNK_SIZE, "too large for a narrow bitmap"
        super().add_range(start, min(end, _CHUNK_MASK))
        if start < end == CHUNK_SIZE:
            self.add(_CHUNK_MASK)

    def remove_range(self, start: int, end: int) -> None:
        """Remove the numbers from `start` to before `end`."""
        super().remove_range(start, min(end, _CHUNK_MASK))
        if start < end == CHUNK_SIZE:
            self.discard(_CHUNK_MASK)

    def range_cardinality(self, start: int, end: int) -> int:
        """Return how many numbers are held from `start` to before `end`."""
        if end < CHUNK_SIZE:
            return super().range_cardinality(start, end)
        if start >= CHUNK_SIZE:
            return 0
        return super().range_cardinality(start, _CHUNK_MASK) + (_CHUNK_MASK in self)

    def next_clear(self, start: int) -> int:
        """Return the lowest number from `start` on that is not held."""
        for number in range(start, min(start + _PROBES, CHUNK_SIZE)):
            if number not in self:
                return number
        end = (start | BLOCK_SIZE - 1) + 1
        if self._is_full(start, end):
            start = self._first_block_with_room(end)
            end = start + BLOCK_SIZE
        return CHUNK_SIZE if start >= CHUNK_SIZE else self.missing(start, end).next_set_bit(start)

    def nth_clear(self, start: int, n: int) -> int:
        """Return the number not held that has exactly `n` such numbers from `start` to it."""
        step = BLOCK_SIZE
        while (room := step - self.range_cardinality(start, start + step)) <= n:
            n -= room
            start += step
            step *= 2
        while step > BLOCK_SIZE:
            step //= 2
            room = step - self.range_cardinality(start, start + step)
            if room <= n:
                n -= room
                start += step
        numbers = self.missing(start, start + step)
        inside = len(numbers)
        return numbers[n] if n < inside else max(start, CHUNK_SIZE) + n - inside

    def missing(self, start: int, end: int) -> BitMap64:
        """Return the numbers from `start` to before `end`, at most a block, that are not held."""
        assert start <= end <= start + BLOCK_SIZE, "more than a block would not be cheap"
        numbers = NarrowBitmap()
        if start < CHUNK_SIZE:
            numbers.add_range(start, min(end, CHUNK_SIZE))
        # Subtracting the whole set at once would walk over all of its containers.
        numbers -= numbers & self
        return numbers

    def add_missing(self, other: Bitmap, start: int, end: int) -> None:
        """Add the numbers from `start` to before `end`, at most a block, not held by `other`."""
        assert isinstance(other, NarrowBitmap), "the two have to be of one kind"
        assert start < end <= start + BLOCK_SIZE, "more than a block would not be cheap"
        # The library keeps a range that is added as such in a list of runs, for good. Each single
        # number that is removed then splits a run in the list, at more than twice the usual cost;
        # put together from its even and its odd numbers, a block becomes plain bits.
        numbers = NarrowBitmap(range(start, end - 1, 2))
        numbers |= NarrowBitmap(range(start + 1, end - 1, 2))
        numbers.add(end - 1)
        numbers -= numbers & other
        self.__ior__(numbers)

    def runs(self) -> Iterator[tuple[int, int]]:
        """Return the ranges held, the lowest first, each with its lowest and highest number."""
        # A run starts where its predecessor is missing and ends where its successor is.
        lows, highs = self - self.shift(1), self - self.shift(-1)
        return zip(lows, highs, strict=True)

    def chunks(self) -> list[tuple[int, bytes]]:
        """What is held, as `bitmap_of` reads it: the number of each chunk, and its bits."""
        return [(0, self.serialize())] if self else []

    def _is_full(self, start: int, end: int) -> bool:
        """Tell whether all numbers from `start` to before `end` are held."""
        # Not `contains_range`: with CRoaring 5.2 it is true of a range whose last blocks are
        # empty, provided that any later number is held.
        return self.range_cardinality(start, end) == end - start

    def _first_block_with_room(self, start: int) -> int:
        """Return where the first block begins, from the one that begins at `start`, with room."""
        step = BLOCK_SIZE
        while self._is_full(start, start + step):
            start += step
            step *= 2
        while step > BLOCK_SIZE:
            step //= 2
            if self._is_full(start, start + step):
                start += step
        return start


class WideBitmap:
    """A set of natural numbers of any size."""

    __slots__ = ("_chunks", "_numbers")

    def __init__(self, narrow: NarrowBitmap | None = None) -> None:
        """Begin empty, or take over a narrow bitmap, which nobody else may go on to use."""
        # No chunk is ever empty, so that a search need not look into chunks in vain.
        self._chunks = {0: narrow} if narrow else {}
        self._numbers = list(self._chunks)

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def __contains__(self, number: int) -> bool:
        chunk = self._chunks.get(number >> CHUNK_BITS)
        return chunk is not None and number & _CHUNK_MASK in chunk

    def add_checked(self, number: int) -> None:
        """Add a number.

        Raises:
            KeyError: It is held already.
        """
        self._chunk(number >> CHUNK_BITS).add_checked(number & _CHUNK_MASK)

    def remove(self, number: int) -> None:
        """Remove a number.

        Raises:
            KeyError: It is not held.
        """
        chunk = self._chunks.get(number >> CHUNK_BITS)
        if chunk is None:
            raise KeyError(number)
        chunk.remove(number & _CHUNK_MASK)
        if not chunk:
            self._drop(number >> CHUNK_BITS)

    def add_range(self, start: int, end: int) -> None:
        """Add the numbers from `start` to before `end`; every chunk on the way is filled."""
        while start < end:
            base, piece_end = _chunk_bounds(start)
            piece_end = min(piece_end, end)
            self._chunk(start >> CHUNK_BITS).add_range(start - base, piece_end - base)
            start = piece_end

    def remove_range(self, start: int, end: int) -> None:
        """Remove the numbers from `start` to before `end`."""
        for number in self._numbers_between(start, end):
            base = number << CHUNK_BITS
            chunk = self._chunks[number]
            chunk.remove_range(max(start - base, 0), min(end - base, CHUNK_SIZE))
            if not chunk:
                self._drop(number)

    def range_cardinality(self, start: int, end: int) -> int:
        """Return how many numbers are held from `start` to before `end`."""
        count = 0
        for number in self._numbers_between(start, end):
            base = number << CHUNK_BITS
            low, high = max(start - base, 0), min(end - base, CHUNK_SIZE)
            count += self._chunks[number].range_cardinality(low, high)
        return count

    def next_set_bit(self, start: int) -> int:
        """Return the lowest number held from `start` on.

        Raises:
            ValueError: There is none.
        """
        chunk = self._chunks.get(start >> CHUNK_BITS)
        if chunk is not None:
            try:
                return (start & ~_CHUNK_MASK) + chunk.next_set_bit(start & _CHUNK_MASK)
            except ValueError:
                pass  # the chunk holds lower numbers only
        following = bisect_left(self._numbers, (start >> CHUNK_BITS) + 1)
        if following == len(self._numbers):
            raise ValueError("no number from there on is held")
        number = self._numbers[following]
        return (number << CHUNK_BITS) + self._chunks[number].next_set_bit(0)

    def next_clear(self, start: int) -> int:
        """Return the lowest number from `start` on that is not held."""
        while (chunk := self._chunks.get(start >> CHUNK_BITS)) is not None:
            base, end = _chunk_bounds(start)
            found = base + chunk.next_clear(start - base)
            if found < end:
                return found
            start = end
        return start

    def nth_clear(self, start: int, n: int) -> int:
        """Return the number not held that has exactly `n` such numbers from `start` to it."""
        for number in self._numbers[bisect_left(self._numbers, start >> CHUNK_BITS) :]:
            base = number << CHUNK_BITS
            if start < base:
                if n < base - start:
                    break
                n -= base - start
                start = base
            end = base + CHUNK_SIZE
            room = end - start - self._chunks[number].range_cardinality(start - base, CHUNK_SIZE)
            if n < room:
                return base + self._chunks[number].nth_clear(start - base, n)
            n -= room
            start = end
        return start + n

    def add_missing(self, other: Bitmap, start: int, end: int) -> None:
        """Add the numbers from `start` to before `end`, of one block, not held by `other`."""
        assert isinstance(other, WideBitmap), "the two have to be of one kind"
        base, chunk_end = _chunk_bounds(start)
        assert end <= chunk_end, "a block lies within one chunk"
        theirs = other._chunks.get(start >> CHUNK_BITS)  # noqa: SLF001 - the same class
        chunk = self._chunk(start >> CHUNK_BITS)
        chunk.add_missing(theirs or NarrowBitmap(), start - base, end - base)
        if not chunk:
            self._drop(start >> CHUNK_BITS)

    def runs(self) -> Iterator[tuple[int, int]]:
        """Return the ranges held, the lowest first, each with its lowest and highest number."""
        pending: tuple[int, int] | None = None
        for number in self._numbers:
            base = number << CHUNK_BITS
            for low, high in self._chunks[number].runs():
                if pending is not None:
                    if pending[1] + 1 == base + low:  # one run, cut by the border of two chunks
                        pending = (pending[0], base + high)
                        continue
                    yield pending
                pending = (base + low, base + high)
        if pending is not None:
            yield pending

    def __len__(self) -> int:
        """How many numbers are held; a chunk that is full has more than `len` can tell of."""
        return sum(map(len, self._chunks.values()))

    def by_chunk(self) -> Iterator[tuple[int, NarrowBitmap]]:
        """The chunks, each with the number that it begins at."""
        return ((number << CHUNK_BITS, self._chunks[number]) for number in self._numbers)

    def chunks(self) -> list[tuple[int, bytes]]:
        """As `NarrowBitmap.chunks`."""
        return [(number, self._chunks[number].serialize()) for number in self._numbers]

    @classmethod
    def of_chunks(cls, chunks: Iterable[tuple[int, bytes]]) -> WideBitmap:
        """What `chunks` wrote."""
        bitmap = cls()
        for number, bits in chunks:
            bitmap._chunk(number).__ior__(BitMap64.deserialize(bits))
        return bitmap

    def _chunk(self, number: int) -> NarrowBitmap:
        """Return a chunk to put something in."""
        chunk = self._chunks.get(number)
        if chunk is None:
            assert number >= 0, "only natural numbers are held"
            chunk = self._chunks[number] = NarrowBitmap()
            insort(self._numbers, number)
        return chunk

    def _drop(self, number: int) -> None:
        """Forget a chunk that has become empty."""
        del self._chunks[number]
        del self._numbers[bisect_left(self._numbers, number)]

    def _numbers_between(self, start: int, end: int) -> list[int]:
        """Return which chunks hold anything that may lie from `start` to before `end`."""
        first = bisect_left(self._numbers, start >> CHUNK_BITS)
        return self._numbers[first : bisect_left(self._numbers, (end - 1 >> CHUNK_BITS) + 1)]


Bitmap: TypeAlias = NarrowBitmap | WideBitmap


class HasNext(Protocol):
    """Any set of numbers that can be searched upwards."""

    def next_set_bit(self, start: int) -> int:
        """Return the lowest number held from `start` on, or raise a `ValueError`."""


def bitmap_of(chunks: Sequence[tuple[int, bytes]]) -> Bitmap:
    """What `chunks` of either kind wrote."""
    if any(number for number, _ in chunks):
        return WideBitmap.of_chunks(chunks)
    return NarrowBitmap(BitMap64.deserialize(chunks[0][1]) if chunks else ())


def next_held(bitmap: HasNext, start: int) -> int | None:
    """Return the lowest number from `start` on that is held, or None."""
    try:
        return bitmap.next_set_bit(start)
    except (ValueError, OverflowError):  # a narrow bitmap holds nothing that is too large for it
        return None


def _chunk_bounds(number: int) -> tuple[int, int]:
    """Return where the chunk of a number begins and where the next one does."""
    base = number & ~_CHUNK_MASK
    return base, base + CHUNK_SIZE
