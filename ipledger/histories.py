"""A space's local history, brought up to date and asked; one that is damaged is built anew."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar

from engine.names import DEFAULT_SPACE, check_name
from engine.reading import Checkpoint
from ipledger.high_water import HighWaterFile
from ipledger.local import HISTORY, view_path
from ipledger.spaces import no_such_space, open_server
from replay.history.catching_up import catch_up
from replay.history.queries import History, NoHistory
from replay.history.store import HistoryView
from replay.history.trouble import DamagedHistory

if TYPE_CHECKING:
    from engine.stream import Stream
    from ipledger.cli.settings import Settings

Answer = TypeVar("Answer")
Progress = Callable[[int], None]
Tell = Callable[[str], None]

_TRIES: Final = 2


def ask(
    settings: Settings,
    query: Callable[[History], Answer],
    *,
    tell: Tell,
    progress: Callable[[int], Progress],
) -> Answer:
    """Bring the local history up to date, and ask it; one that turns out damaged is built anew.

    Args:
        settings: the space, the server and where views are kept.
        query: what is asked; it may be asked twice, and returns values and no iterators.
        tell: told, in words, what takes long or was not as it should be.
        progress: makes what is told how far it has come, from the position of the stream's end.

    Raises:
        Refused: ``not_found``: there is no such space.
        IntegrityError: the stream is not what it must be, or not what was seen before.
        LedgerError: the server cannot be reached, or the local file not be used.
    """
    from ipledger import servers

    space = check_name(settings.space, "space")
    server, endpoint = open_server(settings, tell)
    with closing(server):
        stream = servers.open_stream(server, space)
        memory = HighWaterFile(settings.states, endpoint, space)
        view = HistoryView(view_path(settings.views, endpoint, space, HISTORY))
        with closing(view):
            for attempt in range(_TRIES):
                checkpoint = _caught_up(view, stream, memory, tell, progress)
                if checkpoint is None:
                    if space != DEFAULT_SPACE:
                        raise no_such_space(space)
                    with closing(NoHistory()) as nothing:
                        return query(nothing.history)
                try:
                    with view.reading() as history:
                        return query(history)
                except DamagedHistory:
                    if attempt == _TRIES - 1:
                        raise
                    tell("the local history is damaged; it is built anew from the stream")
    raise AssertionError("a history that was built anew answers or raises")


def _caught_up(
    view: HistoryView,
    stream: Stream,
    memory: HighWaterFile,
    tell: Tell,
    progress: Callable[[int], Progress],
) -> Checkpoint | None:
    def told(notice: str) -> None:
        tell(f"the local history {notice}; it is built anew from the stream")

    for attempt in range(_TRIES):
        try:
            checkpoint = catch_up(
                view, stream, memory.load(),
                on_progress=progress(stream.head().position), on_rebuild=told,
            )  # fmt: skip
        except DamagedHistory as error:
            if attempt == _TRIES - 1:
                raise
            tell(f"{error.message}; it is built anew from the stream")
        else:
            if checkpoint is not None:
                # Before anything that rests on it is answered.
                memory.advance(checkpoint.space_id, checkpoint.generation, checkpoint.anchor)
            return checkpoint
    raise AssertionError("a history that is built anew is not damaged")
