"""The seam of a mirror: a stream that another one is copied to, and on which nothing is decided.

A marker beside the stream, in the same slot, says that it is a mirror. While it stands, the
stream takes nothing but copies: the script that appends refuses whoever asks it, also a writer
that was connected before (ADR 0017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

from engine.entry import Anchor, RawEntry
from engine.errors import ReadOnlyMirror
from engine.stream import Head, Stream

MARKER_FORMAT: Final = 1

CopyStatus = Literal["ok", "occupied", "other", "moved", "diverged", "low"]


class Marker(NamedTuple):
    """What stands beside a stream that is a mirror.

    ``source`` is where its entries come from, without credentials: for people. What identifies
    the source is ``space_id``. ``voided`` counts the positions that restorations have voided in
    what is mirrored, ``level_at_ms`` is when nothing was left to copy (0: never yet).
    """

    space_id: bytes
    source: str
    voided: int = 0
    level_at_ms: int = 0


class Target(Stream, Protocol):
    """A stream that can be a mirror."""

    def marker(self) -> Marker | None:
        """What says that the stream is a mirror; None if it is none.

        Raises:
            IntegrityError: the marker cannot be understood.
            Unavailable: it cannot be read.
        """

    def copy(
        self, after: Anchor, head: Head, marker: Marker, entries: Sequence[RawEntry]
    ) -> CopyStatus:
        """Write entries as they are behind `after`, and the marker; all of it or nothing.

        What stands behind `after` is removed. Unless the answer is ``ok``, nothing was touched:

        - ``occupied``: a stream without a marker is there, so it is somebody's own;
        - ``other``: it is a mirror of another space;
        - ``moved``: it no longer ends at `head`;
        - ``diverged``: `after` is not the entry that stands there;
        - ``low``: the ids do not ascend from `head` on.

        Raises:
            Unavailable: the server cannot be used; certainly nothing was written.
            UnknownOutcome: the reply was lost.
        """


def read_only(space: str, source: str) -> ReadOnlyMirror:
    """The named error for whoever would decide something on a mirror."""
    message = (
        f"space {space} is a mirror of {source} here: it is read, and nothing is decided on it"
    )
    hint = f"write to {source}; if that is lost for good, see `ipledger mirror --help`: --promote"
    return ReadOnlyMirror(message, hint)
