"""Many processes on one space: one winner, no duplicates, nobody starved."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import ipledger
from tests.faults import workers


@pytest.fixture
def prepared(redis_url: str, space: str) -> Iterator[tuple[str, str]]:
    """A space that exists, on each kind of server; its high-water marks go afterwards."""
    states = workers._states(space)
    with ipledger.connect(redis_url, space, state_dir=states) as ledger:
        ledger.create_space()
    yield redis_url, space
    shutil.rmtree(states)


def _positions_are_gapless(url: str, space: str) -> ipledger.Ledger:
    """A fresh reader folds everything: it stops at any hole, double grant or damaged entry."""
    with tempfile.TemporaryDirectory() as states:
        ledger = ipledger.connect(url, space, state_dir=Path(states))
        assert ledger.position == ledger.writer.stream.head().length
        return ledger


def test_of_a_hundred_overlapping_pools_exactly_one_is_created(
    prepared: tuple[str, str],
) -> None:
    """I00009, I00010: one wins; the others get `conflict` naming it."""
    said = workers.run_all(workers.create_pool, [(*prepared, number) for number in range(100)])

    winners = [one for one in said if one.kind is None]
    assert len(winners) == 1
    for other in said:
        if other is not winners[0]:
            assert other.kind == "conflict"
            assert winners[0].owner in other.message
    ledger = _positions_are_gapless(*prepared)
    assert [pool.name for pool in ledger.state.pools()] == [winners[0].owner]


def test_128_callers_share_a_pool_of_1000_exactly(prepared: tuple[str, str]) -> None:
    """Exactly 1,000 leases, all distinct; everybody else is told `exhausted`, and nothing else."""
    url, space = prepared
    with ipledger.connect(url, space, state_dir=workers._states(space)) as ledger:
        ledger.apply(
            ipledger.pool("p", subnet="10.0.0.0/16", ips=["10.0.0.1-10.0.3.232"]),
        )

    said = [
        one
        for several in workers.run_all(
            workers.allocate_from_threads, [(*prepared, process, 32, 9) for process in range(4)]
        )
        for one in several
    ]

    assert len(said) == 4 * 32 * 9
    assert Counter(one.kind for one in said) == {None: 1_000, "exhausted": 152}
    assert len({one.address for one in said if one.kind is None}) == 1_000
    ledger = _positions_are_gapless(*prepared)
    assert ledger.state.counts(2).free == 0
    held = {lease.text: lease.owner for lease in ledger.state.leases()}
    assert held == {one.address: one.owner for one in said if one.kind is None}


def test_a_far_writer_is_not_starved_by_a_busy_near_one(prepared: tuple[str, str]) -> None:
    """Behind 20 ms, beside a writer that never rests, 90 % of its proposals succeed."""
    url, space = prepared
    with ipledger.connect(url, space, state_dir=workers._states(space)) as ledger:
        ledger.apply(ipledger.pool("p", subnet="10.0.0.0/8", ips=["10.0.0.1-10.99.0.0"]))
    barrier = workers.CONTEXT.Barrier(2)
    results = [workers.CONTEXT.SimpleQueue() for _ in range(2)]
    far = workers.CONTEXT.Process(
        target=workers.allocate_from_afar, args=(barrier, results[0], url, space, 100)
    )
    near = workers.CONTEXT.Process(
        target=workers.allocate_nearby, args=(barrier, results[1], url, space, 3.0)
    )
    far.start()
    near.start()
    far_said, committed, refused = results[0].get()
    near_said, _, _ = results[1].get()
    far.join(60)
    near.join(60)

    assert all(one.kind is None for one in (*far_said, *near_said))
    assert committed == 100
    assert committed / (committed + refused) >= 0.9, f"{refused} proposals were refused"
    assert len(near_said) > 200, "the near writer was not busy: the test proves nothing"
    _positions_are_gapless(url, space)
