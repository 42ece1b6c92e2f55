"""Deciding that the end of a lease was wrong: its owner has the very address again.

While the address rests, it is certain that nobody else got it; after that, it can be undone for as
long as nobody did. The new lease begins in effect when the old one ended, so that who held the
address has no gap.
"""

from __future__ import annotations

from engine import events as ev
from engine import tags
from engine.commands import Claim, EndedLease, Undo
from engine.decide_space import needs_level
from engine.draft import UNSALTED, Change, Decision, Draft, Nothing
from engine.errors import Refusal
from engine.facts import Facts, Lease, Pool
from engine.granting import TAKES_OVER_LEVEL, is_closed
from engine.names import TEXT_BYTES_MAX


def decide_undo(facts: Facts, command: Undo, claim: Claim) -> Decision:
    """The owner has the address again, or it is told why not."""
    ended = command.ended
    active = facts.lease(command.lease)
    if active is not None:
        message = f"lease {command.lease} has not ended: {active.owner} holds {active.text}"
        return Refusal("conflict", message, "there is nothing to undo", "lease", active.position)
    if ended is None and facts.has_ended(command.lease):
        message = f"lease {command.lease} has ended just now"
        return Refusal("conflict", message, "see why, and undo it again if that is meant", "lease")
    if ended is None:
        hint = "see `ipledger history`"
        return Refusal("not_found", f"lease {command.lease} does not exist", hint, "lease")
    if ended.ended_by == "superseded":
        message = f"lease {command.lease} was superseded by a new incarnation of its owner"
        return Refusal("conflict", message, "allocate with the uid of the one that lives", "lease")
    holder = _holder(facts, ended)
    if holder is not None:
        return _held_again(command.lease, ended, holder)
    last = facts.last_tenure(ended.address, ended.prefix_length)
    if last is None or last[1] != command.lease:
        since = "" if last is None else f" (lease {last[1]})"
        message = f"{ended.text} was given out again after lease {command.lease}{since}"
        return Refusal("conflict", message, "see `ipledger history ip`", "lease")
    what = "lease that takes over from one that has ended"
    if refusal := needs_level(facts, TAKES_OVER_LEVEL, what):
        return refusal
    pool = facts.pool_of(ended.pool_id)
    if pool is None:
        message = f"the pool of lease {command.lease} is gone"
        return Refusal("not_found", message, "allocate from another pool", "pool", ended.pool_id)
    if refusal := _kept(facts, ended, pool):
        return refusal
    return _restored(command.lease, ended, pool, last[0], claim)


def _holder(facts: Facts, ended: EndedLease) -> Lease | None:
    """Who holds the address now, as it was or with more or less around it."""
    held = facts.lease_at(ended.address)
    if held is not None:
        return held
    wanted = ended.span
    for pool in facts.pools():
        if pool.spec.family == wanted.family and pool.effective & wanted:
            for lease in facts.leases_within(pool.pool_id, wanted):
                return lease
    return None


def _held_again(lease_id: int, ended: EndedLease, holder: Lease) -> Decision:
    """The lease that the owner has already, or who has it instead."""
    same = (ended.address, ended.prefix_length, ended.owner, ended.interface, ended.uid)
    if same == (
        holder.address, holder.prefix_length, holder.owner, holder.interface, holder.uid
    ):  # fmt: skip
        return Nothing((holder,))
    message = (
        f"{ended.text} was given to {holder.owner} on {holder.interface} after lease {lease_id}: "
        f"lease {holder.lease_id} holds {holder.text}"
    )
    hint = "allocate another address for its owner"
    return Refusal("conflict", message, hint, "lease", holder.position)


def _kept(facts: Facts, ended: EndedLease, pool: Pool) -> Refusal | None:
    """Why nobody, or not this owner, may be given the address now."""
    if refusal := is_closed(pool):
        return refusal
    wanted, shown = ended.span, ended.text
    if wanted - pool.effective:
        message = f"pool {pool.name} does not have {shown} any more"
        return Refusal("forbidden", message, "grow the pool, or allocate another", "pool")
    for reservation in facts.reservations():
        ips = reservation.spec.ips
        if ips.family == wanted.family and reservation.spec.owner != ended.owner and ips & wanted:
            message = f"{shown} is reserved by {reservation.name}"
            return Refusal("forbidden", message, "change the reservation first", "ip")
    if wanted & facts.quarantined(wanted.family):
        message = f"{shown} is quarantined"
        return Refusal("forbidden", message, "end the quarantine first", "ip")
    return None


def _restored(
    lease_id: int, ended: EndedLease, pool: Pool, ended_ms: int, claim: Claim
) -> Draft:  # fmt: skip
    """The grant that takes over from the lease that has ended, and what it rests on."""
    event = ev.LeaseGranted(
        ended.pool_id, bytes(ended.address), ended.prefix_length, ended.interface, ended.ttl_s,
        ended.cluster, supersedes=lease_id, beside=(), seed=None, source=None,
    )  # fmt: skip
    sealed = ev.Sealed(
        UNSALTED, ended.owner, ended.uid, ended.labels,
        claim.actor, _why(lease_id, ended, claim), claim.command_id,
    )  # fmt: skip
    reads = (
        tags.block(ended.address, ended.prefix_length),
        tags.owner(ended.owner, ended.interface),
        tags.pool(pool.name),
        tags.RESERVATIONS,
    )
    return Draft((Change(event, sealed, ended.position, ended_ms),), reads)


def _why(lease_id: int, ended: EndedLease, claim: Claim) -> str:
    """What the history shows of it."""
    text = f"undoes that lease {lease_id} was {ended.ended_by} at position {ended.position}"
    whole = text if claim.reason is None else f"{claim.reason}: {text}"
    return whole if len(whole.encode()) <= TEXT_BYTES_MAX else text
