"""Leases from elsewhere: each goes on at its very address and until its very end, or is refused."""

from __future__ import annotations

from typing import Any

import pytest

from engine.addresses import RangeSet
from engine.commands import Adopt, Adopted, Renew, SetAside, Sweep
from engine.decide_adopt import Past, adoption
from engine.errors import Refusal
from engine.events import LeaseGranted, SpaceCreated
from engine.facts import Lease, Pool
from engine.model import Selector, Selectors
from engine.range_index import PoolFinder
from tests.builders import (
    START_MS,
    TestLedger,
    address,
    granted,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)

HOUR_MS = 3_600_000


@pytest.fixture
def ledger() -> TestLedger:
    """A space with a pool `a` of nine addresses, an hour after it was made."""
    ledger = TestLedger()
    ledger.apply(make_pool("a", ips=["10.0.0.1-10.0.0.9"], ttl_s=60))
    ledger.clock.now_ms += HOUR_MS
    return ledger


def lease_at(ip: str = "10.0.0.5", owner: str = "pod-1", **fields: Any) -> Adopted:
    """A lease of somebody else's."""
    raw = address(ip)
    return Adopted(raw, fields.pop("length", len(raw) * 8), owner, **fields)


def adopt(*leases: Adopted) -> Adopt:
    """The command."""
    return Adopt(leases, "kea")


def why_not(ledger: TestLedger, lease: Adopted) -> Refusal:
    """Why a lease is refused, as a command alone and as a part of one."""
    refusal = ledger.refused(adopt(lease))
    finder = PoolFinder(ledger.state.pools())
    assert adoption(ledger.state, finder, lease, ledger.clock.now_ms) == refusal
    other = "10.0.0.9"
    done = ledger.done(adopt(lease, lease_at(other, "bystander")))
    assert [lease.text for lease in granted(done)] == [other], "the others are not held up"
    return refusal


def test_a_lease_goes_on_as_it_was(ledger: TestLedger) -> None:
    """All that is known of it is kept, and where it is from; its pool's lease time is not asked."""
    since_ms = ledger.clock.now_ms - 600_000
    wanted = lease_at(
        interface="net1", uid="u", labels=(("k", "v"),), cluster="c", effective_at_ms=since_ms,
        ttl_s=900, pool="a",
    )  # fmt: skip
    done = ledger.done(adopt(wanted, lease_at("10.0.0.7", "pod-2")))
    first, second = granted(done)
    assert first == Lease(
        3, 2, address("10.0.0.5"), 32, "pod-1", "net1", "u", (("k", "v"),), "c",
        ledger.clock.now_ms, since_ms, 900, since_ms + 900_000, 3,
    )  # fmt: skip
    assert (second.ttl_s, second.expires_at_ms) == (None, None)
    assert [ledger.state.lease(lease.lease_id) for lease in (first, second)] == [first, second]
    for record in done.records:
        assert isinstance(record.event, LeaseGranted)
        assert record.event.source == "kea"


def test_its_end_is_that_of_there(ledger: TestLedger) -> None:
    """It is due at its end elsewhere, to the millisecond, and a renewal counts from now again."""
    since_ms = ledger.clock.now_ms - 600_000
    done = ledger.done(adopt(lease_at(effective_at_ms=since_ms, ttl_s=900)))
    (lease,) = granted(done)
    ledger.clock.now_ms = since_ms + 900_000 - 1
    assert ledger.held(Sweep()) == ()
    ledger.done(Renew(lease.lease_id))
    renewed = ledger.state.lease(lease.lease_id)
    assert renewed is not None
    assert renewed.expires_at_ms == ledger.clock.now_ms + 900_000
    ledger.clock.now_ms += 900_000
    ledger.done(Sweep())
    assert ledger.state.lease(lease.lease_id) is None


