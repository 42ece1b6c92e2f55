"""How Spiderpool's parsers read texts, row by row, and how ours reads the same ones.

Spiderpool has three readings of one list: a strict one (reservations, subnets, merging), a lenient
one (pools) and the allocator's, which skips what it cannot read. Ours is one. Each case is named
after its row; where the outcome is another one here, its name says what it is there.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from engine.addresses import (
    Address,
    Family,
    RangeSet,
    format_address,
    from_int,
    parse_address,
    parse_subnet,
    to_int,
)
from engine.errors import AddressError, InvalidInput
from engine.pool_spec import read_pool_spec, read_reservation_spec
from tests.builders import TestLedger, make_pool

FOUR: Final = "172.18.40."
SIX: Final = "abcd:1234::"
SUBNET: Final = "172.18.40.0/24"
ERROR: Final = None  # what is refused

Case = Any  # a row: what is read and what comes of it, with its name


def row(name: str, *values: object) -> Case:
    """A row of a table by its name."""
    return pytest.param(*values, id=name)


def full(prefix: str, entries: str) -> list[str]:
    """Entries from their last parts: "10 1-2" for .10 and .1-.2."""
    return [prefix + entry.replace("-", f"-{prefix}") for entry in entries.split()]


# ------------------------------------------------------------------------------------------ ranges


@pytest.mark.parametrize(
    ("entries", "family", "texts"),
    [
        row("single IPv4", [f"{FOUR}10"], 4, [f"{FOUR}10"]),
        row("IPv4 range, both ends in", [f"{FOUR}1-{FOUR}2"], 4, [f"{FOUR}1-{FOUR}2"]),
        row("single IPv6", [f"{SIX}a"], 6, [f"{SIX}a"]),
        row("IPv6 range", [f"{SIX}1-{SIX}2"], 6, [f"{SIX}1-{SIX}2"]),
        row("IP version 976", [f"{FOUR}10"], 976, ERROR),
        row("no address at all", ["invalid IP range"], 4, ERROR),
        row("IPv4, no last address", [f"{FOUR}1-invalid IP range"], 4, ERROR),
        row("IPv4, no first address", [f"invalid IP range-{FOUR}2"], 4, ERROR),
        row("IPv4 reversed; there strict: refused", [f"{FOUR}2-{FOUR}1"], 4, ERROR),
        row("IPv4, three parts", [f"{FOUR}1-{FOUR}2-{FOUR}3"], 4, ERROR),
        row("IPv6, no last address", [f"{SIX}1-invalid IP range"], 6, ERROR),
        row("IPv6, no first address", [f"invalid IP range-{SIX}2"], 6, ERROR),
        row("IPv6 reversed; there strict: refused", [f"{SIX}2-{SIX}1"], 6, ERROR),
        row("IPv6, three parts", [f"{SIX}1-{SIX}2-{SIX}3"], 6, ERROR),
        row("merge IPv4", full(FOUR, "10 1-2 2-3"), 4, full(FOUR, "1-3 10")),
        row("merge IPv6", full(SIX, "a 1-2 2-3"), 6, full(SIX, "1-3 a")),
        row("parse; there in the order given", full(FOUR, "10 1-2"), 4, full(FOUR, "1-2 10")),
        row("addresses to ranges", full(FOUR, "10 1 2"), 4, full(FOUR, "1-2 10")),
        row("an IPv4 address as IPv6", [f"{FOUR}10"], 6, ERROR),
    ],
)
def test_a_list_of_ranges(entries: list[str], family: Family, texts: list[str] | None) -> None:
    """Read as the set it writes down, or refused by its first bad entry."""
    if texts is None:
        with pytest.raises(AddressError) as caught:
            RangeSet.parse(entries, family)
        assert caught.value.entry in entries
    else:
        assert RangeSet.parse(entries, family).texts() == texts


def test_a_reversed_range_in_a_pool() -> None:
    """There the lenient parser swaps its ends: in the total, not for the allocator. Here no."""
    with pytest.raises(InvalidInput, match="reversed"):
        read_pool_spec(subnet=SUBNET, ips=[f"{FOUR}2-{FOUR}1"])


@pytest.mark.parametrize(
    ("subnet", "entry", "contained"),
    [
        row("/24 has .10", SUBNET, f"{FOUR}10", True),
        row("/24 has .1-.2", SUBNET, f"{FOUR}1-{FOUR}2", True),
        row("/24 has not .254 to the next .1", SUBNET, f"{FOUR}254-172.18.41.1", False),
        row("/120 has not ::fd-::101", "abcd:1234::/120", f"{SIX}fd-{SIX}101", False),
    ],
)
def test_what_a_subnet_contains(subnet: str, entry: str, *, contained: bool) -> None:
    """A range is a subnet's with both ends, or it is refused as an entry of its pools."""
    block = parse_subnet(subnet)
    whole = RangeSet(block.family, [(block.first, block.last)])
    assert whole.contains_set(RangeSet.parse([entry])) is contained
    if contained:
        assert RangeSet.parse([entry], subnet=block)
    else:
        with pytest.raises(AddressError):
            RangeSet.parse([entry], subnet=block)


