"""What decodes is what the format says, member by member; old versions are brought up to date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events as ev
from engine.entry import COMMIT_EVENTS_MAX, Commit, Header
from engine.errors import DamagedEntry, UnknownEvent
from engine.events import Event, Sealed
from engine.model import ENDINGS, POLICIES
from engine.shapes import SECONDS_MAX, U64_MAX
from engine.wire import (
    REGISTRY,
    EventType,
    Registry,
    Upcaster,
    decode_entry,
    encode_commit,
    encode_entry,
)
from tests.engine.samples import (
    COMMIT,
    POSITION,
    SAMPLES,
    SUBNET_4,
    SUBNET_6,
    V4,
    V6,
    Sample,
    raw_entry,
)

HEADER: Final = Header(command=bytes(16))

# Never right: no member is a fraction, a mapping or an extension; no number is below zero.
NEVER: Final[tuple[object, ...]] = (1.5, {}, msgpack.ExtType(5, b""), -1, -(1 << 60), ((((),),),))
OTHERS: Final = (True, "text", b"bytes", 1, ())


def packed(members: tuple[Any, ...]) -> bytes:
    """A msgpack array, unchecked."""
    data: bytes = msgpack.packb(members)
    return data


def unpacked(data: bytes) -> tuple[Any, ...]:
    """The members of a field."""
    return cast("tuple[Any, ...]", msgpack.unpackb(data, use_list=False))


def altered(value: Any) -> Iterator[Any]:
    """The value with one member, at any depth, that can never be right there."""
    if type(value) is tuple:
        for at, member in enumerate(value):
            for other in altered(member):
                yield (*value[:at], other, *value[at + 1 :])
    yield from (other for other in OTHERS if type(other) is not type(value))
    yield from NEVER


def wrong_members(members: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Members of which one, at any depth, is wrong; or is missing; or is too many."""
    yield from (wrong for wrong in altered(members) if type(wrong) is tuple)
    yield from (members[:at] + members[at + 1 :] for at in range(len(members)))
    yield from ((*members, None), (*members, 0), (members,), members * 2)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_member_of_an_event_has_its_type(name: str) -> None:
    """A member of another type, at any depth of event and header, or none is a wrong shape."""
    full = SAMPLES[name]["full"]
    members = unpacked(raw_entry(full).e)
    assert REGISTRY.decode(packed(members), POSITION) == (full.event, full.header)
    for wrong in wrong_members(members):
        with pytest.raises(DamagedEntry):
            REGISTRY.decode(packed(wrong), POSITION)


def test_every_member_of_a_sealed_part_has_its_type() -> None:
    """A member of another type, at any depth of the sealed part, or none is a wrong shape."""
    raw = raw_entry(SAMPLES["PoolDeleted"]["full"])
    for wrong in wrong_members(unpacked(raw.s)):
        s = packed(wrong)
        with pytest.raises(DamagedEntry):
            decode_entry(raw._replace(s=s, c=encode_commit(COMMIT, raw.e, s)[1]))


def test_every_member_of_a_commit_has_its_type() -> None:
    """A member of another type or none is a wrong shape of the commit, whatever its check value."""
    raw = raw_entry(SAMPLES["PoolDeleted"]["full"])
    for wrong in wrong_members(unpacked(raw.c)):
        with pytest.raises(DamagedEntry, match=r"wrong (shape|number)|not an array"):
            decode_entry(raw._replace(c=packed(wrong)))


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": bytes(7)},
        {"nonce": bytes(9)},
        {"request_hash": bytes(15)},
        {"request_hash": bytes(17)},
        {"part": 3},
        {"parts": 0, "part": 0},
        {"parts": COMMIT_EVENTS_MAX + 1},
        {"decided_at": POSITION},
        {"generation": -1},
    ],
    ids=str,
)
def test_a_commit_says_what_can_be(changes: dict[str, Any]) -> None:
    """Widths, and numbers that do not fit each other, are checked although the check value fits."""
    raw = raw_entry(SAMPLES["PoolDeleted"]["full"])
    _, c = encode_commit(Commit(**{**COMMIT._asdict(), **changes}), raw.e, raw.s)
    with pytest.raises(DamagedEntry, match="field c"):
        decode_entry(raw._replace(c=c))


def test_a_commit_may_be_as_large_as_they_come() -> None:
    """The last entry of the largest commit is read."""
    commit = COMMIT._replace(part=COMMIT_EVENTS_MAX - 1, parts=COMMIT_EVENTS_MAX)
    assert decode_entry(raw_entry(SAMPLES["PoolDeleted"]["full"], commit)).commit.ends_here


def full(name: str) -> Any:
    """The event of a sample, to be altered."""
    return SAMPLES[name]["full"].event


