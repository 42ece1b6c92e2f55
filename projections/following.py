"""Following a stream in whole commits, whatever becomes of its server.

One loop for everybody who reads on: the runner of views, consumers of either kind, `follow`.
Each read begins with the entry that was read last, in the same request. So a stream that is
another one than before (a fail-over that lost entries, a restored backup, another space) is
noticed before anything of it is handed on, also if nobody noticed that the server was away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeVar

from engine.entry import Anchor, RawEntry, Record
from engine.errors import HistoryDiverged, IntegrityError, Unavailable
from engine.events import HistoryRestored
from engine.reading import Checkpoint, Continuity
from engine.stream import PAGE_ENTRIES, Head, Stream
from projections.starting import estranged

# How long a read may wait for something new: well under the socket's timeout of 5 s, and as long
# as who wants to stop may have to wait.
BLOCK_MS: Final = 1_000
# Between two attempts to reach a server that is away: doubled each time.
AWAY_S_LEAST: Final = 0.1
AWAY_S_MAX: Final = 5.0
LAGS_HINT: Final = "it lags: try again in a moment, or use the primary's URL"

Result = TypeVar("Result")


class Whole(NamedTuple):
    """One commit, and the checkpoint behind it."""

    records: list[Record]
    entries: list[RawEntry]
    checkpoint: Checkpoint


class Page(NamedTuple):
    """Whole commits as they were read at once; none says that the end is reached.

    ``records`` and ``entries`` are the same events, decoded and as stored. ``checkpoint`` is
    where the page ends (None in a space that does not exist yet), ``voided_before`` how many
    positions were void where it begins, ``head`` where the stream ended a moment before.
    """

    records: list[Record]
    entries: list[RawEntry]
    voided_before: int
    checkpoint: Checkpoint | None
    head: Head

    def commits(self) -> Iterator[Whole]:
        """Its commits, one at a time, each with a checkpoint of its own."""
        begin, voided = 0, self.voided_before
        for at, record in enumerate(self.records):
            event = record.event
            if isinstance(event, HistoryRestored):
                voided += event.void_through - event.kept
            if record.commit.ends_here:
                assert self.checkpoint is not None, "who has read something knows the space"
                raw = self.entries[at]
                checkpoint = self.checkpoint._replace(
                    generation=record.commit.generation,
                    voided=voided,
                    anchor=Anchor(raw.ms, raw.position, raw.c),
                )
                yield Whole(self.records[begin : at + 1], self.entries[begin : at + 1], checkpoint)
                begin = at + 1


class Lag(NamedTuple):
    """How far a reader is behind: positions, and seconds between its last commit and the end."""

    positions: int
    seconds: float


def lag_of(checkpoint: Checkpoint | None, head: Head) -> Lag:
    """The lag of a reader at a checkpoint; of one that has read nothing, all there is."""
    if checkpoint is None:
        return Lag(head.position, 0.0)
    positions = max(head.position - checkpoint.position, 0)
    late_ms = max(head.ms - checkpoint.anchor.ms, 0) if positions else 0
    return Lag(positions, late_ms / 1_000)


def lagging(end: int, read: int) -> Unavailable:
    """The named error for a replica or mirror that is shorter than what was seen: it is late."""
    message = f"this copy of the stream ends at position {end}, and position {read} was seen before"
    return Unavailable(message, LAGS_HINT)


class Following:
    """A reader of one stream, behind a continuity. Not to be shared between threads."""

    def __init__(
        self,
        stream: Stream,
        continuity: Continuity,
        *,
        lags: Callable[[], bool] = lambda: False,
        pause: Callable[[float], object] = time.sleep,
        is_stopped: Callable[[], bool] = lambda: False,
        on_away: Callable[[Unavailable | None], None] = lambda _error: None,
        block_ms: int = BLOCK_MS,
        entries_max: int = PAGE_ENTRIES,
    ) -> None:
        """Read `stream` behind `continuity`.

        Args:
            stream: what to read.
            continuity: what was read of it, as `projections.starting.begin` makes it.
            lags: asked when the stream is shorter than what was read: whether this is a replica or
                a mirror, which merely is late and is waited for.
            pause: waits some seconds; it may return early when somebody wants to stop.
            is_stopped: whether somebody does.
            on_away: told once that the server is away, and why; and with None that it is back.
            block_ms: how long to wait for something new at a time.
            entries_max: how many entries to read at a time.
        """
        self.stream = stream
        self.continuity = continuity
        self._lags = lags
        self._pause = pause
        self._is_stopped = is_stopped
        self._on_away = on_away
        self._block_ms = block_ms
        self._entries_max = entries_max
        self._records: list[Record] = []  # of a commit whose end was not read yet
        self._entries: list[RawEntry] = []
        self._checkpoint = continuity.checkpoint() if continuity.space is not None else None
        self._voided = continuity.voided
        self._away_s = 0.0

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Behind the last commit that was handed on; None before there is a space."""
        return self._checkpoint

    def follow(self, *, until_end: bool = False) -> Iterator[Page]:
        """Yield page after page; at the end of the stream an empty one, and wait for more.

        An empty page comes at least once in `block_ms` while nothing is written.

        Raises:
            IntegrityError: the stream is not what it must be, or not what it was. What was whole
                before that place has been handed on.
            Unavailable: it cannot be read; only with `until_end`, otherwise that is waited for.
        """
        while not self._is_stopped():
            try:
                for page in self.read():
                    self._is_back()
                    yield page
                if until_end:
                    return
                if not self._is_stopped():
                    anchor = self.continuity.anchor
                    self.stream.wait(anchor.ms, anchor.position, self._block_ms)
            except Unavailable as error:
                if until_end:
                    raise
                self._wait_out(error)

    def read(self) -> Iterator[Page]:
        """Yield what there is up to the end, then an empty page.

        After any error of the connection it may be called again: nothing is lost or comes twice.

        Raises:
            IntegrityError: as `follow`.
            Unavailable: the stream cannot be read, or is a copy that lags.
        """
        head = self.stream.head()
        while True:
            entries = self._entries_behind(self.continuity.anchor, head)
            fault = self._admit(entries)
            page = self._cut(head)
            if page.records:
                yield page
            if fault is not None:
                raise fault
            at_end = self.continuity.anchor.position >= head.position
            if not entries or (self.continuity.at_commit_end and at_end):
                break
        try:
            self.continuity.end(head)
        except HistoryDiverged as error:  # all was read, and another time there was more
            if self._lags():
                raise Unavailable(error.message, LAGS_HINT) from error
            raise
        yield Page([], [], self._voided, self._checkpoint, head)

    def insist(self, ask: Callable[[], Result]) -> Result:
        """What `ask` returns, asked until the server answers.

        Raises:
            Unavailable: it does not, and somebody wants to stop.
        """
        while True:
            try:
                result = ask()
            except Unavailable as error:
                if self._is_stopped():
                    raise
                self._wait_out(error)
            else:
                self._is_back()
                return result

    def _entries_behind(self, anchor: Anchor, head: Head) -> list[RawEntry]:
        """The next entries, if what is in front of them is what was read last."""
        if anchor.position == 0:
            return self.stream.read(0, 0, self._entries_max)
        found = self.stream.read(anchor.ms, anchor.position - 1, self._entries_max + 1)
        if found and (found[0].ms, found[0].position, found[0].c) == anchor:
            return found[1:]
        if head.position < anchor.position and self._lags():
            raise lagging(head.position, anchor.position)
        space = self.continuity.space
        assert space is not None, "who has read something knows the space"
        raise estranged(
            self.stream,
            Checkpoint(
                space.space_id, space.name, self.continuity.generation, self.continuity.voided,
                anchor,
            ),
        )  # fmt: skip

    def _admit(self, entries: list[RawEntry]) -> IntegrityError | None:
        """Take entries as far as they are right; the error of the first that is not."""
        for raw in entries:
            try:
                record = self.continuity.admit(raw)
            except IntegrityError as error:
                return error
            self._records.append(record)
            self._entries.append(raw)
        return None

    def _cut(self, head: Head) -> Page:
        """Take the whole commits out of what was admitted."""
        records, entries = self._records, self._entries
        voided_before = self._voided
        whole = len(records)
        while whole and not records[whole - 1].commit.ends_here:
            whole -= 1
        if whole:
            if self.continuity.voided != self._voided:
                self._voided += sum(
                    record.event.void_through - record.event.kept
                    for record in records[:whole]
                    if isinstance(record.event, HistoryRestored)
                )
            space, raw = self.continuity.space, entries[whole - 1]
            assert space is not None, "who has read something knows the space"
            self._checkpoint = Checkpoint(
                space.space_id, space.name, records[whole - 1].commit.generation,
                self._voided, Anchor(raw.ms, raw.position, raw.c),
            )  # fmt: skip
        self._records, self._entries = records[whole:], entries[whole:]
        return Page(records[:whole], entries[:whole], voided_before, self._checkpoint, head)

    def _wait_out(self, error: Unavailable) -> None:
        if not self._away_s:
            self._on_away(error)
        self._away_s = min(max(self._away_s * 2, AWAY_S_LEAST), AWAY_S_MAX)
        self._pause(self._away_s)

    def _is_back(self) -> None:
        if self._away_s:
            self._away_s = 0.0
            self._on_away(None)
