"""What Spiderpool's unit tests say of records: allocated, found again, refreshed and released.

There a record is written back whole under a version, five times at most; here a commit is decided
again until the caller's time is over.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.addresses import Address
from ipledger.writing import Batch, Call, Done, Held
from tests.builders import (
    TestLedger,
    ended,
    granted,
    make_allocate,
    make_pool,
    make_release,
    text_of,
)
from tests.invariants import check_stream
from tests.scenarios.cluster import ips


@pytest.fixture
def ledger() -> Iterator[TestLedger]:
    """A space with a pool of 200; whatever a test has done, every invariant held."""
    ledger = TestLedger()
    ledger.apply(make_pool(ips=ips(1, 200)))
    yield ledger
    check_stream(ledger.stream, ledger.digest())


def carry(writer: TestLedger, call: Call) -> None:
    """Carry a call until it is answered."""
    again: tuple[Call, ...] = (call,)
    while again:
        again = writer.append(writer.plan(*again))


def proposed_by(batch: Batch) -> str:
    """The address that the one member of a batch would be granted."""
    ((entry,),) = (proposal.entries for proposal in batch.proposals)
    (tag,) = (tag for tag in entry.t.decode().split() if tag[0] == "4")
    return text_of(Address(bytes.fromhex(tag[1:])))


def test_a_pool_that_is_not_there(ledger: TestLedger) -> None:
    """Allocating from one is `not_found`, as is releasing what never was."""
    assert ledger.refused(make_allocate("pool-2")).kind == "not_found"
    assert ledger.refused(make_release(999)).kind == "not_found"


def test_a_writer_that_is_always_beaten_is_answered_all_the_same(ledger: TestLedger) -> None:
    """There it is over after five conflicts; here fifty are not even told, and nothing is lost."""
    late = TestLedger(seed=1, beside=ledger)
    call = late.call(make_allocate(owner="late"))
    again: tuple[Call, ...] = (call,)
    for n in range(50):
        batch = late.plan(*again)
        ledger.grant(owner=f"near-{n}", ips=[proposed_by(batch)])
        again = late.append(batch)
        assert again == (call,), "beaten, and carried again"
    carry(late, call)
    assert isinstance(call.outcome, Done)
    ledger.refresh()
    assert ledger.counts().leased == 51


def test_a_release_that_is_always_beaten_is_answered_all_the_same(ledger: TestLedger) -> None:
    """A lease that others renew again and again is released in the end, once."""
    late = TestLedger(seed=1, beside=ledger)
    ledger.grant(uid="0")
    late.refresh()
    call = late.call(make_release(owner="pod-1"))
    again: tuple[Call, ...] = (call,)
    for n in range(1, 50):
        batch = late.plan(*again)
        ledger.grant(uid=str(n))
        again = late.append(batch)
        assert again == (call,), "beaten, and carried again"
    carry(late, call)
    ledger.refresh()
    assert ledger.counts().leased == 0


def test_a_record_of_before_is_found_again(ledger: TestLedger) -> None:
    """The same incarnation asks again, from any writer: the same address, nothing is written."""
    (lease,) = ledger.grant(uid="u")
    other = TestLedger(seed=1, beside=ledger)
    for writer in (ledger, other):
        before = ledger.stream.head()
        assert writer.held(make_allocate(uid="u")) == (lease,)
        assert ledger.stream.head() == before


def test_a_record_of_another_incarnation_is_not_released(ledger: TestLedger) -> None:
    """Who names a lease that was superseded frees nothing, and it is no error."""
    (old,) = ledger.grant(uid="old")
    (new,) = ledger.grant(uid="new")
    assert ledger.held(make_release(old.lease_id)) == ()
    assert list(ledger.state.leases()) == [new]


def test_a_record_is_refreshed(ledger: TestLedger) -> None:
    """A pod of the same name asks under a new uid: its record has the new one, at its address."""
    (old,) = ledger.grant(uid="old")
    (new,) = ledger.grant(uid="new")
    assert (new.address, new.uid) == (old.address, "new")
    assert ledger.counts().leased == 1


def test_a_record_of_somebody_else_is_not_refreshed(ledger: TestLedger) -> None:
    """There "data broken"; here a conflict that names the holder, who keeps the address."""
    (lease,) = ledger.grant(uid="u")
    refusal = ledger.refused(make_allocate(owner="pod-2", uid="v", ips=[lease.text]))
    assert refusal.kind == "conflict"
    assert "pod-1" in refusal.message
    assert list(ledger.state.leases()) == [lease]


def test_a_record_that_is_missing_is_made_anew(ledger: TestLedger) -> None:
    """There it is refreshed in silence and stays unrecorded, so that another pod is given it.

    Here the address that a pod believes to have is recorded for it again, or somebody else has it
    and it gets another: never both.
    """
    (lease,) = ledger.grant(uid="old")
    ledger.done(make_release(lease.lease_id))  # collected, though the pod lives
    assert ledger.take(uid="new") == [lease.text]
    assert ledger.take(owner="pod-2") != [lease.text]
    ledger.done(make_release(owner="pod-1"))
    ledger.grant(owner="pod-3", ips=[lease.text])
    assert ledger.take(uid="newer") != [lease.text]


def test_two_incarnations_at_once(ledger: TestLedger) -> None:
    """Two writers ask for two incarnations of one pod: one lease stands, the later one's."""
    late = TestLedger(seed=1, beside=ledger)
    call = late.call(make_allocate(uid="b"))
    batch = late.plan(call)
    (first,) = ledger.grant(uid="a")
    assert late.append(batch) == (call,)
    carry(late, call)
    assert isinstance(call.outcome, Done)
    assert ended(call.outcome) == (first.lease_id,)
    (second,) = granted(call.outcome)
    assert (second.text, second.uid) == (first.text, "b")
    ledger.refresh()
    assert list(ledger.state.leases()) == [second]


def test_two_interfaces_from_one_pool(ledger: TestLedger) -> None:
    """There both silently get the same address; here each has its own."""
    assert ledger.take(interface="eth0") != ledger.take(interface="eth1")
    assert ledger.counts().leased == 2


def test_a_release_and_a_new_incarnation_at_once(ledger: TestLedger) -> None:
    """A late release of the old incarnation never ends the lease of the new one."""
    (old,) = ledger.grant(uid="old")
    late = TestLedger(seed=1, beside=ledger)
    call = late.call(make_release(old.lease_id))
    batch = late.plan(call)
    (new,) = ledger.grant(uid="new")
    assert late.append(batch) == (call,)
    carry(late, call)
    assert isinstance(call.outcome, Held)
    ledger.refresh()
    assert list(ledger.state.leases()) == [new]
