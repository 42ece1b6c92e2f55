"""Leases: who was granted what, and whether that could be; how they go on, and how they end."""

from __future__ import annotations

from typing import Final

from engine import events as ev
from engine import ranges as arithmetic
from engine.entry import Record
from engine.model import ENDINGS
from replay.audit import blocks
from replay.audit.world import LastTenure, Lease, Pool, Report, World, block, text_of

_EXPIRED: Final = ENDINGS.index("expired")
_SUPERSEDED: Final = ENDINGS.index("superseded")
_IMPORTS_LEVEL: Final = 2  # from here on leases may come from elsewhere
_TAKES_OVER_LEVEL: Final = 2  # since when a lease may take over from one that had ended before


def granted(world: World, record: Record, event: ev.LeaseGranted) -> None:
    """A grant: of an address that the pool has, that nobody holds and nothing keeps."""
    position, address = record.position, event.address
    effective_ms = record.header.effective_at_ms
    began_ms = record.ms if effective_ms is None else effective_ms
    if event.source is not None and 0 < world.level < _IMPORTS_LEVEL:
        says = f"{text_of(address)} is granted with a source: level 1 knows no imported leases"
        world.breach("level", position, says)
    value, width = int.from_bytes(address), len(address)
    single = event.prefix_length == width * 8
    if single:
        _holders(world, record, address, began_ms)
        _reserved(world, record, value, width)
        if (aside := world.aside[width].at(value)) is not None:
            says = f"{text_of(address)} is granted while it is quarantined"
            world.breach("quarantined", position, says, aside)
    else:
        _holders_of_block(world, record, event)
        blocks.check_granted(world, record, event, began_ms)
    takes_over = _supersedes(world, record, event)
    if single:
        _rested(world, record, address, takes_over=takes_over)
    else:
        blocks.check_rested(world, record, event, takes_over=takes_over)
    sealed = record.sealed
    # What was imported lasts from when it began elsewhere; all else from when it was written.
    counted_ms = record.ms if event.source is None else began_ms
    expires_ms = None if event.ttl_s is None else counted_ms + event.ttl_s * 1_000
    lease = Lease(
        position, event.pool_id, address, event.prefix_length, sealed.owner, event.interface,
        sealed.uid, sealed.labels, began_ms, expires_ms, position,
    )  # fmt: skip
    _from_pool(world, record, event, single=single)
    if single:
        world.holders[address] = position
    else:
        world.blocks.hold(lease)
    world.hold(lease)
    world.commit.beside += [(position, lease_id) for lease_id in event.beside]


def _from_pool(world: World, record: Record, event: ev.LeaseGranted, *, single: bool) -> None:
    """The pool gives out what is its own, while it gives out anything."""
    pool = world.pools.get(event.pool_id)
    if pool is None:
        if not world.is_unseen(event.pool_id):
            says = (
                f"{text_of(event.address)} is granted from pool {event.pool_id}, which is not there"
            )
            world.breach("pool-live", record.position, says)
        return
    _open(world, record, pool, text_of(event.address))
    pool.leases += 1
    if not single:
        blocks.check_pool(world, record, pool, event)
        return
    _of_pool(world, record, pool, event.address)
    if len(event.address) == pool.width:
        pool.held.add(int.from_bytes(event.address))


def _holders_of_block(world: World, record: Record, event: ev.LeaseGranted) -> None:
    """Nobody holds any address of a block that is granted."""
    low, high = block(event.address, event.prefix_length)
    found = blocks.holders_in(world, low, high, len(event.address))
    for lease_id in dict.fromkeys(found):
        held = world.lease(lease_id)
        if held is not None:
            shown = blocks.shown_of(event)
            says = f"{shown} is granted while {held.owner} holds of it (lease {lease_id})"
            world.breach("one-holder", record.position, says, lease_id)
            _forget(world, held)


def _holders(world: World, record: Record, address: bytes, began_ms: int) -> None:
    """One holder at a time, by the order of events and by when they were true."""
    present = world.holders.get(address)
    if present is None and world.blocks.used:
        present = world.blocks.holder(int.from_bytes(address), len(address))
    held = None if present is None else world.lease(present)
    if held is not None:
        says = f"{text_of(address)} is granted while {held.owner} holds it (lease {present})"
        world.breach("one-holder", record.position, says, present)
        _forget(world, held)  # the later one is who is found at the address
        return
    last = _last_tenure(world, address)
    if last is not None and began_ms < last.ended_ms:
        early_ms = last.ended_ms - began_ms
        says = f"{text_of(address)} is granted from {early_ms} ms before the last tenure ended"
        world.breach("one-tenure", record.position, says, last.position)


