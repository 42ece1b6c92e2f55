"""The request that is made almost always, decided without asking for what it does not say.

One address for an owner that holds nothing, from one pool by its name that gives out to anybody,
lowest free address first: batches are full of these. `decide_plainly` answers just what
`decide_allocate` would, in a fifth of the time, and None for every other request; Hypothesis holds
the two to each other. What it finds out about a pool it keeps, as long as that is the same pool.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine import events as ev
from engine import tags
from engine.addresses import BITS, Family
from engine.affinity import ANYBODY
from engine.commands import Allocate, Claim
from engine.draft import UNSALTED, Change, Draft
from engine.facts import Facts, Pool
from engine.granting import is_closed
from engine.placement import Placement

_POOLS_MAX: Final = 1_024
_new = tuple.__new__  # as in `ipledger.writing`: a named tuple's constructor costs as much again


class PlainPool(NamedTuple):
    """A pool that gives the lowest free address to anybody who asks."""

    pool: Pool
    family: Family
    width: int
    bits: int
    ttl_s: int | None
    tag: str


PlainPools = dict[tuple[tuple[str, ...], ...], PlainPool]  # by what is asked for


def decide_plainly(
    facts: Facts, command: Allocate, claim: Claim, placement: Placement
) -> Draft | None:
    """The grant that `decide_allocate` decides; None if that has to be asked."""
    (
        groups, owner, interface, uid, addresses, number, ttl_s, labels, cluster, effective_at_ms,
        prefix_length, _, families,
    ) = command  # fmt: skip
    if (
        number != 1
        or addresses
        or effective_at_ms is not None
        or prefix_length is not None
        or families
        or facts.leases_of(owner, interface)
    ):
        return None
    plain = placement.plain_pools.get(groups)
    if plain is None or facts.pool(plain.pool.name) is not plain.pool:
        plain = _plain_pool(facts, groups)
        if plain is None:
            return None
        if len(placement.plain_pools) >= _POOLS_MAX:
            placement.plain_pools.clear()
        placement.plain_pools[groups] = plain
    if facts.reserved_for(owner, plain.family):
        return None
    pool, _, width, bits, pool_ttl_s, tag = plain
    value = placement.propose(facts, pool)
    if value is None:
        return None
    address = value.to_bytes(width)
    ttl_s = pool_ttl_s if ttl_s is None else ttl_s
    granted = (
        pool.pool_id, address, bits, interface, ttl_s, cluster, None, (), None, None
    )  # fmt: skip
    sealed = (UNSALTED, owner, uid, labels, *claim, None)
    change = (_new(ev.LeaseGranted, granted), _new(ev.Sealed, sealed), None, None)
    reads = (tags.owner(owner, interface), tag, tags.block(address, bits), tags.RESERVATIONS)
    return _new(Draft, ((_new(Change, change),), reads, 0))


def _plain_pool(facts: Facts, groups: tuple[tuple[str, ...], ...]) -> PlainPool | None:
    """The pool that is asked for, if it is one and gives out plainly."""
    if len(groups) != 1 or len(groups[0]) != 1:
        return None
    pool = facts.pool(groups[0][0])
    if pool is None or is_closed(pool):
        return None
    spec = pool.spec
    if spec.selectors != ANYBODY or spec.policy != "lowest":
        return None
    bits = BITS[spec.family]
    return PlainPool(pool, spec.family, bits // 8, bits, spec.ttl_s, tags.pool(pool.name))
