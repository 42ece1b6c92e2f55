"""How a lease ends, whoever ends it: the events, and what must be read for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from engine import events as ev
from engine import tags
from engine.commands import Claim
from engine.draft import UNSALTED, Change
from engine.entry import COMMIT_BYTES_MAX
from engine.facts import Facts, Lease
from engine.model import ENDINGS, EndedBy

# What is more than this is a series of commits under one command id.
ENDS_MAX: Final = 2_000
# An end in the stream with its tags and its commit, without the texts that are sealed with it.
_BARE_BYTES: Final = 330
# Room is left in the commit for what is in it beside the ends: the deletion of their pools, say.
ENDS_BYTES_MAX: Final = COMMIT_BYTES_MAX * 3 // 4


def weight(event: ev.Event, sealed: ev.Sealed) -> int:
    """About as many bytes as the event of an end takes in the stream, rather more than fewer."""
    texts = [sealed.owner, sealed.uid, sealed.actor, sealed.reason, sealed.command_id, sealed.text]
    texts += [part for label in sealed.labels for part in label]
    # Ranges are written twice: as they are, and as tags in hex.
    ranges = len(event.ips) * 4 if isinstance(event, ev.QuarantineEnded) else 0
    return _BARE_BYTES + ranges + sum(len(text.encode()) + 4 for text in texts if text)


class Ends:
    """What one commit ends: as much as it has room for, and what must be read for it."""

    def __init__(self, changes_max: int = ENDS_MAX) -> None:
        """Make room for about so many changes, fewer if much is sealed with them."""
        self.changes: list[Change] = []
        self.reads: dict[str, None] = {}
        self._changes_max = changes_max
        self._bytes = 0

    def add(self, changes: list[Change], reads: Iterable[str]) -> bool:
        """Add one end, or answer that it is for the next commit."""
        size = sum(weight(change.event, change.sealed) for change in changes)
        full = len(self.changes) >= self._changes_max
        if full or (self.changes and self._bytes + size > ENDS_BYTES_MAX):
            return False
        self.changes += changes
        self.reads.update(dict.fromkeys(reads))
        self._bytes += size
        return True


def ending(
    facts: Facts,
    lease: Lease,
    ended_by: EndedBy,
    claim: Claim,
    *,
    cause: int | None = None,
    effective_at_ms: int | None = None,
) -> list[Change]:
    """The end of a lease; if a conflict was reported on it, what it held is set aside with it."""
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
        # Of a block, all of it: the report says that something else is in there, but not where.
        width = len(lease.address)
        ips = bytes(lease.address) + lease.last.to_bytes(width)
        aside = ev.Quarantined(4 if width == 4 else 6, ips, report.quarantine_s, lease.lease_id)
        why = ev.Sealed(
            UNSALTED, actor=claim.actor, command_id=claim.command_id, text=report.reason
        )
        changes.append(Change(aside, why, report.position))
    return changes


def ending_reads(lease: Lease) -> tuple[str, ...]:
    """What the end of a lease rests on."""
    return (tags.lease(lease.lease_id),)
