"""Entries of any bytes: refused by name, or read as the one thing that they can mean.

An input is a page of entries that follow a real beginning of a stream. Each is a frame: a byte of
flags, how far time and position move on, the lengths of the four fields, the fields. Flags say
that the check value or the tags are to be made right, so that what is behind them is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from itertools import pairwise
from random import Random
from typing import Any, Final, NamedTuple

import msgpack

from engine import tags
from engine.bulk import admit_rows
from engine.entry import Commit, RawEntry, Record
from engine.errors import DamagedEntry, IntegrityError
from engine.events import Informational, Sealed
from engine.reading import Continuity, admit_all
from engine.wire import (
    REGISTRY,
    check_of,
    decode_entry,
    decode_event,
    encode_commit,
    encode_entry,
    encode_sealed,
    pack,
)
from ipledger.cli.show import json_line
from ipledger.event_views import event_view
from projections.digest import state_digest
from projections.state import LedgerState
from replay.audit.entries import take_apart
from replay.audit.findings import Findings
from tests.builders import TestLedger, make_allocate, make_pool
from tests.engine.samples import ALL, Sample
from tests.fuzz.mutating import INPUT_BYTES_MAX, changed
from tests.fuzz.target import Target, require

_CHECK: Final = 1  # flag: the check value is made right
_TAGS: Final = 2  # flag: the tags are made right
_HEAD: Final = 10
_FRAMES_MAX: Final = 8
_TEXT_MAX: Final = 400  # of a message: it names an entry and a reason, and quotes nothing long


class Frame(NamedTuple):
    """An entry as an input says it: what differs from what would come next, and its fields."""

    flags: int
    later_ms: int
    further: int
    e: bytes
    s: bytes
    t: bytes
    c: bytes

    def __bytes__(self) -> bytes:
        head = bytes((self.flags, self.later_ms & 255, self.further & 255))
        lengths = (len(self.e).to_bytes(2), len(self.s).to_bytes(2), len(self.t).to_bytes(2))
        return head + b"".join(lengths) + bytes((len(self.c) & 255,)) + b"".join(self[3:])


def frames_of(data: bytes) -> Iterator[Frame]:
    """The frames of an input; a field that is cut off is as long as it is."""
    for _ in range(_FRAMES_MAX):
        if len(data) < _HEAD:
            return
        ends = [_HEAD]
        for width in (data[3:5], data[5:7], data[7:9], data[9:10]):
            ends.append(ends[-1] + int.from_bytes(width))
        e, s, t, c = (data[first:last] for first, last in pairwise(ends))
        yield Frame(data[0], _signed(data[1]), _signed(data[2]), e, s, t, c)
        data = data[ends[-1] :]


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


# --------------------------------------------------------------------------- what they stand behind


def _beginning() -> TestLedger:
    ledger = TestLedger()
    ledger.apply(make_pool("pool", "10.0.0.0/24"), make_pool("six", "fd00::/64", ttl_s=60))
    ledger.grant("pool", owner="a", labels=(("app", "web"),))
    return ledger


_BEFORE: Final = tuple(_beginning().stream.entries)


def entries_of(data: bytes) -> list[RawEntry]:
    """The page that an input says."""
    ms, position = _BEFORE[-1].ms, _BEFORE[-1].position
    page = []
    for frame in frames_of(data):
        ms, position = ms + frame.later_ms, max(1, position + 1 + frame.further)
        raw = RawEntry(ms, position, frame.e, frame.s, frame.t, frame.c)
        page.append(_mended(raw, frame.flags))
    return page


def _mended(raw: RawEntry, flags: int) -> RawEntry:
    if flags & _TAGS:
        with suppress(Exception):  # what has no tags keeps those that it has
            event, header = REGISTRY.decode(raw.e, raw.position)
            sealed = Sealed._make(msgpack.unpackb(raw.s, use_list=False))
            raw = raw._replace(t=tags.written_by(event, sealed, header).encode())
    if flags & _CHECK and len(raw.c) > 8:
        prefix = raw.c[:-8]
        raw = raw._replace(c=prefix + check_of(prefix, raw.e, raw.s))
    return raw


def framed(raw: RawEntry, flags: int = 0) -> bytes:
    """The frame of an entry that comes next."""
    return bytes(Frame(flags, 0, 0, raw.e, raw.s, raw.t, raw.c))


# ---------------------------------------------------------------------------------- what must hold


def check(data: bytes) -> None:
    """Every entry alone, and all of them as a page."""
    page = entries_of(data)
    for raw in page:
        _check_entry(raw)
    _check_page(page)


def _check_entry(raw: RawEntry) -> None:
    findings = Findings()
    try:
        record = decode_entry(raw)
    except DamagedEntry as error:
        _check_error(error, raw)
        taken = take_apart(raw, findings)
        if taken is None or taken.commit.decided_at < raw.position:  # a rule of its own has that
            require(findings.total, "the audit sees nothing wrong with what cannot be read")
        with suppress(DamagedEntry):
            decode_event(raw)
        return
    taken = take_apart(raw, findings)
    # Compared as texts: a number that is none is not equal to itself, and True is equal to 1.
    require(repr(taken) == repr(record), "the audit reads an entry otherwise")
    seen = decode_event(raw)
    seen = seen._replace(sealed=record.sealed)
    require(repr(seen) == repr(record), "without its owner it is another entry")
    require(record.event.well_formed(), "an event that is not well-formed was read")
    require(set(map(type, record.header)) <= _HEADER, "a header of other types was read")
    require(set(map(type, record.commit)) <= {int, bytes}, "a commit of other types was read")
    if not isinstance(record.event, Informational):
        require(_leaves(record.event) <= _LEAVES, "an event of other types was read")
    require(_leaves(record.sealed) <= _LEAVES, "a sealed part of other types was read")
    for field in (raw.e, raw.s, raw.c):
        _check_whole(field)
    again = _encoded(record)
    if again != raw[2:]:
        require(findings.total, "an entry has two encodings, and the audit is silent")
        same = repr(_decoded_again(raw, again)) == repr(record)
        require(same, "what was read is not what would be written")
    with suppress(IntegrityError):  # a time that no calendar has
        json_line(event_view(record, "default"))


_HEADER: Final = {int, bytes, type(None)}
_LEAVES: Final = {int, bool, str, bytes, type(None)}


def _leaves(value: object) -> set[type]:
    """The types of all that is not an array; no event of ours has a float or a map."""
    if not isinstance(value, tuple):
        return {type(value)}
    return set().union(*map(_leaves, value))


def _check_whole(field: bytes) -> None:
    """It is one value, in the eyes of the library alone."""
    try:
        msgpack.unpackb(field, use_list=False)
    except msgpack.ExtraData:
        require(holds=False, says="bytes behind the value of a field were not noticed")


def _check_error(error: IntegrityError, raw: RawEntry) -> None:
    require(error.position == raw.position, "an error does not say where")
    require(f"position {raw.position}" in error.message, "a message does not say where")
    require(error.hint, "an error does not say what to do")
    require(len(error.message) < _TEXT_MAX, "a message has no bound")
    require(error.message.isprintable(), "a message holds a control character")


def _encoded(record: Record) -> tuple[bytes, bytes, bytes, bytes]:
    """The fields as a writer writes them."""
    event, sealed, header = record.event, record.sealed, record.header
    if isinstance(event, Informational):  # nobody here can write one
        e = pack((event.code, event.version, *header, *event.fields))
        s, t = encode_sealed(sealed), tags.written_by(event, sealed, header).encode()
    else:
        e, s, t = encode_entry(event, sealed, header)
    return e, s, t, encode_commit(record.commit, e, s)[1]


def _decoded_again(raw: RawEntry, fields: tuple[bytes, bytes, bytes, bytes]) -> Record:
    record = decode_entry(RawEntry(raw.ms, raw.position, *fields))
    check_value = decode_entry(raw).commit.check
    return record._replace(commit=record.commit._replace(check=check_value))


Reader = Callable[[Continuity, list[RawEntry]], list[Any]]


def _check_page(page: list[RawEntry]) -> None:
    """Rows are what records are: the same, or the same error at the same place; also folded."""
    standing = Continuity()
    admit_all(standing, _BEFORE)
    rows = _outcome(standing, page, admit_rows)
    records = _outcome(standing, page, lambda continuity, raws: list(admit_all(continuity, raws)))
    require(
        repr(rows[0]) == repr(records[0]), f"rows and records differ: {rows[0]} and {records[0]}"
    )
    if rows[1] and standing.at_commit_end:
        folded = _folded(rows[1]), _folded(records[1])
        require(folded[0] == folded[1], f"the two fold to different states: {folded}")


def _outcome(standing: Continuity, page: list[RawEntry], read: Reader) -> tuple[Any, list[Any]]:
    continuity = copy(standing)
    try:
        found = read(continuity, page)
    except IntegrityError as error:
        return (type(error), error.message, error.position, continuity.anchor), []
    stands = continuity.anchor, continuity.last, continuity.generation, continuity.voided
    return ([_plain(item) for item in found], stands), found


def _plain(item: Any) -> tuple[Any, ...]:
    if isinstance(item, Record):
        position, ms, event, sealed, header, commit = item
        return position, ms, tuple(event), tuple(sealed), tuple(header), tuple(commit)
    position, ms, fields, sealed, commit = item
    return position, ms, fields[7:], sealed, fields[2:7], commit


def _folded(items: list[Any]) -> object:
    """The digest of the state behind these, or the error's position."""
    state = LedgerState()
    state.apply_all(map(decode_entry, _BEFORE))
    try:
        state.apply_rows(items)
    except IntegrityError as error:
        return type(error), error.position
    return state_digest(state)