def _last_tenure(world: World, address: bytes) -> LastTenure | None:
    """The last tenure of an address, of itself or in a block."""
    last = world.last_tenure.get(address)
    if not world.blocks.used:
        return last
    in_block = world.blocks.last_tenure(int.from_bytes(address), len(address))
    if last is None or in_block is None:
        return last or in_block
    return max(last, in_block, key=lambda tenure: tenure.position)


def _reserved(world: World, record: Record, value: int, width: int) -> None:
    if arithmetic.index_of(world.reserved(width), value) < 0:
        return
    for kept in world.reservations.values():
        mine = kept.owner is not None and kept.owner == record.sealed.owner
        if kept.width == width and not mine and arithmetic.index_of(kept.ips, value) >= 0:
            says = f"{text_of(value.to_bytes(width))} is granted while {kept.name} reserves it"
            world.breach("reserved", record.position, says, kept.position)
            return


def _supersedes(world: World, record: Record, event: ev.LeaseGranted) -> bool:
    """Whether the grant takes over the very address of a lease that it says it may."""
    if event.supersedes is None:
        return False
    before = world.commit.superseded.get(event.supersedes)
    if before is None:
        last = _last_tenure(world, event.address)
        if world.level >= _TAKES_OVER_LEVEL and last is not None and (
            last[2:]
            == (event.supersedes, record.sealed.owner, event.interface, event.prefix_length)
        ):  # fmt: skip
            return True  # its last holder has it again
        if not world.is_unseen(event.supersedes):
            says = f"it supersedes lease {event.supersedes}, which this commit did not end so"
            world.breach("supersede", record.position, says, event.supersedes)
        return False
    if event.supersedes in world.commit.successors:
        says = f"lease {event.supersedes} is superseded a second time"
        world.breach("supersede", record.position, says, event.supersedes)
    world.commit.successors.add(event.supersedes)
    sealed = record.sealed
    if (sealed.owner, event.interface) != (before.owner, before.interface):
        says = f"lease {event.supersedes} of {before.owner} is superseded by {sealed.owner}"
        world.breach("supersede", record.position, says, event.supersedes)
    elif sealed.uid is None or sealed.uid == before.uid:
        says = f"lease {event.supersedes} is superseded by the same incarnation of its owner"
        world.breach("supersede", record.position, says, event.supersedes)
    return before[2:4] == (event.address, event.prefix_length)


def _rested(world: World, record: Record, address: bytes, *, takes_over: bool) -> None:
    until_ms = world.rests_until_ms.pop(address, 0)
    if world.blocks.used:
        value, width = int.from_bytes(address), len(address)
        for _, _, block_until_ms, _ in world.blocks.resting(value, value, width):
            until_ms, takes_over = block_until_ms, False  # a part is not what was held
            world.blocks.stir(value, value, width)
    if until_ms <= record.ms or takes_over:
        return
    last = _last_tenure(world, address)
    assert last is not None, "what rests was held"
    says = f"{text_of(address)} is granted while it rests for {until_ms - record.ms} ms more"
    world.breach("cooling", record.position, says, last.position)


def _open(world: World, record: Record, pool: Pool, shown: str) -> None:
    event = pool.event
    imported = isinstance(record.event, ev.LeaseGranted) and record.event.source is not None
    # What was leased elsewhere goes on here, whoever may have something new from the pool.
    if pool.terminating or (not imported and (event.disabled or any(event.selectors))):
        # This release writes no grant from a pool with selectors: it cannot evaluate them.
        why = "terminating" if pool.terminating else "disabled" if event.disabled else "selective"
        says = f"{shown} is granted from pool {event.name}, which is {why}"
        world.breach("pool-open", record.position, says, pool.position)


def _of_pool(world: World, record: Record, pool: Pool, address: bytes) -> None:
    event, position = pool.event, record.position
    value, shown, named = int.from_bytes(address), text_of(address), f"pool {event.name}"
    if address == event.gateway:
        says = f"{shown} is granted, the gateway of {named}"
        world.breach("gateway", position, says, pool.position)
    elif len(address) != pool.width or arithmetic.index_of(pool.ips, value) < 0:
        says = f"{shown} is granted from {named}, which does not have it"
        world.breach("in-pool", position, says, pool.position)
    elif arithmetic.index_of(pool.excluded, value) >= 0:
        says = f"{shown} is granted from {named}, which excludes it"
        world.breach("excluded", position, says, pool.position)


