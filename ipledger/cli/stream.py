"""`follow`: the events themselves, as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING

import click

from ipledger.cli.complete import complete_event_type
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import Json, json_line, plain, write, yaml_text
from ipledger.cli.views import must_exist

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.entry import Record
    from engine.reading import Continuity
    from engine.stream import Stream
    from ipledger.times import Point

_BLOCK_MS = 2_000  # well under the socket's timeout
_AWAY_S = 0.5

Commit = list["Record"]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@verb(
    examples=(
        "ipledger follow --from 1",
        "ipledger follow --from -1h --until-end --type LeaseGranted --type LeaseEnded",
    )
)
@click.option(
    "--from",
    "start",
    default="now",
    metavar="POSITION|TIME|now",
    help="The first event to print [now].",
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="TYPE",
    shell_complete=complete_event_type,
    help="Only events of this type, such as LeaseGranted; repeatable.",
)
@click.option("--until-end", is_flag=True, help="Stop at the end instead of waiting for more.")
def follow(settings: Settings, start: str, types: tuple[str, ...], until_end: bool) -> None:
    """Print events as they come, as JSON lines, commit by commit.

    With -o yaml each event is a YAML document. A server that goes away is waited for.
    """
    from engine.reading import Continuity
    from ipledger.times import Point, parse_point

    wanted = _event_types(types)
    point = Point(None, None) if start == "now" else parse_point(start, _now_ms())
    with settings.open() as ledger:
        must_exist(ledger)
        stream, end = ledger.writer.stream, ledger.position
        # What comes now is read on from where the ledger stands; else it is read from the start.
        continuity = ledger.writer.continuity if start == "now" else Continuity()
        _check_start(point.position, end)
        line = _yaml_document if settings.output == "yaml" else json_line
        for records in whole_commits(stream, continuity, forever=not until_end):
            if _is_before(records, point):
                continue
            printed = [r for r in records if not wanted or type(r.event).__name__ in wanted]
            if printed:
                _print_commit(printed, ledger.space, line)


def _event_types(names: tuple[str, ...]) -> set[str]:
    """The types of those names, however they are capitalised.

    Raises:
        InvalidInput: there is no such type.
    """
    from engine.errors import InvalidInput
    from engine.wire import REGISTRY

    known = {cls.__name__.lower(): cls.__name__ for cls in REGISTRY.classes}
    for name in names:
        if name.lower() not in known:
            message = f"{name!r} is not a type of event"
            raise InvalidInput(message, f"one of {', '.join(known.values())}")
    return {known[name.lower()] for name in names}


def _check_start(position: int | None, end: int) -> None:
    from engine.errors import InvalidInput

    if position is not None and not 1 <= position <= end + 1:
        message = f"position {position} is not from 1 to {end + 1}"
        raise InvalidInput(message, "--from now waits for the next event")


def _is_before(records: Commit, point: Point) -> bool:
    """Whether a commit lies before the point to begin at.

    Raises:
        InvalidInput: the point lies inside of it.
    """
    from engine.errors import InvalidInput

    first, last = records[0], records[-1]
    if point.ms is not None:
        return first.ms < point.ms
    if point.position is None:
        return False
    if first.position < point.position <= last.position:
        message = f"position {point.position} lies inside a commit"
        hint = f"it begins at {first.position}, and the next one at {last.position + 1}"
        raise InvalidInput(message, hint)
    return last.position < point.position


def _print_commit(records: Commit, space: str, line: Callable[[Json], str]) -> None:
    """One write for a commit, so that who reads a pipe does not see half of one."""
    from ipledger.event_views import event_view

    write("\n".join(line(event_view(record, space)) for record in records))


def _yaml_document(item: Json) -> str:
    return f"---\n{yaml_text(item)}".rstrip("\n")


def whole_commits(stream: Stream, continuity: Continuity, *, forever: bool) -> Iterator[Commit]:
    """Commit after commit, each entry checked; then, if `forever`, those to come.

    Raises:
        IntegrityError: the stream is not what it must be, or not what it was before.
        Unavailable: it cannot be read; only if not `forever`.
    """
    from engine.errors import Unavailable
    from engine.reading import read_commits
    from replay.rebuild import whole_commits as split

    delivered = continuity.anchor.position
    kept = copy(continuity)
    away = False
    while True:
        try:
            for records in read_commits(stream, continuity):
                yield from split([r for r in records if r.position > delivered])
                delivered = records[-1].position
                if continuity.at_commit_end:
                    kept = copy(continuity)
            if away:
                click.echo("ipledger: the server is back", err=True)
                away = False
            if not forever:
                return
            stream.wait(continuity.anchor.ms, continuity.anchor.position, _BLOCK_MS)
        except Unavailable as error:
            if not forever:
                raise
            if not away:
                click.echo(f"ipledger: {plain(error.message)}; waiting for it", err=True)
                away = True
            # A commit may have been read in part: what was not delivered is read again.
            continuity = copy(kept)
            time.sleep(_AWAY_S)
