"""Who gets which address: allocation, in every form in which it can be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from engine import tags
from engine.commands import Allocate, Claim
from engine.draft import UNSALTED, Draft
from engine.entry import COMMIT_EVENTS_MAX
from engine.events import LeaseEnded, LeaseGranted, Sealed
from engine.facts import Counts, Lease
from engine.model import ENDINGS, Selector, Selectors
from engine.placement import Placement
from ipledger.writing import Done, Held
from tests.builders import (
    TestLedger,
    address,
    ended,
    granted,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)

SMALL = ["10.0.0.1-10.0.0.4"]


@pytest.fixture
def ledger() -> TestLedger:
    """A space with a pool `a` of four addresses, and an empty-handed `pod-1`."""
    ledger = TestLedger()
    ledger.apply(make_pool("a", ips=SMALL))
    return ledger


@pytest.fixture
def two(ledger: TestLedger) -> TestLedger:
    """The same with a second pool `b` of two addresses, and `six` of two IPv6 addresses."""
    ledger.apply(
        make_pool("b", "10.0.1.0/24", ips=["10.0.1.1-10.0.1.2"]),
        make_pool("six", "fd00::/64", ips=["fd00::1-fd00::2"]),
    )
    return ledger


# ------------------------------------------------------------------------------ which address


def test_the_lowest_free_address_is_first(ledger: TestLedger) -> None:
    """In ascending order, and what was released last is taken next if it is the lowest."""
    assert [ledger.take("a", owner=f"pod-{n}")[0] for n in range(3)] == [
        "10.0.0.1", "10.0.0.2", "10.0.0.3",
    ]  # fmt: skip
    ledger.done(make_release(owner="pod-1"))
    assert ledger.take("a", owner="late") == ["10.0.0.2"]
    assert ledger.take("a", owner="later") == ["10.0.0.4"]


def test_a_lease_is_what_was_asked_for(ledger: TestLedger) -> None:
    """All of the request is in the lease; its id is its position, its time the stream's."""
    ledger.clock.now_ms += 1_234
    (lease,) = ledger.grant(
        "a", owner="c/ns/pod", interface="net1", uid="u", ttl_s=60, labels=(("k", "v"),),
        cluster="c",
    )  # fmt: skip
    assert lease == Lease(
        3, 2, address("10.0.0.1"), 32, "c/ns/pod", "net1", "u", (("k", "v"),), "c",
        ledger.clock.now_ms, ledger.clock.now_ms, 60, ledger.clock.now_ms + 60_000, 3,
    )  # fmt: skip
    assert lease.expires_at_ms == ledger.clock.now_ms + 60_000
    assert ledger.state.lease(3) == ledger.state.lease_at(lease.address) == lease


def test_without_a_time_the_pools_default_holds(ledger: TestLedger) -> None:
    """The pool's lease time is taken when the request names none, as it is at that moment."""
    ledger.apply(make_pool("a", ips=SMALL, ttl_s=3_600))
    (default,) = ledger.grant("a")
    (own,) = ledger.grant("a", owner="pod-2", ttl_s=5)
    ledger.apply(make_pool("a", ips=SMALL))
    (none,) = ledger.grant("a", owner="pod-3")
    assert [lease.ttl_s for lease in (default, own, none)] == [3_600, 5, None]
    assert none.expires_at_ms is None


def test_a_specific_address_that_is_free(ledger: TestLedger) -> None:
    """Exactly that one, and the next free one is still the lowest."""
    assert ledger.take("a", ips=["10.0.0.3"]) == ["10.0.0.3"]
    assert ledger.take("a", owner="pod-2") == ["10.0.0.1"]


def test_a_specific_address_that_is_leased(ledger: TestLedger) -> None:
    """A conflict that names the holder, its lease and where that stands."""
    (lease,) = ledger.grant("a", owner="holder")
    refusal = ledger.refused(make_allocate("a", ips=["10.0.0.1"]))
    assert (refusal.kind, refusal.position) == ("conflict", lease.lease_id)
    assert "holder" in refusal.message
    assert f"lease {lease.lease_id}" in refusal.message


