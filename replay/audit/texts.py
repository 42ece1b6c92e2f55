"""Names, owners and labels as they must be written: printable, normalised and bounded."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from engine import events as ev
from engine.entry import Record

_TEXT_BYTES_MAX: Final = 512
_INTERFACE_BYTES_MAX: Final = 64
_LABELS_MAX: Final = 64
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,253}", re.ASCII)
_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


def faulty_text(record: Record) -> str | None:
    """What of an entry's texts is not as it must be, in words; None if all are."""
    event, sealed = record.event, record.sealed
    if isinstance(event, ev.LeaseGranted):
        if (fault := _faulty_grant(event, sealed.owner)) is not None:
            return fault
    elif (name := _name_in(event)) is not None and not _NAME.fullmatch(name):
        return f"the name {_shown(name)}"
    for field, text in zip(sealed._fields[1:], sealed[1:], strict=True):
        if type(text) is str and not _is_text(text):
            return f"the {field} {_shown(text)}"
    return _faulty_labels(sealed.labels) if sealed.labels else None


def _faulty_grant(event: ev.LeaseGranted, owner: str | None) -> str | None:
    interface, cluster = event.interface, event.cluster
    if not _is_text(interface, _INTERFACE_BYTES_MAX) or len(interface.split()) != 1:
        return f"the interface {_shown(interface)}"
    if cluster is not None and not _is_text(cluster):
        return f"the cluster {_shown(cluster)}"
    return "the owner, who is missing," if owner is None else None


def _faulty_labels(labels: tuple[tuple[str, str], ...]) -> str | None:
    if len(labels) > _LABELS_MAX:
        return f"the number of {len(labels)} labels"
    for key, value in labels:
        if not _is_text(key) or not (value == "" or _is_text(value)):
            return f"the label {_shown(key)}"
    return None


def _shown(text: str) -> str:
    return ascii(text)[:60]


def _name_in(event: ev.Event) -> str | None:
    match event:
        case ev.PoolUpdated():
            return event.pool.name
        case ev.ReservationUpdated():
            return event.reservation.name
        case (ev.SpaceCreated() | ev.PoolCreated() | ev.PoolDeleted() | ev.ReservationCreated()
              | ev.ReservationDeleted()):  # fmt: skip
            return event.name
        case _:
            return None


def _is_text(text: str, bytes_max: int = _TEXT_BYTES_MAX) -> bool:
    if text.isascii():  # as almost always
        return text.isprintable() and 0 < len(text) <= bytes_max and not text.isspace()
    return (
        not text.isspace()
        and unicodedata.is_normalized("NFC", text[:bytes_max])
        and not any(unicodedata.category(character) in _UNPRINTABLE for character in text)
        and len(text.encode("utf-8", "surrogatepass")) <= bytes_max
    )
