"""Tags are of fixed form: what a script compares, and what nobody can forge with a name."""

from __future__ import annotations

import re
from hashlib import sha256
from ipaddress import ip_network
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events as ev
from engine import tags
from engine.addresses import RangeSet, parse_address
from engine.entry import Header
from engine.errors import DamagedEntry
from engine.events import Event, Sealed
from engine.shapes import U64_MAX
from engine.wire import decode_entry
from tests.engine.samples import ALL, IDS, SUBNET_6, V4, V6, Sample, raw_entry

# The whole grammar, as docs/format.md gives it.
TAG: Final = re.compile(
    r"[spr]0{32}|[po][0-9a-f]{32}|[nl][0-9a-f]{16}|c[0-9a-f]{40}|h[0-9a-f]{16}-[0-9a-f]{16}"
    r"|4[0-9a-f]{8}(-4[0-9a-f]{8})?|6[0-9a-f]{32}(-6[0-9a-f]{32})?"
)
ZEROS: Final = "0" * 32
COMMAND: Final = Header(command=bytes(range(16)), step=3)
COMMAND_TAG: Final = "c000102030405060708090a0b0c0d0e0f00000003"
POOL_A: Final = "pca978112ca1bbdcafac231b39a23dc4d"  # sha256sum of "a", first half
OWNER_A: Final = "o" + sha256(b"a\0eth0").hexdigest()[:32]


def test_the_form_of_each_tag() -> None:
    """Kind letter, width and hashing are the format: neither can change."""
    assert f"s{ZEROS}" == tags.SPACE
    assert f"p{ZEROS}" == tags.POOLS
    assert f"r{ZEROS}" == tags.RESERVATIONS
    assert tags.pool("a") == POOL_A
    assert tags.pool("ü") == "p" + sha256(b"\xc3\xbc").hexdigest()[:32]
    assert tags.pool_leases(0x1234) == "n0000000000001234"
    assert tags.owner("a", "eth0") == OWNER_A
    assert tags.lease(U64_MAX) == "lffffffffffffffff"
    assert tags.command(COMMAND.command, COMMAND.step) == COMMAND_TAG
    assert tags.restoration(2, 6) == "h0000000000000002-0000000000000006"
    assert tags.address(V4) == "40a030201"
    assert tags.address(V6) == "6fd00000000000000000000000000abcd"
    assert tags.address_range(4, 1, 1) == "400000001"
    assert tags.address_range(4, 1, 0xFFFFFFFF) == "400000001-4ffffffff"
    assert tags.address_range(6, 0, 0xABCD) == f"6{ZEROS}-6{'0' * 28}abcd"


@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.3.2.1/32", "0.0.0.0/0", "fd00::/64", "::/0"])
def test_a_block_is_the_range_that_it_covers(text: str) -> None:
    """A block's tag names its first and last address; that of a full-length one is the address."""
    network = ip_network(text)
    first, last = (int(end) for end in (network[0], network[-1]))
    raw = network.network_address.packed
    family = 4 if network.version == 4 else 6
    expected = tags.address_range(4 if family == 4 else 6, first, last)
    assert tags.block(raw, network.prefixlen) == expected
    if network.prefixlen == network.max_prefixlen:
        assert expected == tags.address(raw) == tags.address(parse_address(str(network[0])))


def test_a_set_of_ranges_has_a_tag_for_each() -> None:
    """The ranges of a set in their order, single addresses as points."""
    assert tags.ranges(RangeSet(4, [(1, 1), (4, 0x10)])) == ["400000001", "400000004-400000010"]
    assert tags.ranges(RangeSet(6, [(1, 1)])) == [f"6{'0' * 31}1"]
    assert tags.ranges(RangeSet(4)) == []


LEASE_TAGS: Final = f"40a030201 {OWNER_A} n0000000000000001"
BLOCK_TAG: Final = f"6fd00{'0' * 28}-6fd00{'0' * 12}{'f' * 16}"
NOBODY: Final = (None, None, None, (), (), ())
POOL: Final = ev.PoolCreated(
    "a", SUBNET_6, b"", b"", None, (), False, False, NOBODY, 0, 0, None, None
)  # fmt: skip
RESERVATION: Final = ev.ReservationCreated("a", 4, V4 + V4, None, owned=False)
TWO_RANGES: Final = bytes((10, 0, 0, 1)) * 2 + bytes((10, 0, 0, 4)) + bytes((10, 0, 0, 9))
TWO_TAGS: Final = "40a000001 40a000004-40a000009"