def test_a_specific_address_that_is_reserved(ledger: TestLedger) -> None:
    """Forbidden, naming the reservation; but its owner gets it."""
    ledger.apply(make_reservation("r", "10.0.0.2", owner="redis"))
    refusal = ledger.refused(make_allocate("a", ips=["10.0.0.2"]))
    assert refusal.kind == "forbidden"
    assert "reserved by r" in refusal.message
    assert ledger.take("a", owner="redis", ips=["10.0.0.2"]) == ["10.0.0.2"]


@pytest.mark.parametrize("ip", ["10.0.0.5", "10.0.0.4", "192.0.2.1", "fd00::1"])
def test_a_specific_address_that_is_no_address_of_the_pool(ledger: TestLedger, ip: str) -> None:
    """Excluded, beside the ranges, outside the subnet or of the other family: invalid."""
    ledger.apply(make_pool("a", ips=SMALL, exclude_ips=["10.0.0.4"]))
    refusal = ledger.refused(make_allocate("a", ips=[ip]))
    assert (refusal.kind, refusal.about) == ("invalid", "ip")
    assert ip in refusal.message


def test_an_address_of_no_pool_is_invalid_also_when_there_is_no_other(ledger: TestLedger) -> None:
    """Where nothing is free, and where nothing is given out: waiting would not make it theirs."""
    ledger.grant("a", owner="others", number=4)
    assert ledger.refused(make_allocate("a", ips=["10.0.0.9"])).kind == "invalid"
    ledger.apply(make_pool("a", ips=["10.0.0.1-10.0.0.4"], disabled=True))
    assert ledger.refused(make_allocate("a", ips=["10.0.0.9"])).kind == "invalid"


def test_specific_and_any_addresses_together(ledger: TestLedger) -> None:
    """What is named is granted, the rest of the number is chosen around it."""
    assert ledger.take("a", number=3, ips=["10.0.0.2"]) == ["10.0.0.2", "10.0.0.1", "10.0.0.3"]


def test_specific_addresses_of_several_pools(two: TestLedger) -> None:
    """Each is granted from the pool that it is of, in whatever order they are named."""
    addresses = two.take("a", "b", ips=["10.0.1.2", "10.0.0.3"])
    assert sorted(addresses) == ["10.0.0.3", "10.0.1.2"]
    refusal = two.refused(make_allocate("a", "b", owner="x", ips=["10.0.0.1", "10.0.0.2"]))
    assert (refusal.kind, refusal.about) == ("invalid", "count")


# ------------------------------------------------------------------------------- bring me to N


def test_bring_me_to_n(ledger: TestLedger) -> None:
    """A number is what the owner shall hold, not how many more it wants."""
    (one,) = ledger.grant("a")
    done = ledger.done(make_allocate("a", number=3))
    assert [lease.text for lease in granted(done)] == ["10.0.0.2", "10.0.0.3"]
    first = done.records[0].event
    assert isinstance(first, LeaseGranted)
    assert first.beside == (one.lease_id,), "a repeat must be able to tell all three"
    assert len(ledger.held(make_allocate("a", number=3))) == 3
    assert ledger.held(make_allocate("a", number=2)) == (one, granted(done)[0])
    assert ledger.held(make_allocate("a")) == (one,)


def test_n_is_all_or_nothing(ledger: TestLedger) -> None:
    """One address too many and none is granted."""
    assert ledger.refused(make_allocate("a", number=5)).kind == "exhausted"
    assert ledger.counts("a").free == 4
    assert len(ledger.take("a", number=4)) == 4


# --------------------------------------------------------------------------- fallback and joint


def test_the_next_pool_is_used_when_one_is_exhausted(two: TestLedger) -> None:
    """In the user's order, also within one request, and whatever the pools are called."""
    assert two.take("b,a", number=3) == ["10.0.1.1", "10.0.1.2", "10.0.0.1"]
    assert two.take("b,a", owner="pod-2") == ["10.0.0.2"]
    assert two.take("a,b", owner="pod-3") == ["10.0.0.3"]


