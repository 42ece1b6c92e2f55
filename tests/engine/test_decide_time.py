"""Time: renewing, sweeping, and what an allocation finds past its time when a pool is exhausted."""

from __future__ import annotations

from typing import Any

import pytest

from engine.addresses import RangeSet
from engine.commands import AllocateTogether, Renew, SetAside, Sweep
from engine.decide_time import SWEEP_ENDS_MAX
from engine.entry import Record
from engine.events import (
    Event,
    LeaseEnded,
    LeaseGranted,
    LeaseRenewed,
    QuarantineEnded,
    ReservationDeleted,
)
from engine.facts import Counts, Lease
from engine.model import ENDINGS
from ipledger.writing import Call, Done
from tests.builders import (
    START_MS,
    TestLedger,
    ended,
    granted,
    make_allocate,
    make_pool,
    make_release,
    make_reservation,
)


@pytest.fixture
def ledger() -> TestLedger:
    """A space with a pool `a` of three addresses whose leases last a minute."""
    ledger = TestLedger()
    ledger.apply(make_pool("a", ips=["10.0.0.1-10.0.0.3"], ttl_s=60))
    return ledger


def set_of(*entries: str) -> RangeSet:
    """Addresses from words."""
    return RangeSet.parse(entries, allow_cidr=True)


def wait(ledger: TestLedger, seconds: float) -> None:
    """Let the time of all writers and of the server go on."""
    ledger.clock.now_ms += int(seconds * 1_000)


def events(done: Done) -> list[type[Event]]:
    """What a commit consists of, in order."""
    return [type(record.event) for record in done.records]


def is_replayed(ledger: TestLedger) -> bool:
    """Whether folding the stream anew gives the same state, also what no digest tells."""
    replayed = ledger.replayed()
    fresh = TestLedger(seed=99, beside=ledger)
    same = all(
        replayed.counts(pool.pool_id) == ledger.state.counts(pool.pool_id)
        for pool in ledger.state.pools()
    )
    return same and fresh.digest() == ledger.digest()


def ends_ms(ledger: TestLedger, lease: Lease) -> int | None:
    """When an active lease may be expired."""
    found = ledger.state.lease(lease.lease_id)
    assert found is not None, "it is active"
    return found.expires_at_ms


def ahead(ledger: TestLedger, call: Call, by_ms: int) -> tuple[Call, ...]:
    """Carry a call once, by a writer whose clock is ahead of the server's; who must come again."""
    batch, answers = ledger.protocol.plan([call], ledger.clock.now_ms + by_ms)
    assert not answers
    return ledger.append(batch)


# ---------------------------------------------------------------------------------------- renewal


def test_a_renewal_counts_from_now(ledger: TestLedger) -> None:
    """The lease ends so much later than the renewal; nothing else about it changes."""
    (lease,) = ledger.grant("a", uid="u", labels=(("k", "v"),))
    wait(ledger, 50)
    (record,) = ledger.done(Renew(lease.lease_id, 90)).records
    assert isinstance(record.event, LeaseRenewed)
    expected = lease._replace(ttl_s=90, expires_at_ms=START_MS + 140_000, position=record.position)
    assert ledger.state.lease(lease.lease_id) == expected
    assert (record.sealed.owner, record.sealed.uid) == ("pod-1", "u")
    assert record.header.cause == lease.lease_id
    wait(ledger, 89.999)
    ledger.held(Sweep())
    wait(ledger, 0.001)
    assert ended(ledger.done(Sweep())) == (lease.lease_id,)
    assert is_replayed(ledger)


def test_without_a_ttl_it_lasts_as_long_as_before(ledger: TestLedger) -> None:
    """As it was granted, or as the last renewal said."""
    (lease,) = ledger.grant("a")
    wait(ledger, 10)
    ledger.done(Renew(lease.lease_id))
    assert ends_ms(ledger, lease) == START_MS + 70_000
    ledger.done(Renew(lease.lease_id, 600))
    wait(ledger, 10)
    ledger.done(Renew(lease.lease_id))
    assert ends_ms(ledger, lease) == START_MS + 620_000


