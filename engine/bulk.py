"""Pages of a stream for whoever folds millions of events: lease events as plain tuples.

Nearly all events are about leases. A `Record` of one is six named tuples that a fold takes apart at
once; here it stays what msgpack made of it, a *row*, and what `decode_entry` and `Continuity` check
of it is checked in one loop. Whatever is not plainly right there, and every other event, goes the
usual way: it becomes a `Record`, or the same named error.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from hashlib import sha256
from itertools import product
from typing import Any, Final
from zlib import crc32

import msgpack

from engine.entry import COMMIT_EVENTS_MAX, Anchor, Commit, RawEntry, Record
from engine.events import LeaseEnded, LeaseGranted, LeaseRenewed
from engine.model import ENDINGS
from engine.reading import Continuity, read_pages
from engine.shapes import SECONDS_MAX, are_labels
from engine.stream import PAGE_ENTRIES, Stream
from engine.tags import pool_leases
from engine.wire import REGISTRY

GRANTED: Final = REGISTRY.code_of(LeaseGranted)
RENEWED: Final = REGISTRY.code_of(LeaseRenewed)
ENDED: Final = REGISTRY.code_of(LeaseEnded)

# Position, milliseconds, the whole `e` (type code and version, the header's five members, then the
# event's own), the sealed part (or None where it was not asked for), the commit.
Row = tuple[int, int, tuple[Any, ...], tuple[Any, ...] | None, tuple[Any, ...]]
HEADER_MEMBERS: Final = 7

_NONE: Final = type(None)
_MAYBE_INT: Final = (int, _NONE)
_MAYBE_STR: Final = (str, _NONE)
_HEADER: Final = ((int,), (int,), (bytes,), (int,), _MAYBE_INT, _MAYBE_INT, (bytes, _NONE))
_HELD: Final = ((int,), (int,), (bytes,), (int,), (str,))

_GRANTED_TYPES: Final = frozenset(
    product(
        *_HEADER, (int,), (bytes,), (int,), (str,), _MAYBE_INT, _MAYBE_STR, _MAYBE_INT, (tuple,),
        _MAYBE_INT, _MAYBE_STR,
    )
)  # fmt: skip
_RENEWED_TYPES: Final = frozenset(product(*_HEADER, *_HELD, _MAYBE_INT))
_ENDED_TYPES: Final = frozenset(product(*_HEADER, *_HELD, (int,)))
_SEALED_TYPES: Final = frozenset(
    product((bytes,), _MAYBE_STR, _MAYBE_STR, (tuple,), *[_MAYBE_STR] * 4)
)
_COMMIT_TYPES: Final = (bytes, int, int, int, int, bytes, bytes)
_TYPES: Final = {GRANTED: _GRANTED_TYPES, RENEWED: _RENEWED_TYPES, ENDED: _ENDED_TYPES}
_WIDTHS: Final = {32: 4, 128: 16}


def granted_from(item: Record | Row) -> int | None:
    """The pool that a record or a row grants from; None if it grants nothing."""
    if isinstance(item, Record):
        return item.event.pool_id if isinstance(item.event, LeaseGranted) else None
    fields = item[2]
    return fields[HEADER_MEMBERS] if fields[0] == GRANTED else None


def _event_holds(fields: tuple[Any, ...]) -> bool:
    """Whether the members of a lease event, whose types are right, are in their bounds."""
    command, step, cause, effective_at_ms = fields[2:6]
    if (
        fields[1] != 1
        or len(command) != 16
        or not 0 <= step < 1 << 32
        or (cause is not None and cause < 1)
        or (effective_at_ms is not None and effective_at_ms < 0)
    ):
        return False
    if fields[0] == GRANTED:
        pool_id, address, length, _, ttl_s, _, supersedes, beside, seed, _ = fields[7:]
        if (
            (ttl_s is not None and not 1 <= ttl_s <= SECONDS_MAX)
            or (supersedes is not None and supersedes < 1)
            or beside
            or (seed is not None and seed < 0)
        ):
            return False
    else:
        lease, pool_id, address, length, _, last = fields[7:]
        if lease < 1:
            return False
        if fields[0] == ENDED:
            if not 0 <= last < len(ENDINGS):
                return False
        elif last is not None and not 1 <= last <= SECONDS_MAX:
            return False
    return bool(pool_id >= 1 and _WIDTHS.get(length) == len(address))


def _tags(fields: tuple[Any, ...], owner: str | None) -> str:
    """As `tags.written_by`, of a lease event on a single address."""
    if fields[0] == GRANTED:
        pool_id, address, _, interface = fields[7:11]
        lease = ""
    else:
        lease_id, pool_id, address, _, interface = fields[7:12]
        lease = f"l{lease_id:016x} "
    held = sha256(f"{owner or ''}\0{interface}".encode()).hexdigest()[:32]
    family = "4" if len(address) == 4 else "6"
    return (
        f"{lease}{family}{address.hex()} o{held} {pool_leases(pool_id)}"
        f" c{fields[2].hex()}{fields[3]:08x}"
    )


def admit_rows(
    continuity: Continuity, page: Sequence[RawEntry], *, sealed: bool = True
) -> list[Record | Row]:
    """What `continuity` admits of a page: lease events as rows, all others as records.

    Without `sealed` the sealed parts and the tags are not looked at, though the check value still
    covers the former; `continuity` should be made with `decode_event` then.

    Raises:
        IntegrityError: as `Continuity.admit`.
    """
    unpack = msgpack.unpackb
    admitted: list[Record | Row] = []
    anchor, last = continuity.anchor, continuity.last
    before_ms, before = anchor.ms, anchor.position
    plain: RawEntry | None = None  # the last one that became a row, and is not yet gone past
    for raw in page:
        ms, position, e, s, t, c = raw
        try:
            fields = unpack(e, use_list=False, max_map_len=0, max_ext_len=0)
            commit = unpack(c, use_list=False, max_map_len=0, max_ext_len=0)
            opened = unpack(s, use_list=False, max_map_len=0, max_ext_len=0) if sealed else None
            if (
                position == before + 1
                and ms >= before_ms
                and tuple(map(type, fields)) in _TYPES[fields[0]]
                and tuple(map(type, commit)) == _COMMIT_TYPES
                and int.from_bytes(commit[6]) == crc32(e, crc32(c[:-8])) << 32 | crc32(s)
                and _goes_on(commit, last, position, continuity.generation)
                and _event_holds(fields)
                and (opened is None or _is_open(opened, fields, t))
                and position not in continuity.expected
                and len(e) + len(s) <= _BYTES_MAX
            ):
                admitted.append((position, ms, fields, opened, commit))
                before, before_ms, last, plain = position, ms, commit, raw
                continue
        except (ValueError, TypeError, KeyError, IndexError, msgpack.UnpackException):
            pass  # the usual way says what is wrong with it
        if plain is not None:
            _go_past(continuity, plain, last)
            plain = None
        admitted.append(continuity.admit(raw))
        before_ms, before, last = ms, position, continuity.last
    if plain is not None:
        _go_past(continuity, plain, last)
    return admitted


_BYTES_MAX: Final = 65_024  # of an event; so much of both is far within all bounds


def _is_open(opened: tuple[Any, ...], fields: tuple[Any, ...], t: bytes) -> bool:
    """Whether a sealed part is well-formed, and the tags are those of the event and its owner."""
    return (
        tuple(map(type, opened)) in _SEALED_TYPES
        and len(opened[0]) == 16
        and (opened[3] == () or are_labels(opened[3]))
        and _tags(fields, opened[1]).encode() == t
    )


def _goes_on(
    commit: tuple[Any, ...], last: tuple[Any, ...] | None, position: int, generation: int
) -> bool:
    """Whether an entry, whose commit's types are right, is the next part or begins a commit."""
    nonce, part, parts, its_generation, decided_at, request_hash, check = commit
    if last is not None and last[1] + 1 != last[2]:
        if part != last[1] + 1 or nonce != last[0] or commit[2:6] != last[2:6]:
            return False
    elif part:
        return False
    return (
        len(nonce) == 8
        and len(request_hash) == 16
        and len(check) == 8
        and 0 <= part < parts <= COMMIT_EVENTS_MAX
        and its_generation == generation
        and 0 <= decided_at < position - part
    )


def _go_past(continuity: Continuity, raw: RawEntry, commit: tuple[Any, ...] | None) -> None:
    assert commit is not None, "a row has one"
    continuity.go_past(Anchor(raw.ms, raw.position, raw.c), Commit._make(commit))


def read_rows(
    stream: Stream,
    continuity: Continuity,
    *,
    sealed: bool = True,
    entries_max: int = PAGE_ENTRIES,
) -> Generator[list[Record | Row], None, None]:
    """As `read_commits`, with lease events as rows.

    Raises:
        IntegrityError: as `Continuity.admit` and `Continuity.end`.
        Unavailable: the stream cannot be read.
    """
    pending: list[Record | Row] = []
    for page in read_pages(stream, continuity, entries_max):
        pending += admit_rows(continuity, page, sealed=sealed)
        whole = len(pending)
        while whole and not _ends_here(pending[whole - 1]):
            whole -= 1
        if whole:
            yield pending[:whole]
            pending = pending[whole:]


def _ends_here(item: Record | Row) -> bool:
    commit = item[-1]
    return bool(commit[1] + 1 == commit[2])