def test_what_is_held_in_a_fallback_pool_counts(two: TestLedger) -> None:
    """The owner holds its number from these pools together; where is no matter."""
    two.grant("b", number=2, owner="other")
    (lease,) = two.grant("b,a")
    two.done(make_release(owner="other"))
    assert two.held(make_allocate("b,a")) == (lease,)
    assert two.take("b") == ["10.0.1.1"], "asked of pool b alone, it holds nothing"


def test_a_pool_that_gives_out_nothing_is_passed_over(two: TestLedger) -> None:
    """Disabled or terminating: the next pool of the group serves."""
    two.apply(make_pool("b", "10.0.1.0/24", ips=["10.0.1.1-10.0.1.2"], disabled=True))
    assert two.take("b,a") == ["10.0.0.1"]


def test_both_families_are_granted_together(two: TestLedger) -> None:
    """One commit, in the order of the groups."""
    done = two.done(make_allocate("six", "a"))
    assert [lease.text for lease in granted(done)] == ["fd00::1", "10.0.0.1"]
    assert {record.commit.parts for record in done.records} == {2}


def test_joint_pools_are_all_or_nothing(two: TestLedger) -> None:
    """If one group is exhausted nothing of the others is granted, nor passed over next time."""
    two.take("six", number=2, owner="other")
    refusal = two.refused(make_allocate("a", "six"))
    assert (refusal.kind, refusal.about) == ("exhausted", "six")
    assert two.take("a") == ["10.0.0.1"]


def test_joint_pools_keep_what_is_held(two: TestLedger) -> None:
    """Held in one, missing in the other: only the missing one is granted, and both are told."""
    (lease,) = two.grant("a")
    done = two.done(make_allocate("a", "six"))
    (event,) = (record.event for record in done.records)
    assert isinstance(event, LeaseGranted)
    assert event.beside == (lease.lease_id,)
    assert len(two.held(make_allocate("a", "six"))) == 2


def test_each_group_has_its_own_number_and_fallback(two: TestLedger) -> None:
    """Two from a or b, and two from six."""
    two.take("a", number=3, owner="other")
    assert two.take("a,b", "six", number=2) == ["10.0.0.4", "10.0.1.1", "fd00::1", "fd00::2"]


# ------------------------------------------------------------------------ the same owner again


def test_the_same_owner_again_gets_what_it_holds(ledger: TestLedger) -> None:
    """Nothing is written: with the same uid, or without one, and with what the lease has."""
    (lease,) = ledger.grant("a", uid="u", ttl_s=60, labels=(("k", "v"),))
    for again in (
        make_allocate("a"),
        make_allocate("a", uid="u"),
        make_allocate("a", ttl_s=60, labels=(("k", "v"),)),
        make_allocate("a", ips=["10.0.0.1"]),
    ):
        assert ledger.held(again) == (lease,)


@pytest.mark.parametrize(
    ("fields", "about"),
    [
        ({"ttl_s": 61}, "--ttl"),
        ({"labels": (("k", "w"),)}, "--label"),
        ({"ips": ["10.0.0.2"]}, "--ip"),
    ],
    ids=["ttl", "label", "ip"],
)
@pytest.mark.parametrize("uid", [None, "u"])
def test_a_held_lease_is_never_changed_silently(
    ledger: TestLedger, fields: dict[str, Any], about: str, uid: str | None
) -> None:
    """Another time, label or address on a held lease is a conflict that names what differs."""
    (lease,) = ledger.grant("a", uid="u", ttl_s=60, labels=(("k", "v"),))
    refusal = ledger.refused(make_allocate("a", uid=uid, **fields))
    assert (refusal.kind, refusal.about, refusal.position) == ("conflict", about, lease.lease_id)
    assert f"lease {lease.lease_id}" in refusal.message


