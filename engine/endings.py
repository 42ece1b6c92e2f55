"""How a lease ends, whoever ends it: the events, and what must be read for them."""

from __future__ import annotations

from typing import Final

from engine import events as ev
from engine import tags
from engine.commands import Claim
from engine.draft import UNSALTED, Change
from engine.facts import Facts, Lease
from engine.model import ENDINGS, EndedBy

# What ends more leases than this is a series of commits under one command id.
ENDS_MAX: Final = 2_000


def ending(
    facts: Facts,
    lease: Lease,
    ended_by: EndedBy,
    claim: Claim,
    *,
    cause: int | None = None,
    effective_at_ms: int | None = None,
) -> list[Change]:
    """The end of a lease; if a conflict was reported on it, its address is set aside with it."""
    event = ev.LeaseEnded(
        lease.lease_id, lease.pool_id, lease.address, lease.prefix_length,
        lease.interface, ENDINGS.index(ended_by),
    )  # fmt: skip
    sealed = ev.Sealed(
        UNSALTED, lease.owner, lease.uid, lease.labels,
        claim.actor, claim.reason, claim.command_id,
    )  # fmt: skip
    changes = [Change(event, sealed, cause, effective_at_ms)]
    report = facts.conflict_on(lease.lease_id)
    if report is not None:
        address = bytes(lease.address)
        aside = ev.Quarantined(
            4 if len(address) == 4 else 6, address + address, report.quarantine_s, lease.lease_id
        )
        why = ev.Sealed(
            UNSALTED, actor=claim.actor, command_id=claim.command_id, text=report.reason
        )
        changes.append(Change(aside, why, report.position))
    return changes


def ending_reads(lease: Lease) -> tuple[str, ...]:
    """What the end of a lease rests on."""
    return (tags.lease(lease.lease_id),)
