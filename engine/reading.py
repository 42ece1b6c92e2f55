"""Reading a stream so that nothing missing, altered or reordered goes unnoticed.

`Continuity` admits one entry after another and knows what must come next. `read_commits` pages
through a stream and hands on whole commits only: a reader never sees half of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from engine.entry import ORIGIN, Anchor, RawEntry, Record
from engine.errors import DamagedEntry, HistoryDiverged, MissingEntries, SpaceReplaced, UnknownEvent
from engine.events import LEVEL, HistoryRestored, LevelRaised, SpaceCreated
from engine.stream import PAGE_ENTRIES, RESTORE_HINT, Head, Stream
from engine.wire import decode_entry


class HighWater(NamedTuple):
    """What a client remembers of a space: enough to notice that history ran backwards.

    ``anchors`` are entries it has seen, newest last: the high-water mark and a few older ones.
    """

    space_id: bytes
    generation: int
    anchors: tuple[Anchor, ...]

    @property
    def position(self) -> int:
        """The highest position that was seen."""
        return self.anchors[-1].position if self.anchors else 0


class Continuity:
    """What has been read so far, and therefore what must come next."""

    def __init__(self, remembered: HighWater | None = None) -> None:
        """Start at the beginning; `remembered` entries are compared as they go by."""
        self.anchor: Anchor = ORIGIN
        self.space: SpaceCreated | None = None
        self.generation = 0
        self.voided = 0
        self._last: Record | None = None
        self._remembered = remembered
        self._expected = {a.position: a for a in remembered.anchors} if remembered else {}

    @property
    def at_commit_end(self) -> bool:
        """Whether what was read so far is whole commits."""
        return self._last is None or self._last.commit.ends_here

    def admit(self, raw: RawEntry) -> Record:
        """Return the record of the next entry.

        Raises:
            MissingEntries: positions are not gapless, or a commit is not whole.
            HistoryDiverged: an entry differs from the one that was seen at its position.
            SpaceReplaced: the stream is another space of the same name.
            DamagedEntry: the entry itself is damaged, or out of its place.
            UnknownEvent: this release cannot read it.
        """
        record = decode_entry(raw)
        self._check_position(record)
        self._check_commit(record)
        expected = self._expected.pop(raw.position, None)
        if expected is not None and (expected.ms, expected.c) != (raw.ms, raw.c):
            message = f"position {raw.position} is not the entry that was seen there before"
            raise HistoryDiverged(message, RESTORE_HINT, raw.position)
        self._last = record
        self.anchor = Anchor(raw.ms, raw.position, raw.c)
        return record

    def advance(self, records: list[Record], c: bytes) -> None:
        """Go past a commit of our own, which the stream has just confirmed; `c` is its last."""
        self._last = records[-1]
        self.anchor = Anchor(records[-1].ms, records[-1].position, c)

    def end(self, head: Head) -> None:
        """Check that what was read is all that a stream with this head has.

        Raises:
            MissingEntries: entries at the end, or in between, were deleted.
            HistoryDiverged: the stream is shorter than it was seen before.
        """
        position = self.anchor.position
        if position < head.position or not self.at_commit_end:
            message = f"the stream has a hole: position {position + 1} is missing at its end"
            raise MissingEntries(message, RESTORE_HINT, position + 1)
        if position == head.position and head.length != position - self.voided:
            message = f"the stream has {head.length} entries where {position - self.voided} belong"
            raise MissingEntries(message, RESTORE_HINT)
        if self._remembered and position < self._remembered.position:
            message = (
                f"the stream ends at position {position}, "
                f"but position {self._remembered.position} was seen before"
            )
            raise HistoryDiverged(message, RESTORE_HINT, position)

    def _check_position(self, record: Record) -> None:
        position, event = record.position, record.event
        expected = self.anchor.position + 1
        if isinstance(event, HistoryRestored):
            restored = (event.kept, event.void_through, event.generation)
            if restored != (expected - 1, position - 1, self.generation + 1):
                message = f"the restoration at position {position} does not fit what is before it"
                raise DamagedEntry(message, RESTORE_HINT, position)
            self.generation += 1
            self.voided += event.void_through - event.kept
        elif position != expected:
            message = f"the stream has a hole: position {expected} is missing"
            raise MissingEntries(message, RESTORE_HINT, expected)
        if record.ms < self.anchor.ms:
            message = f"time runs backwards at position {position}"
            raise DamagedEntry(message, RESTORE_HINT, position)
        if isinstance(event, SpaceCreated) != (position == 1):
            message = f"position {position} is not what begins a space"
            raise DamagedEntry(message, RESTORE_HINT, position)
        if isinstance(event, SpaceCreated):
            _check_level(event.level, position)
            self._check_space(event)
        elif isinstance(event, LevelRaised):
            _check_level(event.level, position)

    def _check_space(self, event: SpaceCreated) -> None:
        if self._remembered and self._remembered.space_id != event.space_id:
            message = (
                f"space {event.name} is another one than before: "
                f"{event.space_id.hex()}, not {self._remembered.space_id.hex()}"
            )
            hint = f"if that is right, accept it with `ipledger space forget {event.name}`"
            raise SpaceReplaced(message, hint, 1)
        self.space = event

    def _check_commit(self, record: Record) -> None:
        commit, last = record.commit, self._last
        part = 0
        if last is not None and not last.commit.ends_here:
            part = last.commit.part + 1
            if commit[2:6] != last.commit[2:6] or commit.nonce != last.commit.nonce:
                message = f"the commit before position {record.position} is not whole"
                raise MissingEntries(message, RESTORE_HINT, record.position)
        # Decided on what came before the commit, never on the commit itself or on what follows.
        before = record.position - commit.part
        if (
            commit.part != part
            or commit.generation != self.generation
            or commit.decided_at >= before
        ):
            message = f"position {record.position} does not continue the history before it"
            raise DamagedEntry(message, RESTORE_HINT, record.position)


def _check_level(level: int, position: int) -> None:
    if level > LEVEL:
        message = f"the space has format level {level}; this release reads {LEVEL}"
        raise UnknownEvent(message, "upgrade ipledger", position)


def read_commits(
    stream: Stream, continuity: Continuity, *, entries_max: int = PAGE_ENTRIES
) -> Iterator[list[Record]]:
    """Yield the records behind what `continuity` has read, whole commits at a time, to the end.

    The end is where the stream ended when the call began, or later.

    Raises:
        IntegrityError: as `Continuity.admit` and `Continuity.end`.
        Unavailable: the stream cannot be read.
    """
    head = stream.head()
    if head.position < continuity.anchor.position:
        message = (
            f"the stream ends at position {head.position}, "
            f"but position {continuity.anchor.position} was seen before"
        )
        raise HistoryDiverged(message, RESTORE_HINT, head.position)
    pending: list[Record] = []
    while True:
        anchor = continuity.anchor
        page = stream.read(anchor.ms, anchor.position, entries_max)
        pending += admit_all(continuity, page)
        whole = len(pending)
        while whole and not pending[whole - 1].commit.ends_here:
            whole -= 1
        if whole:
            yield pending[:whole]
            pending = pending[whole:]
        if not page or (continuity.at_commit_end and continuity.anchor.position >= head.position):
            break
    continuity.end(head)


def admit_all(continuity: Continuity, entries: Iterable[RawEntry]) -> list[Record]:
    """The records of `entries`, each admitted in turn."""
    admit = continuity.admit
    return [admit(raw) for raw in entries]


def find_entry(stream: Stream, position: int) -> RawEntry | None:
    """The entry at a position, found by halving the time; None if it is void or not there.

    Both parts of an id ascend together, so that the first entry from a time on tells on which
    side of that time a position lies: about 40 short reads, whatever the length of the stream.
    """
    head = stream.head()
    first = stream.read(0, 0, 1)
    if not first or not 1 <= position <= head.position:
        return None
    low_ms, high_ms = first[0].ms, head.ms
    while low_ms < high_ms:
        middle_ms = (low_ms + high_ms + 1) // 2
        found = stream.read_from(middle_ms, 1)
        if found and found[0].position <= position:
            low_ms = middle_ms
        else:
            high_ms = middle_ms - 1
    found = stream.read(low_ms, position - 1, 1)
    return found[0] if found and found[0].position == position else None