def test_what_is_held_just_so_is_nothing(ledger: TestLedger) -> None:
    """Also after it was renewed here, and also if the second file does not say since when."""
    since_ms = ledger.clock.now_ms - 600_000
    wanted = lease_at(effective_at_ms=since_ms, ttl_s=900, uid="u")
    lease, _ = granted(ledger.done(adopt(wanted, lease_at("10.0.0.6", "b"))))
    assert [held.lease_id for held in ledger.held(adopt(wanted))] == [lease.lease_id]
    assert ledger.held(adopt(wanted._replace(effective_at_ms=None)))
    ledger.clock.now_ms += 1_000
    ledger.done(Renew(lease.lease_id, 1_200))
    assert ledger.held(adopt(wanted))
    assert ledger.held(adopt(lease_at("10.0.0.6", "b")))


@pytest.mark.parametrize(
    ("change", "about"),
    [
        ({"uid": "v"}, "uid"), ({"uid": None}, "uid"), ({"labels": (("a", "b"),)}, "labels"),
        ({"cluster": "c"}, "cluster"), ({"ttl_s": None}, "ttl"), ({"ttl_s": 901}, "end"),
        ({"effective_at_ms": START_MS + HOUR_MS - 600_001}, "end"),
    ],
)  # fmt: skip
def test_a_held_lease_that_differs_is_refused(
    ledger: TestLedger, change: dict[str, Any], about: str
) -> None:
    """Nothing is silently changed: the refusal names what differs, and how to import it anew."""
    since_ms = ledger.clock.now_ms - 600_000
    wanted = lease_at(effective_at_ms=since_ms, ttl_s=900, uid="u")
    ledger.done(adopt(wanted))
    refusal = why_not(ledger, wanted._replace(**change))
    assert (refusal.kind, refusal.about) == ("conflict", about)
    assert "ipledger release 3" in refusal.hint


def test_a_lease_without_an_end_differs_in_its_beginning(ledger: TestLedger) -> None:
    """There is no end to compare, so its beginning is."""
    since_ms = ledger.clock.now_ms - 600_000
    ledger.done(adopt(lease_at(effective_at_ms=since_ms)))
    assert ledger.held(adopt(lease_at(effective_at_ms=since_ms)))
    assert why_not(ledger, lease_at(effective_at_ms=since_ms + 1)).about == "since"


def test_an_address_of_somebody_else_is_refused(ledger: TestLedger) -> None:
    """Whoever holds it keeps it, on whatever interface."""
    ledger.done(adopt(lease_at(owner="somebody")))
    assert why_not(ledger, lease_at()).about == "owner"
    assert ledger.refused(adopt(lease_at(owner="somebody", interface="net1"))).kind == "conflict"


def test_an_address_of_no_pool_is_refused(ledger: TestLedger) -> None:
    """Outside of all, in a gap, excluded, of the other family; or of another pool than is said."""
    ledger.apply(make_pool("b", "10.0.1.0/24", ips=["10.0.1.1-10.0.1.9"], exclude_ips=["10.0.1.5"]))
    for ip in ("9.9.9.9", "10.0.0.10", "10.0.1.5", "10.0.2.1", "fd00::1"):
        assert ledger.refused(adopt(lease_at(ip))).kind == "not_found"
    refusal = why_not(ledger, lease_at("10.0.1.6", pool="a"))
    assert (refusal.kind, refusal.about) == ("conflict", "pool")


def test_a_terminating_pool_takes_nothing(ledger: TestLedger) -> None:
    """It would not end; nothing is refused by a pool that only gives out nothing new."""
    ledger.done(adopt(lease_at()))
    ledger.done(make_delete("a"))
    assert ledger.refused(adopt(lease_at("10.0.0.6"))).kind == "forbidden"
    selective = Selectors(pod_affinity=Selector((("a", "b"),)))
    ledger.apply(
        make_pool("off", "10.0.1.0/24", disabled=True),
        make_pool("choosy", "10.0.2.0/24", selectors=selective),
    )
    done = ledger.done(adopt(lease_at("10.0.1.5"), lease_at("10.0.2.5")))
    assert len(granted(done)) == 2