# --------------------------------------------------------------------------------------- mutations

_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, 2, -1, 31, 32, 33, 127, 128, 129, 255, 256, 4_096, 2**31, 2**32 - 1,
    2**32, 2**63, 2**64 - 1, b"", b"x" * 4, b"z" * 8, b"y" * 16, bytes(4), bytes(8), bytes(16), "",
    "text", "a\x00b", "\x1b[31m", "ä" * 80, (), (1,), ((1,),), (("a", "b"),),
    (("b", "a"), ("a", "b")), {}, 1.0, float("nan"), float("inf"), ((((),),),),
)  # fmt: skip
_BYTES: Final = (
    b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x05", b"\xc1", b"\xd4\x05\x00", b"\xd6\xff",
    b"\xc7\x00\xff", b"\xa2\xc3\x28", b"\xa3\xed\xa0\x80", b"\x91" * 600, b"\xc0", b"\xcb",
    b"\xca" + bytes(4), b"\xcf" + bytes(8), b"\xd3" + b"\xff" * 8, b"\xd9\x00", b"\xc5\x00\x04",
)  # fmt: skip


def mutate(data: bytes, random: Random) -> bytes:
    """Another page: a member replaced or spelled longer, frames moved, or just other bytes."""
    frames = list(frames_of(data))
    if not frames or random.randrange(4) == 0:
        return changed(data, random, _BYTES)
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(frames))
        match random.randrange(10):
            case 0:
                frames.insert(at, random.choice(frames))
            case 1 if len(frames) > 1:
                del frames[at]
            case 2:
                other = random.randrange(len(frames))
                frames[at], frames[other] = frames[other], frames[at]
            case 3:
                moved = random.choice(((1, 0), (-1, 0), (0, 1), (0, -1), (0, 9), (100, 0)))
                frames[at] = frames[at]._replace(later_ms=moved[0], further=moved[1])
            case 4:
                frames[at] = frames[at]._replace(flags=random.randrange(4))
            case _:
                frames[at] = _with_other_field(frames[at], random)
    return b"".join(map(bytes, frames))[:INPUT_BYTES_MAX]


