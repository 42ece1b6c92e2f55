"""Reading a stream so that nothing missing, altered or reordered goes unnoticed.

`Continuity` admits one entry after another and knows what must come next. `read_commits` pages
through a stream and hands on whole commits only: a reader never sees half of one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final, NamedTuple

from engine.entry import ORIGIN, Anchor, Commit, RawEntry, Record
from engine.errors import DamagedEntry, MissingEntries, SpaceReplaced, UnknownEvent
from engine.events import (
    LEVEL,
    HistoryRestored,
    LeaseEnded,
    LeaseGranted,
    LeaseRenewed,
    LevelRaised,
    SpaceCreated,
)
from engine.stream import (
    PAGE_ENTRIES,
    RESTORE_HINT,
    Head,
    Stream,
    not_as_seen,
    shorter_than_seen,
)
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


class Checkpoint(NamedTuple):
    """Where a reader stopped, always at a commit end, and what it must know to go on from there.

    ``schema_version`` and what a view holds are the business of who saves it; this is what makes
    the stream's next entry checkable: the space, its generation, how many positions are void, and
    the entry that was read last.
    """

    space_id: bytes
    space: str
    generation: int
    voided: int
    anchor: Anchor

    @property
    def position(self) -> int:
        """The position that was read last."""
        return self.anchor.position


class Continuity:
    """What has been read so far, and therefore what must come next."""

    def __init__(
        self,
        remembered: HighWater | None = None,
        decode: Callable[[RawEntry], Record] = decode_entry,
    ) -> None:
        """Start at the beginning; `remembered` entries are compared as they go by."""
        self._decode = decode
        self.anchor: Anchor = ORIGIN
        self.space: SpaceCreated | None = None
        self.generation = 0
        self.voided = 0
        self.last: Commit | None = None
        self._remembered = remembered
        self.expected = {a.position: a for a in remembered.anchors} if remembered else {}

    @classmethod
    def resumed(cls, checkpoint: Checkpoint, remembered: HighWater | None = None) -> Continuity:
        """Go on behind a checkpoint that `resume` has found in the stream."""
        continuity = cls(remembered)
        continuity.anchor = checkpoint.anchor
        continuity.space = SpaceCreated(checkpoint.space_id, checkpoint.space, LEVEL)
        continuity.generation = checkpoint.generation
        continuity.expected = {  # those before it were compared when it was found
            at: anchor for at, anchor in continuity.expected.items() if at > checkpoint.position
        }
        continuity.voided = checkpoint.voided
        return continuity

    def checkpoint(self) -> Checkpoint:
        """Where a reader that has come this far would go on; only at a commit end."""
        assert self.space is not None, "nothing was read yet"
        assert self.at_commit_end, "a checkpoint stands at a commit end"
        space = self.space
        return Checkpoint(
            space.space_id, space.name, self.generation, self.voided, self.anchor
        )  # fmt: skip

    @property
    def at_commit_end(self) -> bool:
        """Whether what was read so far is whole commits."""
        return self.last is None or self.last.ends_here

    def admit(self, raw: RawEntry) -> Record:
        """Return the record of the next entry.

        Raises:
            MissingEntries: positions are not gapless, or a commit is not whole.
            HistoryDiverged: an entry differs from the one that was seen at its position.
            SpaceReplaced: the stream is another space of the same name.
            DamagedEntry: the entry itself is damaged, or out of its place.
            UnknownEvent: this release cannot read it.
        """
        record = self._decode(raw)
        self._check_position(record)
        self._check_commit(record)
        expected = self.expected.pop(raw.position, None) if self.expected else None
        if expected is not None and (expected.ms, expected.c) != (raw.ms, raw.c):
            raise not_as_seen(raw.position)
        self.last = record.commit
        self.anchor = Anchor(raw.ms, raw.position, raw.c)
        return record

    def advance(self, record: Record, c: bytes) -> None:
        """Go past a commit of our own, which the stream has just confirmed: its last record."""
        position, ms, _, _, _, self.last = record
        self.anchor = Anchor(ms, position, c)

    def go_past(self, anchor: Anchor, commit: Commit) -> None:
        """Go past an entry that was checked elsewhere, and belongs to `commit`."""
        self.last = commit
        self.anchor = anchor

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
            raise shorter_than_seen(position, self._remembered.position)

    def _check_position(self, record: Record) -> None:
        position, event = record.position, record.event
        expected = self.anchor.position + 1
        if type(event) in _ORDINARY and position == expected > 1 and record.ms >= self.anchor.ms:
            return
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
        if self._remembered:
            _check_same_space(event, self._remembered.space_id)
        self.space = event

    def _check_commit(self, record: Record) -> None:
        commit, last = record.commit, self.last
        part = 0
        if last is not None and not last.ends_here:
            part = last.part + 1
            if commit[2:6] != last[2:6] or commit.nonce != last.nonce:
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


def _check_same_space(event: SpaceCreated, space_id: bytes) -> None:
    if event.space_id != space_id:
        message = (
            f"space {event.name} is another one than before: "
            f"{event.space_id.hex()}, not {space_id.hex()}"
        )
        hint = f"if that is right, accept it with `ipledger space forget {event.name}`"
        raise SpaceReplaced(message, hint, 1)


# They say nothing about the stream itself, and are nearly all of it.
_ORDINARY: Final = frozenset({LeaseGranted, LeaseRenewed, LeaseEnded})


def _check_level(level: int, position: int) -> None:
    if level > LEVEL:
        message = f"the space has format level {level}; this release reads {LEVEL}"
        raise UnknownEvent(message, "upgrade ipledger", position)


def resume(
    stream: Stream, checkpoint: Checkpoint, remembered: HighWater | None = None
) -> Continuity:
    """Go on behind a checkpoint, if the stream still is the one that it was made of.

    What lies before the checkpoint is not read again: the space, the entry at the checkpoint and
    those that are remembered are compared, and the stream's length is, at its end. An entry that
    was altered in between is noticed by who reads everything (replay, audit, doctor).

    Raises:
        SpaceReplaced: the stream is another space of the same name.
        HistoryDiverged: the stream is shorter, or another entry stands at one of the positions.
        DamagedEntry: one of these entries is damaged.
        Unavailable: the stream cannot be read.
    """
    continuity = Continuity.resumed(checkpoint, remembered)
    first = stream.read(0, 0, 1)
    begins = decode_entry(first[0]).event if first else None
    if isinstance(begins, SpaceCreated):
        _check_same_space(begins, checkpoint.space_id)
        if remembered:
            _check_same_space(begins, remembered.space_id)
    for anchor in remembered.anchors if remembered else ():
        if anchor.position <= checkpoint.position:
            _check_there(stream, anchor, may_be_void=True)
    _check_there(stream, checkpoint.anchor, may_be_void=False)
    return continuity


def _check_there(stream: Stream, anchor: Anchor, *, may_be_void: bool) -> None:
    """Check that an entry which was seen still stands, and is whole; or was given up."""
    found = stream.read(anchor.ms, anchor.position - 1, 1)
    if not found or (found[0].ms, found[0].position, found[0].c) != anchor:
        if may_be_void and _is_void(stream, anchor):
            return
        raise not_as_seen(anchor.position)
    decode_entry(found[0])


def _is_void(stream: Stream, anchor: Anchor) -> bool:
    """Whether a restoration that an operator accepted gave a position up."""
    behind = entry_from(stream, anchor.position)
    if behind is None or behind.position == anchor.position:
        return False
    event = decode_entry(behind).event
    return isinstance(event, HistoryRestored) and event.kept < anchor.position


def read_commits(
    stream: Stream, continuity: Continuity, *, entries_max: int = PAGE_ENTRIES
) -> Generator[list[Record], None, None]:
    """Yield the records behind what `continuity` has read, whole commits at a time, to the end.

    The end is where the stream ended when the call began, or later.

    Raises:
        IntegrityError: as `Continuity.admit` and `Continuity.end`.
        Unavailable: the stream cannot be read.
    """
    pending: list[Record] = []
    for page in read_pages(stream, continuity, entries_max):
        pending += admit_all(continuity, page)
        whole = len(pending)
        while whole and not pending[whole - 1].commit.ends_here:
            whole -= 1
        if whole:
            yield pending[:whole]
            pending = pending[whole:]


def read_pages(
    stream: Stream, continuity: Continuity, entries_max: int
) -> Iterator[list[RawEntry]]:
    """Yield the pages behind what `continuity` has read; who takes one must admit all of it.

    Raises:
        IntegrityError: as `Continuity.end`.
        Unavailable: the stream cannot be read.
    """
    head = stream.head()
    if head.position < continuity.anchor.position:
        raise shorter_than_seen(head.position, continuity.anchor.position)
    for page in _pages(stream, continuity.anchor, head, entries_max):
        yield page
        if continuity.at_commit_end and continuity.anchor.position >= head.position:
            break
    continuity.end(head)


def _pages(stream: Stream, after: Anchor, head: Head, entries_max: int) -> Iterator[list[RawEntry]]:
    """The pages behind an entry, to the end. Of a long stream, the next is on its way already.

    Each page is read from the entry before it on, which must still be what it was: a history that
    was cut off and written anew meanwhile is no continuation.
    """
    if head.position - after.position <= 2 * entries_max:
        while page := _behind(after, _page(stream, after, entries_max)):
            yield page
            after = _last_of(page)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="ipledger-reader") as reader:
        coming = reader.submit(_page, stream, after, entries_max)
        while page := _behind(after, coming.result()):
            after = _last_of(page)
            coming = reader.submit(_page, stream, after, entries_max)
            yield page


def _page(stream: Stream, after: Anchor, entries_max: int) -> list[RawEntry]:
    """What comes behind an entry, with that entry itself before it."""
    if after == ORIGIN:
        return stream.read(0, 0, entries_max)
    return stream.read(after.ms, after.position - 1, entries_max + 1)


def _last_of(page: list[RawEntry]) -> Anchor:
    ms, position, _, _, _, c = page[-1]
    return Anchor(ms, position, c)


def _behind(after: Anchor, page: list[RawEntry]) -> list[RawEntry]:
    """A page without the entry that it was read from, if that still stands there."""
    if after == ORIGIN:
        return page
    if not page or _last_of(page[:1]) != after:
        raise not_as_seen(after.position)
    return page[1:]


def admit_all(continuity: Continuity, entries: Iterable[RawEntry]) -> list[Record]:
    """The records of `entries`, each admitted in turn."""
    admit = continuity.admit
    return [admit(raw) for raw in entries]


def find_entry(stream: Stream, position: int) -> RawEntry | None:
    """The entry at a position; None if it is void or not there. As `entry_from`."""
    found = entry_from(stream, position)
    return found if found is not None and found.position == position else None


def entry_from(stream: Stream, position: int) -> RawEntry | None:
    """The first entry at a position or behind it, found by halving the time.

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
    return found[0] if found else None
