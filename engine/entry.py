"""A stream entry: the bytes as stored, and the record they decode to.

The id of an entry is ``<milliseconds>-<position>``. Its four fields are ``e`` (the event), ``s``
(the sealed part), ``t`` (tags) and ``c`` (the commit it belongs to). [format]
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.events import Event, Sealed

# One commit is one proposal's events; larger work is a series of commits.
COMMIT_EVENTS_MAX: Final = 4_096
COMMIT_BYTES_MAX: Final = 1 << 20

FIELDS: Final = (b"e", b"s", b"t", b"c")


class RawEntry(NamedTuple):
    """An entry as the stream stores it. Nothing ever re-encodes these bytes."""

    ms: int
    position: int
    e: bytes
    s: bytes
    t: bytes
    c: bytes

    @property
    def entry_id(self) -> str:
        """The id in the stream: ``ms-position``."""
        return f"{self.ms}-{self.position}"


class Commit(NamedTuple):
    """Which commit an entry belongs to; the same for all its entries but for ``part``.

    ``decided_at`` is the position of the state that the commit was decided on: always before it.
    ``check`` are the CRC-32 of this field's other members and ``e``, then that of ``s``: an entry
    that was altered by hand is noticed by its next reader (ADR 0003).
    """

    nonce: bytes
    part: int
    parts: int
    generation: int
    decided_at: int
    request_hash: bytes
    check: bytes = bytes(8)

    @property
    def ends_here(self) -> bool:
        """Whether this entry is the last one of its commit."""
        return self.part + 1 == self.parts


class Header(NamedTuple):
    """What every event carries in front of its own fields.

    ``command`` is the 16-byte key of the command, ``step`` its commit's number in a series,
    ``cause`` the position of the event that led here, ``effective_at_ms`` when it was true if
    that was earlier than recorded, ``signature`` an empty slot.
    """

    command: bytes
    step: int = 0
    cause: int | None = None
    effective_at_ms: int | None = None
    signature: bytes | None = None


class Record(NamedTuple):
    """A decoded entry: what folds, consumers and auditors are given."""

    position: int
    ms: int
    event: Event
    sealed: Sealed
    header: Header
    commit: Commit

    @property
    def entry_id(self) -> str:
        """The id in the stream: ``ms-position``."""
        return f"{self.ms}-{self.position}"


class Anchor(NamedTuple):
    """An entry that a client knows: its id and its commit field, enough to recognise history."""

    ms: int
    position: int
    c: bytes

    @property
    def entry_id(self) -> str:
        """The id in the stream: ``ms-position``."""
        return f"{self.ms}-{self.position}"


ORIGIN: Final = Anchor(0, 0, b"")


def parse_entry_id(entry_id: bytes | str) -> tuple[int, int]:
    """Return `(ms, position)`.

    Raises:
        ValueError: it is not two decimal numbers joined by a dash.
    """
    text = entry_id.decode("ascii") if isinstance(entry_id, bytes) else entry_id
    ms, _, position = text.partition("-")
    return int(ms), int(position)
