"""`renew`, `sweep`, `quarantine` and `unquarantine`: what time and trouble bring."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from engine.errors import InvalidInput, Unavailable
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit

if TYPE_CHECKING:
    from engine.addresses import RangeSet
    from ipledger.ledger import Ledger

_RANGES_TOLD: Final = 4


@verb(examples=("ipledger renew 17", "ipledger renew 17 --ttl 2h"))
@click.argument("lease", type=click.IntRange(min=1))
@click.option("--ttl", metavar="TIME", help="From now on; without it, as long as before.")
@click.option("--shorten", is_flag=True, help="Allow an earlier end than now.")
def renew(settings: Settings, *, lease: int, ttl: str | None, shorten: bool) -> None:
    """Let a lease go on. It never ends earlier by that, unless --shorten says so."""
    from ipledger.durations import parse_duration
    from ipledger.times import format_ms

    ttl_s = None if ttl is None else parse_duration(ttl)
    with settings.open() as ledger:
        until_ms = ledger.renew(lease, ttl_s=ttl_s, may_shorten=shorten, **settings.claims())
        until = None if until_ms is None else format_ms(until_ms)
        item = {"lease": lease, "result": "renewed", "expires_at": until}
        human = f"lease/{lease} renewed until {until or 'it is released'}"
        emit(settings.output, {"items": [item], "position": ledger.position}, human)


@verb(examples=("ipledger sweep --dry-run", "ipledger sweep --every 30s"))
@click.option("--every", metavar="TIME", help="Go on for ever, once in this time.")
@click.option("--dry-run", is_flag=True, help="Only say what would end.")
def sweep(settings: Settings, *, every: str | None, dry_run: bool) -> None:
    """End leases, reservations and quarantines past their time."""
    from ipledger.durations import parse_duration

    every_s = None if every is None else parse_duration(every)
    if every_s is not None and dry_run:
        raise InvalidInput("--every and --dry-run do not go together", "leave one of them out")
    with settings.open() as ledger:
        while True:
            began_s = time.monotonic()
            try:
                _sweep_once(settings, ledger, dry_run=dry_run, quiet=every_s is not None)
            except Unavailable as error:
                if every_s is None:
                    raise
                from ipledger import log

                log.warn("cannot sweep now", error=error.message)
            if every_s is None:
                return
            time.sleep(max(0.0, every_s - (time.monotonic() - began_s)))


def _sweep_once(settings: Settings, ledger: Ledger, *, dry_run: bool, quiet: bool) -> None:
    from ipledger import operations

    operation = operations.sweep(command_id=None if quiet else settings.command_id)
    swept = ledger.preview(operation) if dry_run else ledger.run(operation)
    did = "would expire" if dry_run else "expired"
    items: list[dict[str, Any]] = [
        {"kind": kind, "name": str(name), "result": did}
        for kind, names in (
            ("lease", swept.leases),
            ("reservation", swept.reservations),
            ("quarantine", swept.quarantines),
        )
        for name in names
    ]
    if quiet and not items:
        return
    human = "\n".join(f"{i['kind']}/{i['name']} {did}" for i in items) or "nothing is due"
    emit(settings.output, {"items": items, "position": ledger.position}, human)


@verb(
    examples=(
        'ipledger quarantine 10.3.2.1 --for 1h --reason "answers ARP from 02:00:5e:10:00:01"',
    )
)
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--for", "duration", metavar="TIME", help="End it by itself after that time.")
@click.option("--dry-run", is_flag=True, help="Only say what would be set aside.")
def quarantine(
    settings: Settings, *, addresses: tuple[str, ...], duration: str | None, dry_run: bool
) -> None:
    """Set addresses aside that something else answers on.

    --reason says what was seen. An address that is leased is set aside when its lease ends: its
    holder is not stopped.
    """
    from ipledger import operations
    from ipledger.durations import parse_duration

    if settings.reason is None:
        raise InvalidInput("a quarantine needs a reason", "say what was seen with --reason")
    operation = operations.quarantine(
        *addresses,
        reason=settings.reason,
        for_s=None if duration is None else parse_duration(duration),
        command_id=settings.command_id,
    )
    with settings.open() as ledger:
        aside = ledger.preview(operation) if dry_run else ledger.run(operation)
        did = "would be " if dry_run else ""
        items: list[dict[str, Any]] = [
            {"kind": "quarantine", "name": str(at), "result": f"{did}set aside"}
            for at in aside.quarantines
        ]
        items += [
            {"kind": "lease", "name": str(lease), "result": f"{did}set aside when it ends"}
            for lease in aside.leases
        ]
        human = "\n".join(f"{i['kind']}/{i['name']} {i['result']}" for i in items)
        emit(settings.output, {"items": items, "position": ledger.position}, human)


@verb(examples=("ipledger unquarantine 10.3.2.1",))
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
def unquarantine(settings: Settings, addresses: tuple[str, ...]) -> None:
    """Let addresses be given out again."""
    from engine.addresses import RangeSet

    with settings.open() as ledger:
        ledger.refresh()
        before = {aside.quarantine_id: aside.ips for aside in ledger.state.quarantines()}
        ended = ledger.unquarantine(*addresses, **settings.claims())
        rest = {aside.quarantine_id: aside.ips for aside in ledger.state.quarantines()}
        asked = RangeSet.parse(addresses, allow_cidr=True)
        items: list[dict[str, Any]] = []
        lines: list[str] = []
        for at in ended:
            result, line = "ended", f"quarantine/{at} ended"
            if at in rest:
                result = "ended in part"
                # What a repeated command put back is known from what was asked for only.
                back = before[at] & asked if at in before else asked
                line = (
                    f"{_few(back or asked)} may be given out again; "
                    f"the rest of quarantine/{at} goes on: {_few(rest[at])}"
                )
            items.append({"kind": "quarantine", "name": str(at), "result": result})
            lines.append(line)
        emit(settings.output, {"items": items, "position": ledger.position}, "\n".join(lines))


def _few(ips: RangeSet) -> str:
    """The first ranges of a set in words."""
    texts = ips.texts()
    more = f" and {len(texts) - _RANGES_TOLD} more ranges" if len(texts) > _RANGES_TOLD else ""
    return ", ".join(texts[:_RANGES_TOLD]) + more
