"""What is known of blocks by where they lie: the one that an address is in is found at once.

Only a few prefix lengths are in use at a time. So a block is looked up once for each of them, and
while none is in use nothing is looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any, Generic, TypeVar

from projections.pages import Paged, PageSink, PageSource, keep_table

SCHEMA_VERSION = 1

V = TypeVar("V")


class BlockTable(Generic[V]):
    """Something for each of some blocks, which may lie within one another."""

    def __init__(self) -> None:
        self.used = 0  # how many blocks something is said of
        self._entries: MutableMapping[bytes, V] = {}  # by the address and a byte of the length
        self._lengths: dict[int, dict[int, int]] = {4: {}, 16: {}}  # by width: blocks by length

    def put(self, address: bytes, prefix_length: int, value: V) -> None:
        """Say something of a block of which nothing is said yet."""
        self._entries[address + bytes((prefix_length,))] = value
        lengths = self._lengths[len(address)]
        lengths[prefix_length] = lengths.get(prefix_length, 0) + 1
        self.used += 1

    def pop(self, address: bytes, prefix_length: int) -> V | None:
        """Forget what was said of a block; what it was, or None if nothing was."""
        found = self._entries.pop(address + bytes((prefix_length,)), None)
        if found is not None:
            lengths = self._lengths[len(address)]
            self.used -= 1
            lengths[prefix_length] -= 1
            if not lengths[prefix_length]:
                del lengths[prefix_length]
        return found

    def covering(self, address: bytes, prefix_length: int = 128) -> Iterator[V]:
        """What is said of each block that an address lies in, if it is no smaller than that."""
        bits = len(address) * 8
        number = int.from_bytes(address)
        for length in self._lengths[len(address)]:
            if length <= prefix_length:
                first = number >> (bits - length) << (bits - length)
                key = first.to_bytes(len(address)) + bytes((length,))
                found = self._entries.get(key)
                if found is not None:
                    yield found

    def inside(self, address: bytes, prefix_length: int) -> Iterator[V]:
        """What is said of each block within another one, which costs by how many there are."""
        width = len(address)
        rest = width * 8 - prefix_length
        number = int.from_bytes(address) >> rest
        for key, value in self._entries.items():
            if (
                len(key) == width + 1
                and key[-1] >= prefix_length
                and int.from_bytes(key[:-1]) >> rest == number
            ):
                yield value

    def keep(self, sink: PageSink, table: str) -> tuple[Any, Any]:
        """Write all of it in pages; return what it takes to show it again."""
        lengths = tuple(
            (width, *each) for width in (4, 16) for each in self._lengths[width].items()
        )
        return keep_table(sink, table, self._entries), lengths

    def read_all(self) -> None:
        """Hold everything in memory."""
        self._entries = dict(self._entries)

    @classmethod
    def kept(cls, source: PageSource, table: str, told: tuple[Any, Any]) -> BlockTable[V]:
        """Show what `keep` wrote."""
        made = cls()
        made._entries = Paged(source, table, *told[0])
        for width, length, count in told[1]:
            made._lengths[width][length] = count
            made.used += count
        return made
