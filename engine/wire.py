"""[format] Events to bytes and back: strict, bounded, and the same on every machine.

An event is a msgpack array whose first members are its type code and schema version; then the
header, then the type's own fields. Old versions are brought up to date by pure functions, one
version at a time. Whatever cannot be read is a named error and never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import local
from typing import Any, Final, NamedTuple, NoReturn
from zlib import crc32

import msgpack

from engine import events as ev
from engine import tags
from engine.entry import COMMIT_EVENTS_MAX, Commit, Header, RawEntry, Record
from engine.errors import DamagedEntry, UnknownEvent
from engine.events import Event, Sealed

# A later proof covers ms, position, c, e and a hash of s in at most 65,535 bytes.
EVENT_BYTES_MAX: Final = 65_024
SEALED_BYTES_MAX: Final = 131_072
COMMIT_FIELD_BYTES_MAX: Final = 128
# Nothing of ours nests deeper than 6. Whoever shows or compares what a later release wrote goes
# down as deep as it goes, and Python gives up at about 1,000.
DEPTH_MAX: Final = 32
TAGS_BYTES_MAX: Final = 65_536
_CHECK_LENGTH: Final = 8
UNCHECKED: Final = bytes(_CHECK_LENGTH)  # in the place of a check value

_HEADER_LENGTH: Final = 2 + len(Header._fields)

Upcaster = Callable[[tuple[Any, ...]], tuple[Any, ...]]


class _Packer(local):
    """A packer for each thread: making one takes longer than packing an event with it."""

    def __init__(self) -> None:
        self.pack: Callable[[object], bytes] = msgpack.Packer().pack


_packer = _Packer()


def pack(value: object) -> bytes:
    """The msgpack of a value; tuples are arrays, whatever their names."""
    return _packer.pack(value)


class EventType(NamedTuple):
    """A row of the registry: how one type is written, and read in every version it ever had.

    ``upcasters`` maps version n to the pure function that turns its fields into those of n + 1.
    """

    code: int
    version: int
    since_level: int
    made_from: Callable[[tuple[Any, ...]], Any]
    upcasters: Mapping[int, Upcaster] = {}


class Registry:
    """The types that a release can read and write, checked for gaps when it is made."""

    def __init__(self, types: Mapping[type[Any], EventType]) -> None:
        """Take `types`, by event class.

        Raises:
            ValueError: a code is used twice, or an upcaster is missing or superfluous.
        """
        self._by_class = dict(types)
        self._by_code = {row.code: row for row in types.values()}
        if len(self._by_code) != len(types):
            message = "an event type code is used twice"
            raise ValueError(message)
        for row in types.values():
            if set(row.upcasters) != set(range(1, row.version)):
                message = f"type {row.code} needs exactly one upcaster for each older version"
                raise ValueError(message)

    def code_of(self, cls: type[Any]) -> int:
        """The type code of an event class."""
        return self._by_class[cls].code

    @property
    def classes(self) -> tuple[type[Any], ...]:
        """The event classes, in the order of their codes."""
        return tuple(sorted(self._by_class, key=lambda cls: self._by_class[cls].code))

    def since_level(self, event_class: type[Any]) -> int:
        """The format level from which on events of a class may be written."""
        return self._by_class[event_class].since_level

    def encode(self, event: Event, header: Header) -> bytes:
        """Return the bytes of the ``e`` field.

        Raises:
            ValueError: the event is not well-formed: a bug, since decisions check their input.
        """
        if not event.well_formed():
            message = f"malformed event: {event!r}"
            raise ValueError(message)
        row = self._by_class[type(event)]
        return pack((row.code, row.version, *header, *event))

    def decode(self, data: bytes, position: int) -> tuple[Event, Header]:
        """Return the event and its header.

        Raises:
            UnknownEvent: a type or version that this release cannot read.
            DamagedEntry: not a canonical event: oversize, trailing bytes, a wrong shape.
        """
        fields = _unpack(data, EVENT_BYTES_MAX, "e", position)
        if len(fields) < _HEADER_LENGTH or type(fields[0]) is not int or type(fields[1]) is not int:
            _damaged("e", "it has no event header", position)
        header = Header._make(fields[2:_HEADER_LENGTH])
        body = fields[_HEADER_LENGTH:]
        row = self._by_code.get(fields[0])
        version = fields[1]
        if row is not None and version == row.version:
            return self._shaped(row, body, header, position), header
        if row is None and fields[0] >= ev.INFORMATIONAL_FROM and _header_well_formed(header):
            if not _is_shallow(fields):
                _damaged("e", f"it is nested more than {DEPTH_MAX} levels deep", position)
            return ev.Informational(fields[0], version, body), header
        if row is None or not 1 <= version <= row.version:
            message = f"event type {fields[0]} version {version} at position {position} is unknown"
            hint = "upgrade ipledger to a release that knows it; nothing was skipped"
            raise UnknownEvent(message, hint, position)
        try:
            while version < row.version:
                body = row.upcasters[version](body)
                version += 1
        except (TypeError, ValueError, IndexError):
            _damaged_shape(row, position)
        return self._shaped(row, body, header, position), header

    @staticmethod
    def _shaped(row: EventType, body: tuple[Any, ...], header: Header, position: int) -> Event:
        """The event of the newest version's fields."""
        try:
            event: Event = row.made_from(body)
            if event.well_formed() and _header_well_formed(header):
                return event
        except (TypeError, ValueError, IndexError):
            pass
        return _damaged_shape(row, position)


