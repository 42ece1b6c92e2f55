"""`mirror`: the same space, byte for byte, in another cluster's Redis."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import click

from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit, fields, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.entry import RawEntry
    from engine.redis_stream import RedisStream
    from ipledger.servers import Server
    from replay.mirror import Mirror, Progress

_BLOCK_MS = 500  # a request to stop is heeded between two waits
_AWAY_S = 0.5
_TOLD_EVERY_S = 5.0


@verb(
    examples=(
        "ipledger mirror --from redis://east:6379/0 --to redis://west:6379/0",
        "ipledger mirror --from redis://east:6379/0 --to redis://west:6379/0 --follow",
        "ipledger mirror --from redis://east:6379/0 --to redis://west:6379/0 --verify",
        "ipledger mirror --to redis://west:6379/0 --promote --void-through 4711 --reason 'fire'",
    )
)
@click.option("--from", "source", metavar="URL", help="The server to copy from.")
@click.option("--to", "target", metavar="URL", help="The server to copy to.")
@click.option("--once", is_flag=True, help="Copy up to the source's end, and stop. The default.")
@click.option("--follow", is_flag=True, help="Go on copying until interrupted.")
@click.option("--verify", is_flag=True, help="Compare the whole of both instead of copying.")
@click.option(
    "--accept-rollback",
    is_flag=True,
    help="The source gave up what the mirror has: save that to a file, remove it, and go on.",
)
@click.option("--promote", is_flag=True, help="The source is lost for good: write to the mirror.")
@click.option(
    "--void-through",
    type=click.IntRange(min=1),
    metavar="POSITION",
    help="With --promote: the highest position that anybody has seen of the source.",
)
def mirror(settings: Settings, source: str | None, target: str | None, **how: Any) -> int | None:
    """Copy a space to another server, byte for byte.

    The same entries stand there under the same ids. A mirror is read as the space itself is, by
    every command that reads; whatever would change it is refused. Copying goes on where it
    stopped. Nothing is written where the target has anything of its own, or where the two differ.
    """
    _check_options(source, target, how)
    assert target is not None, "that was checked"
    with ExitStack() as stack:
        if how["promote"]:
            data = _promote(settings, _reach(stack, target), how["void_through"])
        else:
            assert source is not None, "that was checked"
            ends = _reach(stack, source), _reach(stack, target)
            _check_different(*ends)
            if how["verify"]:
                data = _verify(settings, *ends)
            else:
                data = _copy(settings, *ends, follow=how["follow"], accept=how["accept_rollback"])
    shown = [(name.replace("_", " "), value) for name, value in data.items() if value is not None]
    emit(settings.output, data, f"{fields(shown)}\n\n{_verdict(data)}")
    return 8 if data["difference"] else None


def _check_options(source: str | None, target: str | None, how: dict[str, Any]) -> None:
    """Which options go together.

    Raises:
        UsageError: these do not.
        InvalidInput: something is missing that --promote needs, or a URL cannot be understood.
    """
    from ipledger.servers import endpoint_of

    chosen = [name for name in ("once", "follow", "verify", "promote") if how[name]]
    if len(chosen) > 1:
        raise click.UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other")
    if how["accept_rollback"] and (how["verify"] or how["promote"]):
        raise click.UsageError(f"--accept-rollback has no meaning with --{chosen[0]}")
    if target is None:
        raise click.UsageError("--to is missing: the server to copy to")
    if how["promote"] == (source is not None):
        missing = "--from has no meaning with --promote" if source else "--from is missing"
        raise click.UsageError(missing)
    if how["void_through"] is not None and not how["promote"]:
        raise click.UsageError("--void-through has no meaning without --promote")
    if source is not None and endpoint_of(source) == endpoint_of(target):
        raise click.UsageError("--from and --to are the same")
    endpoint_of(target)


def _reach(stack: ExitStack, url: str) -> Server:
    from ipledger import servers

    return stack.enter_context(closing(servers.reach(url)))


def _check_different(source: Server, target: Server) -> None:
    """Two URLs may lead to one database of one server.

    Raises:
        InvalidInput: these do.
    """
    from engine.errors import InvalidInput

    def of(server: Server) -> tuple[str, Any]:
        ask: Callable[..., Any] = server.client.execute_command
        lines = ask("INFO", "server").decode("utf-8", "replace").splitlines()
        run_id = next((line for line in lines if line.startswith("run_id:")), server.endpoint)
        return run_id, server.client.connection_pool.connection_kwargs.get("db", 0)

    if of(source) == of(target):
        message = f"{source.endpoint} and {target.endpoint} are the same database"
        raise InvalidInput(message, "mirror to another server, or to another database")


def _streams(settings: Settings, *servers_: Server) -> list[RedisStream]:
    from ipledger import servers

    return [servers.open_stream(server, settings.space) for server in servers_]


def _summary(settings: Settings, did: str, source: str | None, target: str) -> dict[str, Any]:
    """The shape of every answer; what does not apply is null."""
    return {
        "space": settings.space,
        "did": did,
        "source": source,
        "target": target,
        "space_id": None,
        "generation": None,
        "position": 0,
        "copied": None,
        "behind": None,
        "level_at": None,
        "same_entries": None,
        "difference": None,
        "set_aside": None,
    }


def _verdict(data: dict[str, Any]) -> str:
    if data["did"] == "promoted":
        return "The mirror is the space itself now: write to it, and never to the old server again."
    if data["difference"]:
        where = data["difference"]
        return f"They differ at position {where['position']}: {_IN_WORDS[where['field']]}."
    if data["did"] == "compared":
        return "The mirror is, byte for byte, what its source is."
    return "The mirror is level with its source." if not data["behind"] else "Stopped on the way."


_IN_WORDS = {
    "time": "the entry's time is another",
    "fields": "the mirror's entry does not have just the fields e, s, t, c",
    "missing": "the mirror does not have it",
    "surplus": "only the mirror has it",
    **{name: f"the field {name} is another" for name in "estc"},
}


# ------------------------------------------------------------------------------------ copying


def _copy(
    settings: Settings, source: Server, target: Server, *, follow: bool, accept: bool
) -> dict[str, Any]:
    from ipledger.times import format_ms
    from replay.mirror import Ends, Mirror

    streams = _streams(settings, source, target)
    ends = Ends(source.endpoint, target.endpoint)
    copier = Mirror(streams[0], streams[1], settings.space, ends, _now_ms)
    aside: list[str] = []

    def set_aside(kept: int, entries: list[RawEntry]) -> None:
        aside.append(_save(settings, kept, entries))

    told = _Told(copier.attach(set_aside if accept else None))
    if follow:
        _follow(copier, streams[0], told)
    else:
        _catch_up(copier, told)
    progress, marker = copier.progress, copier.marker
    data = _summary(settings, "copied", *ends)
    data["space_id"] = marker.space_id.hex()
    data["generation"] = copier.generation
    data["position"] = progress.position
    data["copied"] = progress.copied
    data["behind"] = progress.behind
    data["level_at"] = format_ms(marker.level_at_ms) if marker.level_at_ms else None
    data["set_aside"] = aside[0] if aside else None
    return data


def _catch_up(copier: Mirror, told: _Told) -> None:
    from engine.errors import UnknownOutcome

    try:
        while copier.step():
            told.progress(copier.progress)
    except UnknownOutcome as error:
        error.hint = "run it again: it goes on where the mirror ends, and writes nothing twice"
        raise


def _follow(copier: Mirror, source: RedisStream, told: _Told) -> None:
    """Copy what comes until a signal says to stop; wait for a server that is away."""
    from engine.errors import Unavailable, UnknownOutcome
    from ipledger.cli.signals import stopped_by_signals

    attached = True
    with stopped_by_signals() as stopped:
        while not stopped.is_set():
            try:
                if not attached:
                    told.back(copier.attach())
                    attached = True
                if not copier.step():
                    told.level(copier.progress)
                    at = copier.progress
                    source.wait(at.ms, at.position, _BLOCK_MS)
                else:
                    told.progress(copier.progress)
            except (Unavailable, UnknownOutcome) as error:
                attached = False
                told.away(error.message)
                time.sleep(_AWAY_S)


class _Told:
    """What a person who waits is told on stderr: progress now and then, and every change."""

    def __init__(self, begin: Progress) -> None:
        self._began_s = self._last_s = time.monotonic()
        self._begin = begin.position
        self._away = False
        self._level = False

    def progress(self, now: Progress) -> None:
        """A page was copied."""
        self._level = self._level and not now.behind
        now_s = time.monotonic()
        if now_s - self._last_s < _TOLD_EVERY_S:
            return
        self._last_s = now_s
        rate = now.copied / (now_s - self._began_s)
        left = f", {now.behind / rate:.0f} s left" if rate and now.behind else ""
        behind = f"{now.behind} behind ({now.behind_ms / 1_000:.1f} s)"
        _say(f"position {now.position}, {behind}, {rate:.0f} entries/s{left}")

    def level(self, now: Progress) -> None:
        """Nothing is left to copy; told when that was not so before."""
        if not self._level:
            _say(f"position {now.position}, level with the source; following")
        self._level = True

    def away(self, message: str) -> None:
        """A server is away; told once."""
        if not self._away:
            _say(f"{plain(message)}; waiting for it")
        self._away = True

    def back(self, now: Progress) -> None:
        """Both servers are there again."""
        self._away = self._level = False
        _say(f"back, at position {now.position}")


def _say(text: str) -> None:
    click.echo(f"ipledger: mirror: {text}", err=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _save(settings: Settings, kept: int, entries: list[RawEntry]) -> str:
    from engine.entry import FIELDS
    from ipledger.diagnosis import save_aside

    path = settings.states / f"aside-mirror-{settings.space}-{kept + 1}.jsonl"
    save_aside(
        [
            (raw.entry_id, tuple(p for pair in zip(FIELDS, raw[2:], strict=True) for p in pair))
            for raw in entries
        ],
        path,
    )
    return str(path)


# --------------------------------------------------------------------- comparing and promoting


def _verify(settings: Settings, source: Server, target: Server) -> dict[str, Any]:
    from replay.compare import compare

    ours, theirs = _streams(settings, target, source)
    marker, head = ours.marker(), ours.head()
    if marker is None and not head.position:
        raise _no_mirror(settings, target)
    began_s = last_s = time.monotonic()

    def on_progress(position: int) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= _TOLD_EVERY_S:
            last_s = now_s
            rate = position / (now_s - began_s)
            left_s = max(head.position - position, 0) / rate
            _say(f"compared up to {position} of {head.position}, {left_s:.0f} s left")

    found = compare(theirs, ours, on_progress=on_progress)
    data = _summary(settings, "compared", source.endpoint, target.endpoint)
    data["space_id"] = None if marker is None else marker.space_id.hex()
    data["position"] = found.position
    data["behind"] = max(theirs.head().position - found.position, 0)
    data["same_entries"] = found.entries
    data["difference"] = None if found.difference is None else found.difference._asdict()
    return data


def _promote(settings: Settings, target: Server, void_through: int | None) -> dict[str, Any]:
    from engine.errors import InvalidInput, UnknownOutcome
    from ipledger.diagnosis import diagnose, promote
    from ipledger.high_water import HighWaterFile

    (stream,) = _streams(settings, target)
    marker = stream.marker()
    if marker is None:
        raise _no_mirror(settings, target)
    found = diagnose(stream, None)
    known = HighWaterFile(settings.states, marker.source, settings.space).load()
    if known is not None and known.space_id == found.space_id:
        found = found._replace(seen=known.position)  # this machine has worked with the source
    if void_through is None or settings.reason is None:
        raise InvalidInput(
            "--promote needs --void-through and --reason",
            f"the mirror ends at position {found.head.position}, this machine has seen "
            f"{found.seen or 'nothing'} of its source: void through the highest position that "
            "anybody has seen",
        )
    try:
        promote(
            stream, found, void_through=void_through, actor=settings.who, reason=settings.reason
        )
    except UnknownOutcome as error:
        error.hint = "`ipledger doctor` on it says whether it still is a mirror"
        raise
    data = _summary(settings, "promoted", marker.source, target.endpoint)
    data["space_id"] = marker.space_id.hex()
    data["generation"] = found.generation + 1
    data["position"] = void_through + 1
    return data


def _no_mirror(settings: Settings, target: Server) -> Exception:
    from engine.errors import Refusal, Refused

    message = f"{target.endpoint} has no mirror of space {settings.space}"
    return Refused(Refusal("not_found", message, "check --to and --space", "to"))
