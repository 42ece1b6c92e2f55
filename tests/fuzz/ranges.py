"""Texts of addresses, subnets and lists of them, held against a naive model with `ipaddress`.

The first line of an input says what is wanted: a family or a subnet, or neither, and whether
subnets are entries, too. Each other line is an entry; an empty one divides it into two lists.
"""

from __future__ import annotations

import ipaddress
from random import Random
from typing import Final, NamedTuple, cast

from engine.addresses import (
    Family,
    RangeSet,
    Subnet,
    format_address,
    parse_address,
    parse_subnet,
    to_int,
)
from engine.errors import AddressError
from tests.fuzz.mutating import changed
from tests.fuzz.target import Target, require

_BITS: Final = {4: 32, 6: 128}
_MESSAGE_MAX: Final = 1_500
Pair = tuple[int, int]


class Asked(NamedTuple):
    """What an input says."""

    family: Family | None
    subnet: str | None
    allow_cidr: bool
    lists: list[list[str]]


def read(data: bytes) -> Asked:
    """An input, whatever it is."""
    head, *lines = data.decode("utf-8", "surrogateescape").split("\n")
    words = head.split(" ")
    family = cast("Family", int(words[0][3])) if words[0] in {"IPv4", "IPv6"} else None
    lists: list[list[str]] = [[]]
    for line in lines:
        if line:
            lists[-1].append(line)
        else:
            lists.append([])
    subnet = words[0] if "/" in words[0] else None
    return Asked(family, subnet, "cidr" in words, lists[:2])


# --------------------------------------------------------------------------------- the naive model


def naive_address(text: str) -> tuple[int, int] | None:
    """Family and number, by the standard library; None if we refuse it."""
    if not text.isascii() or any(mark in text for mark in "%/ \t\r\x0b\x0c\x1c\x1d\x1e\x1f"):
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version == 6 and address.ipv4_mapped is not None:
        return None
    return address.version, int(address)


def naive_subnet(text: str) -> tuple[int, int, int] | None:
    """Family, first and last address of a subnet as it would be printed."""
    address, slash, length = text.partition("/")
    found = naive_address(address)
    if not slash or found is None or not length.isascii() or not length.isdigit():
        return None
    if int(length) > _BITS[found[0]]:
        return None
    network = ipaddress.ip_network(f"{address}/{int(length)}", strict=False)
    if text != _printed(network):
        return None
    return found[0], int(network.network_address), int(network.broadcast_address)


