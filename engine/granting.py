"""Granting addresses to one owner: which may be given, which is chosen, and why none is left."""

from __future__ import annotations

from typing import Final, NamedTuple

from engine import events as ev
from engine import tags
from engine.addresses import BITS, Address, RangeSet, family_of, format_address, from_int, to_int
from engine.affinity import ANYBODY, not_for
from engine.choosing import Asking, Choice, choose
from engine.commands import Allocate, Claim
from engine.draft import UNSALTED, Change
from engine.endings import ending, ending_reads
from engine.errors import Refusal
from engine.facts import Counts, Facts, Lease, Pool
from engine.model import EndedBy
from engine.obstacles import is_set_aside, may_make_room, reservation_against, rests_until_ms
from engine.placement import Placement

TAKES_OVER_LEVEL: Final = 2  # since when a grant may take over from a lease that ended before


class Granting:
    """One allocate command while it is being decided."""

    def __init__(
        self, facts: Facts, command: Allocate, claim: Claim, placement: Placement, now_ms: int
    ) -> None:
        self.now_ms = now_ms
        self.not_before_ms = command.effective_at_ms or 0
        self.overdue: set[int] = set()  # the leases that this command expires
        self.facts = facts
        self.command = command
        self.claim = claim
        self.placement = placement
        self.changes: list[Change] = []
        self.held: list[Lease] = []
        self.requested = list(command.addresses)
        self.reads: dict[str, None] = {tags.owner(command.owner, command.interface): None}

    def sealed(self) -> ev.Sealed:
        """What every grant of this command seals."""
        command, claim = self.command, self.claim
        return ev.Sealed(
            UNSALTED, command.owner, command.uid, command.labels,
            claim.actor, claim.reason, claim.command_id,
        )  # fmt: skip

    def length_in(self, pool: Pool) -> int:
        """The prefix length that is asked for: that of a single address if none is said."""
        length = self.command.prefix_length
        return BITS[pool.spec.family] if length is None else length

    def grant(
        self,
        pool: Pool,
        address: Address,
        supersedes: Lease | None = None,
        *,
        takes_over: int | None = None,
        seed: int | None = None,
    ) -> None:
        """Add the event that gives `address` to the owner.

        `supersedes` is a lease that this command ends, `takes_over` one that had ended before.
        """
        command = self.command
        ttl_s = command.ttl_s if command.ttl_s is not None else pool.spec.ttl_s
        event = ev.LeaseGranted(
            pool_id=pool.pool_id,
            address=address,
            prefix_length=self.length_in(pool),
            interface=command.interface,
            ttl_s=ttl_s,
            cluster=command.cluster,
            supersedes=takes_over if supersedes is None else supersedes.lease_id,
            beside=(),
            seed=seed,
            source=None,
        )
        self.changes.append(Change(event, self.sealed(), effective_at_ms=command.effective_at_ms))
        self.reads[tags.block(address, event.prefix_length)] = None

    def end(self, lease: Lease, ended_by: EndedBy) -> None:
        """Add the events that end `lease`, which this command replaces or finds past its time."""
        effective_at_ms = self.command.effective_at_ms if ended_by == "superseded" else None
        self.changes += ending(
            self.facts, lease, ended_by, self.claim, effective_at_ms=effective_at_ms
        )
        self.reads.update(dict.fromkeys(ending_reads(lease)))


def covers(ranges: RangeSet, address: Address) -> bool:
    """Whether `ranges` is of the address's family and has it."""
    return ranges.family == family_of(address) and to_int(address) in ranges


def too_early(what: str, when: str) -> Refusal:
    """Why something cannot have been true that early."""
    message = f"effective_at is too early: {what} {when}"
    return Refusal("invalid", message, "give a later time, or none for now", "effective_at")


def set_aside(granting: Granting, address: Address, held: Lease | None = None) -> Refusal | None:
    """Why nobody may be given `address`, if something else answers on it."""
    if not is_set_aside(granting.facts, address, held):
        return None
    message = f"{format_address(address)} is quarantined"
    return Refusal("forbidden", message, "ask for another address", "ip")


