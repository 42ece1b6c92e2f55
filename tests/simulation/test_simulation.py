"""The simulated history: a seed makes it, it has a bit of everything, and its facts are so."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

import pytest

from engine import events as ev
from engine.addresses import parse_address
from engine.wire import decode_entry
from replay.rebuild import rebuild
from tests.simulation.oracle import Fact, Oracle
from tests.simulation.world import CLUSTERS, Simulation, simulated

EVENTS: Final = 8_000
ADDRESS: Final = parse_address("10.0.0.1")


def test_a_seed_makes_the_same_bytes() -> None:
    """And another seed makes others."""
    made = []
    for seed in (5, 5, 6):
        simulation = Simulation(seed)
        simulation.run(1_500)
        made.append(simulation.stream.entries)
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_a_bit_of_everything_happens() -> None:
    """Every kind of event, every ending, late news of both kinds, names used again."""
    world = simulated(EVENTS)
    records = [decode_entry(entry) for entry in world.stream.entries]
    kinds = {type(record.event) for record in records}
    assert kinds == {
        ev.SpaceCreated, ev.PoolCreated, ev.PoolUpdated, ev.PoolDeleted, ev.ReservationCreated,
        ev.ReservationUpdated, ev.ReservationDeleted, ev.LeaseGranted, ev.LeaseRenewed,
        ev.LeaseEnded, ev.ConflictReported, ev.Quarantined, ev.QuarantineEnded,
    }  # fmt: skip
    facts = world.facts
    assert {fact.ended_by for fact in facts} == {
        None, "released", "expired", "superseded", "revoked"
    }  # fmt: skip
    assert {fact.cluster for fact in facts} == set(CLUSTERS)
    assert sum(fact.effective_from_ms < fact.granted_ms for fact in facts) > 50
    assert sum((fact.effective_to_ms or 0) < (fact.ended_ms or 0) for fact in facts) > 50
    uids = Counter(fact.owner for fact in facts)
    assert max(uids.values()) > 5, "names are used again"
    names = Counter(r.event.name for r in records if isinstance(r.event, ev.PoolCreated))
    assert names["volatile"] > 1, "and so are those of pools"
    written = {r.sealed.actor for r in records if isinstance(r.event, ev.LeaseGranted)}
    assert written == {f"{cluster}-agent" for cluster in CLUSTERS}


def test_the_facts_are_what_a_replay_says() -> None:
    """At any moment, whoever the facts say holds an address then holds it in the state of then."""
    world = simulated(EVENTS)
    oracle = Oracle(world.facts)
    random = Random("moments")  # noqa: S311 - the same ones on every run
    times = sorted({entry.ms for entry in world.stream.entries})
    for at_ms in [*random.sample(times, 6), times[-1]]:
        state = rebuild(world.stream, to_ms=at_ms).state
        held = {lease.address: lease for lease in state.leases()}
        for address in oracle.addresses:
            fact, lease = oracle.holder(address, at_ms, at_ms), held.get(address)
            assert (fact is None) == (lease is None), at_ms
            if fact is not None and lease is not None:
                assert (fact.lease, fact.owner, fact.uid, fact.interface, fact.labels) == (
                    lease.lease_id, lease.owner, lease.uid, lease.interface, lease.labels
                )  # fmt: skip
                assert fact.effective_from_ms == lease.effective_at_ms
                pool = state.pool_of(lease.pool_id)
                assert pool is not None
                assert pool.name == fact.pool


def _fact(lease: int, granted_ms: int, effective_ms: int, *ended: int) -> Fact:
    recorded_ms, effective_to_ms = ended or (None, None)
    return Fact(
        lease, ADDRESS, "p", f"o{lease}", "eth0", "u", (), "c1", granted_ms, effective_ms,
        recorded_ms, effective_to_ms, "released" if ended else None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at_ms", "known_at_ms", "lease"),
    [
        (10, 99, 1), (9, 99, None), (19, 99, 1), (20, 99, None), (24, 99, None), (25, 99, 2),
        (98, 99, 2),
        # The end at 20 was recorded at 30, and the grant as of 25 at 40.
        (20, 29, 1), (20, 30, None), (25, 29, 1), (25, 30, None), (25, 39, None), (25, 40, 2),
        (10, 9, None),
    ],
)  # fmt: skip
def test_the_oracle_knows_two_times(at_ms: int, known_at_ms: int, lease: int | None) -> None:
    """When it was so, and since when that is known."""
    oracle = Oracle([_fact(1, 10, 10, 30, 20), _fact(2, 40, 25)])
    found = oracle.holder(ADDRESS, at_ms, known_at_ms)
    assert (None if found is None else found.lease) == lease
