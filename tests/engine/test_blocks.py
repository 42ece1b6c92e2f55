"""Blocks: `--prefix-length` gets the best fit, apart from everything that anybody else has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from engine.addresses import RangeSet
from engine.bulk import read_rows
from engine.commands import AllocateTogether, Apply, PutBack, Raise, Renew, SetAside, Sweep
from engine.events import LeaseGranted
from engine.reading import Continuity
from projections.free_sets import FreeSets
from replay.audit import Options, audit
from tests.builders import (
    MemoryPages,
    TestLedger,
    address,
    granted,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)

WHOLE = ["10.0.0.0-10.0.0.255"]


LEDGERS: list[TestLedger] = []


@pytest.fixture(autouse=True)
def _sound() -> Iterator[None]:
    """Whatever a test wrote is audited, counted and folded anew by all who fold."""
    LEDGERS.clear()
    yield
    for ledger in LEDGERS:
        found = audit(ledger.stream, Options(count_every=1))
        assert not found.breaches
        ledger.refresh()
        assert found.digest == ledger.digest()
        sets = FreeSets()
        for items in read_rows(ledger.stream, Continuity()):
            sets.apply_rows(items)
        for pool in ledger.state.pools():
            assert sets.counts(pool.pool_id) == ledger.state.counts(pool.pool_id)


def new_ledger() -> TestLedger:
    """A ledger that is audited after the test."""
    LEDGERS.append(TestLedger())
    return LEDGERS[-1]


def ledger_of(**fields: Any) -> TestLedger:
    """A ledger with one pool: all of 10.0.0.0/24."""
    ledger = new_ledger()
    ledger.apply(make_pool(ips=WHOLE, **fields))
    return ledger


def block(ledger: TestLedger, length: int, owner: str, **fields: Any) -> list[str]:
    """Allocate a block, or several."""
    return ledger.take(owner=owner, prefix_length=length, **fields)


def test_the_best_fit_is_granted_first() -> None:
    """The smallest free block that is large enough, and the lowest of those."""
    ledger = ledger_of()
    assert ledger.take(owner="one", ips=["10.0.0.0"]) == ["10.0.0.0"]
    assert block(ledger, 28, "a") == ["10.0.0.16/28"]  # not out of the free /25
    assert block(ledger, 30, "b") == ["10.0.0.4/30"]
    assert block(ledger, 25, "c") == ["10.0.0.128/25"]
    assert ledger.take(owner="two") == ["10.0.0.1"]
    assert ledger.counts().leased == 2 + 16 + 4 + 128
    assert block(ledger, 27, "d", number=2) == ["10.0.0.32/27", "10.0.0.64/27"]


def test_a_block_is_held_apart_from_addresses_and_from_other_lengths() -> None:
    """Asking again for the same length gets the same block; each length counts for itself."""
    ledger = ledger_of()
    (first,) = ledger.grant(owner="a", prefix_length=28)
    assert ledger.held(make_allocate(owner="a", prefix_length=28)) == (first,)
    assert ledger.take(owner="a") == ["10.0.0.16"]
    assert block(ledger, 29, "a") == ["10.0.0.24/29"]
    assert block(ledger, 28, "a", number=2) == ["10.0.0.32/28"]
    assert len(ledger.held(make_allocate(owner="a", prefix_length=28, number=2))) == 2
    assert ledger.held(make_allocate(owner="a", prefix_length=32))[0].text == "10.0.0.16"


def test_a_whole_length_is_a_single_address() -> None:
    """A /32 is what is granted without a prefix length, lowest first."""
    ledger = ledger_of()
    assert block(ledger, 32, "a") == ["10.0.0.0"]
    assert ledger.held(make_allocate(owner="a"))[0].text == "10.0.0.0"


def test_wide_blocks_of_ipv6() -> None:
    """A /64 out of a /40 costs no bits: many of them, and addresses between them."""
    ledger = new_ledger()
    everything = ["2001:db8::-2001:db8:ff:ffff:ffff:ffff:ffff:ffff"]
    ledger.apply(make_pool(subnet="2001:db8::/40", ips=everything))
    taken = block(ledger, 64, "a", number=300)
    assert taken[:2] == ["2001:db8::/64", "2001:db8:0:1::/64"]
    assert ledger.take(owner="b") == ["2001:db8:0:12c::"]
    assert block(ledger, 48, "c") == ["2001:db8:1::/48"]
    assert ledger.counts().leased == 300 * 2**64 + 1 + 2**80
    ledger.done(make_release(owner="a"))
    assert ledger.take(owner="d") == ["2001:db8::"]
    assert ledger.digest() == TestLedger(seed=1, beside=ledger).digest()


@pytest.mark.parametrize(
    ("length", "told"),
    [(23, "pool pool is 10.0.0.0/24, smaller than a /23"), (33, "from 0 to 32"), (-1, "0 to 32")],
)
def test_an_impossible_length_is_invalid(length: int, told: str) -> None:
    """A block that no pool of a group could ever hold is bad input, and not exhaustion."""
    refusal = ledger_of().refused(make_allocate(prefix_length=length))
    assert (refusal.kind, told in refusal.message) == ("invalid", True)


def test_a_pool_that_is_too_small_is_passed_over() -> None:
    """The next pool of a group is used, as when one is exhausted."""
    ledger = ledger_of()
    ledger.apply(make_pool("wide", "10.1.0.0/16", ips=["10.1.0.0-10.1.255.255"]))
    assert ledger.take("pool,wide", owner="a", prefix_length=20) == ["10.1.0.0/20"]
    assert ledger.take("pool,wide", owner="a", prefix_length=24, number=2) == [
        "10.0.0.0/24", "10.1.16.0/24"
    ]  # fmt: skip


def test_exhaustion_says_what_is_left() -> None:
    """The wording is the known one, and the lengths that could be had are listed."""
    ledger = ledger_of()
    ledger.take(owner="one", ips=["10.0.0.0"])
    block(ledger, 25, "a")
    refusal = ledger.refused(make_allocate(owner="b", prefix_length=25))
    assert refusal.kind == "exhausted"
    assert refusal.message.startswith("all IP addresses used out: pool pool has no free /25; ")
    assert "127 addresses are free, in blocks: 1 of /26, 1 of /27, 1 of /28" in refusal.message


def test_exhaustion_says_where_the_addresses_are() -> None:
    """As the refusal of a single address does: what rests is worth waiting for."""
    ledger = ledger_of(cooldown_s=60)
    block(ledger, 25, "a")
    block(ledger, 25, "b")
    ledger.done(make_release(owner="a"))
    message = ledger.refused(make_allocate(owner="c", prefix_length=29)).message
    assert message == (
        "all IP addresses used out: pool pool has no free /29; nothing is free; "
        "it has 256 addresses: 128 leased, 128 cooling"
    )


def test_this_very_block() -> None:
    """`--ip` with a prefix length asks for one block, and says what is in its way."""
    ledger = ledger_of()
    assert block(ledger, 28, "a", ips=["10.0.0.64"]) == ["10.0.0.64/28"]
    ledger.take(owner="one", ips=["10.0.0.37"])

    def refused(ip: str, length: int) -> tuple[str, str]:
        refusal = ledger.refused(make_allocate(owner="b", ips=[ip], prefix_length=length))
        return refusal.kind, refusal.message

    assert refused("10.0.0.66", 28) == (
        "invalid", "10.0.0.66/28 is no block: its address lies inside 10.0.0.64/28"
    )  # fmt: skip
    assert refused("10.0.0.64", 27) == ("conflict", "10.0.0.64/28 is leased to a (lease 3)")
    assert refused("10.0.0.68", 30) == ("conflict", "10.0.0.64/28 is leased to a (lease 3)")
    assert refused("10.0.0.32", 28)[1] == "10.0.0.37 is leased to one (lease 4)"
    taken = ledger.refused(make_allocate(owner="c", ips=["10.0.0.70"]))
    assert taken.message == "10.0.0.64/28 is leased to a (lease 3)"


def test_what_is_reserved_or_set_aside_is_in_no_block() -> None:
    """Unless the reservation is the owner's, who gets its own block first."""
    ledger = ledger_of()
    ledger.apply(make_reservation("kept", "10.0.0.3"))
    ledger.apply(make_reservation("own", "10.0.0.32-10.0.0.47", owner="a"))
    ledger.done(SetAside(RangeSet.parse(["10.0.0.130"]), "it answers"))
    assert block(ledger, 28, "a") == ["10.0.0.32/28"]
    assert block(ledger, 28, "b") == ["10.0.0.16/28"]
    refusal = ledger.refused(make_allocate(owner="b", ips=["10.0.0.0"], prefix_length=29))
    assert (refusal.kind, refusal.message) == ("forbidden", "10.0.0.3 is reserved by kept")
    refusal = ledger.refused(make_allocate(owner="b", ips=["10.0.0.128"], prefix_length=29))
    assert refusal.message == "10.0.0.130 is quarantined"
    assert block(ledger, 26, "c") == ["10.0.0.64/26"]
    assert block(ledger, 26, "d") == ["10.0.0.192/26"]


