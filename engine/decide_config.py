"""Deciding about pools and reservations: apply and delete, whole files at a time.

The rules that look at more than one definition are here: V6–V9, V11, V20, V23 and V24. Each
object of a file is decided against what stands plus what the file itself has changed before it,
and the file is refused whole with the first refusal.
"""

from __future__ import annotations

from typing import Final

from engine import events as ev
from engine import tags
from engine.addresses import RangeSet
from engine.commands import Apply, Claim, Delete, PutPool, PutReservation, Target
from engine.draft import UNSALTED, Change, Decision, Draft, Nothing
from engine.endings import Ends, ending, ending_reads
from engine.errors import Refusal
from engine.facts import Facts, Pool, Reservation
from engine.model import POLICIES, PoolSpec, ReservationSpec, Selector

_NEW: Final = 0  # the id, within one decision, of an object that has no position yet


def pack_ranges(ranges: RangeSet) -> bytes:
    """The wire form of a set of ranges: first and last addresses end to end."""
    width = 4 if ranges.family == 4 else 16
    return b"".join(
        end.to_bytes(width) for first_last in ranges.ranges for end in first_last
    )  # fmt: skip


def _selector_fields(selector: Selector | None) -> tuple[object, ...] | None:
    if selector is None:
        return None
    return selector.match_labels, tuple(tuple(part) for part in selector.match_expressions)


def pool_event(name: str, spec: PoolSpec) -> ev.PoolCreated:
    """The definition as an event carries it."""
    width = 4 if spec.family == 4 else 16
    selectors = spec.selectors
    return ev.PoolCreated(
        name=name,
        subnet=(spec.subnet.first.to_bytes(width), spec.subnet.prefix_length),
        ips=pack_ranges(spec.ips),
        exclude_ips=pack_ranges(spec.exclude_ips),
        gateway=spec.gateway,
        routes=tuple(
            (r.destination.first.to_bytes(width), r.destination.prefix_length, bytes(r.gateway))
            for r in spec.routes
        ),
        disabled=spec.disabled,
        default=spec.default,
        selectors=(*(_selector_fields(part) for part in selectors[:3]), *selectors[3:]),
        policy=POLICIES.index(spec.policy),
        cooldown_s=spec.cooldown_s,
        ttl_s=spec.ttl_s,
        sticky_s=spec.sticky_s,
    )


def reservation_event(name: str, spec: ReservationSpec) -> ev.ReservationCreated:
    """The definition as an event carries it; owner, reason and labels are sealed."""
    return ev.ReservationCreated(
        name, spec.ips.family, pack_ranges(spec.ips), spec.for_s, spec.owner is not None
    )


class _Plan:
    """What stands, with what the file has changed so far laid over it."""

    def __init__(self, facts: Facts, claim: Claim) -> None:
        self.facts = facts
        self.claim = claim
        self.pools = {pool.name: pool for pool in facts.pools()}
        self.reservations = {held.name: held for held in facts.reservations()}
        self.changes: list[Change] = []
        self.reads: dict[str, None] = {}
        self.ends = Ends()

    def change(self, event: ev.Event, sealed: ev.Sealed | None = None) -> None:
        """Add an event; actor and reason of the change are the claim's."""
        base = sealed or ev.Sealed(UNSALTED)
        self.changes.append(Change(event, base._replace(
            actor=self.claim.actor, reason=self.claim.reason, command_id=self.claim.command_id,
        )))  # fmt: skip

    def decision(self) -> Decision:
        """The whole file as one draft, or nothing if it all stood already."""
        changes = (*self.changes, *self.ends.changes)
        if not changes:
            return Nothing()
        return Draft(changes, (*self.reads, *self.ends.reads))


def decide_apply(facts: Facts, command: Apply, claim: Claim) -> Decision:
    """All the definitions, or a refusal that names the first one that cannot be."""
    plan = _Plan(facts, claim)
    named: set[tuple[type, str]] = set()
    for wanted in command.objects:
        if (type(wanted), wanted.name) in named:
            hint = "give each object once"
            return Refusal("invalid", f"{wanted.name} is defined twice", hint, wanted.name)
        named.add((type(wanted), wanted.name))
        if isinstance(wanted, PutPool):
            refusal = _put_pool(plan, wanted, create_only=command.create_only)
        else:
            refusal = _put_reservation(plan, wanted, create_only=command.create_only)
        if refusal is not None:
            return refusal
    return plan.decision()


def _put_pool(plan: _Plan, wanted: PutPool, *, create_only: bool) -> Refusal | None:
    name, spec = wanted
    plan.reads[tags.POOLS] = None
    present = plan.pools.get(name)
    effective = spec.effective()
    if present is not None:
        if create_only:  # V6
            return Refusal("exists", f"pool {name} exists", "use apply to change it", name)
        if present.spec == spec and not present.terminating:
            return None
        if refusal := _check_pool_update(plan, present, spec, effective):
            return refusal
    if refusal := _check_overlap(plan, name, spec, effective):
        return refusal
    sealed = ev.Sealed(UNSALTED, labels=spec.labels)
    event = pool_event(name, spec)
    # An object that the same file deletes and creates again cannot be: ids are positions.
    pool_id = _NEW if present is None else present.pool_id
    plan.change(event if present is None else ev.PoolUpdated(pool_id, event), sealed)
    plan.pools[name] = Pool(pool_id, name, spec, effective)
    return None


