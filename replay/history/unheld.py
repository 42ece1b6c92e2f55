"""Why nobody held an address: free in a pool, kept or set aside by whom, or in no pool at all."""

from __future__ import annotations

from typing import Literal, NamedTuple

from engine.addresses import Address, family_of, to_int
from engine.facts import Quarantine
from engine.model import PoolSpec, ReservationSpec
from replay.history.definitions import Version
from replay.history.queries import History

Why = Literal["quarantined", "cooling", "reserved", "free", "excluded", "no_pool"]


class Unheld(NamedTuple):
    """What an address was while nobody held it: the first of these that applied.

    ``pool`` gave it out, or excluded it; None if it was in no pool. ``named`` are the reservations
    that kept it, or the quarantine's id; ``reason`` is theirs, ``position`` is where it was said.
    ``until_ms`` is until when it rested.
    """

    why: Why
    pool: str | None = None
    named: tuple[str, ...] = ()
    reason: str | None = None
    position: int | None = None
    until_ms: int | None = None


def unheld(
    history: History, address: Address, at_ms: int, known_at_ms: int | None = None
) -> Unheld:
    """Say what an address was at a time at which nobody held it, as far as was known.

    What a pool, a reservation or a quarantine is counts from when it was recorded.
    """
    family, value = family_of(address), to_int(address)
    moment_ms = at_ms if known_at_ms is None else min(at_ms, known_at_ms)
    pool, excluding = _pool_of(history, address, moment_ms)
    name = None if pool is None else pool.name
    for version in history.versions("quarantine", at_ms=moment_ms):
        aside = version.spec
        assert isinstance(aside, Quarantine), "as its kind says"
        if aside.ips.family == family and value in aside.ips:
            number = (str(version.object_id),)
            return Unheld("quarantined", name, number, aside.reason, version.object_id)
    last = history.last_before(address, at_ms, known_at_ms)
    if pool is not None and last is not None and last.ending is not None:
        ending = last.ending
        # The rest is that of the lease's own pool, as it was set when the end was recorded.
        rests_s = _cooldown_s(history, last.pool_id, last.pool, ending.recorded_ms)
        until_ms = ending.to_ms + rests_s * 1_000
        if at_ms < until_ms:
            return Unheld("cooling", name, (), None, ending.position, until_ms)
    kept = [
        version
        for version in history.versions("reservation", at_ms=moment_ms)
        if isinstance(version.spec, ReservationSpec)
        and version.spec.ips.family == family
        and value in version.spec.ips
    ]
    if kept:
        assert isinstance(kept[0].spec, ReservationSpec), "chosen so"
        names = tuple(sorted(version.name for version in kept))
        return Unheld("reserved", name, names, kept[0].spec.reason, kept[0].position)
    if pool is not None:
        return Unheld("free", name, (), None, pool.position)
    if excluding is not None:
        return Unheld("excluded", excluding.name, (), None, excluding.position)
    return Unheld("no_pool")


def _pool_of(
    history: History, address: Address, at_ms: int
) -> tuple[Version | None, Version | None]:
    """The pool that gave out an address at a time, and one that excluded it."""
    family, value = family_of(address), to_int(address)
    excluding = None
    for version in history.versions("pool", at_ms=at_ms):
        spec = version.spec
        assert isinstance(spec, PoolSpec), "as its kind says"
        if spec.family == family and value in spec.ips:
            if value not in spec.exclude_ips:
                return version, None
            excluding = version
    return None, excluding


def _cooldown_s(history: History, pool_id: int, name: str, at_ms: int) -> int:
    for version in history.versions("pool", name=name):
        in_force = version.from_ms <= at_ms and (version.to_ms is None or at_ms < version.to_ms)
        if version.object_id == pool_id and in_force and isinstance(version.spec, PoolSpec):
            return version.spec.cooldown_s
    return 0