def test_a_new_incarnation_gets_the_block_again() -> None:
    """Another uid supersedes a block, also while it would have to rest."""
    ledger = ledger_of(cooldown_s=60)
    (first,) = ledger.grant(owner="a", uid="1", prefix_length=28)
    (second,) = ledger.grant(owner="a", uid="2", prefix_length=28)
    assert (second.text, second.lease_id != first.lease_id) == (first.text, True)
    assert ledger.counts().leased == 16
    assert ledger.counts().cooling == 0


def test_a_block_rests_as_a_whole() -> None:
    """Nothing of it is given out before its time; then time alone makes it available."""
    ledger = ledger_of(cooldown_s=60)
    (whole,) = ledger.grant(owner="a", prefix_length=24)
    ledger.done(make_release(whole.lease_id))
    assert (ledger.counts().cooling, ledger.counts().free) == (256, 0)
    assert ledger.refused(make_allocate(owner="b")).kind == "exhausted"
    assert ledger.refused(make_allocate(owner="b", prefix_length=30)).kind == "exhausted"
    told = ledger.refused(make_allocate(owner="b", ips=["10.0.0.8"], prefix_length=30))
    assert told.message == "a part of 10.0.0.8/30 rests after its release"
    ledger.clock.now_ms += 60_000
    assert block(ledger, 30, "b") == ["10.0.0.0/30"]
    assert ledger.take(owner="c") == ["10.0.0.4"]
    assert ledger.counts().cooling == 0


