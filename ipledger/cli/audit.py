"""`audit`: is everything that was ever written as it must be?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from engine.errors import EXIT_CODES, IntegrityError, InvalidInput
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit, fields, plain, table

if TYPE_CHECKING:
    from engine.reading import HighWater
    from engine.stream import Head
    from ipledger.high_water import HighWaterFile
    from ipledger.times import Point
    from replay.audit import Audited, Breach

BREACHES_MAX = 100


@verb(
    examples=(
        "ipledger audit",
        "ipledger audit --to 2026-11-03T04:05:00Z -o json",
        "ipledger audit --max-breaches 10 --count-every 100000",
    )
)
@click.option("--to", "to", metavar="POSITION|TIME", help="Stop there [the end].")
@click.option(
    "--max-breaches",
    type=click.IntRange(min=0),
    default=BREACHES_MAX,
    metavar="N",
    help=f"Tell about so many breaches; the others are counted [{BREACHES_MAX}].",
)
@click.option(
    "--count-every",
    type=click.IntRange(min=1),
    metavar="N",
    help="Count all pools after every N positions as well [at the end only].",
)
def audit(settings: Settings, to: str | None, max_breaches: int, count_every: int | None) -> int:
    """Walk the whole history and check every rule at every commit.

    It reads a damaged stream as well, goes on after a breach, and tells about all of them: where,
    which rule, and the events behind it. Exit code 8 means that there is a breach. Nothing is
    changed. The rules are in docs/guides/auditor.md.
    """
    from contextlib import closing

    from ipledger import servers
    from ipledger.cli.progress import Progress
    from ipledger.high_water import HighWaterFile
    from ipledger.spaces import no_such_space, open_server
    from ipledger.times import Point, parse_point
    from replay.audit import Options
    from replay.audit import audit as walk

    now_ms = time.time_ns() // 1_000_000
    point = Point(None, None) if to is None else parse_point(to, now_ms)
    server, endpoint = open_server(settings)
    with closing(server):
        stream = servers.open_stream(server, settings.space)
        remembered = _remembered(HighWaterFile(settings.states, endpoint, settings.space))
        head = stream.head()
        if head.ms == 0 and remembered is None and settings.space != "default":
            raise no_such_space(settings.space)
        _check_time(point, head, now_ms)
        options = Options(
            to_position=point.position,
            to_ms=point.ms,
            count_every=count_every or 0,
            breaches_max=max_breaches,
            remembered=remembered,
        )
        with Progress("auditing", point.position or head.position) as progress:
            found = walk(stream, options, progress)
    data = audit_view(settings.space, found, remembered)
    emit(settings.output, data, _human(data, found), items=("breaches",))
    return EXIT_CODES["integrity"] if found.total else 0


def _remembered(memory: HighWaterFile) -> HighWater | None:
    """What this machine has seen; without it the audit is less, but it is one."""
    try:
        return memory.load()
    except IntegrityError as error:
        click.echo(f"ipledger: {plain(error.message)}; nothing is compared with it", err=True)
        return None


def _check_time(point: Point, head: Head, now_ms: int) -> None:
    """Refuse a time to come. The server's clock may be ahead: what it has written is none."""
    from ipledger.times import format_ms

    if point.ms is not None and point.ms > max(now_ms, head.ms):
        message = "the time to audit to is in the future"
        raise InvalidInput(message, f"it is {format_ms(now_ms)} now; leave it out for everything")


def _time(ms: int, events: int) -> str | None:
    """A time of the stream, which may be one that no clock has ever shown."""
    from ipledger.times import format_ms

    try:
        return format_ms(ms) if events else None
    except IntegrityError:
        return None


def audit_view(space: str, found: Audited, remembered: HighWater | None) -> dict[str, Any]:
    """What was audited, and what was found."""
    from replay.audit import RULES

    return {
        "space": space,
        "space_id": None if found.space is None else found.space.space_id.hex(),
        "position": found.position,
        "from": _time(found.first_ms, found.events),
        "to": _time(found.ms, found.events),
        "events": found.events,
        "commits": found.commits,
        "generation": found.generation,
        "seen_before": 0 if remembered is None else remembered.position,
        "restorations": [
            {
                "position": restoration.position,
                "time": _time(restoration.ms, 1),
                "kept": restoration.kept,
                "void_through": restoration.void_through,
                "actor": restoration.actor,
                "reason": restoration.reason,
            }
            for restoration in found.restorations
        ],
        "digest": found.digest,
        "breaches_total": found.total,
        "by_rule": [
            {"rule": rule, "says": RULES[rule].says, "breaches": number}
            for rule, number in found.by_rule.items()
        ],
        "breaches": [_breach_view(breach) for breach in found.breaches],
    }


def _breach_view(breach: Breach) -> dict[str, Any]:
    return {
        "position": breach.position,
        "rule": breach.rule,
        "says": breach.says,
        "events": list(breach.events),
        "doubt": breach.doubt,
    }


def _human(data: dict[str, Any], found: Audited) -> str:
    """The report for a person: the verdict last, where the eye is."""
    apart = {"restorations", "breaches_total", "by_rule", "breaches"}
    parts = [fields([(key.replace("_", " "), value) for key, value in data.items()
                     if key not in apart])]  # fmt: skip
    if data["restorations"]:
        rows = [tuple(entry.values()) for entry in data["restorations"]]
        heads = ["restored at", "time", "kept", "void through", "by", "reason"]
        parts.append(table(heads, rows))
    if not found.total:
        return "\n\n".join([*parts, "No breach was found."])
    if found.breaches:
        breaches = [(b.position, b.rule, _sentence(b), b.events) for b in found.breaches]
        parts.append(table(["position", "rule", "breach", "events"], breaches))
    more = found.total - len(found.breaches)
    if more:
        told = "breach is" if more == 1 else "breaches are"
        parts.append(f"{more} more {told} not told (--max-breaches)")
    rows = [(entry["breaches"], entry["rule"], entry["says"]) for entry in data["by_rule"]]
    parts.append(table(["breaches", "rule", "what must be true"], rows))
    total = "1 breach was found." if found.total == 1 else f"{found.total} breaches were found."
    return "\n\n".join([*parts, total])


def _sentence(breach: Breach) -> str:
    if breach.doubt is None:
        return breach.says
    return f"{breach.says} (may follow from what cannot be read at position {breach.doubt})"
