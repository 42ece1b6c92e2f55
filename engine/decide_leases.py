"""Deciding who gets which address: what an owner keeps, what it gets anew, or why nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from engine import events as ev
from engine import tags
from engine.addresses import Address, format_address, to_int
from engine.candidates import Groups, pool_reads, ranked, resolve
from engine.commands import Allocate, AllocateTogether, Claim
from engine.draft import Change, Decision, Draft, Nothing
from engine.entry import COMMIT_EVENTS_MAX
from engine.errors import Refusal
from engine.facts import Facts, Lease, Pool
from engine.granting import Granting, cannot_give_out, covers, too_early
from engine.granting_blocks import able, grant_any, grant_specific, reserved, set_aside
from engine.placement import Placement
from engine.plain_grant import decide_plainly
from engine.time_text import time_text

_CLOCKS_DIFFER_MS: Final = 60_000
_YEAR_10000_MS: Final = 253_402_300_800_000


def decide_together(
    facts: Facts, command: AllocateTogether, claim: Claim, placement: Placement, now_ms: int
) -> Decision:
    """Every request of the command, or none: the first refusal is everybody's."""
    start = placement.mark()
    changes: list[Change] = []
    held: list[Lease] = []
    reads: dict[str, None] = {}
    not_before_ms = 0
    holders = [(request.owner, request.interface) for request in command.requests]
    if len(set(holders)) != len(holders):
        return Refusal("invalid", "an interface is named twice", "name each once", "interface")
    for request in command.requests:
        decision = decide_allocate(facts, request, claim, placement, now_ms)
        if isinstance(decision, Refusal):
            placement.rewind(start)
            return _on(request.interface, decision)
        if isinstance(decision, Nothing):
            held += decision.leases
            # What is granted beside it says that it is held, so it must still be.
            reads[tags.owner(request.owner, request.interface)] = None
            continue
        changes += decision.changes
        reads.update(dict.fromkeys(decision.reads))
        not_before_ms = max(not_before_ms, decision.not_before_ms)
    if not changes:
        return Nothing(tuple(held))
    if refusal := _given_twice(changes):
        placement.rewind(start)
        return refusal
    return Draft(_with_beside(changes, held), tuple(reads), not_before_ms)


def _on(interface: str, refusal: Refusal) -> Refusal:
    """The refusal of one of several requests, which must say which."""
    return refusal._replace(message=f"{refusal.message} (interface {interface})")


def _given_twice(changes: Sequence[Change]) -> Refusal | None:
    """Why not, if two requests ask for one address, or one for what another has chosen."""
    given = sorted(
        (len(event.address), to_int(Address(event.address)), event.prefix_length)
        for event in (change.event for change in changes)
        if isinstance(event, ev.LeaseGranted)
    )
    for (width, first, length), (next_width, address, _) in pairwise(given):
        if width == next_width and address < first + (1 << (width * 8 - length)):
            shown = format_address(Address(address.to_bytes(width)))
            message = f"{shown} would be given on two interfaces"
            return Refusal("conflict", message, "ask for it on one of them", "ip")
    return None


def decide_allocate(
    facts: Facts, command: Allocate, claim: Claim, placement: Placement, now_ms: int = 0
) -> Decision:
    """Bring the owner to `number` addresses from each group of pools, or change nothing."""
    plain = decide_plainly(facts, command, claim, placement)
    return decide_in_full(facts, command, claim, placement, now_ms) if plain is None else plain