LABEL_OF_3: Final = ((("a", "b", "c"),), ())
HIGHER_4: Final = bytes((10, 3, 2, 2))

# Of the right types, and yet not an event that could ever have been decided.
MALFORMED: Final[dict[str, tuple[str, Mapping[str, object]]]] = {
    "a short space id": ("SpaceCreated", {"space_id": bytes(15)}),
    "level 0": ("SpaceCreated", {"level": 0}),
    "raised to the first level": ("LevelRaised", {"level": 1}),
    "256 replicas": ("DurabilitySet", {"replicas": 256}),
    "fewer replicas than none": ("DurabilitySet", {"replicas": -1}),
    "no replica, and yet a time to wait for it": ("DurabilitySet", {"replicas": 0, "fsync": False}),
    "no replica, and yet its disk": ("DurabilitySet", {"replicas": 0, "ack_timeout_ms": 0}),
    "no time to wait": ("DurabilitySet", {"ack_timeout_ms": 0}),
    "more than a minute to wait": ("DurabilitySet", {"ack_timeout_ms": 60_001}),
    "a truth that is a number": ("DurabilitySet", {"fsync": 1}),
    "a position beyond 64 bits": ("PoolDeleted", {"pool_id": U64_MAX + 1}),
    "position 0": ("PoolDeleted", {"pool_id": 0}),
    "nothing kept": ("HistoryRestored", {"kept": 0}),
    "void before what is kept": ("HistoryRestored", {"kept": 10, "void_through": 9}),
    "generation 0": ("HistoryRestored", {"generation": 0}),
    "host bits": ("PoolCreated", {"subnet": (V6, 64)}),
    "a prefix of 129": ("PoolCreated", {"subnet": (SUBNET_6[0], 129)}),
    "an address of five bytes": ("PoolCreated", {"subnet": (bytes(5), 0)}),
    "ranges of the other family": ("PoolCreated", {"ips": V4 + V4}),
    "half a range": ("PoolCreated", {"ips": V6}),
    "a reversed range": ("PoolCreated", {"ips": V6 + SUBNET_6[0]}),
    "ranges out of order": ("PoolCreated", {"ips": V6 + V6 + SUBNET_6[0] * 2}),
    "overlapping ranges": ("PoolCreated", {"exclude_ips": SUBNET_6[0] + V6 + V6 + V6}),
    "a gateway of the other family": ("PoolCreated", {"gateway": V4}),
    "a route of the other family": ("PoolCreated", {"routes": ((*SUBNET_4, V4),)}),
    "a route to host bits": ("PoolCreated", {"routes": ((V6, 64, V6),)}),
    "a route through the other family": ("PoolCreated", {"routes": ((*SUBNET_6, V4),)}),
    "five selectors": ("PoolCreated", {"selectors": (None, None, None, (), ())}),
    "a selector of one part": ("PoolCreated", {"selectors": (((),), None, None, (), (), ())}),
    "a label of three": ("PoolCreated", {"selectors": (LABEL_OF_3, None, None, (), (), ())}),
    "a policy that is none": ("PoolCreated", {"policy": len(POLICIES)}),
    "a cooldown of centuries": ("PoolCreated", {"cooldown_s": SECONDS_MAX + 1}),
    "a lease time of 0": ("PoolCreated", {"ttl_s": 0}),
    "a lease time of centuries": ("PoolCreated", {"ttl_s": SECONDS_MAX + 1}),
    "a stickiness of 0": ("PoolCreated", {"sticky_s": 0}),
    "family 5": ("ReservationCreated", {"family": 5}),
    "a reservation of nothing": ("ReservationCreated", {"ips": b""}),
    "a reservation of the other family": ("ReservationCreated", {"ips": V4 + V4}),
    "ranges that adjoin": ("ReservationCreated", {"family": 4, "ips": V4 * 2 + HIGHER_4 * 2}),
    "a reservation for 0 s": ("ReservationCreated", {"for_s": 0}),
    "a block with host bits": ("LeaseGranted", {"address": V6}),
    "a block of a wrong prefix": ("LeaseGranted", {"address": V4, "prefix_length": 33}),
    "a superseded position 0": ("LeaseGranted", {"supersedes": 0}),
    "beside position 0": ("LeaseGranted", {"beside": (3, 0)}),
    "a seed beyond 64 bits": ("LeaseGranted", {"seed": U64_MAX + 1}),
    "a renewal for 0 s": ("LeaseRenewed", {"ttl_s": 0}),
    "an ending that is none": ("LeaseEnded", {"ended_by": len(ENDINGS)}),
    "the end of lease 0": ("LeaseEnded", {"lease": 0}),
    "a conflict for 0 s": ("ConflictReported", {"quarantine_s": 0}),
    "an observation of 15 bytes": ("LeaseObserved", {"observation": bytes(15)}),
    "an observation of lease 0": ("LeaseObserved", {"lease": 0}),
    "a quarantine of nothing": ("Quarantined", {"ips": b""}),
    "a quarantine of the other family": ("Quarantined", {"family": 4}),
    "the end of quarantine 0": ("QuarantineEnded", {"quarantine": 0}),
}  # fmt: skip


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_event_is_neither_written_nor_read(what: str) -> None:
    """What cannot be is a bug to the writer and damage to the reader; also inside an update."""
    name, changes = MALFORMED[what]
    event = full(name)._replace(**changes)
    events = [event]
    if name == "PoolCreated":
        events.append(ev.PoolUpdated(1, event))
    if name == "ReservationCreated":
        events.append(ev.ReservationUpdated(1, event))
    for wrong in events:
        code = unpacked(REGISTRY.encode(full(type(wrong).__name__), HEADER))[0]
        with pytest.raises(ValueError, match="malformed event"):
            REGISTRY.encode(wrong, HEADER)
        try:
            data = packed((code, 1, *HEADER, *wrong))
        except OverflowError:  # more than 64 bits cannot even be put in bytes
            continue
        with pytest.raises(DamagedEntry, match="wrong shape"):
            REGISTRY.decode(data, POSITION)


