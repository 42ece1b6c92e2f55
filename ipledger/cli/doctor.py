"""`doctor`: is everything well, and if not, what now?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from engine.errors import EXIT_CODES, InvalidInput
from ipledger.cli.settings import Settings, options, pass_settings
from ipledger.cli.show import emit, fields

if TYPE_CHECKING:
    from pathlib import Path

    from ipledger.diagnosis import Diagnosis
    from ipledger.servers import Server


@click.command()
@click.option(
    "--accept-rollback",
    is_flag=True,
    help="Accept what is sound as the whole history. Stop all writers first.",
)
@click.option(
    "--void-through",
    type=int,
    metavar="POSITION",
    help="With --accept-rollback: the highest position that anybody has seen.",
)
@options
@pass_settings
def doctor(settings: Settings, accept_rollback: bool, void_through: int | None) -> int:  # noqa: FBT001 - click passes it by name
    """Check the server, the whole history, and that it is the one seen before.

    Exit code 8 means that something is wrong; nothing is changed unless --accept-rollback is
    given. After that, say why with --reason.
    """
    from contextlib import closing

    from ipledger.spaces import open_server

    if accept_rollback and (void_through is None or settings.reason is None):
        raise InvalidInput(
            "--accept-rollback needs --void-through and --reason",
            "run `ipledger doctor` alone first: it names the lowest position to void through",
        )
    server, endpoint = open_server(settings)
    with closing(server):
        found, aside = _examine(
            settings, server, endpoint, void_through if accept_rollback else None
        )
        data = _report(settings, server, found)
        if aside is not None:
            data["set_aside"] = str(aside)
        data["durability"] = _durability(server)
    human = fields((key.replace("_", " "), value) for key, value in data.items())
    if found.trouble is not None:
        human += f"\n\n{_way_home(settings, found)}"
    emit(settings.output, data, human)
    return 0 if found.trouble is None else EXIT_CODES["integrity"]


def _examine(
    settings: Settings, server: Server, endpoint: str, void_through: int | None
) -> tuple[Diagnosis, Path | None]:
    """Diagnose; with `void_through` also accept what is left, and diagnose again."""
    from ipledger import servers
    from ipledger.diagnosis import accept_rollback, diagnose
    from ipledger.high_water import HighWaterFile

    stream = servers.open_stream(server, settings.space)
    memory = HighWaterFile(settings.states, endpoint, settings.space)
    found = diagnose(stream, memory.load())
    if void_through is None:
        return found, None
    aside = settings.states / f"aside-{settings.space}-{found.kept.position + 1}.jsonl"
    count = accept_rollback(
        stream,
        found,
        void_through=void_through,
        actor=settings.who,
        reason=settings.reason or "",
        save_to=aside,
    )
    memory.forget()  # what this machine remembers is of the history that was given up
    with settings.open():  # which begins to remember the one that was accepted
        return diagnose(stream, memory.load()), aside if count else None


def _report(settings: Settings, server: Server, found: Diagnosis) -> dict[str, Any]:
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
        "hint": None if trouble is None else _hint(settings, found),
        "digest": found.digest or None,
    }


def _hint(settings: Settings, found: Diagnosis) -> str:
    assert found.trouble is not None, "asked only when something is wrong"
    name = settings.space
    if found.trouble.__class__.__name__ == "SpaceReplaced":
        return found.trouble.hint
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


def _way_home(settings: Settings, found: Diagnosis) -> str:
    """What an operator can do, in full."""
    lines = [f"What now: {_hint(settings, found)}"]
    if found.kept.position:
        lost = found.head.position - found.kept.position
        lines.append(
            f"Accepting keeps positions 1 to {found.kept.position}; what stands behind them "
            f"(up to {lost} entries) is saved to a file and removed."
        )
        lines.append("Stop all writers first, and use the highest position any client has seen.")
    return "\n".join(lines)


def _durability(server: Server) -> str:
    """What the server promises to keep, as far as it tells us."""
    from redis.exceptions import RedisError

    try:
        reply = server.client.execute_command("CONFIG GET", "append*")  # type: ignore[no-untyped-call]
    except RedisError:
        return "unknown (CONFIG is not allowed)"
    told = dict(zip(reply[::2], reply[1::2], strict=True))
    if told.get(b"appendonly") != b"yes":
        return "none: appendonly is off, a restart may lose everything since the last snapshot"
    how = told.get(b"appendfsync", b"?").decode()
    if how == "always":
        return "every answer is on disk (appendonly, appendfsync always)"
    return f"appendonly, appendfsync {how}: a power failure may lose the last moments"
