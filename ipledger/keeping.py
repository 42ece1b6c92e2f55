"""The views that this machine keeps of a space: what there is, and the history kept up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

from engine.errors import LedgerError, Unavailable
from engine.names import check_name
from engine.reading import Checkpoint
from ipledger.high_water import HighWaterFile
from ipledger.local import HISTORY, STATE, view_path
from ipledger.spaces import existing, open_server
from projections.runner import Progress, Runner
from projections.state_view import StateView
from replay.history.store import HistoryView

if TYPE_CHECKING:
    from engine.redis_stream import RedisStream
    from ipledger.cli.settings import Settings


class Kept(NamedTuple):
    """A view on this machine. ``checkpoint`` is None if it cannot be gone on from: `trouble`."""

    name: str
    schema_version: int
    path: Path
    checkpoint: Checkpoint | None
    bytes: int
    trouble: str | None


class Opened(NamedTuple):
    """A space's stream, and the name that its memory and views are kept under."""

    stream: RedisStream
    endpoint: str


@contextmanager
def opened_stream(settings: Settings) -> Iterator[Opened]:
    """The stream of the settings' space.

    Raises:
        Refused: ``not_found``: there is no such space.
        LedgerError: the server cannot be reached.
    """
    from ipledger import servers

    space = check_name(settings.space, "space")
    server, endpoint = open_server(settings)
    with closing(server):
        yield Opened(existing(servers.open_stream(server, space), space), endpoint)


def kept_views(settings: Settings, endpoint: str) -> list[Kept]:
    """What is kept of the settings' space on the server of that name."""
    found = []
    for what in (HISTORY, STATE):
        path = view_path(settings.views, endpoint, settings.space, what)
        if path.exists():
            found.append(_look_at(HistoryView(path) if what == HISTORY else StateView(path), path))
    return found


def _look_at(view: HistoryView | StateView, path: Path) -> Kept:
    checkpoint, trouble = None, None
    with closing(view):
        try:
            checkpoint = view.load()
        except LedgerError as error:
            trouble = error.message
    if checkpoint is None and trouble is None:
        trouble = getattr(view, "notice", None) or "cannot be used; it is built anew when needed"
    size = sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
    return Kept(view.name, view.schema_version, path, checkpoint, size, trouble)


def run_history(
    settings: Settings,
    *,
    until_end: bool,
    anew: bool = False,
    stopped: Event | None = None,
    on_progress: Callable[[Progress], None],
    on_away: Callable[[Unavailable | None], None],
) -> Progress:
    """Run the history's view: to the stream's end, or until `stopped`.

    Args:
        settings: the space, the server and where views are kept.
        until_end: stop at the end.
        anew: build it from the beginning, beside the one that is in use.
        stopped: set by whoever wants it to stop.
        on_progress: told how far it is.
        on_away: told that the server is away, and with None that it is back.

    Raises:
        PoisonedView: it cannot fold what the stream says.
        IntegrityError: the stream is not what it must be, or not what was seen before.
        LedgerError: the server cannot be reached, or the file not be used.
    """
    stopping = stopped or Event()
    with opened_stream(settings) as opened:
        memory = HighWaterFile(settings.states, opened.endpoint, settings.space)
        path = view_path(settings.views, opened.endpoint, settings.space, HISTORY)
        view = _Anew(path) if anew else HistoryView(path)
        runner = Runner(
            opened.stream, view, remembered=memory.load(), rebuilds=True,
            on_progress=on_progress, on_away=on_away, pause=stopping.wait,
            is_stopped=stopping.is_set,
        )  # fmt: skip
        with runner:
            end = runner.catch_up() if until_end else runner.follow()
            if end.position:
                view.settle()
        checkpoint = runner.checkpoint
        if checkpoint is not None:
            memory.advance(checkpoint.space_id, checkpoint.generation, checkpoint.anchor)
        return end


class _Anew(HistoryView):
    """A history that is built from the beginning, whatever there is."""

    def load(self) -> Checkpoint | None:
        """Nothing to go on from."""
        self.discard("is built anew")
        return None
