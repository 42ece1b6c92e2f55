"""[format] What a field of an event may look like: asked by the decoder, so that folds need not."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from engine.model import POLICIES

U64_MAX: Final = 2**64 - 1
SECONDS_MAX: Final = 100 * 366 * 86_400  # a century: longer is a typing error, not a lease time
REPLICAS_MAX: Final = 255
ACK_TIMEOUT_MS_MAX: Final = 60_000


def is_u64(value: object) -> bool:
    """A whole number that fits 64 bits."""
    return type(value) is int and 0 <= value <= U64_MAX


def is_position(value: object) -> bool:
    """A position, or what is named by one."""
    return type(value) is int and 1 <= value <= U64_MAX


def is_seconds(value: object) -> bool:
    """Whole seconds from 1 to a century, or None for "no end"."""
    return value is None or (type(value) is int and 1 <= value <= SECONDS_MAX)


def is_bool(value: object) -> bool:
    """Just true or false."""
    return type(value) is bool


def is_id(value: object) -> bool:
    """128 bits, random or of a hash."""
    return type(value) is bytes and len(value) == 16


def is_address(value: object) -> bool:
    """4 or 16 raw bytes."""
    return type(value) is bytes and len(value) in {4, 16}


def is_address_of(value: object, width: int) -> bool:
    """An address of the family that has `width` bytes."""
    return type(value) is bytes and len(value) == width


def is_subnet(value: object) -> bool:
    """An address and a prefix length, without host bits."""
    return type(value) is tuple and len(value) == 2 and is_block(*value)


def is_block(address: object, length: object) -> bool:
    """An address and a prefix length, without host bits."""
    if type(address) is not bytes or len(address) not in {4, 16}:
        return False
    bits = len(address) * 8
    if type(length) is not int or not 0 <= length <= bits:
        return False
    return length == bits or int.from_bytes(address) & ((1 << (bits - length)) - 1) == 0


def is_route(value: object, width: int) -> bool:
    """A destination and a gateway, both of the family that has `width` bytes an address."""
    return (
        type(value) is tuple
        and len(value) == 3
        and is_subnet(value[:2])
        and len(value[0]) == width
        and is_address_of(value[2], width)
    )


def is_ranges(value: object, width: int) -> bool:
    """First and last addresses end to end: ascending, disjoint and never adjacent."""
    if type(value) is not bytes or len(value) % (2 * width):
        return False
    before = -2
    for at in range(0, len(value), 2 * width):
        first = int.from_bytes(value[at : at + width])
        last = int.from_bytes(value[at + width : at + 2 * width])
        if first <= before + 1 or last < first:
            return False
        before = last
    return True


def are_texts(value: object) -> bool:
    """Any number of texts."""
    return type(value) is tuple and all(type(text) is str for text in value)


def are_pairs(value: object) -> bool:
    """Any number of pairs of texts."""
    return type(value) is tuple and all(are_texts(pair) and len(pair) == 2 for pair in value)


@lru_cache(maxsize=1_024)  # the labels of a workload come again with each of its leases
def are_labels(value: object) -> bool:
    """Pairs of texts, sorted by their keys, each key once."""
    if not are_pairs(value):
        return False
    assert type(value) is tuple, "pairs come in a tuple"
    return all(before[0] < after[0] for before, after in pairwise(value))


def is_selector(value: object) -> bool:
    """None, or `(match_labels, match_expressions)`."""
    if value is None:
        return True
    if type(value) is not tuple or len(value) != 2:
        return False
    labels, expressions = value
    if not are_pairs(labels) or type(expressions) is not tuple:
        return False
    return all(
        type(expression) is tuple
        and len(expression) == 3
        and type(expression[0]) is str
        and type(expression[1]) is str
        and are_texts(expression[2])
        for expression in expressions
    )


def are_selectors(value: object) -> bool:
    """Three selectors and three lists of names: who may draw from a pool."""
    return (
        type(value) is tuple
        and len(value) == 6
        and all(is_selector(selector) for selector in value[:3])
        and all(are_texts(names) for names in value[3:])
    )


def are_routes(value: object, width: int) -> bool:
    """Any number of routes of the family that has `width` bytes an address."""
    return type(value) is tuple and all(is_route(route, width) for route in value)


def is_pool(fields: tuple[Any, ...]) -> bool:
    """The fields of a pool's definition: all of one family, ranges in canonical order."""
    (
        name, subnet, ips, exclude_ips, gateway, routes, disabled, default, selectors,
        policy, cooldown_s, ttl_s, sticky_s,
    ) = fields  # fmt: skip
    if type(name) is not str or not is_subnet(subnet):
        return False
    width = len(subnet[0])
    return (
        is_ranges(ips, width)
        and is_ranges(exclude_ips, width)
        and (gateway is None or is_address_of(gateway, width))
        and are_routes(routes, width)
        and is_bool(disabled)
        and is_bool(default)
        and are_selectors(selectors)
        and type(policy) is int
        and 0 <= policy < len(POLICIES)
        and type(cooldown_s) is int
        and 0 <= cooldown_s <= SECONDS_MAX
        and is_seconds(ttl_s)
        and is_seconds(sticky_s)
    )


def is_durability(replicas: object, fsync: object, ack_timeout_ms: object) -> bool:
    """How many replicas are waited for, and for how long; nothing else is said where none is."""
    if type(replicas) is not int or type(fsync) is not bool or type(ack_timeout_ms) is not int:
        return False
    if replicas == 0:
        return not fsync and ack_timeout_ms == 0
    return 1 <= replicas <= REPLICAS_MAX and 1 <= ack_timeout_ms <= ACK_TIMEOUT_MS_MAX


def is_held(
    lease: object, pool_id: object, address: object, prefix_length: object, interface: object
) -> bool:
    """A lease and what it holds, as every event about one repeats it."""
    return (
        is_position(lease)
        and is_position(pool_id)
        and is_block(address, prefix_length)
        and type(interface) is str
    )


def are_addresses(family: object, packed: object) -> bool:
    """A family and packed ranges of it, at least one."""
    if type(family) is not int or family not in {4, 6}:
        return False
    return is_ranges(packed, 4 if family == 4 else 16) and packed != b""
