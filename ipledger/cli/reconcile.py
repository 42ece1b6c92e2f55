"""`reconcile` and `undo`: leases that nobody uses end, and what was wrong is taken back."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

import click

from engine.errors import InvalidInput, LedgerError, Refused
from ipledger.cli.complete import complete_pool
from ipledger.cli.leases import address_text, read_labels
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit, plain, table
from ipledger.cli.stdin import read_stdin

if TYPE_CHECKING:
    from engine.comparing import Compared
    from ipledger.ledger import Ledger
    from ipledger.observed import Observed
    from ipledger.operation import Operation
    from ipledger.reconcile_views import Told
    from ipledger.reconciling import Reconciled

_BYTES_MAX: Final = 256 * 1024 * 1024
_LISTS: Final = ("missing", "unleased", "wrong")


class Asked(TypedDict):
    """The options of `reconcile`, but for the observation."""

    pools: tuple[str, ...]
    clusters: tuple[str, ...]
    labels: tuple[str, ...]
    release_after: int | None
    grace: str | None
    accept_many_missing: bool


@verb(
    examples=(
        "ipledger reconcile --observed in-use.jsonl --dry-run",
        "ipledger reconcile --observed in-use.csv --cluster east",
        "ipledger reconcile --observed in-use.jsonl --release-after-observations 2 --grace 10m",
        "list-addresses | ipledger reconcile --observed -",
    )
)
@click.option(
    "--observed",
    "path",
    required=True,
    metavar="FILE|-",
    help="Who is really where: JSON lines or CSV with address, owner and interface.",
)
@click.option(
    "--observed-at",
    metavar="TIME",
    help="When that was so [when the file was written; now for -].",
)
@click.option(
    "--pool", "pools", multiple=True, metavar="NAME", shell_complete=complete_pool,
    help="It knows of leases of this pool only; repeatable.",
)  # fmt: skip
@click.option(
    "--cluster", "clusters", multiple=True, metavar="NAME",
    help="It knows of leases of this cluster only; repeatable.",
)  # fmt: skip
@click.option(
    "--label", "labels", multiple=True, metavar="KEY=VALUE",
    help="It knows of leases with this label only; repeatable.",
)  # fmt: skip
@click.option(
    "--release-after-observations", "release_after", type=click.IntRange(min=1), metavar="N",
    help="End leases that were missing in N observations, this the last of them.",
)  # fmt: skip
@click.option(
    "--grace", metavar="TIME", help="And for at least so long, from the first to this one [10m]."
)
@click.option(
    "--accept-many-missing", is_flag=True,
    help="Believe an observation that is empty, or lacks more than half of the leases.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
def reconcile(
    settings: Settings,
    /,
    path: str,
    observed_at: str | None,
    dry_run: bool,
    **asked: Unpack[Asked],
) -> None:
    """Find leases that nobody uses, and end those that stay so.

    Differences are no failure: the exit code is 0 when everything was compared.
    """
    from ipledger.observed import read_observed

    if asked["grace"] is not None and asked["release_after"] is None:
        context = click.get_current_context()
        raise click.UsageError("--grace needs --release-after-observations", context)
    data, name, made_at_ms = _read(path)
    if observed_at is not None:
        from ipledger.times import parse_time

        made_at_ms = parse_time(observed_at, time.time_ns() // 1_000_000)
    observed = read_observed(data, name, made_at_ms)
    operation = _operation(settings, observed, asked)
    with settings.open() as ledger:
        told, refused = _carry_out(ledger, operation, observed, dry_run=dry_run)
        if told is None:
            assert refused is not None, "what is not told was refused"
            raise refused
        _show(settings, ledger, told, dry_run=dry_run)
    if refused is not None:
        raise refused


def _read(path: str) -> tuple[bytes, str, int]:
    """The bytes of the observation, what it is called, and when it was made.

    Raises:
        InvalidInput: it cannot be read, is too large, or was being written.
    """
    if path == "-":
        return _bounded(read_stdin(_BYTES_MAX)), "stdin", time.time_ns() // 1_000_000
    try:
        with Path(path).open("rb") as file:
            before = os.fstat(file.fileno())
            data = file.read(_BYTES_MAX + 1)
            after = os.fstat(file.fileno())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInput(f"{plain(path)}: {why}", "give a file, or - for stdin") from None
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        message = f"{plain(path)}: it was written to while it was read"
        raise InvalidInput(message, "write it beside and move it here when it is whole")
    return _bounded(data), path, before.st_mtime_ns // 1_000_000


def _bounded(data: bytes) -> bytes:
    if len(data) > _BYTES_MAX:
        message = f"the observation has more than {_BYTES_MAX} bytes"
        raise InvalidInput(message, "split it by --pool or --cluster")
    return data


def _operation(settings: Settings, observed: Observed, asked: Asked) -> Operation[Reconciled]:
    from ipledger.durations import parse_duration
    from ipledger.reconciling import GRACE_S, reconcile

    return reconcile(
        observed.observation,
        evidence=observed.evidence,
        release_after=asked["release_after"],
        grace_s=GRACE_S if asked["grace"] is None else parse_duration(asked["grace"], least=0),
        pools=asked["pools"],
        clusters=asked["clusters"],
        labels=tuple(sorted(read_labels(asked["labels"]).items())),
        accept_many_missing=asked["accept_many_missing"],
        **settings.claims(),
    )


def _carry_out(
    ledger: Ledger, operation: Operation[Reconciled], observed: Observed, *, dry_run: bool
) -> tuple[Told | None, LedgerError | None]:
    """Compare, then write or foresee what is to be written; and why that was refused, if it was."""
    from engine.comparing import compare, scope_of
    from ipledger.reconcile_views import foresee
    from ipledger.reconciling import Reconciled, reconcile_command

    ledger.refresh()
    scope = scope_of(reconcile_command(operation))
    compared: Compared = compare(ledger.state, observed.observation, scope)
    told = foresee(ledger.state, operation, observed, compared)
    try:
        if dry_run:
            back = ledger.preview(operation).back
            return told._replace(did=told.did._replace(back=back)), None
        return told._replace(did=ledger.run(operation)), None
    except Refused as refused:
        # What was compared is true all the same, and is what tells whether the refusal is right.
        if refused.kind != "forbidden":
            return None, refused
        known = ((i, ledger.state.absence_of(i)) for i in (m.lease_id for m in compared.missing))
        absences = {i: absence for i, absence in known if absence is not None}
        return told._replace(did=Reconciled((), (), ()), absences=absences), refused


def _show(settings: Settings, ledger: Ledger, told: Told, *, dry_run: bool) -> None:
    from ipledger.reconcile_views import reconcile_view

    view = reconcile_view(told, ledger.state, ledger.space, dry_run=dry_run)
    ended = set(view["released"])
    rows = [
        ("released" if item["lease"] in ended and not dry_run else "missing", item["lease"],
         address_text(item), item["owner"], item["interface"], _since(item))
        for item in view["missing"]
    ] + [
        ("unleased", None, item["address"], item["owner"], item["interface"],
         f"pool {item['pool']}" + (f", reserved by {item['reserved_by']}"
                                   if item["reserved_by"] else ""))
        for item in view["unleased"]
    ] + [
        ("wrong", item["lease"], address_text(item), item["owner"], item["interface"],
         f"seen: {item['observed']['owner']} at {item['observed']['address']}"
         f" {item['observed']['interface'] or ''}".rstrip())
        for item in view["wrong"]
    ]  # fmt: skip
    head = ["what", "lease", "address", "owner", "interface", "detail"]
    would = "would be " if dry_run else ""
    last = (
        f"{view['users']} seen at {view['observed_at']}; of {view['expected']} leases expected "
        f"{len(view['missing'])} missing; {len(view['counted'])} {would}counted, "
        f"{len(view['back'])} back, {len(view['released'])} {would}released"
    )
    human = f"{table(head, rows)}\n{last}" if rows else last
    emit(settings.output, view, human, _LISTS)


def _since(item: dict[str, Any]) -> str:
    times = item["missing_in"]
    if not times:
        return "not counted"
    return f"in {times} observation{'' if times == 1 else 's'} since {item['missing_since']}"


@verb(examples=("ipledger undo 17", 'ipledger undo 17 --reason "the agent was down"'))
@click.argument("lease", type=click.IntRange(min=1), metavar="LEASE")
def undo(settings: Settings, lease: int) -> None:
    """Give an address back whose lease has ended.

    Its owner holds it again, as a new lease that begins where the old one ended. While the
    address rests, nobody else can have it; after that, for as long as nobody has.
    """
    from ipledger.cli.leases import lease_views

    with settings.open() as ledger:
        undone = ledger.undo(lease, **settings.claims())
        (view,) = lease_views(ledger, [undone.lease])
        data = {"undone": lease, "already": undone.already, "lease": view,
                "position": ledger.position}  # fmt: skip
    did = "holds" if undone.already else "holds again"
    human = (
        f"lease/{lease} undone: {plain(view['owner'])} {did} {address_text(view)} "
        f"as lease {view['lease']}"
    )
    emit(settings.output, data, human)
