"""Granting blocks: a request with a prefix length is for aligned blocks and not for addresses.

The smallest free block that is large enough is used first, then the lowest. The functions that
have a name of `engine.granting` stand in for it, and leave to it what is no block.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine import granting as plain
from engine.addresses import BITS, Address, RangeSet, format_address, from_int, to_int
from engine.decide_space import needs_level
from engine.errors import Refusal
from engine.events import BLOCKS_LEVEL
from engine.facts import Lease, Pool
from engine.granting import Granting, cannot_give_out, covers, too_early
from engine.spans import is_single, span_of

_OWN_TRIED_MAX = 256  # static assignments are few; what lies further on is asked for by address
_LENGTHS_TOLD = 4


def block_text(pool: Pool, first: int, length: int) -> str:
    """A block in words; one address is just that."""
    shown = format_address(from_int(first, pool.spec.family))
    return shown if length == BITS[pool.spec.family] else f"{shown}/{length}"


def able(granting: Granting, pools: list[Pool]) -> list[Pool] | Refusal:
    """Those of a group's pools that have room for a block as large as is asked for."""
    length = granting.command.prefix_length
    if length is None:
        return pools
    fitting: list[Pool] = []
    reasons: list[str] = []
    for pool in pools:
        bits, subnet = BITS[pool.spec.family], pool.spec.subnet
        if not 0 <= length <= bits:
            reasons.append(f"a prefix length of IPv{pool.spec.family} is from 0 to {bits}")
        elif length < subnet.prefix_length:
            reasons.append(f"pool {pool.name} is {subnet}, smaller than a /{length}")
        else:
            fitting.append(pool)
    if not fitting:
        message = f"prefix length {length} is not possible: {'; '.join(reasons)}"
        return Refusal("invalid", message, "ask for a longer prefix", "prefix-length")
    if any(length < BITS[pool.spec.family] for pool in fitting):
        return needs_level(granting.facts, BLOCKS_LEVEL, "blocks") or fitting
    return fitting


def reserved(granting: Granting, address: Address) -> Refusal | None:
    """As `granting.reserved`, of all of the block that begins there."""
    span = _span(granting, address)
    if span is None:
        return plain.reserved(granting, address)
    for held in granting.facts.reservations():
        ips = held.spec.ips
        if (
            held.spec.owner != granting.command.owner
            and ips.family == span.family
            and ips.overlaps(span)
        ):
            shared = (ips & span).texts()[0]
            message = f"{shared} is reserved by {held.name}"
            return Refusal("forbidden", message, "ask for another block", "ip")
    return None


def set_aside(granting: Granting, address: Address, held: Lease | None = None) -> Refusal | None:
    """As `granting.set_aside`, of all of the block that begins there."""
    span = _span(granting, address)
    if span is None:
        return plain.set_aside(granting, address, held)
    reported = held is not None and granting.facts.conflict_on(held.lease_id) is not None
    aside = span & granting.facts.quarantined(span.family)
    if not reported and not aside:
        return None
    message = f"{(aside or span).texts()[0]} is quarantined"
    return Refusal("forbidden", message, "ask for another block", "ip")


def _span(granting: Granting, address: Address) -> RangeSet | None:
    """The addresses of the block that begins at one; None if a single address is asked for."""
    length = granting.command.prefix_length
    if length is None or is_single(address, length):
        return None
    return span_of(address, length)


def grant_specific(granting: Granting, pools: list[Pool], address: Address) -> Refusal | None:
    """Exactly the address, or exactly the block that begins there; or why not."""
    span = _span(granting, address)
    if span is None:
        return plain.grant_specific(granting, pools, address)
    pool = next(pool for pool in pools if covers(pool.effective, address))
    first, last = span.ranges[0]
    length = granting.length_in(pool)
    shown = block_text(pool, first, length)
    if first & (last - first):
        begins = block_text(pool, first & ~(last - first), length)
        message = f"{shown} is no block: its address lies inside {begins}"
        return Refusal("invalid", message, f"ask for --ip {begins.partition('/')[0]}", "ip")
    if refusal := cannot_give_out(granting, pool):
        return refusal
    if outside := span - pool.effective:
        message = f"{shown} is not all of pool {pool.name}: {outside.texts()[0]} is none of it"
        return Refusal("invalid", message, "see `ipledger get pools -o json`", "ip")
    refusal = _take(granting, pool, first, last, shown)
    if refusal is None:
        granting.placement.claim_block(pool, first, last)
        granting.grant(pool, address)
    return refusal


