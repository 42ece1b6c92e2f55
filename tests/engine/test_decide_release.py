"""Giving addresses back: by lease, by owner, by address; late, twice, and by the wrong one."""

from __future__ import annotations

import pytest

from engine import tags
from engine.commands import Release
from engine.draft import Draft
from engine.endings import ENDS_MAX
from engine.entry import COMMIT_EVENTS_MAX
from engine.events import LeaseEnded
from engine.facts import Counts, Lease
from engine.model import ENDINGS
from ipledger.writing import Held
from tests.builders import (
    TestLedger,
    address,
    ended,
    granted,
    make_allocate,
    make_pool,
    make_release,
    make_reservation,
)


@pytest.fixture
def ledger() -> TestLedger:
    """A space with a pool `a` of eight addresses."""
    ledger = TestLedger()
    ledger.apply(make_pool("a", ips=["10.0.0.1-10.0.0.8"]))
    return ledger


def test_by_lease(ledger: TestLedger) -> None:
    """Several at once, each once, in order of their ids; the addresses are free again."""
    one, two = ledger.grant("a", number=2)
    done = ledger.done(make_release(two.lease_id, one.lease_id, two.lease_id))
    assert ended(done) == (one.lease_id, two.lease_id)
    assert [record.header.cause for record in done.records] == [one.lease_id, two.lease_id]
    assert ledger.counts("a") == Counts(8, 0, 0, 0, 0, 8)


def test_the_end_repeats_what_the_lease_was(ledger: TestLedger) -> None:
    """A reader that keeps no state can tell whose address was given back, and how."""
    (lease,) = ledger.grant("a", owner="x", uid="u", labels=(("k", "v"),), interface="net1")
    (record,) = ledger.done(make_release(lease.lease_id)).records
    assert record.event == LeaseEnded(
        lease.lease_id, lease.pool_id, lease.address, 32, "net1", ENDINGS.index("released")
    )
    sealed = record.sealed
    assert (sealed.owner, sealed.uid, sealed.labels) == ("x", "u", (("k", "v"),))


def test_by_owner(ledger: TestLedger) -> None:
    """All of an owner's leases on all interfaces, and nobody else's."""
    one, two = ledger.grant("a", number=2)
    (three,) = ledger.grant("a", interface="net1")
    (other,) = ledger.grant("a", owner="pod-10")
    done = ledger.done(make_release(owner="pod-1"))
    assert ended(done) == (one.lease_id, two.lease_id, three.lease_id)
    assert list(ledger.state.leases()) == [other]


def test_by_owner_and_interface(ledger: TestLedger) -> None:
    """One interface goes, the other stays."""
    (one,) = ledger.grant("a")
    (two,) = ledger.grant("a", interface="net1")
    assert ended(ledger.done(make_release(owner="pod-1", interface="net1"))) == (two.lease_id,)
    assert list(ledger.state.leases()) == [one]


def test_by_owner_and_label(ledger: TestLedger) -> None:
    """Only leases that have all the labels."""
    both = (("app", "web"), ("tier", "front"))
    (one,) = ledger.grant("a", labels=both)
    (two,) = ledger.grant("a", interface="net1", labels=(("app", "web"),))
    front = make_release(owner="pod-1", labels={"app": "web", "tier": "front"})
    assert ended(ledger.done(front)) == (one.lease_id,)
    assert ledger.held(make_release(owner="pod-1", labels={"app": "api"})) == ()
    assert ended(ledger.done(make_release(owner="pod-1", labels={"app": "web"}))) == (two.lease_id,)


def test_by_address_and_owner(ledger: TestLedger) -> None:
    """The one lease that both describe."""
    one, two = ledger.grant("a", number=2)
    assert ended(ledger.done(make_release(owner="pod-1", ip="10.0.0.2"))) == (two.lease_id,)
    assert list(ledger.state.leases()) == [one]


def test_by_address_interface_and_label(ledger: TestLedger) -> None:
    """Whatever is named beside the address must fit the lease too."""
    (lease,) = ledger.grant("a", labels=(("k", "v"),))
    refusal = ledger.refused(make_release(owner="pod-1", ip="10.0.0.1", interface="net1"))
    assert refusal.kind == "conflict"
    assert "eth0" in refusal.message
    assert ledger.held(make_release(owner="pod-1", ip="10.0.0.1", labels={"k": "w"})) == ()
    right = make_release(owner="pod-1", ip="10.0.0.1", interface="eth0", labels={"k": "v"})
    assert ended(ledger.done(right)) == (lease.lease_id,)


def test_an_address_alone_is_not_enough(ledger: TestLedger) -> None:
    """It may be another's by now, so its owner has to be named."""
    ledger.grant("a")
    refusal = ledger.refused(make_release(ip="10.0.0.1"))
    assert (refusal.kind, refusal.about) == ("invalid", "owner")


def test_a_stale_release_frees_nothing_and_names_the_holder(ledger: TestLedger) -> None:
    """By address and owner: if it is another's now, that one keeps it and is named."""
    ledger.grant("a", owner="old")
    ledger.done(make_release(owner="old"))
    (new,) = ledger.grant("a", owner="new")
    refusal = ledger.refused(make_release(owner="old", ip="10.0.0.1"))
    assert (refusal.kind, refusal.position) == ("conflict", new.lease_id)
    assert "new" in refusal.message
    assert f"lease {new.lease_id}" in refusal.message
    assert ledger.state.lease(new.lease_id) == new