def test_what_is_kept_from_everybody_is_refused(ledger: TestLedger) -> None:
    """Reserved, unless for this very owner; quarantined; resting."""
    ledger.apply(
        make_reservation("mine", "10.0.0.5", owner="pod-1"), make_reservation("no", "10.0.0.6"),
        make_pool("a", ips=["10.0.0.1-10.0.0.9"], cooldown_s=60),
    )  # fmt: skip
    assert why_not(ledger, lease_at("10.0.0.6")).message == "10.0.0.6 is reserved by no"
    assert ledger.refused(adopt(lease_at("10.0.0.5", "pod-2"))).kind == "forbidden"
    assert granted(ledger.done(adopt(lease_at("10.0.0.5"))))
    ledger.done(SetAside(RangeSet.parse(["10.0.0.7"]), "arp"))
    assert "quarantined" in ledger.refused(adopt(lease_at("10.0.0.7"))).message
    (lease,) = ledger.grant("a", owner="b", ips=["10.0.0.2"])
    ledger.done(make_release(lease.lease_id))
    assert "rests after its release" in ledger.refused(adopt(lease_at("10.0.0.2"))).message
    ledger.clock.now_ms += 60_000
    assert granted(ledger.done(adopt(lease_at("10.0.0.2"))))


def test_it_cannot_have_begun_before_the_last_holder_ended(ledger: TestLedger) -> None:
    """Nor in time to come, nor before 1970: one address, one holder, at every moment."""
    (lease,) = ledger.grant("a", owner="b", ips=["10.0.0.5"])
    ledger.clock.now_ms += 1_000
    ledger.done(make_release(lease.lease_id))
    ended_ms = ledger.clock.now_ms
    ledger.clock.now_ms += 1_000
    refusal = why_not(ledger, lease_at(effective_at_ms=ended_ms - 1))
    assert (refusal.kind, refusal.about) == ("conflict", "effective_at")
    assert granted(ledger.done(adopt(lease_at(effective_at_ms=ended_ms))))
    for wrong_ms in (ledger.clock.now_ms + 1, -1):
        refusal = ledger.refused(adopt(lease_at("10.0.0.1", effective_at_ms=wrong_ms)))
        assert (refusal.kind, refusal.about) == ("invalid", "effective_at")


def test_what_is_past_its_end_is_left_out(ledger: TestLedger) -> None:
    """It is no refusal: there is nothing to go on with."""
    gone = lease_at(effective_at_ms=ledger.clock.now_ms - 60_000, ttl_s=60)
    finder = PoolFinder(ledger.state.pools())
    verdict = adoption(ledger.state, finder, gone, ledger.clock.now_ms)
    assert verdict == Past(ledger.clock.now_ms)
    assert ledger.held(adopt(gone)) == ()
    one_more = gone._replace(effective_at_ms=ledger.clock.now_ms - 59_999)
    assert isinstance(adoption(ledger.state, finder, one_more, ledger.clock.now_ms), Pool)


def test_an_address_is_adopted_once(ledger: TestLedger) -> None:
    """The first in a command has it, whoever the second is."""
    done = ledger.done(adopt(lease_at(), lease_at(owner="pod-2"), lease_at("10.0.0.6")))
    assert [lease.owner for lease in granted(done)] == ["pod-1", "pod-1"]


def test_another_writer_may_be_faster(ledger: TestLedger) -> None:
    """Whoever decided on an older state decides again: what the other granted is refused then."""
    late = TestLedger(seed=1, beside=ledger)
    ledger.done(adopt(lease_at(owner="fast")))
    done = late.done(adopt(lease_at(owner="slow"), lease_at("10.0.0.6", "slow")))
    assert [lease.text for lease in granted(done)] == ["10.0.0.6"]


def test_a_repeated_command_is_answered_from_the_stream(ledger: TestLedger) -> None:
    """By its command id, as every command."""
    first = ledger.done(adopt(lease_at()), "import-1")
    again = ledger.done(adopt(lease_at()), "import-1")
    assert again.repeated
    assert granted(again) == granted(first)


