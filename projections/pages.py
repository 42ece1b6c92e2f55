"""Large tables in pages, each checked when it is read: a view of which only a little is looked at.

A view of a million events must not cost a million events to open. So the tables that grow with the
number of leases are cut into pages by a hash of their keys, and a page is read when somebody asks
for one of its keys. That a key is *not* there is read from a checked page, too: a damaged view may
stop its reader, but it never gives a wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, Final, Protocol, TypeVar
from zlib import crc32

import msgpack

from engine.errors import ViewDamaged

K = TypeVar("K", bound=int | str | bytes)
V = TypeVar("V")

# About so many keys a page: small enough to rewrite a page for one change, large enough that the
# pages of half a million leases are few thousand rows.
PAGE_KEYS: Final = 32
_CHECK_BYTES: Final = 4


class PageSource(Protocol):
    """Where pages are read from."""

    def read(self, table: str, number: int) -> Any:
        """The value of a page.

        Raises:
            ViewDamaged: there is no such page, or it is not as it was written.
        """


class PageSink(Protocol):
    """Where pages are written to."""

    def put(self, table: str, number: int, value: object) -> None:
        """Write a page, or replace it."""

    def drop(self, table: str, number: int) -> None:
        """Forget a page."""


def pack_page(table: str, number: int, value: object) -> bytes:
    """The bytes of a page: its check value, which covers where it belongs, and its value."""
    body: bytes = msgpack.packb(value)
    return _check(table, number, body).to_bytes(_CHECK_BYTES) + body


def unpack_page(table: str, number: int, data: object) -> Any:
    """The value of a page that `pack_page` made; arrays come back as tuples.

    Raises:
        ViewDamaged: it is none.
    """
    if type(data) is bytes and len(data) > _CHECK_BYTES:
        body = data[_CHECK_BYTES:]
        if data[:_CHECK_BYTES] == _check(table, number, body).to_bytes(_CHECK_BYTES):
            return msgpack.unpackb(body, use_list=False)
    raise damaged(f"page {number} of {table} is not as it was written")


def damaged(why: str) -> ViewDamaged:
    """The error for a view that cannot be relied on."""
    message = f"the local view of this space is damaged: {why}"
    return ViewDamaged(message, "repeat the command: the view is built anew from the stream")


def _check(table: str, number: int, body: bytes) -> int:
    return crc32(body, crc32(f"{table} {number} ".encode()))


def page_number(key: int | str | bytes, pages: int) -> int:
    """Which of so many pages a key belongs to: the same in every process."""
    if type(key) is int:
        return key % pages
    return crc32(key.encode() if type(key) is str else key) % pages  # type: ignore[arg-type]


class Paged(MutableMapping[K, V]):
    """A table of which a page is read when it is asked for."""

    def __init__(self, source: PageSource, table: str, pages: int, size: int) -> None:
        """Show a table that was kept with so many pages and keys."""
        self.table = table
        self.pages = pages
        self._source = source
        self._size = size
        self._read: dict[int, dict[K, V]] = {}
        self._changed: set[int] = set()

    def _page(self, number: int) -> dict[K, V]:
        page = self._read.get(number)
        if page is None:
            page = self._read[number] = dict(self._source.read(self.table, number))
        return page

    def __getitem__(self, key: K) -> V:
        return self._page(page_number(key, self.pages))[key]

    def get(self, key: K, default: Any = None) -> Any:
        """The value of a key, or `default`."""
        return self._page(page_number(key, self.pages)).get(key, default)

    def __setitem__(self, key: K, value: V) -> None:
        number = page_number(key, self.pages)
        page = self._page(number)
        self._size += key not in page
        page[key] = value
        self._changed.add(number)

    def __delitem__(self, key: K) -> None:
        number = page_number(key, self.pages)
        del self._page(number)[key]
        self._size -= 1
        self._changed.add(number)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[K]:
        """All keys, page by page: in no order that means anything."""
        for number in range(self.pages):
            yield from self._page(number)

    def keep(self, sink: PageSink) -> None:
        """Write the pages that have changed since they were read."""
        for number in sorted(self._changed):
            sink.put(self.table, number, tuple(self._read[number].items()))
        self._changed.clear()


class PagedBits:
    """A set of numbers, 64 to an entry of a table in pages."""

    def __init__(self, masks: Paged[int, int]) -> None:
        """Show the numbers whose bits are set in `masks`."""
        self.masks = masks

    def __contains__(self, number: int) -> bool:
        return bool(self.masks.get(number >> 6, 0) >> (number & 63) & 1)

    def __iter__(self) -> Iterator[int]:
        for high, mask in self.masks.items():
            yield from (high << 6 | bit for bit in range(64) if mask >> bit & 1)

    def add(self, number: int) -> None:
        """Add a number."""
        self.masks[number >> 6] = self.masks.get(number >> 6, 0) | 1 << (number & 63)


def masks_of(numbers: Iterable[int]) -> dict[int, int]:
    """A set of numbers as `PagedBits` keeps them."""
    masks: dict[int, int] = {}
    for number in numbers:
        masks[number >> 6] = masks.get(number >> 6, 0) | 1 << (number & 63)
    return masks


Kept = tuple[int, int]  # pages, keys


def keep_table(sink: PageSink, table: str, entries: MutableMapping[K, V]) -> Kept:
    """Write a table, or what has changed of it; return what it takes to show it again."""
    if isinstance(entries, Paged) and len(entries) <= 4 * PAGE_KEYS * entries.pages:
        entries.keep(sink)
        return entries.pages, len(entries)
    pages = 1 << max(len(entries) // PAGE_KEYS, 1).bit_length()
    parts: list[list[tuple[K, V]]] = [[] for _ in range(pages)]
    for key, value in entries.items():
        parts[page_number(key, pages)].append((key, value))
    for number, part in enumerate(parts):
        sink.put(table, number, part)
    return pages, len(entries)
