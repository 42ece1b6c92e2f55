"""Undoing an end: the very address to the very owner, for as long as nobody else had it."""

from __future__ import annotations

from typing import Any

import pytest

from engine.commands import SetAside
from engine.errors import Refusal
from engine.events import LeaseGranted
from engine.facts import Lease
from ipledger.writing import Done, Held
from replay.audit import audit
from tests.builders import (
    TestLedger,
    granted,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)
from tests.leaks import undo

COOLDOWN_S = 600


def ended(**fields: Any) -> tuple[TestLedger, Lease]:
    """A lease that was released a second ago and whose address rests."""
    ledger = TestLedger()
    ledger.apply(make_pool(cooldown_s=COOLDOWN_S, ttl_s=3_600))
    (lease,) = ledger.grant(owner="a", uid="u1", cluster="c1", labels=(("k", "v"),), **fields)
    ledger.clock.now_ms += 1_000
    ledger.done(make_release(lease.lease_id))
    ledger.clock.now_ms += 1_000
    return ledger, lease


def refused(ledger: TestLedger, lease: Lease) -> Refusal:
    """Why the end of a lease cannot be undone; whatever was done is right."""
    why = ledger.refused(undo(ledger, lease.lease_id))
    assert not audit(ledger.stream).total
    return why


def test_the_very_address_to_the_very_owner() -> None:
    """While it rests: as it was granted, from when it ended on, and the audit agrees."""
    ledger, lease = ended()
    done = ledger.done(undo(ledger, lease.lease_id))
    (again,) = granted(done)
    assert again[1:9] == lease[1:9], "pool, address, owner, interface, uid, labels, cluster"
    assert (again.ttl_s, again.effective_at_ms) == (3_600, ledger.clock.now_ms - 1_000)
    (record,) = done.records
    assert isinstance(record.event, LeaseGranted)
    assert record.event.supersedes == lease.lease_id
    assert record.header.cause == lease.lease_id + 1
    assert record.sealed.reason == "undoes that lease 3 was released at position 4"
    assert ledger.counts().cooling == 0
    found = audit(ledger.stream)
    assert not found.total, found.breaches
    assert found.digest == ledger.digest()


def test_after_the_rest_while_nobody_has_it() -> None:
    """It is free then, and so it can be given back."""
    ledger, lease = ended()
    ledger.clock.now_ms += COOLDOWN_S * 1_000
    ledger.take(owner="b", ips=["10.0.0.7"])
    assert granted(ledger.done(undo(ledger, lease.lease_id)))[0].address == lease.address
    assert not audit(ledger.stream).total


def test_undone_twice_is_one_lease() -> None:
    """Whoever comes second is told which lease it is; two at once get one."""
    ledger, lease = ended()
    other = TestLedger(seed=1, beside=ledger)
    calls = [ledger.call(undo(ledger, lease.lease_id)), other.call(undo(other, lease.lease_id))]
    batches = [ledger.plan(calls[0]), other.plan(calls[1])]
    assert all(batch.members for batch in batches), "both are about to grant it"
    assert ledger.append(batches[0]) == ()
    assert other.append(batches[1]) == (calls[1],)
    assert other.step([calls[1]]) or other.step([calls[1]])
    first, second = calls[0].outcome, calls[1].outcome
    assert isinstance(first, Done)
    assert isinstance(second, Held)
    assert second.leases == granted(first)
    assert ledger.held(undo(ledger, lease.lease_id)) == granted(first)


def test_another_has_it_since() -> None:
    """It is told who; an undo that was decided before is refused then."""
    ledger, lease = ended()
    ledger.clock.now_ms += COOLDOWN_S * 1_000
    other = TestLedger(seed=1, beside=ledger)
    call = ledger.call(undo(ledger, lease.lease_id))
    batch = ledger.plan(call)
    (theirs,) = other.grant(owner="b", ips=["10.0.0.1"])
    assert ledger.append(batch) == (call,)
    assert ledger.step([call]) or ledger.step([call])
    assert isinstance(call.outcome, Refusal)
    why = refused(ledger, lease)
    assert why.kind == "conflict"
    assert f"was given to b on eth0 after lease {lease.lease_id}" in why.message
    assert f"lease {theirs.lease_id}" in why.message
    ledger.done(make_release(theirs.lease_id))
    assert f"given out again after lease {lease.lease_id}" in refused(ledger, lease).message


