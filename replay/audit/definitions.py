"""Pools: what their definitions must be (rules V6 to V24), each alone and beside the others."""

from __future__ import annotations

import re
from typing import Any, Final

from engine import events as ev
from engine import ranges as arithmetic
from engine.entry import Record
from replay.audit.world import Pool, World, block, number_text, text_of, unpack

RANGES_MAX: Final = 1_500
_ROUTES_MAX: Final = 256
_KEY_LENGTH_MAX: Final = 317
_OPERATORS: Final = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)


def created(world: World, record: Record, event: ev.PoolCreated) -> None:
    """A new pool: the position is its id."""
    other = world.pool_names.get(event.name)
    if other is not None:
        says = f"pool {event.name} is created while there is one of that name (V6)"
        world.breach("V6", record.position, says, world.pools[other].position)
    pool = _pool(event, record.position, record.position)
    _check(world, record, pool)
    _enter(world, record, pool)


def updated(world: World, record: Record, event: ev.PoolUpdated) -> None:
    """A change: the whole new definition, which must fit the old one and what is leased."""
    position = record.position
    present = world.pools.get(event.pool_id)
    pool = _pool(event.pool, event.pool_id, position)
    _check(world, record, pool)
    if present is None:
        if not world.is_unseen(event.pool_id):
            says = f"pool {event.pool.name} ({event.pool_id}) is changed, and is not there"
            world.breach("pool-live", position, says, event.pool_id)
        return
    old = present.event
    if present.terminating:
        says = f"pool {old.name} is changed while it is terminating (V23)"
        world.breach("V23", position, says, present.position)
    if (old.name, old.subnet) != (event.pool.name, event.pool.subnet):
        says = f"the name or the subnet of pool {old.name} changes (V8, V9)"
        world.breach("V9", position, says, present.position)
    if pool.width == present.width:
        _in_use(world, record, present, pool)
        pool.held = present.held
    world.withdraw(present)
    if world.pool_names.get(old.name) == event.pool_id:
        del world.pool_names[old.name]
    pool.terminating, pool.leases = present.terminating, present.leases
    _enter(world, record, pool)


def deleted(world: World, record: Record, event: ev.PoolDeleted) -> None:
    """V24: the pool is terminating, and gone when its last lease ends."""
    pool = world.pools.get(event.pool_id)
    named = f"pool {event.name} ({event.pool_id})"
    if pool is None:
        if not world.is_unseen(event.pool_id):
            says = f"{named} is deleted, and is not there (V24)"
            world.breach("pool-live", record.position, says, event.pool_id)
        return
    if pool.terminating or pool.event.name != event.name:
        why = "was deleted before" if pool.terminating else f"is called {pool.event.name}"
        says = f"{named} is deleted, and {why} (V24)"
        world.breach("pool-live", record.position, says, pool.position)
    pool.terminating = True
    pool.position = record.position
    world.forget_if_gone(pool)


def _pool(event: ev.PoolCreated, pool_id: int, position: int) -> Pool:
    width = len(event.subnet[0])
    ips, excluded = unpack(event.ips, width), unpack(event.exclude_ips, width)
    effective = arithmetic.difference(ips, excluded)
    return Pool(pool_id, position, event, width, ips, excluded, effective)


def _enter(world: World, record: Record, pool: Pool) -> None:
    """Add a pool to what is, and compare it with the others: V7 and V11."""
    for pool_id in world.subnets.add(pool):
        other = world.pools[pool_id]
        says = f"the subnets of pools {pool.event.name} and {other.event.name} overlap (V7)"
        world.breach("V7", record.position, says, other.position)
    shared = world.given_out[pool.width].add(pool.effective, pool.pool_id)
    for pool_id in sorted({whose for _, _, whose in shared}):
        first = next(low for low, _, whose in shared if whose == pool_id)
        other = world.pools[pool_id]
        says = (
            f"pools {pool.event.name} and {other.event.name} both have "
            f"{number_text(first, pool.width)} (V11)"
        )
        world.breach("V11", record.position, says, other.position)
    world.pools[pool.pool_id] = pool
    world.pool_names[pool.event.name] = pool.pool_id


def _in_use(world: World, record: Record, present: Pool, pool: Pool) -> None:
    for low, high in arithmetic.difference(present.effective, pool.effective):
        value = present.held.first_in(low, high)
        lease_id = None if value is None else world.holders[value.to_bytes(pool.width)]
        for first, _, whose in world.blocks.held[pool.width].within(low, high)[:1]:
            if value is None or first < value:
                value, lease_id = first, whose
        if value is not None and lease_id is not None:
            says = (
                f"pool {pool.event.name} loses {number_text(value, pool.width)}, "
                f"which lease {lease_id} holds (V20)"
            )
            world.breach("V20", record.position, says, present.position, lease_id)
            return


def _check(world: World, record: Record, pool: Pool) -> None:
    """What a definition must be by itself."""
    event, position, named = pool.event, record.position, f"pool {pool.event.name}"
    subnet = (pool.subnet,)
    for field, ranges in (("ips", pool.ips), ("excludeIPs", pool.excluded)):
        if not arithmetic.covers(subnet, ranges) or len(ranges) > RANGES_MAX:
            says = f"{field} of {named} leave its subnet, or are more than {RANGES_MAX} ranges"
            world.breach("V10", position, f"{says} (V10)")
    if event.gateway is not None:
        gateway = int.from_bytes(event.gateway)
        if arithmetic.index_of(subnet, gateway) < 0:
            says = f"the gateway {text_of(event.gateway)} of {named} is not in its subnet (V12)"
            world.breach("V12", position, says)
        if arithmetic.index_of(pool.effective, gateway) >= 0:
            says = f"{named} gives out its own gateway {text_of(event.gateway)} (V13)"
            world.breach("V13", position, says)
    _check_routes(world, record, pool)
    for selector in event.selectors[:3]:
        if selector is not None and not _is_selector(selector):
            world.breach("V18", position, f"a selector of {named} says nothing that is valid (V18)")


def _check_routes(world: World, record: Record, pool: Pool) -> None:
    event, position, named = pool.event, record.position, f"pool {pool.event.name}"
    destinations = [block(first, length) for first, length, _ in event.routes]
    if any(length == 0 for _, length, _ in event.routes):
        world.breach("V14", position, f"{named} has a default route among its routes (V14)")
    if len(set(destinations)) < len(destinations) or len(destinations) > _ROUTES_MAX:
        says = f"{named} has two routes to one destination, or more than {_ROUTES_MAX} (V15)"
        world.breach("V15", position, says)
    low, high = pool.subnet
    for _, _, gateway in event.routes:
        if not low <= int.from_bytes(gateway) <= high:
            says = f"a route of {named} goes by {text_of(gateway)}, outside its subnet (V17)"
            world.breach("V17", position, says)


def _is_selector(selector: Any) -> bool:
    """V18: a Kubernetes label selector that says something."""
    labels, expressions = selector
    return bool(labels or expressions) and (
        all(_is_key(key) and (value == "" or _LABEL.fullmatch(value)) for key, value in labels)
        and all(
            _is_key(key) and operator in _OPERATORS and bool(values) == _OPERATORS[operator]
            for key, operator, values in expressions
        )
    )


def _is_key(key: str) -> bool:
    return len(key) <= _KEY_LENGTH_MAX and bool(_LABEL.fullmatch(key.rpartition("/")[2]))
