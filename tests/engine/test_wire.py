"""The bytes of an entry: what stands in them for ever, and that nothing else is taken for them.

The golden files are the format. A change that makes `test_golden_*` fail cannot read what users
have written; it needs a new version of the type and an upcaster, not new golden bytes. For a new
type, or before the format is final: ``python -m tests.engine.test_wire`` writes the files anew.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, get_args
from zlib import crc32

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import events as ev
from engine import tags
from engine.entry import Commit, Header, RawEntry
from engine.errors import DamagedEntry, UnknownEvent
from engine.events import Event, Sealed
from engine.wire import (
    COMMIT_FIELD_BYTES_MAX,
    DEPTH_MAX,
    EVENT_BYTES_MAX,
    REGISTRY,
    SEALED_BYTES_MAX,
    decode_entry,
    encode_commit,
    encode_entry,
)
from tests.engine.samples import (
    ALL,
    COMMIT,
    IDS,
    MS,
    POSITION,
    SAMPLES,
    Sample,
    raw_entry,
)

GOLDEN: Final = Path(__file__).resolve().parents[1] / "data" / "golden"
INFORMATIONAL: Final = (200, 7, "anything", [1, [True, None]], b"\x00")


def sealed_up(e: bytes, s: bytes, t: bytes | None = None, commit: Commit = COMMIT) -> RawEntry:
    """An entry of any bytes whose check value is right; by default its tags are its command's."""
    if t is None:
        t = f"c{bytes(16).hex()}{0:08x}".encode()
    return RawEntry(MS, POSITION, e, s, t, encode_commit(commit, e, s)[1])


def packed(*members: object) -> bytes:
    """A msgpack array, unchecked."""
    data: bytes = msgpack.packb(members)
    return data


def informational(*members: object) -> bytes:
    """An event of a type that no release knows."""
    code, version, *fields = members
    return packed(code, version, *Header(bytes(16)), *fields)


def with_field(raw: RawEntry, field: str, data: bytes) -> RawEntry:
    """The entry with one of its four fields exchanged."""
    return RawEntry(**{**raw._asdict(), field: data})


SEALED: Final = packed(*Sealed(bytes(16)))


# --- Golden bytes ---------------------------------------------------------------------------


def plain(value: object) -> object:
    """A value as JSON has it: bytes in hex, named tuples by their fields."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        names = getattr(value, "_fields", None)
        members = [plain(member) for member in value]
        return members if names is None else dict(zip(names, members, strict=True))
    return value


def golden_case(raw: RawEntry) -> dict[str, object]:
    """An entry and what it says, as a golden file holds it."""
    fields = {"e": raw.e.hex(), "s": raw.s.hex(), "t": raw.t.decode(), "c": raw.c.hex()}
    return {**fields, "record": plain(decode_entry(raw))}


def golden_files() -> dict[str, dict[str, dict[str, object]]]:
    """What the golden files must hold, by the event's name."""
    files = {
        name: {which: golden_case(raw_entry(sample)) for which, sample in pair.items()}
        for name, pair in SAMPLES.items()
    }
    unknown = sealed_up(informational(*INFORMATIONAL), SEALED)
    return {**files, "Informational": {"full": golden_case(unknown)}}