@pytest.mark.parametrize(
    "changes",
    [
        {"salt": bytes(15)},
        {"salt": bytes(17)},
        {"labels": (("b", ""), ("a", ""))},
        {"labels": (("a", "1"), ("a", "2"))},
        {"labels": (("a",),)},
        {"labels": (("a", "b", "c"),)},
    ],
    ids=str,
)
def test_a_malformed_sealed_part_is_damage(changes: dict[str, Any]) -> None:
    """Labels come sorted, each key once; the salt is of one width."""
    raw = raw_entry(SAMPLES["PoolDeleted"]["full"])
    s = packed(tuple({**Sealed(bytes(16))._asdict(), **changes}.values()))
    with pytest.raises(DamagedEntry, match="sealed part has a wrong shape"):
        decode_entry(raw._replace(s=s, c=encode_commit(COMMIT, raw.e, s)[1]))


@pytest.mark.parametrize(
    "changes",
    [
        {"command": bytes(15)},
        {"command": bytes(17)},
        {"step": 1 << 32},
        {"cause": 0},
    ],
    ids=str,
)
def test_a_malformed_header_is_damage(changes: dict[str, Any]) -> None:
    """A command's key is of one width, its step fits its tag, a cause is a position."""
    header = Header(**{**HEADER._asdict(), **changes})
    with pytest.raises(DamagedEntry, match="wrong shape"):
        REGISTRY.decode(packed((12, 1, *header, 7, "a")), POSITION)
    with pytest.raises(UnknownEvent):
        REGISTRY.decode(packed((200, 1, *header)), POSITION)


texts = st.text(st.characters(codec="utf-8"), max_size=20)
maybe = st.none() | texts


@given(
    event=st.builds(
        ev.LeaseGranted,
        pool_id=st.integers(1, U64_MAX),
        address=st.binary(min_size=4, max_size=4),
        prefix_length=st.just(32),
        interface=texts,
        ttl_s=st.none() | st.integers(1, SECONDS_MAX),
        cluster=maybe,
        supersedes=st.none() | st.integers(1, U64_MAX),
        beside=st.lists(st.integers(1, U64_MAX), max_size=3).map(tuple),
        seed=st.none() | st.integers(0, U64_MAX),
        source=maybe,
    ),
    sealed=st.builds(
        Sealed,
        salt=st.binary(min_size=16, max_size=16),
        owner=maybe,
        uid=maybe,
        labels=st.dictionaries(texts, texts, max_size=3).map(lambda d: tuple(sorted(d.items()))),
        actor=maybe,
        reason=maybe,
        command_id=maybe,
        text=maybe,
    ),
    header=st.builds(
        Header,
        command=st.binary(min_size=16, max_size=16),
        step=st.integers(0, (1 << 32) - 1),
        cause=st.none() | st.integers(1, U64_MAX),
        effective_at_ms=st.none() | st.integers(0, 1 << 50),
        signature=st.none() | st.binary(max_size=64),
    ),
)
def test_what_is_written_is_read(event: Event, sealed: Sealed, header: Header) -> None:
    """Any well-formed entry comes back as it was, whatever people call themselves."""
    record = decode_entry(raw_entry(Sample(event, sealed, header)))
    assert (record.event, record.sealed, record.header) == (event, sealed, header)


