"""`consumers`: who follows the stream under a name, and how far each has come."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from ipledger.cli.settings import Settings, VerbGroup, options, verb
from ipledger.cli.show import emit, table

if TYPE_CHECKING:
    from engine.stream import Stream
    from ipledger.views import Json


@click.group(cls=VerbGroup, invoke_without_command=True)
@options
@click.pass_context
def consumers(ctx: click.Context) -> None:
    """Who follows the stream by name [list]."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(consumers_list)


@verb("list", within=consumers, examples=("ipledger consumers", "ipledger consumers list -o json"))
def consumers_list(settings: Settings) -> None:
    """List cursors that are kept in Redis: where each stands, its lag, when it was last seen.

    LAST SEEN is by the consumer's own clock; one that runs is seen every few seconds.
    """
    from ipledger import servers
    from ipledger.cursors import list_kept
    from ipledger.spaces import existing, open_server

    server, _ = open_server(settings)
    with closing(server):
        stream = existing(servers.open_stream(server, settings.space), settings.space)
        kept = list_kept(server.client, settings.space)
        items = [_view(stream, name, value) for name, value in kept.items()]
        position = stream.head().position
    rows = [
        (i["name"], i["position"], i["lag_positions"], i["lag_s"], i["last_seen"],
         i["filters"], i["trouble"])
        for i in items
    ]  # fmt: skip
    headings = ["name", "position", "lag", "lag s", "last seen", "filters", "trouble"]
    human = table(headings, rows) if items else f"no consumers of space {settings.space}"
    emit(settings.output, {"items": items, "position": position}, human)


def _view(stream: Stream, name: str, value: bytes) -> Json:
    """A consumer as its cursor shows it; what is wrong with it is told, and the others too."""
    from engine.errors import IntegrityError, InvalidInput
    from ipledger.cursors import read_cursor, read_kept
    from ipledger.times import format_ms
    from projections.following import lag_of
    from projections.starting import begin

    view: Json = dict.fromkeys(
        ("position", "id", "generation", "lag_positions", "lag_s", "last_seen", "holder")
    )
    view = {"name": name, **view, "filters": [], "trouble": None}
    try:
        kept = read_kept(name, value)
        view.update(
            last_seen=format_ms(kept.seen_ms), holder=kept.holder, filters=list(kept.filters)
        )  # fmt: skip
        checkpoint = read_cursor(kept.cursor)
        view.update(
            position=checkpoint.position, id=checkpoint.anchor.entry_id,
            generation=checkpoint.generation,
        )  # fmt: skip
        begin(stream, checkpoint)
        lag = lag_of(checkpoint, stream.head())
        view.update(lag_positions=lag.positions, lag_s=lag.seconds)
    except (IntegrityError, InvalidInput) as error:
        view["trouble"] = error.message
    return view


@verb("forget", within=consumers, examples=("ipledger consumers forget dns",))
@click.argument("name")
def consumers_forget(settings: Settings, name: str) -> None:
    """Forget where a consumer was; under this name it begins anew.

    One that runs stops with `conflict` when it saves its cursor next.
    """
    from engine.errors import Refusal, Refused
    from engine.names import check_name
    from ipledger.cursors import forget_kept
    from ipledger.spaces import open_server

    check_name(name, "consumer")
    server, _ = open_server(settings)
    with closing(server):
        forgotten = forget_kept(server.client, settings.space, name)
    if not forgotten:
        message = f"there is no consumer {name} in space {settings.space}"
        raise Refused(Refusal("not_found", message, "see `ipledger consumers`", "consumer"))
    emit(settings.output, {"name": name, "forgotten": True}, f"consumer {name} forgotten")
