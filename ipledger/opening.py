"""How a ledger comes by the state of its stream: from the view kept here, or from the beginning.

A stream that is short is always read whole, so that whatever was done to it is noticed. For a long
one the view is taken up where it stands, if the stream still has the entry that it was made of, and
every entry that this machine remembers; its length is checked as ever (ADR 0012).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.bulk import read_rows
from engine.errors import IntegrityError, ViewDamaged
from engine.reading import Continuity, HighWater, resume
from engine.stream import Stream
from ipledger import log
from projections.collector import seldom_collecting
from projections.state import LedgerState
from projections.state_view import StateView

# A stream up to here takes about as long to read as a program takes to start.
KEEP_FROM: Final = 2_000
# So many events behind, a view is kept anew: as often as that pays.
KEEP_EVERY: Final = 1_000

Progress = Callable[[int, int], None]  # told the position that was reached, and the last one
Opened = tuple[Continuity, LedgerState]


class Opener:
    """Reads a stream to its end."""

    def __init__(
        self,
        stream: Stream,
        remembered: HighWater | None,
        view: StateView | None = None,
        *,
        stays: bool = True,
        on_progress: Progress | None = None,
    ) -> None:
        """Read `stream`, starting from `view` if it is of use.

        Args:
            stream: the events.
            remembered: what this machine has seen of it.
            view: where the state is kept between processes.
            stays: the process stays, and asks for much: the view is read whole, at once.
            on_progress: told how far it is, page by page.
        """
        self._stream = stream
        self._remembered = remembered
        self._view = view
        self._stays = stays
        self._on_progress = on_progress

    def open(self) -> Opened:
        """The state at the stream's end.

        Raises:
            IntegrityError: the stream is not what it must be, or not what was seen before.
            Unavailable: it cannot be read.
        """
        return self._from_view() or self.anew()

    @seldom_collecting()
    def anew(self) -> Opened:
        """The state at the stream's end, folded from its beginning; as `open`."""
        continuity, state = Continuity(self._remembered), LedgerState()
        if self._view is not None:
            self._view.forget()
            state = self._view.state
        self._fold(continuity, state)
        if self._view is not None and state.position >= KEEP_FROM:
            self._view.save(continuity.checkpoint())
        return continuity, state

    def _from_view(self) -> Opened | None:
        checkpoint = None if self._view is None else self._view.load()
        if self._view is None or checkpoint is None:
            return None
        state = self._view.state
        try:
            continuity = resume(self._stream, checkpoint, self._remembered)
            self._fold(continuity, state)
            if state.position - checkpoint.position >= KEEP_EVERY:
                self._view.save(continuity.checkpoint())
            if self._stays:
                self._view.read_all()
        except (IntegrityError, ViewDamaged) as error:
            # Of the stream or of the view: reading everything tells, and replaces the view.
            log.info("the local view is of no use", why=error.message)
            return None
        return continuity, state

    def _fold(self, continuity: Continuity, state: LedgerState) -> None:
        end = 0 if self._on_progress is None else self._stream.head().position
        for items in read_rows(self._stream, continuity):
            state.apply_rows(items)
            if self._on_progress is not None:
                self._on_progress(state.position, max(end, state.position))
