"""`doctor`: is everything well, and if not, what now?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from engine.errors import EXIT_CODES, IntegrityError, InvalidInput, SpaceReplaced
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit, fields, plain
from ipledger.cli.views import durability_words

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engine.mirroring import Marker
    from engine.reading import HighWater
    from engine.stream import Stream
    from ipledger.diagnosis import Diagnosis
    from ipledger.high_water import HighWaterFile
    from ipledger.servers import Server


@verb(
    examples=(
        "ipledger doctor",
        "ipledger doctor --accept-rollback --void-through 4711 --reason 'backup of noon'",
    )
)
@click.option(
    "--accept-rollback",
    is_flag=True,
    help="Accept what is sound as the whole history. Stop all writers first.",
)
@click.option(
    "--void-through",
    type=click.IntRange(min=1),
    metavar="POSITION",
    help="With --accept-rollback: the highest position that anybody has seen.",
)
def doctor(settings: Settings, accept_rollback: bool, void_through: int | None) -> int:
    """Check the server and the whole history; say what to do.

    Exit code 8 means that something is wrong; then it is said what can be done. Nothing is
    changed unless --accept-rollback is given, with --void-through and --reason.
    """
    from contextlib import closing

    from ipledger import servers
    from ipledger.spaces import open_server
    from ipledger.views import durability_view

    if accept_rollback and (void_through is None or settings.reason is None):
        raise InvalidInput(
            "--accept-rollback needs --void-through and --reason",
            "run `ipledger doctor` alone first: it names the lowest position to void through",
        )
    if void_through is not None and not accept_rollback:
        message = "--void-through voids nothing without --accept-rollback"
        raise InvalidInput(message, "leave it out to have a look only")
    server, endpoint = open_server(settings)
    with closing(server):
        marker = servers.open_stream(server, settings.space).marker()
        found, aside = _examine(settings, server, endpoint, void_through)
        data = _report(settings, server, found, marker)
        data["set_aside"] = None if aside is None else str(aside)
        data["durability"] = _durability(server)
        data["replicas"] = _replicas(server)
        data["promised"] = durability_view(found.durability)
    emit(settings.output, data, _human(data, found))
    return 0 if found.trouble is None else EXIT_CODES["integrity"]


def _examine(
    settings: Settings, server: Server, endpoint: str, void_through: int | None
) -> tuple[Diagnosis, Path | None]:
    """Diagnose; with `void_through` also accept what is left, and diagnose again."""
    from ipledger import servers
    from ipledger.diagnosis import accept_rollback
    from ipledger.high_water import HighWaterFile

    stream = servers.open_stream(server, settings.space)
    memory = HighWaterFile(settings.states, endpoint, settings.space)
    found = _diagnose(settings, stream, memory)
    if void_through is None:
        return found, None
    aside = settings.states / f"aside-{settings.space}-{found.kept.position + 1}.jsonl"
    count = accept_rollback(
        stream,
        found._replace(trouble=None) if found.digest else found,  # the stream itself is sound
        void_through=void_through,
        actor=settings.who,
        reason=settings.reason or "",
        save_to=aside,
    )
    memory.forget()  # what this machine remembers is of the history that was given up
    with settings.open():  # which begins to remember the one that was accepted
        return _diagnose(settings, stream, memory), aside if count else None


def _diagnose(settings: Settings, stream: Stream, memory: HighWaterFile) -> Diagnosis:
    """What is wrong with the stream, or else with what this machine remembers of it.

    Raises:
        Refused: there is no such space, and none was ever seen.
    """
    from ipledger.diagnosis import diagnose
    from ipledger.spaces import no_such_space

    remembered: HighWater | None = None
    forgotten: IntegrityError | None = None
    try:
        remembered = memory.load()
    except IntegrityError as error:
        forgotten = error
    found = diagnose(stream, remembered)
    never_seen = remembered is None and forgotten is None
    if found.head.ms == 0 and never_seen and settings.space != "default":
        raise no_such_space(settings.space)
    return found if found.trouble else found._replace(trouble=forgotten)


def _report(
    settings: Settings, server: Server, found: Diagnosis, marker: Marker | None
) -> dict[str, Any]:
    from ipledger.times import format_ms

    level_at_ms = 0 if marker is None else marker.level_at_ms
    trouble = found.trouble
    return {
        "space": settings.space,
        "server": server.version,
        "space_id": None if found.space_id is None else found.space_id.hex(),
        "generation": found.generation,
        "position": found.head.position,
        "entries": found.head.length,
        "seen_before": found.seen,
        "sound_through": found.kept.position,
        "trouble": None if trouble is None else trouble.message,
        "hint": None if trouble is None else _hint(settings, found, marker),
        "digest": found.digest or None,
        "mirror_of": None if marker is None else marker.source,
        "level_at": format_ms(level_at_ms) if level_at_ms else None,
    }


def _hint(settings: Settings, found: Diagnosis, marker: Marker | None) -> str:
    assert found.trouble is not None, "asked only when something is wrong"
    name = settings.space
    if isinstance(found.trouble, SpaceReplaced) or found.digest:
        return found.trouble.hint  # the stream is sound: what we remember is not of it
    if marker is not None:
        return "this is a mirror: `ipledger mirror --verify` says where it and its source part"
    if found.kept.position == 0 and found.head.position == 0:
        return f"restore a backup; or accept the loss with `ipledger space forget {name}`"
    if found.kept.position == 0:
        return (
            "its beginning is gone: restore a backup or a mirror; to start over, delete the key "
            f"ipledger:{{{name}}}:events yourself and run `ipledger space forget {name}`"
        )
    return (
        f"restore a backup; or accept: ipledger --space {name} doctor --accept-rollback "
        f"--void-through {found.void_through_least} --reason WHY"
    )


# What is told a person only if there is something to tell.
_SELDOM = {"set_aside", "mirror_of", "level_at"}


def _human(data: dict[str, Any], found: Diagnosis) -> str:
    """The report for a person: the verdict last, where the eye is."""
    told = {**data, "promised": durability_words(data["promised"])}
    shown = [
        (key.replace("_", " "), value) for key, value in told.items()
        if key not in {"trouble", "hint"} and (value is not None or key not in _SELDOM)
    ]  # fmt: skip
    if found.trouble is None:
        mirror = "This is a mirror: read only. " if data["mirror_of"] else ""
        return f"{fields(shown)}\n\n{mirror}All is well."
    lines = [f"Trouble: {plain(data['trouble'])}", f"What now: {plain(data['hint'])}"]
    if found.kept.position and not found.digest:
        lost = found.head.position - found.kept.position
        lines.append(
            f"Accepting keeps positions 1 to {found.kept.position}; what stands behind them "
            f"(up to {lost} entries) is saved to a file and removed."
        )
        lines.append("Stop all writers first, and use the highest position any client has seen.")
    return f"{fields(shown)}\n\n" + "\n".join(lines)


def _replicas(server: Server) -> int | None:
    """How many replicas are connected, as far as the server tells."""
    from redis.exceptions import RedisError

    try:
        ask: Callable[..., Any] = server.client.execute_command
        told: bytes = ask("INFO", "replication")
    except RedisError:
        return None
    for line in told.splitlines():
        if line.startswith(b"connected_slaves:"):
            return int(line.partition(b":")[2])
    return None


def _durability(server: Server) -> str:
    """What the server promises to keep, as far as it tells us."""
    from redis.exceptions import RedisError

    try:
        ask: Callable[..., Any] = server.client.execute_command
        reply = ask("CONFIG GET", "append*")
    except RedisError:
        return "unknown (CONFIG is not allowed)"
    told = dict(zip(reply[::2], reply[1::2], strict=True))
    if told.get(b"appendonly") != b"yes":
        return "none: appendonly is off, a restart may lose everything since the last snapshot"
    how = told.get(b"appendfsync", b"?").decode()
    if how == "always":
        return "every answer is on disk (appendonly, appendfsync always)"
    return f"appendonly, appendfsync {how}: a power failure may lose the last moments"