def _take(granting: Granting, pool: Pool, first: int, last: int, shown: str) -> Refusal | None:
    """Make room for a block of the pool's addresses, or say what is in its way."""
    address = from_int(first, pool.spec.family)
    over: list[Lease] = []
    span = RangeSet(pool.spec.family, [(first, last)])
    for lease in granting.facts.leases_within(pool.pool_id, span):
        if not _is_over(granting, pool, lease):
            message = f"{lease.text} is leased to {lease.owner} (lease {lease.lease_id})"
            hint = "ask for another block, or for any by leaving --ip out"
            return Refusal("conflict", message, hint, "ip", lease.position)
        over.append(lease)
    if refusal := reserved(granting, address) or set_aside(granting, address):
        return refusal
    held = sum(min(x.last, last) - max(to_int(x.address), first) + 1 for x in over)
    ready_ms = _ready_ms(granting, pool, first, last, held)
    if ready_ms is None:
        message = f"a part of {shown} rests after its release"
        return Refusal("conflict", message, "ask for another block, or wait", "ip")
    if _was_held_then(granting, address):
        return too_early(f"a part of {shown} was held until", "later than that")
    for lease in over:
        expired = plain._expire(granting, pool, lease)  # noqa: SLF001
        assert expired, "it was asked before whether it may be"
    granting.not_before_ms = max(granting.not_before_ms, ready_ms)
    return None


def _ready_ms(granting: Granting, pool: Pool, first: int, last: int, held: int) -> int | None:
    """When all that rests of a block has rested, of which `held` are leased; None: later."""
    facts, ready_ms = granting.facts, 0
    resting = facts.taken_in(pool.pool_id, first, last) - held
    if resting:
        for low, high, at_ms in facts.rested_ranges(pool.pool_id, granting.now_ms):
            shared = min(high, last) - max(low, first) + 1
            if shared > 0:
                resting -= shared
                ready_ms = max(ready_ms, at_ms)
    return None if resting else ready_ms


def _is_over(granting: Granting, pool: Pool, lease: Lease) -> bool:
    """Whether a lease is past its time, and may be ended to make room."""
    return (
        lease.expires_at_ms is not None
        and lease.expires_at_ms <= granting.now_ms
        and not pool.spec.cooldown_s
        and lease.lease_id not in granting.overdue
        and granting.facts.conflict_on(lease.lease_id) is None
        and plain._reservation_against(granting, lease.address) is None  # noqa: SLF001
        and not granting.placement.is_pending(pool, to_int(lease.address))
        and granting.command.effective_at_ms is None
    )


def _was_held_then(granting: Granting, address: Address) -> bool:
    """Whether somebody held any of a block since when the grant shall have been true."""
    effective_at_ms = granting.command.effective_at_ms
    if effective_at_ms is None:
        return False
    last = granting.facts.last_tenure(address, granting.command.prefix_length)
    return last is not None and effective_at_ms < last[0]


def grant_any(
    granting: Granting, pools: list[Pool], missing: int, supersedes: Lease | None = None
) -> Refusal | None:
    """`missing` addresses, or blocks: the owner's own first, then the best fit, pool by pool."""
    length = granting.command.prefix_length
    if length is None or all(length == BITS[pool.spec.family] for pool in pools):
        return plain.grant_any(granting, pools, missing, supersedes)
    blocked: list[Refusal] = []
    exhausted: list[Pool] = []
    for pool in pools:
        if missing and (refusal := cannot_give_out(granting, pool)):
            blocked.append(refusal)
            continue
        while missing:
            first = _choose(granting, pool)
            if first is None:
                exhausted.append(pool)
                break
            granting.grant(pool, from_int(first, pool.spec.family), supersedes)
            missing -= 1
    if not missing:
        return None
    if exhausted:
        return _exhausted(granting, exhausted, missing, blocked)
    if len(blocked) == 1:
        return blocked[0]
    message = "; ".join(refusal.message for refusal in blocked)
    return Refusal("forbidden", message, "name a pool that gives out addresses", "pool")


