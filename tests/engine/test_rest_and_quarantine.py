"""What an address goes through after its lease: rest, quarantine, and times told after the fact."""

from __future__ import annotations

from typing import Any

import pytest

from engine.addresses import RangeSet
from engine.commands import Apply, Command, PutBack, Release, SetAside, Sweep
from engine.endings import ENDS_MAX
from engine.events import ConflictReported, LeaseEnded, Quarantined
from engine.facts import Counts
from engine.model import ENDINGS
from ipledger.writing import Done
from tests.builders import (
    START_MS,
    TestLedger,
    ended,
    granted,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)

IPS = ["10.0.0.1-10.0.0.3"]


@pytest.fixture
def ledger() -> TestLedger:
    """A space with a pool `a` of three addresses that rest ten seconds."""
    ledger = TestLedger()
    ledger.apply(make_pool("a", ips=IPS, cooldown_s=10))
    return ledger


@pytest.fixture
def plain() -> TestLedger:
    """A space with a pool `a` of three addresses that need no rest."""
    ledger = TestLedger()
    ledger.apply(make_pool("a", ips=IPS))
    return ledger


def wait(ledger: TestLedger, seconds: float) -> None:
    """Let the time of all writers and of the server go on."""
    ledger.clock.now_ms += int(seconds * 1_000)


def give_back(ledger: TestLedger, *lasts: int) -> None:
    """Release addresses by their last byte."""
    for last in lasts:
        (lease,) = (held for held in ledger.state.leases() if held.address[-1] == last)
        ledger.done(make_release(lease.lease_id))


def aside(*entries: str, for_s: int | None = None) -> SetAside:
    """Set addresses aside."""
    return SetAside(RangeSet.parse(entries, allow_cidr=True), "answers ARP", for_s)


def back(*entries: str) -> PutBack:
    """Put addresses back."""
    return PutBack(RangeSet.parse(entries, allow_cidr=True))


def check_replay(ledger: TestLedger) -> None:
    """Folding the stream anew gives the same digest and the same buckets."""
    replayed = ledger.replayed()
    for pool in ledger.state.pools():
        counts = ledger.state.counts(pool.pool_id)
        assert replayed.counts(pool.pool_id) == counts
        assert counts.total == sum(counts[1:])
    assert TestLedger(seed=99, beside=ledger).digest() == ledger.digest()


# --------------------------------------------------------------------------------------- cooldown


def test_a_released_address_rests(ledger: TestLedger) -> None:
    """It is in a bucket of its own, and nobody's until its time is over."""
    ledger.grant("a", number=3)
    give_back(ledger, 2)
    assert ledger.counts("a") == Counts(3, 2, 0, 1, 0, 0)
    wait(ledger, 9.999)
    refusal = ledger.refused(make_allocate("a", owner="new"))
    assert refusal.kind == "exhausted"
    assert "1 cooling" in refusal.message
    wait(ledger, 0.001)
    assert ledger.take("a", owner="new") == ["10.0.0.2"]
    check_replay(ledger)


def test_the_longest_idle_first_when_it_bites(ledger: TestLedger) -> None:
    """What never rested is given out before, and lowest first."""
    ledger.grant("a", number=2)
    give_back(ledger, 2)
    wait(ledger, 1)
    give_back(ledger, 1)
    wait(ledger, 10)
    calls = [ledger.call(make_allocate("a", owner=f"o{n}")) for n in range(3)]
    assert ledger.step(calls)
    texts = [
        lease.text for c in calls if isinstance(c.outcome, Done) for lease in granted(c.outcome)
    ]
    assert texts == ["10.0.0.3", "10.0.0.2", "10.0.0.1"]
    check_replay(ledger)


