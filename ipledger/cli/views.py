"""`get` and `free`: what is, now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from engine.errors import Refusal, Refused
from ipledger.cli.complete import complete_kind, complete_name, complete_pool
from ipledger.cli.kinds import find_object
from ipledger.cli.leases import lease_table, lease_views, read_labels
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit, few, table

if TYPE_CHECKING:
    from ipledger.ledger import Ledger

Items = list[dict[str, Any]]

BUCKETS = ("total", "leased", "quarantined", "cooling", "reserved", "free")
RANGES_MAX = 1_000_000
_NAME_SHOWN = 60
_LEASE_DIGITS_MAX = 20  # as many as a position can have


class Narrowed(TypedDict):
    """The options that choose among leases."""

    owner: str | None
    pool: str | None
    labels: tuple[str, ...]


_ALL: Narrowed = {"owner": None, "pool": None, "labels": ()}


@verb(
    examples=(
        "ipledger get pools",
        "ipledger get pool web -o yaml",
        "ipledger get leases --pool web --label node=n7",
    )
)
@click.argument("kind", shell_complete=complete_kind)
@click.argument("name", required=False, shell_complete=complete_name)
@click.option("--owner", metavar="OWNER", help="Leases of this owner only.")
@click.option("--pool", metavar="POOL", shell_complete=complete_pool,
              help="Leases from this pool only.")  # fmt: skip
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE",
              help="Leases with this label only; repeatable.")  # fmt: skip
def get(settings: Settings, /, kind: str, name: str | None, **narrowed: Unpack[Narrowed]) -> None:
    """List pools, reservations, leases, quarantines or spaces.

    KIND is one of these, KIND/NAME as other commands print it is understood too.
    """
    kind, name = find_object(kind, name)
    if any(narrowed.values()) and (kind != "leases" or name is not None):
        message = "--owner, --pool and --label choose among leases: `ipledger get leases`"
        raise click.UsageError(message, click.get_current_context())
    items = find_items(settings, kind, name, narrowed)
    emit(settings.output, {"items": items}, _TABLES[kind](items))


def find_items(settings: Settings, kind: str, name: str | None, narrowed: Narrowed = _ALL) -> Items:
    """What there is of a kind, or the one of that name.

    Raises:
        Refused: ``not_found``.
    """
    if kind == "spaces":
        return _spaces(settings, name)
    with settings.open() as ledger:
        must_exist(ledger)
        ledger.state.advance(ledger.writer.server_now_ms())  # only looked at from here on
        return _ITEMS[kind](ledger, name, narrowed)


def must_exist(ledger: Ledger) -> None:
    """An unknown space is an error even to look at; `default` is there once it is used.

    Raises:
        Refused: ``not_found``.
    """
    if ledger.position == 0 and ledger.space != "default":
        ledger.ensure_space()


def not_found(kind: str, name: str) -> Refused:
    """There is no such thing."""
    shown = name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}..."
    hint = f"see `ipledger get {kind}s`"
    return Refused(Refusal("not_found", f"{kind} {shown} does not exist", hint, name))


def _pools(ledger: Ledger, name: str | None, _narrowed: Narrowed) -> Items:
    from ipledger.views import pool_view

    state = ledger.state
    if name is None:
        return [pool_view(state, pool, ledger.space) for pool in state.pools()]
    pool = state.pool(name)
    if pool is None:
        raise not_found("pool", name)
    return [pool_view(state, pool, ledger.space)]


def _reservations(ledger: Ledger, name: str | None, _narrowed: Narrowed) -> Items:
    from ipledger.views import reservation_view

    if name is None:
        return [reservation_view(held, ledger.space) for held in ledger.state.reservations()]
    held = ledger.state.reservation(name)
    if held is None:
        raise not_found("reservation", name)
    return [reservation_view(held, ledger.space)]


def _leases(ledger: Ledger, name: str | None, narrowed: Narrowed) -> Items:
    state = ledger.state
    if name is not None:
        is_id = name.isascii() and name.isdigit() and len(name) <= _LEASE_DIGITS_MAX
        lease = state.lease(int(name)) if is_id else None
        if lease is None:
            raise not_found("lease", name)
        return lease_views(ledger, [lease])
    owner, pool_wanted = narrowed["owner"], narrowed["pool"]
    labels = set(read_labels(narrowed["labels"]).items())
    found = state.leases() if owner is None else state.leases_of(owner)
    if pool_wanted is not None:
        pool = state.pool(pool_wanted)
        if pool is None:
            raise not_found("pool", pool_wanted)
        found = [lease for lease in found if lease.pool_id == pool.pool_id]
    if labels:
        found = [lease for lease in found if labels <= set(lease.labels)]
    return lease_views(ledger, found)


def _quarantines(ledger: Ledger, name: str | None, _narrowed: Narrowed) -> Items:
    from ipledger.views import quarantine_view

    items = [quarantine_view(aside, ledger.space) for aside in ledger.state.quarantines()]
    if name is None:
        return items
    found = [item for item in items if str(item["quarantine"]) == name]
    if not found:
        raise not_found("quarantine", name)
    return found


def _spaces(settings: Settings, name: str | None) -> Items:
    from ipledger.spaces import list_spaces

    found = list_spaces(settings)
    if name is None:
        return found
    items = [item for item in found if item["name"] == name]
    if not items:
        raise not_found("space", name)
    return items


def _pool_table(items: Items) -> str:
    rows = [
        (i["name"], i["subnet"], i["state"], *(i["counts"][b] for b in BUCKETS), few(i["ips"]),
         few(i["exclude_ips"]))
        for i in items
    ]  # fmt: skip
    return table(["name", "subnet", "state", *BUCKETS, "ips", "excluded"], rows)


def _reservation_table(items: Items) -> str:
    rows = [(i["name"], few(i["ips"]), i["size"], i["owner"], i["reason"]) for i in items]
    return table(["name", "ips", "size", "owner", "reason"], rows)


def _quarantine_table(items: Items) -> str:
    rows = [
        (i["quarantine"], few(i["ips"]), i["reason"], i["lease"], i["created_at"], i["ends_at"])
        for i in items
    ]
    return table(["quarantine", "ips", "reason", "lease", "since", "until"], rows)


def space_table(items: Items) -> str:
    """Spaces as a table; what is wrong with one stands behind it."""
    keys = ("name", "space_id", "position", "generation", "level", "durability", "trouble")
    rows = [
        [durability_words(item["durability"]) if key == "durability" else item[key] for key in keys]
        for item in items
    ]
    return table(["name", "id", *keys[2:]], rows)


def durability_words(told: dict[str, Any] | None) -> str | None:
    """What a space promises, in a few words; nothing where it is not known."""
    if told is None or told["mode"] == "local":
        return None if told is None else "local"
    disk = " on disk" if told["fsync"] else ""
    return f"replicated ({told['replicas']}{disk}, {told['ack_timeout_ms']} ms)"


_ITEMS: dict[str, Callable[[Ledger, str | None, Narrowed], Items]] = {
    "pools": _pools,
    "reservations": _reservations,
    "leases": _leases,
    "quarantines": _quarantines,
}
_TABLES: dict[str, Callable[[Items], str]] = {
    "pools": _pool_table,
    "reservations": _reservation_table,
    "leases": lease_table,
    "quarantines": _quarantine_table,
    "spaces": space_table,
}
