"""Leases of blocks: the same rules as for addresses, of every address in the block.

What is known of blocks is ranges, never lists of addresses (`replay.audit.block_books`).
"""

from __future__ import annotations

from engine import events as ev
from engine import ranges as arithmetic
from engine.entry import Record
from engine.facts import BLOCKS_LEVEL
from replay.audit.world import Family, Lease, Pool, World, block, number_text, text_of


def shown_of(event: ev.LeaseGranted | Lease) -> str:
    """A block in words."""
    return f"{text_of(event.address)}/{event.prefix_length}"


def holders_in(world: World, low: int, high: int, width: Family) -> list[int]:
    """The leases that hold anything of a range."""
    found = [whose for _, _, whose in world.blocks.held[width].within(low, high)]
    for pool_id in {whose for _, _, whose in world.given_out[width].within(low, high)}:
        pool = world.pools.get(pool_id)
        value = None if pool is None else pool.held.first_in(low, high)
        while pool is not None and value is not None:
            found.append(world.holders[value.to_bytes(width)])
            value = pool.held.first_in(value + 1, high)
    return found


def check_granted(world: World, record: Record, event: ev.LeaseGranted, began_ms: int) -> None:
    """What is true of the addresses of a granted block, whatever its pool."""
    width, position, shown = len(event.address), record.position, shown_of(event)
    low, high = block(event.address, event.prefix_length)
    if 0 < world.level < BLOCKS_LEVEL:
        says = f"{shown} is granted, a block: level {world.level} knows none"
        world.breach("level", position, says)
    if record.header.effective_at_ms is not None:
        _tenures(world, record, event, began_ms)
    kept = next(
        (
            kept for kept in world.reservations.values()
            if kept.width == width and (kept.owner is None or kept.owner != record.sealed.owner)
            and arithmetic.overlap(kept.ips, ((low, high),))
        ),
        None,
    )  # fmt: skip
    if kept is not None:
        says = f"{shown} is granted while {kept.name} reserves a part of it"
        world.breach("reserved", position, says, kept.position)
    if aside := world.aside[width].within(low, high):
        says = f"{shown} is granted while {number_text(aside[0][0], width)} is quarantined"
        world.breach("quarantined", position, says, aside[0][2])


def _tenures(world: World, record: Record, event: ev.LeaseGranted, began_ms: int) -> None:
    """No tenure of any address in the block is over only later than the new one begins."""
    width, (low, high) = len(event.address), block(event.address, event.prefix_length)
    ended = list(world.blocks.tenures_in(low, high, width))
    ended += [
        tenure for address, tenure in world.last_tenure.items()
        if len(address) == width and low <= int.from_bytes(address) <= high
    ]  # fmt: skip
    last = max(ended, default=None)
    if last is not None and began_ms < last.ended_ms:
        early_ms = last.ended_ms - began_ms
        says = f"{shown_of(event)} is granted from {early_ms} ms before the last tenure ended"
        world.breach("one-tenure", record.position, says, last.position)


def check_rested(world: World, record: Record, event: ev.LeaseGranted, *, takes_over: bool) -> None:
    """Nothing of a granted block rests, unless all of it does after the lease it takes over."""
    width, (low, high) = len(event.address), block(event.address, event.prefix_length)
    waits = [(until, world.blocks.last_tenure(at, width)) for at, _, until, _ in
             world.blocks.resting(low, high, width)]  # fmt: skip
    world.blocks.stir(low, high, width)
    singles = (
        [v.to_bytes(width) for v in range(low, high + 1)]
        if high - low < len(world.rests_until_ms)
        else [
            a for a in world.rests_until_ms if len(a) == width and low <= int.from_bytes(a) <= high
        ]
    )
    for address in singles:
        until_ms = world.rests_until_ms.pop(address, None)
        if until_ms is not None:
            waits.append((until_ms, world.last_tenure[address]))
    until_ms, tenure = max(waits, default=(0, None), key=lambda wait: wait[0])
    if until_ms > record.ms and not takes_over:
        says = f"a part of {shown_of(event)} is granted while it rests for "
        position = 0 if tenure is None else tenure.position
        world.breach("cooling", record.position, f"{says}{until_ms - record.ms} ms more", position)


def check_pool(world: World, record: Record, pool: Pool, event: ev.LeaseGranted) -> None:
    """The block is of its pool: all of it, and without the gateway."""
    position, shown, named = record.position, shown_of(event), f"pool {pool.event.name}"
    whole = (block(event.address, event.prefix_length),)
    width, gateway = len(event.address), pool.event.gateway
    if width == pool.width and gateway is not None and arithmetic.covers(
        whole, ((int.from_bytes(gateway), int.from_bytes(gateway)),)
    ):  # fmt: skip
        says = f"{shown} is granted, with the gateway of {named}"
        world.breach("gateway", position, says, pool.position)
    elif width != pool.width or not arithmetic.covers(pool.ips, whole):
        says = f"{shown} is granted from {named}, which does not have all of it"
        world.breach("in-pool", position, says, pool.position)
    elif arithmetic.overlap(pool.excluded, whole):
        says = f"{shown} is granted from {named}, which excludes a part of it"
        world.breach("excluded", position, says, pool.position)
