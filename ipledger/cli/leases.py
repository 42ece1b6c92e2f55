"""`allocate` and `release`: leases begin and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from engine.errors import InvalidInput
from ipledger.cli.complete import complete_pool
from ipledger.cli.requester import AskedFor, requester_options
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit, plain, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from engine.facts import Lease
    from ipledger.ledger import Ledger
    from ipledger.operation import Allocated

_NOT_FOR_FILES = ("pools", "owner", "uid", "addresses", "count", "prefix_length")
_LEASE_DIGITS_MAX = 18


class Asked(AskedFor):
    """The options of `allocate`, but for its files."""

    pools: tuple[str, ...]
    default_pools: tuple[str, ...]
    owner: str | None
    interfaces: tuple[str, ...]
    uid: str | None
    addresses: tuple[str, ...]
    count: int | None
    ttl: str | None
    labels: tuple[str, ...]
    cluster: str | None
    effective_at: str | None
    prefix_length: int | None


class Chosen(TypedDict):
    """The options of `release`: which of an owner's leases."""

    owner: str | None
    interface: str | None
    address: str | None
    labels: tuple[str, ...]


def read_labels(texts: Sequence[str], option: str = "--label") -> dict[str, str]:
    """Labels from ``k=v`` texts.

    Raises:
        InvalidInput: one has no ``=``, or a key is given twice.
    """
    labels: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        shown = repr(text if len(text) <= 60 else f"{text[:57]}...")
        if not equals or not key:
            raise InvalidInput(f"label {shown} is not KEY=VALUE", f"for example {option} zone=a")
        if key in labels:
            raise InvalidInput(f"label {shown}: its key is given twice", "a key has one value")
        labels[key] = value
    return labels


def lease_views(ledger: Ledger, leases: Iterable[Lease]) -> list[dict[str, Any]]:
    """Leases in their JSON shape, also those of a pool that is gone."""
    from ipledger.views import lease_view

    names = {pool.pool_id: pool.name for pool in ledger.state.pools()}
    return [
        lease_view(held, names.get(held.pool_id) or f"#{held.pool_id}", ledger.space)
        for held in leases
    ]


def lease_table(views: Sequence[dict[str, Any]]) -> str:
    """Leases as a table."""
    rows = [
        (v["lease"], address_text(v), v["pool"], v["owner"], v["interface"], v["granted_at"],
         v["expires_at"])
        for v in views
    ]  # fmt: skip
    return table(["lease", "address", "pool", "owner", "interface", "granted", "expires"], rows)


def address_text(view: dict[str, Any]) -> str:
    """The address, with its prefix length only when it is a block."""
    whole = 128 if ":" in view["address"] else 32
    length = view["prefix_length"]
    address: str = view["address"]
    return address if length == whole else f"{address}/{length}"


def all_leases(ledger: Ledger, answer: Allocated) -> list[Lease]:
    """What an allocate answered, the leases held before included."""
    held: list[Lease] = []
    for lease_id in answer.held:
        lease = ledger.state.lease(lease_id)
        if lease is None:
            was = ledger.lease_as_granted(lease_id)
            lease = None if was is None else was[0]
        if lease is not None:
            held.append(lease)
    return [*held, *answer.granted]