@pytest.mark.parametrize(
    ("address", "contained"),
    [row(".1-.2 has .1", "1", True), row(".1-.2 has not .10", "10", False)],
)
def test_what_a_range_contains(address: str, *, contained: bool) -> None:
    """Ends belong to a range."""
    number = to_int(parse_address(FOUR + address))
    assert (number in RangeSet.parse(full(FOUR, "1-2"))) is contained


@pytest.mark.parametrize(
    ("other", "overlap"), [row("with .2-.3", "2-3", True), row("with .3-.4", "3-4", False)]
)
def test_ranges_overlap(other: str, *, overlap: bool) -> None:
    """.1-.2 overlaps what shares an address with it, not its neighbour."""
    assert RangeSet.parse(full(FOUR, "1-2")).overlaps(RangeSet.parse(full(FOUR, other))) is overlap


# ----------------------------------------------------------------------------------------- subnets


@pytest.mark.parametrize(
    ("subnet", "canonical"),
    [
        row("IPv4 canonical", "172.10.0.0/16", "172.10.0.0/16"),
        row("IPv6 canonical", "fc00:f853:ccd:e793::/64", "fc00:f853:ccd:e793::/64"),
        row("IPv4 host bits", "172.10.5.0/16", "172.10.0.0/16"),
        row("IPv4 host bits; there parsed as the network", "172.18.40.40/24", SUBNET),
        row("IPv6 host bits", "fc00:f853:ccd:e793::ee/64", "fc00:f853:ccd:e793::/64"),
        row("five parts", "0.0.0.0.0/16", ERROR),
        row("/33", "10.6.0.0/33", ERROR),
    ],
)
def test_a_subnet(subnet: str, canonical: str | None) -> None:
    """It has to be written as it is printed; the refusal says how that would be."""
    if subnet == canonical:
        assert str(parse_subnet(subnet)) == canonical
        assert str(read_pool_spec(subnet=subnet).subnet) == canonical
        return
    with pytest.raises(InvalidInput, match=canonical or "subnet: "):
        read_pool_spec(subnet=subnet)


@pytest.mark.parametrize(
    ("one", "other", "contains", "overlaps"),
    [
        row("/24 and its /25", SUBNET, "172.18.40.0/25", True, True),
        row("/25 and its /24", "172.18.40.0/25", SUBNET, False, True),
        row("neighbours", "172.18.41.0/24", SUBNET, False, False),
    ],
)
def test_two_subnets(one: str, other: str, *, contains: bool, overlaps: bool) -> None:
    """A block contains its half and not the other way round; to overlap is mutual."""
    blocks = [parse_subnet(one), parse_subnet(other)]
    sets = [RangeSet(4, [(block.first, block.last)]) for block in blocks]
    assert sets[0].contains_set(sets[1]) is contains
    assert blocks[0].overlaps(blocks[1]) is overlaps
    assert blocks[1].overlaps(blocks[0]) is overlaps


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        row("IPv4 address: /32", "1.1.1.1", ["1.1.1.1"]),
        row("IPv6 address: /128", "fd00::1", ["fd00::1"]),
        row("block: kept", "1.1.0.0/16", ["1.1.0.0-1.1.255.255"]),
        row("neither", "invalid cir", ERROR),
    ],
)
def test_an_address_or_a_block(text: str, texts: list[str] | None) -> None:
    """Where both may stand, as in our own manifests, one is read as the addresses it means."""
    if texts is None:
        with pytest.raises(AddressError):
            RangeSet.parse([text], allow_cidr=True)
    else:
        assert RangeSet.parse([text], allow_cidr=True).texts() == texts