def test_an_address_that_is_held_is_found_behind_the_number(ledger: TestLedger) -> None:
    """Of several leases the one that is asked for by address is the answer."""
    _, second = ledger.grant("a", number=2)
    assert ledger.held(make_allocate("a", ips=["10.0.0.2"])) == (second,)


def test_two_interfaces_are_two_holders(ledger: TestLedger) -> None:
    """An owner's second interface gets an address of its own, from the same pool too."""
    (one,) = ledger.grant("a", interface="eth0")
    (other,) = ledger.grant("a", interface="net1")
    assert (one.text, other.text) == ("10.0.0.1", "10.0.0.2")
    assert ledger.held(make_allocate("a", interface="net1")) == (other,)
    refusal = ledger.refused(make_allocate("a", interface="net2", ips=["10.0.0.1"]))
    assert refusal.kind == "conflict"


# ------------------------------------------------------------------------- a new incarnation


def test_another_uid_supersedes(ledger: TestLedger) -> None:
    """The same address under a new lease, in one commit, with the new request's particulars."""
    (old,) = ledger.grant("a", uid="u1", ttl_s=60, labels=(("k", "v"),))
    done = ledger.done(make_allocate("a", uid="u2"))
    end, grant = (record.event for record in done.records)
    assert isinstance(end, LeaseEnded)
    assert isinstance(grant, LeaseGranted)
    assert ENDINGS[end.ended_by] == "superseded"
    assert grant.supersedes == end.lease == old.lease_id
    (new,) = granted(done)
    assert (new.text, new.uid, new.ttl_s, new.labels) == ("10.0.0.1", "u2", None, ())
    assert ledger.counts("a") == Counts(4, 1, 0, 0, 0, 3)
    assert done.records[0].sealed.uid == "u1", "the end speaks of the old incarnation"


def test_the_old_incarnations_late_release_frees_nothing(ledger: TestLedger) -> None:
    """It names a lease that has ended, which is no error and no harm."""
    (old,) = ledger.grant("a", uid="u1")
    (new,) = ledger.grant("a", uid="u2")
    assert ledger.held(make_release(old.lease_id)) == ()
    assert ledger.state.lease_at(old.address) == new


def test_a_lease_without_uid_is_superseded_by_one_that_has_one(ledger: TestLedger) -> None:
    """Who names an incarnation is not the one that named none."""
    (old,) = ledger.grant("a")
    assert ended(ledger.done(make_allocate("a", uid="u"))) == (old.lease_id,)


def test_all_leases_of_the_number_are_superseded_together(two: TestLedger) -> None:
    """In both families and all pools, and what is missing is added."""
    two.grant("a", "six", uid="u1")
    done = two.done(make_allocate("a", "six", uid="u2", number=2))
    assert [type(record.event) for record in done.records] == [
        LeaseEnded, LeaseGranted, LeaseGranted, LeaseEnded, LeaseGranted, LeaseGranted,
    ]  # fmt: skip
    assert [lease.text for lease in granted(done)] == [
        "10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2",
    ]  # fmt: skip


def test_an_address_reserved_meanwhile_is_not_granted_again(ledger: TestLedger) -> None:
    """The old incarnation kept it; the new one gets another, and the reserved one stays so."""
    (old,) = ledger.grant("a", uid="u1")
    ledger.apply(make_reservation("r", "10.0.0.1"))
    assert ledger.held(make_allocate("a", uid="u1")) == (old,), "its holder keeps it"
    done = ledger.done(make_allocate("a", uid="u2"))
    (new,) = granted(done)
    assert (ended(done), new.text) == ((old.lease_id,), "10.0.0.2")
    assert ledger.counts("a") == Counts(4, 1, 0, 0, 1, 2)


def test_an_address_reserved_for_its_holder_is_granted_again(ledger: TestLedger) -> None:
    """A reservation for this very owner does not stand in its way."""
    ledger.grant("a", uid="u1")
    ledger.apply(make_reservation("r", "10.0.0.1", owner="pod-1"))
    assert ledger.take("a", uid="u2") == ["10.0.0.1"]


