"""`import`: pools, reservations and leases of other systems, shown first and then written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from engine.errors import EXIT_CODES, InvalidInput, Refused
from engine.names import DEFAULT_SPACE
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit, plain, plain_lines, table
from ipledger.cli.stdin import read_stdin

if TYPE_CHECKING:
    from ipledger.importing import Found, FoundLease, Imported, Plan
    from ipledger.importing.planning import RefusedLease
    from ipledger.ledger import Ledger
    from ipledger.operation import Applied

# As in `ipledger.importing.FORMATS`; a test holds the two together, an import here costs 60 ms.
_FORMATS = ("spiderpool", "kea4", "kea6", "csv", "ipledger")
_TOLD = 20  # refused leases that the table lists
_SOURCE_BYTES_MAX = 1 << 30
_LONG = 10_000_000  # characters that take a while: a second as JSON, several as YAML


class _Asked(TypedDict):
    """The options of `import`."""

    form: str | None
    source: str | None
    cluster: str | None
    dry_run: bool


@verb(
    "import",
    examples=(
        "ipledger import spiderpool.yaml --cluster c1 --dry-run",
        "kubectl get spiderippools,spiderreservedips,spiderendpoints -A -o json > c1.json",
        "ipledger import c1.json --cluster c1",
        "ipledger import kea-leases4.csv",
        "ipledger export --space old | ipledger import --space new -",
    ),
)
@click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR|-…", type=click.Path())
@click.option("--format", "form", type=click.Choice(_FORMATS), metavar="FORMAT",
              help=f"What the files are: {', '.join(_FORMATS)} [as they show].")  # fmt: skip
@click.option("--source", metavar="NAME",
              help="Where the leases are from: recorded with each [the file's name].")  # fmt: skip
@click.option("--cluster", metavar="NAME",
              help="Which cluster they are from; goes before the names of Pods.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def import_(settings: Settings, /, *, paths: tuple[str, ...], **asked: Unpack[_Asked]) -> int:
    """Take over what Spiderpool, Kea or a CSV file hold.

    Pools, reservations and leases, also those of an `export`. All of it is read and checked before
    anything is written. What is here already is left as it is, so an import that was interrupted
    is just run again. Leases that cannot be imported are listed with why, and the others are
    imported; the exit code is 4 then.
    """
    from ipledger.importing import make_plan, read_found
    from ipledger.manifests import read_sources

    source = _source(asked["source"], paths)
    sources = read_sources(paths, read_stdin, _SOURCE_BYTES_MAX)
    size = sum(len(text) for _, text in sources)
    if size > _LONG:
        click.echo(f"ipledger: reading {size / 1e6:.0f} MB", err=True)
    with settings.open() as ledger:
        ledger.refresh()
        if settings.space != DEFAULT_SPACE or not asked["dry_run"]:
            ledger.ensure_space()  # a typo in its name is told first
        now_ms = ledger.writer.server_now_ms()
        form, found = read_found(sources, asked["form"], now_ms, asked["cluster"])
        del sources
        for warning in found.warnings[:_TOLD]:
            click.echo(f"warning: {plain(warning)}", err=True)
        if len(found.warnings) > _TOLD:
            click.echo(f"warning: and {len(found.warnings) - _TOLD} more (see -o json)", err=True)
        applied = _definitions(ledger, found.objects)
        plan = make_plan(ledger.state, found, now_ms)
        _check_level(ledger, plan)
        click.echo(f"ipledger: {_summary(source, form, applied, plan)}", err=True)
        done = None
        if asked["dry_run"]:
            click.echo("dry run: nothing was changed", err=True)
        else:
            done = _carry_out(ledger, plan, source, settings)
        data = _answer(ledger, (source, form), found, applied, plan, done)
    emit(settings.output, data, _table(data), ("refused",))
    return EXIT_CODES["conflict"] if data["refused"] else 0


def _source(given: str | None, paths: Sequence[str]) -> str:
    """The name that is recorded with each lease."""
    from engine.names import check_text

    if "" in paths:
        raise InvalidInput("a FILE is empty", "name a file, a directory, or -")
    if given is None:
        given = "stdin" if paths[0] == "-" else Path(paths[0]).name or paths[0]
    return check_text(given, "source")


def _definitions(ledger: Ledger, objects: Sequence[Any]) -> tuple[Applied, ...]:
    """What applying the definitions would do.

    Raises:
        Refused: they cannot be.
    """
    from ipledger import operations

    return ledger.preview(operations.apply(*objects)) if objects else ()


def _check_level(ledger: Ledger, plan: Plan) -> None:
    """Refuse before anything is written what would be refused behind the pools.

    Raises:
        Refused: the space has a format level that knows no imported leases.
    """
    from engine.decide_adopt import ADOPTING_LEVEL
    from engine.decide_space import needs_level

    refusal = needs_level(ledger.state, ADOPTING_LEVEL, "imported leases")
    if refusal is not None and (plan.covered or plan.leases):
        raise Refused(refusal)


def _carry_out(ledger: Ledger, plan: Plan, source: str, settings: Settings) -> Imported:
    from ipledger.cli.progress import Progress
    from ipledger.importing import carry_out
    from ipledger.importing.carrying import Claims

    claims = Claims(settings.command_id, settings.reason)
    total = len(plan.covered) + len(plan.leases)
    with Progress("importing", total, unit="leases") as progress:
        return carry_out(ledger, plan, source, claims, progress)


def _summary(source: str, form: str, applied: Sequence[Applied], plan: Plan) -> str:
    """What will be done, in a line."""
    changes = sum(entry.did != "unchanged" for entry in applied)
    parts = [
        f"{changes} of {len(applied)} definitions to change",
        f"{_leases(len(plan.covered) + len(plan.leases))} to import",
        f"{len(plan.held)} here already",
        f"{len(plan.past)} past their end",
        f"{len(plan.refused)} that cannot be",
    ]
    addresses = sum(aside.ips.size for aside in plan.aside)
    parts += [f"{addresses} addresses to set aside"] if addresses else []
    return plain(f"{source} ({form}): {', '.join(parts)}")


def _answer(
    ledger: Ledger, origin: tuple[str, str], found: Found, applied: Sequence[Applied],
    plan: Plan, done: Imported | None,
) -> dict[str, Any]:  # fmt: skip
    """The answer in JSON; of a dry run, what would be so."""
    from projections.content import content_digest

    planned = len(plan.covered) + len(plan.leases)
    late = () if done is None else done.refused
    state = ledger.state
    return {
        "source": origin[0],
        "format": origin[1],
        "dry_run": done is None,
        "objects": [{"kind": kind, "name": name, "result": did} for kind, name, did in applied],
        "imported": planned if done is None else done.leases,
        "held": len(plan.held),
        "past": [_place(entry) for entry in plan.past],
        "refused": [_refused(entry) for entry in (*plan.refused, *late)],
        "quarantined": [text for aside in plan.aside for text in aside.ips.texts()],
        "gone": found.gone,
        "warnings": list(found.warnings),
        "content_digest": content_digest(state),
        "position": ledger.position,
    }


def _place(entry: FoundLease) -> dict[str, Any]:
    return {"where": entry.where, "address": entry.lease.text, "owner": entry.lease.owner}


def _refused(entry: RefusedLease) -> dict[str, Any]:
    refusal = entry.refusal
    why = {"kind": refusal.kind, "message": refusal.message, "hint": refusal.hint}
    return {**_place(entry.found), **why}


def _leases(number: int) -> str:
    return "1 lease" if number == 1 else f"{number} leases"


def _table(data: dict[str, Any]) -> str:
    """What was done, and what could not be."""
    would = "would be " if data["dry_run"] else ""
    lines = [
        f"{entry['kind']}/{entry['name']} {entry['result']}"
        for entry in data["objects"] if entry["result"] != "unchanged"
    ]  # fmt: skip
    lines.append(f"{_leases(data['imported'])} {would}imported, {data['held']} here already")
    if data["past"]:
        number = len(data["past"])
        lines.append(
            f"{_leases(number)} past {'its' if number == 1 else 'their'} end {would}left out"
        )
    if data["quarantined"]:
        lines.append(f"{', '.join(data['quarantined'][:_TOLD])} {would}quarantined")
    refused = data["refused"]
    if refused:
        more = f" (the first {_TOLD}; all with -o json)" if len(refused) > _TOLD else ""
        lines.append(f"{_leases(len(refused))} cannot be imported{more}:")
        rows = [(entry["where"], entry["owner"], entry["message"]) for entry in refused[:_TOLD]]
        lines.append(table(["where", "owner", "why"], rows))
    return "\n".join(map(plain_lines, lines))
