"""Addresses, subnets and the reading of lists of addresses."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.addresses import (
    BITS,
    Address,
    Family,
    RangeSet,
    Subnet,
    family_of,
    format_address,
    from_int,
    parse_address,
    parse_subnet,
    to_int,
)
from engine.errors import AddressError

V4 = "172.18.40"
V6 = "abcd:1234:"
ALL_OF_V6 = (1 << 128) - 1
MAPPED = [
    "::ffff:1.2.3.4",
    "::FFFF:1.2.3.4",
    "::ffff:102:304",
    "0:0:0:0:0:ffff:102:304",
    "0000:0000:0000:0000:0000:ffff:1.2.3.4",
]


def whole(subnet: Subnet) -> RangeSet:
    """Return all addresses of a subnet."""
    return RangeSet(subnet.family, [(subnet.first, subnet.last)])


def refusal_of(
    entries: Any,
    family: Family | None = None,
    *,
    subnet: Subnet | None = None,
    allow_cidr: bool = False,
) -> AddressError:
    """Return the error that a list of entries is refused with."""
    with pytest.raises(AddressError) as caught:
        RangeSet.parse(entries, family, subnet=subnet, allow_cidr=allow_cidr)
    return caught.value


# ------------------------------------------------------------------------------ single addresses


@pytest.mark.parametrize(
    ("text", "raw", "canonical"),
    [
        ("172.18.40.10", b"\xac\x12\x28\x0a", "172.18.40.10"),
        ("0.0.0.0", bytes(4), "0.0.0.0"),  # noqa: S104 - an address, not a binding
        ("255.255.255.255", b"\xff" * 4, "255.255.255.255"),
        ("::", bytes(16), "::"),
        ("ABCD:1234::A", bytes.fromhex("abcd1234" + "0" * 23 + "a"), "abcd:1234::a"),
        ("fd00:0:0:0:0:0:0:0001", b"\xfd" + bytes(14) + b"\x01", "fd00::1"),
        ("1:0:2:0:3:0:4:0", bytes.fromhex("00010000000200000003000000040000"), "1:0:2:0:3:0:4:0"),
        ("64:ff9b::1.2.3.4", bytes.fromhex("0064ff9b" + "0" * 16 + "01020304"), "64:ff9b::102:304"),
        ("::1.2.3.4", bytes(12) + b"\x01\x02\x03\x04", "::102:304"),
    ],
)
def test_an_address_is_its_bytes_and_has_one_text(text: str, raw: bytes, canonical: str) -> None:
    """Any accepted spelling gives the same bytes, and those give the canonical text."""
    address = parse_address(text)
    assert address == raw
    assert format_address(address) == canonical
    assert parse_address(canonical) == address
    assert from_int(to_int(address), family_of(address)) == address


@given(st.integers(0, (1 << 32) - 1))
def test_ipv4_agrees_with_the_standard_library(value: int) -> None:
    """Formatting and parsing IPv4 agree with `ipaddress`."""
    assert format_address(from_int(value, 4)) == str(ipaddress.IPv4Address(value))
    assert to_int(parse_address(str(ipaddress.IPv4Address(value)), 4)) == value


@given(st.integers(0, ALL_OF_V6) | st.lists(st.sampled_from([0, 0, 1, 0xFFFF]), min_size=8))
def test_ipv6_agrees_with_the_standard_library(drawn: int | list[int]) -> None:
    """Formatting and parsing IPv6 agree with `ipaddress`, with any run of zero groups."""
    if isinstance(drawn, list):
        drawn = int.from_bytes(b"".join(group.to_bytes(2, "big") for group in drawn[:8]), "big")
    expected = ipaddress.IPv6Address(drawn)
    if expected.ipv4_mapped is None:
        assert format_address(from_int(drawn, 6)) == str(expected)
        assert to_int(parse_address(str(expected), 6)) == drawn
        assert to_int(parse_address(expected.exploded.upper())) == drawn


def test_a_mapped_address_prints_the_same_on_every_python() -> None:
    """Mapped addresses cannot be entered, yet a set that spans them has one text everywhere."""
    assert format_address(Address(bytes(10) + b"\xff\xff\x01\x02\x03\x04")) == "::ffff:1.2.3.4"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("invalid", "not an IP address"),
        ("172.18.40", "not an IP address"),
        ("172.18.40.300", "not an IP address"),
        ("172.18.40.1.2", "not an IP address"),
        ("172.18.40.0x1", "not an IP address"),
        ("172.18.40.٣", "not an IP address"),
        ("pool.01", "not an IP address"),
        ("fd00::zzzz", "not an IP address"),
        ("fd00::1::2", "not an IP address"),
        ("172.18.40.1/32", "not an IP address"),
        ("172.18.40.1-172.18.40.2", "not an IP address"),
        ("64:ff9b::1.2.3.04", "not an IP address"),
        ("172.18.40.01", "leading zeros"),
        ("00.0.0.0", "leading zeros"),
        ("fe80::1%eth0", "scope id"),
        ("fe80::1%", "scope id"),
        ("", "missing"),
        *[(text, "IPv4-mapped") for text in MAPPED],
        *[(f"172.18.40.1{space}", "white space") for space in " \t\n\r\v\u00a0\u2003"],
        (" fd00::1", "white space"),
    ],
)
def test_what_is_no_address_is_refused_by_name(text: str, why: str) -> None:
    """The refusal names the text as given and says what is wrong with it."""
    with pytest.raises(AddressError, match=why) as caught:
        parse_address(text)
    assert caught.value.entry == text
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "family"), [("fd00::1", 4), ("172.18.40.1", 6), ("172.18.40.1", 976)]
)
def test_an_address_of_another_family_is_refused(text: str, family: Family) -> None:
    """An address that is not of the family asked for is refused."""
    with pytest.raises(AddressError, match=f"where IPv{family} is wanted"):
        parse_address(text, family)


def test_the_mapped_form_is_refused_with_the_address_to_write_instead() -> None:
    """The hint of the refusal is the IPv4 address that was meant."""
    with pytest.raises(AddressError) as caught:
        parse_address("::ffff:102:304")
    assert caught.value.hint == "write 1.2.3.4"


def test_neighbours_are_a_matter_of_arithmetic() -> None:
    """The next and the previous address are the numbers beside it."""
    assert format_address(from_int(to_int(parse_address(f"{V4}.40")) + 1, 4)) == f"{V4}.41"
    assert format_address(from_int(to_int(parse_address(f"{V6}:1")) - 1, 6)) == "abcd:1234::"


def test_numbers_and_bytes_outside_a_family_are_errors() -> None:
    """No number out of range and no odd length ever passes for an address."""
    with pytest.raises(OverflowError):
        from_int(1 << 32, 4)
    with pytest.raises(OverflowError):
        from_int(-1, 6)
    with pytest.raises(ValueError, match="4 or 16 bytes"):
        family_of(Address(b"12345"))


# --------------------------------------------------------------------------------------- subnets


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("172.10.0.0/16", 1 << 16),
        ("172.18.42.0/24", 256),
        ("172.18.40.10/32", 1),
        ("0.0.0.0/0", 1 << 32),
        ("fc00:f853:ccd:e793::/64", 1 << 64),
        ("::/0", 1 << 128),
        ("fd00::1/128", 1),
    ],
)
def test_a_canonical_subnet_is_accepted_and_printed_as_it_was(text: str, size: int) -> None:
    """A canonical subnet survives the round trip, with its exact size and its last address."""
    subnet = parse_subnet(text)
    assert str(subnet) == text
    assert subnet.size == size
    assert subnet.last - subnet.first == size - 1
    assert str(ipaddress.ip_network(text)) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("172.10.5.0/16", "172.10.0.0/16"),
        ("172.18.40.40/24", "172.18.40.0/24"),
        ("172.18.40.5/24", "172.18.40.0/24"),
        ("10.0.0.1/0", "0.0.0.0/0"),
        ("fc00:f853:ccd:e793::ee/64", "fc00:f853:ccd:e793::/64"),
        ("FD00::/64", "fd00::/64"),
        ("fd00:0:0:0::/64", "fd00::/64"),
        ("172.18.40.0/024", "172.18.40.0/24"),
    ],
)
def test_a_subnet_written_otherwise_is_refused_with_what_to_write(
    text: str, canonical: str
) -> None:
    """Host bits and other spellings are refused; the message holds the canonical text (V5)."""
    with pytest.raises(AddressError, match=f"change it to {canonical}$") as caught:
        parse_subnet(text)
    assert caught.value.entry == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0.0.0.0.0/16", "not an IP address"),
        ("172.18.40.0", "not a subnet"),
        ("172.18.40.0/33", "number from 0 to 32"),
        ("fd00::/129", "number from 0 to 128"),
        ("172.18.40.0/", "number from 0 to 32"),
        ("172.18.40.0/-1", "number from 0 to 32"),
        ("172.18.40.0/+24", "number from 0 to 32"),
        ("172.18.40.0/2_4", "number from 0 to 32"),
        ("172.18.40.0/²", "number from 0 to 32"),
        ("172.18.40.0/255.255.255.0", "number from 0 to 32"),
        ("172.18.40.0/24/24", "number from 0 to 32"),
        ("172.18.40.0 /24", "white space"),
        ("/24", "missing"),
        ("", "missing"),
        ("fe80::%eth0/64", "scope id"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("172.18.040.0/24", "leading zeros"),
    ],
)
def test_what_is_no_subnet_is_refused_by_name(text: str, why: str) -> None:
    """The refusal names the whole subnet as given and says what is wrong with it (V4)."""
    with pytest.raises(AddressError, match=why) as caught:
        parse_subnet(text)
    assert caught.value.entry == text


def test_a_subnet_contains_its_own_addresses_only() -> None:
    """Network and broadcast address belong to a subnet; neighbours and other families do not."""
    subnet = parse_subnet("172.18.40.0/24")
    assert parse_address("172.18.40.0") in subnet
    assert parse_address("172.18.40.255") in subnet
    assert parse_address("172.18.39.255") not in subnet
    assert parse_address("172.18.41.0") not in subnet
    assert from_int(subnet.first, 6) not in subnet


def test_asking_a_subnet_about_a_number_is_a_programming_error() -> None:
    """A number has no family, so that no answer would be right."""
    with pytest.raises(AssertionError, match="not numbers"):
        assert 5 in parse_subnet("0.0.0.0/0")


@pytest.mark.parametrize(
    ("left", "right", "overlap"),
    [
        ("172.18.40.0/24", "172.18.40.0/25", True),
        ("172.18.40.0/24", "172.18.40.0/24", True),
        ("172.18.40.0/24", "172.18.41.0/24", False),
        ("fd00::/64", "fd00::/120", True),
        ("0.0.0.0/0", "::/0", False),
    ],
)
def test_subnets_overlap_when_one_is_within_the_other(
    left: str, right: str, *, overlap: bool
) -> None:
    """Overlap is mutual, and there is none between families."""
    assert parse_subnet(left).overlaps(parse_subnet(right)) is overlap
    assert parse_subnet(right).overlaps(parse_subnet(left)) is overlap


def test_a_subnet_contains_its_half_and_not_the_other_way_round() -> None:
    """A /24 contains its /25; the /25 does not contain the /24."""
    block, half = (whole(parse_subnet(f"{V4}.0/{bits}")) for bits in (24, 25))
    assert block.contains_set(half)
    assert not half.contains_set(block)


# ------------------------------------------------------------------------------- lists of entries


@pytest.mark.parametrize(
    ("entries", "family", "texts"),
    [
        ([f"{V4}.10"], 4, [f"{V4}.10"]),
        ([f"{V4}.1-{V4}.2"], 4, [f"{V4}.1-{V4}.2"]),
        ([f"{V4}.1-{V4}.1"], 4, [f"{V4}.1"]),
        ([f"{V4}.10", f"{V4}.1-{V4}.2", f"{V4}.2-{V4}.3"], 4, [f"{V4}.1-{V4}.3", f"{V4}.10"]),
        ([f"{V4}.10", f"{V4}.1", f"{V4}.2"], 4, [f"{V4}.1-{V4}.2", f"{V4}.10"]),
        ([f"{V4}.1", f"{V4}.1"], 4, [f"{V4}.1"]),
        ([f"{V4}.0", f"{V4}.255"], 4, [f"{V4}.0", f"{V4}.255"]),
        (["0.0.0.0"], 4, ["0.0.0.0"]),  # noqa: S104 - an address, not a binding
        ([f"{V6}:a"], 6, [f"{V6}:a"]),
        ([f"{V6}:1-{V6}:2"], 6, [f"{V6}:1-{V6}:2"]),
        ([f"{V6}:a", f"{V6}:1-{V6}:2", f"{V6}:2-{V6}:3"], 6, [f"{V6}:1-{V6}:3", f"{V6}:a"]),
        (["ABCD:1234::0001-ABCD:1234:0::F"], 6, [f"{V6}:1-{V6}:f"]),
        (["64:ff9b::1.2.3.4"], 6, ["64:ff9b::102:304"]),
        (
            ["fd00::1-fd00::ffff:ffff:ffff:ffff"],
            6,
            ["fd00::1-fd00::ffff:ffff:ffff:ffff"],
        ),
    ],
)
def test_a_list_is_read_sorted_and_merged(
    entries: list[str], family: Family, texts: list[str]
) -> None:
    """Order, repetition and overlap of the entries do not matter; the texts are canonical."""
    found = RangeSet.parse(entries, family)
    assert found.texts() == texts
    assert RangeSet.parse(entries) == found
    assert RangeSet.parse(texts) == found


@pytest.mark.parametrize(
    ("entry", "family", "why"),
    [
        ("invalid-IP", 4, "'invalid' is not an IP address"),
        (f"{V4}.1-invalid", 4, "'invalid' is not an IP address"),
        (f"invalid-{V4}.2", 4, "'invalid' is not an IP address"),
        ("invalid", 4, "this is not an IP address"),
        (f"{V4}.2-{V4}.1", 4, "reversed"),
        (f"{V4}.1-{V4}.2-{V4}.3", 4, "two ends"),
        (f"{V4}.1-", 4, "missing"),
        (f"-{V4}.1", 4, "missing"),
        ("-", 4, "missing"),
        ("--", 4, "two ends"),
        ("", 4, "missing"),
        (f"{V4}.1 - {V4}.2", 4, "white space"),
        (f"{V4}.1\n", 4, "white space"),
        (f"{V4}.01", 4, "leading zeros"),
        (f"{V4}.1-{V4}.02", 4, f"'{V4}.02' has leading zeros"),
        (f"{V4}.0/25", 4, "subnet is not accepted"),
        (f"{V4}.1-{V4}.300", 4, "not an IP address"),
        (f"{V4}.1-fd:00::1", 4, "from one IP version to the other"),
        (f"{V6}:1", 4, "this is IPv6, where IPv4 is wanted"),
        (f"{V6}:1-invalid", 6, "'invalid' is not an IP address"),
        (f"invalid-{V6}:2", 6, "'invalid' is not an IP address"),
        (f"{V6}:2-{V6}:1", 6, "reversed"),
        (f"{V6}:1-{V6}:2-{V6}:3", 6, "two ends"),
        (f"{V6}:1-{V4}.1", 6, "from one IP version to the other"),
        (f"{V4}.10", 6, "this is IPv4, where IPv6 is wanted"),
        (f"{V4}.10", 976, "where IPv976 is wanted"),
        ("fe80::1%eth0", 6, "scope id"),
        ("fe80::1-fe80::2%1", 6, "scope id"),
        *[(text, 6, "IPv4-mapped") for text in MAPPED],
        ("::-::ffff:1.2.3.4", 6, "IPv4-mapped"),
    ],
)
def test_a_bad_entry_is_refused_by_name(entry: str, family: Family, why: str) -> None:
    """One bad entry among good ones is refused, named whole, with the reason."""
    good = f"{V4}.77" if family == 4 else f"{V6}:77"
    error = refusal_of([good, entry] if family in BITS else [entry], family)
    assert error.entry == entry
    assert repr(entry) in str(error)
    assert why in error.why
    assert error.kind == "invalid"


def test_a_reversed_range_is_refused_with_what_was_meant() -> None:
    """The hint holds the range the right way round."""
    assert refusal_of([f"{V4}.10-{V4}.9"]).hint == f"write {V4}.9-{V4}.10"


def test_entries_of_two_families_are_refused() -> None:
    """Without a family asked for, the first entry sets it and the first other one is named."""
    error = refusal_of([f"{V4}.1", f"{V6}:1", f"{V4}.2"])
    assert error.entry == f"{V6}:1"


@pytest.mark.parametrize("entry", [1234, 1.5, None, True, b"10.0.0.1", ["10.0.0.1"], {}])
def test_an_entry_that_is_no_text_is_refused(entry: object) -> None:
    """What YAML made something else of is refused; the message asks for quotes."""
    error = refusal_of([entry])
    assert repr(entry) in str(error)
    assert f"must be a text in quotes, not of type {type(entry).__name__}" in error.why


def test_a_monstrous_entry_that_is_no_text_is_refused_cheaply() -> None:
    """A number too long to print and a bomb of nested lists give short messages."""
    bomb: list[object] = []
    for _ in range(60):
        bomb = [bomb] * 60
    assert len(str(refusal_of([1 << 100_000]))) < 300
    assert len(str(refusal_of([bomb]))) < 300


def test_an_entry_of_absurd_length_is_refused_and_not_repeated() -> None:
    """The message holds the beginning of the entry and its length, not all of it."""
    error = refusal_of(["1" * 5000])
    assert "5000 characters" in error.why
    assert "1" * 60 in str(error)
    assert len(str(error)) < 200


def test_the_longest_meaningful_range_is_accepted() -> None:
    """Two addresses in their longest spelling are within the limit of length."""
    low, high = (f"0064:ff9b:0000:0000:0000:0000:255.255.255.{end}" for end in (100, 255))
    assert RangeSet.parse([f"{low}-{high}"]).size == 156


def test_control_characters_are_escaped_in_the_message() -> None:
    """A message can be printed on a terminal whatever the entry was."""
    assert str(refusal_of(["10.0.0.1\x1b[31m\u202e"])).isprintable()


def test_a_single_text_is_not_a_list() -> None:
    """A text where a list is wanted is refused whole and not letter by letter."""
    assert refusal_of(f"{V4}.1").entry == f"{V4}.1"


def test_a_subnet_is_an_entry_where_it_is_allowed() -> None:
    """With ``allow_cidr`` a subnet means all its addresses, and still has to be canonical."""
    entries = [f"{V4}.0/25", f"{V4}.128", "10.0.0.0/32"]
    assert RangeSet.parse(entries, allow_cidr=True).texts() == ["10.0.0.0", f"{V4}.0-{V4}.128"]
    assert RangeSet.parse(["0.0.0.0/0"], allow_cidr=True).size == 1 << 32
    assert f"change it to {V4}.0/24" in refusal_of([f"{V4}.40/24"], allow_cidr=True).why
    assert "from 0 to 32" in refusal_of([f"{V4}.0/33"], allow_cidr=True).why


@pytest.mark.parametrize(
    ("subnet", "inside", "outside"),
    [
        (f"{V4}.0/24", f"{V4}.10", "172.18.41.1"),
        (f"{V4}.0/24", f"{V4}.0-{V4}.255", f"{V4}.254-172.18.41.1"),
        (f"{V4}.0/24", f"{V4}.1-{V4}.2", f"172.18.39.255-{V4}.0"),
        (f"{V6}:/120", f"{V6}:fd-{V6}:ff", f"{V6}:fd-{V6}:101"),
    ],
)
def test_an_entry_that_leaves_the_subnet_is_refused(subnet: str, inside: str, outside: str) -> None:
    """Entries have to lie in the subnet with both ends; the refusal names entry and subnet."""
    within = parse_subnet(subnet)
    assert RangeSet.parse([inside], subnet=within).texts() == [inside]
    error = refusal_of([inside, outside], subnet=within)
    assert error.entry == outside
    assert subnet in error.why


def test_the_subnet_sets_the_family() -> None:
    """An entry of another family than the subnet's is refused as such."""
    error = refusal_of([f"{V6}:1"], subnet=parse_subnet(f"{V4}.0/24"))
    assert "this is IPv6, where IPv4 is wanted" in error.why