def test_a_reserved_address_that_is_insisted_on_is_refused(ledger: TestLedger) -> None:
    """Asked for by address there is no other to give; the old lease stays."""
    (old,) = ledger.grant("a", uid="u1")
    ledger.apply(make_reservation("r", "10.0.0.1"))
    refusal = ledger.refused(make_allocate("a", uid="u2", ips=["10.0.0.1"]))
    assert refusal.kind == "forbidden"
    assert ledger.state.lease(old.lease_id) == old


def test_what_is_chosen_instead_is_not_what_was_asked_for_beside(ledger: TestLedger) -> None:
    """One address is never granted twice in a commit."""
    ledger.grant("a", uid="u1", ips=["10.0.0.3"])
    ledger.apply(make_reservation("r", "10.0.0.3"))
    taken = ledger.take("a", uid="u2", number=2, ips=["10.0.0.1"])
    assert sorted(taken) == ["10.0.0.1", "10.0.0.2"]


def test_reserved_meanwhile_and_nothing_else_left(two: TestLedger) -> None:
    """Exhausted in its own pool, and the old lease stays; a fallback pool serves."""
    (old,) = two.grant("a", uid="u1")
    two.take("a", number=3, owner="other")
    two.apply(make_reservation("r", "10.0.0.1"))
    assert two.refused(make_allocate("a", uid="u2")).kind == "exhausted"
    assert two.state.lease(old.lease_id) == old
    assert two.take("a,b", uid="u2") == ["10.0.1.1"]


def test_a_disabled_pool_gives_no_new_incarnation_its_address(two: TestLedger) -> None:
    """Drained means that what ends does not begin again there; elsewhere it may."""
    (old,) = two.grant("a", uid="u1")
    two.apply(make_pool("a", ips=SMALL, disabled=True))
    refusal = two.refused(make_allocate("a", uid="u2"))
    assert refusal.kind == "forbidden"
    assert "disabled" in refusal.message
    assert two.state.lease(old.lease_id) == old
    done = two.done(make_allocate("a,b", uid="u2"))
    assert [lease.text for lease in granted(done)] == ["10.0.1.1"]
    assert ended(done) == (old.lease_id,)


# ---------------------------------------------------------------------- pools that give nothing


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"disabled": True}, "disabled"),
        ({"selectors": Selectors(pod_affinity=Selector((("a", "b"),)))}, "podAffinity"),
        ({"selectors": Selectors(node_names=("n",), multus_names=("m",))}, "nodeName, multusName"),
        ({"policy": "random"}, "random"),
    ],
    ids=["disabled", "selector", "names", "policy"],
)
def test_a_pool_that_cannot_give_out_says_why(
    ledger: TestLedger, fields: dict[str, Any], why: str
) -> None:
    """Disabled, with selectors or a policy that we cannot evaluate: any and specific addresses."""
    ledger.apply(make_pool("a", ips=SMALL, **fields))
    for ips in ([], ["10.0.0.1"]):
        refusal = ledger.refused(make_allocate("a", ips=ips))
        assert refusal.kind == "forbidden"
        assert why in refusal.message
        assert "pool a" in refusal.message


def test_a_terminating_pool_gives_out_nothing_but_what_is_held(ledger: TestLedger) -> None:
    """Its holders may ask again, nobody gets anything new."""
    (lease,) = ledger.grant("a")
    ledger.done(make_delete("a"))
    assert ledger.held(make_allocate("a")) == (lease,)
    for command in (make_allocate("a", owner="x"), make_allocate("a", number=2)):
        refusal = ledger.refused(command)
        assert refusal.kind == "forbidden"
        assert "terminating" in refusal.message


