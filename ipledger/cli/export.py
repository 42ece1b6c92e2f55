"""`export`: what is, as manifests that `apply` reads; and the schema of such manifests."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit, json_line, plain, write

if TYPE_CHECKING:
    from projections.state import LedgerState

Document = dict[str, Any]

_TOGETHER = 1_000  # documents written at once
# As in `ipledger.exporting.KINDS`; a test holds the two together, an import here costs 60 ms.
_KINDS = ("space", "pool", "reservation", "lease", "quarantine")


class _Asked(TypedDict):
    """The options of `export`."""

    kinds: tuple[str, ...]
    definitions: bool
    at: str | None
    digest: bool


@verb(
    examples=(
        "ipledger export > ledger.yaml",
        "ipledger export --definitions | git diff --no-index pools.yaml -",
        "ipledger export --kind lease -o jsonl --at 2026-11-03T04:05:00Z",
    )
)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(_KINDS), metavar="KIND",
              help=f"Only these; repeatable: {', '.join(_KINDS)} [all].")  # fmt: skip
@click.option("--definitions", is_flag=True, help="As --kind pool --kind reservation.")
@click.option("--at", metavar="POSITION|TIME", help="As it was then [now].")
@click.option(
    "--digest",
    is_flag=True,
    help="Only the digest of pools, reservations and leases by their names and times.",
)
def export(settings: Settings, /, **asked: Unpack[_Asked]) -> None:
    """Write what is as manifests that `apply` reads.

    They are of our own kinds, in YAML unless -o says json or jsonl. The same state gives
    the same text, in an order by kind,
    name and address, so two exports can be compared line by line. The digest is the same of two
    spaces that say the same, whatever their histories.
    """
    if asked["digest"] and (asked["definitions"] or asked["kinds"]):
        message = "--digest is of pools, reservations and leases: leave the kinds out"
        raise click.UsageError(message, click.get_current_context())
    if asked["definitions"] and asked["kinds"]:
        message = "--definitions says which kinds: leave --kind out"
        raise click.UsageError(message, click.get_current_context())
    from ipledger.exporting import DEFINITIONS, manifests_of, terminating_pools

    kinds = DEFINITIONS if asked["definitions"] else asked["kinds"] or _KINDS
    state = _state_now(settings) if asked["at"] is None else _state_at(settings, asked["at"])
    if asked["digest"]:
        from projections.content import content_digest

        digest = content_digest(state)
        data = {"space": settings.space, "position": state.position, "content_digest": digest}
        emit(settings.output, data, digest)
        return
    if "pool" in kinds:
        for name in terminating_pools(state):
            told = f"pool {name} is terminating, which no manifest says: it is stated as disabled"
            click.echo(f"warning: {plain(told)}", err=True)
    if "lease" in kinds and asked["at"] is None:
        late = len(state.leases_due(time.time_ns() // 1_000_000, 1_000_000))
        if late:
            told = f"{late} leases are past their time, and are left out where this is applied"
            click.echo(f"warning: {told}: run `ipledger sweep` first", err=True)
    for text in _texts(manifests_of(state, kinds), settings.output):
        write(text, newline=False)


def _state_now(settings: Settings) -> LedgerState:
    from ipledger.cli.views import must_exist

    with settings.open() as ledger:
        must_exist(ledger)
        state = ledger.state
        state.read_all()
        return state


def _state_at(settings: Settings, at: str) -> LedgerState:
    """The state as of a moment, by a replay."""
    from engine.names import check_name
    from ipledger import servers
    from ipledger.cli.progress import Progress
    from ipledger.high_water import HighWaterFile
    from ipledger.moments import find_moment
    from ipledger.spaces import existing, open_server
    from ipledger.times import parse_point
    from replay.rebuild import rebuild

    check_name(settings.space, "space")
    now_ms = time.time_ns() // 1_000_000
    point = parse_point(at, now_ms)
    server, endpoint = open_server(settings)
    with closing(server):
        stream = existing(servers.open_stream(server, settings.space), settings.space)
        remembered = HighWaterFile(settings.states, endpoint, settings.space).load()
        moment = find_moment(stream, point, now_ms)
        with Progress("replaying", moment.position) as progress:
            return rebuild(stream, to=moment, remembered=remembered, on_progress=progress).state


def _texts(documents: Iterator[Document], output: str) -> Iterator[str]:
    """The documents in the form asked for, many at once."""
    from ipledger.manifests.yaml_out import document_text

    if output == "json":
        yield from _as_list(documents)
        return
    as_text = _line if output == "jsonl" else document_text
    while taken := list(islice(documents, _TOGETHER)):
        yield "".join(map(as_text, taken))


def _line(document: Document) -> str:
    return f"{json_line(document)}\n"


def _as_list(documents: Iterable[Document]) -> Iterator[str]:
    """One JSON object, a list as Kubernetes knows it, with an item a line."""
    yield '{"apiVersion": "v1", "kind": "List", "items": ['
    between = "\n"
    for document in documents:
        yield f"{between}{json_line(document)}"
        between = ",\n"
    yield "\n]}\n"


@verb(examples=("ipledger schema > manifest.schema.json",))
def schema(_settings: Settings) -> None:
    """Print the JSON Schema of our own manifests.

    An editor or a check finds with it what is wrong before they are applied. It is always
    JSON, whatever -o says.
    """
    from importlib.resources import files

    text = files("ipledger.manifests").joinpath("manifest.schema.json").read_text("utf-8")
    write(text, newline=False)
