"""Deciding about leases: who gets which address, and when it is given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine import events as ev
from engine import tags
from engine.addresses import Address, RangeSet, family_of, format_address, from_int, to_int
from engine.commands import Allocate, Claim, Release
from engine.draft import UNSALTED, Change, Decision, Draft, Nothing
from engine.entry import COMMIT_EVENTS_MAX
from engine.errors import Refusal
from engine.facts import Facts, Lease, Pool
from engine.model import ENDINGS, EndedBy
from engine.placement import Placement


class _Granting:
    """One allocate command while it is being decided."""

    def __init__(self, facts: Facts, command: Allocate, claim: Claim, placement: Placement) -> None:
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

    def grant(self, pool: Pool, address: Address, supersedes: Lease | None = None) -> None:
        """Add the event that gives `address` to the owner."""
        command = self.command
        ttl_s = command.ttl_s if command.ttl_s is not None else pool.spec.ttl_s
        event = ev.LeaseGranted(
            pool_id=pool.pool_id,
            address=address,
            prefix_length=len(address) * 8,
            interface=command.interface,
            ttl_s=ttl_s,
            cluster=command.cluster,
            supersedes=None if supersedes is None else supersedes.lease_id,
            beside=(),
            seed=None,
            source=None,
        )
        self.changes.append(Change(event, self.sealed()))
        self.reads[tags.address(address)] = None


def decide_allocate(
    facts: Facts, command: Allocate, claim: Claim, placement: Placement
) -> Decision:
    """Bring the owner to `number` addresses from each group of pools, or change nothing."""
    if refusal := _check_request(facts, command):
        return refusal
    start = placement.mark()
    granting = _Granting(facts, command, claim, placement)
    for group in command.groups:
        if refusal := _serve_group(granting, group):
            placement.rewind(start)
            return refusal
    if granting.requested:
        placement.rewind(start)
        shown = format_address(granting.requested[0])
        message = f"{shown} is not an address of the pools asked for"
        return Refusal("invalid", message, "see `ipledger get pools -o json`", "ip")
    if not granting.changes:
        return Nothing(tuple(granting.held))
    granting.reads[tags.RESERVATIONS] = None
    return Draft(_with_beside(granting), tuple(granting.reads))


def _with_beside(granting: _Granting) -> tuple[Change, ...]:
    """The first grant names the leases that were held before, so that a repeat can tell them."""
    changes = granting.changes
    if granting.held:
        at = next(i for i, c in enumerate(changes) if isinstance(c.event, ev.LeaseGranted))
        event = changes[at].event
        assert isinstance(event, ev.LeaseGranted)
        beside = tuple(lease.lease_id for lease in granting.held)
        changes[at] = changes[at]._replace(event=event._replace(beside=beside))
    return tuple(changes)


def _check_request(facts: Facts, command: Allocate) -> Refusal | None:
    """What can be refused before any pool is looked at."""
    if not command.groups or any(not group for group in command.groups):
        return Refusal("invalid", "no pool is named", "name one with --pool", "pool")
    if command.number < 1 or command.number * len(command.groups) > COMMIT_EVENTS_MAX // 2:
        message = f"count {command.number} is not from 1 to {COMMIT_EVENTS_MAX // 2}"
        return Refusal("invalid", message, "allocate the rest for other owners", "count")
    named = [name for group in command.groups for name in group]
    for name in named:
        if facts.pool(name) is None:
            hint = "see `ipledger get pools`"
            return Refusal("not_found", f"pool {name} does not exist", hint, "pool")
    if len(set(named)) != len(named):
        return Refusal("invalid", "a pool is named twice", "name each pool once", "pool")
    if len(set(command.addresses)) != len(command.addresses):
        return Refusal("invalid", "an address is asked for twice", "ask for it once", "ip")
    if len(command.addresses) > command.number * len(command.groups):
        message = f"{len(command.addresses)} addresses are asked for, but count {command.number}"
        return Refusal("invalid", message, "raise --count", "count")
    return None


def _serve_group(granting: _Granting, group: tuple[str, ...]) -> Refusal | None:
    """Keep what the owner holds from these pools, renew its incarnation, add what is missing."""
    facts, command = granting.facts, granting.command
    pools = [pool for pool in map(facts.pool, group) if pool is not None]
    for pool in pools:
        granting.reads[tags.pool(pool.name)] = None
    ids = {pool.pool_id for pool in pools}
    held = [
        lease for lease in facts.leases_of(command.owner, command.interface)
        if lease.pool_id in ids
    ]  # fmt: skip
    # What is asked for by address comes first: it may lie behind the number that is asked for.
    held.sort(key=lambda lease: lease.address not in granting.requested)
    holding = held[: command.number]
    asked = {lease.address for lease in holding}.intersection(granting.requested)
    granting.requested = [a for a in granting.requested if a not in asked]
    missing = command.number - len(holding)
    wanted = [a for a in granting.requested if any(_covers(p.effective, a) for p in pools)]
    if len(wanted) > missing:
        if holding:
            return _differs(holding[0], f"--ip {format_address(wanted[missing])}")
        message = f"{len(wanted)} addresses are asked for from {', '.join(group)}, but count "
        return Refusal("invalid", f"{message}{command.number}", "raise --count", "count")
    # Before anything is chosen freely, or that might be what is asked for by address.
    for address in wanted:
        granting.requested.remove(address)
        if refusal := _grant_specific(granting, pools, address):
            return refusal
    for lease in holding:
        if refusal := _keep(granting, lease, pools, asked=lease.address in asked):
            return refusal
    return _grant_any(granting, pools, missing - len(wanted))


def _covers(ranges: RangeSet, address: Address) -> bool:
    return ranges.family == family_of(address) and to_int(address) in ranges


def _differs(lease: Lease, asked: str) -> Refusal:
    message = (
        f"{lease.owner} already holds {lease.text} on {lease.interface} "
        f"(lease {lease.lease_id}), which differs from what is asked: {asked}"
    )
    hint = f"release it first (ipledger release {lease.lease_id}), or ask for it as it is"
    return Refusal("conflict", message, hint, asked.partition(" ")[0], lease.position)


def _keep(granting: _Granting, lease: Lease, pools: list[Pool], *, asked: bool) -> Refusal | None:
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
    granting: _Granting, lease: Lease, pools: list[Pool], *, asked: bool
) -> Refusal | None:
    """End the old incarnation's lease and grant the address anew, or another if it may not be."""
    pool = next(pool for pool in pools if pool.pool_id == lease.pool_id)
    old = granting.sealed()._replace(uid=lease.uid, labels=lease.labels)
    granting.changes.append(Change(_ending(lease, "superseded"), old))
    granting.reads[tags.lease(lease.lease_id)] = None
    refusal = cannot_give_out(pool) or _reserved(granting, lease.address)
    if refusal is None:
        granting.grant(pool, lease.address, supersedes=lease)
        return None
    # Reserved, or the pool drained, while it was leased: the old incarnation kept it, nobody
    # gets it again.
    return refusal if asked else _grant_any(granting, pools, 1, supersedes=lease)