def test_singles_that_have_rested_become_a_block() -> None:
    """A block may be made of what time alone has freed, and of leases past their time."""
    ledger = ledger_of()
    ledger.apply(make_pool("small", "10.1.0.0/28", ips=["10.1.0.0-10.1.0.15"], cooldown_s=60))
    ledger.grant("small", owner="a", number=16)
    ledger.done(make_release(owner="a"))
    ledger.clock.now_ms += 60_000
    assert ledger.take("small", owner="b", prefix_length=30) == ["10.1.0.0/30"]

    ledger.grant(owner="short", number=256, ttl_s=5)
    ledger.clock.now_ms += 5_000
    done = ledger.done(make_allocate(owner="c", prefix_length=31))
    assert [lease.text for lease in granted(done)] == ["10.0.0.0/31"]
    assert len(done.records) == 3


def test_a_pool_change_cuts_what_rests() -> None:
    """A resting block of which a part leaves the pool goes on resting, here and outside."""
    ledger = ledger_of(cooldown_s=60)
    (whole,) = ledger.grant(owner="a", prefix_length=24)
    ledger.done(make_release(whole.lease_id))
    ledger.apply(make_pool(ips=["10.0.0.0-10.0.0.99"], cooldown_s=60))
    assert (ledger.counts().cooling, ledger.counts().free) == (100, 0)
    ledger.apply(make_pool("rest", "10.0.0.0/24", ips=["10.0.0.100-10.0.0.255"]))
    assert (ledger.counts("rest").cooling, ledger.counts("rest").free) == (156, 0)
    ledger.clock.now_ms += 60_000
    ledger.apply(make_reservation("late", "10.9.9.9"))
    assert (ledger.counts().free, ledger.counts("rest").free) == (100, 156)
    assert ledger.take("rest", owner="b", prefix_length=25) == ["10.0.0.128/25"]