def test_a_repeated_renewal_renews_once(ledger: TestLedger) -> None:
    """The same command id, later: the first answer, and the lease ends when that one said."""
    (lease,) = ledger.grant("a")
    first = ledger.done(Renew(lease.lease_id, 90), "heartbeat 1")
    wait(ledger, 30)
    again = ledger.done(Renew(lease.lease_id, 90), "heartbeat 1")
    assert again.repeated
    assert again.records == first.records
    assert ends_ms(ledger, lease) == START_MS + 90_000


def test_it_never_shortens_by_accident(ledger: TestLedger) -> None:
    """An earlier end is a conflict unless it is meant; the same end is none."""
    (lease,) = ledger.grant("a")
    wait(ledger, 20)
    refusal = ledger.refused(Renew(lease.lease_id, 39))
    assert (refusal.kind, refusal.about, refusal.position) == ("conflict", "ttl", lease.position)
    assert "40 s more" in refusal.message
    assert ends_ms(ledger, lease) == START_MS + 60_000
    ledger.done(Renew(lease.lease_id, 40))
    assert ends_ms(ledger, lease) == START_MS + 60_000
    ledger.done(Renew(lease.lease_id, 5, may_shorten=True))
    assert ends_ms(ledger, lease) == START_MS + 25_000
    wait(ledger, 5)
    assert ended(ledger.done(Sweep())) == (lease.lease_id,)
    assert is_replayed(ledger)


def test_what_has_no_end_needs_no_renewal() -> None:
    """An endless lease is just still held; giving it an end is shortening it."""
    ledger = TestLedger()
    ledger.apply(make_pool("a"))
    (lease,) = ledger.grant("a")
    assert ledger.held(Renew(lease.lease_id)) == (lease,)
    refusal = ledger.refused(Renew(lease.lease_id, 10**9))
    assert refusal.kind == "conflict"
    assert "until it is released" in refusal.message
    ledger.done(Renew(lease.lease_id, 10, may_shorten=True))
    assert ends_ms(ledger, lease) == START_MS + 10_000


def test_an_overdue_lease_can_be_renewed_until_its_end_stands(ledger: TestLedger) -> None:
    """Nobody has expired it yet, so its holder still has it; afterwards it is a conflict."""
    (lease,) = ledger.grant("a")
    wait(ledger, 3_600)
    ledger.done(Renew(lease.lease_id))
    ledger.held(Sweep())
    wait(ledger, 60)
    ledger.done(Sweep())
    refusal = ledger.refused(Renew(lease.lease_id))
    assert (refusal.kind, refusal.about) == ("conflict", "lease")
    assert "has ended" in refusal.message


@pytest.mark.parametrize("lease", [1, 2, 10**6])
def test_what_was_never_leased_is_not_found(ledger: TestLedger, lease: int) -> None:
    """Also the position of another event."""
    refusal = ledger.refused(Renew(lease))
    assert (refusal.kind, refusal.about) == ("not_found", "lease")


def test_a_renewal_and_an_expiry_at_once(ledger: TestLedger) -> None:
    """Of a holder and a sweeper who do not know of each other, the first one wins."""
    for first in ("holder", "sweeper"):
        (lease,) = ledger.grant("a", owner=first)
        wait(ledger, 61)
        other = TestLedger(seed=len(first), beside=ledger)
        renewal = other.call(Renew(lease.lease_id))
        sweeping = ledger.call(Sweep())
        late, early = other.plan(renewal), ledger.plan(sweeping)
        if first == "holder":
            assert other.append(late) == ()
            assert ledger.append(early) == (sweeping,)
            assert ledger.state.lease(lease.lease_id) is not None
            ledger.held(Sweep())
            ledger.done(make_release(lease.lease_id))
        else:
            assert ledger.append(early) == ()
            assert other.append(late) == (renewal,)
            assert other.refused(Renew(lease.lease_id)).kind == "conflict"