def _with_other_field(frame: Frame, random: Random) -> Frame:
    field = random.choice("eeeesscct")
    whole: bytes = getattr(frame, field)
    flags = random.choice((_CHECK | _TAGS,) * 4 + (_CHECK, frame.flags))
    try:
        members = list(msgpack.unpackb(whole, use_list=False))
        at = random.randrange(len(members))
    except (ValueError, TypeError):
        return _put(frame, flags, field, changed(whole, random, _BYTES))
    spelled = [pack(member) for member in members]
    match random.randrange(5):
        case 0:
            spelled[at] = _longer(spelled[at])
        case 1:
            spelled[at] = changed(spelled[at], random, _BYTES)
        case 2:
            spelled.insert(at, pack(random.choice(_VALUES)))
        case 3 if isinstance(members[at], int):
            spelled[at] = pack(members[at] + random.choice((-1, 1, 2, 255)) & (1 << 64) - 1)
        case _:
            spelled[at] = pack(random.choice(_VALUES))
    count = len(spelled)
    head = bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2)
    return _put(frame, flags, field, head + b"".join(spelled))


def _put(frame: Frame, flags: int, field: str, content: bytes) -> Frame:
    fields: dict[str, Any] = {"flags": flags, field: content}
    return frame._replace(**fields)


def _longer(spelled: bytes) -> bytes:
    """The same value in more bytes than it takes, where it has such a spelling."""
    first, rest = spelled[0], spelled[1:]
    if first < 0x80:
        return b"\xcc" + spelled
    if 0x90 <= first < 0xA0:
        return b"\xdc\x00" + bytes((first & 15,)) + rest
    if 0xA0 <= first < 0xC0:
        return b"\xd9" + bytes((first & 31,)) + rest
    if first == 0xC4:
        return b"\xc5\x00" + rest
    return b"\xcd\x00" + rest if first == 0xCC else spelled


# ----------------------------------------------------------------------------------------- seeds


def seeds() -> list[bytes]:
    """Every kind of event, with little and with much; and commits of a real stream."""
    return [*map(_alone, ALL), _unknown(), _page()]


def _alone(sample: Sample) -> bytes:
    e, s, t = encode_entry(*sample)
    return framed(RawEntry(0, 0, e, s, t, encode_commit(_COMMIT, e, s)[1]))


def _unknown() -> bytes:
    """An entry of a type that is passed over."""
    _, sealed, header = ALL[0]
    e, s = pack((200, 1, *header, 1, ("a", None))), encode_sealed(sealed)
    t = tags.written_by(Informational(200, 1, ()), sealed, header).encode()
    return framed(RawEntry(0, 0, e, s, t, encode_commit(_COMMIT, e, s)[1]))


def _page() -> bytes:
    """A commit of two parts, and one of four."""
    ledger = _beginning()
    asked = make_allocate("pool", "six", owner="b", labels=(("app", "web"),))
    ledger.run(asked)
    ledger.run(asked._replace(uid="again"))
    return b"".join(map(framed, ledger.stream.entries[len(_BEFORE) :]))


_COMMIT: Final = Commit(bytes(range(8)), 0, 1, 0, 1, bytes(range(16)))
TARGET: Final = Target("decoder", check, mutate, seeds)
