"""What an import would do, held against what is: pure, so that it can be shown before anything.

Pools come first, for leases need them. A reservation of the files does not stop the leases of the
files: there its holder kept an address that was reserved later, and so it does here. Such a
reservation is applied after the leases that it covers, every other one together with the pools.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine.addresses import Family, RangeSet, family_of, to_int
from engine.commands import PutPool, PutReservation, SetAside
from engine.decide_adopt import Past, Taken, adoption, shared
from engine.errors import Refusal
from engine.facts import Facts, Lease, Pool
from engine.pool_spec import check_seconds
from engine.range_index import PoolFinder
from engine.shapes import SECONDS_MAX
from ipledger.importing.found import Found, FoundAside, FoundLease

_FAMILIES: tuple[Family, ...] = (4, 6)


class RefusedLease(NamedTuple):
    """A lease that cannot be imported, and why."""

    found: FoundLease
    refusal: Refusal


class Plan(NamedTuple):
    """What is to be written, in this order, and what is not and why.

    ``objects`` go first, in one commit; then ``covered``, the leases on which ``later``
    reservations lie; those; all other leases; what is to be set aside.
    """

    objects: tuple[PutPool | PutReservation, ...]
    covered: tuple[FoundLease, ...]
    later: tuple[PutReservation, ...]
    leases: tuple[FoundLease, ...]
    aside: tuple[SetAside, ...]
    held: tuple[FoundLease, ...]
    past: tuple[FoundLease, ...]
    refused: tuple[RefusedLease, ...]


def make_plan(facts: Facts, found: Found, now_ms: int) -> Plan:
    """Hold what was found against what is as of `now_ms`, the server's time."""
    finder = PoolFinder(_pools_then(facts, found.objects))
    adopt: list[FoundLease] = []
    held: list[FoundLease] = []
    past: list[FoundLease] = []
    refused: list[RefusedLease] = []
    for entry in found.leases:
        verdict = adoption(facts, finder, entry.lease, now_ms)
        if isinstance(verdict, Pool):
            adopt.append(entry)
        elif isinstance(verdict, Lease):
            held.append(entry)
        elif isinstance(verdict, Past):
            past.append(entry)
        else:
            refused.append(RefusedLease(entry, verdict))
    adopt, clashing = _apart(adopt)
    refused += clashing
    reservations = [wanted for wanted in found.objects if isinstance(wanted, PutReservation)]
    covered = _covered(reservations, adopt)
    later = tuple(wanted for wanted in reservations if _lies_on(wanted, covered))
    first = tuple(wanted for wanted in found.objects if wanted not in later)
    late = {id(entry) for entry in covered}
    return Plan(
        objects=first,
        covered=tuple(covered),
        later=later,
        leases=tuple(entry for entry in adopt if id(entry) not in late),
        aside=tuple(_aside(facts, found.quarantines, now_ms)),
        held=tuple(held),
        past=tuple(past),
        refused=tuple(refused),
    )


def _apart(leases: list[FoundLease]) -> tuple[list[FoundLease], list[RefusedLease]]:
    """Those that share no address; of those that do, the first of the files stays."""
    meeting = _meeting(leases)
    if not meeting:
        return leases, []
    taken = Taken()
    where: dict[int, str] = {}
    apart: list[FoundLease] = []
    refused: list[RefusedLease] = []
    for entry in leases:
        if id(entry) in meeting:
            other = taken.take(entry.lease)
            if other is not None:
                why = shared(entry.lease, other, where[id(other)])
                refused.append(RefusedLease(entry, why))
                continue
            where[id(entry.lease)] = entry.where
        apart.append(entry)
    return apart, refused


def _meeting(leases: list[FoundLease]) -> set[int]:
    """The `id` of each entry that has an address which another one has, too: mostly none."""
    found: set[int] = set()
    for family in _FAMILIES:
        spans = sorted(
            (to_int(entry.lease.address), entry.lease.last, at)
            for at, entry in enumerate(leases)
            if family_of(entry.lease.address) == family
        )
        widest = (0, -1, 0)  # of those before, the one that reaches furthest
        for span in spans:
            if span[0] <= widest[1]:
                found |= {id(leases[widest[2]]), id(leases[span[2]])}
            widest = max(widest, span, key=_reach)
    return found


def _reach(span: tuple[int, int, int]) -> int:
    return span[1]


def _pools_then(facts: Facts, objects: Iterable[PutPool | PutReservation]) -> list[Pool]:
    """The pools as they will be when the definitions are applied; a new one has the id 0."""
    pools = {pool.name: pool for pool in facts.pools()}
    for wanted in objects:
        if isinstance(wanted, PutPool):
            present = pools.get(wanted.name)
            pool_id = 0 if present is None else present.pool_id
            pools[wanted.name] = Pool(pool_id, *wanted, wanted.spec.effective())
    return list(pools.values())


def _covered(
    reservations: Iterable[PutReservation], leases: Iterable[FoundLease]
) -> list[FoundLease]:
    """The leases that one of the reservations would keep from their owners."""
    kept: dict[Family, RangeSet] = {family: RangeSet(family) for family in _FAMILIES}
    listed = list(reservations)
    for wanted in listed:
        kept[wanted.spec.ips.family] |= wanted.spec.ips
    return [
        entry for entry in leases
        if _has(kept[family_of(entry.lease.address)], entry)
        and any(_keeps(wanted, entry) for wanted in listed)
    ]  # fmt: skip


def _has(ips: RangeSet, entry: FoundLease) -> bool:
    lease = entry.lease
    return ips.overlaps(lease.span) if lease.is_block else to_int(lease.address) in ips


def _keeps(wanted: PutReservation, entry: FoundLease) -> bool:
    spec = wanted.spec
    return (
        spec.ips.family == family_of(entry.lease.address)
        and spec.owner != entry.lease.owner
        and _has(spec.ips, entry)
    )


def _lies_on(wanted: PutReservation, leases: Sequence[FoundLease]) -> bool:
    return any(_keeps(wanted, entry) for entry in leases)


def _aside(facts: Facts, found: Iterable[FoundAside], now_ms: int) -> Iterable[SetAside]:
    """What is to be set aside that is not yet, each for as long as is left of its time."""
    taken = {family: facts.quarantined(family) for family in _FAMILIES}
    for entry in found:
        for_s = entry.for_s
        if entry.until_ms is not None:
            for_s = min(-((now_ms - entry.until_ms) // 1_000), SECONDS_MAX)
            if for_s < 1:
                continue
        ips = _without_reported(facts, entry.ips - taken[entry.ips.family])
        if ips:
            taken[ips.family] |= ips
            checked_s = None if for_s is None else check_seconds(for_s, entry.where)
            yield SetAside(ips, entry.reason, checked_s)


def _without_reported(facts: Facts, ips: RangeSet) -> RangeSet:
    """Without the addresses that will be set aside already when their leases end."""
    reported = [
        (to_int(lease.address), lease.last)
        for pool in facts.pools() if pool.spec.family == ips.family and pool.effective.overlaps(ips)
        for lease in facts.leases_within(pool.pool_id, ips)
        if facts.conflict_on(lease.lease_id) is not None
    ]  # fmt: skip
    return ips - RangeSet(ips.family, reported) if reported else ips
