"""`views`: what this machine keeps of a space so that it need not read it anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from ipledger.cli.settings import Settings, VerbGroup, options, verb
from ipledger.cli.show import emit, table, tell_away

if TYPE_CHECKING:
    from engine.stream import Head
    from ipledger.keeping import Kept
    from ipledger.views import Json
    from projections.runner import Progress

_TELL_EVERY_S: Final = 10.0


@click.group(cls=VerbGroup, invoke_without_command=True)
@options
@click.pass_context
def views(ctx: click.Context) -> None:
    """What is kept on this machine of a space [list]."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(views_list)


@verb("list", within=views, examples=("ipledger views", "ipledger views list -o json"))
def views_list(settings: Settings) -> None:
    """List the local views of the space: how far each is behind, its version and its size.

    They only save time, and may be deleted: the next command builds what it needs.
    """
    from ipledger.keeping import kept_views, opened_stream

    with opened_stream(settings) as opened:
        head = opened.stream.head()
        items = [_item(kept, head) for kept in kept_views(settings, opened.endpoint)]
    rows = [
        (i["name"], i["schema_version"], i["position"], i["lag_positions"], i["lag_s"],
         i["mib"], i["trouble"])
        for i in items
    ]  # fmt: skip
    headings = ["name", "schema", "position", "lag", "lag s", "mib", "trouble"]
    human = table(headings, rows) if items else f"no views of space {settings.space} are kept here"
    emit(settings.output, {"items": items, "position": head.position}, human)


def _item(kept: Kept, head: Head) -> Json:
    from projections.following import lag_of

    checkpoint = kept.checkpoint
    lag = None if checkpoint is None else lag_of(checkpoint, head)
    return {
        "name": kept.name,
        "schema_version": kept.schema_version,
        "position": None if checkpoint is None else checkpoint.position,
        "lag_positions": None if lag is None else lag.positions,
        "lag_s": None if lag is None else lag.seconds,
        "mib": round(kept.bytes / 2**20, 1),
        "path": str(kept.path),
        "trouble": kept.trouble,
    }


@verb(
    "follow",
    within=views,
    examples=("ipledger views follow", "ipledger views follow --until-end"),
)
@click.option("--until-end", is_flag=True, help="Stop at the end instead of waiting for more.")
def views_follow(settings: Settings, until_end: bool) -> None:
    """Keep the history up to date: catch up, then follow, until this is interrupted.

    Queries of the history then find nothing to catch up with. Its lag is told on stderr. A
    server that goes away is waited for.
    """
    from ipledger.cli.signals import stopped_by_signals
    from ipledger.keeping import run_history

    told = _Told()
    with stopped_by_signals() as stopped:
        end = run_history(
            settings, until_end=until_end, stopped=stopped, on_progress=told, on_away=tell_away
        )
    emit(settings.output, _ended(end), told.line(end))


@verb("rebuild", within=views, examples=("ipledger views rebuild",))
def views_rebuild(settings: Settings) -> None:
    """Build the history anew beside the one that is in use, and switch to it."""
    from ipledger.keeping import run_history

    told = _Told()
    end = run_history(settings, until_end=True, anew=True, on_progress=told, on_away=tell_away)
    emit(settings.output, _ended(end), told.line(end))


class _Told:
    """Tells how far the view is, now and then."""

    def __init__(self) -> None:
        import time

        self._clock_s = time.monotonic
        self._next_s = self._clock_s() + 1

    def __call__(self, progress: Progress) -> None:
        """After each page, and at the end."""
        if self._clock_s() >= self._next_s:
            click.echo(f"ipledger: {self.line(progress)}", err=True)
            self._next_s = self._clock_s() + _TELL_EVERY_S

    @staticmethod
    def line(progress: Progress) -> str:
        """How far a view is, in words."""
        lag = progress.lag
        behind = f"{lag.positions:,} positions ({lag.seconds:.1f} s) behind"
        return f"{progress.view} at position {progress.position:,}, {behind}"


def _ended(progress: Progress) -> Json:
    return {
        "name": progress.view,
        "schema_version": progress.schema_version,
        "position": progress.position,
        "lag_positions": progress.lag.positions,
        "lag_s": progress.lag.seconds,
        "events": progress.events,
    }