def test_a_resting_address_cannot_be_asked_for(ledger: TestLedger) -> None:
    """Not even by its last owner; the refusal tells how long it takes."""
    ledger.grant("a")
    give_back(ledger, 1)
    wait(ledger, 4)
    wanted = make_allocate("a", ips=["10.0.0.1"])
    refusal = ledger.refused(wanted)
    assert (refusal.kind, refusal.about) == ("conflict", "ip")
    assert refusal.message == "10.0.0.1 rests for 6 s more"
    wait(ledger, 6)
    assert ledger.take("a", ips=["10.0.0.1"]) == ["10.0.0.1"]


def test_who_is_early_cannot_end_the_rest(ledger: TestLedger) -> None:
    """A writer whose clock is ahead writes nothing."""
    ledger.grant("a", number=3)
    give_back(ledger, 1)
    before = ledger.stream.head()
    for wanted in (
        make_allocate("a", owner="new"),
        make_allocate("a", ips=["10.0.0.1"], owner="n"),
    ):
        call = ledger.call(wanted)
        batch, _ = ledger.protocol.plan([call], ledger.clock.now_ms + 60_000)
        assert batch.members
        assert ledger.append(batch) == (call,)
    assert ledger.stream.head() == before


def test_a_new_incarnation_needs_no_rest(ledger: TestLedger) -> None:
    """It is the same owner, who keeps the address."""
    (old,) = ledger.grant("a", uid="u1")
    done = ledger.done(make_allocate("a", uid="u2"))
    assert ended(done) == (old.lease_id,)
    assert granted(done)[0].address == old.address
    assert ledger.counts("a") == Counts(3, 1, 0, 0, 0, 2)
    check_replay(ledger)


def test_an_expired_lease_rests_too(ledger: TestLedger) -> None:
    """However it ended."""
    ledger.grant("a", ttl_s=5)
    wait(ledger, 5)
    ledger.done(Sweep())
    assert ledger.counts("a").cooling == 1
    ledger.grant("a", owner="b", number=2)
    ledger.done(make_delete("a", cascade=True))
    ledger.apply(make_pool("a", ips=IPS))
    assert ledger.counts("a") == Counts(3, 0, 0, 3, 0, 0)
    check_replay(ledger)


def test_rest_outlasts_the_pool(ledger: TestLedger) -> None:
    """It belongs to the address: a pool made anew has to wait, under whatever name."""
    ledger.grant("a", number=2)
    give_back(ledger, 1)
    wait(ledger, 4)
    ledger.done(make_delete("a"))
    give_back(ledger, 2)
    ledger.apply(make_pool("b", ips=IPS))
    assert ledger.counts("b") == Counts(3, 0, 0, 2, 0, 1)
    check_replay(ledger)
    wait(ledger, 6)
    assert ledger.take("b", owner="x", number=2) == ["10.0.0.3", "10.0.0.1"]
    wait(ledger, 4)
    assert ledger.take("b", owner="y") == ["10.0.0.2"]


def test_rest_outlasts_a_resize(ledger: TestLedger) -> None:
    """An address that is taken out and put in again rests as long as it would have."""
    ledger.grant("a", number=3)
    give_back(ledger, 2)
    ledger.apply(make_pool("a", ips=["10.0.0.1", "10.0.0.3"], cooldown_s=10))
    assert ledger.counts("a") == Counts(2, 2, 0, 0, 0, 0)
    ledger.apply(make_pool("a", ips=IPS, cooldown_s=10))
    assert ledger.counts("a") == Counts(3, 2, 0, 1, 0, 0)
    check_replay(ledger)
    ledger.apply(make_pool("a", ips=["10.0.0.1", "10.0.0.3"], cooldown_s=10))
    wait(ledger, 10)
    ledger.apply(make_pool("a", ips=IPS, cooldown_s=10))
    assert ledger.counts("a") == Counts(3, 2, 0, 0, 0, 1)