def test_only_a_space_of_level_2_knows_sources(ledger: TestLedger) -> None:
    """Older releases would count the time of such a lease from another moment."""
    ledger.state.space = SpaceCreated(bytes(16), "default", 1)
    assert ledger.refused(adopt(lease_at())).about == "level"


# ----------------------------------------------------------------------------------------- blocks


@pytest.fixture
def wide() -> TestLedger:
    """A space with a pool of 10.0.0.0-10.0.0.99."""
    ledger = TestLedger()
    ledger.apply(make_pool("a", ips=["10.0.0.0-10.0.0.99"], cooldown_s=60))
    ledger.clock.now_ms += HOUR_MS
    return ledger


def test_a_block_goes_on_as_one(wide: TestLedger) -> None:
    """A delegated prefix is one lease, held once; its addresses are nobody else's."""
    block = lease_at("10.0.0.16", length=28, effective_at_ms=wide.clock.now_ms - 1, ttl_s=60)
    (lease,) = granted(wide.done(adopt(block)))
    assert (lease.text, lease.expires_at_ms) == ("10.0.0.16/28", wide.clock.now_ms - 1 + 60_000)
    assert wide.held(adopt(block)) == (lease,)
    assert wide.take("a", owner="b", ips=["10.0.0.15"]) == ["10.0.0.15"]
    assert wide.refused(make_allocate("a", owner="b", ips=["10.0.0.20"])).kind == "conflict"


@pytest.mark.parametrize(
    ("ip", "length"), [("10.0.0.16", 28), ("10.0.0.20", 32), ("10.0.0.0", 27), ("10.0.0.16", 30)]
)
def test_blocks_do_not_overlap(wide: TestLedger, ip: str, length: int) -> None:
    """Neither another's block nor what is in it or around it; one's own differs in its size."""
    wide.done(adopt(lease_at("10.0.0.16", "other", length=28)))
    refusal = wide.refused(adopt(lease_at(ip, length=length)))
    assert (refusal.kind, refusal.about) == ("conflict", "owner")
    if length != 28:
        refusal = wide.refused(adopt(lease_at(ip, "other", length=length)))
        assert refusal.about in {"address", "prefix length"}
    apart = lease_at("10.0.0.32", length=28)
    done = wide.done(adopt(lease_at(ip, length=length), apart, apart._replace(owner="x")))
    assert [lease.text for lease in granted(done)] == ["10.0.0.32/28"]


def test_one_address_keeps_a_block_away(wide: TestLedger) -> None:
    """One that is leased, reserved, quarantined, resting, of no pool, or held later than then."""
    wide.apply(make_reservation("r", "10.0.0.33"), make_reservation("own", "10.0.0.49", owner="me"))
    wide.done(SetAside(RangeSet.parse(["10.0.0.65"]), "arp"))
    wide.grant("a", owner="b", ips=["10.0.0.19"])
    (lease,) = wide.grant("a", owner="b", interface="net1", ips=["10.0.0.83"])
    wide.done(make_release(lease.lease_id))
    for ip, told in (
        ("10.0.0.16", "10.0.0.19 is leased to b"), ("10.0.0.32", "reserved by r"),
        ("10.0.0.48", "reserved by own"), ("10.0.0.64", "quarantined"), ("10.0.0.80", "rests"),
        ("10.0.0.96", "is not all of pool a: 10.0.0.100-10.0.0.111"), ("10.0.0.1", "host bits"),
    ):  # fmt: skip
        assert told in wide.refused(adopt(lease_at(ip, length=28))).message
    assert granted(wide.done(adopt(lease_at("10.0.0.48", "me", length=28))))
    ended_ms = wide.clock.now_ms
    wide.clock.now_ms += 60_000
    early = lease_at("10.0.0.80", length=28, effective_at_ms=ended_ms - 1)
    assert wide.refused(adopt(early)).about == "effective_at"
    assert granted(wide.done(adopt(early._replace(effective_at_ms=ended_ms))))
