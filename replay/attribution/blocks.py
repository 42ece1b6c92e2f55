"""Cutting a flow file into blocks of whole records, whatever sizes it is read in.

A record of CSV ends at a line feed that is not inside quotes; quotes open only where a field
begins (RFC 4180, and as Python's csv module reads). A record of JSON lines ends at every line feed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Final

from engine.errors import InvalidInput

Block = bytes
# How many bytes from the beginning are whole records; 0 if the first does not end yet.
WholeRecords = Callable[[bytes], int]

# A longer record is most likely a quote that is never closed, or no text at all.
RECORD_BYTES_MAX: Final = 1 << 20


def cut_lines(data: bytes) -> int:
    """How many bytes are whole lines."""
    return data.rfind(b"\n") + 1


def cut_csv(delimiter: str) -> WholeRecords:
    """How many bytes are whole records of CSV."""
    pattern = _pattern(delimiter, rb"\n()")

    def cut(data: bytes) -> int:
        if b'"' not in data:
            return data.rfind(b"\n") + 1
        found = pattern.match(data)
        assert found is not None, "the pattern matches the empty text too"
        return max(found.end(1), 0)

    return cut


def csv_records(data: bytes, delimiter: str) -> Iterator[tuple[bytes, bool]]:
    """The records of a block one by one, each with its line end, and whether its quotes close.

    The last one has no line end if the block has none; an open quote takes all the rest.
    """
    match = _pattern(delimiter).match
    begin = 0
    while begin < len(data):
        found = match(data, begin)
        assert found is not None, "the pattern matches the empty text too"
        stop = found.end()
        closed = stop == len(data) or data[stop : stop + 1] == b"\n"
        end = min(stop + 1, len(data)) if closed else len(data)
        yield data[begin:end], closed
        begin = end


@lru_cache(maxsize=8)
def _pattern(delimiter: str, *more: bytes) -> re.Pattern[bytes]:
    """What has no record end in it (or only such as `more` allows), from a record's beginning.

    Nothing is ever taken back (possessive quantifiers), so the time is linear.
    """
    sign = re.escape(delimiter.encode())
    parts = [
        rb'[^"\n]++',
        *more,
        rb'(?<=[^\n%b])"' % sign,  # inside a field it is a character like any other
        rb'"[^"]*+(?:""[^"]*+)*+"',  # a field in quotes, with doubled ones inside
    ]
    return re.compile(rb"(?:" + rb"|".join(parts) + rb")*+")


def blocks_of(chunks: Iterable[bytes], cut: WholeRecords) -> Iterator[Block]:
    """Blocks of whole records, out of pieces cut anywhere. The last may lack its line end.

    Raises:
        InvalidInput: a record is longer than any record is.
    """
    kept = b""
    lines = 0
    for chunk in chunks:
        data = kept + chunk
        end = cut(data)
        if end:
            yield data[:end]
            lines += data.count(b"\n", 0, end)
        kept = data[end:]
        if len(kept) > RECORD_BYTES_MAX and not cut(kept):
            message = f"line {lines + 1}: the record does not end within {RECORD_BYTES_MAX} bytes"
            hint = 'a quote (") that is never closed, or not a text file'
            raise InvalidInput(message, hint)
    if kept:
        yield kept
