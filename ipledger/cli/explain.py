"""`explain`: why an address is or is not given out, and why an owner has what it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import click

from ipledger.cli.complete import complete_pool
from ipledger.cli.requester import AskedAround, around_options
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit, fields, plain
from ipledger.cli.views import must_exist

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipledger.explaining import Asker, Then
    from ipledger.ledger import Ledger
    from replay.history.tenure import Tenure

Json = dict[str, Any]


class AskedOf(AskedAround):
    """The options of `explain`."""

    asker: str | None
    owner: str | None
    interface: str | None
    pools: tuple[str, ...]
    at: str | None
    labels: tuple[str, ...]


@verb(
    examples=(
        "ipledger explain 172.18.40.40",
        "ipledger explain 172.18.40.40 --for c1/default/web-0",
        "ipledger explain 172.18.40.40 --at 2026-11-03T04:05:00Z",
        "ipledger explain 172.18.40.40 --for c1/shop/api-0 --namespace shop --label app=api",
        "ipledger explain --owner c1/default/web-0",
    )
)
@click.argument("address", required=False)
@click.option("--for", "asker", metavar="OWNER",
              help="Whether this owner would be given ADDRESS [anybody].")  # fmt: skip
@click.option("--owner", metavar="OWNER",
              help="Instead of ADDRESS: why this owner has what it has, or nothing.")  # fmt: skip
@click.option("--interface", metavar="NAME",
              help="The owner's interface [with --for: eth0; with --owner: all].")  # fmt: skip
@click.option("--pool", "pools", multiple=True, metavar="POOL", shell_complete=complete_pool,
              help="With --owner: what this pool would give; repeatable.")  # fmt: skip
@click.option("--at", metavar="POSITION|TIME", help="As it was then [now].")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE",
              help="A label of the pod that would ask; repeatable.")  # fmt: skip
@around_options
def explain(settings: Settings, /, address: str | None, **asked: Unpack[AskedOf]) -> None:
    """Tell why an address is given out, or why not.

    Every rule that speaks about ADDRESS, and the verdict. With --owner: what an owner holds, by
    which command, and how each address was chosen; or why it would get nothing, pool by pool.
    Exit code 0 whenever the question was answered.
    """
    context = click.get_current_context()
    if (address is None) == (asked["owner"] is None):
        raise click.UsageError("name an ADDRESS, or an --owner", context)
    if address is None:
        if asked["asker"] is not None:
            raise click.UsageError("--for goes with an ADDRESS", context)
        _explain_owner(settings, asked)
        return
    if asked["pools"]:
        raise click.UsageError("--pool goes with --owner", context)
    _explain_address(settings, address, asked)


def _explain_address(settings: Settings, address: str, asked: AskedOf) -> None:
    from ipledger.explain_views import explanation_view
    from ipledger.explaining import explain_at, read_address

    wanted, asker = read_address(address), _asker(asked["asker"], asked)
    with settings.open() as ledger:
        must_exist(ledger)
        then = _then(ledger, asked["at"])
        told = explain_at(ledger.writer.stream, then, wanted, asker)
        data = explanation_view(told, then.state, ledger.space)
    emit(settings.output, data, "\n".join(_address_lines(data)), ())


def _asker(owner: str | None, asked: AskedOf) -> Asker:
    """Who would ask, as the options say."""
    from engine.model import DEFAULT_INTERFACE
    from ipledger.cli.leases import read_labels
    from ipledger.explaining import Asker

    interface = DEFAULT_INTERFACE if asked["interface"] is None else asked["interface"]
    return Asker.read(
        owner, interface, read_labels(asked["labels"]),
        {
            "namespace": asked["namespace"],
            "namespace_labels": read_labels(asked["namespace_labels"], "--namespace-label"),
            "node": asked["node"],
            "node_labels": read_labels(asked["node_labels"], "--node-label"),
            "network": asked["network"],
        },
    )  # fmt: skip


def _then(ledger: Ledger, at: str | None) -> Then:
    """The state that is meant, with its progress on stderr if that takes long."""
    from ipledger.cli.progress import Progress
    from ipledger.explaining import state_at

    with Progress("replaying") as progress:
        return state_at(ledger, at, progress)


def _address_lines(data: Json) -> Iterator[str]:
    verdict = data["verdict"]
    whom = "anybody" if verdict["for"] is None else verdict["for"]
    if verdict["reason"] == "held_by_owner":
        answer = f"{whom} would get it again"
    elif verdict["given"]:
        answer = f"would be given to {whom}"
    elif verdict["for"] is None:
        answer = "not given out"
    else:
        answer = f"not given to {whom}"
    yield plain(f"{data['address']}: {answer}: {verdict['text']}")
    rows: list[tuple[str, object]] = []
    for reason in data["reasons"]:
        rows.append((reason["reason"].replace("_", " "), _sentence(reason)))
        if reason["reason"] == "leased":
            rows += _lease_rows(data["lease"])
    yield fields(rows)
    yield f"as of position {data['position']}, {data['at']}"


def _lease_rows(lease: Json) -> Iterator[tuple[str, object]]:
    for key in ("uid", "cluster", "labels"):
        if lease[key]:
            yield f"  {key}", lease[key]


def _sentence(reason: Json) -> str:
    parts = [reason["text"]]
    if reason["why"]:
        parts.append(f"because: {reason['why']}")
    if reason["since"]:
        parts.append(f"since {reason['since']}")
    if reason["until"]:
        parts.append(f"until {reason['until']}")
    return ", ".join(parts)


# ---------------------------------------------------------------------------------------- an owner


def _explain_owner(settings: Settings, asked: AskedOf) -> None:
    from engine.names import check_name
    from ipledger.cli.progress import Progress
    from ipledger.explaining_owner import explain_owner, owner_view

    assert asked["owner"] is not None, "it is asked about"
    asker = _asker(asked["owner"], asked)
    owner, interface = asked["owner"], asked["interface"]
    pools = [check_name(name, "pool") for name in asked["pools"]]
    with settings.open() as ledger:
        must_exist(ledger)
        then = _then(ledger, asked["at"])
        tenures = _tenures(settings, owner, interface)
        with Progress("replaying", then.state.position) as progress:
            told = explain_owner(
                ledger.writer.stream, then, asker, interface, pools, tenures, progress
            )
        data = owner_view(told, then)
    emit(settings.output, data, "\n".join(_owner_lines(data, named=bool(pools))), ())


def _tenures(settings: Settings, owner: str, interface: str | None) -> list[Tenure]:
    """Everything that the owner ever held, of the local history."""
    from ipledger.cli.history_asking import Times, ask_history
    from replay.history.queries import ALWAYS

    return ask_history(
        settings, Times(None, None, None, None),
        lambda told, _asked: told.tenures(told.of_owner(owner, interface), ALWAYS, -1),
    )  # fmt: skip


def _would_get(data: Json, *, named: bool) -> str:
    """What the owner would get of the pools that were named; or that none was."""
    if not named:
        return "it names no pool here; if it named one, each would answer:"
    gives = next((seen for seen in data["pools"] if seen["gives"]), None)
    if gives is None:
        return "if it asked, it would get nothing"
    drawn = f"an address drawn at random, of pool {gives['pool']}"
    return f"if it asked, it would get {data['would_get'] or drawn}"


def _owner_lines(data: Json, *, named: bool) -> Iterator[str]:
    owner = plain(data["owner"])
    held, last = data["held"], data["last_ended"]
    where = "" if data["interface"] is None else f" on {plain(data['interface'])}"
    if held:
        yield f"{owner} holds {len(held)} lease{'' if len(held) == 1 else 's'}{where}"
    elif not data["known"]:
        yield f"{owner} is not known: it never held anything{where}, and nothing is kept for it"
    elif last is None:
        yield f"{owner} holds nothing{where}, and never did"
    else:
        yield f"{owner} holds nothing{where}"
    for had in held:
        yield from _had_lines("holds", had)
    if last is not None:
        yield from _had_lines("held last", last)
    if data["pools"]:
        yield _would_get(data, named=named)
        yield fields((f"pool {seen['pool']}", seen["text"]) for seen in data["pools"])
    yield f"as of position {data['position']}, {data['at']}"


def _had_lines(title: str, had: Json) -> Iterator[str]:
    from ipledger.cli.leases import address_text

    granted, chosen, ended = had["granted"], had["chosen"], had["ended"]
    until = f" to {had['to']}" if had["to"] else ""
    held = f"{address_text(had)} from pool {had['pool']} on {had['interface']}"
    rows: list[tuple[str, object]] = [
        (title, f"{held} (lease {had['lease']}) from {had['from']}{until}"),
        ("  granted", _by_whom(granted)),
        ("  command", granted["command_id"] or granted["command"]),
        ("  chosen", f"{chosen['text']} (decided at position {chosen['decided_at']})"),
    ]
    if ended is not None:
        rows.append(("  ended", f"{ended['how']} {_by_whom(ended)}"))
    yield fields(rows)


def _by_whom(event: Json) -> str:
    by = f" by {event['actor']}" if event["actor"] else ""
    why = f", because: {event['reason']}" if event["reason"] else ""
    return f"at {event['time']}{by}{why} (position {event['position']})"
