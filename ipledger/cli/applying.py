"""What manifests say beside pools and reservations: the space, and what somebody holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.errors import InvalidInput, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipledger.cli.settings import Settings
    from ipledger.importing import Plan
    from ipledger.importing.planning import RefusedLease
    from ipledger.ledger import Ledger
    from ipledger.manifests import Parsed, StatedSpace
    from ipledger.operation import Applied

_SOURCE: Final = "manifests"  # where leases that are applied are from, as far as is known


def check_space(stated: Sequence[StatedSpace], space: str) -> int | None:
    """Return the format level that manifests want of the space that the command speaks of.

    Raises:
        InvalidInput: they speak of another space, or of a level that is not known.
    """
    from engine.events import LEVEL

    for wanted in stated:
        if wanted.name != space:
            message = f"the manifests are of space {wanted.name}, the command is of space {space}"
            hint = f"use --space {wanted.name}, or leave the document of kind Space out"
            raise InvalidInput(message, hint)
        if wanted.level is not None and wanted.level > LEVEL:
            message = f"format level {wanted.level} is not known; this release knows {LEVEL}"
            raise InvalidInput(message, "use a release that knows it")
    return max((wanted.level or 1 for wanted in stated), default=None)


def _put_space(ledger: Ledger, level: int, *, dry_run: bool) -> Applied:
    """Make the space if it is not there, and raise its format level if it has a lower one."""
    from ipledger import operations
    from ipledger.operation import Applied

    if not ledger.position:
        if not dry_run:
            ledger.create_space()
        return Applied("space", ledger.space, "created")
    if level <= ledger.state.level:
        return Applied("space", ledger.space, "unchanged")
    if not dry_run:
        ledger.run(operations.raise_level(level))
    return Applied("space", ledger.space, "configured")


def apply_stated(
    ledger: Ledger, parsed: Parsed, settings: Settings, level: int | None, *, dry_run: bool
) -> tuple[tuple[Applied, ...], Plan]:
    """Apply manifests that say more than definitions; what becomes of those, and of the rest.

    All of it is held against what is before anything is written, the space included.

    Raises:
        Refused: something of it cannot be.
    """
    from ipledger import operations

    defined: tuple[Applied, ...] = ()
    if parsed.objects:
        defined = ledger.preview(operations.apply(*parsed.objects))
    plan = _plan(ledger, parsed, level)
    space = () if level is None else (_put_space(ledger, level, dry_run=dry_run),)
    if not dry_run:
        _carry_out(ledger, plan, settings)
    return (*space, *defined), plan


def _plan(ledger: Ledger, parsed: Parsed, level: int | None) -> Plan:
    """What it takes to carry in the leases and quarantines of manifests, definitions included.

    `level` is what the space will be raised to.

    Raises:
        Refused: one of them cannot be; nothing is written then.
    """
    from engine.decide_adopt import ADOPTING_LEVEL
    from engine.decide_space import needs_level
    from ipledger.importing import Found, make_plan
    from ipledger.importing.documents import own_lease, own_quarantine

    found = Found(
        parsed.objects,
        tuple(own_lease(stated, None) for stated in parsed.leases),
        tuple(map(own_quarantine, parsed.quarantines)),
    )
    plan = make_plan(ledger.state, found, ledger.writer.server_now_ms())
    if plan.refused:
        raise _refused(plan.refused)
    if (plan.leases or plan.covered) and (level or 0) < ADOPTING_LEVEL:
        too_low = needs_level(ledger.state, ADOPTING_LEVEL, "leases from manifests")
        if too_low is not None:
            raise Refused(too_low)
    return plan


def _carry_out(ledger: Ledger, plan: Plan, settings: Settings) -> None:
    """Write what the plan says: definitions first, then leases, then what is set aside.

    Raises:
        Refused: somebody else was faster with one of them; the rest stands.
    """
    from ipledger.cli.progress import Progress
    from ipledger.importing import carry_out
    from ipledger.importing.carrying import Claims

    claims = Claims(settings.command_id, settings.reason)
    with Progress("applying", len(plan.covered) + len(plan.leases), unit="leases") as progress:
        done = carry_out(ledger, plan, _SOURCE, claims, progress)
    if done.refused:
        raise _refused(done.refused)


def held_items(plan: Plan) -> list[dict[str, str | None]]:
    """What becomes of each lease and quarantine, in the shape of what `apply` prints."""
    outcomes = (
        ("created", (*plan.covered, *plan.leases)), ("unchanged", plan.held), ("past", plan.past),
    )  # fmt: skip
    items: list[dict[str, str | None]] = [
        {"kind": "lease", "name": entry.lease.text, "result": did, "detail": entry.lease.owner}
        for did, entries in outcomes
        for entry in entries
    ]
    for aside in plan.aside:
        name = ",".join(aside.ips.texts())
        detail = aside.reason
        items.append({"kind": "quarantine", "name": name, "result": "created", "detail": detail})
    return items


def _refused(refused: Sequence[RefusedLease]) -> Refused:
    first = refused[0]
    more = f" (and {len(refused) - 1} more cannot be)" if len(refused) > 1 else ""
    refusal = first.refusal
    return Refused(
        refusal._replace(
            message=f"{first.found.where}: {refusal.message}{more}",
            hint=f"{refusal.hint}; `ipledger import` takes over what can be, and lists the rest",
        )
    )


def refuse_held(parsed: Parsed) -> None:
    """Leases and quarantines are ended, not deleted.

    Raises:
        InvalidInput: there are some.
    """
    if parsed.leases or parsed.quarantines:
        message = "leases and quarantines are not deleted by their manifests"
        raise InvalidInput(message, "see `ipledger release` and `ipledger unquarantine`")
