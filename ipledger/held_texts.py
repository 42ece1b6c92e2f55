"""Addresses and blocks in words, where a command names what is held or shall be."""

from __future__ import annotations

from engine.addresses import Address, format_address, from_int, parse_address, parse_subnet
from engine.errors import InvalidInput


def read_wanted(text: str, prefix_length: int | None) -> Address:
    """An address that is asked for; a block may be given as it is printed.

    Raises:
        InvalidInput: it is none, or a block of another length than what is asked for.
    """
    if "/" not in text:
        return parse_address(text)
    block = parse_subnet(text)
    if block.prefix_length != prefix_length:
        message = f"{text} is a block of /{block.prefix_length}, which is not what is asked for"
        raise InvalidInput(message, f"say --prefix-length {block.prefix_length}")
    return from_int(block.first, block.family)


def read_released(text: str) -> Address:
    """The address of a lease that is to end.

    Raises:
        InvalidInput: it is none, or a block: that is named by its first address.
    """
    if "/" in text:
        block = parse_subnet(text)
        first = format_address(from_int(block.first, block.family))
        message = f"{text} is a block, and not an address"
        raise InvalidInput(message, f"name its first address: --ip {first}, or its lease")
    return parse_address(text)


def read_seen(text: str) -> Address:
    """An address that is in use; of a block, as its lease is printed, the first: so it is in use.

    Raises:
        InvalidInput: it is neither.
    """
    if "/" not in text:
        return parse_address(text)
    block = parse_subnet(text)
    return from_int(block.first, block.family)