@pytest.mark.parametrize(
    ("meanwhile", "kind", "said"),
    [
        ("disabled", "forbidden", "is disabled"),
        ("gone", "not_found", "the pool of lease 3 is gone"),
        ("excluded", "forbidden", "does not have 10.0.0.1 any more"),
        ("reserved", "forbidden", "is reserved by kept"),
        ("quarantined", "forbidden", "is quarantined"),
    ],
)
def test_what_became_of_the_address_meanwhile(meanwhile: str, kind: str, said: str) -> None:
    """Whatever would keep it from everybody keeps it from its last owner."""
    ledger, lease = ended()
    if meanwhile == "disabled":
        ledger.apply(make_pool(cooldown_s=COOLDOWN_S, disabled=True))
    elif meanwhile == "gone":
        ledger.done(make_delete("pool"))
    elif meanwhile == "excluded":
        ledger.apply(make_pool(cooldown_s=COOLDOWN_S, exclude_ips=["10.0.0.1"]))
    elif meanwhile == "reserved":
        ledger.apply(make_reservation("kept", "10.0.0.1"))
    else:
        ips = make_reservation("x", "10.0.0.1").spec.ips
        ledger.done(SetAside(ips, "answers ARP"))
    why = refused(ledger, lease)
    assert why.kind == kind
    assert said in why.message


def test_reserved_for_the_owner_itself() -> None:
    """Its own reservation does not keep it away."""
    ledger, lease = ended()
    ledger.apply(make_reservation("kept", "10.0.0.1", owner="a"))
    ledger.done(undo(ledger, lease.lease_id))
    assert not audit(ledger.stream).total


def test_what_never_was_or_lasts() -> None:
    """Nothing to undo."""
    ledger, _ = ended()
    (active,) = ledger.grant(owner="b")
    assert refused(ledger, active).message == (
        f"lease {active.lease_id} has not ended: b holds {active.text}"
    )
    for never in (1, 2, 99):
        why = ledger.refused(undo(ledger, never))
        assert (why.kind, why.message) == ("not_found", f"lease {never} does not exist")


def test_what_was_superseded_stays_so() -> None:
    """Its owner lives on in another incarnation, which holds the address."""
    ledger = TestLedger()
    ledger.apply(make_pool(cooldown_s=COOLDOWN_S))
    (lease,) = ledger.grant(owner="a", uid="u1")
    (new,) = ledger.grant(owner="a", uid="u2")
    assert new.address == lease.address
    assert "was superseded" in refused(ledger, lease).message
    ledger.done(make_release(new.lease_id))
    assert "was superseded" in refused(ledger, lease).message
    ledger.done(undo(ledger, new.lease_id))


def test_an_old_space_is_left_as_it_is() -> None:
    """At level 1 no lease takes over from one that had ended before."""
    ledger, lease = ended()
    assert ledger.state.space is not None
    ledger.state.space = ledger.state.space._replace(level=1)
    assert "level 1" in ledger.refused(undo(ledger, lease.lease_id)).message


def test_others_in_the_batch_get_another_address() -> None:
    """A grant that would choose the address, in one batch with the undo."""
    ledger, lease = ended()
    ledger.clock.now_ms += COOLDOWN_S * 1_000
    ledger.take(owner="x", ips=["10.0.0.200"])  # and so what has rested is free
    calls = [ledger.call(undo(ledger, lease.lease_id)), ledger.call(make_allocate(owner="b"))]
    while not ledger.step([call for call in calls if call.outcome is None]):
        pass
    for call in calls:
        assert isinstance(call.outcome, Done)
    assert not audit(ledger.stream).total


@pytest.mark.parametrize("between", ["10.0.0.5", "10.0.0.4/31", None])
@pytest.mark.parametrize("still", [True, False])
def test_a_block_comes_back_whole_or_not_at_all(between: str | None, *, still: bool) -> None:
    """Not if somebody has, or had meanwhile, a part of it; and not as a part of another block."""
    ledger = TestLedger()
    ledger.apply(make_pool(cooldown_s=0))
    (block,) = ledger.grant(ips=["10.0.0.4"], prefix_length=30)
    ledger.done(make_release(block.lease_id))
    if between is not None:
        first, _, length = between.partition("/")
        (other,) = ledger.grant(ips=[first], owner="other", prefix_length=int(length or 32))
        if not still:
            ledger.done(make_release(other.lease_id))
        refusal = refused(ledger, block)
        assert refusal.kind == "conflict"
        assert f"10.0.0.4/30 was given {'to other' if still else 'out again'}" in refusal.message
        return
    done = ledger.run(undo(ledger, block.lease_id))
    assert isinstance(done, Done)
    (record,) = done.records
    assert isinstance(record.event, LeaseGranted)
    assert (bytes(block.address), 30) == record.event[1:3]
    assert not audit(ledger.stream).total
