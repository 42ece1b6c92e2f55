"""From which pools a request may draw, and in which order they are tried.

A request names its pools, or patterns of their names, or none: then the default pools are meant.
What is looked up in the list of pools must be read as a whole (`tags.POOLS`): otherwise a pool
that somebody else makes at the same moment would be missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from engine import tags
from engine.addresses import Family
from engine.affinity import rank
from engine.commands import Allocate
from engine.errors import Refusal
from engine.facts import Facts, Pool
from engine.patterns import is_pattern, matches

Groups = tuple[tuple[str, ...], ...]

_SEE: Final = "see `ipledger get pools`"
NO_RULES: Final = "no pool selection rules of any type are specified"


def resolve(facts: Facts, command: Allocate) -> Groups | Refusal:
    """The groups of pools by name: the very ones of the command if it names them all."""
    groups = command.groups
    if not groups:
        return _default_groups(facts, command)
    if not all(groups):
        return Refusal("invalid", "no pool is named", "name one with --pool", "pool")
    named = [name for group in groups for name in group]
    for name in named:
        if facts.pool(name) is None:
            return _expanded(facts, command)
    if len(named) == 1 and not command.families:
        return groups  # as almost always
    return _checked(facts, command, named, groups)


def pool_reads(command: Allocate, groups: Groups) -> list[str]:
    """What a grant from the resolved `groups` rests on: its pools, or which pools there are."""
    if groups is not command.groups:
        return [tags.POOLS]
    return [tags.pool(name) for group in groups for name in group]


def ranked(pools: list[Pool]) -> list[Pool]:
    """The pools in the order in which they are tried: as they are written, among equals."""
    if len(pools) == 1:
        return pools
    return sorted(pools, key=lambda pool: rank(pool.spec.selectors))


def _checked(facts: Facts, command: Allocate, plain: list[str], groups: Groups) -> Groups | Refusal:
    """The groups, unless the names that are written out contradict each other or the families."""
    if len(set(plain)) != len(plain):
        return Refusal("invalid", "a pool is named twice", "name each pool once", "pool")
    families = command.families
    if not families:
        return groups
    if len(families) != len(command.groups):
        message = f"{len(families)} IP versions for {len(command.groups)} groups of pools"
        return Refusal("invalid", message, "name as many --pool, or none of either", "ip-version")
    for family, group in zip(families, command.groups, strict=True):
        for name in group:
            pool = facts.pool(name)
            if pool is not None and pool.spec.family != family:
                message = f"pool {name} is of IPv{pool.spec.family}, but IPv{family} is asked for"
                return Refusal("invalid", message, _SEE, "pool")
    return groups


def _expanded(facts: Facts, command: Allocate) -> Groups | Refusal:
    """Every pattern replaced by the pools that it matches, in the order of their names.

    Each pool is used once: where it is named, or at the first place that it matches.
    """
    groups, pools = command.groups, list(facts.pools())
    plain = [name for group in groups for name in group if not is_pattern(name)]
    for name in plain:
        if facts.pool(name) is None:
            return Refusal("not_found", f"pool {name} does not exist", _SEE, "pool")
    checked = _checked(facts, command, plain, groups)
    if isinstance(checked, Refusal):
        return checked
    families: Iterable[Family | None] = command.families or [None] * len(groups)
    used = set(plain)
    expanded: list[tuple[str, ...]] = []
    for family, group in zip(families, groups, strict=True):
        mine: dict[str, None] = {}
        for name in group:
            if not is_pattern(name):
                mine[name] = None
                continue
            found = [
                pool.name
                for pool in pools
                if family in {None, pool.spec.family} and matches(name, pool.name)
            ]
            if not found:
                of = "" if family is None else f" of IPv{family}"
                return Refusal("not_found", f"no pool{of} is named like {name}", _SEE, "pool")
            mine.update(dict.fromkeys(n for n in found if n in group or n not in used))
            used.update(found)
        if not mine:
            message = f"every pool named like {', '.join(group)} is asked for elsewhere"
            return Refusal("invalid", message, "name each pool once", "pool")
        expanded.append(tuple(mine))
    return tuple(expanded)


def _default_groups(facts: Facts, command: Allocate) -> Groups | Refusal:
    """The default pools of each family, by name; with those in which the owner holds already.

    Who names no pool means any address: one that the owner holds will do, also in a pool that is
    no default any more.
    """
    by_family: dict[Family, dict[str, None]] = {}
    for pool in facts.pools():
        if pool.spec.default:
            by_family.setdefault(pool.spec.family, {})[pool.name] = None
    families = command.families or tuple(sorted(by_family))
    for lease in facts.leases_of(command.owner, command.interface):
        holds = facts.pool_of(lease.pool_id)
        assert holds is not None, "a pool stays while it has leases"
        by_family.setdefault(holds.spec.family, {})[holds.name] = None
    families = families or tuple(sorted(by_family))
    if len(set(families)) != len(families):
        message = "an IP version is asked for twice"
        return Refusal("invalid", message, "ask for each once", "ip-version")
    lacking = [f"IPv{family}" for family in families if family not in by_family]
    if lacking or not families:
        of = f" for {' and '.join(lacking)}" if lacking else ""
        message = f"{NO_RULES}{of}: none is named, and none is a default"
        return Refusal("not_found", message, "name a --pool, or make one a default", "pool")
    return tuple(tuple(by_family[family]) for family in families)
