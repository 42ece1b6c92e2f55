"""What a bitmap holds, a page of 2^16 numbers at a time: far quicker than number by number.

It reads what the library writes out: the portable form of Roaring bitmaps, whose specification is
public and does not change (https://github.com/RoaringBitmap/RoaringFormatSpec).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from sys import byteorder
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pyroaring import BitMap64

_WITH_RUNS: Final = 12_347
_PLAIN: Final = 12_346
_ARRAY_MAX: Final = 4_096
_PAGE_BYTES: Final = 8_192
_NO_OFFSETS_BELOW: Final = 4
LEAF_BYTES: Final = 32  # 256 bits

Runs = list[tuple[int, int]]


def pages(bitmap: BitMap64) -> Iterator[tuple[int, Runs | bytes]]:
    """Each page of which anything is held: its number, and its runs (first and last) or its bits.

    Bits are 8,192 bytes, the lowest number first. Runs are given where there are few.
    """
    data = memoryview(bitmap.serialize())
    at = 8
    for _ in range(int.from_bytes(data[:8], "little")):
        high = int.from_bytes(data[at : at + 4], "little")
        at += 4
        for low, size, held in _containers(data, at):
            at = size
            yield (high << 16) + low, held


def _containers(data: memoryview, start: int) -> Iterator[tuple[int, int, Runs | bytes]]:
    """The containers of a 32-bit bitmap: number, where the next one begins, what it holds."""
    cookie = int.from_bytes(data[start : start + 4], "little")
    if cookie & 0xFFFF == _WITH_RUNS:
        count = (cookie >> 16) + 1
        at = start + 4
        flags = int.from_bytes(data[at : at + (count + 7) // 8], "little")
        at += (count + 7) // 8
    else:
        assert cookie == _PLAIN, "it is of another form"
        count = int.from_bytes(data[start + 4 : start + 8], "little")
        flags, at = 0, start + 8
    described = _words(data, at, 2 * count)
    at += 4 * count
    if not flags or count >= _NO_OFFSETS_BELOW or cookie == _PLAIN:
        at += 4 * count  # where each begins, which follows from their sizes
    for index in range(count):
        number, held = described[2 * index], described[2 * index + 1] + 1
        if flags >> index & 1:
            runs = _words(data, at + 2, 2 * int.from_bytes(data[at : at + 2], "little"))
            at += 2 + 2 * len(runs)
            pairs = zip(runs[::2], runs[1::2], strict=True)
            yield number, at, [(low, low + more) for low, more in pairs]
        elif held <= _ARRAY_MAX:
            bits = bytearray(_PAGE_BYTES)
            for value in _words(data, at, held):
                bits[value >> 3] |= 1 << (value & 7)
            at += 2 * held
            yield number, at, bytes(bits)
        else:
            yield number, at + _PAGE_BYTES, bytes(data[at : at + _PAGE_BYTES])
            at += _PAGE_BYTES


def _words(data: memoryview, at: int, count: int) -> array[int]:
    words = array("H", bytes(data[at : at + 2 * count]))
    if byteorder == "big":
        words.byteswap()
    return words