def _choose(granting: Granting, pool: Pool) -> int | None:
    """The owner's own block; else the best that is free; else what time has made available."""
    size = 1 << (BITS[pool.spec.family] - granting.length_in(pool))
    for first in _own(granting, pool, size):
        if _is_to_be_had(granting, pool, first, size):
            return first
    length = granting.length_in(pool)
    while (found := granting.placement.propose_block(granting.facts, pool, length)) is not None:
        if not _was_held_then(granting, from_int(found, pool.spec.family)):
            return found
    if granting.command.effective_at_ms is None:
        for first in _freed_by_time(granting, pool, size):
            if _is_to_be_had(granting, pool, first, size):
                return first
    return None


def _is_to_be_had(granting: Granting, pool: Pool, first: int, size: int) -> bool:
    """Whether a block may be given; if so it is claimed, and what is over in it ends."""
    last = first + size - 1
    span = RangeSet(pool.spec.family, [(first, last)])
    if (
        not pool.effective.contains_set(span)
        or granting.placement.overlaps(pool, first, last)
        or _take(granting, pool, first, last, "") is not None
    ):
        return False
    granting.placement.claim_block(pool, first, last)
    return True


def _own(granting: Granting, pool: Pool, size: int) -> Iterator[int]:
    """Where blocks begin that have an address which a reservation keeps for this very owner."""
    own = granting.facts.reserved_for(granting.command.owner, pool.spec.family)
    tried: dict[int, None] = {}
    for first, last in own & pool.effective if own else ():
        start = first // size * size
        for position in range(start, min(last, start + (_OWN_TRIED_MAX - 1) * size) + 1, size):
            tried[position] = None
    yield from tried


def _freed_by_time(granting: Granting, pool: Pool, size: int) -> Iterator[int]:
    """Where blocks begin of which all that is taken has rested by now, or is overdue."""
    facts, now_ms = granting.facts, granting.now_ms
    freed = [(low, high) for low, high, _ in facts.rested_ranges(pool.pool_id, now_ms)]
    freed += [
        (to_int(lease.address), lease.last)
        for lease in facts.overdue_in(pool.pool_id, now_ms)
        if _is_over(granting, pool, lease)
    ]
    counted: dict[int, int] = {}
    for low, high in freed:
        start = low // size * size
        for position in range(start, min(high, start + (_OWN_TRIED_MAX - 1) * size) + 1, size):
            shared = min(high, position + size - 1) - max(low, position) + 1
            counted[position] = counted.get(position, 0) + shared
    for position, count in counted.items():
        if facts.taken_in(pool.pool_id, position, position + size - 1) == count:
            yield position


def _exhausted(
    granting: Granting, pools: list[Pool], missing: int, blocked: list[Refusal]
) -> Refusal:
    """The refusal that users know by its wording, with what could be had instead."""
    length = granting.command.prefix_length
    reasons = []
    for pool in pools:
        counts = granting.facts.counts(pool.pool_id)
        lengths = sorted(granting.facts.free_lengths(pool.pool_id).items())
        shown = ", ".join(f"{number} of /{each}" for each, number in lengths[:_LENGTHS_TOLD])
        more = ", …" if len(lengths) > _LENGTHS_TOLD else ""
        left = "nothing is free"
        if counts.free:
            left = f"{counts.free} addresses are free, in blocks: {shown}{more}"
        held = plain.buckets(counts)
        reasons.append(f"pool {pool.name} has no free /{length}; {left}; it has {held}")
    reasons += [refusal.message for refusal in blocked]
    if granting.command.number > 1:
        reasons.append(f"{missing} of the {granting.command.number} asked for are missing")
    message = f"all IP addresses used out: {'; '.join(reasons)}"
    hint = "ask for a longer prefix, release leases, or add addresses to a pool"
    return Refusal("exhausted", message, hint, pools[0].name)