def test_no_entries_are_the_empty_set_of_a_known_family() -> None:
    """An empty list is no error, provided that family or subnet are given and agree."""
    assert RangeSet.parse([], 6) == RangeSet(6)
    assert RangeSet.parse([], subnet=parse_subnet("fd00::/64")) == RangeSet(6)
    with pytest.raises(ValueError, match="family"):
        RangeSet.parse([])
    with pytest.raises(ValueError, match="cannot hold"):
        RangeSet.parse([], 4, subnet=parse_subnet("fd00::/64"))


@pytest.mark.parametrize(
    ("subnet", "entry"),
    [
        ("10.6.0.0/24", "10.5.0.1"),
        ("10.6.0.0/24", "10.5.0.1-10.6.0.10"),
        ("10.6.0.0/24", "10.6.0.1-"),
        ("10.6.0.0/24", "10.6.0.1-fd:00::1"),
        ("10.6.0.0/24", "10.6.0.1-10.6.0.300"),
        ("fd00::/64", "fd01::1"),
        ("fd00::/64", "fd00::1-fd00:0:0:1::1"),
        ("fd00::/64", "fd00::1-"),
        ("fd00::/64", "fd00::1-10.6.0.1"),
        ("fd00::/64", "fd00::zzzz"),
    ],
)
def test_a_pool_refuses_entries_that_are_not_its_own(subnet: str, entry: str) -> None:
    """What lies outside the subnet, or cannot be read, is refused by name."""
    assert refusal_of([entry], subnet=parse_subnet(subnet)).entry == entry
