"""When addresses and blocks that nobody holds were held last, and by which lease."""

from __future__ import annotations

from collections.abc import Mapping

from engine.addresses import Address
from engine.spans import last_of
from projections.leased_blocks import BlockTable

Tenure = tuple[int, int]  # when it ended in effect, in milliseconds; the lease


def last_tenure(
    singles: Mapping[Address, Tenure],
    blocks: BlockTable[Tenure],
    address: Address,
    prefix_length: int | None,
) -> Tenure | None:
    """The last tenure of an address, or of any address in a block; None if nobody ever held it."""
    bits = len(address) * 8
    length = bits if prefix_length is None else prefix_length
    if length == bits:
        found = [singles.get(address)]
    else:
        found = _tenures_in(singles, blocks, address, length)
    if blocks.used:
        found += blocks.covering(address, length)
    return max((tenure for tenure in found if tenure is not None), default=None)


def _tenures_in(
    singles: Mapping[Address, Tenure], blocks: BlockTable[Tenure], address: Address, length: int
) -> list[Tenure | None]:
    """The last tenures of the addresses and of the smaller blocks in a block."""
    first, last = int.from_bytes(address), last_of(address, length)
    found: list[Tenure | None] = list(blocks.inside(address, length))
    if last - first < len(singles):
        width = len(address)
        values = range(first, last + 1)
        return found + [singles.get(Address(value.to_bytes(width))) for value in values]
    return found + [
        tenure for each, tenure in singles.items()
        if len(each) == len(address) and first <= int.from_bytes(each) <= last
    ]  # fmt: skip