def _spoken_of(
    world: World, record: Record, rule: str,
    event: ev.LeaseRenewed | ev.LeaseEnded | ev.ConflictReported,
) -> Lease | None:  # fmt: skip
    """The lease that an event is about, with what it repeats compared."""
    lease = world.lease(event.lease)
    if lease is None:
        if not world.is_unseen(event.lease):
            gone = "has ended before" if event.lease in world.ended else "was never granted"
            world.breach(rule, record.position, f"lease {event.lease} {gone}", event.lease)
        return None
    sealed = record.sealed
    said = (*event[1:4], sealed.owner, event.interface, sealed.uid, sealed.labels)
    names = "pool", "address", "prefix length", "owner", "interface", "uid", "labels"
    wrong = [name for name, was, is_said in zip(names, lease[1:8], said, strict=True)
             if was != is_said]  # fmt: skip
    if wrong:
        says = f"what is said of lease {event.lease} is not what was granted: {', '.join(wrong)}"
        world.breach("lease-facts", record.position, says, lease.lease_id)
    return lease


def renewed(world: World, record: Record, event: ev.LeaseRenewed) -> None:
    """A renewal: of a lease that is held."""
    lease = _spoken_of(world, record, "live-renew", event)
    if lease is not None:
        expires_ms = None if event.ttl_s is None else record.ms + event.ttl_s * 1_000
        world.hold(lease._replace(expires_ms=expires_ms, position=record.position))


def reported(world: World, record: Record, event: ev.ConflictReported) -> None:
    """A conflict on an address that is held; it is set aside when the lease ends."""
    lease = _spoken_of(world, record, "live-report", event)
    if lease is None:
        return
    before = world.reports.get(lease.lease_id)
    if before is not None:
        says = f"a conflict on lease {lease.lease_id} is reported a second time"
        world.breach("live-report", record.position, says, before.position)
        return
    world.reports[lease.lease_id] = Report(record.position, event.quarantine_s)


def ended(world: World, record: Record, event: ev.LeaseEnded) -> None:
    """An end: of a lease that is held, when it may, and not before it began."""
    lease = _spoken_of(world, record, "live-release", event)
    if lease is None:
        return
    effective_ms = record.header.effective_at_ms
    ended_ms = record.ms if effective_ms is None else effective_ms
    if ended_ms < lease.began_ms:
        says = f"lease {lease.lease_id} ends {lease.began_ms - ended_ms} ms before it began"
        world.breach("effective-at", record.position, says, lease.lease_id)
    if event.ended_by == _EXPIRED:
        expires_ms = lease.expires_ms
        if expires_ms is None or expires_ms > record.ms:
            early = "never" if expires_ms is None else f"only {expires_ms - record.ms} ms later"
            says = f"lease {lease.lease_id} expires, which is due {early}"
            world.breach("due-expiry", record.position, says, lease.position)
    elif event.ended_by == _SUPERSEDED:
        world.commit.superseded[lease.lease_id] = lease
    report = world.reports.get(lease.lease_id)
    if report is not None:
        world.commit.must_be_aside[record.position] = (lease, report)
    pool = world.pools.get(lease.pool_id)
    until_ms = None if pool is None else ended_ms + pool.event.cooldown_s * 1_000
    tenure = LastTenure(
        ended_ms, record.position, lease.lease_id, lease.owner, lease.interface,
        lease.prefix_length,
    )  # fmt: skip
    _forget(world, lease)
    if lease.prefix_length != len(lease.address) * 8:
        world.blocks.end(lease, tenure, until_ms)
        return
    world.last_tenure[lease.address] = tenure
    if until_ms is not None:
        world.rest(lease.address, until_ms)


def _forget(world: World, lease: Lease) -> None:
    """A lease is held no more; its pool may be gone with it."""
    world.let_go(lease)
    world.reports.pop(lease.lease_id, None)
    if lease.prefix_length != len(lease.address) * 8:
        world.blocks.let_go(lease)
    elif world.holders.get(lease.address) == lease.lease_id:
        del world.holders[lease.address]
    pool = world.pools.get(lease.pool_id)
    if pool is not None:
        pool.leases -= 1
        if lease.prefix_length == pool.width * 8:
            pool.held.discard(int.from_bytes(lease.address))
        world.forget_if_gone(pool)