def _reserved(granting: _Granting, address: Address) -> Refusal | None:
    """Why this owner may not be given `address`, if a reservation keeps it."""
    against = _reservation_against(granting, address)
    if against is None:
        return None
    message = f"{format_address(address)} is reserved by {against}"
    return Refusal("forbidden", message, "ask for another address", "ip")


def _reservation_against(granting: _Granting, address: Address) -> str | None:
    """The name of a reservation that keeps `address` from this owner, if there is one."""
    for reservation in granting.facts.reserved_by(address):
        if reservation.spec.owner != granting.command.owner:
            return reservation.name
    return None


def cannot_give_out(pool: Pool) -> Refusal | None:
    """Why a pool gives out nothing new, whatever is free in it."""
    if pool.terminating:
        message = f"pool {pool.name} is terminating"
        return Refusal("forbidden", message, "use another pool", "pool", pool.pool_id)
    if pool.spec.disabled:
        message = f"pool {pool.name} is disabled: it gives out nothing new"
        return Refusal("forbidden", message, "enable it, or use another pool", "pool")
    if given := pool.spec.selectors.given:
        message = (
            f"pool {pool.name} has selectors that this release cannot evaluate "
            f"({', '.join(given)}), so it gives out nothing"
        )
        return Refusal("forbidden", message, "remove them, or use another pool", "pool")
    if pool.spec.policy != "lowest":
        message = f"pool {pool.name} has policy {pool.spec.policy}, unknown to this release"
        return Refusal("forbidden", message, "use policy lowest", "pool")
    return None


def _grant_specific(granting: _Granting, pools: list[Pool], address: Address) -> Refusal | None:
    """Exactly this address, or why not."""
    facts = granting.facts
    pool = next(pool for pool in pools if _covers(pool.effective, address))
    shown = format_address(address)
    if refusal := cannot_give_out(pool):
        return refusal
    holder = facts.lease_at(address)
    if holder is not None:
        message = f"{shown} is leased to {holder.owner} (lease {holder.lease_id})"
        hint = "ask for another address, or for any by leaving --ip out"
        return Refusal("conflict", message, hint, "ip", holder.position)
    if refusal := _reserved(granting, address):
        return refusal
    granting.placement.claim(pool, to_int(address))
    granting.grant(pool, address)
    return None


class _Blocked(NamedTuple):
    pool: Pool
    refusal: Refusal


def _grant_any(
    granting: _Granting, pools: list[Pool], missing: int, supersedes: Lease | None = None
) -> Refusal | None:
    """`missing` addresses: the owner's own first, then lowest first, pool after pool."""
    blocked: list[_Blocked] = []
    exhausted: list[Pool] = []
    for pool in pools:
        if missing == 0:
            break
        if refusal := cannot_give_out(pool):
            blocked.append(_Blocked(pool, refusal))
            continue
        while missing > 0:
            value = _own_address(granting, pool)
            if value is None:
                value = granting.placement.propose(granting.facts, pool)
            if value is None:
                exhausted.append(pool)
                break
            granting.grant(pool, from_int(value, pool.spec.family), supersedes)
            missing -= 1
    if missing == 0:
        return None
    if exhausted:
        return _exhausted(granting, exhausted, blocked)
    if len(blocked) == 1:
        return blocked[0].refusal
    message = "; ".join(entry.refusal.message for entry in blocked)
    return Refusal("forbidden", message, "name a pool that gives out addresses", "pool")


