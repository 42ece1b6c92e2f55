"""What an address and a prefix length stand for: a single address, or the block it begins."""

from __future__ import annotations

from engine.addresses import Address, RangeSet, family_of, format_address


def is_single(address: bytes, prefix_length: int) -> bool:
    """Whether it is one address, and no block."""
    return prefix_length == len(address) * 8


def last_of(address: bytes, prefix_length: int) -> int:
    """The last address of it, as a number."""
    return int.from_bytes(address) + (1 << (len(address) * 8 - prefix_length)) - 1


def span_of(address: Address, prefix_length: int) -> RangeSet:
    """All of its addresses."""
    ends = int.from_bytes(address), last_of(address, prefix_length)
    return RangeSet.of_sorted(family_of(address), (ends,))


def span_text(address: Address, prefix_length: int) -> str:
    """The address, with its prefix length when it is a block."""
    shown = format_address(address)
    return shown if is_single(address, prefix_length) else f"{shown}/{prefix_length}"
