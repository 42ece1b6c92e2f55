"""A comparison of two streams names the first entry that differs, and in what."""

from __future__ import annotations

from unittest.mock import patch

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.entry import RawEntry
from engine.errors import DamagedEntry
from engine.memory_stream import MemoryStream
from engine.redis_stream import RedisStream, stream_key
from replay import compare as compare_module
from replay.compare import Comparison, Difference, compare
from tests.engine.book import START_MS, Book


def mirrored(book: Book) -> MemoryStream:
    """A stream with the same entries."""
    stream = MemoryStream(lambda: START_MS)
    stream.entries = list(book.stream.entries)
    stream.last_generated = book.stream.last_generated
    return stream


def altered(raw: RawEntry, what: str) -> RawEntry:
    """An entry with one field changed."""
    content: bytes = getattr(raw, what)
    return raw._replace(**{what: content[:-1] + b"?"})  # type: ignore[arg-type]


@given(
    at=st.integers(0, 9),
    what=st.sampled_from(["e", "s", "t", "c", "time", "missing", "surplus", "nothing"]),
    page=st.integers(1, 12),
)
def test_the_first_difference_is_found(at: int, what: str, page: int) -> None:
    """One entry of ten altered, left out or added, in pages of any size."""
    book = Book(4, 3, 2)
    mirror = mirrored(book)
    if what == "missing":
        del mirror.entries[at]
    elif what == "surplus":
        del book.stream.entries[at]
    elif what == "time":
        later = [raw._replace(ms=raw.ms + 1) for raw in mirror.entries[at:]]
        mirror.entries[at:] = later
    elif what != "nothing":
        mirror.entries[at] = altered(mirror.entries[at], what)
    with patch.object(compare_module, "PAGE_ENTRIES", page):
        found = compare(book.stream, mirror)
    if what == "nothing":
        assert found == Comparison(10, 10, None)
    else:
        assert found == Comparison(at, at, Difference(at + 1, what))


def test_a_mirror_that_is_behind_is_the_same_so_far() -> None:
    """What the source has beyond the mirror is no difference; what the mirror has beyond it is."""
    book, longer = Book(2), Book(2, 3)
    told: list[int] = []
    assert compare(longer.stream, book.stream, on_progress=told.append).difference is None
    assert compare(book.stream, longer.stream).difference == Difference(4, "surplus")
    with patch.object(compare_module, "PAGE_ENTRIES", 2):
        compare(longer.stream, mirrored(longer), on_progress=told.append)
    assert told == [2, 4, 6]


def test_a_void_position_is_no_difference() -> None:
    """Both sides jump alike; only one of them jumping is a difference."""
    book = Book(2)
    book.restore(kept=3, void_through=7)
    mirror = mirrored(book)
    assert compare(book.stream, mirror) == Comparison(4, 8, None)
    mirror.entries.pop()
    assert compare(book.stream, mirror) == Comparison(3, 3, Difference(8, "missing"))


@pytest.mark.parametrize("side", ["source", "mirror"])
def test_an_entry_of_other_fields_is_no_entry(side: str) -> None:
    """On the mirror it is a difference; on the source it is damage, which has another remedy."""
    book = Book(2)
    with fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2) as client:
        for raw in book.stream.entries:
            fields = {"e": raw.e, "s": raw.s, "t": raw.t, "c": raw.c}
            if raw.position == 2:
                fields["x"] = b""
            client.xadd(stream_key("a"), fields, id=raw.entry_id)
        other = RedisStream(client, "a")
        if side == "mirror":
            assert compare(book.stream, other) == Comparison(1, 1, Difference(2, "fields"))
        else:
            with pytest.raises(DamagedEntry, match="does not have the fields"):
                compare(other, book.stream)