@pytest.mark.parametrize(
    "again",
    [
        lambda lease: make_release(lease.lease_id),
        lambda _lease: make_release(owner="pod-1"),
        lambda _lease: make_release(owner="pod-1", ip="10.0.0.1"),
    ],
    ids=["lease", "owner", "address"],
)
def test_releasing_again_is_no_error(ledger: TestLedger, again: object) -> None:
    """However it is named, what has ended is not ended again and nothing is written."""
    assert callable(again)
    (lease,) = ledger.grant("a")
    ledger.done(make_release(lease.lease_id))
    assert ledger.held(again(lease)) == ()


def test_an_ended_lease_among_active_ones(ledger: TestLedger) -> None:
    """The active ones end, the ended one is passed over."""
    one, two = ledger.grant("a", number=2)
    ledger.done(make_release(one.lease_id))
    done = ledger.done(make_release(one.lease_id, two.lease_id))
    assert ended(done) == (two.lease_id,)


@pytest.mark.parametrize("lease_id", [1, 2, 4, 5, 10**9])
def test_a_lease_that_never_was_is_not_found(ledger: TestLedger, lease_id: int) -> None:
    """A position of another event, or none yet: named, and nothing of the list is released."""
    (lease,) = ledger.grant("a")
    ledger.apply(make_reservation("r", "10.0.0.8"))
    refusal = ledger.refused(make_release(lease.lease_id, lease_id))
    assert refusal.kind == "not_found"
    assert str(lease_id) in refusal.message


def test_naming_nothing_is_invalid(ledger: TestLedger) -> None:
    """No lease, no owner, no address, no label; an interface alone is nobody's."""
    for command in (Release(), Release(interface="eth0")):
        assert ledger.refused(command).kind == "invalid"


def test_labels_alone_select_among_all_leases(ledger: TestLedger) -> None:
    """Everything of a node that went away, whoever held it; what has other labels stays."""
    for owner, node in [("x", "n1"), ("y", "n1"), ("z", "n2")]:
        ledger.grant("a", owner=owner, labels=(("app", "w"), ("node", node)))
    assert len(ended(ledger.done(make_release(labels={"node": "n1"})))) == 2
    assert [lease.owner for lease in ledger.state.leases()] == ["z"]


def test_a_reserved_address_is_not_given_out_after_its_release(ledger: TestLedger) -> None:
    """Reserved while leased: the holder keeps it, and then it is reserved."""
    (lease,) = ledger.grant("a")
    ledger.apply(make_reservation("r", "10.0.0.1"))
    assert ledger.counts("a") == Counts(8, 1, 0, 0, 0, 7)
    ledger.done(make_release(lease.lease_id))
    assert ledger.counts("a") == Counts(8, 0, 0, 0, 1, 7)
    assert ledger.take("a", owner="pod-2") == ["10.0.0.2"]


def test_the_most_that_one_commit_may_end(ledger: TestLedger) -> None:
    """More leases than one commit ends take another one, under the next step of the command."""
    ledger.apply(make_pool("big", "10.8.0.0/16"))
    half = COMMIT_EVENTS_MAX // 2
    for interface in ("a", "b"):
        ledger.grant("big", owner="x", interface=interface, number=half)
    (extra,) = ledger.grant("big", owner="x", interface="c")
    first = ended(ledger.done(make_release(owner="x")))
    assert len(first) == ENDS_MAX
    assert ledger.state.lease(extra.lease_id) == extra
    rest = 2 * half + 1 - ENDS_MAX
    while rest:
        rest -= len(ended(ledger.done(make_release(owner="x"))))
    assert not len(ledger.state.lease_table)


def test_a_release_reads_and_writes_what_the_table_says(ledger: TestLedger) -> None:
    """Reads the leases; writes them, their addresses, their owners and their pool's leases."""
    leases = ledger.grant("a", number=2) + ledger.grant("a", interface="net1")
    command = make_release(owner="pod-1")
    decision = ledger.decide(command)
    assert isinstance(decision, Draft)
    assert set(decision.reads) == {tags.lease(lease.lease_id) for lease in leases}
    before = ledger.state.position
    ledger.done(command)
    assert ledger.written(before) == [written(lease) for lease in leases]


def written(lease: Lease) -> set[str]:
    """What the end of a lease writes, by the design's table."""
    return {
        tags.lease(lease.lease_id),
        tags.address(lease.address),
        tags.owner(lease.owner, lease.interface),
        tags.pool_leases(lease.pool_id),
    }


def test_a_lease_released_by_two_at_once_ends_once(ledger: TestLedger) -> None:
    """The second of two writers finds it ended, which is no error."""
    (lease,) = ledger.grant("a")
    late = TestLedger(seed=1, beside=ledger)
    call = late.call(make_release(lease.lease_id))
    planned = late.plan(call)
    ledger.done(make_release(lease.lease_id))
    granted_anew = granted(ledger.done(make_allocate("a", owner="next")))
    (again,) = late.append(planned)
    assert late.step([again])
    assert call.outcome == Held(()), "there is nothing left to do"
    assert late.state.lease_at(address("10.0.0.1")) == granted_anew[0]