def test_rest_follows_an_address_into_another_pool(ledger: TestLedger) -> None:
    """Also where one file moves it."""
    ledger.apply(make_pool("b", ips=["10.0.0.9"]))
    ledger.grant("a", number=3)
    give_back(ledger, 3)
    ledger.done(Apply((
        make_pool("a", ips=["10.0.0.1-10.0.0.2"]), make_pool("b", ips=["10.0.0.3", "10.0.0.9"])
    )))  # fmt: skip
    assert ledger.counts("b") == Counts(2, 0, 0, 1, 0, 1)
    check_replay(ledger)


def test_a_changed_cooldown_is_for_later_releases(ledger: TestLedger) -> None:
    """What rests already rests as long as it was told."""
    ledger.grant("a", number=3)
    give_back(ledger, 1)
    ledger.apply(make_pool("a", ips=IPS, cooldown_s=100))
    give_back(ledger, 2)
    ledger.apply(make_pool("a", ips=IPS))
    give_back(ledger, 3)
    assert ledger.counts("a") == Counts(3, 0, 0, 2, 0, 1)
    wait(ledger, 10)
    ledger.apply(make_pool("z", subnet="10.1.0.0/24"))
    assert ledger.counts("a") == Counts(3, 0, 0, 1, 0, 2)
    wait(ledger, 90)
    ledger.apply(make_pool("y", subnet="10.2.0.0/24"))
    assert ledger.counts("a").free == 3
    check_replay(ledger)


def test_rest_is_in_no_digest(ledger: TestLedger) -> None:
    """It ends with time and not with an event, so two readers at two times must agree."""
    ledger.grant("a")
    give_back(ledger, 1)
    early = ledger.digest()
    ledger.state.advance(ledger.clock.now_ms + 60_000)
    assert ledger.counts("a").cooling == 0
    assert ledger.digest() == early


def test_ones_own_address_rests_like_any(ledger: TestLedger) -> None:
    """A static assignment is granted again when it has rested; something else meanwhile."""
    ledger.apply(make_reservation("r", "10.0.0.3", owner="me"))
    assert ledger.take("a", owner="me") == ["10.0.0.3"]
    give_back(ledger, 3)
    assert ledger.take("a", owner="me") == ["10.0.0.1"]
    give_back(ledger, 1)
    wait(ledger, 10)
    assert ledger.take("a", owner="me") == ["10.0.0.3"]
    check_replay(ledger)


# ------------------------------------------------------------------------------------- quarantine


def test_a_free_address_is_set_aside(plain: TestLedger) -> None:
    """Nobody gets it, not even who asks for it; it has a bucket of its own."""
    (record,) = plain.done(aside("10.0.0.1")).records
    assert isinstance(record.event, Quarantined)
    assert record.sealed.text == "answers ARP"
    assert plain.counts("a") == Counts(3, 0, 1, 0, 0, 2)
    assert plain.take("a") == ["10.0.0.2"]
    refusal = plain.refused(make_allocate("a", owner="b", ips=["10.0.0.1"]))
    assert (refusal.kind, refusal.about) == ("forbidden", "ip")
    check_replay(plain)


def test_a_range_is_set_aside_and_put_back_in_parts(plain: TestLedger) -> None:
    """What is left of it stays; the last part ends it."""
    (record,) = plain.done(aside("10.0.0.0-10.0.0.9")).records
    assert plain.counts("a") == Counts(3, 0, 3, 0, 0, 0)
    assert plain.refused(make_allocate("a")).kind == "exhausted"
    plain.done(back("10.0.0.2"))
    (left,) = plain.state.quarantines()
    assert left.quarantine_id == record.position
    assert left.ips.texts() == ["10.0.0.0-10.0.0.1", "10.0.0.3-10.0.0.9"]
    assert plain.take("a") == ["10.0.0.2"]
    check_replay(plain)
    plain.done(back("10.0.0.0-10.0.0.1", "10.0.0.3-10.0.0.9"))
    assert list(plain.state.quarantines()) == []
    assert plain.counts("a") == Counts(3, 1, 0, 0, 0, 2)