@verb(
    examples=(
        "ipledger allocate --pool web --owner c1/default/web-0",
        "ipledger allocate --pool web,spare --owner c1/default/web-1 --ttl 1h",
        "ipledger allocate --pool web --pool web-v6 --owner c1/default/web-2",
        "ipledger allocate --pool web --owner c1/node-7 --prefix-length 28",
        "ipledger allocate --pool 'web-*' --owner c1/shop/api-0 --node n7 --namespace shop",
        "ipledger allocate --owner c1/default/api-1 --ip-version 4",
        "ipledger allocate -f deployment.yaml",
    )
)
@click.option(
    "--pool",
    "pools",
    multiple=True,
    metavar="A[,B]",
    shell_complete=complete_pool,
    help="Pool, or 'web-*'; B if A is exhausted. Repeat it for addresses from both at once "
    "[the default pools].",
)
@click.option(
    "--default-pool",
    "default_pools",
    multiple=True,
    metavar="A[,B]",
    shell_complete=complete_pool,
    help="With -f: the pools of workloads that name none, nor does their Namespace.",
)
@click.option("--owner", metavar="OWNER", help="Who holds it: for a pod, CLUSTER/NAMESPACE/NAME.")
@click.option(
    "--interface",
    "interfaces",
    multiple=True,
    metavar="NAME",
    help="The owner's interface [eth0]. Repeat it for addresses on several, all or none. With "
    "-f: the one that is being added.",
)
@click.option(
    "--uid", metavar="UID", help="The owner's incarnation; another one supersedes its lease."
)
@click.option(
    "--ip", "addresses", multiple=True, metavar="ADDRESS", help="This very address; repeatable."
)
@click.option(
    "--count", type=int, metavar="N", help="Bring the owner to N addresses from each --pool [1]."
)
@click.option(
    "--prefix-length", type=int, metavar="L", help="An aligned block of this length, such as 28."
)
@click.option(
    "--ttl", metavar="TIME", help="How long the lease lasts, such as 1h [the pool's lease time]."
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="A label of the lease; repeatable.",
)
@requester_options
@click.option(
    "--cluster",
    metavar="NAME",
    envvar="IPLEDGER_CLUSTER",
    help="Which cluster asks (IPLEDGER_CLUSTER).",
)
@click.option(
    "--effective-at", metavar="TIME", help="Since when it has been so, if earlier than now."
)
@click.option(
    "-f",
    "--filename",
    "paths",
    multiple=True,
    metavar="FILE|DIR|-",
    type=click.Path(),
    help="Workloads: a lease a replica, as the annotation ipam.spidernet.io/ippool(s) says; with "
    "their Namespaces and Nodes.",
)
def allocate(settings: Settings, /, paths: tuple[str, ...], **asked: Unpack[Asked]) -> int:
    """Give addresses to an owner, or to a workload's replicas.

    An owner who asks again gets what it holds. Exit code 5: all addresses are used out. With -f,
    each replica is refused on its own; the exit code is then theirs: 5 if any found all used out,
    else that of the first.
    """
    context = click.get_current_context()
    if paths:
        if any(value not in {None, ()} for name, value in asked.items() if name in _NOT_FOR_FILES):
            message = "with -f, the manifest says which pools and owners, and each gets addresses"
            raise click.UsageError(message, context)
        from ipledger.cli.workloads import allocate_files

        return allocate_files(settings, paths, asked)
    if asked["owner"] is None:
        raise click.UsageError("name an --owner, or give -f FILE", context)
    if asked["default_pools"]:
        raise click.UsageError("--default-pool goes with -f: name a --pool", context)
    from engine.model import DEFAULT_INTERFACE

    interface = asked["interfaces"] or DEFAULT_INTERFACE
    options_given = lease_options(asked)
    with settings.open() as ledger:
        answer = ledger.allocate(
            asked["pools"], asked["owner"], interface=interface, uid=asked["uid"],
            addresses=asked["addresses"], count=1 if asked["count"] is None else asked["count"],
            prefix_length=asked["prefix_length"], **options_given, **_requester(asked),
            **settings.claims(),
        )  # fmt: skip
        views = lease_views(ledger, all_leases(ledger, answer))
    emit(settings.output, {"leases": views}, lease_table(views), ["leases"])
    return 0


def _requester(asked: Asked) -> dict[str, Any]:
    return {
        "namespace": asked["namespace"],
        "namespace_labels": read_labels(asked["namespace_labels"], "--namespace-label"),
        "node": asked["node"],
        "node_labels": read_labels(asked["node_labels"], "--node-label"),
        "network": asked["network"],
        "families": [int(version) for version in asked["ip_versions"]],
    }


def lease_options(asked: Asked) -> dict[str, Any]:
    """What the options say of the leases, whoever they are for.

    Raises:
        InvalidInput: one cannot be understood.
    """
    from ipledger.durations import parse_duration

    return {
        "ttl_s": None if asked["ttl"] is None else parse_duration(asked["ttl"]),
        "labels": read_labels(asked["labels"]),
        "cluster": asked["cluster"],
        "effective_at_ms": effective_ms(asked["effective_at"]),
    }