@pytest.mark.parametrize(
    ("address", "step", "neighbour"),
    [
        row("next of 172.18.40.40", "172.18.40.40", 1, "172.18.40.41"),
        row("previous of abcd:1234::1", "abcd:1234::1", -1, "abcd:1234::"),
    ],
)
def test_neighbours(address: str, step: int, neighbour: str) -> None:
    """Addresses are numbers."""
    raw: Address = parse_address(address)
    assert format_address(from_int(to_int(raw) + step, 6 if len(raw) == 16 else 4)) == neighbour


@pytest.mark.parametrize(
    ("subnet", "destination", "gateway", "valid"),
    [
        row("IPv4", SUBNET, "10.9.0.0/16", "172.18.40.1", True),
        row("IPv6", "fd00::/64", "fd01::/64", "fd00::1", True),
        row("IPv4 by IPv6", SUBNET, "10.9.0.0/16", "fd00::1", False),
        row("IPv6 by IPv4", SUBNET, "fd01::/64", "172.18.40.1", False),
        row("no destination", SUBNET, "invalid", "172.18.40.1", False),
        row("a destination without length", SUBNET, "10.9.0.0", "172.18.40.1", False),
        row("no gateway", SUBNET, "10.9.0.0/16", "invalid", False),
    ],
)
def test_a_route(subnet: str, destination: str, gateway: str, *, valid: bool) -> None:
    """A block and an address of one family; anything else is refused."""
    routes = [(destination, gateway)]
    if valid:
        (route,) = read_pool_spec(subnet=subnet, routes=routes).routes
        assert (str(route.destination), format_address(route.gateway)) == (destination, gateway)
    else:
        with pytest.raises(InvalidInput, match=r"routes\[0\]"):
            read_pool_spec(subnet=subnet, routes=routes)


# ------------------------------------------------------------------------ a pool's ips and excludes

# Last parts of `ips` and `excludeIPs`, what remains, and its size with decimal (IPv4) and with
# hexadecimal (IPv6) parts.
POOLS: Final = [
    row("total of 10, 1-2 minus 10, 2-3", "10 1-2", "10 2-3", "1", 1, 1),
    row("nothing", "", "", "", 0, 0),
    row("1-2", "1-2", "", "1-2", 2, 2),
    row("two ranges", "1-2 4-6", "", "1-2 4-6", 5, 5),
    row("single", "1", "", "1", 1, 1),
    row("the same twice; there refused", "1-2 1-2", "", "1-2", 2, 2),
    row("touching at 10; there refused", "1-10 10-20", "", "1-20", 20, 32),
    row("one within; there refused", "1-10 3-5", "", "1-10", 10, 16),
    row("a single within; there refused", "1-10 3", "", "1-10", 10, 16),
    row("1-10 minus 1-2", "1-10", "1-2", "3-10", 8, 14),
    row("1-10 minus 1-2, 8-10", "1-10", "1-2 8-10", "3-7", 5, 5),
    row("three minus two", "1-10 11-20 21-30", "1-2 8-22", "3-7 23-30", 13, 19),
]