def _own_address(granting: _Granting, pool: Pool) -> int | None:
    """An address that a reservation keeps for this very owner, if one is not leased yet."""
    own = granting.facts.reserved_for(granting.command.owner, pool.spec.family)
    if not own:
        return None
    for first, last in (own & pool.effective).ranges:
        # Static assignments are few addresses; a wide one is asked for by address.
        for value in range(first, min(last, first + 255) + 1):
            address = from_int(value, pool.spec.family)
            if (
                granting.facts.lease_at(address) is None
                and not granting.placement.is_pending(pool, value)
                and _reservation_against(granting, address) is None
            ):
                granting.placement.claim(pool, value)
                return value
    return None


def _exhausted(
    granting: _Granting, pools: list[Pool], blocked: list[_Blocked] | None = None
) -> Refusal:
    """The refusal that users know by its wording, with the figures behind it."""
    reasons = []
    for pool in pools:
        counts = granting.facts.counts(pool.pool_id)
        parts = [
            f"{number} {bucket}"
            for bucket, number in zip(counts._fields[1:], counts[1:], strict=True)
            if number
        ]
        shown = f": {', '.join(parts)}" if parts else ""
        reasons.append(f"pool {pool.name} has {counts.total} addresses{shown}")
    reasons += [entry.refusal.message for entry in blocked or ()]
    message = f"all IP addresses used out: {'; '.join(reasons)}"
    hint = "release leases, delete a reservation, or add addresses to a pool"
    return Refusal("exhausted", message, hint, pools[0].name)


def _ending(lease: Lease, ended_by: EndedBy) -> ev.LeaseEnded:
    return ev.LeaseEnded(
        lease.lease_id, lease.pool_id, lease.address, lease.prefix_length,
        lease.interface, ENDINGS.index(ended_by),
    )  # fmt: skip


def decide_release(facts: Facts, command: Release, claim: Claim) -> Decision:
    """End what is named and still active; what has ended already is no error."""
    found = _named_leases(facts, command)
    if isinstance(found, Refusal):
        return found
    if len(found) > COMMIT_EVENTS_MAX:
        message = f"{len(found)} leases are more than one commit may end ({COMMIT_EVENTS_MAX})"
        return Refusal("invalid", message, "release them by interface or by lease", "owner")
    if not found:
        return Nothing()
    changes = tuple(
        Change(
            _ending(lease, "released"),
            ev.Sealed(
                UNSALTED, lease.owner, lease.uid, lease.labels,
                claim.actor, claim.reason, claim.command_id,
            ),
            cause=lease.lease_id,
        )
        for lease in found
    )  # fmt: skip
    return Draft(changes, tuple(tags.lease(lease.lease_id) for lease in found))


def _named_leases(facts: Facts, command: Release) -> list[Lease] | Refusal:
    """The active leases that a release speaks of, in order of their ids."""
    if not command.leases and command.owner is None and command.address is None:
        return Refusal("invalid", "nothing is named", "name a lease or an owner", "lease")
    found: dict[int, Lease] = {}
    for lease_id in command.leases:
        lease = facts.lease(lease_id)
        if lease is not None:
            found[lease_id] = lease
        elif not facts.has_ended(lease_id):
            hint = "see `ipledger get leases`"
            return Refusal("not_found", f"lease {lease_id} does not exist", hint, "lease")
    if command.address is not None:
        held = _held_at(facts, command, command.address)
    elif command.owner is not None:
        held = facts.leases_of(command.owner, command.interface)
    else:
        held = ()
    if isinstance(held, Refusal):
        return held
    for lease in held:
        if set(command.labels) <= set(lease.labels):
            found[lease.lease_id] = lease
    return [found[lease_id] for lease_id in sorted(found)]


def _held_at(facts: Facts, command: Release, address: Address) -> Sequence[Lease] | Refusal:
    """The lease at an address, if it is whose the command says; none if the address is free."""
    if command.owner is None:
        message = "releasing by address needs the owner beside it"
        return Refusal("invalid", message, "add --owner, or release by lease", "owner")
    lease = facts.lease_at(address)
    if lease is None:
        return ()
    interface = command.interface or lease.interface
    if (lease.owner, lease.interface) != (command.owner, interface):
        message = (
            f"{lease.text} is leased to {lease.owner} on {lease.interface} "
            f"(lease {lease.lease_id}), not to {command.owner} on {interface}: "
            "nothing was released"
        )
        return Refusal("conflict", message, "release by lease", "owner", lease.position)
    return (lease,)
