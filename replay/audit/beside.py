"""The state that decisions are made on, folded beside the audit and compared with it.

This is the only part of the audit that knows `projections`: what is compared, not what compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine import ranges as arithmetic
from engine.entry import Record
from engine.errors import IntegrityError
from engine.facts import Counts
from projections.digest import state_digest
from projections.state import LedgerState
from replay.audit.world import Pool, World


def _size(ranges: arithmetic.Ranges) -> int:
    return sum(high - low + 1 for low, high in ranges)


class FoldBeside:
    """A `LedgerState` that is given every commit, until it refuses one."""

    def __init__(self, world: World) -> None:
        self._state: LedgerState | None = LedgerState()
        self._world = world

    @property
    def digest(self) -> str | None:
        """The canonical digest, unless something could not be folded."""
        return None if self._state is None else state_digest(self._state)

    def apply_all(self, records: Sequence[Record], *, sound: bool) -> None:
        """Fold a commit. If it cannot be, that is a breach where the audit has found none."""
        if self._state is None:
            return
        try:
            self._state.apply_all(records)
        except IntegrityError as error:
            self._state = None
            if sound:
                at = error.position or records[-1].position
                self._world.breach("fold", at, f"it cannot be folded: {error.message}")

    def compare(self) -> None:
        """Hold what the state shows against what the audit has counted."""
        state, world = self._state, self._world
        if state is None:
            return
        position = world.position
        shown = [(p.pool_id, p.name, p.terminating) for p in state.pools()]
        mine = [(p.pool_id, p.event.name, p.terminating) for p in world.pools.values()]
        for what, theirs, ours in (
            ("pools", sorted(shown), sorted(mine)),
            ("leases", *_leases(state, world)),
            ("reservations", *_reservations(state, world)),
            ("quarantines", *_quarantines(state, world)),
        ):
            if theirs != ours:
                self._world.breach("counts", position, f"the {what} differ from those folded here")
                return
        for pool_id, counted in count(world).items():
            counts = state.counts(pool_id)
            if counts != counted or sum(counts[1:]) != counts.total:
                named = world.pools[pool_id].event.name
                says = f"pool {named} shows {_words(counts)}; counted are {_words(counted)}"
                world.breach("counts", position, says, world.pools[pool_id].position)


def _words(counts: Counts) -> str:
    return ", ".join(f"{name} {n}" for name, n in zip(counts._fields, counts, strict=True))


def _leases(state: LedgerState, world: World) -> tuple[object, object]:
    """Both sides' leases; they are compared one by one, so that no list of all is made."""
    number = 0
    for lease in state.leases():
        held = world.lease(lease.lease_id)
        number += 1
        theirs = (lease.pool_id, lease.address, lease.prefix_length, lease.owner, lease.interface,
                  lease.uid, lease.labels, lease.effective_at_ms, lease.expires_at_ms)  # fmt: skip
        ours = None if held is None else (
            held.pool_id, held.address, held.prefix_length, held.owner or "", held.interface,
            held.uid, held.labels, held.began_ms, held.expires_ms,
        )  # fmt: skip
        if theirs != ours:
            return theirs, ours
    return number, sum(1 for _ in world.leases())


def _reservations(state: LedgerState, world: World) -> tuple[object, object]:
    theirs = [(r.reservation_id, r.name, r.spec.owner, r.spec.ips.ranges, r.ends_at_ms)
              for r in state.reservations()]  # fmt: skip
    ours = [(r.reservation_id, r.name, r.owner, r.ips, r.ends_ms)
            for r in world.reservations.values()]  # fmt: skip
    return sorted(theirs), sorted(ours)


def _quarantines(state: LedgerState, world: World) -> tuple[object, object]:
    theirs = [(q.quarantine_id, q.ips.ranges, q.ends_at_ms) for q in state.quarantines()]
    ours = [(at, q.ips, q.ends_ms) for at, q in world.quarantines.items()]
    return sorted(theirs), sorted(ours)


def count(world: World) -> dict[int, Counts]:
    """The buckets of every pool, counted: each address is in the first that applies."""
    found: dict[int, Counts] = {}
    leased, leased_kept = _count_leased(world)
    cooling, cooling_kept = _count_cooling(world)
    for pool_id, pool in world.pools.items():
        aside = _aside_in(world, pool)
        kept = arithmetic.intersection(pool.effective, world.reserved(pool.width))
        total = _size(pool.effective)
        reserved = (
            _size(kept) - _size(arithmetic.intersection(kept, aside))
            - leased_kept.get(pool_id, 0) - cooling_kept.get(pool_id, 0)
        )  # fmt: skip
        buckets = (leased.get(pool_id, 0), _size(aside), cooling.get(pool_id, 0), reserved)
        found[pool_id] = Counts(total, *buckets, total - sum(buckets))
    return found


def _aside_in(world: World, pool: Pool) -> arithmetic.Ranges:
    return arithmetic.normalise(
        (first, last)
        for low, high in pool.effective
        for first, last, _ in world.aside[pool.width].within(low, high)
    )


def _count_leased(world: World) -> tuple[dict[int, int], dict[int, int]]:
    """By pool: the addresses that are held, and those of them that are reserved."""
    held: dict[int, int] = {}
    kept: dict[int, int] = {}
    for lease in world.leases():
        pool_id, width, whole = lease.pool_id, len(lease.address), lease.range
        held[pool_id] = held.get(pool_id, 0) + whole[1] - whole[0] + 1
        shared = arithmetic.size_between(world.reserved(width), *whole)
        if shared:
            kept[pool_id] = kept.get(pool_id, 0) + shared
    return held, kept


def _count_cooling(world: World) -> tuple[dict[int, int], dict[int, int]]:
    """By pool: the addresses that rest and are not set aside, and those of them reserved."""
    resting: dict[int, int] = {}
    kept: dict[int, int] = {}
    for low, high, until_ms, width in _all_resting(world):
        if until_ms <= world.ms:
            continue
        for first, last, pool_id in world.given_out[width].within(low, high):
            aside = [(start, end) for start, end, _ in world.aside[width].within(first, last)]
            for start, end in arithmetic.difference(((first, last),), tuple(aside)):
                resting[pool_id] = resting.get(pool_id, 0) + end - start + 1
                shared = arithmetic.size_between(world.reserved(width), start, end)
                if shared:
                    kept[pool_id] = kept.get(pool_id, 0) + shared
    return resting, kept


def _all_resting(world: World) -> Iterator[tuple[int, int, int, int]]:
    """Everything that rests: first, last, until when, and of which family."""
    for address, until_ms in world.rests_until_ms.items():
        value = int.from_bytes(address)
        yield value, value, until_ms, len(address)
    yield from world.blocks.all_resting()