def decide_in_full(
    facts: Facts, command: Allocate, claim: Claim, placement: Placement, now_ms: int
) -> Decision:
    """As `decide_allocate`, by all the rules that there are."""
    groups = resolve(facts, command)
    if isinstance(groups, Refusal):
        return groups
    if refusal := _check_request(command, groups, now_ms) or _stray(facts, command, groups):
        return refusal
    start = placement.mark()
    granting = Granting(facts, command, claim, placement, now_ms)
    for tag in pool_reads(command, groups):
        granting.reads[tag] = None
    for group in groups:
        if refusal := _serve_group(granting, group):
            placement.rewind(start)
            return refusal
    if granting.requested:
        placement.rewind(start)
        return _not_theirs(granting.requested[0])
    if not granting.changes:
        return Nothing(tuple(granting.held))
    granting.reads[tags.RESERVATIONS] = None
    changes = _with_beside(granting.changes, granting.held)
    return Draft(changes, tuple(granting.reads), granting.not_before_ms)


def _with_beside(changes: list[Change], held: Sequence[Lease]) -> tuple[Change, ...]:
    """The first grant names the leases that were held before, so that a repeat can tell them."""
    if held:
        at = next(i for i, c in enumerate(changes) if isinstance(c.event, ev.LeaseGranted))
        event = changes[at].event
        assert isinstance(event, ev.LeaseGranted)
        beside = (*event.beside, *(lease.lease_id for lease in held))
        changes[at] = changes[at]._replace(event=event._replace(beside=beside))
    return tuple(changes)


def in_the_future(
    effective_at_ms: int | None, now_ms: int, name: str = "effective_at"
) -> Refusal | None:
    """Why something cannot have been true at a time, if it has not come yet or is none.

    `name` is what the time is called where it was given.
    """
    if effective_at_ms is None or 0 <= effective_at_ms <= now_ms:
        return None
    if effective_at_ms < 0:
        message = f"{name} lies before 1970"
        return Refusal("invalid", message, "give a later time, or none for now", "effective_at")
    ahead_ms = effective_at_ms - now_ms
    # Clocks differ by little, and that shows in seconds; a wrong date shows as a date.
    if ahead_ms < _CLOCKS_DIFFER_MS or effective_at_ms >= _YEAR_10000_MS:
        message = f"{name} lies {ahead_ms / 1000:.3f} s in the future"
    else:
        message = f"{name} {time_text(effective_at_ms)} is in the future: it is {time_text(now_ms)}"
    return Refusal("invalid", message, "give a time that has passed", "effective_at")


def _check_request(command: Allocate, groups: Groups, now_ms: int) -> Refusal | None:
    """What can be refused before any address is looked at."""
    if command.number < 1 or command.number * len(groups) > COMMIT_EVENTS_MAX // 2:
        message = f"count {command.number} is not from 1 to {COMMIT_EVENTS_MAX // 2}"
        return Refusal("invalid", message, "allocate the rest for other owners", "count")
    if command.addresses:
        asked = len(command.addresses)
        if len(set(command.addresses)) != asked:
            return Refusal("invalid", "an address is asked for twice", "ask for it once", "ip")
        if asked > command.number * len(groups):
            message = f"{asked} addresses are asked for, but count {command.number}"
            return Refusal("invalid", message, "raise --count", "count")
    return in_the_future(command.effective_at_ms, now_ms)


def _stray(facts: Facts, command: Allocate, groups: Sequence[tuple[str, ...]]) -> Refusal | None:
    """Why not, if an address is of none of the pools: so it is whatever is free there, or given."""
    if not command.addresses:
        return None
    pools = [pool for group in groups for pool in map(facts.pool, group) if pool is not None]
    for address in command.addresses:
        if not any(covers(pool.effective, address) for pool in pools):
            return _not_theirs(address)
    return None


def _not_theirs(address: Address) -> Refusal:
    message = f"{format_address(address)} is not an address of the pools asked for"
    return Refusal("invalid", message, "see `ipledger get pools -o json`", "ip")