def regenerate() -> None:
    """Write the golden files anew: only for new types, or while the format is not final."""
    GOLDEN.mkdir(exist_ok=True)
    for name, cases in golden_files().items():
        text = json.dumps(cases, indent=1, ensure_ascii=False)
        (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def golden(name: str) -> dict[str, Any]:
    """The cases of one golden file."""
    cases: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    return cases


def test_every_event_has_golden_bytes() -> None:
    """Whatever can be written has a sample, a golden file, a code and tags; and nothing more."""
    written = {cls for cls in get_args(Event) if cls is not ev.Informational}
    assert set(REGISTRY.classes) == written
    assert set(SAMPLES) == {cls.__name__ for cls in written}
    assert {path.stem for path in GOLDEN.glob("*")} == {*SAMPLES, "Informational"}
    assert set(tags._WRITES) == {*written, ev.Informational}


@pytest.mark.parametrize("name", SAMPLES)
def test_golden_bytes_are_what_is_written(name: str) -> None:
    """Encoding gives these very bytes, on every machine and in every release."""
    for which, case in golden(name).items():
        raw = raw_entry(SAMPLES[name][which])
        assert (raw.e.hex(), raw.s.hex()) == (case["e"], case["s"])
        assert (raw.t.decode(), raw.c.hex()) == (case["t"], case["c"])


@pytest.mark.parametrize("name", [*SAMPLES, "Informational"])
def test_golden_bytes_are_read_as_what_was_written(name: str) -> None:
    """Decoding these very bytes gives the record that the golden file spells out."""
    for which, case in golden(name).items():
        e, s, c = (bytes.fromhex(case[field]) for field in ("e", "s", "c"))
        record = decode_entry(RawEntry(MS, POSITION, e, s, case["t"].encode(), c))
        assert plain(record) == case["record"]
        if name in SAMPLES:
            sample = SAMPLES[name][which]
            assert (record.event, record.sealed, record.header) == sample
            assert (record.ms, record.position) == (MS, POSITION)
            assert record.commit._replace(check=COMMIT.check) == COMMIT
            assert type(record.event).__name__ == name


def test_the_layout_by_hand() -> None:
    """An entry that was put together from the format's description, byte by byte."""
    command, nonce, request, salt = b"K" * 16, b"N" * 8, b"R" * 16, b"S" * 16
    e = b"\x99\x0c\x01" + b"\xc4\x10" + command + b"\x00\xc0\xc0\xc0" + b"\x07\xa1a"
    s = b"\x98\xc4\x10" + salt + b"\xa1o\xc0\x91\x92\xa1k\xa1v\xc0\xc0\xc0\xc0"
    prefix = b"\x97\xc4\x08" + nonce + b"\x00\x01\x02\x05" + b"\xc4\x10" + request + b"\xc4\x08"
    check = crc32(prefix + e).to_bytes(4) + crc32(s).to_bytes(4)
    name_hash = "ca978112ca1bbdcafac231b39a23dc4d"  # sha256sum of "a", first half
    t = f"p{'0' * 32} p{name_hash} c{command.hex()}00000000"
    record = decode_entry(RawEntry(MS, POSITION, e, s, t.encode(), prefix + check))
    assert record.event == ev.PoolDeleted(7, "a")
    assert record.sealed == Sealed(salt, owner="o", labels=(("k", "v"),))
    assert record.header == Header(command)
    assert record.commit == Commit(nonce, 0, 1, 2, 5, request, check)
    assert encode_entry(record.event, record.sealed, record.header) == (e, s, t.encode())
    assert encode_commit(record.commit, e, s) == (record.commit, prefix + check)


# --- What is not an entry -------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, -1, 5, 99, 127])
def test_an_unknown_type_stops_the_reader(code: int) -> None:
    """A type below 128 that this release does not know is refused by name, not passed over."""
    raw = sealed_up(packed(code, 1, *Header(bytes(16)), "a"), SEALED)
    with pytest.raises(UnknownEvent, match=f"event type {code} version 1 at position {POSITION}"):
        decode_entry(raw)


@pytest.mark.parametrize("version", [0, -1, 2, 1 << 40])
@pytest.mark.parametrize("code", [1, 10, 30])
def test_an_unknown_version_stops_the_reader(code: int, version: int) -> None:
    """A version that this release does not know is refused, whatever the type."""
    raw = sealed_up(packed(code, version, *Header(bytes(16)), "a"), SEALED)
    with pytest.raises(UnknownEvent, match=f"event type {code} version {version}"):
        decode_entry(raw)


@pytest.mark.parametrize("code", [128, 255, 1 << 40])
def test_an_informational_event_passes(code: int) -> None:
    """A type from 128 up is read without being understood, and its header and tags are checked."""
    e = informational(code, 3, [1, ["a", None]], b"raw")
    record = decode_entry(sealed_up(e, SEALED))
    assert record.event == ev.Informational(code, 3, ((1, ("a", None)), b"raw"))
    with pytest.raises(DamagedEntry, match="tags"):
        decode_entry(sealed_up(e, SEALED, tags.SPACE.encode()))
    headless = packed(code, 3, b"short", 0, None, None, None)
    with pytest.raises(DamagedEntry):
        decode_entry(sealed_up(headless, SEALED))


@pytest.mark.parametrize("sample", ALL, ids=IDS)
def test_every_truncation_is_damage(sample: Sample) -> None:
    """However many bytes are missing at the end of a field, with a right check value or without."""
    raw = raw_entry(sample)
    for field in ("e", "s", "t", "c"):
        whole: bytes = getattr(raw, field)
        for length in range(len(whole)):
            cut = with_field(raw, field, whole[:length])
            with pytest.raises(DamagedEntry):
                decode_entry(cut)
            if field in {"e", "s"}:
                with pytest.raises(DamagedEntry):
                    decode_entry(sealed_up(cut.e, cut.s, cut.t))


@pytest.mark.parametrize("sample", ALL, ids=IDS)
def test_trailing_bytes_are_damage(sample: Sample) -> None:
    """A field goes to its end: nothing may follow it."""
    raw = raw_entry(sample)
    for more in (b"\x00", b"\xc0", b" ", raw.e):
        for altered in (
            sealed_up(raw.e + more, raw.s, raw.t),
            sealed_up(raw.e, raw.s + more, raw.t),
            raw._replace(t=raw.t + more),
            raw._replace(c=raw.c + more),
        ):
            with pytest.raises(DamagedEntry):
                decode_entry(altered)


@pytest.mark.parametrize("sample", ALL, ids=IDS)
def test_whatever_is_altered_is_damage(sample: Sample) -> None:
    """One bit of any byte of any field is noticed, and the position is told."""
    raw = raw_entry(sample)
    for field in ("e", "s", "t", "c"):
        whole: bytes = getattr(raw, field)
        for at in range(len(whole)):
            altered = bytearray(whole)
            altered[at] ^= 1 << at % 8
            with pytest.raises(DamagedEntry, match=f"position {POSITION}") as caught:
                decode_entry(with_field(raw, field, bytes(altered)))
            assert caught.value.position == POSITION


def test_an_exchanged_sealed_part_is_damage() -> None:
    """The sealed part of another entry does not fit, although it is a sealed part."""
    least, full = (raw_entry(SAMPLES["PoolDeleted"][which]) for which in ("least", "full"))
    with pytest.raises(DamagedEntry, match="check value"):
        decode_entry(least._replace(s=full.s))


def test_sizes_are_bounded() -> None:
    """A field of exactly its limit is read, one byte more is refused before it is unpacked."""
    name = "a" * EVENT_BYTES_MAX
    room = EVENT_BYTES_MAX - len(informational(200, 1, name)) + len(name)
    assert decode_entry(sealed_up(informational(200, 1, "a" * room), SEALED))
    with pytest.raises(DamagedEntry, match="65025 bytes are more than 65024"):
        decode_entry(sealed_up(informational(200, 1, "a" * (room + 1)), SEALED))

    e = informational(200, 1)
    text = "a" * SEALED_BYTES_MAX
    room = 2 * len(text) - len(packed(*Sealed(bytes(16), text=text)))
    assert decode_entry(sealed_up(e, packed(*Sealed(bytes(16), text="a" * room))))
    with pytest.raises(DamagedEntry, match="131073 bytes are more than 131072"):
        decode_entry(sealed_up(e, packed(*Sealed(bytes(16), text="a" * (room + 1)))))

    with pytest.raises(DamagedEntry, match="129 bytes are more than 128"):
        decode_entry(RawEntry(MS, POSITION, e, SEALED, b"", bytes(COMMIT_FIELD_BYTES_MAX + 1)))


def test_what_is_too_large_is_not_written() -> None:
    """An event, a sealed part or tags beyond the limit are refused by the writer."""
    header, sealed = Header(bytes(16)), Sealed(bytes(16))
    many = b"".join((4 * n).to_bytes(16) + (4 * n + 1).to_bytes(16) for n in range(1_500))
    for event, secret in (
        (ev.PoolDeleted(1, "a" * EVENT_BYTES_MAX), sealed),
        (ev.PoolDeleted(1, "a"), sealed._replace(text="a" * SEALED_BYTES_MAX)),
        (ev.Quarantined(6, many, None, None), sealed),
    ):
        with pytest.raises(ValueError, match="bytes"):
            encode_entry(event, secret, header)


HOSTILE: Final = {
    "nothing": b"",
    "nil": b"\xc0",
    "a number": b"\x07",
    "text": b"\xa1a",
    "a map": b"\x81\xa1a\x00",
    "a map of numbers": b"\x81\x00\x00",
    "an empty map": b"\x80",
    "an empty array": b"\x90",
    "a float": b"\xcb" + bytes(8),
    "an extension": b"\xd4\x05\x00",
    "an empty extension": b"\xc7\x00\x05",
    "a timestamp": b"\xd6\xff" + bytes(4),
    "a broken timestamp": b"\xc7\x00\xff",
    "an array of 4G": b"\xdd\xff\xff\xff\xff",
    "an array of 64K": b"\xdc\xff\xff",
    "a map of 4G": b"\xdf\xff\xff\xff\xff",
    "text of 4G": b"\xdb\xff\xff\xff\xff",
    "bytes of 4G": b"\xc6\xff\xff\xff\xff",
    "an extension of 4G": b"\xc9\xff\xff\xff\xff\x05",
    "no type at all": b"\xc1",
    "text that is not UTF-8": b"\x91\xa2\xc3\x28",
    "a lone surrogate": b"\x91\xa3\xed\xa0\x80",
    "nested maps": b"\x81\x00" * 30_000 + b"\xc0",
    "arrays, 60,000 deep": b"\x91" * 60_000 + b"\xc0",
    "arrays, 60,000 deep, cut": b"\x91" * 60_000,
    "arrays of two, deep": b"\x92" * 60_000,
}


# What may be a member of an event that nobody understands.
HARMLESS: Final = {
    "nil", "a number", "text", "an empty map", "an empty array", "a float", "an empty extension",
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_bytes_are_damage(what: str) -> None:
    """No field holds these, neither whole nor as a member, and no reader breaks down over them."""
    data = HOSTILE[what]
    whole = raw_entry(SAMPLES["LeaseGranted"]["full"])
    header = packed(*Header(bytes(16)))[1:]
    entries = [
        whole._replace(c=data),
        sealed_up(data, whole.s, whole.t),
        sealed_up(whole.e, data, whole.t),
        # The owner, which is nil or text; the name of a deleted pool, which is text.
        sealed_up(whole.e, b"\x98\xc4\x10" + bytes(16) + data + b"\xc0\x90" + b"\xc0" * 4),
        sealed_up(b"\x99\x0c\x01" + header + b"\x07" + data, SEALED),
    ]
    if what not in HARMLESS:
        entries.append(sealed_up(b"\x98\xcc\xc8\x01" + header + data, SEALED))
    for raw in entries:
        with pytest.raises(DamagedEntry):
            decode_entry(raw)


def test_a_hundred_thousand_nested_arrays_are_damage() -> None:
    """The sealed part may be larger than an event; its nesting is bounded all the same."""
    raw = sealed_up(informational(200, 1), b"\x91" * 100_000 + b"\xc0")
    with pytest.raises(DamagedEntry, match="not msgpack"):
        decode_entry(raw)


def test_an_unknown_event_is_shallow() -> None:
    """One that is passed over may nest 32 deep; one level more is refused by name."""
    for levels, is_read in ((DEPTH_MAX, True), (DEPTH_MAX + 1, False), (1_000, False)):
        body: tuple[object, ...] = ()
        for _ in range(levels - 2):  # the event itself, and the innermost
            body = (body,)
        raw = sealed_up(informational(200, 1, body), SEALED)
        if is_read:
            assert decode_entry(raw).event == ev.Informational(200, 1, (body,))
        else:
            with pytest.raises(DamagedEntry, match="nested more than 32 levels deep"):
                decode_entry(raw)


# --- Chance ---------------------------------------------------------------------------------

edits = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=4
)


def edited(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """The bytes with some cut out and some put in, here and there."""
    for at, length, put in changes:
        where = at % (len(data) + 1)
        data = data[:where] + put + data[where + length :]
    return data


@given(sample=st.sampled_from(ALL), field=st.sampled_from("estc"), changes=edits)
def test_no_edit_passes(sample: Sample, field: str, changes: list[tuple[int, int, bytes]]) -> None:
    """An entry that differs from what was written, anywhere, is damage."""
    raw = raw_entry(sample)
    other = with_field(raw, field, edited(getattr(raw, field), changes))
    if other != raw:
        with pytest.raises(DamagedEntry):
            decode_entry(other)


@given(sample=st.sampled_from(ALL), field=st.sampled_from("es"), changes=edits)
@settings(max_examples=300)
def test_no_edit_breaks_the_reader(
    sample: Sample, field: str, changes: list[tuple[int, int, bytes]]
) -> None:
    """Also with a check value that was made to fit it is an entry, well-formed, or damage."""
    raw = raw_entry(sample)
    other = with_field(raw, field, edited(getattr(raw, field), changes))
    with suppress(DamagedEntry):
        record = decode_entry(sealed_up(other.e, other.s, other.t))
        assert record.event.well_formed()
        assert tags.written_by(record.event, record.sealed, record.header) == raw.t.decode()


@given(e=st.binary(max_size=80), s=st.binary(max_size=80), t=st.binary(max_size=40))
def test_random_bytes_are_damage(e: bytes, s: bytes, t: bytes) -> None:
    """Nothing but `DamagedEntry` comes of bytes that nobody wrote."""
    with pytest.raises(DamagedEntry):
        decode_entry(sealed_up(e, s, t))
    with pytest.raises(DamagedEntry):
        decode_entry(RawEntry(MS, POSITION, e, s, t, t))


if __name__ == "__main__":
    regenerate()
