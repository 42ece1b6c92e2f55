"""Deciding about leases that come from elsewhere: each at its very address, or why it cannot be.

Nothing is chosen here. A lease that is adopted was given out by somebody else's rules, so the
pool's switches, selectors and policy are not asked; what this ledger knows of the address is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple

from engine import events as ev
from engine import tags
from engine.addresses import Family, family_of, to_int
from engine.commands import Adopt, Adopted, Claim
from engine.decide_leases import in_the_future
from engine.decide_space import needs_level
from engine.draft import UNSALTED, Change, Decision, Draft, Nothing
from engine.errors import Refusal
from engine.facts import Facts, Lease, Pool, Reservation
from engine.lasting import ends_ms
from engine.placement import Placement
from engine.range_index import PoolFinder

ADOPTING_LEVEL: Final = 2


class Past(NamedTuple):
    """The lease has ended already, where it comes from."""

    ended_ms: int


# The pool that the lease goes on in, the lease that it is already, or why it is neither.
Verdict = Pool | Lease | Past | Refusal


def adoption(facts: Facts, finder: PoolFinder, lease: Adopted, now_ms: int) -> Verdict:
    """What would become of a lease from elsewhere, as of these facts."""
    if refusal := in_the_future(lease.effective_at_ms, now_ms, "since"):
        return refusal
    # One that says how long but not since when has just begun.
    began_ms = now_ms if lease.effective_at_ms is None else lease.effective_at_ms
    if lease.ttl_s is not None and began_ms + lease.ttl_s * 1_000 <= now_ms:
        return Past(began_ms + lease.ttl_s * 1_000)
    pool = _pool_of(finder, lease)
    if isinstance(pool, Refusal):
        return pool
    holder = facts.lease_at(lease.address)
    if holder is None and lease.is_block and pool.pool_id:
        holder = next(iter(facts.leases_within(pool.pool_id, lease.span)), None)
    if holder is not None:
        return _held(lease, holder)
    return _kept_from(facts, lease, pool, now_ms) or pool


def _pool_of(finder: PoolFinder, lease: Adopted) -> Pool | Refusal:
    pool = finder.having(lease.address)
    if pool is None:
        hint = "define its pool first, or extend one: `ipledger apply -f`"
        return Refusal("not_found", f"no pool has {lease.text}", hint, "address")
    if lease.is_block:
        first, last = to_int(lease.address), lease.last
        if first & (last - first):
            message = f"{lease.text} is no block: it has host bits"
            return Refusal("invalid", message, "give its first address", "address")
        if outside := lease.span - pool.effective:
            message = f"{lease.text} is not all of pool {pool.name}: {outside.texts()[0]} is not"
            return Refusal("not_found", message, "extend the pool: `ipledger apply -f`", "address")
    if lease.pool is not None and lease.pool != pool.name:
        message = f"{lease.text} is of pool {pool.name} here, not of {lease.pool}"
        return Refusal("conflict", message, "name that pool, or none", "pool")
    if pool.terminating:
        message = f"pool {pool.name} is terminating"
        hint = "wait until it is gone, and define it anew"
        return Refusal("forbidden", message, hint, "pool", pool.pool_id)
    return pool


def _held(lease: Adopted, holder: Lease) -> Lease | Refusal:
    """The lease that holds the address, if it is the one that comes from elsewhere."""
    if (holder.owner, holder.interface) != (lease.owner, lease.interface):
        of_it = "" if holder.text == lease.text else f", which {lease.text} would overlap"
        message = (
            f"{holder.text} is leased to {holder.owner} on {holder.interface} "
            f"(lease {holder.lease_id}){of_it}"
        )
        hint = f"if that is wrong: ipledger release {holder.lease_id}"
        return Refusal("conflict", message, hint, "owner", holder.position)
    wrong = [name for name, here, there in (
        ("address", holder.address, lease.address),
        ("prefix length", holder.prefix_length, lease.prefix_length),
        ("uid", holder.uid, lease.uid),
        ("labels", holder.labels, lease.labels),
        ("cluster", holder.cluster, lease.cluster),
    ) if here != there]  # fmt: skip
    # What was renewed here since has a time of its own; before that, its time is that of there.
    renewed = holder.position != holder.lease_id
    if not renewed and (holder.ttl_s is None) != (lease.ttl_s is None):
        wrong.append("ttl")
    elif not renewed and lease.effective_at_ms is not None:
        ends = ends_ms(0, lease.effective_at_ms, lease.ttl_s, "elsewhere")
        if holder.expires_at_ms != ends:
            wrong.append("end")
        elif ends is None and holder.effective_at_ms != lease.effective_at_ms:
            wrong.append("since")
    if not wrong:
        return holder
    message = (
        f"{lease.text} is held by {holder.owner} already (lease {holder.lease_id}), "
        f"but it differs in {', '.join(wrong)}"
    )
    hint = f"it stays as it is here; to import it anew: ipledger release {holder.lease_id}"
    return Refusal("conflict", message, hint, wrong[0], holder.position)


def _kept_from(facts: Facts, lease: Adopted, pool: Pool, now_ms: int) -> Refusal | None:
    """Why nobody, or not this owner, may have the address now, or not since then."""
    text, family = lease.text, family_of(lease.address)
    for reservation in _reservations_on(facts, lease):
        if reservation.spec.owner != lease.owner:
            message = f"{text} is reserved by {reservation.name}"
            return Refusal("forbidden", message, "reserve it for this owner, or for nobody", "ip")
    aside = facts.quarantined(family)
    if aside.overlaps(lease.span) if lease.is_block else to_int(lease.address) in aside:
        message = f"{text} is quarantined"
        hint = f"if that is over: ipledger unquarantine {text}"
        return Refusal("forbidden", message, hint, "ip")
    if pool.pool_id and rested_ms(facts, lease, pool, now_ms) is None:
        message = f"{text} rests after its release"
        return Refusal("conflict", message, "import it again when it has rested", "ip")
    ended_ms, _ = facts.last_tenure(lease.address, lease.prefix_length) or (0, None)
    if lease.effective_at_ms is not None and lease.effective_at_ms < ended_ms:
        early_s = (ended_ms - lease.effective_at_ms) / 1_000
        message = f"{text} was held by somebody else here until {early_s:.3f} s after it began"
        hint = f"see `ipledger history ip {text}`"
        return Refusal("conflict", message, hint, "effective_at")
    return None


def _reservations_on(facts: Facts, lease: Adopted) -> Iterable[Reservation]:
    if not lease.is_block:
        return facts.reserved_by(lease.address)
    span = lease.span
    return [
        held for held in facts.reservations()
        if held.spec.ips.family == span.family and held.spec.ips.overlaps(span)
    ]  # fmt: skip


def rested_ms(facts: Facts, lease: Adopted, pool: Pool, now_ms: int) -> int | None:
    """When all of what nobody holds had rested, 0 if none of it rests; None if some still does."""
    if not lease.is_block:
        ready_ms = facts.resting(pool.pool_id, to_int(lease.address)) or 0
        return ready_ms if ready_ms <= now_ms else None
    first, last = to_int(lease.address), lease.last
    resting, ready_ms = facts.taken_in(pool.pool_id, first, last), 0
    if resting:
        for low, high, at_ms in facts.rested_ranges(pool.pool_id, now_ms):
            shared = min(high, last) - max(low, first) + 1
            if shared > 0:
                resting, ready_ms = resting - shared, max(ready_ms, at_ms)
    return None if resting else ready_ms


class Taken:
    """What leases hold of which no two may have the same address."""

    def __init__(self) -> None:
        self._ranges: dict[Family, list[tuple[int, int]]] = {4: [], 6: []}
        self._leases: dict[tuple[Family, int], Adopted] = {}

    def take(self, lease: Adopted) -> Adopted | None:
        """Take what a lease holds; or the lease that has some of it already."""
        family = family_of(lease.address)
        ranges = self._ranges[family]
        first, last = to_int(lease.address), lease.last
        at = bisect_right(ranges, (first, last))
        for low, high in ranges[max(at - 1, 0) : at + 1]:
            if low <= last and first <= high:
                return self._leases[family, low]
        ranges.insert(at, (first, last))
        self._leases[family, first] = lease
        return None


def shared(lease: Adopted, other: Adopted, where: str = "") -> Refusal:
    """Why a lease cannot go on: another one that is given, and `where`, has its addresses, too."""
    alike = other.text == lease.text
    what = "is there twice" if alike else f"overlaps {other.text} of {other.owner}"
    at = f": {where}" if where else ""
    return Refusal("invalid", f"{lease.text} {what}{at}", "keep one of them", "address")


def decide_adopt(
    facts: Facts, command: Adopt, claim: Claim, placement: Placement, now_ms: int
) -> Decision:
    """Grant what can be adopted; refuse only if nothing can, and not all is held already."""
    if refusal := needs_level(facts, ADOPTING_LEVEL, "imported leases"):
        return refusal
    finder = PoolFinder(facts.pools())
    changes: list[Change] = []
    held: list[Lease] = []
    refused: list[Refusal] = []
    reads: dict[str, None] = {}
    taken = Taken()
    not_before_ms = 0
    for lease in command.leases:
        verdict = adoption(facts, finder, lease, now_ms)
        if isinstance(verdict, Lease):
            held.append(verdict)
        elif isinstance(verdict, Refusal):
            refused.append(verdict)
        elif isinstance(verdict, Pool):
            if other := taken.take(lease):
                refused.append(shared(lease, other))
                continue
            _claim(placement, verdict, lease)
            ready_ms = rested_ms(facts, lease, verdict, now_ms) or 0
            not_before_ms = max(not_before_ms, ready_ms, lease.effective_at_ms or 0)
            changes.append(_grant(verdict, lease, command.source, claim))
            reads[tags.block(lease.address, lease.prefix_length)] = None
            reads[tags.owner(lease.owner, lease.interface)] = None
            reads[tags.pool(verdict.name)] = None
    if not changes:
        return refused[0] if refused else Nothing(tuple(held))
    reads[tags.RESERVATIONS] = None
    return Draft(tuple(changes), tuple(reads), not_before_ms)


def _claim(placement: Placement, pool: Pool, lease: Adopted) -> None:
    if lease.is_block:
        first, last = to_int(lease.address), lease.last
        placement.claim_block(pool, first, last)
    else:
        placement.claim(pool, to_int(lease.address))


def _grant(pool: Pool, lease: Adopted, source: str, claim: Claim) -> Change:
    event = ev.LeaseGranted(
        pool_id=pool.pool_id,
        address=lease.address,
        prefix_length=lease.prefix_length,
        interface=lease.interface,
        ttl_s=lease.ttl_s,
        cluster=lease.cluster,
        supersedes=None,
        beside=(),
        seed=None,
        source=source,
    )
    sealed = ev.Sealed(
        UNSALTED, lease.owner, lease.uid, lease.labels,
        claim.actor, claim.reason, claim.command_id,
    )  # fmt: skip
    return Change(event, sealed, effective_at_ms=lease.effective_at_ms)