def _check_pool_update(
    plan: _Plan, present: Pool, spec: PoolSpec, effective: RangeSet
) -> Refusal | None:
    """V8, V9, V20 and V23: what may not change about a pool that exists."""
    name = present.name
    if present.terminating:  # V23
        hint = "wait until its last lease ends, or release them"
        return Refusal("forbidden", f"pool {name} is terminating and cannot be changed (V23)",
                       hint, name, present.pool_id)  # fmt: skip
    if spec.family != present.spec.family:  # V8
        message = f"pool {name}: the IP version cannot be changed (V8)"
        return Refusal("forbidden", message, "create another pool", name, present.pool_id)
    if spec.subnet != present.spec.subnet:  # V9
        message = f"pool {name}: subnet {present.spec.subnet} cannot be changed (V9)"
        return Refusal("forbidden", message, "create another pool", name, present.pool_id)
    removed = present.effective - effective
    if removed:  # V20
        for lease in plan.facts.leases_within(present.pool_id, removed):
            message = (
                f"pool {name}: {lease.text} is in use and cannot be removed or excluded (V20): "
                f"lease {lease.lease_id} of {lease.owner}"
            )
            hint = f"release it first: ipledger release {lease.lease_id}"
            return Refusal("conflict", message, hint, name, lease.position)
        # A grant of a removed address that is on its way must not slip in beside us.
        plan.reads.update(dict.fromkeys(tags.ranges(removed)))
    return None


def _check_overlap(plan: _Plan, name: str, spec: PoolSpec, effective: RangeSet) -> Refusal | None:
    """V7 and V11: subnets are equal or disjoint, and no address is in two pools."""
    for other in plan.pools.values():
        if other.name == name or other.spec.family != spec.family:
            continue
        if other.spec.subnet != spec.subnet:
            if other.spec.subnet.overlaps(spec.subnet):  # V7
                message = (
                    f"pool {name}: subnet {spec.subnet} overlaps subnet {other.spec.subnet} "
                    f"of pool {other.name} (V7)"
                )
                hint = "subnets of two pools must be the same or not overlap at all"
                return Refusal("conflict", message, hint, other.name, other.pool_id or None)
            continue
        shared = effective & other.effective
        if shared:  # V11
            shown = ", ".join(shared.texts()[:3]) + (", …" if len(shared) > 3 else "")
            message = f"pool {name} overlaps pool {other.name} in {shown} (V11)"
            hint = "what counts is ips without excludeIPs; exclude the shared addresses in one"
            return Refusal("conflict", message, hint, other.name, other.pool_id or None)
    return None


def _put_reservation(plan: _Plan, wanted: PutReservation, *, create_only: bool) -> Refusal | None:
    name, spec = wanted
    plan.reads[tags.RESERVATIONS] = None
    present = plan.reservations.get(name)
    if present is not None:
        if create_only:
            hint = "use apply to change it"
            return Refusal("exists", f"reservation {name} exists", hint, name)
        if present.spec == spec:
            return None
        if present.spec.ips.family != spec.ips.family:  # V8
            message = f"reservation {name}: the IP version cannot be changed (V8)"
            return Refusal("forbidden", message, "create another reservation", name)
    sealed = ev.Sealed(UNSALTED, owner=spec.owner, labels=spec.labels, text=spec.reason)
    event = reservation_event(name, spec)
    if present is None:
        plan.change(event, sealed)
        plan.reservations[name] = Reservation(_NEW, name, spec, 0, 0)
    else:
        plan.change(ev.ReservationUpdated(present.reservation_id, event), sealed)
        plan.reservations[name] = present._replace(spec=spec)
    return None


def decide_delete(facts: Facts, command: Delete, claim: Claim) -> Decision:
    """All the named objects are deleted, or a refusal names the first that is not there.

    V24: a pool with leases is not refused; it is terminating until the last one ends.
    """
    plan = _Plan(facts, claim)
    for target in dict.fromkeys(command.targets):
        if target.kind == "pool":
            found = _delete_pool(plan, target, command)
        else:
            found = _delete_reservation(plan, target)
        if not found and not command.ignore_not_found:
            message = f"{target.kind} {target.name} does not exist"
            hint = "see `ipledger get pools` and `ipledger get reservations`"
            return Refusal("not_found", message, hint, target.name)
    return plan.decision()


def _delete_pool(plan: _Plan, target: Target, command: Delete) -> bool:
    present = plan.facts.pool(target.name)
    plan.reads[tags.pool(target.name)] = None
    if present is None or (command.before is not None and present.pool_id >= command.before):
        return False  # a pool of that name that was made since is another one
    if not present.terminating:
        plan.change(ev.PoolDeleted(present.pool_id, present.name),
                    ev.Sealed(UNSALTED, labels=present.spec.labels))  # fmt: skip
    if command.cascade:
        # Terminating first, so that nothing new is granted while a long series ends the rest.
        for lease in plan.facts.leases_within(present.pool_id, present.effective):
            changes = ending(plan.facts, lease, "revoked", plan.claim, cause=lease.lease_id)
            if not plan.ends.add(changes, ending_reads(lease)):
                break
    return True


def _delete_reservation(plan: _Plan, target: Target) -> bool:
    present = plan.facts.reservation(target.name)
    plan.reads[tags.RESERVATIONS] = None
    if present is None:
        return False
    event = ev.ReservationDeleted(present.reservation_id, present.name, expired=False)
    spec = present.spec
    sealed = ev.Sealed(UNSALTED, owner=spec.owner, labels=spec.labels, text=spec.reason)
    plan.change(event, sealed)
    return True