# ------------------------------------------------------------------------------------------ sweep


def test_nothing_is_due(ledger: TestLedger) -> None:
    """Before the very millisecond nothing is written; at it the lease ends."""
    (lease,) = ledger.grant("a")
    before = ledger.stream.head()
    wait(ledger, 59.999)
    assert ledger.held(Sweep()) == ()
    assert ledger.stream.head() == before
    wait(ledger, 0.001)
    done = ledger.done(Sweep())
    (record,) = done.records
    assert record.event == LeaseEnded(
        lease.lease_id, lease.pool_id, lease.address, 32, "eth0", ENDINGS.index("expired")
    )
    assert record.header.cause == lease.lease_id
    assert ledger.counts("a") == Counts(3, 0, 0, 0, 0, 3)
    assert ledger.held(Sweep()) == ()


def test_the_longest_overdue_end_first(ledger: TestLedger) -> None:
    """Not in the order of their ids or pools; what is not due yet stays."""
    ids = [ledger.grant("a", owner=f"o{ttl}", ttl_s=ttl)[0].lease_id for ttl in (30, 10, 20)]
    ledger.apply(make_pool("b", subnet="10.1.0.0/24"))
    ids += [ledger.grant("b", owner=f"o{ttl}", ttl_s=ttl)[0].lease_id for ttl in (15, 5)]
    wait(ledger, 25)
    assert ended(ledger.done(Sweep())) == (ids[4], ids[1], ids[3], ids[2])
    assert ledger.state.lease(ids[0]) is not None


def test_a_renewed_lease_is_due_at_its_new_time_only(ledger: TestLedger) -> None:
    """Earlier times that were given up come up, and nothing happens."""
    (lease,) = ledger.grant("a", ttl_s=10)
    for _renewal in range(3):
        wait(ledger, 5)
        ledger.done(Renew(lease.lease_id))
    wait(ledger, 9)
    ledger.held(Sweep())
    wait(ledger, 1)
    assert ended(ledger.done(Sweep())) == (lease.lease_id,)


def test_reservations_and_quarantines_end_by_themselves(ledger: TestLedger) -> None:
    """In the same commit; those without an end stay."""
    ledger.apply(
        make_reservation("short", "10.0.0.1", for_s=10, owner="x", reason="move"),
        make_reservation("long", "10.0.0.2", for_s=100),
    )
    ledger.done(SetAside(set_of("10.0.0.3"), "answers ARP", 10))
    ledger.done(SetAside(set_of("10.0.0.9"), "answers ARP"))
    assert ledger.counts("a") == Counts(3, 0, 1, 0, 2, 0)
    wait(ledger, 9.999)
    ledger.held(Sweep())
    wait(ledger, 0.001)
    done = ledger.done(Sweep())
    reservation, quarantine = done.records
    assert isinstance(reservation.event, ReservationDeleted)
    assert (reservation.event.name, reservation.event.expired) == ("short", True)
    assert (reservation.sealed.owner, reservation.sealed.text) == ("x", "move")
    assert isinstance(quarantine.event, QuarantineEnded)
    assert quarantine.event.expired
    assert ledger.counts("a") == Counts(3, 0, 0, 0, 1, 2)
    assert [aside.ips.texts() for aside in ledger.state.quarantines()] == [["10.0.0.9"]]
    assert is_replayed(ledger)