WRITES: Final[dict[str, tuple[Event, str]]] = {
    "a space": (ev.SpaceCreated(bytes(16), "a", 1), f"s{ZEROS}"),
    "a restoration": (
        ev.HistoryRestored(2, 6, 1),
        f"s{ZEROS} h0000000000000002-0000000000000006",
    ),
    "a level": (ev.LevelRaised(2), f"s{ZEROS}"),
    "a durability": (ev.DurabilitySet(1, fsync=False, ack_timeout_ms=1_000), f"s{ZEROS}"),
    "a pool": (POOL, f"p{ZEROS} {POOL_A}"),
    "a pool's update": (ev.PoolUpdated(1, POOL), f"p{ZEROS} {POOL_A}"),
    "a pool's deletion": (ev.PoolDeleted(1, "a"), f"p{ZEROS} {POOL_A}"),
    "a reservation": (RESERVATION, f"r{ZEROS}"),
    "a reservation's update": (ev.ReservationUpdated(1, RESERVATION), f"r{ZEROS}"),
    "a reservation's deletion": (ev.ReservationDeleted(1, "a", expired=False), f"r{ZEROS}"),
    "a grant": (
        ev.LeaseGranted(1, V4, 32, "eth0", None, None, None, (), None, None),
        LEASE_TAGS,
    ),
    "a block": (
        ev.LeaseGranted(1, SUBNET_6[0], 64, "eth0", None, None, None, (), None, None),
        f"{BLOCK_TAG} {OWNER_A} n0000000000000001",
    ),
    "a renewal": (ev.LeaseRenewed(9, 1, V4, 32, "eth0", 60), f"l0000000000000009 {LEASE_TAGS}"),
    "a lease's end": (ev.LeaseEnded(9, 1, V4, 32, "eth0", 0), f"l0000000000000009 {LEASE_TAGS}"),
    "a reported conflict": (
        ev.ConflictReported(9, 1, V4, 32, "eth0", None),
        f"l0000000000000009 {LEASE_TAGS}",
    ),
    "an observation": (
        ev.LeaseObserved(9, 1, V4, 32, "eth0", bytes(16), present=False),
        f"l0000000000000009 {LEASE_TAGS}",
    ),
    "a quarantine": (ev.Quarantined(4, TWO_RANGES, None, None), TWO_TAGS),
    "a quarantine's end": (ev.QuarantineEnded(1, 4, TWO_RANGES, expired=False), TWO_TAGS),
    "what is informational": (ev.Informational(200, 1, ()), ""),
}


def test_every_event_says_what_it_writes() -> None:
    """The table below leaves out no event that can be read."""
    assert {type(event) for event, _ in WRITES.values()} == set(tags._WRITES)


@pytest.mark.parametrize("what", WRITES)
def test_what_each_event_writes(what: str) -> None:
    """The tags of each event, to the letter, its command's last."""
    event, expected = WRITES[what]
    written = tags.written_by(event, Sealed(bytes(16), owner="a"), COMMAND)
    assert written == f"{expected} {COMMAND_TAG}".lstrip()


@pytest.mark.parametrize("sample", ALL, ids=IDS)
def test_every_tag_is_of_the_grammar(sample: Sample) -> None:
    """Whatever is written: tags of the documented forms, joined by single spaces."""
    for tag in tags.written_by(*sample).split(" "):
        assert TAG.fullmatch(tag), tag


@pytest.mark.parametrize("sample", ALL, ids=IDS)
def test_a_reader_computes_the_tags_itself(sample: Sample) -> None:
    """Tags that are missing, added, exchanged or respelt are damage: they are not believed."""
    raw = raw_entry(sample)
    own = raw.t.split(b" ")
    wrong = [
        b"",
        b" ".join(own[:-1]),
        b" ".join(own[1:]),
        b" ".join([*own, tags.lease(1).encode()]),
        b" ".join([*own, own[0]]),
        b" ".join([*own[1:], own[0]]),
        b"  ".join(own),
        raw.t + b" ",
        b" " + raw.t,
        raw.t.upper(),
        raw.t.replace(b"0", b"1", 1),
        raw.t + b"\xff",
    ]
    assert decode_entry(raw)
    for t in wrong:
        if t != raw.t:
            with pytest.raises(DamagedEntry, match="the tags are not those of the event"):
                decode_entry(raw._replace(t=t))


names = st.one_of(
    st.text(),
    # What somebody would type who knows the format.
    st.sampled_from([ZEROS, tags.SPACE, tags.POOLS, f"a {tags.SPACE}", "a\0eth0", "40a030201"]),
)


@given(name=names, interface=names)
def test_no_name_forges_a_tag(name: str, interface: str) -> None:
    """A name of any text is one tag of its own kind: never several, never another kind's."""
    assert re.fullmatch("p[0-9a-f]{32}", tags.pool(name))
    assert re.fullmatch("o[0-9a-f]{32}", tags.owner(name, interface))
    assert tags.pool(name) != tags.POOLS
    secret = Sealed(bytes(16), owner=name)
    lease = ev.LeaseEnded(9, 1, V4, 32, interface, 0)
    kinds = [tag[0] for tag in tags.written_by(lease, secret, COMMAND).split(" ")]
    assert kinds == ["l", "4", "o", "n", "c"]
    kinds = [tag[0] for tag in tags.written_by(ev.PoolDeleted(1, name), secret, COMMAND).split()]
    assert kinds == ["p", "p", "c"]


@given(
    one=st.tuples(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.text("eth0.")),
    other=st.tuples(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.text("eth0.")),
)
def test_an_owner_on_an_interface_is_nobody_else(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    """Owner and interface cannot run into each other: only the same two have the same tag."""
    assert (tags.owner(*one) == tags.owner(*other)) == (one == other)
    assert tags.owner("a", "beth0") != tags.owner("ab", "eth0")


@given(
    family=st.sampled_from([4, 6]),
    ends=st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1)),
)
def test_the_order_of_addresses_is_the_order_of_their_tags(
    family: int, ends: tuple[int, int]
) -> None:
    """A script that compares tags as texts compares the addresses."""
    one, other = (end >> 96 if family == 4 else end for end in ends)
    low, high = (tags.address_range(4 if family == 4 else 6, end, end) for end in (one, other))
    assert (low < high, low == high) == (one < other, one == other)
