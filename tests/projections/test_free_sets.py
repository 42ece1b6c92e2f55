"""The free sets alone are those of the state, folded from events whose owners were not read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.entry import RawEntry
from engine.errors import ContradictoryEvent, DamagedEntry
from engine.reading import Continuity, read_commits
from engine.stream import Stream
from engine.wire import decode_event
from projections.free_sets import FreeSets
from projections.state import LedgerState
from tests.projections.test_pages import random_ledger


def folded(stream: Stream) -> FreeSets:
    """The free sets of a stream."""
    sets = FreeSets()
    for records in read_commits(stream, Continuity(decode=decode_event)):
        sets.apply_all(records)
    return sets


@pytest.mark.parametrize("seed", range(4))
def test_the_free_sets_are_those_of_the_state(seed: int) -> None:
    """Pools, buckets and free ranges, at several moments of a random history."""
    ledger = random_ledger(seed, 400)
    sets, state = FreeSets(), LedgerState()
    light = read_commits(ledger.stream, Continuity(decode=decode_event), entries_max=97)
    whole = read_commits(ledger.stream, Continuity(), entries_max=97)
    for events, records in zip(light, whole, strict=True):
        sets.apply_all(events)
        state.apply_all(records)
        assert (sets.position, sets.ms) == (state.position, state.ms)
        pools = {(pool.pool_id, pool.name, pool.terminating) for pool in state.pools()}
        assert {(pool.pool_id, pool.name, pool.terminating) for pool in sets.pools()} == pools
        for pool in state.pools():
            assert sets.counts(pool.pool_id) == state.counts(pool.pool_id)
            free = state.pool_table.free(pool.pool_id).free_ranges()
            assert list(sets.free_ranges(pool.pool_id)) == list(free)
    assert sets.digest() == folded(ledger.stream).digest()


def test_what_differs_has_another_digest() -> None:
    """One release more."""
    ledger = random_ledger(1, 100)
    before = folded(ledger.stream).digest()
    ledger.grant("v4", owner="one more")
    assert folded(ledger.stream).digest() != before


@pytest.mark.parametrize(
    "alter",
    [
        lambda raw: raw._replace(s=raw.s[:-1] + b"?"),
        lambda raw: raw._replace(e=raw.e[:-1] + b"?"),
        lambda raw: raw._replace(c=raw.c[:-1] + b"?"),
    ],
    ids=["sealed", "event", "commit"],
)
def test_an_altered_entry_stops_the_fold(alter: Callable[[RawEntry], RawEntry]) -> None:
    """What is not read is covered by the check value, too."""
    ledger = random_ledger(2, 50)
    ledger.stream.entries[20] = alter(ledger.stream.entries[20])
    with pytest.raises(DamagedEntry, match="position 21"):
        folded(ledger.stream)


def test_a_contradiction_stops_the_fold() -> None:
    """An address that is granted twice."""
    ledger = random_ledger(3, 50)
    sets = FreeSets()
    records = [decode_event(raw) for raw in ledger.stream.entries]
    sets.apply_all(records)
    lease = next(iter(ledger.state.leases()))
    with pytest.raises(ContradictoryEvent, match=f"position {lease.lease_id} "):
        sets.apply_all([records[lease.lease_id - 1]])
