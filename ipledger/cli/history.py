"""`history`: who held what, when, and what was known of it when."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

import click

from ipledger.cli.complete import complete_pool
from ipledger.cli.history_asking import TIMES, Asked, Times, ask_history
from ipledger.cli.settings import Command, Settings, VerbGroup, options, verb
from ipledger.cli.show import Json, emit, few, plain, table
from ipledger.cli.views import not_found

if TYPE_CHECKING:
    from engine.addresses import Address, Subnet
    from replay.history.queries import History, Wanted
    from replay.history.tenure import Tenure
    from replay.history.unheld import Unheld

_LIMIT_MAX: Final = 10_000_000


@click.group(cls=VerbGroup)
@options
def history() -> None:
    """Who held what, when, and why nobody did."""


class TenureOptions(TypedDict):
    """The options of every question that is answered with tenures."""

    at: str | None
    start: str | None
    end: str | None
    known_at: str | None
    merge: bool
    timeline: bool
    limit: int


def _tenure_options(command: Command) -> Command:
    """Add them to a command."""
    command = click.option(
        "--limit", type=click.IntRange(1, _LIMIT_MAX), default=10_000, metavar="N",
        help="At most N tenures [10000].",
    )(command)  # fmt: skip
    command = click.option(
        "--timeline", is_flag=True, help="Draw it, as wide as the terminal."
    )(command)  # fmt: skip
    command = click.option(
        "--merge", is_flag=True, help="Tell what one owner held without a gap as one."
    )(command)  # fmt: skip
    return TIMES(command)


@verb(
    "ip",
    within=history,
    examples=(
        "ipledger history ip 172.18.40.40",
        "ipledger history ip 172.18.40.40 --at 2026-11-03T04:05:00Z",
        "ipledger history ip 172.18.40.0/24 --from -2h --timeline",
    ),
)
@click.argument("address", metavar="ADDRESS|PREFIX")
@_tenure_options
def history_ip(settings: Settings, /, address: str, **given: Unpack[TenureOptions]) -> None:
    """Tell who held ADDRESS, or anything under a prefix, from when to when.

    With -o json, also by whose hand and why, and the positions that prove it. If nobody held an
    address it is told what it was instead: free in a pool, reserved, excluded, quarantined, at
    rest, or in no pool.
    """
    from engine.addresses import format_address, parse_address, parse_subnet

    if "/" in address:
        _tell_block(settings, parse_subnet(address), "address", given)
        return
    wanted = parse_address(address)
    shown = format_address(wanted)
    found = _ask(settings, given, lambda told: told.of_address(wanted), wanted)
    when = "" if given["at"] is None else f" at {given['at']}"
    nobody = f"{shown} was held by nobody{when}"
    _emit_tenures(settings, {"address": shown}, found, given, nobody, ("owner",))


@verb(
    "subnet",
    within=history,
    examples=("ipledger history subnet 10.3.2.0/24 --from -1h",),
)
@click.argument("cidr")
@_tenure_options
def history_subnet(settings: Settings, /, cidr: str, **given: Unpack[TenureOptions]) -> None:
    """Tell who held anything in a subnet, or a block that it lies in."""
    from engine.addresses import parse_subnet

    _tell_block(settings, parse_subnet(cidr), "subnet", given)


def _tell_block(settings: Settings, block: Subnet, key: str, given: TenureOptions) -> None:
    found = _ask(settings, given, lambda told: told.of_block(block))
    nobody = f"nothing of {block} was held"
    _emit_tenures(settings, {key: str(block)}, found, given, nobody, ("address", "owner"))


@verb(
    "owner",
    within=history,
    examples=("ipledger history owner c1/default/web-0 --interface eth0 --merge",),
)
@click.argument("owner")
@click.option("--interface", metavar="NAME", help="On this interface only.")
@_tenure_options
def history_owner(
    settings: Settings, /, owner: str, interface: str | None, **given: Unpack[TenureOptions]
) -> None:
    """Tell everything that OWNER held."""
    from engine.names import check_text

    name = check_text(owner, "owner")
    found = _ask(settings, given, lambda told: told.of_owner(name, interface))
    nobody = f"{plain(name)} held nothing"
    _emit_tenures(settings, {"owner": name}, found, given, nobody, ("address", "owner"))


@verb(
    "label",
    within=history,
    examples=("ipledger history label node=n7 --from -1d",),
)
@click.argument("label", metavar="KEY=VALUE")
@_tenure_options
def history_label(settings: Settings, /, label: str, **given: Unpack[TenureOptions]) -> None:
    """Tell everything that was held with a label."""
    from ipledger.cli.leases import read_labels

    ((key, value),) = read_labels((label,)).items()
    found = _ask(settings, given, lambda told: told.of_label(key, value))
    nobody = f"nothing was held with {plain(label)}"
    _emit_tenures(settings, {"label": f"{key}={value}"}, found, given, nobody, ("address", "owner"))


@verb("actor", within=history, examples=("ipledger history actor ops@bastion --from -1d",))
@click.argument("who", metavar="ACTOR")
@_tenure_options
def history_actor(settings: Settings, /, who: str, **given: Unpack[TenureOptions]) -> None:
    """Tell everything that ACTOR granted, as claimed."""
    from engine.names import check_text

    name = check_text(who, "actor")
    found = _ask(settings, given, lambda told: told.of_actor(name))
    nobody = f"{plain(name)} granted nothing"
    _emit_tenures(settings, {"actor": name}, found, given, nobody, ("address", "owner"))


class _Found:
    """Tenures, and what is told beside them."""

    def __init__(self, asked: Asked, tenures: list[Tenure], limit: int) -> None:
        self.asked = asked
        self.truncated = len(tenures) > limit
        self.tenures = tenures[:limit]
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self.unheld: Unheld | None = None


def _times(given: TenureOptions) -> Times:
    return Times(given["at"], given["start"], given["end"], given["known_at"])


def _ask(
    settings: Settings,
    given: TenureOptions,
    choose: Callable[[History], Wanted],
    address: Address | None = None,
) -> _Found:
    """Ask for tenures; of a single address, also when it was seen and why nobody holds it."""

    def query(told: History, asked: Asked) -> _Found:
        from replay.history.merging import merged
        from replay.history.unheld import unheld

        limit = given["limit"]
        wanted = choose(told)
        tenures = told.tenures(wanted, asked.span, limit + 1)
        if asked.at_ms is not None:
            tenures = [tenure for tenure in tenures if tenure.covers(asked.at_ms)]
        found = _Found(asked, tenures, limit)
        found.first_ms, found.last_ms = told.seen(wanted, asked.span.known_at_ms)
        if given["merge"]:
            found.tenures = merged(found.tenures)
        if address is not None and asked.is_moment:
            moment_ms = asked.now_ms if asked.at_ms is None else asked.at_ms
            if told.holder(address, moment_ms, asked.span.known_at_ms) is None:
                found.unheld = unheld(told, address, moment_ms, asked.span.known_at_ms)
        return found

    return ask_history(settings, _times(given), query)  # fmt: skip


def _emit_tenures(
    settings: Settings,
    what: Json,
    found: _Found,
    given: TenureOptions,
    nobody: str,
    drawn_by: tuple[str, ...],
) -> None:
    """Print tenures, whatever was asked."""
    from ipledger.history_views import tenure_view, time_or_none, unheld_view

    items = [tenure_view(tenure) for tenure in found.tenures]
    asked = found.asked
    data = {
        **what,
        "position": asked.position,
        "at": time_or_none(asked.at_ms),
        "known_at": time_or_none(asked.span.known_at_ms),
        "first_seen": time_or_none(found.first_ms),
        "last_seen": time_or_none(found.last_ms),
        "unheld": unheld_view(found.unheld),
        "truncated": found.truncated,
        "items": items,
    }
    lines = [_tenure_table(items, with_address="address" in drawn_by)] if items else []
    if items and given["timeline"]:
        from ipledger.cli.timeline import draw

        lines = [draw(found.tenures, drawn_by, asked.drawn)]
    if found.unheld is not None:
        why = why_text(found.unheld)
        lines.append(f"{'now' if items else nobody}: {why}")
    elif not items:
        lines.append(nobody)
    if found.truncated:
        lines.append(f"… more than {given['limit']}; see --limit, --from and --to")
    lines.append(f"as of position {asked.position}")
    emit(settings.output, data, "\n".join(lines))


def _tenure_table(items: Iterable[dict[str, Any]], *, with_address: bool) -> str:
    headings = ["owner", "interface", "from", "to", "ended", "pool", "lease"]
    rows = [
        [i["owner"], i["interface"], i["from"], i["to"] or "(still held)", i["ended_by"],
         i["pool"], few(i["leases"])]
        for i in items
    ]  # fmt: skip
    if with_address:
        headings = ["address", *headings]
        rows = [[_block(i), *row] for i, row in zip(items, rows, strict=True)]
    return table(headings, rows)


def _block(item: dict[str, Any]) -> str:
    whole = 128 if ":" in item["address"] else 32
    length = item["prefix_length"]
    return item["address"] if length == whole else f"{item['address']}/{length}"


def why_text(why: Unheld) -> str:
    """Why nobody held an address, for a person."""
    from ipledger.times import format_ms

    named, pool = plain(list(why.named)), why.pool
    because = f" ({plain(why.reason)})" if why.reason else ""
    within = f" in pool {pool}" if pool else ", in no pool"
    if why.why == "quarantined":
        return f"quarantined by quarantine/{named}{because}{within}"
    if why.why == "cooling":
        assert why.until_ms is not None, "a rest has an end"
        return f"at rest until {format_ms(why.until_ms)}{within}"
    if why.why == "reserved":
        return f"reserved by {named}{because}{within}"
    if why.why == "excluded":
        return f"excluded by pool {pool}"
    return f"free{within}" if why.why == "free" else "in no pool"


@verb("pool", within=history, examples=("ipledger history pool web -o yaml",))
@click.argument("name", shell_complete=complete_pool)
@TIMES
def history_pool(
    settings: Settings, name: str, at: str | None, start: str | None, end: str | None,
    known_at: str | None,
) -> None:  # fmt: skip
    """Tell every change to a pool, with its whole definition before and after.

    With --at, only the change that made it what it was then.
    """
    _tell_changes(settings, "pool", name, Times(at, start, end, known_at))


@verb("reservation", within=history, examples=("ipledger history reservation gateways",))
@click.argument("name")
@TIMES
def history_reservation(
    settings: Settings, name: str, at: str | None, start: str | None, end: str | None,
    known_at: str | None,
) -> None:  # fmt: skip
    """Tell every change to a reservation, with its whole definition before and after.

    With --at, only the change that made it what it was then.
    """
    _tell_changes(settings, "reservation", name, Times(at, start, end, known_at))


def _tell_changes(
    settings: Settings, kind: str, name: str, times: Times
) -> None:  # fmt: skip
    from engine.names import check_name
    from ipledger.history_views import change_view, differences, time_or_none
    from replay.history.changes import Change, changes
    from replay.history.definitions import Kind

    check_name(name, kind)
    of_kind: Kind = "pool" if kind == "pool" else "reservation"

    def query(told: History, asked: Asked) -> tuple[Asked, list[Change]]:
        from replay.history.queries import Span

        if not changes(told, of_kind, name):
            raise not_found(kind, name)
        if asked.at_ms is None:
            return asked, changes(told, of_kind, name, asked.span)
        until = Span(None, asked.at_ms + 1, asked.span.known_at_ms)
        return asked, changes(told, of_kind, name, until)[-1:]

    asked, found = ask_history(settings, times, query)
    items = [change_view(change) for change in found]
    rows = [
        (i["position"], i["time"], i["what"], i["id"], i["actor"], i["reason"],
         "; ".join(differences(change)))
        for i, change in zip(items, found, strict=True)
    ]  # fmt: skip
    human = table(["position", "time", "what", "id", "actor", "reason", "new"], rows)
    data = {
        "name": name, "position": asked.position, "at": time_or_none(asked.at_ms),
        "known_at": time_or_none(asked.span.known_at_ms), "items": items,
    }  # fmt: skip
    emit(settings.output, data, f"{human}\nas of position {asked.position}")


@verb("overlaps", within=history, examples=("ipledger history overlaps 10.3.0.0/16",))
@click.argument("cidr")
@TIMES
def history_overlaps(
    settings: Settings, cidr: str, at: str | None, start: str | None, end: str | None,
    known_at: str | None,
) -> None:  # fmt: skip
    """Tell which pools gave out addresses of a block, when, and which addresses."""
    from engine.addresses import parse_subnet
    from ipledger.history_views import overlap_view, time_or_none
    from replay.history.changes import Overlap, overlaps

    block = parse_subnet(cidr)

    def query(told: History, asked: Asked) -> tuple[Asked, list[Overlap]]:
        return asked, overlaps(told, block, asked.span)

    asked, found = ask_history(settings, Times(at, start, end, known_at), query)
    items = [overlap_view(overlap) for overlap in found]
    rows = [(i["pool"], few(i["ips"]), i["size"], i["from"], i["to"] or "(still)", i["pool_id"])
            for i in items]  # fmt: skip
    human = table(["pool", "ips", "size", "from", "to", "id"], rows)
    if not items:
        human = f"no pool had addresses of {block}"
    data = {
        "block": str(block), "position": asked.position, "at": time_or_none(asked.at_ms),
        "known_at": time_or_none(asked.span.known_at_ms), "items": items,
    }  # fmt: skip
    emit(settings.output, data, f"{human}\nas of position {asked.position}")