def _printed(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    """As RFC 5952 has it; nothing that we read is IPv4-mapped."""
    return f"{network.network_address.compressed}/{network.prefixlen}"


def naive_entry(text: str, *, allow_cidr: bool) -> tuple[int, int, int] | None:
    """Family, first and last address of an entry; None if it is refused."""
    if len(text) > 100:
        return None
    if "/" in text:
        return naive_subnet(text) if allow_cidr else None
    parts = text.split("-")
    ends = [naive_address(part) for part in parts]
    first, last = ends[0], ends[-1]
    if len(parts) > 2 or first is None or last is None or first[0] != last[0]:
        return None
    return None if first[1] > last[1] else (first[0], first[1], last[1])


def naive_list(asked: Asked, entries: list[str]) -> tuple[int, list[Pair]] | None:
    """Family and ranges of a whole list, as they were written."""
    family: int | None = asked.family
    within = None if asked.subnet is None else naive_subnet(asked.subnet)
    if within is not None:
        family = within[0]
    pairs = []
    for entry in entries:
        found = naive_entry(entry, allow_cidr=asked.allow_cidr)
        family = family or (found and found[0])
        if found is None or found[0] != family:
            return None
        if within is not None and not within[1] <= found[1] <= found[2] <= within[2]:
            return None
        pairs.append(found[1:])
    return None if family is None else (family, pairs)


def _holds(pairs: list[Pair], value: int) -> bool:
    return any(low <= value <= high for low, high in pairs)


def _borders(family: int, *lists: list[Pair]) -> set[int]:
    """Every address at which anything can change, and its neighbours: the sets agree elsewhere."""
    ends = {end for pairs in lists for pair in pairs for end in pair}
    near = {end + step for end in ends for step in (-1, 0, 1)} | {0, (1 << _BITS[family]) - 1}
    return {value for value in near if 0 <= value < 1 << _BITS[family]}


# ---------------------------------------------------------------------------------- what must hold


def check(data: bytes) -> None:
    """Every entry alone, then the two lists, then what is made of them."""
    asked = read(data)
    for entry in {entry for entries in asked.lists for entry in entries} | {asked.subnet or ""}:
        _check_address(entry)
        _check_subnet(entry)
    subnet = _subnet(asked.subnet)
    if asked.subnet is not None and subnet is None:
        return
    sets = [_check_list(asked, subnet, entries) for entries in asked.lists]
    if len(sets) == 2 and sets[0] and sets[1] and sets[0][0].family == sets[1][0].family:
        _check_algebra(sets[0], sets[1])


def _subnet(text: str | None) -> Subnet | None:
    try:
        return None if text is None else parse_subnet(text)
    except AddressError:
        return None


def _check_address(text: str) -> None:
    model = naive_address(text) if len(text) <= 100 else None
    try:
        address = parse_address(text)
    except AddressError as error:
        _check_error(error, [text])
        require(model is None, f"{text!r} is refused, and is an address")
        return
    require((len(address) == 16, to_int(address)) == (model and model[0] == 6, model and model[1]),
            f"{text!r} is read as {address!r}")  # fmt: skip
    written = format_address(address)
    require(parse_address(written) == address, f"{text!r} is written as {written!r}")
    require(written == ipaddress.ip_address(text).compressed, f"{written!r} is not canonical")


def _check_subnet(text: str) -> None:
    model = naive_subnet(text) if len(text) <= 100 else None
    try:
        subnet = parse_subnet(text)
    except AddressError as error:
        _check_error(error, [text])
        require(model is None, f"{text!r} is refused, and is a subnet")
        return
    found = subnet.family, subnet.first, subnet.last
    require(found == model, f"{text!r} is read as {subnet!r}")
    require(str(subnet) == text, f"{text!r} is written as {subnet}")


def _check_list(
    asked: Asked, subnet: Subnet | None, entries: list[str]
) -> tuple[RangeSet, list[Pair]] | None:
    model = naive_list(asked, entries)
    family = None if subnet is not None else asked.family
    if not entries and family is None and subnet is None:
        return None  # of no family: the caller's mistake, not the text's
    try:
        read = RangeSet.parse(entries, family, subnet=subnet, allow_cidr=asked.allow_cidr)
    except AddressError as error:
        _check_error(error, entries)
        require(model is None, f"{entries!r} are refused, and are good")
        return None
    require(model is not None, f"{entries!r} are taken, and are not good")
    assert model is not None, "it was required"
    require(read.family == model[0], "the set is of another family")
    for value in _borders(read.family, model[1], list(read.ranges)):
        require((value in read) == _holds(model[1], value), f"{value} is wrong in {read!r}")
    normal = all(low <= high for low, high in read) and all(
        before[1] + 1 < after[0] for before, after in zip(read, list(read)[1:], strict=False)
    )
    require(normal, f"{read!r} is not in normal form")
    texts = read.texts()
    require(RangeSet.parse(texts, read.family) == read, f"{texts!r} are read as something else")
    require(texts == RangeSet.parse(texts, read.family).texts(), "there are two canonical texts")
    return read, model[1]


def _check_algebra(one: tuple[RangeSet, list[Pair]], other: tuple[RangeSet, list[Pair]]) -> None:
    (left, left_pairs), (right, right_pairs) = one, other
    both, either, without = left & right, left | right, left - right
    for value in _borders(left.family, left_pairs, right_pairs):
        in_left, in_right = _holds(left_pairs, value), _holds(right_pairs, value)
        require((value in both) == (in_left and in_right), f"{value} is wrong in {both!r}")
        require((value in either) == (in_left or in_right), f"{value} is wrong in {either!r}")
        require((value in without) == (in_left and not in_right), f"{value}: {without!r}")
    require(both.size + either.size == left.size + right.size, "sizes do not add up")
    require(without.size + both.size == left.size, "sizes do not add up")
    require(left.overlaps(right) == bool(both), "overlap is not what is in both")
    require(left.contains_set(right) == (right == both), "containing is not what is in both")


def _check_error(error: AddressError, entries: list[str]) -> None:
    named = [entry for entry in entries if error.entry in {entry, f"{entry[:60]}..."}]
    require(named, f"{error.entry!r} is none of the entries")
    require(repr(error.entry) in error.message, "the message does not name the entry")
    require(error.why, "the message does not say why")
    require(len(error.message) + len(error.hint) < _MESSAGE_MAX, "the message has no bound")


# --------------------------------------------------------------------------------------- mutations

_WORDS: Final = (
    b"10.0.0.1", b"10.0.0.0/24", b"10.0.0.9-10.0.0.3", b"10.0.0.3-10.0.0.9", b"0.0.0.0/0", b"::/0",
    b"255.255.255.255", b"fd00::1", b"fd00::-fd00::ff", b"fd00::/64", b"::ffff:1.2.3.4",
    b"64:ff9b::1.2.3.4", b"::", b"010.0.0.1", b"fe80::1%eth0", b"1:2:3:4:5:6:7:8", b"::1.2.3.4",
    b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", b"IPv4", b"IPv6", b" cidr", b"\n\n", b"/128",
    b"/032", b"/+1", "10.0.0.\u0661".encode(), b"1.2.3", b"0x7f.1", b"FD00::A", b"fd00:0::",
    b"10.0.0.2-10.0.0.2", b"10.0.0.4-fd00::1",
)  # fmt: skip


def mutate(data: bytes, random: Random) -> bytes:
    """Lines are entries, and the words are addresses: what bytes are changed to is near enough."""
    return changed(data, random, _WORDS)


TARGET: Final = Target("ranges", check, mutate)
