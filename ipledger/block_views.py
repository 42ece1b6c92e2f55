"""Free blocks in their JSON shapes."""

from __future__ import annotations

from itertools import islice
from typing import Any

from engine.addresses import BITS, Subnet, format_address, from_int
from engine.errors import InvalidInput
from engine.facts import Pool
from projections.block_set import BlockSet

Json = dict[str, Any]


def blocks_of_length(pool: Pool, free_set: BlockSet, length: int, limit: int) -> Json:
    """The aligned blocks of one length that could be given, the lowest first.

    Raises:
        InvalidInput: no block of the pool can be of that length.
    """
    family, bits = pool.spec.family, BITS[pool.spec.family]
    shortest = pool.spec.subnet.prefix_length
    if not shortest <= length <= bits:
        message = f"a block of pool {pool.name} has no prefix length of {length}"
        raise InvalidInput(message, f"from {shortest} to {bits}")
    size = 1 << (bits - length)
    starts = (
        start
        for low, order in free_set.blocks_by_address(bits - length)
        for start in range(low, low + (1 << order), size)
    )
    found = list(islice(starts, limit + 1))
    items = [
        {
            "block": str(Subnet(family, start, length)),
            "first": format_address(from_int(start, family)),
            "last": format_address(from_int(start + size - 1, family)),
            "size": size,
        }
        for start in found[:limit]
    ]
    return {
        "items": items,
        "pool": pool.name,
        "free": free_set.counts.free,
        "prefix_length": length,
        "blocks": _could_be_given(free_set.histogram(), bits - length),
        "truncated": len(found) > limit,
    }


def blocks_by_length(pool: Pool, free_set: BlockSet) -> Json:
    """The maximal free blocks by their length, the largest first, and how fragmented that is.

    ``could_be_given`` counts the blocks of a length that all the free ones have room for. How
    fragmented a pool is, is a fraction of two whole numbers: what is free outside of its largest
    free block, of what is free.
    """
    family, bits = pool.spec.family, BITS[pool.spec.family]
    histogram = free_set.histogram()
    lowest: dict[int, int] = {}
    for order in histogram:
        lowest[order] = next(low for low, found in free_set.blocks(order) if found == order)
    largest = 1 << max(histogram) if histogram else 0
    free = free_set.counts.free
    items = [
        {
            "prefix_length": bits - order,
            "size": 1 << order,
            "blocks": histogram[order],
            "lowest": str(Subnet(family, lowest[order], bits - order)),
            "could_be_given": _could_be_given(histogram, order),
        }
        for order in sorted(histogram, reverse=True)
    ]
    return {
        "items": items,
        "pool": pool.name,
        "free": free,
        "largest": largest,
        "fragmentation": {"outside_largest": free - largest, "free": free},
    }


def _could_be_given(histogram: dict[int, int], order: int) -> int:
    """How many blocks of an order the free ones have room for."""
    return sum(count << (found - order) for found, count in histogram.items() if found >= order)