def test_an_address_finds_its_block() -> None:
    """Whoever asks for an address learns of the block; a release by address must mean all of it."""
    ledger = ledger_of()
    (held,) = ledger.grant(owner="a", prefix_length=28)
    assert ledger.state.lease_at(address("10.0.0.9")) == held
    inside = make_release(owner="a", ip="10.0.0.9")
    refusal = ledger.refused(inside)
    assert (refusal.kind, refusal.message) == (
        "conflict", "10.0.0.9 is a part of 10.0.0.0/28 (lease 3)"
    )  # fmt: skip
    ledger.done(make_release(owner="a", ip="10.0.0.0"))
    assert ledger.counts().free == 256


def test_trouble_in_a_leased_block() -> None:
    """What is reported on an address in a block sets all of it aside when the lease ends."""
    ledger = ledger_of()
    (held,) = ledger.grant(owner="a", prefix_length=28)
    ledger.done(SetAside(RangeSet.parse(["10.0.0.9"]), "it answers"))
    assert ledger.refused(SetAside(RangeSet.parse(["10.0.0.3"]), "again")).kind == "conflict"
    ledger.done(make_release(held.lease_id))
    assert ledger.counts().quarantined == 16
    ledger.done(PutBack(RangeSet.parse(["10.0.0.0-10.0.0.7"])))
    assert block(ledger, 29, "b") == ["10.0.0.0/29"]


def test_a_block_in_use_stays_in_its_pool() -> None:
    """V20 counts every address of a block; a cascade revokes it as a whole."""
    ledger = ledger_of()
    (held,) = ledger.grant(owner="a", prefix_length=28)
    refusal = ledger.refused(Apply((make_pool(ips=["10.0.0.0-10.0.0.7"]),)))
    assert "10.0.0.0/28 is in use and cannot be removed or excluded (V20)" in refusal.message
    done = ledger.done(make_delete("pool", cascade=True))
    assert len(done.records) == 2
    assert ledger.state.pool("pool") is None
    assert ledger.state.lease(held.lease_id) is None


def test_a_block_is_renewed_and_expires() -> None:
    """Its lease has a time to live as any other."""
    ledger = ledger_of()
    (held,) = ledger.grant(owner="a", prefix_length=28, ttl_s=10)
    ledger.clock.now_ms += 5_000
    ledger.done(Renew(held.lease_id))
    ledger.clock.now_ms += 9_000
    ledger.run(Sweep())
    assert ledger.counts().leased == 16
    ledger.clock.now_ms += 1_000
    ledger.done(Sweep())
    assert ledger.counts().free == 256


def test_a_late_report_of_a_block() -> None:
    """`effective_at` of a block is never before the last tenure of any address in it."""
    ledger = ledger_of()
    began_ms = ledger.clock.now_ms
    (one,) = ledger.grant(owner="one", ips=["10.0.0.5"])
    ledger.clock.now_ms += 10_000
    ledger.done(make_release(one.lease_id))
    ledger.clock.now_ms += 10_000
    asked: dict[str, Any] = {"ips": ["10.0.0.0"], "prefix_length": 29, "owner": "a"}
    early = ledger.refused(make_allocate(effective_at_ms=began_ms + 9_000, **asked))
    assert early.message.startswith("effective_at is too early: a part of 10.0.0.0/29 was held")
    (held,) = ledger.grant(effective_at_ms=began_ms + 11_000, **asked)
    ledger.done(make_release(held.lease_id))
    single = make_allocate(owner="b", ips=["10.0.0.6"], effective_at_ms=began_ms + 12_000)
    assert "10.0.0.6 was held until" in ledger.refused(single).message
    assert ledger.take(owner="c", prefix_length=29, effective_at_ms=began_ms + 12_000) == [
        "10.0.0.8/29"
    ]


