"""`follow`: the events themselves, as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from ipledger.cli.complete import complete_event_type, complete_pool
from ipledger.cli.leases import read_labels
from ipledger.cli.settings import Settings, tell_started, verb
from ipledger.cli.show import Json, json_line, tell_away, write, yaml_text

if TYPE_CHECKING:
    from ipledger.consuming import Delivery


class Wanted(TypedDict):
    """The options that choose among the events."""

    types: tuple[str, ...]
    pools: tuple[str, ...]
    prefixes: tuple[str, ...]
    clusters: tuple[str, ...]
    labels: tuple[str, ...]
    shard: str | None


@verb(
    examples=(
        "ipledger follow --from 1",
        "ipledger follow --from -1h --until-end --type LeaseGranted --type LeaseEnded",
        "ipledger follow --consumer dns --cluster east --label app=web",
        "ipledger follow --consumer fw-2 --prefix 10.0.0.0/8 --shard 2/5",
    )
)
@click.option(
    "--from",
    "start",
    metavar="POSITION|TIME|now",
    help="The first event to print [now; with --consumer, the first one of the space].",
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="TYPE",
    shell_complete=complete_event_type,
    help="Only events of this type, such as LeaseGranted; repeatable.",
)
@click.option("--pool", "pools", multiple=True, metavar="POOL", shell_complete=complete_pool,
              help="Only events of this pool and its leases; repeatable.")  # fmt: skip
@click.option("--prefix", "prefixes", multiple=True, metavar="CIDR",
              help="Only events about addresses in it; repeatable.")  # fmt: skip
@click.option("--cluster", "clusters", multiple=True, metavar="NAME",
              help="Only events of leases granted to this cluster; repeatable.")  # fmt: skip
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE",
              help="Only events with this label; repeatable, and all must fit.")  # fmt: skip
@click.option("--shard", metavar="I/N",
              help="Only the I-th of N shares of the addresses, such as 2/5.")  # fmt: skip
@click.option("--consumer", "name", metavar="NAME",
              help="Go on behind what this consumer has printed, and keep its cursor.")  # fmt: skip
@click.option("--until-end", is_flag=True, help="Stop at the end instead of waiting for more.")
def follow(
    settings: Settings, start: str | None, name: str | None, until_end: bool,
    **wanted: Unpack[Wanted],
) -> None:  # fmt: skip
    """Print events as they come, as JSON lines, commit by commit.

    With -o yaml each event is a YAML document. A server that goes away is waited for. With
    --consumer, --from counts the first time only; `ipledger consumers` lists them.
    """
    from engine.errors import InvalidInput
    from ipledger.consumer import Consumer

    if start == "":
        raise InvalidInput("--from is empty", "give a position, a time or now, or leave it out")
    line = _yaml_document if settings.output == "yaml" else json_line
    with Consumer(
        name, url=settings.url, space=settings.space,
        start=start or ("now" if name is None else 1),
        types=wanted["types"], pools=wanted["pools"], prefixes=wanted["prefixes"],
        clusters=wanted["clusters"], labels=read_labels(wanted["labels"]), shard=wanted["shard"],
        until_end=until_end, home=settings.home, state_dir=settings.states,
        server=settings.server, on_away=tell_away, on_start=tell_started,
    ) as consumer:  # fmt: skip
        if start is not None and consumer.resumed_at is not None:
            position = consumer.resumed_at.position
            click.echo(f"ipledger: consumer {name} goes on behind position {position}", err=True)
        for commit in consumer:
            _print_commit(commit, line)


def _print_commit(commit: Delivery, line: Callable[[Json], str]) -> None:
    """One write for a commit, so that who reads a pipe does not see half of one."""
    write("\n".join(line(event.as_json()) for event in commit.events))


def _yaml_document(item: Json) -> str:
    return f"---\n{yaml_text(item)}".rstrip("\n")
