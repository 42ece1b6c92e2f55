"""`allocate` and `release`: leases begin and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from engine.errors import EXIT_CODES, InvalidInput, LedgerError
from ipledger.cli.settings import Settings, options, pass_settings
from ipledger.cli.show import emit, error_json, plain, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.facts import Lease
    from ipledger.ledger import Ledger
    from ipledger.operations import Allocated, Operation


def read_labels(texts: Sequence[str]) -> dict[str, str]:
    """Labels from ``k=v`` texts.

    Raises:
        InvalidInput: one has no ``=``, or a key is given twice.
    """
    labels: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key or key in labels:
            shown = text if len(text) < 60 else f"{text[:57]}..."
            message = f"label {shown!r} is not KEY=VALUE, or is given twice"
            raise InvalidInput(message, "for example --label node=n7")
        labels[key] = value
    return labels


def pool_name(ledger: Ledger, pool_id: int) -> str:
    """The name of a pool, also of one that is gone."""
    pool = ledger.state.pool_of(pool_id)
    return pool.name if pool is not None else f"#{pool_id}"


def lease_views(ledger: Ledger, leases: Sequence[Lease]) -> list[dict[str, Any]]:
    """Leases in their JSON shape."""
    from ipledger.views import lease_view

    return [lease_view(held, pool_name(ledger, held.pool_id), ledger.space) for held in leases]


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
    return view["address"] if length == whole else f"{view['address']}/{length}"


def _all_leases(ledger: Ledger, answer: Allocated) -> list[Lease]:
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


@click.command()
@click.option(
    "--pool",
    "pools",
    multiple=True,
    metavar="A[,B]",
    help="Pool; B if A is exhausted. Repeat it for addresses from both at once.",
)
@click.option("--owner", help="Who holds it: for a pod, CLUSTER/NAMESPACE/NAME.")
@click.option("--interface", help="The owner's interface [eth0].")
@click.option("--uid", help="The owner's incarnation; another one supersedes its lease.")
@click.option("--ip", "addresses", multiple=True, metavar="ADDRESS", help="This very address.")
@click.option(
    "--count", type=int, default=1, metavar="N", help="Bring the owner to N addresses [1]."
)
@click.option("--ttl", metavar="TIME", help="How long the lease lasts, such as 1h.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label; repeatable.")
@click.option("--cluster", envvar="IPLEDGER_CLUSTER", help="Which cluster asks.")
@click.option(
    "-f",
    "--filename",
    "paths",
    multiple=True,
    metavar="FILE|DIR|-",
    help="Workloads with the annotation ipam.spidernet.io/ippool: a lease a replica.",
)
@options
@pass_settings
def allocate(settings: Settings, /, paths: tuple[str, ...], **asked: Any) -> int:
    """Give addresses to an owner, or a lease to each replica of a workload (-f)."""
    if paths:
        if asked["pools"] or asked["owner"]:
            raise click.UsageError("give either -f, or --pool and --owner")
        return _allocate_files(settings, paths, asked)
    if not asked["pools"] or not asked["owner"]:
        raise click.UsageError("name a --pool and an --owner, or give -f FILE")
    options_given = _asked(asked)
    with settings.open() as ledger:
        answer = ledger.allocate(
            asked["pools"], asked["owner"],
            interface=asked["interface"] or "eth0", uid=asked["uid"],
            addresses=asked["addresses"], count=asked["count"],
            **options_given, **settings.claims(),
        )  # fmt: skip
        views = lease_views(ledger, _all_leases(ledger, answer))
        emit(settings.output, {"leases": views}, lease_table(views), "leases")
    return 0


def _asked(asked: dict[str, Any]) -> dict[str, Any]:
    from ipledger.durations import parse_duration

    return {
        "ttl_s": None if asked["ttl"] is None else parse_duration(asked["ttl"]),
        "labels": read_labels(asked["labels"]),
        "cluster": asked["cluster"],
    }


def _allocate_files(settings: Settings, paths: tuple[str, ...], asked: dict[str, Any]) -> int:
    """One lease a replica, each on its own; the exit code says if any was refused."""
    from ipledger import operations
    from ipledger.cli.manifest import read_files

    parsed = read_files(paths)
    if parsed.objects or not parsed.workloads:
        hint = "use `ipledger apply -f` for pools and reservations"
        raise InvalidInput("allocate -f takes workloads only", hint)
    given = _asked(asked)
    owners: list[str] = []
    wanted: list[Operation[Allocated]] = []
    for workload in parsed.workloads:
        for owner in workload.owners():
            labels = {**workload.labels, **given["labels"]}
            # A command id names one command: each replica's is made from it.
            step = None if settings.command_id is None else f"{settings.command_id}/{owner}"
            owners.append(owner)
            wanted.append(operations.allocate(
                list(workload.groups), owner, interface=workload.interface,
                ttl_s=given["ttl_s"], cluster=given["cluster"], labels=labels,
                command_id=step, reason=settings.reason,
            ))  # fmt: skip
    with settings.open() as ledger:
        answers = ledger.run_all(wanted)
        leases: list[dict[str, Any]] = []
        refused: list[dict[str, Any]] = []
        worst = 0
        for owner, answer in zip(owners, answers, strict=True):
            if isinstance(answer, LedgerError):
                error = error_json(answer.kind, answer.message, answer.hint)["error"]
                refused.append({"owner": owner, "error": error})
                code = EXIT_CODES[answer.kind]
                worst = max(worst, code if code >= EXIT_CODES["unavailable"] else 5)
            else:
                leases += lease_views(ledger, _all_leases(ledger, answer))
        human = lease_table(leases) if leases else ""
        for entry in refused:
            human += f"\n{entry['owner']}: refused: {plain(entry['error']['message'])}"
        emit(settings.output, {"leases": leases, "refused": refused}, human.lstrip(), "leases")
    return worst


@click.command()
@click.argument("leases", nargs=-1, metavar="[LEASE]...")
@click.option("--owner", help="End what this owner holds.")
@click.option("--interface", help="… on this interface only.")
@click.option("--ip", "address", metavar="ADDRESS", help="… or this address of the owner's.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="… with this label.")
@options
@pass_settings
def release(
    settings: Settings,
    leases: tuple[str, ...],
    owner: str | None,
    interface: str | None,
    address: str | None,
    labels: tuple[str, ...],
) -> None:
    """End leases: by number, or all of an owner's. One that has ended already is no error."""
    ids = [_lease_id(text) for text in leases]
    if not ids and owner is None and address is None:
        raise click.UsageError("name a LEASE or an --owner")
    with settings.open() as ledger:
        answer = ledger.release(
            *ids, owner=owner, interface=interface, address=address,
            labels=read_labels(labels), **settings.claims(),
        )  # fmt: skip
        ended = set(answer.leases)
        items = [{"lease": lease, "result": "released"} for lease in answer.leases]
        items += [
            {"lease": lease, "result": "already released"}
            for lease in dict.fromkeys(ids) if lease not in ended
        ]  # fmt: skip
        human = "\n".join(f"lease/{i['lease']} {i['result']}" for i in items)
        if not items:
            human = f"{owner} holds nothing: nothing to release"
        emit(settings.output, {"items": items, "position": ledger.position}, plain_lines(human))


def plain_lines(text: str) -> str:
    """Several lines, each free of control characters."""
    return "\n".join(plain(line) for line in text.split("\n"))


def _lease_id(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        message = f"{plain(text[:40])!r} is not a lease"
        raise InvalidInput(message, "a lease is the number that `allocate` printed")
    return int(text)
