"""Changes to bytes that know nothing of what the bytes mean; the targets have better ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

INPUT_BYTES_MAX: Final = 4_096
_NUMBERS: Final = (
    b"-1", b"0", b"1", b"00", b"32", b"33", b"127", b"128", b"129", b"255", b"256", b"4096",
    b"65535", b"4294967295", b"4294967296", b"9223372036854775807", b"18446744073709551615",
    b"18446744073709551616", b"1" * 40, b"9" * 400, b"1e9", b"0x1f", b"0o17", b"1_0", b"1.0",
)  # fmt: skip
_SPECIAL: Final = (
    b"\0", b"\n", b"\r\n", b"\t", b" ", b"\x1b[31m", b"\x7f", b"\xff", b"\xc3\x28", b"\xed\xa0\x80",
    b"\xef\xbb\xbf", "\u2028".encode(), "\u202e".encode(), "\u0660".encode(), "e\u0301".encode(),
    "\U0001f600".encode(), b'"', b"'", b",", b":", b"-", b"/", b"%", b"&a ", b"*a", b"{", b"[",
)  # fmt: skip

Change = Callable[[bytes, Random, Sequence[bytes]], bytes]


def _span(data: bytes, random: Random) -> tuple[int, int]:
    """A part of some bytes: mostly a short one."""
    first = random.randrange(len(data) + 1)
    return first, min(len(data), first + random.choice((1, 1, 2, 4, 8, 16, 64)))


def _flip(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << random.randrange(8),)) + data[at + 1 :]


def _cut(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    first, last = _span(data, random)
    return data[:first] + data[last:]


def _end(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _repeat(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    first, last = _span(data, random)
    return data[:last] + data[first:last] * random.choice((1, 1, 2, 9, 120)) + data[last:]


def _move(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    first, last = _span(data, random)
    part, rest = data[first:last], data[:first] + data[last:]
    at = random.randrange(len(rest) + 1)
    return rest[:at] + part + rest[at:]


def _put(data: bytes, random: Random, words: Sequence[bytes]) -> bytes:
    put = random.choice(words or _SPECIAL)
    first, last = _span(data, random)
    return data[:first] + put + data[random.choice((first, last)) :]


def _put_special(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    return _put(data, random, random.choice((_SPECIAL, _NUMBERS)))


def _number(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    """Another number where one is written out."""
    places = [at for at, byte in enumerate(data) if 48 <= byte <= 57]
    if not places:
        return data
    first = last = random.choice(places)
    while first and 48 <= data[first - 1] <= 57:
        first -= 1
    while last < len(data) and 48 <= data[last] <= 57:
        last += 1
    return data[:first] + random.choice(_NUMBERS) + data[last:]


def _lines(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    """A line left out, twice, or elsewhere."""
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    line = lines[at] if random.randrange(2) else lines.pop(at)
    lines.insert(random.randrange(len(lines) + 1), line) if random.randrange(3) else None
    return b"\n".join(lines)


_CHANGES: Final[tuple[Change, ...]] = (
    _flip, _cut, _end, _repeat, _move, _put, _put, _put_special, _number, _lines,
)  # fmt: skip


def changed(data: bytes, random: Random, words: Sequence[bytes]) -> bytes:
    """The bytes after a few changes."""
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5))):
        data = random.choice(_CHANGES)(data, random, words)
    return data[:INPUT_BYTES_MAX]
