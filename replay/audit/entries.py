"""Entries as they are stored: read past what is not ours, and taken apart as far as it goes.

An entry that is sound is decoded as every reader does it. Only one that is not is gone through
field by field, so that all that is wrong with it is told, and what can still be read is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgpack

from engine import tags
from engine.entry import COMMIT_EVENTS_MAX, Commit, RawEntry, Record, parse_entry_id
from engine.errors import DamagedEntry, UnknownEvent
from engine.events import Sealed
from engine.stream import PAGE_ENTRIES, Head, Stream
from engine.wire import (
    COMMIT_FIELD_BYTES_MAX,
    REGISTRY,
    SEALED_BYTES_MAX,
    decode_entry,
    pack,
)
from replay.audit.findings import Findings

_CHECK_LENGTH: Final = 8
_NONCE_LENGTH: Final = 8
_HASH_LENGTH: Final = 16


class Foreign(NamedTuple):
    """An entry that does not have our fields."""

    ms: int
    position: int


def all_entries(stream: Stream, head: Head) -> Iterator[list[RawEntry | Foreign]]:
    """Pages of all entries up to `head`, also those that are not ours.

    Raises:
        Unavailable: the stream cannot be read.
        IntegrityError: the key holds no stream.
    """
    at = (0, 0)
    entries_max = PAGE_ENTRIES
    while at < (head.ms, head.position):
        page: list[RawEntry | Foreign]
        try:
            page = list(stream.read(*at, entries_max))
        except DamagedEntry:
            if entries_max > 1:
                entries_max = 1  # it is in this page: go up to it
                continue
            page = [Foreign(*parse_entry_id(entry_id)) for entry_id, _ in stream.dump(*at, 1)]
            entries_max = PAGE_ENTRIES
        if not page:
            return
        at = (page[-1].ms, page[-1].position)
        yield [entry for entry in page if (entry.ms, entry.position) <= (head.ms, head.position)]


def take_apart(raw: RawEntry, findings: Findings) -> Record | None:
    """The record of an entry; None if it cannot be read. What is wrong with it is noted."""
    try:
        record = decode_entry(raw)
    except DamagedEntry:
        return _examine(raw, findings)
    for name, data in (("e", raw.e), ("s", raw.s), ("c", raw.c)):
        # Other readers take any spelling of a value: to look for this costs a sixth of reading.
        if pack(_unpacked(data, len(data))) != data:
            findings.breach("shape", raw.position, f"its field {name} is not as short as it can be")
    return record


def _examine(raw: RawEntry, findings: Findings) -> Record | None:
    """As `take_apart`, field by field."""
    position = raw.position
    commit = _commit(raw.c)
    if commit is None:
        findings.breach("shape", position, "its field c cannot be read")
    else:
        check = crc32(raw.e, crc32(raw.c[:-_CHECK_LENGTH])) << 32 | crc32(raw.s)
        if int.from_bytes(commit.check) != check:
            altered = "e or c" if int.from_bytes(commit.check[4:]) == check % 2**32 else "s"
            findings.breach("check-value", position, f"it was altered, in {altered}")
    sealed = _sealed(raw.s)
    if sealed is None:
        findings.breach("shape", position, "its field s cannot be read")
    try:
        event, header = REGISTRY.decode(raw.e, position)
    except UnknownEvent as error:
        findings.breach("known", position, error.message)
        return None
    except DamagedEntry as error:
        findings.breach("shape", position, error.message)
        return None
    if sealed is None:
        return None
    if tags.written_by(event, sealed, header).encode() != raw.t:
        findings.breach("tags", position, "its tags are not those that its event implies")
    if commit is None:
        return None
    return Record(position, raw.ms, event, sealed, header, commit)


def _unpacked(data: bytes, bytes_max: int) -> tuple[Any, ...] | None:
    if len(data) > bytes_max:
        return None
    try:
        value = msgpack.unpackb(data, use_list=False, max_map_len=0, max_ext_len=0)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    return value if type(value) is tuple else None


def _sealed(data: bytes) -> Sealed | None:
    fields = _unpacked(data, SEALED_BYTES_MAX)
    if fields is None or len(fields) != len(Sealed._fields):
        return None
    try:
        sealed = Sealed._make(fields)
        return sealed if sealed.well_formed() else None
    except (TypeError, IndexError):
        return None


def _commit(data: bytes) -> Commit | None:
    fields = _unpacked(data, COMMIT_FIELD_BYTES_MAX)
    if fields is None or len(fields) != len(Commit._fields):
        return None
    nonce, part, parts, generation, decided_at, request_hash, check = fields
    texts = ((nonce, _NONCE_LENGTH), (request_hash, _HASH_LENGTH), (check, _CHECK_LENGTH))
    numbers = (part, parts, generation, decided_at)
    sound = (
        all(type(text) is bytes and len(text) == length for text, length in texts)
        and all(type(number) is int and number >= 0 for number in numbers)
        and part < parts <= COMMIT_EVENTS_MAX
    )
    return Commit._make(fields) if sound else None
