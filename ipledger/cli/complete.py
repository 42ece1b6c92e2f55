"""What a shell is offered behind a half-typed word; nothing is started, nothing fails."""

from __future__ import annotations

from contextlib import closing

import click

from ipledger.cli.kinds import KINDS

# A longer history takes more time to read than somebody who pressed the tabulator has patience.
ENTRIES_MAX = 20_000


def complete_kind(_ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The kinds."""
    return [kind for kind in KINDS if kind.startswith(begun)]


def complete_event_type(_ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The types of events."""
    from engine.wire import REGISTRY

    return [cls.__name__ for cls in REGISTRY.classes if cls.__name__.startswith(begun)]


def complete_pool(ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The pools, of a server that runs; also behind a comma."""
    before, comma, last = begun.rpartition(",")
    return [before + comma + name for name in _names(ctx, "pools") if name.startswith(last)]


def complete_name(ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The pools or reservations, whichever the kind before says."""
    from ipledger.cli.kinds import find_kind

    try:
        kind = find_kind(ctx.params.get("kind") or "")
    except click.UsageError:
        return []
    return [name for name in _names(ctx, kind) if name.startswith(begun)]


def _names(ctx: click.Context, kind: str) -> list[str]:
    try:
        return _read_names(ctx, kind)
    except Exception:  # noqa: BLE001 - whatever is wrong, a prompt is no place to say it
        return []


def _read_names(ctx: click.Context, kind: str) -> list[str]:
    from ipledger import servers
    from ipledger.cli.settings import Settings
    from ipledger.embedded import status
    from ipledger.ledger import Ledger

    settings = ctx.find_object(Settings) or Settings()
    url = settings.url
    if url is None:
        running = status(settings.home)
        if running is None:
            return []
        url = running.url
    with closing(servers.reach(url)) as server:
        stream = servers.open_stream(server, settings.space)
        if stream.head().length > ENTRIES_MAX:
            return []
        state = Ledger(stream, settings.space).state
        if kind == "pools":
            return [pool.name for pool in state.pools()]
        if kind == "reservations":
            return [held.name for held in state.reservations()]
        return []