def test_several_quarantines_are_put_back_at_once(plain: TestLedger) -> None:
    """One event for each that ends, at least in part."""
    plain.done(aside("10.0.0.1"))
    plain.done(aside("10.0.0.2-10.0.0.3"))
    assert len(plain.done(back("10.0.0.1-10.0.0.2")).records) == 2
    assert plain.counts("a") == Counts(3, 0, 1, 0, 0, 2)
    check_replay(plain)


def test_twice_is_a_conflict(plain: TestLedger) -> None:
    """Of one address of many, too, and on a lease: nothing is written."""
    plain.done(aside("10.0.0.2"))
    refusal = plain.refused(aside("10.0.0.1-10.0.0.3"))
    assert (refusal.kind, refusal.about) == ("conflict", "address")
    plain.done(back("10.0.0.2"))
    plain.grant("a")
    plain.done(aside("10.0.0.1"))
    refusal = plain.refused(aside("10.0.0.1-10.0.0.3"))
    assert (refusal.kind, refusal.about) == ("conflict", "address")


def test_what_is_not_quarantined_cannot_be_put_back(plain: TestLedger) -> None:
    """One address of many is enough; a lease that waits for it is told."""
    plain.grant("a")
    plain.done(aside("10.0.0.1-10.0.0.2"))
    for wanted in (back("10.0.0.3"), back("10.0.0.2-10.0.0.3"), back("fd00::1")):
        refusal = plain.refused(wanted)
        assert (refusal.kind, refusal.about) == ("not_found", "address")
    refusal = plain.refused(back("10.0.0.1"))
    assert refusal.kind == "not_found"
    assert "ends" in refusal.hint


ENDINGS_OF_A_LEASE = ("released", "expired", "superseded", "revoked")


@pytest.mark.parametrize("how", ENDINGS_OF_A_LEASE)
@pytest.mark.parametrize("cooldown_s", [0, 10])
def test_a_leased_address_is_set_aside_when_its_lease_ends(how: str, cooldown_s: int) -> None:
    """However it ends, in that very commit; its holder is not stopped meanwhile."""
    ledger = TestLedger()
    ledger.apply(make_pool("a", ips=IPS, cooldown_s=cooldown_s))
    (lease,) = ledger.grant("a", uid="u1", ttl_s=60)
    (report,) = ledger.done(aside("10.0.0.1", for_s=600)).records
    assert isinstance(report.event, ConflictReported)
    assert report.event.lease == lease.lease_id
    assert ledger.counts("a") == Counts(3, 1, 0, 0, 0, 2)
    assert ledger.held(make_allocate("a", uid="u1")) == (lease,)
    wait(ledger, 60)
    commands: dict[str, Command] = {
        "released": make_release(lease.lease_id),
        "expired": Sweep(),
        "superseded": make_allocate("a", uid="u2"),
        "revoked": make_delete("a", cascade=True),
    }
    done = ledger.done(commands[how])
    by_type: dict[type, Any] = {type(record.event): record for record in done.records}
    assert ENDINGS[by_type[LeaseEnded].event.ended_by] == how
    set_aside = by_type[Quarantined]
    assert (set_aside.event.lease, set_aside.event.for_s) == (lease.lease_id, 600)
    assert set_aside.header.cause == report.position
    assert set_aside.sealed.text == "answers ARP"
    (found,) = ledger.state.quarantines()
    assert found.ips.texts() == ["10.0.0.1"]
    if how == "superseded":
        assert granted(done)[0].text == "10.0.0.2"
    if how == "revoked":
        ledger.apply(make_pool("a", ips=IPS))
    assert ledger.counts("a").quarantined == 1
    check_replay(ledger)
    wait(ledger, 600)
    ledger.done(Sweep())
    assert ledger.counts("a").quarantined == 0
    check_replay(ledger)