def _is_shallow(value: tuple[Any, ...]) -> bool:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [member for part in level for member in part if type(member) is tuple]
        if not level:
            return True
    return False


def _header_well_formed(header: Header) -> bool:
    command, step, cause, effective_at_ms, signature = header
    return (
        type(command) is bytes
        and len(command) == 16
        and type(step) is int
        and 0 <= step < 1 << 32
        and (cause is None or (type(cause) is int and cause >= 1))
        and (effective_at_ms is None or (type(effective_at_ms) is int and effective_at_ms >= 0))
        and (signature is None or type(signature) is bytes)
    )


def _pool_updated(fields: tuple[Any, ...]) -> ev.PoolUpdated:
    pool_id, pool = fields
    return ev.PoolUpdated(pool_id, ev.PoolCreated(*pool))


def _reservation_updated(fields: tuple[Any, ...]) -> ev.ReservationUpdated:
    reservation_id, reservation = fields
    return ev.ReservationUpdated(reservation_id, ev.ReservationCreated(*reservation))


# Codes are for ever. Below 128 a reader must know the type; from 128 it may pass over it.
REGISTRY: Final = Registry(
    {
        ev.SpaceCreated: EventType(1, 1, 1, ev.SpaceCreated._make),
        ev.HistoryRestored: EventType(2, 1, 1, ev.HistoryRestored._make),
        ev.LevelRaised: EventType(3, 1, 1, ev.LevelRaised._make),
        ev.DurabilitySet: EventType(4, 1, 3, ev.DurabilitySet._make),
        ev.PoolCreated: EventType(10, 1, 1, ev.PoolCreated._make),
        ev.PoolUpdated: EventType(11, 1, 1, _pool_updated),
        ev.PoolDeleted: EventType(12, 1, 1, ev.PoolDeleted._make),
        ev.ReservationCreated: EventType(20, 1, 1, ev.ReservationCreated._make),
        ev.ReservationUpdated: EventType(21, 1, 1, _reservation_updated),
        ev.ReservationDeleted: EventType(22, 1, 1, ev.ReservationDeleted._make),
        ev.LeaseGranted: EventType(30, 1, 1, ev.LeaseGranted._make),
        ev.LeaseRenewed: EventType(31, 1, 1, ev.LeaseRenewed._make),
        ev.LeaseEnded: EventType(32, 1, 1, ev.LeaseEnded._make),
        ev.ConflictReported: EventType(33, 1, 1, ev.ConflictReported._make),
        ev.LeaseObserved: EventType(34, 1, 2, ev.LeaseObserved._make),
        ev.Quarantined: EventType(40, 1, 1, ev.Quarantined._make),
        ev.QuarantineEnded: EventType(41, 1, 1, ev.QuarantineEnded._make),
    }
)


def _damaged(field: str, why: str, position: int) -> NoReturn:
    message = f"the entry at position {position} is damaged: field {field}: {why}"
    raise DamagedEntry(message, "run `ipledger doctor` to see what can be kept", position)


def _damaged_shape(row: EventType, position: int) -> NoReturn:
    _damaged("e", f"the fields of event type {row.code} have a wrong shape", position)


def _unpack(data: bytes, bytes_max: int, field: str, position: int) -> tuple[Any, ...]:
    """One msgpack array within bounds; anything else is a `DamagedEntry`."""
    if len(data) > bytes_max:
        _damaged(field, f"{len(data)} bytes are more than {bytes_max}", position)
    try:
        value = msgpack.unpackb(data, use_list=False, max_map_len=0, max_ext_len=0)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        _damaged(field, f"not msgpack ({type(error).__name__})", position)
    if type(value) is not tuple:
        _damaged(field, "not an array", position)
    return value