def test_several_interfaces_get_what_does_not_overlap() -> None:
    """Blocks and addresses of one commit are apart, or nothing is granted."""
    ledger = ledger_of()
    both = AllocateTogether(
        (make_allocate(interface="eth0", prefix_length=28), make_allocate(interface="eth1"))
    )
    assert [x.text for x in granted(ledger.done(both))] == ["10.0.0.0/28", "10.0.0.16"]
    overlapping = AllocateTogether((
        make_allocate(owner="b", interface="eth0", prefix_length=28, ips=["10.0.0.32"]),
        make_allocate(owner="b", interface="eth1", ips=["10.0.0.40"]),
    ))  # fmt: skip
    refusal = ledger.refused(overlapping)
    assert refusal.message == "10.0.0.40 would be given on two interfaces"


def test_one_batch_proposes_nothing_twice() -> None:
    """Blocks of several lengths and addresses, decided together on one state."""
    ledger = ledger_of()
    lengths = [28, None, 30, None, 26, 29, None, 28, 27]
    calls = [
        ledger.call(make_allocate(owner=f"o{n}", prefix_length=length))
        for n, length in enumerate(lengths)
    ]
    batch = ledger.plan(*calls)
    assert len(batch.members) == len(lengths)
    assert not ledger.append(batch)
    taken = [range(int.from_bytes(x.address), x.last + 1) for x in ledger.state.leases()]
    assert len({value for each in taken for value in each}) == sum(map(len, taken))


def test_a_block_and_an_address_of_another_writer_collide() -> None:
    """The append script finds that a block and an address in it overlap, whichever came first."""
    ledger = ledger_of()
    other = TestLedger(seed=1, beside=ledger)
    ledger.take(owner="a")  # the other writer does not know
    call = other.call(make_allocate(owner="b", prefix_length=28))
    batch = other.plan(call)
    ((event, *_),) = batch.members[0].parts
    assert isinstance(event, LeaseGranted)
    assert (event.address, event.prefix_length) == (address("10.0.0.0"), 28)
    assert other.append(batch) == (call,)
    assert call.outcome is None, "it conflicts with the address, and is decided anew"

    (taken,) = other.grant(owner="c", ips=["10.0.0.64"], prefix_length=26)
    call = ledger.call(make_allocate(owner="d", ips=["10.0.0.70"]))
    assert ledger.append(ledger.plan(call)) == (call,)
    refusal = ledger.refused(make_allocate(owner="d", ips=["10.0.0.70"]))
    assert refusal.message == f"10.0.0.64/26 is leased to c (lease {taken.lease_id})"


def test_a_space_of_level_1_grants_no_block() -> None:
    """Older readers would not understand it: the space is raised first."""
    LEDGERS.append(ledger := TestLedger(level=1))
    ledger.apply(make_pool(ips=WHOLE))
    refusal = ledger.refused(make_allocate(prefix_length=28))
    assert refusal.message == "the space has format level 1, which knows no blocks"
    assert block(ledger, 32, "a") == ["10.0.0.0"]
    ledger.done(Raise(2))
    assert block(ledger, 28, "a") == ["10.0.0.16/28"]


def test_everything_is_kept() -> None:
    """A local view keeps blocks, what rests of them and where they are found."""
    ledger = new_ledger()
    everything = ["2001:db8::-2001:db8:ff:ffff:ffff:ffff:ffff:ffff"]
    ledger.apply(make_pool(subnet="2001:db8::/40", ips=everything, cooldown_s=60))
    ledger.apply(make_pool("v4", ips=WHOLE, cooldown_s=60))
    for number, length in enumerate((64, 64, 110, 112, 120, 127)):
        ledger.take(owner=f"o{number}", prefix_length=length)
        ledger.take("v4", owner=f"o{number}", prefix_length=31)
    for number in (1, 4):
        ledger.done(make_release(owner=f"o{number}"))
    digest, counts = ledger.digest(), ledger.counts()
    before = ledger.state
    ledger.take_up(MemoryPages())
    assert (ledger.digest(), ledger.counts()) == (digest, counts)
    for lease in before.leases():
        assert ledger.state.lease_at(lease.address) == lease
    ledger.clock.now_ms += 60_000
    (last,) = ledger.grant(owner="last", prefix_length=120)
    assert last.text == "2001:db8:0:2::5:200/120"
    assert ledger.digest() == TestLedger(seed=1, beside=ledger).digest()
