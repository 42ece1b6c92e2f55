"""Where a reader begins: at a position, at a time, now, or behind what it has read before.

Nothing before that place is read: the entry in front of it is looked up by halving the time
(`engine.reading.find_entry`), and so are the restorations that say how many positions before it
are void. What comes behind it is then checked as if everything had been read.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.entry import Anchor, RawEntry, Record
from engine.errors import (
    HistoryDiverged,
    IntegrityError,
    InvalidInput,
    MissingEntries,
    SpaceReplaced,
)
from engine.events import HistoryRestored, SpaceCreated
from engine.reading import Checkpoint, Continuity, HighWater, find_entry, resume
from engine.stream import PAGE_ENTRIES, RESTORE_HINT, Head, Stream, not_as_seen
from engine.wire import decode_entry

BEYOND_HINT: Final = "`now` waits for the next event"


class AtPosition(NamedTuple):
    """Begin with the event at a position, which must be the first one of its commit."""

    position: int


class AtTime(NamedTuple):
    """Begin with the first commit of that time, in milliseconds, or later."""

    ms: int


class Now(NamedTuple):
    """Begin with the next commit that is written."""


NOW: Final = Now()
Start = AtPosition | AtTime | Now | Checkpoint


def begin(stream: Stream, start: Start, remembered: HighWater | None = None) -> Continuity:
    """A continuity from which the commits at `start` and behind it come next.

    Raises:
        InvalidInput: the position lies inside a commit (where it begins is named) or beyond the
            end of the stream.
        SpaceReplaced: the stream is another space than the checkpoint's or the remembered one.
        HistoryDiverged: the checkpoint's entry is not there any more, or is void.
        IntegrityError: the stream is not what it must be.
        Unavailable: the stream cannot be read.
    """
    if isinstance(start, Checkpoint):
        try:
            resume(stream, start)
        except (HistoryDiverged, SpaceReplaced) as error:
            raise estranged(stream, start) from error
        return _resumed(start, remembered)
    head = stream.head()
    if isinstance(start, Now):
        return _behind(stream, head.position, remembered)
    if isinstance(start, AtTime):
        found = stream.read_from(start.ms, 1)
        position = found[0].position if found else head.position + 1
    else:
        position = start.position
    if not 1 <= position <= head.position + 1:
        message = f"position {position} is not from 1 to {head.position + 1}"
        raise InvalidInput(message, BEYOND_HINT)
    return _before(stream, head, position, remembered)


def estranged(stream: Stream, checkpoint: Checkpoint) -> IntegrityError:
    """Why the entry at a checkpoint is not in the stream, as the error to raise.

    It is void since a restoration, or the stream is another space, is shorter, or was replaced.
    """
    anchor = checkpoint.anchor
    first = stream.read(0, 0, 1)
    begins = decode_entry(first[0]).event if first else None
    if isinstance(begins, SpaceCreated) and begins.space_id != checkpoint.space_id:
        message = (
            f"space {begins.name} is another one than before: "
            f"{begins.space_id.hex()}, not {checkpoint.space_id.hex()}"
        )
        hint = "what was read is of the other one: begin anew, with a new name or view"
        return SpaceReplaced(message, hint, 1)
    # Ids ascend, so what follows the id of a void entry is the restoration that voided it.
    behind = stream.read(anchor.ms, anchor.position, 1)
    event = decode_entry(behind[0]).event if behind else None
    if isinstance(event, HistoryRestored) and event.kept < anchor.position <= event.void_through:
        message = (
            f"positions {event.kept + 1} to {event.void_through} are void since the restoration "
            f"at position {behind[0].position} (generation {event.generation}), and the reader "
            f"had come to position {anchor.position}"
        )
        hint = (
            f"undo what was made of positions {event.kept + 1} to {anchor.position}, "
            f"or throw it away; then begin anew at position {event.void_through + 1}, or at 1"
        )
        return HistoryDiverged(message, hint, anchor.position)
    last = stream.head().position
    if last < anchor.position:
        message = (
            f"the stream ends at position {last}, "
            f"but the reader had come to position {anchor.position}"
        )
        return HistoryDiverged(message, RESTORE_HINT, last)
    return not_as_seen(anchor.position)


def _resumed(checkpoint: Checkpoint, remembered: HighWater | None) -> Continuity:
    if remembered is not None and remembered.space_id != checkpoint.space_id:
        message = (
            f"space {checkpoint.space} is another one than before: "
            f"{checkpoint.space_id.hex()}, not {remembered.space_id.hex()}"
        )
        hint = f"if that is right, accept it with `ipledger space forget {checkpoint.space}`"
        raise SpaceReplaced(message, hint, 1)
    return Continuity.resumed(checkpoint, remembered)


def _before(stream: Stream, head: Head, position: int, remembered: HighWater | None) -> Continuity:
    """The continuity in front of a position; in front of what follows it, if it is void."""
    if position == head.position + 1:
        return _behind(stream, head.position, remembered)
    raw = find_entry(stream, position) or _restoration_over(stream, position)
    record = decode_entry(raw)
    if record.commit.part:
        first = record.position - record.commit.part
        message = f"position {position} lies inside a commit"
        hint = f"it begins at {first}, and the next one at {first + record.commit.parts}"
        raise InvalidInput(message, hint)
    event = record.event
    kept = event.kept if isinstance(event, HistoryRestored) else record.position - 1
    return _behind(stream, kept, remembered)


def _restoration_over(stream: Stream, position: int) -> RawEntry:
    """The restoration that voided a position.

    Raises:
        MissingEntries: none did: the entry there was deleted.
    """
    for raw in _restorations(stream):
        event = decode_entry(raw).event
        assert isinstance(event, HistoryRestored), "nothing else begins a generation"
        if event.kept < position <= event.void_through:
            return raw
    message = f"the stream has a hole: position {position} is missing"
    raise MissingEntries(message, RESTORE_HINT, position)


def _behind(stream: Stream, position: int, remembered: HighWater | None) -> Continuity:
    """The continuity of a reader that has read up to a position, which is a commit's end."""
    if position == 0:
        return Continuity(remembered)
    first = stream.read(0, 0, 1)
    space = decode_entry(first[0]).event if first else None
    if not isinstance(space, SpaceCreated):
        message = "the stream has a hole: position 1 is missing"
        raise MissingEntries(message, RESTORE_HINT, 1)
    raw = find_entry(stream, position)
    if raw is None:
        message = f"the stream has a hole: position {position} is missing"
        raise MissingEntries(message, RESTORE_HINT, position)
    record = decode_entry(raw)
    if not record.commit.ends_here:
        message = f"the commit at position {position} is not whole"
        raise MissingEntries(message, RESTORE_HINT, position + 1)
    checkpoint = Checkpoint(
        space.space_id, space.name, record.commit.generation, _voided(stream, record),
        Anchor(raw.ms, raw.position, raw.c),
    )  # fmt: skip
    return _resumed(checkpoint, remembered)