def reserved(granting: Granting, address: Address) -> Refusal | None:
    """Why this owner may not be given `address`, if a reservation keeps it."""
    against = _reservation_against(granting, address)
    if against is None:
        return None
    message = f"{format_address(address)} is reserved by {against}"
    return Refusal("forbidden", message, "ask for another address", "ip")


def _reservation_against(granting: Granting, address: Address) -> str | None:
    """The name of a reservation that keeps `address` from this owner, if there is one."""
    found = reservation_against(granting.facts, granting.command.owner, address)
    return None if found is None else found.name


def is_closed(pool: Pool) -> Refusal | None:
    """Why a pool gives nobody anything, whatever is free in it."""
    if pool.terminating:
        message = f"pool {pool.name} is terminating"
        return Refusal("forbidden", message, "use another pool", "pool", pool.pool_id)
    if pool.spec.disabled:
        message = f"pool {pool.name} is disabled: it gives out nothing new"
        return Refusal("forbidden", message, "enable it, or use another pool", "pool")
    return None


def cannot_give_out(granting: Granting, pool: Pool) -> Refusal | None:
    """Why a pool gives this request nothing new, whatever is free in it."""
    if refusal := is_closed(pool):
        return refusal
    if not granting.command.groups and not pool.spec.default:
        message = f"pool {pool.name} is no default pool"
        return Refusal("forbidden", message, "name it with --pool", "pool")
    if pool.spec.selectors != ANYBODY and (refusal := not_for(pool, granting.command)):
        return refusal
    return None


def grant_specific(granting: Granting, pools: list[Pool], address: Address) -> Refusal | None:
    """Exactly this address, or why not."""
    facts = granting.facts
    pool = next(pool for pool in pools if covers(pool.effective, address))
    shown = format_address(address)
    if refusal := cannot_give_out(granting, pool):
        return refusal
    holder = facts.lease_at(address)
    value = to_int(address)
    if holder is not None and _expire(granting, pool, holder):
        holder = None
    if holder is not None:
        message = f"{holder.text} is leased to {holder.owner} (lease {holder.lease_id})"
        hint = "ask for another address, or for any by leaving --ip out"
        return Refusal("conflict", message, hint, "ip", holder.position)
    if refusal := set_aside(granting, address):
        return refusal
    ready_ms = rests_until_ms(facts, pool, address)
    if ready_ms > granting.now_ms:
        message = f"{shown} rests for {(ready_ms - granting.now_ms) / 1000:.0f} s more"
        return Refusal("conflict", message, "ask for another address, or wait", "ip")
    if refusal := reserved(granting, address):
        return refusal
    granting.not_before_ms = max(granting.not_before_ms, ready_ms)
    if _was_held_then(granting, address):
        return too_early(f"{shown} was held until", "later than that")
    granting.placement.claim(pool, value)
    granting.grant(pool, address)
    return None


def _expire(granting: Granting, pool: Pool, lease: Lease) -> bool:
    """End a lease that is past its time, so that its address can be granted in this commit.

    Not if the address must rest first, or is set aside at its end.
    """
    ends_ms = lease.expires_at_ms
    if (
        ends_ms is None
        or not may_make_room(granting.facts, pool, lease, granting.command.owner, granting.now_ms)
        or lease.lease_id in granting.overdue
        or granting.placement.is_pending(pool, to_int(lease.address))
        or granting.command.effective_at_ms is not None
    ):
        return False
    granting.overdue.add(lease.lease_id)
    granting.end(lease, "expired")
    granting.not_before_ms = max(granting.not_before_ms, ends_ms)
    return True


class _Blocked(NamedTuple):
    pool: Pool
    refusal: Refusal


def grant_any(
    granting: Granting, pools: list[Pool], missing: int, supersedes: Lease | None = None
) -> Refusal | None:
    """`missing` addresses: the owner's own first, then by policy, pool after pool."""
    blocked: list[_Blocked] = []
    exhausted: list[Pool] = []
    for pool in pools:
        if missing == 0:
            break
        if refusal := cannot_give_out(granting, pool):
            blocked.append(_Blocked(pool, refusal))
            continue
        while missing > 0:
            choice = _choose(granting, pool, supersedes)
            if choice is None:
                exhausted.append(pool)
                break
            granting.grant(
                pool, from_int(choice.value, pool.spec.family), supersedes,
                takes_over=choice.takes_over, seed=choice.seed,
            )  # fmt: skip
            missing -= 1
    if missing == 0:
        return None
    if exhausted:
        return _exhausted(granting, exhausted, missing, blocked)
    if len(blocked) == 1:
        return blocked[0].refusal
    message = "; ".join(entry.refusal.message for entry in blocked)
    return Refusal("forbidden", message, "name a pool that gives out addresses", "pool")


