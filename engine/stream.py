"""The seam to where a space's events are kept: small enough to have an in-memory twin.

A stream appends proposals conditionally and reads entries in order. It knows nothing of what the
events mean. Every backend passes the same contract tests (tests/contracts/).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple, Protocol

from engine.entry import Anchor, RawEntry
from engine.errors import ClockSkew, HistoryDiverged, IntegrityError, LedgerError, MissingEntries
from engine.model import LOCAL, Durability

# Beyond these the writer is BEHIND and catches up by paged reads. A page of 1,000 was the fastest
# of 100 to 50,000 and keeps the single-threaded server free for others (1.2 ms).
PAGE_ENTRIES: Final = 1_000
TAIL_BYTES_MAX: Final = 1 << 20

Status = Literal["ok", "behind", "missing", "shorter", "diverged", "clock"]

RESTORE_HINT: Final = (
    "run `ipledger doctor`: it says what is left, and how to accept it or go back to a backup"
)


class NewEntry(NamedTuple):
    """The four fields of an entry that has no id yet."""

    e: bytes
    s: bytes
    t: bytes
    c: bytes


class Proposal(NamedTuple):
    """Events to commit together, unless a tag in ``reads`` was written since.

    ``not_before_ms`` and ``not_after_ms`` bound the server's time of the commit; 0 is no bound.
    """

    reads: str
    entries: tuple[NewEntry, ...]
    not_before_ms: int = 0
    not_after_ms: int = 0


class Committed(NamedTuple):
    """The proposal's events stand from this position on."""

    position: int


class Conflict(NamedTuple):
    """Somebody wrote ``tag`` at ``position`` since the decision."""

    tag: str
    position: int


class Untimely(NamedTuple):
    """The server's clock is outside the proposal's bounds: ``early`` or ``late``."""

    which: str


# An entry as it is stored, whatever it is: its id, and its fields' names and values in turn.
StoredEntry = tuple[str, tuple[bytes, ...]]

Verdict = Committed | Conflict | Untimely


class Acknowledged(NamedTuple):
    """How many replicas have everything up to here, and why it cannot be told, if it cannot."""

    replicas: int
    why: str = ""


class AppendReply(NamedTuple):
    """What the stream answers to an append.

    Unless ``status`` is ``ok`` nothing was written and ``detail`` is a position (for ``clock``:
    the server's time in ms). ``tail`` is what was written since the writer's last entry, before
    its own commits; all of those carry ``ms``. ``acknowledged`` is there if it was asked for, and
    something was committed: it covers all of that, and what stood before it.
    """

    status: Status
    detail: int
    ms: int
    verdicts: tuple[Verdict, ...]
    tail: list[RawEntry]
    acknowledged: Acknowledged | None = None


Fetch = Callable[[], AppendReply]


class Head(NamedTuple):
    """Where a stream ends. ``length`` counts entries; all zero for a stream that is not there."""

    ms: int
    position: int
    length: int


class Stream(Protocol):
    """One space's stream."""

    def append(
        self,
        after: Anchor,
        voided: int,
        now_ms: int,
        proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:
        """Commit each proposal that still holds, or say why nothing can be.

        Then wait until as many replicas as are `wanted` have it, at most for that time.

        Raises:
            Unavailable: the server cannot be reached; certainly nothing was written.
            UnknownOutcome: the reply was lost.
            ReadOnlyMirror: the stream is a mirror.
        """

    def acknowledge(self, through: Anchor, wanted: Durability) -> Acknowledged:
        """Wait until as many replicas as are `wanted` have everything up to an entry.

        Raises:
            HistoryDiverged: the entry is not there, so nothing can be said of it.
            Unavailable: the server cannot be reached, or takes no writes.
        """

    def begin(
        self,
        after: Anchor,
        voided: int,
        now_ms: int,
        proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> Fetch:
        """As `append`, but the answer is fetched later, by the function that is returned.

        So the next proposals can be made while the server is busy with these. The function is
        called once, and raises what `append` would; nothing is appended until then.
        """

    def head(self) -> Head:
        """Where the stream ends now, deleted entries included."""

    def read(self, after_ms: int, after_position: int, entries_max: int) -> list[RawEntry]:
        """The entries behind an id (0, 0: from the beginning), at most `entries_max`."""

    def read_from(self, ms: int, entries_max: int) -> list[RawEntry]:
        """The entries from a time on, at most `entries_max`."""

    def wait(self, after_ms: int, after_position: int, block_ms: int) -> list[RawEntry]:
        """As `read`, waiting up to `block_ms` for something to be there."""

    def dump(
        self, after_ms: int, after_position: int, entries_max: int | None = None
    ) -> list[StoredEntry]:
        """Entries behind an id, also those that are not ours and that `read` refuses.

        All of them, or at most `entries_max`.
        """

    def restore(
        self,
        keep: Anchor,
        head: Head,
        void_through: int,
        now_ms: int,
        entry: NewEntry,
        *,
        promote: bool = False,
    ) -> None:
        """Drop what follows `keep` and write `entry` at ``void_through + 1``.

        With `promote` the stream must be a mirror, and in the same step it ceases to be one.

        Raises:
            IntegrityError: `keep` or `head` is not what the stream has, or `void_through` is
                below its end, or it is no mirror to promote; nothing was touched.
            ReadOnlyMirror: it is a mirror that is not to be promoted.
            Unavailable: the server cannot be reached; certainly nothing was written.
            UnknownOutcome: the reply was lost.
        """

    def close(self) -> None:
        """Give the connection back; the stream is not used after that."""


class AppendsWhenFetched(ABC):
    """The `begin` of a stream that has nothing to do until its answer is wanted."""

    @abstractmethod
    def append(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:  # fmt: skip
        """See `Stream.append`."""

    def begin(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> Fetch:  # fmt: skip
        """See `Stream.begin`."""
        return partial(self.append, after, voided, now_ms, proposals, wanted)


def not_restored(why: str) -> IntegrityError:
    """The named error for a restoration of a stream that is not as the operator saw it."""
    message = f"the stream changed while it was being restored ({why})"
    return IntegrityError(message, "stop all writers and run `ipledger doctor` again")


def shorter_than_seen(position: int, seen: int) -> HistoryDiverged:
    """The named error for a stream that ends before a position that was seen."""
    message = f"the stream ends at position {position}, but position {seen} was seen before"
    return HistoryDiverged(message, RESTORE_HINT, position)


def not_as_seen(position: int) -> HistoryDiverged:
    """The named error for another entry at a position than the one that was seen there."""
    message = f"position {position} is not the entry that was seen there before"
    return HistoryDiverged(message, RESTORE_HINT, position)


def trouble(reply_status: Status, detail: int, after: Anchor, now_ms: int) -> LedgerError:
    """The named error for an append that the stream refused as a whole."""
    if reply_status == "clock":
        apart_s = abs(detail - now_ms) // 1_000
        message = f"the server's clock and this writer's or the last entry's differ by {apart_s} s"
        return ClockSkew(message, "set the clocks (more than 5 minutes apart is refused)")
    if reply_status == "missing":
        where = f"position {detail}" if detail else "somewhere before the end"
        return MissingEntries(f"the stream has a hole: {where} is missing", RESTORE_HINT, detail)
    if reply_status == "shorter":
        return shorter_than_seen(detail, after.position)
    if reply_status == "diverged":
        return not_as_seen(after.position)
    return IntegrityError(f"the stream answered {reply_status}", RESTORE_HINT, detail)