@pytest.mark.parametrize(("ips", "exclude_ips", "left", "size_four", "size_six"), POOLS)
@pytest.mark.parametrize(
    ("subnet", "prefix"), [("10.6.0.0/24", "10.6.0."), ("fd00::/64", "fd00::")]
)
def test_what_a_pool_has(
    subnet: str, prefix: str, ips: str, exclude_ips: str, left: str, size_four: int, size_six: int
) -> None:
    """`ips` without `excludeIPs`, each read as the set that it writes down."""
    spec = read_pool_spec(
        subnet=subnet, ips=full(prefix, ips), exclude_ips=full(prefix, exclude_ips)
    )
    assert spec.effective().texts() == full(prefix, left)
    assert spec.effective().size == (size_four if spec.family == 4 else size_six)


@pytest.mark.parametrize(
    ("subnet", "entry"),
    [
        row("IPv4, outside", "10.6.0.0/24", "10.5.0.1"),
        row("IPv4, reaching in", "10.6.0.0/24", "10.5.0.1-10.6.0.10"),
        row("IPv4, no last address", "10.6.0.0/24", "10.6.0.1-"),
        row("IPv4, to IPv6", "10.6.0.0/24", "10.6.0.1-fd:00::1"),
        row("IPv4, .300", "10.6.0.0/24", "10.6.0.1-10.6.0.300"),
        row("IPv6, outside", "fd00::/64", "fd01::1"),
        row("IPv6, no last address", "fd00::/64", "fd00::1-"),
        row("IPv6, to IPv4", "fd00::/64", "fd00::1-10.6.0.1"),
        row("IPv6, zzzz", "fd00::/64", "fd00::zzzz"),
    ],
)
@pytest.mark.parametrize("field", ["ips", "exclude_ips"])
def test_what_no_pool_has(subnet: str, entry: str, field: str) -> None:
    """Refused by name, among the addresses and among the excluded ones."""
    fields: dict[str, Any] = {field: [entry]}
    with pytest.raises(InvalidInput) as caught:
        read_pool_spec(subnet=subnet, **fields)
    assert repr(entry) in caught.value.message


def test_a_whole_64_less_sixteen() -> None:
    """There its size saturates at 2^63 - 1; it overlaps ::11-::12 in both."""
    prefix = "fd12:3456:789a:baba"
    spec = read_pool_spec(
        subnet=f"{prefix}::/64",
        ips=[f"{prefix}::1-{prefix}:ffff:ffff:ffff:ffff"],
        exclude_ips=[f"{prefix}::1-{prefix}::10"],
    )
    assert spec.effective().size == 2**64 - 17
    assert spec.effective().overlaps(RangeSet.parse([f"{prefix}::11-{prefix}::12"]))


# ----------------------------------------------------------------------------------- what is chosen


@pytest.mark.parametrize(
    ("ips", "used", "number", "chosen"),
    [
        row("lowest first", ["10.0.0.1-10.0.0.5"], [], 2, ["10.0.0.1", "10.0.0.2"]),
        row(
            "used ones are passed over",
            ["10.0.0.1-10.0.0.5"],
            ["10.0.0.2", "10.0.0.4"],
            3,
            ["10.0.0.1", "10.0.0.3", "10.0.0.5"],
        ),
        row("no more than asked for", ["10.0.0.1-10.0.0.5"], [], 1, ["10.0.0.1"]),
        row(
            "several ranges; there in the order given",
            ["10.0.0.8-10.0.0.9", "10.0.0.1"],
            [],
            3,
            ["10.0.0.1", "10.0.0.8", "10.0.0.9"],
        ),
    ],
)
def test_the_addresses_that_are_found(
    ips: list[str], used: list[str], number: int, chosen: list[str]
) -> None:
    """From the lowest on, as many as are asked for."""
    ledger = TestLedger()
    ledger.apply(make_pool(ips=ips))
    for address in used:
        ledger.grant(owner=f"used {address}", ips=[address])
    assert ledger.take(number=number) == chosen


def test_families_do_not_mix_in_a_pool_but_in_a_request() -> None:
    """There the search takes ranges of both; here each family has its pools, granted together."""
    ledger = TestLedger()
    ledger.apply(
        make_pool("four", ips=["10.0.0.1"]), make_pool("six", "fd00::/64", ips=["fd00::1"])
    )
    assert ledger.take("four", "six") == ["10.0.0.1", "fd00::1"]


