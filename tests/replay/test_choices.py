"""How the address of a lease was chosen: each way has its scenario, told from the stream alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest

from engine.commands import AllocateTogether
from engine.events import LeaseGranted
from engine.facts import Lease
from ipledger.writing import Done
from replay.choices import Choice, Grant, How, choices, find_grant
from tests.builders import (
    TestLedger,
    granted,
    make_allocate,
    make_pool,
    make_record,
    make_release,
    make_reservation,
)
from tests.leaks import undo


def make(**fields: Any) -> TestLedger:
    """A space with pools `a`, of four addresses, and `one`, of a single one."""
    ledger = TestLedger()
    ledger.apply(
        make_pool("a", ips=["10.0.0.1-10.0.0.4"], **fields),
        make_pool("one", "10.0.1.0/24", ips=["10.0.1.1"], **fields),
    )
    return ledger


def chosen(ledger: TestLedger, *leases: Lease) -> list[Choice]:
    """How the addresses of leases were chosen."""
    grants = [find_grant(ledger.stream, lease.lease_id) for lease in leases]
    found = choices(ledger.stream, [grant for grant in grants if grant is not None])
    return [found[lease.lease_id] for lease in leases]


class Scenario(NamedTuple):
    """What leads to a lease whose address was chosen so, and what is told of it."""

    happens: Callable[[], tuple[TestLedger, Lease]]
    told: str


def _superseded() -> tuple[TestLedger, Lease]:
    ledger = make()
    ledger.grant("a", owner="other")
    ledger.grant("a", uid="u1")
    ledger.done(make_release(owner="other"))
    return ledger, ledger.grant("a", uid="u2")[0]


def _asked_for() -> tuple[TestLedger, Lease]:
    ledger = make(ttl_s=60)
    return ledger, ledger.grant("a", ips=["10.0.0.1"], uid="u", labels=(("k", "v"),))[0]


def _own_reservation() -> tuple[TestLedger, Lease]:
    ledger = make()
    ledger.apply(make_reservation("r", "10.0.0.3", owner="pod-1"))
    return ledger, ledger.grant("a")[0]


def _overdue() -> tuple[TestLedger, Lease]:
    ledger = make()
    ledger.grant("one", owner="other", ttl_s=5)
    ledger.clock.now_ms += 5_000
    return ledger, ledger.grant("one")[0]


def _rested() -> tuple[TestLedger, Lease]:
    ledger = make(cooldown_s=10)
    ledger.grant("one", owner="other")
    ledger.done(make_release(owner="other"))
    ledger.clock.now_ms += 10_000
    return ledger, ledger.grant("one")[0]


def _lowest() -> tuple[TestLedger, Lease]:
    ledger = make()
    ledger.grant("a", owner="other")
    return ledger, ledger.grant("a")[0]


def _sticky() -> tuple[TestLedger, Lease]:
    ledger = make(policy="sticky")
    ledger.grant("a", owner="other")
    (lease,) = ledger.grant("a")
    ledger.done(make_release(lease.lease_id))
    ledger.done(make_release(owner="other"))
    return ledger, ledger.grant("a")[0]


def _random() -> tuple[TestLedger, Lease]:
    ledger = make(policy="random")
    ledger.grant("a", owner="other")
    return ledger, ledger.grant("a")[0]


def _longest_idle() -> tuple[TestLedger, Lease]:
    ledger = make(policy="least-recently-used")
    ledger.grant("a", owner="other")
    ledger.done(make_release(owner="other"))
    return ledger, ledger.grant("a")[0]


def _undone() -> tuple[TestLedger, Lease]:
    ledger = make(cooldown_s=60)
    (lease,) = ledger.grant("a")
    ledger.done(make_release(lease.lease_id))
    done = ledger.run(undo(ledger, lease.lease_id))
    assert isinstance(done, Done)
    return ledger, granted(done)[0]


def _best_fit() -> tuple[TestLedger, Lease]:
    ledger = TestLedger()
    ledger.apply(make_pool("a"))
    ledger.grant("a", ips=["10.0.0.20"])
    return ledger, ledger.grant("a", prefix_length=31, owner="other")[0]


def _not_first() -> tuple[TestLedger, Lease]:
    # Which pools were named beside it is not known, so the request cannot be put together.
    ledger = make()
    return ledger, ledger.grant("one,a", ips=["10.0.0.3"])[0]


SCENARIOS: Final[dict[How, Scenario]] = {
    How.SUPERSEDED: Scenario(_superseded, "earlier incarnation (lease 5)"),
    How.ASKED_FOR: Scenario(_asked_for, "asked for by address"),
    How.OWN_RESERVATION: Scenario(_own_reservation, "reservation r"),
    How.OVERDUE: Scenario(_overdue, "lease 4 on it was past its time"),
    How.RESTED_LONGEST: Scenario(_rested, "the longest idle"),
    How.LOWEST_FREE: Scenario(_lowest, "the lowest free address of pool a"),
    How.UNDONE: Scenario(_undone, "the end of lease 4 was undone"),
    How.BEST_FIT: Scenario(_best_fit, "the smallest free blocks"),
    How.STICKY: Scenario(_sticky, "what the owner held last (lease 5)"),
    How.RANDOM: Scenario(_random, "draws it again on that state"),
    How.LONGEST_IDLE: Scenario(_longest_idle, "the longest idle of pool a"),
    How.NOT_FIRST: Scenario(_not_first, "free, not the first"),
}
# What no command of this release writes is told of an event made by hand.
BY_HAND: Final = {How.IMPORTED}


@pytest.mark.parametrize("how", list(SCENARIOS), ids=lambda how: how.value)
def test_how_an_address_was_chosen(how: How) -> None:
    """Told from the state that was decided on, whatever has happened since."""
    ledger, lease = SCENARIOS[how].happens()
    ledger.clock.now_ms += 60_000
    ledger.grant("a", owner="late", number=2)
    (choice,) = chosen(ledger, lease)
    assert choice.how is how
    assert SCENARIOS[how].told in choice.text
    assert 0 < choice.decided_at < lease.lease_id


def test_every_way_has_its_scenario() -> None:
    """None can be added without one."""
    assert SCENARIOS.keys() | BY_HAND == set(How)


def test_what_was_imported_says_from_where() -> None:
    """The event says so itself: no state is asked."""
    event = LeaseGranted(
        2, bytes((10, 0, 0, 1)), 32, "eth0", None, None, None, (), None, "kea"
    )  # fmt: skip
    record = make_record(7, event)
    found = choices(TestLedger().stream, [Grant(record, event)])
    assert found[7] == Choice(How.IMPORTED, "imported from kea", 0)


def test_several_at_once_are_each_the_lowest_then() -> None:
    """What one commit granted before, and what others were granted in the same round trip."""
    ledger = make()
    calls = [ledger.call(make_allocate("a", owner=f"pod-{n}", number=n)) for n in (1, 2)]
    assert ledger.step(calls)
    done = [call.outcome for call in calls if isinstance(call.outcome, Done)]
    leases = [lease for outcome in done for lease in granted(outcome)]
    assert [lease.text for lease in leases] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert {choice.how for choice in chosen(ledger, *leases)} == {How.LOWEST_FREE}


def test_blocks_of_one_commit_are_each_the_best_fit_then() -> None:
    """Beside what the commit granted before: other blocks, and single addresses around them."""
    ledger = TestLedger()
    ledger.apply(make_pool("a"))
    several = ledger.grant("a", prefix_length=31, number=2)
    block = make_allocate("a", owner="x", prefix_length=30)
    single = make_allocate("a", owner="x", number=4)._replace(interface="net1")
    done = ledger.run(AllocateTogether((block, single)))
    assert isinstance(done, Done)
    leases = (*several, *granted(done))
    assert [lease.text.removeprefix("10.0.0.") for lease in leases] == [
        "2/31", "252/31", "4/30", "1", "8", "9", "10",
    ]  # fmt: skip
    hows = [choice.how for choice in chosen(ledger, *leases)]
    assert hows == [How.BEST_FIT] * 3 + [How.LOWEST_FREE] * 4


def test_what_is_no_grant_is_none() -> None:
    """A position of something else, or beyond the end."""
    ledger = make()
    assert find_grant(ledger.stream, 2) is None
    assert find_grant(ledger.stream, 99) is None