def _choose(granting: Granting, pool: Pool, supersedes: Lease | None) -> Choice | None:
    """The owner's own address; else a free one by policy; else what time has made available."""
    own = _own_address(granting, pool)
    if own is not None:
        return Choice(own)
    facts, command = granting.facts, granting.command
    may_take_over = supersedes is None and facts.level >= TAKES_OVER_LEVEL
    asking = Asking(command.owner, command.interface, granting.now_ms, may_take_over)
    while (choice := choose(facts, pool, asking, granting.placement)) is not None:
        if not _was_held_then(granting, from_int(choice.value, pool.spec.family)):
            granting.not_before_ms = max(granting.not_before_ms, choice.not_before_ms)
            return choice
    freed = _made_free_by_time(granting, pool)
    return None if freed is None else Choice(freed)


def _made_free_by_time(granting: Granting, pool: Pool) -> int | None:
    """The longest idle of the addresses that have rested, or that of the most overdue lease."""
    if granting.command.effective_at_ms is not None:
        return None
    for value, ready_ms in granting.facts.rested(pool.pool_id, granting.now_ms):
        if not granting.placement.is_pending(pool, value):
            granting.placement.claim(pool, value)
            granting.not_before_ms = max(granting.not_before_ms, ready_ms)
            return value
    for lease in granting.facts.overdue_in(pool.pool_id, granting.now_ms):
        if _expire(granting, pool, lease):
            value = to_int(lease.address)
            granting.placement.claim(pool, value)
            return value
    return None


def _own_address(granting: Granting, pool: Pool) -> int | None:
    """An address that a reservation keeps for this very owner, if one is not leased yet."""
    own = granting.facts.reserved_for(granting.command.owner, pool.spec.family)
    if not own:
        return None
    for first, last in (own & pool.effective).ranges:
        # Static assignments are few addresses; a wide one is asked for by address.
        for value in range(first, min(last, first + 255) + 1):
            address = from_int(value, pool.spec.family)
            rested_ms = granting.facts.resting(pool.pool_id, value) or 0
            if (
                granting.facts.lease_at(address) is None
                and not granting.placement.is_pending(pool, value)
                and _reservation_against(granting, address) is None
                and set_aside(granting, address) is None
                and rested_ms <= granting.now_ms
                and not _was_held_then(granting, address)
            ):
                granting.placement.claim(pool, value)
                granting.not_before_ms = max(granting.not_before_ms, rested_ms)
                return value
    return None


def _was_held_then(granting: Granting, address: Address) -> bool:
    """Whether somebody held `address` at the time since when the grant shall have been true."""
    effective_at_ms = granting.command.effective_at_ms
    if effective_at_ms is None:
        return False
    last = granting.facts.last_tenure(address)
    return last is not None and effective_at_ms < last[0]


def buckets(counts: Counts) -> str:
    """How many addresses a pool has, and where they are, in words."""
    parts = [
        f"{number} {bucket}"
        for bucket, number in zip(counts._fields[1:], counts[1:], strict=True)
        if number
    ]
    return f"{counts.total} addresses" + (f": {', '.join(parts)}" if parts else "")


def _exhausted(
    granting: Granting, pools: list[Pool], missing: int, blocked: list[_Blocked]
) -> Refusal:
    """The refusal that users know by its wording, with the figures behind it."""
    reasons = [
        f"pool {pool.name} has {buckets(granting.facts.counts(pool.pool_id))}" for pool in pools
    ]
    reasons += [entry.refusal.message for entry in blocked]
    if granting.command.number > 1:
        reasons.append(f"{missing} of the {granting.command.number} asked for are missing")
    message = f"all IP addresses used out: {'; '.join(reasons)}"
    hint = "release leases, delete a reservation, or add addresses to a pool"
    return Refusal("exhausted", message, hint, pools[0].name)
