"""What is held or shall be, as a command names it: an address or a block in words, a lease."""

from __future__ import annotations

from engine.addresses import Address, format_address, from_int, parse_address, parse_subnet
from engine.errors import InvalidInput


def check_lease(lease: object) -> int:
    """Return `lease` if it can be the position of a grant.

    Raises:
        InvalidInput: it cannot.
    """
    if type(lease) is not int or not 1 <= lease < 1 << 63:
        # Python will not write out an integer of more than some thousand digits.
        huge = type(lease) is int and lease.bit_length() > 128
        message = "a number that long is no lease" if huge else f"lease {lease!r} is not a lease"
        raise InvalidInput(message, "a lease is the number that `allocate` printed")
    return lease


def parse_held(text: str) -> tuple[Address, int]:
    """What a lease holds: ADDRESS, or ADDRESS/LENGTH for a block, as leases are printed.

    Raises:
        InvalidInput: it is neither, or the block has host bits.
    """
    if "/" not in text:
        address = parse_address(text)
        return address, len(address) * 8
    block = parse_subnet(text)
    return from_int(block.first, block.family), block.prefix_length


def read_wanted(text: str, prefix_length: int | None) -> Address:
    """An address that is asked for; a block may be given as it is printed.

    Raises:
        InvalidInput: it is none, or a block of another length than what is asked for.
    """
    address, length = parse_held(text)
    if "/" in text and length != prefix_length:
        message = f"{text} is a block of /{length}, which is not what is asked for"
        raise InvalidInput(message, f"say --prefix-length {length}")
    return address


def read_released(text: str) -> Address:
    """The address of a lease that is to end.

    Raises:
        InvalidInput: it is none, or a block: that is named by its first address.
    """
    address, _ = parse_held(text)
    if "/" in text:
        message = f"{text} is a block, and not an address"
        hint = f"name its first address: --ip {format_address(address)}, or its lease"
        raise InvalidInput(message, hint)
    return address
