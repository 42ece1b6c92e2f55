"""`history`: who held what, from when to when, read from the events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from ipledger.cli.settings import Settings, VerbGroup, options, verb
from ipledger.cli.show import emit, table
from ipledger.cli.views import must_exist

if TYPE_CHECKING:
    from replay.tenures import Tenure


@click.group(cls=VerbGroup)
@options
def history() -> None:
    """Who held what, when."""


@verb(
    "ip",
    within=history,
    examples=(
        "ipledger history ip 172.18.40.40",
        "ipledger history ip 172.18.40.40 --at 2026-11-03T04:05:00Z",
    ),
)
@click.argument("address")
@click.option("--at", "at", metavar="TIME", help="Only who held it then: RFC 3339, or -2h.")
def history_ip(settings: Settings, address: str, at: str | None) -> None:
    """Tell who held ADDRESS, from when to when.

    With -o json, also by whose hand, and the positions that prove it.
    """
    from engine.addresses import format_address, parse_address
    from engine.reading import Continuity, read_commits
    from ipledger.times import parse_time
    from replay.tenures import tenures_of

    wanted = parse_address(address)
    shown = format_address(wanted)
    at_ms = None if at is None else parse_time(at, time.time_ns() // 1_000_000)
    with settings.open() as ledger:
        must_exist(ledger)
        continuity = Continuity()
        commits = read_commits(ledger.writer.stream, continuity)
        tenures = tenures_of(wanted, (record for records in commits for record in records))
    items = [
        tenure_view(tenure) for tenure in tenures if at_ms is None or tenure.covers(at_ms)
    ]  # fmt: skip
    position = continuity.anchor.position
    rows = [
        (i["owner"], i["interface"], i["from"], i["to"] or "(still held)", i["ended_by"],
         i["pool"], i["lease"])
        for i in items
    ]  # fmt: skip
    human = table(["owner", "interface", "from", "to", "ended", "pool", "lease"], rows)
    if not items:
        human = f"{shown} was held by nobody{'' if at is None else f' at {at}'}"
    data = {"address": shown, "position": position, "items": items}
    emit(settings.output, data, f"{human}\nas of position {position}")


def tenure_view(tenure: Tenure) -> dict[str, Any]:
    """One lease of an address, from its grant to its end."""
    from engine.addresses import format_address
    from ipledger.times import format_ms

    lease, granted, ended = tenure.lease, tenure.granted, tenure.ended
    return {
        "lease": lease.lease_id,
        "address": format_address(lease.address),
        "prefix_length": lease.prefix_length,
        "pool": tenure.pool,
        "owner": lease.owner,
        "interface": lease.interface,
        "uid": lease.uid,
        "labels": dict(lease.labels),
        "cluster": lease.cluster,
        "from": format_ms(granted.ms),
        "to": None if ended is None else format_ms(ended.ms),
        "ended_by": tenure.ended_by,
        "granted_by": granted.sealed.actor,
        "ended_by_actor": None if ended is None else ended.sealed.actor,
        "granted_position": granted.position,
        "ended_position": None if ended is None else ended.position,
    }
