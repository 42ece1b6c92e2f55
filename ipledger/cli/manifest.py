"""`apply` and `delete`: manifests in, one commit out."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from engine.errors import InvalidInput, Refusal, Refused
from ipledger.cli.settings import Settings, options, pass_settings
from ipledger.cli.show import emit, plain

if TYPE_CHECKING:
    from ipledger.ledger import Ledger
    from ipledger.manifests import Parsed, Workload

_KINDS = {
    "pool": "pool", "pools": "pool", "reservation": "reservation", "reservations": "reservation",
}  # fmt: skip


def read_files(paths: Sequence[str]) -> Parsed:
    """Parse the files and print their warnings to stderr.

    Raises:
        InvalidInput: naming file, document and field.
    """
    from ipledger.manifests import parse, read_sources

    parsed = parse(read_sources(paths, sys.stdin.read))
    for warning in parsed.warnings:
        click.echo(f"warning: {plain(warning)}", err=True)
    return parsed


@click.command()
@click.option("-f", "--filename", "paths", multiple=True, required=True, metavar="FILE|DIR|-",
              help="Manifests; several documents a file, several -f.")  # fmt: skip
@options
@pass_settings
def apply(settings: Settings, paths: tuple[str, ...]) -> None:
    """Create or change pools and reservations from manifests, all in one commit or none."""
    parsed = read_files(paths)
    if parsed.workloads:
        kind = parsed.workloads[0].kind
        message = f"kind {kind} is not applied here: it asks for addresses"
        raise InvalidInput(message, "use `ipledger allocate -f` for it")
    with settings.open() as ledger:
        applied = ledger.apply(*parsed.objects, **settings.claims())
        items = [{"kind": k, "name": n, "result": did} for k, n, did in applied]
        human = "\n".join(f"{k}/{n} {did}" for k, n, did in applied)
        emit(settings.output, {"items": items, "position": ledger.position}, human)


@click.command()
@click.argument("kind", required=False)
@click.argument("names", nargs=-1)
@click.option(
    "-f",
    "--filename",
    "paths",
    multiple=True,
    metavar="FILE|DIR|-",
    help="Delete what these manifests define; workloads give back their leases.",
)
@click.option("--ignore-not-found", is_flag=True, help="What is not there is no error.")
@options
@pass_settings
def delete(
    settings: Settings,
    kind: str | None,
    names: tuple[str, ...],
    paths: tuple[str, ...],
    ignore_not_found: bool,  # noqa: FBT001 - click passes it by name
) -> None:
    """Delete pools and reservations: by manifest (-f), or `delete pool|reservation NAME…`."""
    from engine.commands import PutPool, Target

    if bool(paths) == bool(kind):
        raise click.UsageError("name what to delete: either -f FILE, or KIND NAME…")
    if paths:
        parsed = read_files(paths)
        workloads: Sequence[Workload] = parsed.workloads
        targets = [
            Target("pool" if isinstance(o, PutPool) else "reservation", o.name)
            for o in parsed.objects
        ]
    else:
        if kind not in _KINDS or not names:
            raise click.UsageError("use: delete pool NAME… or delete reservation NAME…")
        workloads = ()
        targets = [Target("pool" if _KINDS[kind] == "pool" else "reservation", n) for n in names]
    with settings.open() as ledger:
        items = [
            item
            for workload in workloads
            for item in _release_workload(ledger, workload, settings, ignore=ignore_not_found)
        ]
        if targets:
            deleted = ledger.delete(
                *targets, ignore_not_found=ignore_not_found, **settings.claims()
            )
            items += [_deleted_item(ledger, *entry) for entry in deleted]
        human = "\n".join(f"{i['kind']}/{i['name']} {i['result']}" for i in items)
        emit(settings.output, {"items": items, "position": ledger.position}, human)


def _deleted_item(ledger: Ledger, kind: str, name: str, did: str) -> dict[str, str]:
    if kind == "pool":
        pool = ledger.state.pool(name)
        if pool is not None and pool.terminating:
            left = ledger.state.lease_table.in_pool(pool.pool_id)
            did = f"terminating ({left} leases left)"
    return {"kind": kind, "name": name, "result": "not found" if did == "unchanged" else did}


def _release_workload(
    ledger: Ledger, workload: Workload, settings: Settings, *, ignore: bool
) -> list[dict[str, str]]:
    """End the leases of a workload, whatever number of replicas it had."""
    name = f"{workload.namespace}/{workload.name}"
    pattern = re.compile(re.escape(name) + (r"" if workload.kind == "Pod" else r"-\d+"))
    mark = ("workload", f"{workload.kind.lower()}/{workload.name}")
    found = [
        lease for lease in ledger.state.leases()
        if mark in lease.labels and pattern.fullmatch(lease.owner)
    ]  # fmt: skip
    kind = workload.kind.lower()
    if not found:
        if not ignore:
            hint = "use --ignore-not-found if that is no error"
            raise Refused(Refusal("not_found", f"{kind} {name} holds no lease", hint, name))
        return [{"kind": kind, "name": name, "result": "not found"}]
    ledger.release(*(lease.lease_id for lease in found), reason=settings.reason)
    return [
        {"kind": "lease", "name": str(lease.lease_id),
         "result": f"released ({lease.text} of {lease.owner})"}
        for lease in found
    ]  # fmt: skip
