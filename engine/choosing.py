"""How a pool chooses among its free addresses: one function a policy, in one table (ADR 0022).

A policy is a preference and never a rule: whatever it would rather do, a free address is given out
while there is one. Nothing here draws a random number: seeds come with the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

from engine.addresses import RangeSet, family_of, to_int
from engine.facts import Facts, LastHeld, Pool
from engine.model import Policy
from engine.placement import Placement

# [format] From one seed come so many places where a free address is looked for; then it is counted
# out among the free ones. In a pool that is half full that is needed once in 16 times.
_DRAWS: Final = 4
# What is pending in the batch is drawn again: so often, and more often when much is pending.
_SEEDS: Final = 8
_SEEDS_FOR_EACH_PENDING: Final = 16


class Asking(NamedTuple):
    """For whom an address is chosen, and when.

    With ``may_take_over`` the grant can name the lease that its address rests from.
    """

    owner: str
    interface: str
    now_ms: int
    may_take_over: bool


class Choice(NamedTuple):
    """An address, with what its grant has to say about why it is this one.

    ``seed`` is what it was drawn with; ``takes_over`` the lease that it rests from; the server's
    clock must have reached ``not_before_ms``.
    """

    value: int
    seed: int | None = None
    takes_over: int | None = None
    not_before_ms: int = 0


def choose(facts: Facts, pool: Pool, asking: Asking, placement: Placement) -> Choice | None:
    """The next free address of `pool` by its policy that nobody in the batch proposes yet."""
    return _CHOOSERS[pool.spec.policy](facts, pool, asking, placement)


def drawn(facts: Facts, pool: Pool, seed: int) -> int | None:
    """[format] The free address that a seed draws from a pool; None if nothing is free.

    Every free address is equally likely. It is a function of what the pool may give out, of what
    of that is taken, and of the seed: so a replay to the grant's `decided_at` draws it again.
    """
    free = facts.free_count(pool.pool_id)
    if not free:
        return None
    places = facts.open_ranges(pool.pool_id)
    size = places.size
    for number in range(_DRAWS):
        value = _member(places, _number(seed, number) % size)
        if facts.is_free(pool.pool_id, value):
            return value
    return facts.nth_free(pool.pool_id, _number(seed, _DRAWS) % free)


def _number(seed: int, number: int) -> int:
    """256 bits, so that the remainder by the size of any pool is as good as uniform."""
    return int.from_bytes(sha256(seed.to_bytes(8) + bytes((number,))).digest())


def _member(ranges: RangeSet, n: int) -> int:
    """The address with `n` others of the set below it."""
    for first, last in ranges.ranges:
        size = last - first + 1
        if n < size:
            return first + n
        n -= size
    raise AssertionError("the set has not so many addresses")


def _lowest(facts: Facts, pool: Pool, _asking: Asking, placement: Placement) -> Choice | None:
    value = placement.propose(facts, pool)
    return None if value is None else Choice(value)


def _longest_idle(facts: Facts, pool: Pool, _asking: Asking, placement: Placement) -> Choice | None:
    """What was never held, the lowest first; then what has been idle for longest."""
    value = placement.propose_idle(facts, pool)
    return None if value is None else Choice(value)


def _random(facts: Facts, pool: Pool, asking: Asking, placement: Placement) -> Choice | None:
    """Drawn, and drawn again while that hits what the batch proposes already."""
    if choice := _draw(facts, pool, placement, _SEEDS):
        return choice
    proposed = [v for v in placement.pending_of(pool) if facts.is_free(pool.pool_id, v)]
    if len(proposed) >= facts.free_count(pool.pool_id):
        return None
    if choice := _draw(facts, pool, placement, _SEEDS_FOR_EACH_PENDING * len(proposed)):
        return choice
    # Once in 10,000,000 times that the batch takes all of a pool. To be refused the pool's last
    # address would be worse than to be given it without a seed.
    return _lowest(facts, pool, asking, placement)


def _draw(facts: Facts, pool: Pool, placement: Placement, seeds: int) -> Choice | None:
    """What one of so many seeds draws, if any draws what is not pending."""
    for _ in range(seeds):
        seed = placement.next_seed()
        value = drawn(facts, pool, seed)
        if value is None:
            return None
        if not placement.is_pending(pool, value):
            placement.claim(pool, value)
            return Choice(value, seed)
    return None


def _sticky(facts: Facts, pool: Pool, asking: Asking, placement: Placement) -> Choice | None:
    """The owner's last address; for newcomers what is remembered for others comes last."""
    for last in facts.remembered(asking.owner, asking.interface):
        choice = _again(facts, pool, asking, placement, last)
        if choice is not None:
            placement.claim(pool, choice.value)
            return choice
    return _longest_idle(facts, pool, asking, placement)


def _again(
    facts: Facts, pool: Pool, asking: Asking, placement: Placement, last: LastHeld
) -> Choice | None:
    """The address that an owner held last, if it may have it from this pool now."""
    value = to_int(last.address)
    if (
        pool.spec.family != family_of(last.address)
        or value not in pool.effective
        or placement.is_pending(pool, value)
        or (last.until_ms is not None and last.until_ms <= asking.now_ms)
    ):
        return None
    if facts.is_free(pool.pool_id, value):
        return Choice(value)
    ready_ms = facts.resting(pool.pool_id, value)
    if ready_ms is None or value not in facts.open_ranges(pool.pool_id):
        return None
    if asking.may_take_over:
        return Choice(value, takes_over=last.lease_id)
    return Choice(value, not_before_ms=ready_ms) if ready_ms <= asking.now_ms else None


_CHOOSERS: Final[dict[Policy, Callable[[Facts, Pool, Asking, Placement], Choice | None]]] = {
    "lowest": _lowest,
    "least-recently-used": _longest_idle,
    "random": _random,
    "sticky": _sticky,
}