def test_one_commit_ends_no_more_than_it_may() -> None:
    """More than that is a series, whose steps are repeated like any command."""
    ledger = TestLedger()
    ledger.apply(make_pool("a", subnet="10.0.0.0/20", ttl_s=1))
    for part in range(2):
        ledger.grant("a", owner=f"o{part}", number=SWEEP_ENDS_MAX // 2 + 1)
    wait(ledger, 1)
    first = ledger.done(Sweep(), "sweep")
    assert len(ended(first)) == SWEEP_ENDS_MAX
    assert ledger.done(Sweep(), "sweep").repeated
    assert len(ended(ledger.done(Sweep()))) == 2
    ledger.held(Sweep())


@pytest.mark.parametrize("what", ["lease", "reservation", "quarantine"])
def test_who_is_early_waits_for_the_servers_clock(ledger: TestLedger, what: str) -> None:
    """A sweeper whose clock is ahead writes nothing until the server agrees."""
    if what == "lease":
        ledger.grant("a")
    elif what == "reservation":
        ledger.apply(make_reservation("r", "10.0.0.9", for_s=60))
    else:
        ledger.done(SetAside(set_of("10.0.0.8"), "answers ARP", 60))
    before = ledger.stream.head()
    call = ledger.call(Sweep())
    for waited_s in (0, 59.999):
        wait(ledger, waited_s)
        assert ahead(ledger, call, by_ms=120_000) == (call,)
        assert ledger.stream.head() == before
        assert call.outcome is None
    wait(ledger, 0.001)
    assert ahead(ledger, call, by_ms=120_000) == ()
    assert isinstance(call.outcome, Done)
    assert len(call.outcome.records) == 1


def test_skew_between_writers_changes_nothing(ledger: TestLedger) -> None:
    """Times are the server's: two writers see one end, whatever their clocks say."""
    other = TestLedger(seed=1, beside=ledger)
    (lease,) = ledger.grant("a")
    call = other.call(Renew(lease.lease_id, 60))
    other.refresh()
    wait(ledger, 10)
    assert ahead(other, call, by_ms=200_000) == ()
    ledger.refresh()
    assert ends_ms(other, lease) == ends_ms(ledger, lease) == START_MS + 70_000
    assert other.digest() == ledger.digest()


# --------------------------------------------------------------- expiry by who needs the address


def fill(ledger: TestLedger, *ttls: int | None, pool: str = "a") -> list[Lease]:
    """A lease for each time to live, of an owner of its own."""
    return [
        ledger.grant(pool, owner=f"old-{number}", ttl_s=ttl_s)[0]
        for number, ttl_s in enumerate(ttls)
    ]


def expired(record: Record) -> bool:
    """Whether a record is the expiry of a lease."""
    return isinstance(record.event, LeaseEnded) and (ENDINGS[record.event.ended_by] == "expired")


def test_an_exhausted_pool_takes_back_what_is_overdue(ledger: TestLedger) -> None:
    """The longest overdue lease ends in the commit that grants its address anew."""
    old = fill(ledger, 30, 10, 20)
    assert ledger.refused(make_allocate("a", owner="new")).kind == "exhausted"
    wait(ledger, 25)
    done = ledger.done(make_allocate("a", owner="new"))
    assert events(done) == [LeaseEnded, LeaseGranted]
    assert expired(done.records[0])
    assert ended(done) == (old[1].lease_id,)
    assert granted(done)[0].address == old[1].address
    assert ledger.counts("a") == Counts(3, 3, 0, 0, 0, 0)
    assert is_replayed(ledger)


def test_what_is_free_comes_first(ledger: TestLedger) -> None:
    """An overdue lease is left alone while there is anything else; its holder may come back."""
    fill(ledger, 10, 10)
    wait(ledger, 25)
    done = ledger.done(make_allocate("a", owner="new"))
    assert events(done) == [LeaseGranted]
    assert ledger.counts("a").leased == 3


def test_several_at_once_or_none(ledger: TestLedger) -> None:
    """As many overdue leases end as are needed; if that is not enough, nothing happens."""
    old = fill(ledger, 30, 10, 20)
    wait(ledger, 25)
    assert ledger.refused(make_allocate("a", owner="new", number=3)).kind == "exhausted"
    done = ledger.done(make_allocate("a", owner="new", number=2))
    assert set(ended(done)) == {old[1].lease_id, old[2].lease_id}
    assert len(granted(done)) == 2


def test_an_overdue_address_can_be_asked_for(ledger: TestLedger) -> None:
    """By address, too, and also if the pool has others; not before its time."""
    (old,) = fill(ledger, 10)
    wanted = make_allocate("a", owner="new", ips=[old.text])
    wait(ledger, 9.999)
    assert ledger.refused(wanted).kind == "conflict"
    wait(ledger, 0.001)
    done = ledger.done(wanted)
    assert ended(done) == (old.lease_id,)
    assert granted(done)[0].address == old.address


def test_not_before_the_servers_clock_says_so(ledger: TestLedger) -> None:
    """A caller whose clock is ahead cannot expire anything early."""
    fill(ledger, 60, 60, 60)
    call = ledger.call(make_allocate("a", owner="new"))
    before = ledger.stream.head()
    assert ahead(ledger, call, by_ms=90_000) == (call,)
    assert ledger.stream.head() == before
    assert ledger.refused(make_allocate("a", owner="new")).kind == "exhausted"


def test_not_where_addresses_must_rest_first() -> None:
    """With a cooldown the address is not free in the same commit, so the lease is left alone."""
    ledger = TestLedger()
    ledger.apply(make_pool("a", ips=["10.0.0.1"], ttl_s=10, cooldown_s=5))
    (old,) = ledger.grant("a", owner="old")
    wait(ledger, 60)
    for wanted in (make_allocate("a", owner="new"), make_allocate("a", ips=["10.0.0.1"])):
        assert ledger.refused(wanted).kind in {"exhausted", "conflict"}
    assert ended(ledger.done(Sweep())) == (old.lease_id,)
    assert ledger.refused(make_allocate("a", owner="new")).kind == "exhausted"
    wait(ledger, 5)
    assert ledger.take("a", owner="new") == ["10.0.0.1"]


def test_not_where_a_conflict_was_reported(ledger: TestLedger) -> None:
    """Its address is quarantined at its end: nobody can have it."""
    fill(ledger, 10, 10, 10)
    ledger.done(SetAside(set_of("10.0.0.1-10.0.0.2"), "answers ARP"))
    wait(ledger, 25)
    assert ledger.take("a", owner="new") == ["10.0.0.3"]
    assert ledger.refused(make_allocate("a", owner="newer")).kind == "exhausted"


def test_not_where_the_address_was_reserved_meanwhile(ledger: TestLedger) -> None:
    """Whom it is reserved for may have it; nobody else."""
    old = fill(ledger, 10, 10, 10)
    ledger.apply(make_reservation("r", "10.0.0.1-10.0.0.3", owner="mine"))
    wait(ledger, 25)
    refusal = ledger.refused(make_allocate("a", owner="new"))
    assert refusal.kind == "exhausted"
    done = ledger.done(make_allocate("a", owner="mine"))
    assert ended(done) == (old[0].lease_id,)


def test_nobody_loses_an_overdue_lease_to_himself(ledger: TestLedger) -> None:
    """Who holds an overdue lease and asks again keeps it, also where another address is missing."""
    old = fill(ledger, 10, 10, 10)
    wait(ledger, 25)
    assert ledger.held(make_allocate("a", owner="old-0", ttl_s=10)) == (old[0],)
    done = ledger.done(make_allocate("a", owner="old-0", number=2))
    assert ended(done) == (old[1].lease_id,)
    assert ledger.state.lease(old[0].lease_id) is not None


def test_two_callers_of_one_batch_expire_two_leases(ledger: TestLedger) -> None:
    """Neither waits for the other: each takes another overdue lease, in one round."""
    old = fill(ledger, 30, 10, 20)
    wait(ledger, 35)
    calls = [ledger.call(make_allocate("a", owner=f"new-{n}")) for n in range(3)]
    assert ledger.step(calls)
    taken = [ended(call.outcome) for call in calls if isinstance(call.outcome, Done)]
    assert taken == [(old[1].lease_id,), (old[2].lease_id,), (old[0].lease_id,)]


def test_two_writers_expire_one_lease_once(ledger: TestLedger) -> None:
    """The one who is late is refused: the pool is exhausted again."""
    fill(ledger, 10, 100, 100)
    wait(ledger, 25)
    other = TestLedger(seed=1, beside=ledger)
    first, second = (
        writer.call(make_allocate("a", owner=owner))
        for writer, owner in ((ledger, "x"), (other, "y"))
    )
    batch = other.plan(second)
    assert ledger.step([first])
    assert other.append(batch) == (second,)
    assert other.refused(make_allocate("a", owner="y")).kind == "exhausted"


def test_the_next_pool_comes_after_what_is_overdue(ledger: TestLedger) -> None:
    """A fallback is for a pool that is exhausted; one with an overdue lease is not."""
    ledger.apply(make_pool("b", ips=["10.0.0.8"]))
    fill(ledger, 10, 100, 100)
    assert ledger.take("a,b", owner="new-1") == ["10.0.0.8"]
    wait(ledger, 25)
    assert ledger.take("a,b", owner="new-2") == ["10.0.0.1"]


# ---------------------------------------------------------------------------- several interfaces


def both(*interfaces: str, **fields: object) -> AllocateTogether:
    """An address of pool `a` on each interface."""
    asked: dict[str, Any] = fields
    return AllocateTogether(
        tuple(make_allocate("a", interface=name, **asked) for name in interfaces)
    )


def test_two_interfaces_get_two_addresses(ledger: TestLedger) -> None:
    """Of one pool, in one commit; asking again is answered with both."""
    done = ledger.done(both("eth0", "net1"))
    assert [(lease.text, lease.interface) for lease in granted(done)] == [
        ("10.0.0.1", "eth0"), ("10.0.0.2", "net1"),
    ]  # fmt: skip
    assert len({record.commit.nonce for record in done.records}) == 1
    assert ledger.held(both("eth0", "net1")) == granted(done)
    assert is_replayed(ledger)


def test_all_interfaces_or_none(ledger: TestLedger) -> None:
    """What one of them cannot have, none has; and the next caller finds everything free."""
    refusal = ledger.refused(both("eth0", "net1", "net2", "net3"))
    assert refusal.kind == "exhausted"
    assert ledger.counts("a").free == 3
    assert len(granted(ledger.done(both("eth0", "net1", "net2")))) == 3


def test_what_one_interface_holds_already_is_told(ledger: TestLedger) -> None:
    """Only what is missing is granted, and the grant names what stands beside it."""
    (held,) = ledger.grant("a", interface="net1")
    done = ledger.done(both("eth0", "net1"))
    (record,) = done.records
    assert isinstance(record.event, LeaseGranted)
    assert record.event.interface == "eth0"
    assert record.event.beside == (held.lease_id,)


def test_an_interface_twice_is_invalid(ledger: TestLedger) -> None:
    """It is one holder, who cannot be asked for twice."""
    refusal = ledger.refused(both("eth0", "eth0"))
    assert (refusal.kind, refusal.about) == ("invalid", "interface")


def test_a_new_incarnation_supersedes_on_all_interfaces(ledger: TestLedger) -> None:
    """Each keeps its address; the pool need not have room for both incarnations."""
    ledger.apply(make_reservation("r", "10.0.0.3"))
    old = granted(ledger.done(both("eth0", "net1", uid="u1")))
    done = ledger.done(both("eth0", "net1", uid="u2"))
    assert ended(done) == tuple(lease.lease_id for lease in old)
    assert [lease.address for lease in granted(done)] == [lease.address for lease in old]


def test_interfaces_that_expire_one_anothers_leases(ledger: TestLedger) -> None:
    """Every interface holds an address of its own afterwards, whoever's lease was overdue."""
    ledger.grant("a", interface="net1", number=3, ttl_s=10)
    wait(ledger, 25)
    done = ledger.done(both("eth0", "net1"))
    assert len({lease.address for lease in ledger.state.leases()}) == 3
    assert {lease.interface for lease in granted(done)} >= {"eth0"}
    for interface in ("eth0", "net1"):
        assert ledger.state.leases_of("pod-1", interface)
    assert is_replayed(ledger)
