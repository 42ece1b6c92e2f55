"""Deciding what time and trouble bring: renewing, sweeping, quarantine.

`now_ms` is the server's time as the writer knows it. It only ever decides what is proposed; that
nothing happens early is checked by the server's own clock (`Draft.not_before_ms`).
"""

from __future__ import annotations

from typing import Final

from engine import events as ev
from engine import tags
from engine.addresses import RangeSet, from_int
from engine.commands import Claim, PutBack, Renew, SetAside, Sweep
from engine.decide_config import pack_ranges
from engine.draft import UNSALTED, Change, Decision, Draft, Nothing
from engine.endings import Ends, ending, ending_reads
from engine.errors import Refusal
from engine.facts import Facts, Lease

# A sweep is a series of commits of at most this many ends, so that others get their turn.
SWEEP_ENDS_MAX: Final = 1_000


def decide_renew(facts: Facts, command: Renew, claim: Claim, now_ms: int) -> Decision:
    """The lease goes on, also one past its time whose end nobody has written yet."""
    lease = facts.lease(command.lease)
    if lease is None:
        if facts.has_ended(command.lease):
            message = f"lease {command.lease} has ended and cannot be renewed"
            return Refusal("conflict", message, "allocate again", "lease")
        hint = "see `ipledger get leases`"
        return Refusal("not_found", f"lease {command.lease} does not exist", hint, "lease")
    ttl_s = command.ttl_s if command.ttl_s is not None else lease.ttl_s
    if ttl_s is None:
        return Nothing((lease,))  # it lasts until it is released, and still does
    ends_ms = now_ms + ttl_s * 1_000
    lasts = lease.expires_at_ms
    if command.ttl_s is not None and (lasts is None or ends_ms < lasts) and not command.may_shorten:
        until = "until it is released" if lasts is None else f"{(lasts - now_ms) // 1_000} s more"
        message = f"lease {lease.lease_id} lasts {until}; a ttl of {ttl_s} s would shorten it"
        return Refusal("conflict", message, "say --shorten if that is meant", "ttl", lease.position)
    event = ev.LeaseRenewed(
        lease.lease_id, lease.pool_id, lease.address, lease.prefix_length, lease.interface, ttl_s
    )
    sealed = _sealed_of(lease, claim)
    return Draft((Change(event, sealed, lease.lease_id),), (tags.lease(lease.lease_id),))


def _sealed_of(lease: Lease, claim: Claim, text: str | None = None) -> ev.Sealed:
    return ev.Sealed(
        UNSALTED, lease.owner, lease.uid, lease.labels,
        claim.actor, claim.reason, claim.command_id, text,
    )  # fmt: skip


def decide_sweep(facts: Facts, command: Sweep, claim: Claim, now_ms: int) -> Decision:
    """End what is past its time, the longest overdue first, as much as one commit may."""
    del command
    ends = Ends(SWEEP_ENDS_MAX)
    not_before_ms = 0
    for lease in facts.leases_due(now_ms, SWEEP_ENDS_MAX):
        changes = ending(facts, lease, "expired", claim, cause=lease.lease_id)
        if not ends.add(changes, ending_reads(lease)):
            break
        assert lease.expires_at_ms is not None, "a lease without an end is never due"
        not_before_ms = max(not_before_ms, lease.expires_at_ms)
    for held in facts.reservations_due(now_ms, SWEEP_ENDS_MAX):
        event = ev.ReservationDeleted(held.reservation_id, held.name, expired=True)
        spec = held.spec
        sealed = ev.Sealed(
            UNSALTED, owner=spec.owner, labels=spec.labels, actor=claim.actor,
            command_id=claim.command_id, text=spec.reason,
        )  # fmt: skip
        if not ends.add([Change(event, sealed, held.reservation_id)], (tags.RESERVATIONS,)):
            break
        not_before_ms = max(not_before_ms, held.ends_at_ms or 0)
    for aside in facts.quarantines_due(now_ms, SWEEP_ENDS_MAX):
        ended = ev.QuarantineEnded(
            aside.quarantine_id, aside.ips.family, pack_ranges(aside.ips), expired=True
        )
        sealed = ev.Sealed(UNSALTED, actor=claim.actor, command_id=claim.command_id)
        if not ends.add([Change(ended, sealed, aside.quarantine_id)], tags.ranges(aside.ips)):
            break
        not_before_ms = max(not_before_ms, aside.ends_at_ms or 0)
    if not ends.changes:
        return Nothing()
    return Draft(tuple(ends.changes), tuple(ends.reads), not_before_ms)


def decide_set_aside(facts: Facts, command: SetAside, claim: Claim) -> Decision:
    """Set addresses aside; a leased one when its lease ends, since its holder is not stopped."""
    already = command.ips & facts.quarantined(command.ips.family)
    if already:
        message = f"{', '.join(already.texts()[:3])} is quarantined already"
        return Refusal("conflict", message, "see `ipledger get quarantines`", "address")
    changes: list[Change] = []
    reads = dict.fromkeys(tags.ranges(command.ips))
    leased: list[tuple[int, int]] = []
    for lease in _leases_in(facts, command.ips):
        if facts.conflict_on(lease.lease_id) is not None:
            message = f"{lease.text} will be quarantined already when lease {lease.lease_id} ends"
            return Refusal("conflict", message, "release the lease", "address", lease.position)
        report = ev.ConflictReported(
            lease.lease_id, lease.pool_id, lease.address, lease.prefix_length,
            lease.interface, command.for_s,
        )  # fmt: skip
        changes.append(Change(report, _sealed_of(lease, claim, command.reason), lease.lease_id))
        reads[tags.lease(lease.lease_id)] = None
        leased.append((int.from_bytes(lease.address), lease.last))
    rest = command.ips - RangeSet(command.ips.family, leased)
    if rest:
        event = ev.Quarantined(rest.family, pack_ranges(rest), command.for_s, None)
        sealed = ev.Sealed(
            UNSALTED, actor=claim.actor, command_id=claim.command_id, text=command.reason
        )
        changes.append(Change(event, sealed))
    return Draft(tuple(changes), tuple(reads))


def _leases_in(facts: Facts, ips: RangeSet) -> list[Lease]:
    """The active leases on `ips`, by address, whatever their pools."""
    found = [
        lease for pool in facts.pools() if pool.spec.family == ips.family
        for lease in facts.leases_within(pool.pool_id, ips)
    ]  # fmt: skip
    return sorted(found, key=lambda lease: lease.address)


def decide_put_back(facts: Facts, command: PutBack, claim: Claim) -> Decision:
    """End quarantines, of all their addresses or of those that are named."""
    family = command.ips.family
    missing = command.ips - facts.quarantined(family)
    if missing:
        shown = ", ".join(missing.texts()[:3])
        hint = "see `ipledger get quarantines`"
        for first, _ in missing.ranges:
            lease = facts.lease_at(from_int(first, family))
            if lease is not None and facts.conflict_on(lease.lease_id) is not None:
                hint = f"it will be when lease {lease.lease_id} ends; put it back then"
        return Refusal("not_found", f"{shown} is not quarantined", hint, "address")
    changes = tuple(
        Change(
            ev.QuarantineEnded(aside.quarantine_id, family, pack_ranges(shared), expired=False),
            ev.Sealed(UNSALTED, actor=claim.actor, reason=claim.reason,
                      command_id=claim.command_id),
            aside.quarantine_id,
        )
        for aside in facts.quarantines()
        if aside.ips.family == family and (shared := aside.ips & command.ips)
    )  # fmt: skip
    return Draft(changes, tuple(tags.ranges(command.ips)))
