"""From the stream to an up-to-date history: go on behind the checkpoint, or build it anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.errors import HistoryDiverged, SpaceReplaced
from engine.reading import Checkpoint, Continuity, HighWater, read_commits, resume
from engine.stream import Stream
from projections.collector import seldom_collecting
from replay.history.store import HistoryView

# A save costs about as much as folding some thousand events; readers see what was saved.
_SAVE_EVERY: Final = 20_000


@seldom_collecting()
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
    checkpoint = view.load()
    continuity = Continuity(remembered)
    if checkpoint is not None:
        try:
            continuity = resume(stream, checkpoint, remembered)
        except (HistoryDiverged, SpaceReplaced) as error:
            # If it is the stream that is wrong, reading it from its beginning will tell.
            view.discard(f"is of another history ({error.message})")
            checkpoint, continuity = None, Continuity(remembered)
    if view.notice is not None and on_rebuild is not None:
        on_rebuild(view.notice)
    if on_progress is not None:
        on_progress(continuity.anchor.position)
    unsaved = 0
    for records in read_commits(stream, continuity):
        view.apply_all(records)
        unsaved += len(records)
        # A page may end within a commit, whose other half is then still to be read.
        if unsaved >= _SAVE_EVERY and continuity.at_commit_end:
            view.save(continuity.checkpoint())
            unsaved = 0
        if on_progress is not None:
            on_progress(continuity.anchor.position)
    if unsaved:
        view.save(continuity.checkpoint())
    if continuity.anchor.position == 0:
        return None
    view.settle()
    return continuity.checkpoint()
