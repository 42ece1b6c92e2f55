"""`follow`, `history` and `replay`: the events themselves, and what they amount to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ipledger.cli.settings import Settings, options, pass_settings
from ipledger.cli.show import emit, fields, json_line, table

if TYPE_CHECKING:
    from engine.entry import Record
    from ipledger.ledger import Ledger

_BLOCK_MS = 2_000  # well under the socket's timeout


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@click.command()
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
    help="Only events of this type, such as LeaseGranted; repeatable.",
)
@click.option("--until-end", is_flag=True, help="Stop at the end instead of waiting for more.")
@options
@pass_settings
def follow(settings: Settings, start: str, types: tuple[str, ...], until_end: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Print events as JSON lines, whole commits at a time, and wait for more."""
    from engine import wire
    from engine.errors import InvalidInput
    from ipledger.times import parse_time
    from ipledger.views import event_view

    known = {cls.__name__ for cls in wire.REGISTRY.classes}
    for name in types:
        if name not in known:
            message = f"{name!r} is not a type of event"
            raise InvalidInput(message, f"one of {', '.join(sorted(known))}")
    with settings.open() as ledger:
        ledger.ensure_space()
        position = int(start) if start.isascii() and start.isdigit() else None
        if start == "now":
            position = ledger.position + 1
        since_ms = 0 if position is not None else parse_time(start, _now_ms())
        if position is not None and not 1 <= position <= ledger.position + 1:
            message = f"position {position} is not from 1 to {ledger.position + 1}"
            raise InvalidInput(message, "--from now waits for the next event")
        for record in _records(ledger, forever=not until_end):
            if position is not None and record.position < position:
                continue
            if record.ms >= since_ms and (not types or type(record.event).__name__ in types):
                click.echo(json_line(event_view(record, ledger.space)))


def _records(ledger: Ledger, *, forever: bool) -> Iterator[Record]:
    """All events from the beginning on, each checked; then, if `forever`, those to come."""
    from engine.errors import Unavailable
    from engine.reading import Continuity, read_commits

    continuity = Continuity()
    stream = ledger.writer.stream
    while True:
        try:
            for records in read_commits(stream, continuity):
                yield from records
            if not forever:
                return
            anchor = continuity.anchor
            stream.wait(anchor.ms, anchor.position, _BLOCK_MS)
        except Unavailable:
            if not forever:
                raise
            time.sleep(0.5)  # the server is away: try again until it is back


@click.group()
def history() -> None:
    """Who held what, when."""


@history.command("ip")
@click.argument("address")
@click.option("--at", "at", metavar="TIME", help="Only who held it at that time.")
@options
@pass_settings
def history_ip(settings: Settings, address: str, at: str | None) -> None:
    """Every holder of ADDRESS, from when to when, with the positions that prove it."""
    from engine.addresses import format_address, parse_address
    from ipledger.times import format_ms, parse_time
    from replay.tenures import tenures_of

    wanted = parse_address(address)
    at_ms = None if at is None else parse_time(at, _now_ms())
    with settings.open() as ledger:
        if ledger.space != "default":
            ledger.ensure_space()
        tenures = tenures_of(wanted, _records(ledger, forever=False))
        items: list[dict[str, Any]] = [
            {
                "lease": tenure.lease.lease_id,
                "address": format_address(tenure.lease.address),
                "prefix_length": tenure.lease.prefix_length,
                "pool": tenure.pool,
                "owner": tenure.lease.owner,
                "interface": tenure.lease.interface,
                "uid": tenure.lease.uid,
                "labels": dict(tenure.lease.labels),
                "cluster": tenure.lease.cluster,
                "from": format_ms(tenure.granted.ms),
                "to": None if tenure.ended is None else format_ms(tenure.ended.ms),
                "ended_by": tenure.ended_by,
                "granted_by": tenure.granted.sealed.actor,
                "ended_by_actor": None if tenure.ended is None else tenure.ended.sealed.actor,
                "granted_position": tenure.granted.position,
                "ended_position": None if tenure.ended is None else tenure.ended.position,
            }
            for tenure in tenures
            if at_ms is None or tenure.covers(at_ms)
        ]
        data = {"address": format_address(wanted), "position": ledger.position, "items": items}
        rows = [
            (i["owner"], i["interface"], i["from"], i["to"] or "(still held)", i["ended_by"],
             i["pool"], i["lease"])
            for i in items
        ]  # fmt: skip
        human = table(["owner", "interface", "from", "to", "ended", "pool", "lease"], rows)
        if not items:
            when = "" if at is None else f" at {at}"
            human = f"{format_address(wanted)} was held by nobody{when}"
        emit(settings.output, data, f"{human}\nas of position {ledger.position}")


@click.command()
@click.option("--to", "to", metavar="POSITION|TIME", help="Stop there [the end].")
@click.option("--digest", "with_digest", is_flag=True, help="The canonical digest of the state.")
@options
@pass_settings
def replay(settings: Settings, to: str | None, with_digest: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Fold the events anew from the beginning and tell what they amount to."""
    from ipledger.times import format_ms, parse_time
    from projections.digest import state_digest
    from replay.rebuild import rebuild

    position = int(to) if to is not None and to.isascii() and to.isdigit() else None
    to_ms = None if to is None or position is not None else parse_time(to, _now_ms())
    with settings.open() as ledger:
        if ledger.space != "default":
            ledger.ensure_space()
        began_s = time.monotonic()
        state, events = rebuild(ledger.writer.stream, to_position=position, to_ms=to_ms)
        took_s = time.monotonic() - began_s
        data: dict[str, Any] = {
            "space": ledger.space,
            "position": state.position,
            "time": format_ms(state.ms),
            "events": events,
            "pools": len(state.pool_table),
            "reservations": len(state.reservation_table),
            "leases": len(state.lease_table),
        }
        if with_digest:
            data["digest"] = state_digest(state)
        if not took_s:
            took_s = 1e-9
        human = f"{fields(data.items())}\n{events} events in {took_s:.2f} s"
        emit(settings.output, data, human)