def _serve_group(granting: Granting, group: tuple[str, ...]) -> Refusal | None:
    """Keep what the owner holds from these pools, renew its incarnation, add what is missing."""
    facts, command = granting.facts, granting.command
    named = ranked([pool for pool in map(facts.pool, group) if pool is not None])
    pools = able(granting, named)
    if isinstance(pools, Refusal):
        return pools
    leases = facts.leases_of(command.owner, command.interface)
    if not leases and not granting.requested:
        return grant_any(granting, pools, command.number)  # as almost always
    by_id = {pool.pool_id: pool for pool in pools}
    # What another request of this commit has ended and taken over is held no more.
    held = [
        lease for lease in leases
        if lease.pool_id in by_id
        # Single addresses and blocks, and blocks of two lengths, are counted apart.
        and lease.prefix_length == granting.length_in(by_id[lease.pool_id])
        and not granting.placement.is_pending(by_id[lease.pool_id], to_int(lease.address))
    ]  # fmt: skip
    # What is asked for by address comes first: it may lie behind the number that is asked for.
    held.sort(key=lambda lease: lease.address not in granting.requested)
    holding = held[: command.number]
    for lease in holding:  # past its time or not: it is kept, so nothing below may expire it
        granting.placement.claim(by_id[lease.pool_id], to_int(lease.address))
    asked = {lease.address for lease in holding}.intersection(granting.requested)
    granting.requested = [a for a in granting.requested if a not in asked]
    missing = command.number - len(holding)
    wanted = [a for a in granting.requested if any(covers(p.effective, a) for p in pools)]
    if len(wanted) > missing:
        if holding:
            return _differs(holding[0], f"--ip {format_address(wanted[missing])}")
        message = f"{len(wanted)} addresses are asked for from {', '.join(group)}, but count "
        return Refusal("invalid", f"{message}{command.number}", "raise --count", "count")
    # Before anything is chosen freely, or that might be what is asked for by address.
    for address in wanted:
        granting.requested.remove(address)
        if refusal := grant_specific(granting, pools, address):
            return refusal
    for lease in holding:
        if refusal := _keep(granting, lease, pools, asked=lease.address in asked):
            return refusal
    return grant_any(granting, pools, missing - len(wanted))


def _differs(lease: Lease, asked: str) -> Refusal:
    message = (
        f"{lease.owner} already holds {lease.text} on {lease.interface} "
        f"(lease {lease.lease_id}), which differs from what is asked: {asked}"
    )
    hint = f"release it first (ipledger release {lease.lease_id}), or ask for it as it is"
    return Refusal("conflict", message, hint, asked.partition(" ")[0], lease.position)


def _keep(granting: Granting, lease: Lease, pools: list[Pool], *, asked: bool) -> Refusal | None:
    """A lease that is held already: the same one again, or a new one for a new incarnation."""
    command = granting.command
    if command.uid is not None and command.uid != lease.uid:
        return _supersede(granting, lease, pools, asked=asked)
    if command.ttl_s is not None and command.ttl_s != lease.ttl_s:
        return _differs(lease, f"--ttl {command.ttl_s}s")
    if command.labels and command.labels != lease.labels:
        return _differs(lease, "--label " + ",".join(f"{k}={v}" for k, v in command.labels))
    granting.held.append(lease)
    return None


def _supersede(
    granting: Granting, lease: Lease, pools: list[Pool], *, asked: bool
) -> Refusal | None:
    """End the old incarnation's lease and grant the address anew, or another if it may not be."""
    pool = next(pool for pool in pools if pool.pool_id == lease.pool_id)
    effective_at_ms = granting.command.effective_at_ms
    if effective_at_ms is not None and effective_at_ms < lease.effective_at_ms:
        return too_early(f"lease {lease.lease_id} began", "after that")
    granting.end(lease, "superseded")
    refusal = (
        cannot_give_out(granting, pool)
        or reserved(granting, lease.address)
        or set_aside(granting, lease.address, lease)
    )
    if refusal is None:
        granting.grant(pool, lease.address, supersedes=lease)
        return None
    # Reserved, or the pool drained, while it was leased: the old incarnation kept it, nobody
    # gets it again.
    return refusal if asked else grant_any(granting, pools, 1, supersedes=lease)
