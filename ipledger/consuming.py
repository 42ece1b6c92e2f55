"""What every consumer does: follow, choose, hand on commit by commit, keep its cursor.

It knows no server and no event loop: `ipledger.Consumer` and `ipledger.AsyncConsumer` give it a
stream, a cursor, and ways to wait and to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeVar

from engine import events as ev
from engine.addresses import Address, format_address
from engine.entry import Anchor, RawEntry, Record
from engine.errors import HistoryDiverged, InvalidInput, Unavailable
from engine.reading import Checkpoint, Continuity, HighWater
from engine.stream import PAGE_ENTRIES, Head, Stream
from ipledger.clock import SYSTEM_CLOCK, Clock
from ipledger.cursors import Cursor, cursor_text, read_cursor
from ipledger.selection import Known, Selection
from ipledger.times import parse_point
from projections.following import BLOCK_MS, Following, Lag, Whole, lag_of, lagging
from projections.starting import NOW, AtPosition, AtTime, Start, begin

HEARTBEAT_S: Final = 5.0  # a consumer that was not heard of for several of these is not running
_AHEAD_MS_MAX: Final = 300_000  # as much as the clocks of server and writer may differ


Result = TypeVar("Result")


class Memory(Protocol):
    """What this machine remembers of the space: `ipledger.high_water.HighWaterFile`."""

    def load(self) -> HighWater | None:
        """What is remembered."""

    def advance(self, space_id: bytes, generation: int, anchor: Anchor) -> HighWater:
        """Remember an entry."""


class StreamEvent(NamedTuple):
    """One event as a consumer is given it.

    ``record`` is all of it, decoded; ``raw`` the bytes as the stream stores them. ``pool`` is the
    name of the pool that it is about, or None. An event of an informational type that this release
    does not know has the type ``Informational``: its code, version and fields are in
    ``record.event``, its bytes in ``raw.e``.
    """

    record: Record
    raw: RawEntry
    space: str
    pool: str | None

    @property
    def type(self) -> str:
        """The name of its type: ``LeaseGranted``."""
        return type(self.record.event).__name__

    @property
    def position(self) -> int:
        """Its position in the stream: the same whenever and to whomever it is delivered."""
        return self.record.position

    @property
    def at_ms(self) -> int:
        """When it was recorded, in milliseconds since the epoch."""
        return self.record.ms

    @property
    def lease(self) -> int | None:
        """The lease that it is about, or None."""
        event = self.record.event
        if isinstance(event, ev.LeaseGranted):
            return self.record.position
        return event.lease if isinstance(event, _BEHIND_A_GRANT) else None

    @property
    def address(self) -> str | None:
        """The address of its lease, or None."""
        event = self.record.event
        if isinstance(event, (ev.LeaseGranted, *_BEHIND_A_GRANT)):
            return format_address(Address(event.address))
        return None

    @property
    def interface(self) -> str | None:
        """The interface of its lease, or None."""
        event = self.record.event
        if isinstance(event, (ev.LeaseGranted, *_BEHIND_A_GRANT)):
            return event.interface
        return None

    @property
    def owner(self) -> str | None:
        """The owner of the lease or reservation that it is about, or None."""
        return self.record.sealed.owner

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the lease, pool or reservation that it is about."""
        return dict(self.record.sealed.labels)

    def as_json(self) -> dict[str, object]:
        """What `ipledger follow` prints of it: docs/schemas/follow.schema.json."""
        from ipledger.event_views import event_view

        return event_view(self.record, self.space)


_BEHIND_A_GRANT: Final = (
    ev.LeaseRenewed, ev.LeaseEnded, ev.ConflictReported, ev.LeaseObserved,
)  # fmt: skip


class Delivery(NamedTuple):
    """The wanted events of one commit; none in a heartbeat.

    ``checkpoint`` is behind that commit, and so behind everything that was not wanted before it.
    """

    events: tuple[StreamEvent, ...]
    checkpoint: Checkpoint

    @property
    def position(self) -> int:
        """Where the commit ends: everything up to here has been delivered, or was not wanted."""
        return self.checkpoint.position

    @property
    def cursor(self) -> str:
        """The cursor behind it, for who keeps it together with what it made of the events."""
        return cursor_text(self.checkpoint)


def read_start(start: int | str, now_ms: int) -> Start:
    """Where to begin: a position, a time, ``now``, or the text of a cursor.

    Raises:
        InvalidInput: it is none of them, or a time that has not come yet.
    """
    if isinstance(start, int):
        return AtPosition(start)
    if start == "now":
        return NOW
    if start.lstrip().startswith("{"):
        return read_cursor(start)
    position, ms = parse_point(start, now_ms)
    if ms is None:
        assert position is not None, "a point is one of the two"
        return AtPosition(position)
    if ms > now_ms + _AHEAD_MS_MAX:
        message = f"the time {start[:60]!r} has not come yet"
        raise InvalidInput(message, "`now` waits for the next event")
    return AtTime(ms)


