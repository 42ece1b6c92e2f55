"""`describe`: everything about one thing, for a person to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import click

from ipledger.cli.complete import complete_kind, complete_name
from ipledger.cli.kinds import find_object
from ipledger.cli.leases import address_text
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit, fields
from ipledger.cli.views import BUCKETS, durability_words, find_items

Item = dict[str, Any]
Lines = Iterator[tuple[str, object]]


@verb(examples=("ipledger describe pool web", "ipledger describe lease 17"))
@click.argument("kind", shell_complete=complete_kind)
@click.argument("name", required=False, shell_complete=complete_name)
def describe(settings: Settings, kind: str, name: str | None) -> None:
    """Show everything about one pool, reservation, lease or space.

    The other forms of output are those of `get KIND NAME`.
    """
    kind, name = find_object(kind, name)
    if not name:
        context = click.get_current_context()
        raise click.UsageError("Missing argument 'NAME'.", context)
    items = find_items(settings, kind, name)
    emit(settings.output, {"items": items}, fields(_LINES[kind](items[0])))


def _pool(pool: Item) -> Lines:
    counts = pool["counts"]
    yield "pool", pool["name"]
    yield "id", pool["pool"]
    yield "space", pool["space"]
    yield "state", pool["state"]
    yield "subnet", f"{pool['subnet']} (IPv{pool['ip_version']})"
    yield "ips", pool["ips"]
    yield "excluded", pool["exclude_ips"]
    yield "gateway", pool["gateway"]
    for route in pool["routes"]:
        yield "route", f"{route['dst']} via {route['gw']}"
    yield "default", pool["default"]
    yield "policy", pool["policy"]
    yield "lease time", _seconds(pool["ttl_s"]) or "without end"
    yield "cooldown", _seconds(pool["cooldown_s"]) or "none"
    if pool["sticky_s"] is not None:
        yield "sticky", _seconds(pool["sticky_s"])
    for selector in ("pod_affinity", "namespace_affinity", "node_affinity"):
        if pool[selector] is not None:
            yield selector.replace("_", " "), _selector(pool[selector])
    for names in ("namespace_name", "node_name", "multus_name"):
        if pool[names]:
            yield names.replace("_", " "), pool[names]
    yield "labels", pool["labels"]
    yield "addresses", counts["total"]
    for bucket in BUCKETS[1:]:
        yield f"  {bucket}", counts[bucket]


def _reservation(held: Item) -> Lines:
    yield "reservation", held["name"]
    yield "id", held["reservation"]
    yield "space", held["space"]
    yield "ips", held["ips"]
    yield "addresses", held["size"]
    yield "kept for", held["owner"] or "nobody"
    yield "reason", held["reason"]
    yield "lasts", _seconds(held["for_s"]) or "until it is deleted"
    yield "created", held["created_at"]
    yield "labels", held["labels"]


def _lease(lease: Item) -> Lines:
    yield "lease", lease["lease"]
    yield "space", lease["space"]
    yield "address", address_text(lease)
    yield "pool", lease["pool"]
    yield "owner", lease["owner"]
    yield "interface", lease["interface"]
    yield "uid", lease["uid"]
    yield "cluster", lease["cluster"]
    yield "state", lease["state"]
    yield "granted", lease["granted_at"]
    yield "expires", lease["expires_at"] or "never"
    yield "labels", lease["labels"]


def _space(space: Item) -> Lines:
    yield "space", space["name"]
    yield "id", space["space_id"]
    yield "position", space["position"]
    yield "generation", space["generation"]
    yield "level", space["level"]
    yield "durability", durability_words(space["durability"])
    yield "trouble", space["trouble"] or "none"


_LINES: dict[str, Callable[[Item], Lines]] = {
    "pools": _pool,
    "reservations": _reservation,
    "leases": _lease,
    "spaces": _space,
}


def _seconds(seconds: int | None) -> str:
    """A duration as manifests write it, nothing for none."""
    from ipledger.durations import format_duration

    return format_duration(seconds) if seconds else ""


def _selector(selector: Item) -> list[str]:
    told = [f"{key}={value}" for key, value in selector["match_labels"].items()]
    for part in selector["match_expressions"]:
        values = f" ({', '.join(part['values'])})" if part["values"] else ""
        told.append(f"{part['key']} {part['operator']}{values}")
    return told
