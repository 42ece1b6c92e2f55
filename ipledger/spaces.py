"""The spaces of a server: which there are, and forgetting one."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from copy import copy
from typing import TYPE_CHECKING, Any

from engine.errors import IntegrityError, Refusal, Refused
from engine.events import SpaceCreated
from engine.model import LOCAL, Durability
from engine.names import DEFAULT_SPACE
from engine.wire import decode_entry
from ipledger import reaching
from ipledger.high_water import HighWaterFile
from ipledger.views import space_view

if TYPE_CHECKING:
    from engine.redis_stream import RedisStream
    from engine.stream import Stream
    from ipledger.cli.settings import Settings
    from ipledger.servers import Server

_KEY = re.compile(rb"ipledger:\{([A-Za-z0-9._-]{1,253})\}:events")


def open_server(
    settings: Settings, on_start: Callable[[str], None] | None = None
) -> tuple[Server, str]:
    """The server that the options speak of, and the name that its memory is kept under.

    `on_start` is told, in words, if an embedded server was started for it.
    """
    opened = reaching.open_server(
        settings.url, home=settings.home, program=settings.server, on_start=on_start
    )
    return opened.server, opened.endpoint


def list_spaces(settings: Settings) -> list[dict[str, Any]]:
    """Every space of the server, by name: its id, last position, generation and format level."""
    server, _ = open_server(settings)
    with closing(server):
        return _spaces_of(server, settings)


def _spaces_of(server: Server, settings: Settings) -> list[dict[str, Any]]:
    from ipledger import servers

    names: set[str] = set()
    cursor = b"0"
    while True:
        # The braces in the pattern are plain characters to the server's glob.
        reply = server.client.execute_command(  # type: ignore[no-untyped-call]
            "SCAN", cursor, "MATCH", "ipledger:{*}:events", "COUNT", "1000"
        )
        cursor = reply[0]
        names.update(m[1].decode() for key in reply[1] if (m := _KEY.fullmatch(key)))
        if cursor in {b"0", 0}:
            break
    return [
        _space_view(servers.open_stream(server, name), name, settings) for name in sorted(names)
    ]


def _space_view(stream: Stream, name: str, settings: Settings) -> dict[str, Any]:
    """What the first and the last entry of a stream tell about its space."""
    try:
        head = stream.head()
        first = stream.read(0, 0, 1)
        event = decode_entry(first[0]).event if first else None
        last = stream.read(head.ms, head.position - 1, 1)
        generation = decode_entry(last[0]).commit.generation if last else None
    except IntegrityError as error:
        return space_view(name, None, None, None, None, None, error.message)
    if not isinstance(event, SpaceCreated):
        trouble = "its beginning is missing"
        return space_view(name, None, head.position, generation, None, None, trouble)
    if not last:
        trouble = "its end is missing"
        return space_view(name, event.space_id, head.position, generation, None, None, trouble)
    if head.position == 1:
        return space_view(name, event.space_id, 1, generation, event.level, LOCAL)
    stated = _stated(settings, name)
    return space_view(name, event.space_id, head.position, generation, *stated)


def _stated(settings: Settings, name: str) -> tuple[int | None, Durability | None, str | None]:
    """The level and the durability that a space has by now, or what is wrong with its stream.

    Only its events tell; the state is read as by any command, from what is kept of it.
    """
    known = copy(settings)
    known.space = name
    try:
        with known.open() as ledger:
            return ledger.state.level, ledger.state.durability, None
    except IntegrityError as error:
        return None, None, error.message


def existing(stream: RedisStream, space: str) -> RedisStream:
    """The stream, if there is one; the default space may come into being later.

    Raises:
        Refused: ``not_found``.
    """
    if space != DEFAULT_SPACE and stream.head().position == 0:
        raise no_such_space(space)
    return stream


def no_such_space(name: str) -> Refused:
    """There is no space of that name."""
    hint = f"`ipledger space create {name}` makes it, if it is no typing error"
    return Refused(Refusal("not_found", f"space {name} does not exist", hint, "space"))


def forget_space(settings: Settings, name: str) -> bool:
    """Remember nothing of a space any more; the stream itself is not touched."""
    from engine.names import check_name

    check_name(name, "space")
    if settings.url is not None:
        from ipledger.servers import endpoint_of

        endpoint = endpoint_of(settings.url)
    else:
        endpoint = f"embedded:{settings.home.resolve()}"
    return HighWaterFile(settings.states, endpoint, name).forget()
