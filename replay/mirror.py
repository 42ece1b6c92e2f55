"""A copy of a space's stream in another cluster: the same bytes under the same ids.

What is read passes `Continuity` before it is written, whole commits at a time; what was written is
read back. The copy itself is the only memory of how far it has come: a mirror that was killed goes
on where its last entry stands, if that is the source's entry, too (ADR 0017).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import Final, NamedTuple

from engine.entry import COMMIT_BYTES_MAX, Anchor, RawEntry, Record
from engine.errors import (
    HistoryDiverged,
    IntegrityError,
    MissingEntries,
    Refusal,
    Refused,
    SpaceReplaced,
)
from engine.events import HistoryRestored, SpaceCreated
from engine.mirroring import Marker, Target
from engine.reading import Checkpoint, Continuity, find_entry
from engine.stream import PAGE_ENTRIES, Head, Stream
from engine.wire import decode_entry
from replay.compare import entries_of

# How many entries, or bytes, of whole commits one script call carries at least, if there are more.
BATCH_ENTRIES: Final = PAGE_ENTRIES
BATCH_BYTES: Final = COMMIT_BYTES_MAX
# How often a mirror that has nothing to copy says so beside its stream.
MARK_EVERY_MS: Final = 10_000

_ANEW: Final = (
    "`ipledger mirror --verify` says where they part; to make the mirror anew, delete its two keys "
    "on the target yourself (DEL {key}:events {key}:mirror) and run this again"
)


class Ends(NamedTuple):
    """The two sides of a mirror, in words for people: URLs without credentials."""

    source: str
    target: str


class Progress(NamedTuple):
    """How far a mirror is: its last entry, and where its source ended when it was last asked."""

    position: int
    ms: int
    copied: int
    source_position: int
    source_ms: int

    @property
    def behind(self) -> int:
        """How many positions are left to copy."""
        return max(self.source_position - self.position, 0)

    @property
    def behind_ms(self) -> int:
        """How much older the mirror's last entry is than its source's, by their own time."""
        return max(self.source_ms - self.ms, 0) if self.behind else 0


class GivenUp(HistoryDiverged):
    """The mirror holds entries that its source gave up when it accepted a shorter history.

    ``kept`` is the last position that both have.
    """

    def __init__(self, message: str, hint: str, kept: int) -> None:
        super().__init__(message, hint, kept + 1)
        self.kept = kept


class _Read(NamedTuple):
    """An entry that was admitted: the bytes to write, and what they say."""

    raw: RawEntry
    record: Record


class _Batch(NamedTuple):
    """Whole commits to write in one step, and how many positions are void after them."""

    entries: list[RawEntry]
    voided: int


class _Moved(Exception):
    """One side is no longer as we left it: what that means is told by attaching anew."""


class Mirror:
    """Copies one space from a source to a target; after any error it looks anew where it is."""

    def __init__(
        self, source: Stream, target: Target, space: str, ends: Ends, now_ms: Callable[[], int],
        *, entries_max: int = PAGE_ENTRIES,
    ) -> None:  # fmt: skip
        """Copy `space`, reading so many entries at a time.

        `now_ms` is asked when the mirror is level with its source.
        """
        self._source = source
        self._target = target
        self._space = space
        self._ends = ends
        self._now_ms = now_ms
        self._entries_max = entries_max
        self._anew = _ANEW.format(key=f"ipledger:{{{space}}}")
        self.copied = 0
        self._attached = False
        self._copied_when_level = -1
        self._next_mark_ms = 0

    # ------------------------------------------------------------------------------- where we are

    def attach(self, set_aside: Callable[[int, list[RawEntry]], None] | None = None) -> Progress:
        """Find out how far the mirror is, and that it is a mirror of this source.

        With `set_aside`, entries that the source gave up are handed to it, with the last position
        that is kept; the next step removes them from the mirror.

        Raises:
            Refused: the source has no such space, or the target has something of its own.
            SpaceReplaced: the mirror is of another space of that name.
            GivenUp: the source gave up what the mirror has, and `set_aside` is None.
            IntegrityError: the two differ where they were compared, or one is damaged.
            Unavailable: a server cannot be reached.
        """
        self._attached = False
        event = self._begins()
        if event is None:
            message = f"space {self._space} does not exist on {self._ends.source}"
            raise Refused(Refusal("not_found", message, "check --from and --space", "from"))
        # In this order: a copy of ours whose reply was lost may land in between, with its marker.
        self._head = self._target.head()
        marker = self._target.marker()
        if marker is None and self._head.position:
            raise self._occupied()
        self._marker = marker or Marker(event.space_id, self._ends.source)
        self._marker = self._marker._replace(source=self._ends.source)
        if self._marker.space_id != event.space_id:
            raise self._other_space(event, self._marker)
        self._pending: list[_Read] = []
        self._last: RawEntry | None = None
        if self._head.position == 0:
            self._marker = self._marker._replace(voided=0)
            self._reader = Continuity()
        else:
            self._resume(event.name, set_aside)
        self._written = self._reader.anchor
        self._seen = self._source.head()
        self._attached = True
        return self.progress

    @property
    def progress(self) -> Progress:
        """How far the mirror is now."""
        written, seen = self._written, self._seen
        return Progress(written.position, written.ms, self.copied, seen.position, seen.ms)

    @property
    def marker(self) -> Marker:
        """What stands beside the mirror."""
        return self._marker

    @property
    def generation(self) -> int:
        """The source's generation as of what was read."""
        return self._reader.generation

    def _resume(self, name: str, set_aside: Callable[[int, list[RawEntry]], None] | None) -> None:
        head, voided = self._head, self._marker.voided
        if head.length != head.position - voided:
            message = f"the mirror has {head.length} entries where {head.position - voided} belong"
            raise MissingEntries(message, self._anew)
        first = self._target.read(0, 0, 1)
        if first != self._source.read(0, 0, 1):
            raise self._differs(1)
        try:
            last = self._same_on_both(head.ms, head.position)
        except GivenUp as error:
            if set_aside is None:
                raise
            last = self._give_up(error.kept, set_aside)
        self._last = last
        generation = decode_entry(last).commit.generation
        anchor = Anchor(last.ms, last.position, last.c)
        self._reader = Continuity.resumed(
            Checkpoint(self._marker.space_id, name, generation, self._marker.voided, anchor)
        )

    def _same_on_both(self, ms: int, position: int) -> RawEntry:
        """The entry of that id, which must be the same on both sides."""
        ours = self._target.read(ms, position - 1, 1)
        if not ours or ours[0][:2] != (ms, position):
            message = f"the mirror has a hole: position {position} is missing"
            raise MissingEntries(message, self._anew, position)
        theirs = self._source.read(ms, position - 1, 1)
        if theirs == ours:
            return ours[0]
        restored = decode_entry(theirs[0]).event if theirs else None
        if isinstance(restored, HistoryRestored):
            if restored.kept < position <= restored.void_through:
                raise self._given_up(restored, position)
        elif not theirs:
            end = self._source.head().position
            message = f"the source ends at position {end}, the mirror at {position}"
            hint = (
                "the source lost entries (a failover, an older backup): run `ipledger doctor` "
                "there; the mirror has what is missing, and is left alone"
            )
            raise HistoryDiverged(message, hint, end)
        raise self._differs(position)

    def _give_up(self, kept: int, set_aside: Callable[[int, list[RawEntry]], None]) -> RawEntry:
        """Set aside what stands behind the last position that the source kept."""
        found = find_entry(self._target, kept)
        if found is None:
            message = f"the mirror has a hole: position {kept} is missing"
            raise MissingEntries(message, self._anew, kept)
        last = self._same_on_both(found.ms, kept)
        aside = list(entries_of(self._target, Anchor(last.ms, last.position, last.c)))
        gone = _voided_by(decode_entry(raw) for raw in aside)
        self._marker = self._marker._replace(voided=self._marker.voided - gone)
        set_aside(kept, aside)
        return last

    def _begins(self) -> SpaceCreated | None:
        """What the source's first entry says."""
        first = self._source.read(0, 0, 1)
        event = decode_entry(first[0]).event if first else None
        if isinstance(event, SpaceCreated) or event is None:
            return event
        message = "the source does not begin with what begins a space"
        raise MissingEntries(message, "run `ipledger doctor` on the source", 1)

    # ------------------------------------------------------------------------------------ copying

    def step(self) -> bool:
        """Copy what comes next, about a page of it; False if the mirror is level with its source.

        Raises:
            IntegrityError: the source is not what it must be; what was sound of it is copied.
            LedgerError: as `attach`, or the target refuses.
        """
        if not self._attached:
            self.attach()
        self._attached = False  # unless this ends well
        try:
            goes_on = self._step()
        except _Moved:
            self.attach()  # if another mirror was faster, we go on from what it wrote
            goes_on = True
        self._attached = True
        return goes_on

    def _step(self) -> bool:
        self._seen = head = self._source.head()
        page = self._next_page()
        trouble: IntegrityError | None = None
        for raw in page:
            try:
                self._pending.append(_Read(raw, self._reader.admit(raw)))
            except IntegrityError as error:
                trouble = error
                break
        for batch in _batches(self._pending, self._marker.voided):
            self._write(batch)
            del self._pending[: len(batch.entries)]
        if trouble is not None:
            raise trouble
        if not page:
            self._reader.end(head)  # by the length, also a hole far behind us is found
            self._mark_level()
        return bool(page)

    def _next_page(self) -> list[RawEntry]:
        """What follows on the entry that was read last, which must still stand there.

        A source that was replaced or failed over, however briefly it was away, is noticed here.
        """
        if self._last is None:
            page = self._source.read(0, 0, self._entries_max)
        else:
            ms, position = self._last[:2]
            page = self._source.read(ms, position - 1, self._entries_max + 1)
            if page[:1] != [self._last]:
                raise _Moved
            del page[0]
        if page:
            self._last = page[-1]
        return page

    def _write(self, batch: _Batch) -> None:
        self._copy(self._marker._replace(voided=batch.voided), batch.entries)
        after, last = self._written, batch.entries[-1]
        found = self._target.read(after.ms, after.position, len(batch.entries))
        if found != batch.entries:
            raise self._differs(_first_difference(batch.entries, found))
        self._written = Anchor(last.ms, last.position, last.c)
        self._head = Head(last.ms, last.position, last.position - batch.voided)
        self.copied += len(batch.entries)

    def _mark_level(self) -> None:
        """Note now and then that nothing was left to copy; nothing may be missing on the mirror."""
        if self._target.head() != self._head:
            raise _Moved
        now_ms = self._now_ms()
        if self.copied != self._copied_when_level or now_ms >= self._next_mark_ms:
            self._copy(self._marker._replace(level_at_ms=now_ms), ())
            self._copied_when_level = self.copied
            self._next_mark_ms = now_ms + MARK_EVERY_MS

    def _copy(self, marker: Marker, entries: Sequence[RawEntry]) -> None:
        status = self._target.copy(self._written, self._head, marker, entries)
        if status == "moved":
            raise _Moved
        if status == "occupied":
            raise self._occupied()
        if status != "ok":
            message = f"the mirror on {self._ends.target} changed meanwhile ({status})"
            raise IntegrityError(message, self._anew)
        self._marker = marker

    # ------------------------------------------------------------------------------------- errors

    def _occupied(self) -> Refused:
        message = f"{self._ends.target} has a space {self._space} of its own; nothing was touched"
        hint = "mirror to a server or a database where that name is free"
        return Refused(Refusal("exists", message, hint, "to"))

    def _other_space(self, event: SpaceCreated, marker: Marker) -> SpaceReplaced:
        message = (
            f"the mirror is of another space {self._space}: {marker.space_id.hex()}, and the "
            f"source has {event.space_id.hex()}"
        )
        return SpaceReplaced(message, self._anew, 1)

    def _given_up(self, event: HistoryRestored, position: int) -> GivenUp:
        message = (
            f"the source kept positions up to {event.kept} and gave up those up to "
            f"{event.void_through}; the mirror still has them, up to {position}"
        )
        hint = "run it with --accept-rollback: they are saved to a file and removed from the mirror"
        return GivenUp(message, hint, event.kept)

    def _differs(self, position: int) -> HistoryDiverged:
        message = f"the mirror is not what its source is at position {position}"
        return HistoryDiverged(message, self._anew, position)


def _batches(pending: Sequence[_Read], voided: int) -> list[_Batch]:
    """The whole commits of what was read, put together until a batch is large enough."""
    batches: list[_Batch] = []
    entries: list[RawEntry] = []
    size, whole, whole_voided = 0, 0, voided
    for raw, record in pending:
        entries.append(raw)
        size += sum(map(len, raw[2:]))
        if isinstance(record.event, HistoryRestored):
            voided += record.event.void_through - record.event.kept
        if record.commit.ends_here:
            whole, whole_voided = len(entries), voided
            if whole >= BATCH_ENTRIES or size >= BATCH_BYTES:
                batches.append(_Batch(entries, voided))
                entries, size, whole = [], 0, 0
    if whole:
        batches.append(_Batch(entries[:whole], whole_voided))
    return batches


def _voided_by(records: Iterator[Record]) -> int:
    """How many positions the restorations among some records void."""
    events = (record.event for record in records)
    return sum(e.void_through - e.kept for e in events if isinstance(e, HistoryRestored))


def _first_difference(wanted: Sequence[RawEntry], found: Sequence[RawEntry]) -> int:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(wanted, found, strict=False))
    return wanted[min(len(list(same)), len(wanted) - 1)].position