def encode_sealed(sealed: Sealed) -> bytes:
    """Return the bytes of the ``s`` field."""
    assert sealed.well_formed(), sealed
    return pack(sealed)


def _decode_sealed(data: bytes, position: int) -> Sealed:
    fields = _unpack(data, SEALED_BYTES_MAX, "s", position)
    try:
        sealed = Sealed._make(fields)
        if sealed.well_formed():
            return sealed
    except (TypeError, IndexError):
        pass
    _damaged("s", "the sealed part has a wrong shape", position)


def check_of(commit_prefix: bytes, e: bytes, s: bytes) -> bytes:
    """The check value of an entry, from its three fields that carry facts."""
    return (crc32(e, crc32(commit_prefix)) << 32 | crc32(s)).to_bytes(_CHECK_LENGTH)


def encode_commit(commit: Commit, e: bytes, s: bytes) -> tuple[Commit, bytes]:
    """Return the commit with its check value, and the bytes of the ``c`` field."""
    # The check value comes last and is of fixed width, so what is before it can be cut off.
    prefix = pack(commit)[:-_CHECK_LENGTH]
    check = check_of(prefix, e, s)
    return tuple.__new__(Commit, (*commit[:-1], check)), prefix + check


def _decode_commit(data: bytes, position: int) -> Commit:
    fields = _unpack(data, COMMIT_FIELD_BYTES_MAX, "c", position)
    if len(fields) != len(Commit._fields):
        _damaged("c", "it has a wrong number of members", position)
    nonce, part, parts, generation, decided_at, request_hash, check = fields
    if not (
        type(nonce) is bytes
        and len(nonce) == 8
        and type(part) is int
        and type(parts) is int
        and 0 <= part < parts <= COMMIT_EVENTS_MAX
        and type(generation) is int
        and generation >= 0
        and type(decided_at) is int
        and 0 <= decided_at < position
        and type(request_hash) is bytes
        and len(request_hash) == 16
        and type(check) is bytes
        and len(check) == _CHECK_LENGTH
    ):
        _damaged("c", "its members have a wrong shape", position)
    return Commit._make(fields)


def encode_entry(
    event: Event, sealed: Sealed, header: Header, registry: Registry = REGISTRY
) -> tuple[bytes, bytes, bytes]:
    """Return ``(e, s, t)``: all of an entry that does not depend on its commit.

    Raises:
        ValueError: a part is larger than an entry may be.
    """
    e = registry.encode(event, header)
    s = encode_sealed(sealed)
    t = tags.written_by(event, sealed, header).encode("ascii")
    if len(e) > EVENT_BYTES_MAX or len(s) > SEALED_BYTES_MAX or len(t) > TAGS_BYTES_MAX:
        message = f"the event takes {len(e)} bytes and its sealed part {len(s)}"
        raise ValueError(message)
    return e, s, t


def decode_event(raw: RawEntry, registry: Registry = REGISTRY) -> Record:
    """As `decode_entry`, without looking at who holds what: the sealed part is empty.

    For views that show no owner. Every byte but the tags' is still covered by the check value.

    Raises:
        UnknownEvent: an event type or version that this release cannot read.
        DamagedEntry: bytes that do not decode, or a check value that does not agree.
    """
    ms, position, e, s, _, c = raw
    commit = _decode_commit(c, position)
    if commit.check != check_of(c[:-_CHECK_LENGTH], e, s):
        _damaged("c", "the entry was altered (its check value differs)", position)
    event, header = registry.decode(e, position)
    return Record(position, ms, event, _UNREAD, header, commit)


_UNREAD: Final = Sealed(bytes(16))


def decode_entry(raw: RawEntry, registry: Registry = REGISTRY) -> Record:
    """Return the record of an entry, everything about it checked that it alone can show.

    Raises:
        UnknownEvent: an event type or version that this release cannot read.
        DamagedEntry: bytes that do not decode, a check value or tags that do not agree.
    """
    ms, position, e, s, t, c = raw
    commit = _decode_commit(c, position)
    if commit.check != check_of(c[:-_CHECK_LENGTH], e, s):
        _damaged("c", "the entry was altered (its check value differs)", position)
    event, header = registry.decode(e, position)
    sealed = _decode_sealed(s, position)
    if tags.written_by(event, sealed, header).encode() != t:
        _damaged("t", "the tags are not those of the event", position)
    return Record(position, ms, event, sealed, header, commit)
