"""What an observation says of the leases: which have no user, who has no lease, what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine.addresses import family_of, to_int
from engine.commands import Reconcile
from engine.facts import Facts, Lease
from engine.names import Labels
from engine.observation import Observation, User
from engine.range_index import PoolFinder, RangeIndex


class Scope(NamedTuple):
    """Of which leases an observation should know: of all, or of these pools, clusters, labels.

    A list from one cluster says nothing about the leases of another.
    """

    pools: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    labels: Labels = ()


class Unleased(NamedTuple):
    """A user of an address that is a pool's and that nobody holds; ``reserved_by`` keeps it."""

    user: User
    pool: str
    reserved_by: str | None


class Wrong(NamedTuple):
    """A lease, and a user that contradicts it: another one there, or its owner elsewhere."""

    lease: Lease
    user: User


class Compared(NamedTuple):
    """How an observation and the leases differ.

    ``expected`` counts the leases that should be in it, ``missing`` are those that are not,
    ``present`` those that are. ``outside`` counts addresses that no pool has.
    """

    expected: int
    missing: tuple[Lease, ...]
    present: tuple[Lease, ...]
    unleased: tuple[Unleased, ...]
    wrong: tuple[Wrong, ...]
    outside: int


def scope_of(command: Reconcile) -> Scope:
    """The leases that a command expects in its observation."""
    return Scope(command.pools, command.clusters, command.labels)


def compare(facts: Facts, observation: Observation, scope: Scope) -> Compared:
    """Compare what was seen with what is held. Cost: O(leases + users), once through each.

    A lease that was granted after the observation was made cannot be missing in it. One that is
    contradicted is not missing either: somebody must look first.
    """
    pools = _pools_named(facts, scope)
    missing: list[Lease] = []
    present: list[Lease] = []
    wrong: list[Wrong] = []
    blocks: list[Lease] = []
    strayed: dict[str, list[User]] = {}
    for lease in facts.leases():
        if lease.is_block:
            blocks.append(lease)
        if not _is_expected(lease, observation, scope, pools):
            continue
        found = list(observation.within(lease.address, lease.prefix_length))
        others = [user for user in found if not _is_holder(user, lease)]
        wrong += [Wrong(lease, user) for user in others]
        if len(others) < len(found):
            present.append(lease)
            continue
        if lease.owner not in strayed:
            strayed[lease.owner] = _strays(facts, observation, lease.owner)
        strays = [user for user in strayed[lease.owner] if _is_instead(user, lease)]
        wrong += [Wrong(lease, user) for user in strays]
        if not found and not strays:
            missing.append(lease)
    unleased, outside = _unleased(facts, observation, scope, blocks)
    expected = len(missing) + len(present) + len({item.lease.lease_id for item in wrong} - {
        lease.lease_id for lease in present
    })  # fmt: skip
    return Compared(
        expected, tuple(missing), tuple(present), tuple(unleased), tuple(wrong), outside
    )


def _pools_named(facts: Facts, scope: Scope) -> frozenset[int] | None:
    """The ids of the pools that a scope names; None if it names none."""
    if not scope.pools:
        return None
    found = (facts.pool(name) for name in scope.pools)
    return frozenset(pool.pool_id for pool in found if pool is not None)


def _is_expected(
    lease: Lease, observation: Observation, scope: Scope, pools: frozenset[int] | None
) -> bool:
    return (
        lease.granted_at_ms <= observation.observed_at_ms
        and (pools is None or lease.pool_id in pools)
        and (not scope.clusters or lease.cluster in scope.clusters)
        and (not scope.labels or set(scope.labels) <= set(lease.labels))
    )


def _is_holder(user: User, lease: Lease) -> bool:
    """Whether a user may be who holds the lease: whoever is not named is believed to be."""
    return user.owner in {None, lease.owner} and user.interface in {None, lease.interface}


def _strays(facts: Facts, observation: Observation, owner: str) -> list[User]:
    """Where an owner was seen at addresses that are not its own."""
    users = observation.of(owner)
    if not users:
        return []
    held = _ranges_of(facts.leases_of(owner))
    return [user for user in users if held.having(user.address) is None]


def _is_instead(user: User, lease: Lease) -> bool:
    """Whether the lease's owner may use a stray address in place of the one it holds.

    Another family is another address of the same interface, and not one instead of this.
    """
    return user.interface in {None, lease.interface} and len(user.address) == len(lease.address)


def _ranges_of(leases: Iterable[Lease]) -> RangeIndex[Lease]:
    """The addresses of leases, none of which overlap."""
    return RangeIndex(
        (family_of(held.address), to_int(held.address), held.last, held) for held in leases
    )


def _unleased(
    facts: Facts, observation: Observation, scope: Scope, blocks: Sequence[Lease]
) -> tuple[list[Unleased], int]:
    """The users of addresses that a pool has and nobody holds; how many no pool has."""
    owned = PoolFinder(p for p in facts.pools() if not scope.pools or p.name in scope.pools)
    in_blocks = _ranges_of(blocks)
    found: list[Unleased] = []
    outside = 0
    for address in observation.addresses:
        if facts.lease_at(address) is not None or in_blocks.having(address) is not None:
            continue
        pool = owned.having(address)
        if pool is None:
            outside += 1
            continue
        last = facts.last_tenure(address)
        if last is not None and last[0] >= observation.observed_at_ms:
            continue  # it was held when it was seen
        kept = facts.reserved_by(address)
        by = kept[0].name if kept else None
        found += [Unleased(user, pool.name, by) for user in observation.at(address)]
    return found, outside