def test_a_malformed_sealed_part_is_not_written() -> None:
    """Writing labels out of order is a bug, noticed where it is made."""
    with pytest.raises(AssertionError):
        encode_entry(full("PoolDeleted"), Sealed(b"short"), HEADER)


# --- Versions -------------------------------------------------------------------------------


class Disk(NamedTuple):
    """A made-up event in its third version: ``size`` was added in 2, and became bytes in 3."""

    name: str
    size_bytes: int

    def well_formed(self) -> bool:
        """A name and a size."""
        return type(self.name) is str and type(self.size_bytes) is int


def with_size(fields: tuple[Any, ...]) -> tuple[Any, ...]:
    """From version 1 to 2."""
    (name,) = fields
    return (name, 0)


def in_bytes(fields: tuple[Any, ...]) -> tuple[Any, ...]:
    """From version 2 to 3."""
    return (fields[0], fields[1] * 1024)


UPCASTERS: Final[dict[int, Upcaster]] = {1: with_size, 2: in_bytes}
DISKS: Final = Registry({Disk: EventType(60, 3, 1, Disk._make, UPCASTERS)})


@pytest.mark.parametrize(
    ("version", "fields", "expected"),
    [
        (1, ("a",), Disk("a", 0)),
        (2, ("a", 7), Disk("a", 7_168)),
        (3, ("a", 7), Disk("a", 7)),
    ],
)
def test_old_versions_are_brought_up_to_date(
    version: int, fields: tuple[Any, ...], expected: Disk
) -> None:
    """An event of any version is read as the newest one, step by step, with its header."""
    decoded: object = DISKS.decode(packed((60, version, *HEADER, *fields)), POSITION)
    assert decoded == (expected, HEADER)


def test_only_the_newest_version_is_written() -> None:
    """What is written carries the newest version, and reads back."""
    disk = cast("Event", Disk("a", 7))
    data = DISKS.encode(disk, HEADER)
    assert unpacked(data)[:2] == (60, 3)
    assert DISKS.decode(data, POSITION) == (disk, HEADER)


@pytest.mark.parametrize("version", [0, 4])
def test_versions_that_never_were_are_unknown(version: int) -> None:
    """Neither a version before the first nor one after the newest is guessed at."""
    with pytest.raises(UnknownEvent):
        DISKS.decode(packed((60, version, *HEADER, "a", 7)), POSITION)


@pytest.mark.parametrize(
    ("version", "fields"),
    [(1, ()), (1, ("a", 7)), (2, ("a",)), (2, ("a", None)), (2, ("a", "b")), (2, (1, 7))],
)
def test_a_wrong_shape_of_an_old_version_is_damage(version: int, fields: tuple[Any, ...]) -> None:
    """Also what breaks an upcaster, or only shows after it, is damage and no crash."""
    with pytest.raises(DamagedEntry, match="wrong shape"):
        DISKS.decode(packed((60, version, *HEADER, *fields)), POSITION)


@pytest.mark.parametrize(
    ("version", "steps"),
    [(2, ()), (3, (1,)), (3, (2,)), (1, (1,)), (3, (1, 2, 3)), (3, (0, 1, 2))],
)
def test_a_registry_has_one_upcaster_for_each_old_version(
    version: int, steps: tuple[int, ...]
) -> None:
    """A gap in the chain, or a step too many, is found when the registry is made."""
    row = EventType(60, version, 1, Disk._make, dict.fromkeys(steps, in_bytes))
    with pytest.raises(ValueError, match="exactly one upcaster for each older version"):
        Registry({Disk: row})


def test_a_registry_has_each_code_once() -> None:
    """Two events under one code are found when the registry is made."""
    row = EventType(60, 1, 1, Disk._make)
    with pytest.raises(ValueError, match="used twice"):
        Registry({Disk: row, ev.PoolDeleted: row})


def test_codes_are_for_ever() -> None:
    """The codes of the events are these; what is below 128 must be known to a reader."""
    codes = {cls.__name__: row.code for cls, row in REGISTRY._by_class.items()}
    assert codes == {
        "SpaceCreated": 1, "HistoryRestored": 2, "LevelRaised": 3, "DurabilitySet": 4,
        "PoolCreated": 10, "PoolUpdated": 11, "PoolDeleted": 12,
        "ReservationCreated": 20, "ReservationUpdated": 21, "ReservationDeleted": 22,
        "LeaseGranted": 30, "LeaseRenewed": 31, "LeaseEnded": 32, "ConflictReported": 33,
        "LeaseObserved": 34,
        "Quarantined": 40, "QuarantineEnded": 41,
    }  # fmt: skip
    assert [cls.__name__ for cls in REGISTRY.classes] == list(codes)