def effective_ms(text: str | None) -> int | None:
    """A time in words as milliseconds, if there is one."""
    import time

    from ipledger.times import parse_time

    return None if text is None else parse_time(text, time.time_ns() // 1_000_000)


@verb(
    examples=(
        "ipledger release 17",
        "ipledger release --owner c1/default/web-0",
        "ipledger release --owner c1/default/web-0 --ip 172.18.40.41",
        "ipledger release --label node=n7 --dry-run",
    )
)
@click.argument("leases", nargs=-1, metavar="[LEASE]...")
@click.option("--owner", metavar="OWNER", help="End all that this owner holds.")
@click.option("--interface", metavar="NAME", help="Only what it holds on this interface.")
@click.option("--ip", "address", metavar="ADDRESS", help="Only this address of it.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only what has this label; repeatable. Alone: whoever holds it.",
)
@click.option("--effective-at", metavar="TIME", help="Since when it is over, if earlier than now.")
@click.option("--dry-run", is_flag=True, help="Only say what would be released.")
def release(
    settings: Settings,
    /,
    leases: tuple[str, ...],
    effective_at: str | None,
    dry_run: bool,
    **chosen: Unpack[Chosen],
) -> None:
    """End leases: by number, an owner's, or all with a label.

    One that has ended already is no error.
    """
    from ipledger import operations

    context = click.get_current_context()
    owner, address = chosen["owner"], chosen["address"]
    if leases and any(value not in {None, ()} for value in chosen.values()):
        raise click.UsageError("name either LEASEs or an --owner", context)
    if not leases and owner is None and address is None and not chosen["labels"]:
        raise click.UsageError("name a LEASE, an --owner or a --label", context)
    if address is not None and chosen["labels"]:
        raise click.UsageError("an address needs no --label beside it", context)
    ids = [_lease_id(text) for text in leases]
    operation = operations.release(
        *ids, owner=owner, interface=chosen["interface"], address=address,
        labels=read_labels(chosen["labels"]), effective_at_ms=effective_ms(effective_at),
        **settings.claims(),
    )  # fmt: skip
    with settings.open() as ledger:
        answer = ledger.preview(operation) if dry_run else ledger.run(operation)
        ended = set(answer.leases)
        did = "would be released" if dry_run else "released"
        items: list[dict[str, Any]] = [
            {"lease": lease, "result": did, "detail": None} for lease in answer.leases
        ]
        items += [
            {"lease": lease, "result": "already released", "detail": _whose_now(ledger, lease)}
            for lease in dict.fromkeys(ids) if lease not in ended
        ]  # fmt: skip
        position = ledger.position
    lines = [f"lease/{i['lease']} {i['result']}" + _bracketed(i["detail"]) for i in items]
    human = "\n".join(plain(line) for line in lines)
    if not items:
        holder = "nobody" if owner is None else plain(owner)
        what = "anything" if owner is None else "nothing"
        human = f"{holder} holds {what} of that: nothing to release"
    emit(settings.output, {"items": items, "position": position}, human)


def _bracketed(detail: str | None) -> str:
    return f" ({detail})" if detail else ""


def _whose_now(ledger: Ledger, lease_id: int) -> str | None:
    """Who holds the address of a lease that has ended: a late release must know."""
    was = ledger.lease_as_granted(lease_id)
    if was is None:
        return None
    now = ledger.state.lease_at(was[0].address)
    if now is None:
        from engine.addresses import format_address

        # Of a block it is told who holds its first address: it may have been given out in parts.
        return f"nobody holds {format_address(was[0].address)} now"
    return f"{now.text} is now held by {now.owner}, lease {now.lease_id}"


def _lease_id(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _LEASE_DIGITS_MAX:
        shown = repr(text if len(text) <= 40 else f"{text[:37]}...")
        raise InvalidInput(f"{shown} is not a lease", "it is the number that `allocate` printed")
    return int(text)