def _begin(
    stream: Stream, start: Start, remembered: HighWater | None, lags: Callable[[], bool]
) -> Continuity:
    """Begin at a place; one beyond the end of a replica is not there yet.

    Raises:
        Unavailable: the replica lags.
    """
    try:
        return begin(stream, start, remembered)
    except HistoryDiverged as error:
        head = stream.head()
        if isinstance(start, Checkpoint) and head.position < start.position and lags():
            raise lagging(head.position, start.position) from error
        raise


class Consuming:
    """A consumer of one stream. Not to be shared between threads, but for `lag`."""

    def __init__(
        self,
        stream: Stream,
        space: str,
        selection: Selection,
        start: Start,
        *,
        cursor: Cursor | None = None,
        memory: Memory | None = None,
        heartbeats: bool = False,
        save_every_s: float = 1.0,
        lags: Callable[[], bool] = lambda: False,
        pause: Callable[[float], object] | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
        on_away: Callable[[Unavailable | None], None] = lambda _error: None,
        block_ms: int = BLOCK_MS,
        entries_max: int = PAGE_ENTRIES,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Find the place to begin at: where the cursor stands, or else at `start`.

        Raises:
            InvalidInput: `start` is no place in the stream.
            IntegrityError: the stream is not what it must be, or not what the cursor has seen.
            Refused: ``conflict``: the cursor is somebody else's.
            Unavailable: the stream cannot be read, or the cursor not be kept.
        """
        saved = None if cursor is None else cursor.load()
        self.resumed_at = None if saved is None else read_cursor(saved)
        where = self.resumed_at or start
        remembered = memory.load() if memory else None
        continuity = _begin(stream, where, remembered, lags)
        self._following = Following(
            stream, continuity, lags=lags, pause=pause or clock.sleep_s, is_stopped=is_stopped,
            on_away=on_away, block_ms=block_ms, entries_max=entries_max,
        )  # fmt: skip
        self._space = space
        self._selection = selection
        self._begin_ms = where.ms if isinstance(where, AtTime) else 0
        self._known = Known(stream, clusters=bool(selection.clusters))
        self._cursor = cursor
        self._memory = memory
        self._heartbeats = heartbeats
        self._save_every_s = save_every_s
        self._is_stopped = is_stopped
        self._clock = clock
        self._head = Head(0, 0, 0)
        self._delivered = self._handled = self._following.checkpoint
        self._saved: Checkpoint | None = None
        self._saved_at_s = 0.0
        self.save()  # from now on the name is this consumer's

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Behind what has been handled; None while the space does not exist."""
        return self._handled

    @property
    def lag(self) -> Lag:
        """How far what has been handled is behind the stream's end, as of the last read."""
        return lag_of(self._handled, self._head)

    def deliveries(self, *, until_end: bool = False) -> Iterator[Delivery]:
        """Yield commit after commit. What was yielded is handled when the next is asked for.

        Raises:
            IntegrityError: the stream is not what it must be, or not what it was.
            Refused: ``conflict``: somebody else consumes under this name now.
            Unavailable: the server is away; only with `until_end`, otherwise it is waited for.
        """
        patient = not until_end
        for page in self._following.follow(until_end=until_end):
            self._head = page.head
            for whole in page.commits():
                events = self._ask(partial(self._wanted, whole), patient=patient)
                self._delivered = whole.checkpoint
                if events:
                    yield Delivery(events, whole.checkpoint)
                self._handled = self._delivered
                self._save_if_due(patient=patient)
                if self._is_stopped():
                    return
            if not page.records:
                if self._heartbeats and page.checkpoint is not None:
                    yield Delivery((), page.checkpoint)
                self._save_if_due(patient=patient)
        self.save()

    def commit(self) -> None:
        """What was delivered last is handled, too; and save the cursor now.

        Raises:
            Refused: ``conflict``: somebody else consumes under this name now.
            Unavailable: it cannot be kept now.
        """
        self._handled = self._delivered
        self.save()

    def save(self) -> None:
        """Save the cursor behind what has been handled, and remember that it was seen.

        Raises:
            Refused: ``conflict``: somebody else consumes under this name now.
            Unavailable: it cannot be kept now.
        """
        handled = self._handled
        if handled is None:
            return
        if self._memory is not None and handled != self._saved:
            self._memory.advance(handled.space_id, handled.generation, handled.anchor)
        if self._cursor is not None:
            self._cursor.save(cursor_text(handled))
        self._saved = handled
        self._saved_at_s = self._clock.monotonic_s()

    def _save_if_due(self, *, patient: bool) -> None:
        waited_s = self._clock.monotonic_s() - self._saved_at_s
        moved = self._handled != self._saved
        if waited_s >= (self._save_every_s if moved else HEARTBEAT_S):
            self._ask(self.save, patient=patient)

    def _ask(self, function: Callable[[], Result], *, patient: bool) -> Result:
        return self._following.insist(function) if patient else function()

    def _wanted(self, whole: Whole) -> tuple[StreamEvent, ...]:
        if whole.records[0].ms < self._begin_ms:
            return ()
        known, wants = self._known, self._selection.wants
        found: list[StreamEvent] = []
        for record, raw in zip(whole.records, whole.entries, strict=True):
            known.note(record)
            if wants(record, known):
                found.append(StreamEvent(record, raw, self._space, known.pool_of(record)))
        return tuple(found)