def test_leased_and_free_addresses_of_one_range(plain: TestLedger) -> None:
    """The free ones at once, the leased ones at their leases' ends."""
    plain.grant("a", owner="x")
    plain.grant("a", owner="y")
    done = plain.done(aside("10.0.0.0/29"))
    kinds = [type(record.event) for record in done.records]
    assert kinds == [ConflictReported, ConflictReported, Quarantined]
    assert plain.counts("a") == Counts(3, 2, 1, 0, 0, 0)
    assert ended(plain.done(make_release(owner="x")))
    assert plain.counts("a") == Counts(3, 1, 2, 0, 0, 0)
    check_replay(plain)


def test_addresses_of_no_pool(plain: TestLedger) -> None:
    """May be set aside before anybody makes a pool of them."""
    plain.done(aside("10.1.0.0-10.1.0.2", "10.1.0.9"))
    plain.done(aside("fd00::/64"))
    plain.apply(make_pool("b", subnet="10.1.0.0/24"), make_pool("c", subnet="fd00::/120"))
    assert plain.take("b", owner="x") == ["10.1.0.3"]
    assert plain.counts("c").free == 0
    check_replay(plain)


def test_quarantine_comes_before_rest_and_reservation(ledger: TestLedger) -> None:
    """Each address is in the first bucket that applies, and in the next when that one ends."""
    ledger.apply(make_reservation("r", "10.0.0.1", owner="me"))
    ledger.grant("a", owner="me")
    give_back(ledger, 1)
    assert ledger.counts("a") == Counts(3, 0, 0, 1, 0, 2)
    ledger.done(aside("10.0.0.1-10.0.0.2"))
    assert ledger.counts("a") == Counts(3, 0, 2, 0, 0, 1)
    check_replay(ledger)
    ledger.done(back("10.0.0.1"))
    assert ledger.counts("a") == Counts(3, 0, 1, 1, 0, 1)
    wait(ledger, 10)
    ledger.done(back("10.0.0.2"))
    assert ledger.counts("a") == Counts(3, 0, 0, 0, 1, 2)
    check_replay(ledger)


def test_what_is_set_aside_while_it_rests(ledger: TestLedger) -> None:
    """Its rest goes on beside; both must be over before anybody gets it."""
    ledger.grant("a", number=3)
    give_back(ledger, 1)
    ledger.done(aside("10.0.0.1"))
    wait(ledger, 10)
    assert ledger.refused(make_allocate("a", owner="new")).kind == "exhausted"
    assert ledger.refused(make_allocate("a", owner="new", ips=["10.0.0.1"])).kind == "forbidden"
    ledger.done(back("10.0.0.1"))
    assert ledger.take("a", owner="new") == ["10.0.0.1"]
    check_replay(ledger)


def test_a_grant_and_a_quarantine_at_once(plain: TestLedger) -> None:
    """Of two writers who do not know of each other, the late one decides anew."""
    other = TestLedger(seed=1, beside=plain)
    call = other.call(make_allocate("a"))
    batch = other.plan(call)
    plain.done(aside("10.0.0.1"))
    assert other.append(batch) == (call,)
    assert other.step([call])
    assert isinstance(call.outcome, Done)
    assert granted(call.outcome)[0].text == "10.0.0.2"
    setting = other.call(aside("10.0.0.3"))
    batch = other.plan(setting)
    plain.take("a", owner="x", ips=["10.0.0.3"])
    assert other.append(batch) == (setting,)
    assert other.step([setting])
    assert isinstance(setting.outcome, Done)
    assert isinstance(setting.outcome.records[0].event, ConflictReported)


# ----------------------------------------------------------------------------------- effective_at


def released_at(lease: int, at_ms: int) -> Release:
    """A release that is told late."""
    return Release((lease,), effective_at_ms=at_ms)


def test_a_grant_told_late_says_since_when(plain: TestLedger) -> None:
    """In the header of its record, and in the lease; its time to live counts from the record."""
    wait(plain, 100)
    done = plain.done(make_allocate("a", effective_at_ms=START_MS + 5, ttl_s=60))
    (record,) = done.records
    assert record.header.effective_at_ms == START_MS + 5
    (lease,) = plain.state.leases()
    assert (lease.effective_at_ms, lease.granted_at_ms) == (START_MS + 5, START_MS + 100_000)
    assert lease.expires_at_ms == START_MS + 160_000
    check_replay(plain)