# ---------------------------------------------------------------------------- what the webhook says


@pytest.mark.parametrize(
    "entry",
    [
        row("spaces around the dash", f"{FOUR}1 - {FOUR}2"),
        row("a block", "172.18.40.0/25"),
        row("nothing", ""),
        row("a leading zero", "172.18.40.01"),
        row("a trailing dash", f"{FOUR}1-"),
        row("three parts", f"{FOUR}1-{FOUR}2-{FOUR}3"),
        row("out of the subnet", f"{FOUR}250-172.18.41.5"),
        row("IPv6 in an IPv4 pool", "fd00::1"),
        row("IPv4 in IPv6's clothes; there accepted", "::ffff:172.18.40.1"),
    ],
)
def test_an_entry_that_the_webhook_refuses(entry: str) -> None:
    """Refused here as well, with the field and the entry."""
    with pytest.raises(InvalidInput, match=r"^ips: ") as caught:
        read_pool_spec(subnet=SUBNET, ips=[entry])
    assert repr(entry) in caught.value.message


@pytest.mark.parametrize(
    ("subnet", "ips", "exclude_ips", "left"),
    [
        row("a to a", SUBNET, [f"{FOUR}1-{FOUR}1"], [], [f"{FOUR}1"]),
        row("duplicates", SUBNET, [f"{FOUR}1", f"{FOUR}1"], [], [f"{FOUR}1"]),
        row("overlapping", SUBNET, full(FOUR, "1-3 2-4"), [], full(FOUR, "1-4")),
        row("unsorted", SUBNET, full(FOUR, "9 1"), [], full(FOUR, "1 9")),
        row("network and broadcast", SUBNET, full(FOUR, "0 255"), [], full(FOUR, "0 255")),
        row("upper-case", "fd00::/64", ["FD00::A"], [], ["fd00::a"]),
        row("/32", "172.18.40.7/32", ["172.18.40.7"], [], ["172.18.40.7"]),
        row("everything", "0.0.0.0/0", ["1.2.3.4"], [], ["1.2.3.4"]),
        row("no addresses", SUBNET, [], [], []),
        row("all excluded", SUBNET, full(FOUR, "1-9"), full(FOUR, "1-9"), []),
        row("excluded elsewhere", SUBNET, full(FOUR, "1-9"), full(FOUR, "50"), full(FOUR, "1-9")),
    ],
)
def test_a_pool_that_the_webhook_accepts(
    subnet: str, ips: list[str], exclude_ips: list[str], left: list[str]
) -> None:
    """Accepted here as well, and normalised."""
    spec = read_pool_spec(subnet=subnet, ips=ips, exclude_ips=exclude_ips)
    assert spec.effective().texts() == left


@pytest.mark.parametrize(
    ("ips", "texts"),
    [
        row("mixed families", ["10.0.0.1", "fd00::1"], ERROR),
        row("reversed", ["10.0.0.9-10.0.0.1"], ERROR),
        row("none", [], ERROR),
        row("a block", ["10.0.0.0/30"], ERROR),
        row("a leading space", [" 10.0.0.1"], ERROR),
        row("0.0.0.0", ["0.0.0.0"], ["0.0.0.0"]),  # noqa: S104 - an address, not a binding
        row("upper-case", ["FD00::A"], ["fd00::a"]),
        row("a whole /64", ["fd00::-fd00::ffff:ffff:ffff:ffff"], 1 << 64),
    ],
)
def test_a_reservation(ips: list[str], texts: list[str] | int | None) -> None:
    """As the webhook decides, but that a wide one stops nothing else."""
    if texts is None:
        with pytest.raises(InvalidInput, match=r"^ips: "):
            read_reservation_spec(ips=ips)
    elif isinstance(texts, int):
        assert read_reservation_spec(ips=ips).ips.size == texts
    else:
        assert read_reservation_spec(ips=ips).ips.texts() == texts
