"""Reservations and quarantines: what is kept or set aside, why it may be, and when it ends."""

from __future__ import annotations

from engine import events as ev
from engine import ranges as arithmetic
from engine.entry import Record
from engine.ranges import Ranges
from replay.audit.definitions import RANGES_MAX
from replay.audit.world import Quarantine, Reservation, World, number_text, unpack

_WIDTHS = {4: 4, 6: 16}


def _reserve(
    world: World, record: Record, event: ev.ReservationCreated, reservation_id: int
) -> None:
    position, sealed = record.position, record.sealed
    if event.owned != (sealed.owner is not None):
        says = f"reservation {event.name} says of itself wrongly whether it has an owner"
        world.breach("reservation-facts", position, says)
    width = _WIDTHS[event.family]
    ips = unpack(event.ips, width)
    if len(ips) > RANGES_MAX:
        says = f"reservation {event.name} has {len(ips)} separate ranges, more than {RANGES_MAX}"
        world.breach("V10", position, says)
    other = world.reservation_names.get(event.name, reservation_id)
    if other != reservation_id:
        says = f"reservation {event.name} is created while there is one of that name"
        world.breach("reservation-name", position, says, other)
    # Its time counts from its latest definition.
    ends_ms = None if event.for_s is None else record.ms + event.for_s * 1_000
    world.reservations[reservation_id] = Reservation(
        reservation_id, position, event.name, width, ips, sealed.owner, ends_ms
    )
    world.reservation_names[event.name] = reservation_id
    world.reservations_changed(width)


def reservation_created(world: World, record: Record, event: ev.ReservationCreated) -> None:
    """A creation: the position is the reservation's id."""
    _reserve(world, record, event, record.position)


def _standing(world: World, record: Record, reservation_id: int, name: str) -> Reservation | None:
    present = world.reservations.get(reservation_id)
    if present is None:
        if not world.is_unseen(reservation_id):
            says = f"reservation {name} ({reservation_id}) is not there"
            world.breach("reservation-live", record.position, says, reservation_id)
    elif present.name != name:
        says = f"reservation {present.name} is called {name}"
        world.breach("reservation-facts", record.position, says, present.position)
    return present


def reservation_updated(world: World, record: Record, event: ev.ReservationUpdated) -> None:
    """A change: the whole new definition, of the same name and family."""
    wanted = event.reservation
    present = _standing(world, record, event.reservation_id, wanted.name)
    if present is not None:
        if present.width != _WIDTHS[wanted.family]:
            says = f"the IP version of reservation {present.name} changes"
            world.breach("reservation-facts", record.position, says, present.position)
        _drop(world, present)
    _reserve(world, record, wanted, event.reservation_id)


def reservation_deleted(world: World, record: Record, event: ev.ReservationDeleted) -> None:
    """An end, by hand or by time; by time only when it is due."""
    present = _standing(world, record, event.reservation_id, event.name)
    if present is None:
        return
    if event.expired and not _is_due(present.ends_ms, record.ms):
        says = f"reservation {present.name} expires before it is due"
        world.breach("due-expiry", record.position, says, present.position)
    _drop(world, present)


def _drop(world: World, present: Reservation) -> None:
    del world.reservations[present.reservation_id]
    if world.reservation_names.get(present.name) == present.reservation_id:
        del world.reservation_names[present.name]
    world.reservations_changed(present.width)


def _is_due(ends_ms: int | None, now_ms: int) -> bool:
    return ends_ms is not None and ends_ms <= now_ms


def quarantined(world: World, record: Record, event: ev.Quarantined) -> None:
    """Addresses set aside: by hand, or since a lease with a report on it has just ended."""
    width = _WIDTHS[event.family]
    ips = unpack(event.ips, width)
    if event.lease is not None:
        _follows_from_lease(world, record, event, ips)
    for first, last, other in world.aside[width].add(ips, record.position):
        shown = _range_text(first, last, width)
        says = f"{shown} is quarantined, and was already"
        world.breach("quarantine-once", record.position, says, other)
    held = _first_held(world, ips, width)
    if held is not None:
        lease_id, value = held
        says = f"{number_text(value, width)} is quarantined while lease {lease_id} holds it"
        world.breach("quarantine-once", record.position, says, lease_id)
    ends_ms = None if event.for_s is None else record.ms + event.for_s * 1_000
    world.quarantines[record.position] = Quarantine(width, ips, ends_ms)


def _follows_from_lease(
    world: World, record: Record, event: ev.Quarantined, ips: Ranges
) -> None:  # fmt: skip
    found = [
        (at, lease, report) for at, (lease, report) in world.commit.must_be_aside.items()
        if lease.lease_id == event.lease
    ]  # fmt: skip
    if not found:
        if not world.is_unseen(event.lease or 0):
            says = f"it is said to follow from lease {event.lease}, whose end does not lead to it"
            world.breach("set-aside", record.position, says, event.lease)
        return
    ((at, lease, report),) = found
    del world.commit.must_be_aside[at]
    if ips != (lease.range,) or event.for_s != report.for_s:
        says = f"not what was reported on lease {lease.lease_id} is quarantined, or not for so long"
        world.breach("set-aside", record.position, says, report.position, at)


def _first_held(world: World, ips: Ranges, width: int) -> tuple[int, int] | None:
    """A lease that holds one of some addresses, and which; asked of the pools that have any."""
    for low, high in ips:
        for block_first, _, lease_id in world.blocks.held[width].within(low, high):
            return lease_id, block_first
        for first, last, pool_id in world.given_out[width].within(low, high):
            value = world.pools[pool_id].held.first_in(first, last)
            if value is not None:
                return world.holders[value.to_bytes(width)], value
    return None


def put_back(world: World, record: Record, event: ev.QuarantineEnded) -> None:
    """Addresses of one quarantine are no longer in it; by time only when it is due."""
    present = world.quarantines.get(event.quarantine)
    if present is None:
        if not world.is_unseen(event.quarantine):
            says = f"quarantine {event.quarantine} is not there"
            world.breach("quarantine-live", record.position, says, event.quarantine)
        return
    width = _WIDTHS[event.family]
    ips = unpack(event.ips, width)
    if width != present.width or not arithmetic.covers(present.ips, ips):
        says = f"more is put back than quarantine {event.quarantine} has"
        world.breach("quarantine-live", record.position, says, event.quarantine)
    if event.expired and not _is_due(present.ends_ms, record.ms):
        says = f"quarantine {event.quarantine} expires before it is due"
        world.breach("due-expiry", record.position, says, event.quarantine)
    if width != present.width:
        return
    world.aside[width].remove(ips, event.quarantine)
    left = arithmetic.difference(present.ips, ips)
    if left:
        world.quarantines[event.quarantine] = present._replace(ips=left)
    else:
        del world.quarantines[event.quarantine]


def _range_text(first: int, last: int, width: int) -> str:
    shown = number_text(first, width)
    return shown if first == last else f"{shown}-{number_text(last, width)}"