def _voided(stream: Stream, record: Record) -> int:
    """How many positions before a record are void."""
    if not record.commit.generation:
        return 0  # nothing was ever restored, as in almost every space
    events = [decode_entry(raw).event for raw in _restorations(stream)]
    return sum(
        event.void_through - event.kept
        for event in events
        if isinstance(event, HistoryRestored) and event.void_through < record.position
    )


def _restorations(stream: Stream) -> list[RawEntry]:
    """All restorations that stand: generations never fall, so halving the time finds each."""
    head = stream.head()
    last = stream.read(head.ms, head.position - 1, 1) if head.position else []
    generations = decode_entry(last[0]).commit.generation if last else 0
    found: list[RawEntry] = []
    generation = 0
    while generation < generations:
        raw = _first_above(stream, generation, head.ms)
        found.append(raw)
        generation = decode_entry(raw).commit.generation
    return found


def _first_above(stream: Stream, generation: int, last_ms: int) -> RawEntry:
    """The first entry of a generation above this one; there is one."""
    low_ms, high_ms = stream.read(0, 0, 1)[0].ms, last_ms
    while low_ms < high_ms:
        middle_ms = (low_ms + high_ms + 1) // 2
        found = stream.read_from(middle_ms, 1)
        if found and decode_entry(found[0]).commit.generation <= generation:
            low_ms = middle_ms
        else:
            high_ms = middle_ms - 1
    page = stream.read_from(low_ms, PAGE_ENTRIES)
    while page:
        for raw in page:
            if decode_entry(raw).commit.generation > generation:
                return raw
        page = stream.read(page[-1].ms, page[-1].position, PAGE_ENTRIES)
    message = f"the stream has lost its generation {generation + 1}"
    raise MissingEntries(message, RESTORE_HINT)