def test_a_release_told_late_rests_from_then(ledger: TestLedger) -> None:
    """The address has been idle since, so what is left of its rest is shorter, or over."""
    one, two, _three = ledger.grant("a", number=3)
    wait(ledger, 100)
    (record,) = ledger.done(released_at(one.lease_id, START_MS + 96_000)).records
    assert record.header.effective_at_ms == START_MS + 96_000
    assert ledger.counts("a") == Counts(3, 2, 0, 1, 0, 0)
    ledger.done(released_at(two.lease_id, START_MS + 90_000))
    assert ledger.counts("a") == Counts(3, 1, 0, 1, 0, 1)
    check_replay(ledger)
    wait(ledger, 6)
    assert ledger.take("a", owner="x", number=2) == ["10.0.0.2", "10.0.0.1"]


def test_not_in_the_future(plain: TestLedger) -> None:
    """Neither a grant nor a release; now is not the future."""
    (lease,) = plain.grant("a")
    ahead_ms = plain.clock.now_ms + 1
    for wanted in (make_allocate("a", owner="b", effective_at_ms=ahead_ms),
                   released_at(lease.lease_id, ahead_ms)):  # fmt: skip
        refusal = plain.refused(wanted)
        assert (refusal.kind, refusal.about) == ("invalid", "effective_at")
        assert "0.001 s in the future" in refusal.message
    plain.done(released_at(lease.lease_id, plain.clock.now_ms))


def test_the_servers_clock_says_what_the_future_is(plain: TestLedger) -> None:
    """A writer whose clock is ahead is not believed."""
    call = plain.call(make_allocate("a", effective_at_ms=plain.clock.now_ms + 5_000))
    batch, _ = plain.protocol.plan([call], plain.clock.now_ms + 10_000)
    before = plain.stream.head()
    assert plain.append(batch) == (call,)
    assert plain.stream.head() == before


def test_no_release_before_the_lease_began(plain: TestLedger) -> None:
    """Its beginning in effect counts, not when it was recorded."""
    wait(plain, 100)
    (lease,) = plain.grant("a", effective_at_ms=START_MS + 50_000)
    refusal = plain.refused(released_at(lease.lease_id, START_MS + 49_999))
    assert (refusal.kind, refusal.about) == ("invalid", "effective_at")
    assert refusal.position == lease.position
    plain.done(released_at(lease.lease_id, START_MS + 50_000))


def test_no_grant_before_the_tenure_before_it_ended(plain: TestLedger) -> None:
    """Asked for by address it is invalid; else another address is found, or the pool exhausted."""
    (lease,) = plain.grant("a")
    wait(plain, 100)
    plain.done(released_at(lease.lease_id, START_MS + 60_000))
    early, right = START_MS + 59_999, START_MS + 60_000
    refusal = plain.refused(make_allocate("a", ips=["10.0.0.1"], effective_at_ms=early))
    assert (refusal.kind, refusal.about) == ("invalid", "effective_at")
    assert plain.take("a", owner="b", effective_at_ms=early) == ["10.0.0.2"]
    assert plain.take("a", ips=["10.0.0.1"], effective_at_ms=right) == ["10.0.0.1"]
    check_replay(plain)


def test_no_new_incarnation_before_the_old_one_began(plain: TestLedger) -> None:
    """A superseding that is told late ends the old lease at that time."""
    wait(plain, 50)
    (old,) = plain.grant("a", uid="u1")
    wait(plain, 50)
    early = make_allocate("a", uid="u2", effective_at_ms=START_MS + 49_999)
    assert plain.refused(early).about == "effective_at"
    done = plain.done(make_allocate("a", uid="u2", effective_at_ms=START_MS + 70_000))
    assert [record.header.effective_at_ms for record in done.records] == [START_MS + 70_000] * 2
    assert ended(done) == (old.lease_id,)


