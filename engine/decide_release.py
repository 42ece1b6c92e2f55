"""Deciding when leases end by hand: what is named, what has ended already, whose it is now."""

from __future__ import annotations

from collections.abc import Iterable

from engine.addresses import Address, format_address
from engine.commands import Claim, Release
from engine.decide_leases import in_the_future
from engine.draft import Decision, Draft, Nothing
from engine.endings import Ends, ending, ending_reads
from engine.errors import Refusal
from engine.facts import Facts, Lease


def decide_release(facts: Facts, command: Release, claim: Claim, now_ms: int) -> Decision:
    """End what is named and still active, as much as one commit may.

    What has ended already is no error.
    """
    if refusal := in_the_future(command.effective_at_ms, now_ms):
        return refusal
    found = _named_leases(facts, command)
    if isinstance(found, Refusal):
        return found
    if not found:
        return Nothing()
    ends = Ends()
    for lease in found:
        if command.effective_at_ms is not None and command.effective_at_ms < lease.effective_at_ms:
            message = f"effective_at is too early: lease {lease.lease_id} began after that"
            hint = "give a later time, or none for now"
            return Refusal("invalid", message, hint, "effective_at", lease.position)
        changes = ending(
            facts, lease, "released", claim,
            cause=lease.lease_id, effective_at_ms=command.effective_at_ms,
        )  # fmt: skip
        if not ends.add(changes, ending_reads(lease)):
            break
    return Draft(tuple(ends.changes), tuple(ends.reads), command.effective_at_ms or 0)


def _named_leases(facts: Facts, command: Release) -> list[Lease] | Refusal:
    """The active leases that a release speaks of, in order of their ids."""
    if not (command.leases or command.owner or command.address or command.labels):
        return Refusal("invalid", "nothing is named", "name a lease or an owner", "lease")
    if command.leases and (command.owner or command.address or command.labels):
        message = "leases are named, and an owner, an address or labels as well"
        return Refusal("invalid", message, "name either of them", "lease")
    found: dict[int, Lease] = {}
    for lease_id in command.leases:
        lease = facts.lease(lease_id)
        if lease is not None:
            found[lease_id] = lease
        elif not facts.has_ended(lease_id):
            hint = "see `ipledger get leases`"
            return Refusal("not_found", f"lease {lease_id} does not exist", hint, "lease")
    held = _held(facts, command)
    if isinstance(held, Refusal):
        return held
    labels = set(command.labels)
    for lease in held:
        granted_before = command.before is None or lease.lease_id < command.before
        if granted_before and labels <= set(lease.labels):
            found[lease.lease_id] = lease
    return [found[lease_id] for lease_id in sorted(found)]


def _held(facts: Facts, command: Release) -> Iterable[Lease] | Refusal:
    """The leases among which labels choose: at an address, of an owner, or all."""
    if command.address is not None:
        return _held_at(facts, command, command.address)
    if command.owner is not None:
        return facts.leases_of(command.owner, command.interface)
    return facts.leases() if command.labels and not command.leases else ()


def _held_at(facts: Facts, command: Release, address: Address) -> Iterable[Lease] | Refusal:
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
    if address != lease.address:
        message = f"{format_address(address)} is a part of {lease.text} (lease {lease.lease_id})"
        hint = f"a block is released as a whole: by its lease, or by {lease.text.partition('/')[0]}"
        return Refusal("conflict", message, hint, "ip", lease.position)
    return (lease,)