def test_several_blocked_pools_each_say_why(two: TestLedger) -> None:
    """All reasons are in the refusal; beside an exhausted pool it is called exhausted."""
    two.apply(
        make_pool("a", ips=SMALL, disabled=True),
        make_pool("b", "10.0.1.0/24", ips=["10.0.1.1-10.0.1.2"], policy="random"),
    )
    refusal = two.refused(make_allocate("a,b"))
    assert refusal.kind == "forbidden"
    assert "disabled" in refusal.message
    assert "policy random" in refusal.message
    two.take("six", number=2, owner="x")
    refusal = two.refused(make_allocate("a,six"))
    assert refusal.kind == "exhausted"
    assert "disabled" in refusal.message


# -------------------------------------------------------------------------- reservations, used up


def test_the_owner_of_a_reservation_gets_its_address_first(ledger: TestLedger) -> None:
    """Also when lower addresses are free; more than it keeps come from the rest."""
    ledger.apply(make_reservation("r", "10.0.0.3", owner="redis"))
    assert ledger.take("a", owner="redis") == ["10.0.0.3"]
    assert ledger.take("a", owner="redis", number=3) == ["10.0.0.1", "10.0.0.2"]
    assert ledger.refused(make_allocate("a", owner="redis", number=5)).kind == "exhausted"


def test_an_address_that_another_reservation_keeps_too_is_nobodys(ledger: TestLedger) -> None:
    """Both keep it: one for the owner, one from everybody."""
    ledger.apply(
        make_reservation("r", "10.0.0.3", owner="redis"), make_reservation("all", "10.0.0.3")
    )
    assert ledger.take("a", owner="redis") == ["10.0.0.1"]
    assert ledger.refused(make_allocate("a", owner="y", ips=["10.0.0.3"])).kind == "forbidden"


def test_exhausted_in_the_words_that_people_know(ledger: TestLedger) -> None:
    """The wording is Spiderpool's, and the figures behind it are those of the buckets."""
    ledger.apply(make_reservation("r", "10.0.0.2-10.0.0.3"))
    ledger.take("a", number=2, owner="other")
    refusal = ledger.refused(make_allocate("a"))
    assert refusal.kind == "exhausted"
    assert refusal.message == (
        "all IP addresses used out: pool a has 4 addresses: 2 leased, 2 reserved"
    )


def test_exhausted_names_every_pool_that_was_tried(two: TestLedger) -> None:
    """A group's refusal speaks of all its pools, an empty one included."""
    two.take("a", number=4, owner="x")
    two.apply(make_pool("none", "10.2.0.0/24", ips=[]))
    message = two.refused(make_allocate("a,none")).message
    assert "pool a has 4 addresses: 4 leased; pool none has 0 addresses" in message


# --------------------------------------------------------------------------------- what is asked


