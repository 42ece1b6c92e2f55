"""From the stream to an up-to-date history: go on behind the checkpoint, or build it anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.reading import Checkpoint, HighWater
from engine.stream import Stream
from projections.runner import Runner
from replay.history.store import HistoryView

# A save costs about as much as folding some thousand events, and nobody waits for it in between.
_SAVE_EVENTS: Final = 20_000
_SAVE_MS: Final = 600_000


def catch_up(
    view: HistoryView,
    stream: Stream,
    remembered: HighWater | None = None,
    *,
    on_progress: Callable[[int], None] | None = None,
    on_rebuild: Callable[[str], None] | None = None,
) -> Checkpoint | None:
    """Bring a history to the stream's end; None if the stream has no event.

    Args:
        view: the history; it is opened here.
        stream: what it is a view of.
        remembered: what this client has seen of the space.
        on_progress: told the position, where it begins and page by page.
        on_rebuild: told why what is there cannot be gone on from.

    Raises:
        IntegrityError: the stream is not what it must be.
        NewerHistory: a later release has written the file.
        Unavailable: the stream cannot be read, or the file not be written.
    """
    told = on_progress or (lambda _position: None)
    runner = Runner(
        stream,
        view,
        remembered=remembered,
        rebuilds=True,
        save_events=_SAVE_EVENTS,
        save_ms=_SAVE_MS,
        on_progress=lambda progress: told(progress.position),
    )
    if view.notice is not None and on_rebuild is not None:
        on_rebuild(view.notice)
    told(runner.progress.position)
    if not runner.catch_up().position:
        return None
    view.settle()
    return runner.checkpoint
