"""What changed between two moments is what two whole replays would show."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any, Final

import pytest

from engine.addresses import RangeSet
from engine.commands import Apply, Command, PutBack, Renew, SetAside
from engine.errors import InvalidInput
from engine.wire import decode_entry
from projections.state import LedgerState
from replay.changes import Difference, HeldLease, difference
from replay.moments import last_moment, moment_at
from replay.rebuild import rebuild
from tests.builders import (
    TestLedger,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)
from tests.simulation.world import simulated

EVENTS: Final = 6_000


def _everything(state: LedgerState) -> dict[str, dict[int, Any]]:
    """Every object of a state, by kind and id."""
    names = {pool.pool_id: pool.name for pool in state.pools()}
    return {
        "pools": {pool.pool_id: pool for pool in state.pools()},
        "reservations": {held.reservation_id: held for held in state.reservations()},
        "leases": {
            lease.lease_id: HeldLease(
                lease,
                names[lease.pool_id],
                state.conflict_on(lease.lease_id),
                state.absence_of(lease.lease_id),
            )
            for lease in state.leases()
        },
        "quarantines": {aside.quarantine_id: aside for aside in state.quarantines()},
    }


def _naive(before: LedgerState, after: LedgerState) -> dict[str, list[tuple[int, Any, Any]]]:
    was, now = _everything(before), _everything(after)
    return {
        kind: [
            (key, was[kind].get(key), now[kind].get(key))
            for key in sorted(was[kind].keys() | now[kind].keys())
            if was[kind].get(key) != now[kind].get(key)
        ]
        for kind in was
    }


def _of(found: Difference) -> dict[str, list[tuple[int, Any, Any]]]:
    kinds: Iterable[str] = ("pools", "reservations", "leases", "quarantines")
    return {kind: [tuple(change) for change in getattr(found, kind)] for kind in kinds}


@pytest.mark.parametrize("seed", range(8))
def test_a_difference_is_that_of_two_replays(seed: int) -> None:
    """Between any two commit ends of a long history: every object, before and after."""
    stream = simulated(EVENTS).stream
    random = Random(f"difference {seed}")  # noqa: S311 - the seed is the test's parameter
    ends = [0, *(e.position for e in stream.entries if decode_entry(e).commit.ends_here)]
    begin, end = sorted(random.sample(ends, 2))
    found = difference(stream, moment_at(stream, begin), moment_at(stream, end))
    before = rebuild(stream, to_position=begin).state
    after = rebuild(stream, to_position=end).state
    assert _of(found) == _naive(before, after)
    assert found.events == end - begin
    gone = [c.id for c in found.leases if c.after is None]
    assert sorted(found.endings) == gone
    granted = sum(before.position < f.lease <= after.position for f in simulated(EVENTS).facts)
    assert found.passing == granted - sum(c.before is None for c in found.leases)


_CHANGES: Final[dict[str, tuple[Command, str]]] = {
    "pool updated": (Apply((make_pool(disabled=True),)), "pools"),
    "pool deleted": (make_delete("idle"), "pools"),
    "pool terminating": (make_delete("pool"), "pools"),
    "reservation created": (Apply((make_reservation("new", "10.0.0.50"),)), "reservations"),
    "reservation updated": (Apply((make_reservation("kept", "10.0.0.90"),)), "reservations"),
    "reservation deleted": (make_delete(reservations=["kept"]), "reservations"),
    "lease granted": (make_allocate(owner="new"), "leases"),
    "lease renewed": (Renew(6, 7_200), "leases"),
    "lease ended": (make_release(7), "leases"),
    "conflict reported": (SetAside(RangeSet.parse(["10.0.0.1"]), "arp"), "leases"),
    "set aside": (SetAside(RangeSet.parse(["10.0.0.70"]), "arp"), "quarantines"),
    "put back": (PutBack(RangeSet.parse(["10.0.0.80-10.0.0.81"])), "quarantines"),
    "put back in part": (PutBack(RangeSet.parse(["10.0.0.80"])), "quarantines"),
}


@pytest.mark.parametrize(("command", "kind"), _CHANGES.values(), ids=_CHANGES)
def test_every_kind_of_change_is_seen(command: Command, kind: str) -> None:
    """Of an object that was there at the first moment, or is at the second."""
    ledger = TestLedger()
    ledger.apply(
        make_pool(), make_pool("idle", "10.1.0.0/24"), make_reservation("kept", "10.0.0.9")
    )
    ledger.done(SetAside(RangeSet.parse(["10.0.0.80-10.0.0.81"]), "arp"))
    ledger.grant(owner="a", ttl_s=3_600)
    ledger.grant(owner="b")
    before = ledger.replayed()
    ledger.clock.now_ms += 1_000
    ledger.done(command)
    stream = ledger.stream
    found = difference(stream, moment_at(stream, before.position), last_moment(stream))
    assert _of(found) == _naive(before, ledger.state)
    assert [name for name, changes in _of(found).items() if changes] == [kind]


def test_a_terminating_pool_goes_with_its_last_lease() -> None:
    """The end of a lease changes its pool, too."""
    ledger = TestLedger()
    ledger.apply(make_pool())
    ledger.grant(owner="a")
    ledger.done(make_delete("pool"))
    before = ledger.replayed()
    ledger.done(make_release(owner="a"))
    stream = ledger.stream
    found = difference(stream, moment_at(stream, before.position), last_moment(stream))
    assert _of(found) == _naive(before, ledger.state)
    assert [change.after for change in found.pools] == [None]


def test_what_came_and_went_is_no_difference() -> None:
    """Nor is what was changed and changed back; a name made anew is another object."""
    ledger = TestLedger()
    ledger.apply(make_pool(), make_reservation("kept", "10.0.0.9"), make_pool("b", "10.1.0.0/24"))
    begin = ledger.state.position
    ledger.apply(make_pool(disabled=True))
    ledger.apply(make_pool())
    ledger.grant(owner="passing")
    ledger.done(make_release(owner="passing"))
    ledger.done(make_delete("b", reservations=["kept"]))
    ledger.apply(make_pool("b", "10.1.0.0/24"))
    end = ledger.state.position
    found = difference(
        ledger.stream, moment_at(ledger.stream, begin), moment_at(ledger.stream, end)
    )
    assert [(c.id, c.before is None, c.after is None) for c in found.pools] == [
        (4, False, True), (end, True, False)
    ]  # fmt: skip
    assert [(c.id, c.after) for c in found.reservations] == [(3, None)]
    assert found.leases == []
    assert (found.passing, found.endings) == (1, {})


def test_moments_the_wrong_way_round() -> None:
    """A difference has a direction, and it is the one of time."""
    ledger = TestLedger()
    ledger.apply(make_pool())
    early, late = moment_at(ledger.stream, 1), moment_at(ledger.stream, 2)
    with pytest.raises(InvalidInput, match="is after the second"):
        difference(ledger.stream, late, early)
    assert difference(ledger.stream, late, late).events == 0