@pytest.mark.parametrize(
    ("command", "kind", "about"),
    [
        (Allocate((), "x"), "invalid", "pool"),
        (Allocate(((),), "x"), "invalid", "pool"),
        (make_allocate("b"), "not_found", "pool"),
        (make_allocate("a,b"), "not_found", "pool"),
        (make_allocate("a,a"), "invalid", "pool"),
        (make_allocate("a", "a"), "invalid", "pool"),
        (make_allocate("a", number=0), "invalid", "count"),
        (make_allocate("a", number=COMMIT_EVENTS_MAX // 2 + 1), "invalid", "count"),
        (make_allocate("a", ips=["10.0.0.1"] * 2, number=2), "invalid", "ip"),
        (make_allocate("a", ips=["10.0.0.1", "10.0.0.2"]), "invalid", "count"),
    ],
    ids=str,
)
def test_a_request_that_makes_no_sense_is_refused(
    ledger: TestLedger, command: Allocate, kind: str, about: str
) -> None:
    """No pool, an unknown or repeated one, a number out of bounds, too many addresses."""
    refusal = ledger.refused(command)
    assert (refusal.kind, refusal.about) == (kind, about)


def test_the_most_that_one_commit_may_grant(ledger: TestLedger) -> None:
    """2,048 leases: a new incarnation ends and begins each of them, 4,096 events in one commit."""
    ledger.apply(make_pool("big", "10.8.0.0/16"))
    number = COMMIT_EVENTS_MAX // 2
    assert len(ledger.grant("big", number=number, uid="u1")) == number
    outcome = ledger.run(make_allocate("big", number=number, uid="u2"))
    assert isinstance(outcome, Done), outcome
    assert len(outcome.records) == COMMIT_EVENTS_MAX


def test_who_asked_is_sealed_with_each_lease(two: TestLedger) -> None:
    """Owner, incarnation and labels of the lease; actor, reason and command id of the change."""
    command = make_allocate("a", "six", uid="u", labels=(("k", "v"),))
    outcome = two.run(command, claim=Claim("ann", "why", "id-1"))
    assert isinstance(outcome, Done)
    sealed = {record.sealed._replace(salt=UNSALTED) for record in outcome.records}
    assert sealed == {Sealed(UNSALTED, "pod-1", "u", (("k", "v"),), "ann", "why", "id-1")}


# ------------------------------------------------------------------ what a draft reads and writes


def reads(ledger: TestLedger, command: Allocate) -> set[str]:
    """The tags that a command's draft reads."""
    decision = ledger.decide(command)
    assert isinstance(decision, Draft), decision
    return set(decision.reads)


def written(lease: Lease) -> set[str]:
    """What a grant or an end of a lease writes, by the design's table."""
    return {
        tags.block(lease.address, lease.prefix_length),
        tags.owner(lease.owner, lease.interface),
        tags.pool_leases(lease.pool_id),
    }


def test_a_grant_reads_and_writes_what_the_table_says(two: TestLedger) -> None:
    """Reads address, owner, pool configuration, reservations; writes address, owner, leases."""
    command = make_allocate("a,b", "six")
    assert reads(two, command) == {
        "40a000001", f"6fd{'0' * 29}1", tags.owner("pod-1", "eth0"),
        tags.pool("a"), tags.pool("b"), tags.pool("six"), tags.RESERVATIONS,
    }  # fmt: skip
    before = two.state.position
    leases = two.grant("a,b", "six")
    assert two.written(before) == [written(lease) for lease in leases]


def test_superseding_reads_the_old_lease_and_writes_its_end(ledger: TestLedger) -> None:
    """It is a grant and an end at once."""
    (old,) = ledger.grant("a", uid="u1")
    command = make_allocate("a", uid="u2")
    assert reads(ledger, command) == {
        "40a000001", tags.owner("pod-1", "eth0"), tags.pool("a"), tags.RESERVATIONS,
        tags.lease(old.lease_id),
    }  # fmt: skip
    before = ledger.state.position
    (new,) = ledger.grant("a", uid="u2")
    assert ledger.written(before) == [written(old) | {tags.lease(old.lease_id)}, written(new)]


# ----------------------------------------------------------------------- placement in a batch


def test_a_refused_member_leaves_the_batch_as_it_was(two: TestLedger) -> None:
    """What it had proposed before it was refused is proposed again to the next."""
    placement = Placement()
    pool = two.state.pool("a")
    assert pool is not None
    assert placement.propose(two.state, pool) == 0x0A000001
    two.take("six", number=2, owner="other")
    two.decide(make_allocate("a", "six", owner="refused"), placement)
    assert placement.propose(two.state, pool) == 0x0A000002


def test_taking_a_claim_back_does_not_free_another_members(ledger: TestLedger) -> None:
    """Two members insist on one address; the second gives up, and the first still has it."""
    placement = Placement()
    pool = ledger.state.pool("a")
    assert pool is not None
    placement.claim(pool, 0x0A000001)
    mark = placement.mark()
    placement.claim(pool, 0x0A000001)
    placement.rewind(mark)
    assert placement.is_pending(pool, 0x0A000001)
    assert placement.propose(ledger.state, pool) == 0x0A000002
    placement.rewind(0)
    assert not placement
    assert placement.propose(ledger.state, pool) == 0x0A000001


def test_held_is_an_answer_without_events(ledger: TestLedger) -> None:
    """The protocol tells it apart from what was committed."""
    ledger.grant("a")
    assert isinstance(ledger.run(make_allocate("a")), Held)
