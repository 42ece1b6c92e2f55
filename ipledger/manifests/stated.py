"""The manifests of a space, of leases and of quarantines; changes with what an export states."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from engine.addresses import Address, RangeSet
from engine.errors import InvalidInput
from engine.model import DEFAULT_INTERFACE
from engine.names import Labels, check_interface, check_name, check_text
from ipledger.held_texts import parse_held
from ipledger.manifests.fields import Fields, inside
from ipledger.manifests.metadata import read_annotations, read_metadata
from ipledger.times import parse_time

_LEASE_FIELDS: Final = (
    "pool", "address", "owner", "interface", "uid", "cluster", "since", "ttl", "expires", "source",
)  # fmt: skip
_QUARANTINE_FIELDS: Final = ("ips", "reason", "until", "for")
_SPACE_FIELDS: Final = ("formatLevel",)
# A manifest is read on another day than it was written on: a time relative to now has no place.
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_TIME_HINT: Final = "write it in full, such as 2026-11-03T04:05:06.789Z"
_TIMES_MS: Final = range(253_402_300_800_000)  # from 1970 to the end of the year 9999


class StatedSpace(NamedTuple):
    """A space that shall be, and the format level that it shall have at least."""

    name: str
    level: int | None


class StatedLease(NamedTuple):
    """A lease that somebody holds: since when, and until when it lasts (None is for ever).

    ``ttl_s`` is what it was last granted or renewed for: a renewal that says no time uses it.
    """

    pool: str
    address: Address
    prefix_length: int
    owner: str
    interface: str
    uid: str | None
    labels: Labels
    cluster: str | None
    since_ms: int
    ttl_s: int | None
    expires_at_ms: int | None
    source: str | None

    @property
    def name(self) -> str:
        """What tells it from others: its address and prefix length."""
        return f"{self.address.hex()}/{self.prefix_length}"


class StatedQuarantine(NamedTuple):
    """Addresses that are set aside, until a time or for a duration from when that begins."""

    ips: RangeSet
    reason: str
    until_ms: int | None
    for_s: int | None

    @property
    def name(self) -> str:
        """What tells it from others: its addresses."""
        return ",".join(self.ips.texts())


def read_space(document: Fields) -> StatedSpace:
    """Read a Space.

    Raises:
        InvalidInput: naming the field.
    """
    spec = document.child("spec", _SPACE_FIELDS) or Fields({}, "spec")
    level = spec.integer("formatLevel")
    if level is not None and level < 1:
        raise InvalidInput(f"{spec.at('formatLevel')}: {level} is no level", "levels begin at 1")
    return StatedSpace(read_metadata(document).name, level)


def read_lease(document: Fields) -> StatedLease:
    """Read a Lease.

    Raises:
        InvalidInput: naming the field.
    """
    metadata = document.child("metadata", ("labels", "annotations")) or Fields({}, "metadata")
    read_annotations(metadata)
    spec = _spec(document, _LEASE_FIELDS)
    pool = check_name(spec.required_text("pool", "name the pool that it is from"), "spec.pool")
    address, prefix_length = _held(spec)
    owner = check_text(spec.required_text("owner", "say who holds it"), "spec.owner")
    interface = spec.text("interface")
    ttl_s, since_ms = spec.duration("ttl"), _time(spec, "since")
    if since_ms is None:
        raise InvalidInput("spec.since is missing", _TIME_HINT)
    return StatedLease(
        pool, address, prefix_length, owner,
        check_interface(DEFAULT_INTERFACE if interface is None else interface), _text(spec, "uid"),
        metadata.labels("labels"), _text(spec, "cluster"), since_ms, ttl_s,
        _end_ms(spec, since_ms, ttl_s), _text(spec, "source"),
    )  # fmt: skip


def read_quarantine(document: Fields) -> StatedQuarantine:
    """Read a Quarantine.

    Raises:
        InvalidInput: naming the field.
    """
    metadata = document.child("metadata", ("annotations",)) or Fields({}, "metadata")
    read_annotations(metadata)
    spec = _spec(document, _QUARANTINE_FIELDS)
    entries = spec.texts("ips")
    if not entries:
        raise InvalidInput("spec.ips is missing", "a quarantine needs at least one address")
    with inside("spec.ips: "):
        ips = RangeSet.parse(entries, allow_cidr=True)
    reason = check_text(spec.required_text("reason", "say what was seen"), "spec.reason")
    until_ms, for_s = _time(spec, "until"), spec.duration("for")
    if until_ms is not None and for_s is not None:
        raise InvalidInput("spec has both until and for", "leave one of them out")
    return StatedQuarantine(ips, reason, until_ms, for_s)


def _spec(document: Fields, known: tuple[str, ...]) -> Fields:
    spec = document.child("spec", known)
    if spec is None:
        raise InvalidInput("spec is missing", f"it holds the fields {', '.join(known)}")
    return spec


def _held(spec: Fields) -> tuple[Address, int]:
    """An address, or a block as ADDRESS/LENGTH."""
    text = spec.required_text("address", "write ADDRESS, or ADDRESS/LENGTH for a block")
    with inside("spec.address: "):
        return parse_held(text)


def _end_ms(spec: Fields, since_ms: int, ttl_s: int | None) -> int | None:
    """When a lease ends: when it says so, or its time after it began."""
    expires_ms = _time(spec, "expires")
    if expires_ms is not None:
        if ttl_s is None:
            raise InvalidInput("spec.expires needs spec.ttl beside it",
                               "say how long it was granted or renewed for")  # fmt: skip
        if expires_ms <= since_ms:
            raise InvalidInput("spec.expires is not after spec.since", "a lease lasts a while")
        return expires_ms
    return None if ttl_s is None else since_ms + ttl_s * 1_000


def _text(spec: Fields, name: str) -> str | None:
    value = spec.text(name)
    return None if value is None else check_text(value, spec.at(name))


def _time(spec: Fields, name: str) -> int | None:
    """A time in milliseconds since the epoch, or None."""
    text = spec.text(name)
    if text is None:
        return None
    with inside(f"{spec.at(name)}: "):
        if not _TIME.fullmatch(text):
            shown = repr(text if len(text) <= 60 else f"{text[:57]}...")
            raise InvalidInput(f"{shown} is not a time", _TIME_HINT)
        ms = parse_time(text, 0)
        if ms not in _TIMES_MS:
            raise InvalidInput(f"{text!r} is before 1970", _TIME_HINT)
    return ms