def test_before_there_were_clocks(plain: TestLedger) -> None:
    """A time before 1970 is no time of an event: refused as what it is."""
    (lease,) = plain.grant("a")
    for wanted in (make_allocate("a", owner="b", effective_at_ms=-1),
                   released_at(lease.lease_id, -1)):  # fmt: skip
        refusal = plain.refused(wanted)
        assert (refusal.kind, refusal.about) == ("invalid", "effective_at")


# ------------------------------------------------------------------------- as many as there may be


def crowd(ledger: TestLedger, number: int) -> None:
    """A pool `big` with so many leases that name a node, and one lease that does not."""
    ledger.apply(make_pool("big", subnet="10.8.0.0/19"))
    labels = (("node", "n7"),)
    for part in range(0, number, 1_000):
        count = min(1_000, number - part)
        ledger.grant("big", owner=f"o{part}", number=count, labels=labels)
    ledger.grant("big", owner="other")


def test_a_release_by_label_takes_as_many_commits_as_it_needs(plain: TestLedger) -> None:
    """Each ends no more than one may, in the order of their ids; what is left is not its own."""
    crowd(plain, ENDS_MAX + 1)
    command = make_release(labels={"node": "n7"})
    first = ended(plain.done(command))
    assert len(first) == ENDS_MAX
    assert list(first) == sorted(first)
    assert len(ended(plain.done(command))) == 1
    plain.held(command)
    assert [lease.owner for lease in plain.state.leases()] == ["other"]


def test_a_cascade_is_terminating_before_anything_is_revoked(plain: TestLedger) -> None:
    """So nothing new is granted between its commits; with the last lease the pool is gone."""
    crowd(plain, ENDS_MAX)
    command = make_delete("big", cascade=True)
    first = plain.done(command)
    assert len(ended(first)) == ENDS_MAX
    pool = plain.state.pool("big")
    assert pool is not None
    assert pool.terminating
    assert plain.refused(make_allocate("big", owner="new")).kind == "forbidden"
    second = plain.done(command)
    assert len(ended(second)) == 1
    endings = [r.event.ended_by for r in second.records if isinstance(r.event, LeaseEnded)]
    assert {ENDINGS[end] for end in endings} == {"revoked"}
    assert plain.state.pool("big") is None
    assert plain.refused(command).kind == "not_found"
    check_replay(plain)


def test_a_late_grant_makes_the_cascade_decide_anew(plain: TestLedger) -> None:
    """What is granted while the pool is being deleted is either revoked or refused."""
    other = TestLedger(seed=1, beside=plain)
    plain.grant("a")
    call = other.call(make_allocate("a", owner="late"))
    batch = other.plan(call)
    plain.done(make_delete("a", cascade=True))
    assert other.append(batch) == (call,)
    assert other.refused(make_allocate("a", owner="late")).kind == "not_found"


@pytest.mark.parametrize("how", ["label", "cascade", "sweep"])
def test_many_leases_with_long_labels_end_all_the_same(plain: TestLedger, how: str) -> None:
    """A commit holds so many bytes only; what ends leases takes fewer of them at once."""
    plain.apply(make_pool("big", subnet="10.8.0.0/19"))
    labels = tuple((f"key-{n}", "x" * 400) for n in range(8))
    for part in range(5):
        plain.grant("big", owner=f"o{part}", number=200, labels=labels, ttl_s=60)
    wait(plain, 60)
    commands: dict[str, Command] = {
        "label": make_release(labels=dict(labels)),
        "cascade": make_delete("big", cascade=True),
        "sweep": Sweep(),
    }
    for _commit in range(20):
        if not list(plain.state.leases()):
            break
        assert ended(plain.done(commands[how]))
    assert list(plain.state.leases()) == []
