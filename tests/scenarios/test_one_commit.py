"""What one command must not do to itself: each of these once wrote what no reader could fold."""

from __future__ import annotations

from typing import Final

import pytest

from engine.addresses import RangeSet
from engine.commands import AllocateTogether, Command, SetAside
from engine.errors import Refusal
from engine.events import LeaseGranted
from tests.builders import (
    TestLedger,
    make_allocate,
    make_pool,
    make_release,
    make_reservation,
)
from tests.invariants import check_stream


@pytest.fixture
def bound() -> TestLedger:
    """A pool of four whose second address is kept for pod-1, and rests after a release."""
    ledger = TestLedger()
    ledger.apply(make_pool(ips=["10.0.0.1-10.0.0.4"], cooldown_s=60))
    ledger.apply(make_reservation("static", "10.0.0.2", owner="pod-1"))
    return ledger


def test_an_owners_own_address_is_not_granted_while_it_is_quarantined(bound: TestLedger) -> None:
    """It gets another one meanwhile, and its own again when somebody else is off it."""
    bound.done(SetAside(RangeSet.parse(["10.0.0.2"]), "something answers", for_s=5))
    assert bound.take() == ["10.0.0.1"]
    check_stream(bound.stream, bound.digest())


def test_an_owners_own_address_is_not_granted_while_it_rests(bound: TestLedger) -> None:
    """It gets another one meanwhile, and its own again afterwards."""
    assert bound.take() == ["10.0.0.2"]
    bound.done(make_release(owner="pod-1"))
    assert bound.take() == ["10.0.0.1"]
    bound.done(make_release(owner="pod-1"))
    bound.clock.now_ms += 60_000
    assert bound.take() == ["10.0.0.2"]
    check_stream(bound.stream, bound.digest())


def test_an_owners_own_address_is_not_granted_for_a_time_when_it_was_held() -> None:
    """A tenure never begins, in effect, before the one before it ended."""
    ledger = TestLedger()
    ledger.apply(make_pool(ips=["10.0.0.1-10.0.0.4"]))
    ledger.apply(make_reservation("static", "10.0.0.2", owner="pod-1"))
    began_ms = ledger.clock.now_ms
    ledger.take()
    ledger.clock.now_ms += 10_000
    ledger.done(make_release(owner="pod-1"))
    ledger.clock.now_ms += 10_000
    assert ledger.take(effective_at_ms=began_ms + 5_000) == ["10.0.0.1"]
    check_stream(ledger.stream, ledger.digest())


# With one address, past its time and held by pod-1 on eth0: both need a second one.
OVERDUE: Final[dict[str, Command]] = {
    "kept": make_allocate(uid="a", number=2),
    "superseded": make_allocate(uid="b", number=2),
    "kept, another interface": AllocateTogether(
        (make_allocate(uid="a"), make_allocate(uid="a", interface="eth1"))
    ),
    "superseded, another interface": AllocateTogether(
        (make_allocate(uid="b"), make_allocate(uid="b", interface="eth1"))
    ),
    "another interface first": AllocateTogether(
        (make_allocate(uid="a", interface="eth1"), make_allocate(uid="a"))
    ),
}


@pytest.mark.parametrize("command", OVERDUE.values(), ids=OVERDUE.keys())
def test_a_lease_past_its_time_is_kept_or_expired_but_not_both(command: Command) -> None:
    """Who asks for more is not answered with the address that it holds already."""
    ledger = TestLedger()
    ledger.apply(make_pool(ips=["10.0.0.1"]))
    ledger.take(uid="a", ttl_s=1)
    ledger.clock.now_ms += 2_000
    assert ledger.refused(command).kind == "exhausted"
    ledger.apply(make_pool(ips=["10.0.0.1-10.0.0.2"]))
    ledger.done(command)
    assert {lease.text for lease in ledger.state.leases()} == {"10.0.0.1", "10.0.0.2"}
    check_stream(ledger.stream, ledger.digest())


def test_what_one_caller_keeps_is_not_kept_from_the_others_of_its_batch() -> None:
    """An answer that writes nothing leaves no trace in the batch."""
    ledger = TestLedger()
    ledger.apply(make_pool(ips=["10.0.0.1"]))
    ledger.take(owner="slow", ttl_s=1)
    ledger.clock.now_ms += 2_000
    calls = [ledger.call(make_allocate(owner=owner)) for owner in ("slow", "other")]
    batch = ledger.plan(*calls)
    assert [member.call for member in batch.members] == calls[1:]
    assert ledger.append(batch) == ()
    assert isinstance(calls[0].outcome, Refusal), "its time was over, and somebody needed it"
    assert calls[0].outcome.kind == "exhausted"
    events = [type(record.event) for record in check_stream(ledger.stream, ledger.digest())]
    assert events.count(LeaseGranted) == 2


def test_two_interfaces_do_not_get_one_address() -> None:
    """Neither by asking for the same one, nor by asking for one that the other has chosen."""
    ledger = TestLedger()
    ledger.apply(make_pool(ips=["10.0.0.1-10.0.0.4"]))
    asked = make_allocate(ips=["10.0.0.1"])
    for first in (asked, make_allocate()):
        both = AllocateTogether((first, asked._replace(interface="eth1")))
        assert ledger.refused(both).kind == "conflict"
    ledger.done(AllocateTogether((asked, make_allocate(interface="eth1"))))
    check_stream(ledger.stream, ledger.digest())


def test_two_callers_of_a_batch_may_ask_for_one_address() -> None:
    """The second one is told who has it, once that is so."""
    ledger = TestLedger()
    ledger.apply(make_pool(ips=["10.0.0.1-10.0.0.4"]))
    calls = [ledger.call(make_allocate(owner=owner, ips=["10.0.0.1"])) for owner in ("a", "b")]
    again = ledger.append(ledger.plan(*calls))
    while again:
        again = ledger.append(ledger.plan(*again))
    refusal = calls[1].outcome
    assert isinstance(refusal, Refusal)
    assert "leased to a" in refusal.message
    check_stream(ledger.stream, ledger.digest())


def test_what_one_interface_holds_is_held_when_the_other_is_granted() -> None:
    """An answer never includes a lease that another writer has ended meanwhile."""
    ledger = TestLedger(seed=1)
    ledger.apply(make_pool(ips=["10.0.0.1-10.0.0.4"]))
    ledger.take(interface="eth1")
    late = TestLedger(seed=2, beside=ledger)
    (renewed,) = ledger.grant(interface="eth1", uid="new")
    both = AllocateTogether((make_allocate(), make_allocate(interface="eth1")))
    (record,) = late.done(both).records
    assert isinstance(record.event, LeaseGranted)
    assert record.event.beside == (renewed.lease_id,)
    check_stream(late.stream, late.digest())
