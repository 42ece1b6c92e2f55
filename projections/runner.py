"""The runner: keeps a view up to date with its stream, and saves both together.

A view is saved with its checkpoint every so many events or milliseconds and whenever the end of
the stream is reached, never in the middle of a commit. Killed at any moment, the next runner goes
on from what was saved last; what was folded behind it is folded again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from engine.errors import (
    HistoryDiverged,
    IntegrityError,
    SpaceReplaced,
    Unavailable,
    ViewDamaged,
)
from engine.reading import Checkpoint, Continuity, HighWater
from engine.stream import Head, Stream
from projections.collector import seldom_collecting
from projections.following import Following, Lag, Page, lag_of
from projections.starting import begin
from projections.view import View

# A save of the history view costs about as much as folding some thousand events, and a second is
# what a reader of the view would not notice.
SAVE_EVENTS: Final = 10_000
SAVE_MS: Final = 1_000


class PoisonedView(IntegrityError):
    """A view cannot fold what the stream says; nothing of that commit was saved.

    ``view`` is its name, ``position`` where it stopped.
    """

    def __init__(self, view: str, error: Exception, first: int, last: int) -> None:
        at = error.position if isinstance(error, IntegrityError) else None
        where = f"position {at}" if at else f"positions {first} to {last}"
        reason = str(error) if at else f"{type(error).__name__}: {error}"
        super().__init__(
            f"the view {view} stopped at {where}: {reason}",
            "`ipledger audit` tells what is wrong with the events; if it finds nothing, "
            "this is a bug of the view",
            at or first,
        )
        self.view = view


class Progress(NamedTuple):
    """How far a view has come. ``lag`` is by the stream's own figures, ``events`` of this run."""

    view: str
    schema_version: int
    position: int
    head_position: int
    events: int
    lag: Lag


class Runner:
    """One view and the stream that it is made of. Not to be shared between threads."""

    def __init__(
        self,
        stream: Stream,
        view: View,
        *,
        remembered: HighWater | None = None,
        rebuilds: bool = False,
        save_events: int = SAVE_EVENTS,
        save_ms: int = SAVE_MS,
        on_progress: Callable[[Progress], None] = lambda _progress: None,
        on_away: Callable[[Unavailable | None], None] = lambda _error: None,
        pause: Callable[[float], object] = time.sleep,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Load the view, and find where it stands in the stream.

        Args:
            stream: what it is made of.
            view: what to keep; one that loads as none is built from the beginning.
            remembered: what this machine has seen of the space.
            rebuilds: a view of another history is discarded and built anew. If it is the stream
                that is wrong, reading it from its beginning will tell.
            save_events: save at the latest after so many events,
            save_ms: or so many milliseconds.
            on_progress: told after each page, and at the end.
            on_away: told that the server is away, and with None that it is back.
            pause: waits some seconds; it may return early.
            is_stopped: whether somebody wants to stop.

        Raises:
            SpaceReplaced: the view is of another space; unless it `rebuilds`.
            HistoryDiverged: what the view was made of is not in the stream any more; as above.
            Unavailable: the stream cannot be read.
        """
        self.view = view
        self._save_events = save_events
        self._save_s = save_ms / 1_000
        self._on_progress = on_progress
        checkpoint, continuity = view.load(), Continuity(remembered)
        if checkpoint is not None:
            try:
                continuity = begin(stream, checkpoint, remembered)
            except (HistoryDiverged, SpaceReplaced) as error:
                if not rebuilds:
                    raise
                view.discard(f"is of another history ({error.message})")
                checkpoint = None
        self._following = Following(
            stream, continuity, pause=pause, is_stopped=is_stopped, on_away=on_away
        )
        self._is_stopped = is_stopped
        self._folded: Checkpoint | None = checkpoint
        self._saved: Checkpoint | None = checkpoint
        self._head = Head(0, 0, 0)
        self._events = 0
        self._unsaved = 0
        self._saved_at_s = time.monotonic()
        self._poisoned = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Save what was folded, unless it is not to be saved, and close the view."""
        try:
            self.save()
        finally:
            self.view.close()

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Where the view stands, saved or not; None if it has folded nothing."""
        return self._folded

    @property
    def progress(self) -> Progress:
        """How far the view has come, as of the last read."""
        view, folded = self.view, self._folded
        position = 0 if folded is None else folded.position
        lag = lag_of(folded, self._head)
        return Progress(
            view.name, view.schema_version, position, self._head.position, self._events, lag
        )  # fmt: skip

    def catch_up(self) -> Progress:
        """Fold what there is up to the stream's end, and save.

        Raises:
            PoisonedView: the view cannot fold it; what was saved before stands.
            IntegrityError: the stream is not what it must be; what was right before is saved.
            Unavailable: the stream cannot be read, or the view not be written.
        """
        with seldom_collecting():
            self._run(until_end=True)
        return self.progress

    def follow(self) -> Progress:
        """Catch up and go on until somebody wants to stop; a server that is away is waited for.

        Raises:
            PoisonedView: the view cannot fold what came.
            IntegrityError: the stream is not what it must be, or not what it was before.
            Unavailable: the view cannot be written.
        """
        self._run(until_end=False)
        return self.progress

    def save(self) -> None:
        """Save what was folded with its checkpoint, if anything was and it may be.

        Raises:
            Unavailable: it cannot be written.
        """
        if self._poisoned or self._folded is None or self._folded == self._saved:
            return
        self.view.save(self._folded)
        self._saved = self._folded
        self._unsaved = 0
        self._saved_at_s = time.monotonic()

    def _run(self, *, until_end: bool) -> None:
        try:
            for page in self._following.follow(until_end=until_end):
                self._take(page)
                if self._is_stopped():
                    break
        except IntegrityError:
            self.save()  # whole commits that came before what is wrong
            raise
        self.save()

    def _take(self, page: Page) -> None:
        self._head = page.head
        if page.records:
            self._fold(page)
        waited_s = time.monotonic() - self._saved_at_s
        at_end = not page.records
        if at_end or self._unsaved >= self._save_events or waited_s >= self._save_s:
            self.save()
        self._on_progress(self.progress)

    def _fold(self, page: Page) -> None:
        records = page.records
        self._poisoned = True  # until all of it is folded, only what was saved is right
        try:
            self.view.apply_all(records)
        except (Unavailable, ViewDamaged):
            raise
        except Exception as error:
            name = self.view.name
            raise PoisonedView(name, error, records[0].position, records[-1].position) from error
        self._poisoned = False
        self._folded = page.checkpoint
        self._events += len(records)
        self._unsaved += len(records)


def build(
    stream: Stream,
    view: View,
    *,
    remembered: HighWater | None = None,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> Progress:
    """Bring a view up to the stream's end, such as a fresh one beside the one that is in use.

    Which file that is, and the switch from one to the other, are the view's business.

    Raises:
        PoisonedView: the view cannot fold it.
        IntegrityError: the stream is not what it must be.
        Unavailable: the stream cannot be read, or the view not be written.
    """
    return Runner(stream, view, remembered=remembered, on_progress=on_progress).catch_up()
