"""`get`, `describe` and `free`: what is, now."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from engine.errors import InvalidInput, Refusal, Refused
from ipledger.cli.leases import lease_table, lease_views, read_labels
from ipledger.cli.settings import Settings, options, pass_settings
from ipledger.cli.show import emit, fields, table

if TYPE_CHECKING:
    from ipledger.ledger import Ledger

Items = list[dict[str, Any]]

_KINDS = {
    "pool": "pools", "pools": "pools",
    "reservation": "reservations", "reservations": "reservations",
    "lease": "leases", "leases": "leases",
    "space": "spaces", "spaces": "spaces",
}  # fmt: skip


def _kind(text: str) -> str:
    if text not in _KINDS:
        raise click.UsageError(f"{text!r} is not one of pools, reservations, leases, spaces")
    return _KINDS[text]


@click.command()
@click.argument("kind")
@click.argument("name", required=False)
@click.option("--owner", help="Leases of this owner only.")
@click.option("--pool", help="Leases of this pool only.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="… with this label.")
@options
@pass_settings
def get(settings: Settings, /, kind: str, name: str | None, **narrowed: Any) -> None:
    """List pools, reservations, leases or spaces, or show the one of that NAME."""
    kind = _kind(kind)
    if kind == "spaces":
        items = _spaces(settings, name)
        rows = [(i["name"], i["space_id"], i["position"], i["generation"]) for i in items]
        emit(settings.output, {"items": items}, table(["name", "id", "position", "gen"], rows))
        return
    with settings.open() as ledger:
        _must_exist(ledger)
        items = _ITEMS[kind](ledger, name, narrowed)
        emit(settings.output, {"items": items}, _TABLES[kind](items))


@click.command()
@click.argument("kind")
@click.argument("name")
@options
@pass_settings
def describe(settings: Settings, kind: str, name: str) -> None:
    """Show everything about one pool, reservation, lease or space."""
    kind = _kind(kind)
    if kind == "spaces":
        items = _spaces(settings, name)
    else:
        with settings.open() as ledger:
            _must_exist(ledger)
            items = _ITEMS[kind](ledger, name, {"owner": None, "pool": None, "labels": ()})
    flat: list[tuple[str, object]] = []
    for key, value in items[0].items():
        if key == "counts":
            flat += [(f"  {bucket}", number) for bucket, number in value.items()]
        else:
            flat.append((key, value))
    emit(settings.output, {"items": items}, fields(flat))


def _must_exist(ledger: Ledger) -> None:
    """An unknown space is an error even to look at; `default` is there once it is used."""
    if ledger.position == 0 and ledger.space != "default":
        ledger.ensure_space()


def _one(found: object, kind: str, name: str) -> None:
    if found is None:
        hint = f"see `ipledger get {kind}s`"
        raise Refused(Refusal("not_found", f"{kind} {name} does not exist", hint, name))


def _pools(ledger: Ledger, name: str | None, narrowed: dict[str, Any]) -> Items:
    from ipledger.views import pool_view

    del narrowed
    state = ledger.state
    if name is None:
        return [pool_view(state, pool, ledger.space) for pool in state.pools()]
    pool = state.pool(name)
    _one(pool, "pool", name)
    assert pool is not None, "looked up just now"
    return [pool_view(state, pool, ledger.space)]


def _reservations(ledger: Ledger, name: str | None, narrowed: dict[str, Any]) -> Items:
    from ipledger.views import reservation_view

    del narrowed
    if name is None:
        return [reservation_view(held, ledger.space) for held in ledger.state.reservations()]
    held = ledger.state.reservation(name)
    _one(held, "reservation", name)
    assert held is not None, "looked up just now"
    return [reservation_view(held, ledger.space)]


def _leases(ledger: Ledger, name: str | None, narrowed: dict[str, Any]) -> Items:
    state = ledger.state
    if name is not None:
        lease = state.lease(int(name)) if name.isascii() and name.isdigit() else None
        _one(lease, "lease", name)
        assert lease is not None, "looked up just now"
        return lease_views(ledger, [lease])
    owner, pool_wanted = narrowed["owner"], narrowed["pool"]
    labels = set(read_labels(narrowed["labels"]).items())
    pool = None
    if pool_wanted is not None:
        pool = state.pool(pool_wanted)
        _one(pool, "pool", pool_wanted)
    found = state.leases() if owner is None else state.leases_of(owner)
    return lease_views(ledger, [
        lease for lease in found
        if (pool is None or lease.pool_id == pool.pool_id) and labels <= set(lease.labels)
    ])  # fmt: skip


def _spaces(settings: Settings, name: str | None) -> Items:
    from ipledger.spaces import list_spaces

    found = list_spaces(settings)
    if name is None:
        return found
    items = [item for item in found if item["name"] == name]
    _one(items[0] if items else None, "space", name)
    return items


def _pool_table(items: Items) -> str:
    rows = [
        (i["name"], i["subnet"], i["state"], *(i["counts"][b] for b in (
            "total", "leased", "quarantined", "cooling", "reserved", "free")), i["ips"],
         i["exclude_ips"])
        for i in items
    ]  # fmt: skip
    return table(
        ["name", "subnet", "state", "total", "leased", "quarantined", "cooling", "reserved",
         "free", "ips", "excluded"], rows,
    )  # fmt: skip


def _reservation_table(items: Items) -> str:
    rows = [(i["name"], i["ips"], i["size"], i["owner"], i["reason"]) for i in items]
    return table(["name", "ips", "size", "owner", "reason"], rows)


_ITEMS: dict[str, Callable[[Ledger, str | None, dict[str, Any]], Items]] = {
    "pools": _pools,
    "reservations": _reservations,
    "leases": _leases,
}
_TABLES: dict[str, Callable[[Items], str]] = {
    "pools": _pool_table,
    "reservations": _reservation_table,
    "leases": lease_table,
}


@click.command()
@click.argument("pool")
@click.option("--limit", type=int, default=20, metavar="N", help="At most N ranges [20].")
@options
@pass_settings
def free(settings: Settings, pool: str, limit: int) -> None:
    """List the free ranges of a pool, lowest first."""
    from ipledger.views import free_range_view

    if limit < 1:
        message = f"--limit {limit} is not a number of ranges"
        raise InvalidInput(message, "at least 1")
    with settings.open() as ledger:
        _must_exist(ledger)
        found = ledger.state.pool(pool)
        _one(found, "pool", pool)
        assert found is not None, "looked up just now"
        free_set = ledger.state.pool_table.free(found.pool_id)
        ranges = list(islice(free_set.free_ranges(limit=limit + 1), limit + 1))
        items = [free_range_view(first, last, found) for first, last in ranges[:limit]]
        total = ledger.state.counts(found.pool_id).free
        data = {"items": items, "pool": pool, "free": total, "truncated": len(ranges) > limit}
        human = table(["first", "last", "addresses"],
                      [(i["first"], i["last"], i["size"]) for i in items])  # fmt: skip
        more = f"\n… more than {limit} ranges; see --limit" if len(ranges) > limit else ""
        emit(settings.output, data, f"{human}\n{total} free in pool {pool}{more}")
