"""`apply` and `delete`: manifests in, one commit out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import click

from engine.errors import InvalidInput, LedgerError, Refusal, Refused
from ipledger.cli.complete import complete_kind, complete_name
from ipledger.cli.kinds import find_object
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit, plain
from ipledger.cli.stdin import read_stdin

if TYPE_CHECKING:
    from engine.commands import Target
    from engine.facts import Lease
    from ipledger.ledger import Ledger
    from ipledger.manifests import Parsed, Workload

Item = dict[str, str | None]

_DELETABLE = ("pools", "reservations")
_LEASES_TOLD = 5  # of those that a reservation covers


def read_files(paths: Sequence[str], namespace: str | None = None) -> Parsed:
    """Parse the files and print their warnings to stderr; `namespace` is of what names none.

    Raises:
        InvalidInput: naming file, document and field.
    """
    from ipledger.manifests import parse, read_sources

    if "" in paths:  # to a path, nothing means the directory that one is in
        raise InvalidInput("-f names no file", "give a file, a directory, or -")
    parsed = parse(read_sources(paths, read_stdin), namespace)
    for warning in parsed.warnings:
        click.echo(f"warning: {plain(warning)}", err=True)
    return parsed


@verb(examples=("ipledger apply -f pools.yaml", "kubectl get sp,sr -o yaml | ipledger apply -f -"))
@click.option(
    "-f",
    "--filename",
    "paths",
    multiple=True,
    required=True,
    metavar="FILE|DIR|-",
    type=click.Path(),
    help="Manifests, several documents a file; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def apply(settings: Settings, *, paths: tuple[str, ...], dry_run: bool) -> None:
    """Create or change what manifests define, all or nothing.

    Manifests are those of Spiderpool, as they are, or our own kinds, as `export` writes them. A
    Space says which space they are of: it is made, or raised to a format level, if need be. Leases
    and quarantines follow in commits of their own; nothing is written if one of them cannot be.
    """
    parsed = read_files(paths)
    if parsed.workloads:
        first = parsed.workloads[0]
        message = f"{first.kind} {first.name} is not applied: it asks for addresses"
        raise InvalidInput(message, "use `ipledger allocate -f` for it")
    around = [("Namespace", name) for name in parsed.namespaces]
    around += [("Node", name) for name in parsed.nodes]
    for kind, name in around:
        told = f"{kind} {name} only tells where workloads run: it is not applied"
        click.echo(f"warning: {told}", err=True)
    from ipledger import operations
    from ipledger.cli.applying import apply_stated, check_space, held_items

    level = check_space(parsed.spaces, settings.space)
    with settings.open() as ledger:
        held: list[Item] = []
        if level is not None or parsed.leases or parsed.quarantines:
            applied, plan = apply_stated(ledger, parsed, settings, level, dry_run=dry_run)
            held = held_items(plan)
        else:
            operation = operations.apply(*parsed.objects, **settings.claims())
            applied = ledger.preview(operation) if dry_run else ledger.run(operation)
        items: list[Item] = [
            {"kind": kind, "name": name, "result": did,
             "detail": None if dry_run else _impact(ledger, kind, name, did)}
            for kind, name, did in applied
        ]  # fmt: skip
        items += held
        position = ledger.position
    if dry_run:
        click.echo("dry run: nothing was changed", err=True)
    _emit_items(settings, items, position)


def _impact(ledger: Ledger, kind: str, name: str, did: str) -> str | None:
    """What a reservation that was made or changed does to leases and pools."""
    held = ledger.state.reservation(name) if kind == "reservation" else None
    if held is None or did == "unchanged":
        return None
    state = ledger.state
    told: list[str] = []
    for pool in state.pools():
        if pool.spec.family != held.spec.ips.family or not pool.effective.overlaps(held.spec.ips):
            continue
        leases = list(islice(state.leases_within(pool.pool_id, held.spec.ips), _LEASES_TOLD + 1))
        kept = ", ".join(f"{lease.text} of {lease.owner}" for lease in leases[:_LEASES_TOLD])
        more = ", …" if len(leases) > _LEASES_TOLD else ""
        covered = f", {kept}{more} stays leased until its release" if leases else ""
        told.append(f"pool {pool.name}: {state.counts(pool.pool_id).free} free{covered}")
    return "; ".join(told) if told else "no pool has these addresses"


@verb(
    examples=(
        "ipledger delete -f pools.yaml --ignore-not-found",
        "ipledger delete pool web spare",
        "ipledger delete reservation printers",
    )
)
@click.argument("kind", required=False, shell_complete=complete_kind)
@click.argument("names", nargs=-1, shell_complete=complete_name)
@click.option(
    "-f",
    "--filename",
    "paths",
    multiple=True,
    metavar="FILE|DIR|-",
    type=click.Path(),
    help="Delete what these manifests define; workloads give back their leases.",
)
@click.option(
    "--namespace", metavar="NAME", help="With -f: of workloads that name none, or this [default]."
)
@click.option(
    "--cluster",
    metavar="NAME",
    envvar="IPLEDGER_CLUSTER",
    help="With -f: of this cluster's workloads; without it, of those of no cluster "
    "(IPLEDGER_CLUSTER).",
)
@click.option("--ignore-not-found", is_flag=True, help="What is not there is no error.")
@click.option("--cascade", is_flag=True, help="Revoke the leases of deleted pools, too.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def delete(
    settings: Settings,
    *,
    kind: str | None,
    names: tuple[str, ...],
    paths: tuple[str, ...],
    namespace: str | None,
    cluster: str | None,
    ignore_not_found: bool,
    cascade: bool,
    dry_run: bool,
) -> None:
    """Delete pools and reservations, by manifest or by name.

    A pool with leases is terminating: it gives out nothing, and is gone with its last lease.
    """
    if bool(paths) == bool(kind):
        message = "name what to delete: either -f FILE, or KIND NAME…"
        raise click.UsageError(message, click.get_current_context())
    from engine.names import check_text
    from ipledger import operations

    workloads: Sequence[Workload] = ()
    if kind:
        targets = _named(kind, names)
    else:
        targets, workloads = _defined(paths, namespace)
        cluster = None if cluster is None else check_text(cluster, "cluster")
    with settings.open() as ledger:
        if not ignore_not_found:
            _must_be_there(ledger, targets, workloads, cluster)
        if dry_run:
            items = [i for workload in workloads for i in _would_end(ledger, workload, cluster)]
        else:
            # The leases first: a pool without leases is gone at once.
            items = [
                item for workload in workloads
                for item in _end_leases(ledger, workload, cluster, settings)
            ]  # fmt: skip
        if targets:
            operation = operations.delete(
                *targets, ignore_not_found=ignore_not_found, cascade=cascade, **settings.claims()
            )
            leases = _leases_by_pool(ledger)
            deleted = ledger.preview(operation) if dry_run else ledger.run(operation)
            items += [
                _revoked_item(entry.name, leases[entry.name])
                if cascade and entry.kind == "pool" and leases.get(entry.name)
                else _deleted_item(ledger, *entry)
                for entry in deleted
            ]
        position = ledger.position
    if dry_run:
        click.echo("dry run: nothing was changed", err=True)
    _emit_items(settings, items, position)


def _named(kind: str, names: tuple[str, ...]) -> list[Target]:
    from engine.commands import Target
    from engine.names import check_name

    context = click.get_current_context()
    if kind.partition("/")[0].lower() in {"lease", "leases"}:
        raise click.UsageError("a lease is ended, not deleted: `ipledger release LEASE`", context)
    found, first = find_object(kind, None, _DELETABLE)
    listed = names if first is None else (first, *names)
    if not listed:
        raise click.UsageError(f"name the {found} to delete", context)
    return [
        Target("pool" if found == "pools" else "reservation", check_name(name, found[:-1]))
        for name in listed
    ]


def _defined(
    paths: tuple[str, ...], namespace: str | None
) -> tuple[list[Target], Sequence[Workload]]:
    from engine.commands import PutPool, Target
    from ipledger.cli.applying import refuse_held

    parsed = read_files(paths, namespace)
    refuse_held(parsed)
    for stated in parsed.spaces:
        click.echo(f"warning: space {stated.name} itself is not deleted", err=True)
    targets = [
        Target("pool" if isinstance(wanted, PutPool) else "reservation", wanted.name)
        for wanted in parsed.objects
    ]
    return targets, parsed.workloads


def _emit_items(settings: Settings, items: Sequence[Item], position: int) -> None:
    """What became of each thing, like kubectl."""
    lines = []
    for item in items:
        detail = f" ({item['detail']})" if item.get("detail") else ""
        lines.append(plain(f"{item['kind']}/{item['name']} {item['result']}{detail}"))
    emit(settings.output, {"items": items, "position": position}, "\n".join(lines))


def _must_be_there(
    ledger: Ledger,
    targets: Sequence[Target],
    workloads: Sequence[Workload],
    cluster: str | None,
) -> None:
    """Refuse before anything is changed what would be refused in the middle.

    Raises:
        Refused: ``not_found``.
    """
    for workload in workloads:
        if not _leases_of(ledger, workload, cluster):
            message = f"{workload.kind.lower()} {workload.name_in(cluster)} holds no lease"
            hint = "use --ignore-not-found if that is no error"
            raise Refused(Refusal("not_found", message, hint, workload.name))
    for kind, name in targets:
        found = ledger.state.pool(name) if kind == "pool" else ledger.state.reservation(name)
        if found is None:
            hint = f"see `ipledger get {kind}s`, or use --ignore-not-found"
            raise Refused(Refusal("not_found", f"{kind} {name} does not exist", hint, name))


def _leases_by_pool(ledger: Ledger) -> dict[str, int]:
    """How many leases each pool has."""
    state = ledger.state
    return {pool.name: state.lease_table.in_pool(pool.pool_id) for pool in state.pools()}


def _revoked_item(name: str, leases: int) -> Item:
    """A pool that is deleted with its leases, also if it was terminating already."""
    detail = "1 lease revoked" if leases == 1 else f"{leases} leases revoked"
    return {"kind": "pool", "name": name, "result": "deleted", "detail": detail}


def _deleted_item(ledger: Ledger, kind: str, name: str, did: str) -> Item:
    pool = ledger.state.pool(name) if kind == "pool" else None
    if pool is not None and pool.terminating:
        left = ledger.state.lease_table.in_pool(pool.pool_id)
        detail = "1 lease left" if left == 1 else f"{left} leases left"
        return {"kind": kind, "name": name, "result": "terminating", "detail": detail}
    result = "not found" if did == "unchanged" else did
    return {"kind": kind, "name": name, "result": result, "detail": None}


def _leases_of(ledger: Ledger, workload: Workload, cluster: str | None) -> list[Lease]:
    """The leases of a cluster's workload, whatever number of replicas it had.

    Imported leases have not got our label: the uid tells that they are this very Pod's.
    Both tell the cluster, the owner's name and the lease: whatever an owner is called, a lease that
    was granted to another cluster, or to none, is not found.
    """
    number = "" if workload.kind == "Pod" else r"-\d+"
    pattern = re.compile(re.escape(workload.name_in(cluster)) + number)
    mark = ("workload", f"{workload.kind.lower()}/{workload.name}")
    return [
        lease for lease in ledger.state.leases()
        if lease.cluster == cluster
        and (mark in lease.labels or (workload.uid is not None and workload.uid == lease.uid))
        and pattern.fullmatch(lease.owner)
    ]  # fmt: skip


def _would_end(ledger: Ledger, workload: Workload, cluster: str | None) -> list[Item]:
    return [
        {"kind": "lease", "name": str(lease.lease_id), "result": "released",
         "detail": f"{lease.text} of {lease.owner}"}
        for lease in _leases_of(ledger, workload, cluster)
    ]  # fmt: skip


def _end_leases(
    ledger: Ledger, workload: Workload, cluster: str | None, settings: Settings
) -> list[Item]:
    """End the leases of a workload, each on its own, as they were granted."""
    from ipledger import operations

    found = _leases_of(ledger, workload, cluster)
    if not found:
        name = workload.name_in(cluster)
        return [
            {"kind": workload.kind.lower(), "name": name, "result": "not found", "detail": None}
        ]
    wanted = []
    for lease in found:
        # A command id names one command: each lease's is made from it.
        step = None if settings.command_id is None else f"{settings.command_id}/{lease.lease_id}"
        wanted.append(operations.release(lease.lease_id, command_id=step, reason=settings.reason))
    for answer in ledger.run_all(wanted):
        if isinstance(answer, LedgerError):
            raise answer
    return [
        {"kind": "lease", "name": str(lease.lease_id), "result": "released",
         "detail": f"{lease.text} of {lease.owner}"}
        for lease in found
    ]  # fmt: skip
