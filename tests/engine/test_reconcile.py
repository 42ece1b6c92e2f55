"""Leak collection: nothing ends that was not missing often and long enough, as a list would count.

A naive model keeps, for each lease, the times at which it was missing. Whatever is observed,
renewed, released and undone, by two writers, a lease ends when the model says so, and only then.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from engine.commands import Renew
from engine.comparing import Scope, compare
from engine.decide_reconcile import AGE_S_MAX, OBSERVED_MAX
from engine.events import LeaseEnded, LeaseObserved
from engine.facts import Lease
from engine.model import ENDINGS
from ipledger.writing import Done, Held
from projections.digest import state_digest
from replay.audit import Options, audit
from tests.builders import (
    MemoryPages,
    TestLedger,
    granted,
    make_allocate,
    make_pool,
    make_release,
    make_reservation,
)
from tests.leaks import operation_of, reconcile, refusal, seen, texts, undo

FEW: Final[dict[str, Any]] = {"release_after": 2, "grace_s": 60, "accept_many_missing": True}


def setting(*owners: str, **fields: object) -> tuple[TestLedger, list[Lease]]:
    """A ledger with a pool, in which each owner holds an address from 10.0.0.1 on."""
    ledger = TestLedger()
    ledger.apply(make_pool(**fields))  # type: ignore[arg-type]
    leases = [ledger.grant(owner=owner)[0] for owner in owners]
    ledger.clock.now_ms += 1_000
    return ledger, leases


def pass_s(ledger: TestLedger, seconds: float) -> int:
    """Let time pass; what time it is then."""
    ledger.clock.now_ms += int(seconds * 1_000)
    return ledger.clock.now_ms


# -------------------------------------------------------------------------------------- the model


class Counted:
    """What is known of one lease, as a list of the observations that count."""

    def __init__(self, lease: Lease, now_ms: int) -> None:
        self.lease = lease
        self.granted_ms = self.known_ms = now_ms
        self.missing: list[tuple[int, bytes]] = []

    def miss(self, at_ms: int, which: bytes) -> None:
        """It was not in an observation."""
        if at_ms > self.known_ms:
            self.missing.append((at_ms, which))
            self.known_ms = at_ms

    def see(self, at_ms: int) -> None:
        """It was in one."""
        if self.missing and at_ms > self.missing[0][0]:
            self.missing = []
            self.known_ms = max(self.known_ms, at_ms)

    def renew(self, now_ms: int) -> None:
        """Its holder said that it holds it."""
        self.missing = []
        self.known_ms = max(self.known_ms, now_ms)

    def is_enough(self, at_ms: int, which: bytes, times: int, grace_s: int) -> bool:
        """Whether it ends with this observation."""
        return (
            len(self.missing) >= times
            and self.missing[-1] == (at_ms, which)
            and at_ms - self.missing[0][0] >= grace_s * 1_000
            and at_ms - self.granted_ms >= grace_s * 1_000
        )


STEPS: Final = st.lists(
    st.tuples(
        st.sampled_from("oooooooorrglup"), st.integers(0, 2**16), st.integers(0, 30),
        st.integers(1, 3), st.sampled_from((0, 5, 20)),
    ),
    min_size=5, max_size=25,
)  # fmt: skip
OWNERS: Final = 4


class Play:
    """A ledger of two writers beside the model."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - the same play on every run
        self.ledger = TestLedger()
        self.ledger.apply(make_pool(ttl_s=500, cooldown_s=20))
        self.writers = [self.ledger, TestLedger(seed=1, beside=self.ledger)]
        self.pages = [MemoryPages(), MemoryPages()]
        self.held: dict[int, Counted] = {}
        self.ended: list[Lease] = []
        self.released = 0
        for owner in range(OWNERS):
            self.grant(owner)

    @property
    def now_ms(self) -> int:
        """The time."""
        return self.ledger.clock.now_ms

    def grant(self, which: int) -> None:
        """An owner asks for an address."""
        outcome = self.random.choice(self.writers).run(make_allocate(owner=f"o{which % OWNERS}"))
        for lease in granted(outcome) if isinstance(outcome, Done) else ():
            self.held[lease.lease_id] = Counted(lease, self.now_ms)

    def renew(self, which: int) -> None:
        """Its holder said that it holds it."""
        if self.held:
            lease = sorted(self.held)[which % len(self.held)]
            self.random.choice(self.writers).done(Renew(lease))
            self.held[lease].renew(self.now_ms)

    def release(self, which: int) -> None:
        """Somebody releases one."""
        if self.held:
            lease = sorted(self.held)[which % len(self.held)]
            self.random.choice(self.writers).done(make_release(lease))
            self.ended.append(self.held.pop(lease).lease)

    def undo(self, which: int) -> None:
        """Somebody undoes an end."""
        if self.ended:
            lease = self.ended[which % len(self.ended)]
            writer = self.random.choice(self.writers)
            outcome = writer.run(undo(writer, lease.lease_id))
            if isinstance(outcome, Done):
                (again,) = granted(outcome)
                assert (again.address, again.owner) == (lease.address, lease.owner)
                self.held[again.lease_id] = Counted(again, self.now_ms)

    def observe(self, which: int, ago_s: int, times: int, grace_s: int) -> None:
        """An observation, of which the bits of a number say who is in it."""
        at_ms = self.now_ms - ago_s * 1_000
        counted = sorted(self.held.values(), key=lambda each: each.lease.lease_id)
        there = [each for bit, each in enumerate(counted) if which >> bit & 1]
        observed = seen(at_ms, *((each.lease.text, each.lease.owner) for each in there))
        for each in counted:
            if each in there and each.granted_ms <= at_ms:
                each.see(at_ms)
            elif each not in there:
                each.miss(at_ms, observed.id)
        enough = {
            each.lease.lease_id for each in counted
            if each not in there and each.is_enough(at_ms, observed.id, times, grace_s)
        }  # fmt: skip
        ran = reconcile(
            self.random.choice(self.writers), observed, release_after=times, grace_s=grace_s,
            accept_many_missing=True,
        )  # fmt: skip
        assert set(ran.answer.released) == enough
        self.released += len(enough)
        self.ended += [self.held.pop(lease).lease for lease in enough]

    def step(self, kind: str, which: int, ago_s: int, times: int, grace_s: int) -> None:
        """One step, some time after the one before."""
        self.ledger.clock.now_ms += self.random.randrange(9_000)
        match kind:
            case "o":
                self.observe(which, ago_s // 3 if which & 1 else 0, times, grace_s)
            case "r":
                self.renew(which)
            case "g":
                self.grant(which)
            case "l":
                self.release(which)
            case "u":
                self.undo(which)
            case _:
                for writer, pages in zip(self.writers, self.pages, strict=True):
                    writer.take_up(pages)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 99))
def test_what_ends_is_what_a_list_would_end(
    steps: list[tuple[str, int, int, int, int]], seed: int
) -> None:
    """Whatever the order in which observations, renewals, ends and undos come, by two writers."""
    play = Play(seed)
    for step in steps:
        play.step(*step)
    event(f"{min(play.released, 3)} leases or more ended for being missing")
    play.ledger.refresh()
    assert {lease.lease_id for lease in play.ledger.state.leases()} == set(play.held)
    found = audit(play.ledger.stream, Options(count_every=1))
    assert not found.total, found.breaches
    assert found.digest == play.ledger.digest()


# ------------------------------------------------------------------------------------- the rules


def test_two_observations_and_the_grace() -> None:
    """One is not enough, two too close are not; what ends says how often and since when."""
    ledger, (a, b) = setting("a", "b")
    assert reconcile(ledger, seen(pass_s(ledger, 1), ("10.0.0.1", "a")), **FEW).answer == (
        (b.lease_id,), (), ()
    )  # fmt: skip
    assert not reconcile(ledger, seen(pass_s(ledger, 30), ("10.0.0.1", "a")), **FEW).answer.released
    ran = reconcile(ledger, seen(pass_s(ledger, 30), ("10.0.0.1", "a")), **FEW)
    assert ran.answer == ((b.lease_id,), (), (b.lease_id,))
    told, end = (outcome.records[0] for outcome in ran.outcomes if isinstance(outcome, Done))
    assert isinstance(told.event, LeaseObserved)
    assert (told.header.effective_at_ms, told.sealed.text) == (ledger.clock.now_ms, "a test")
    assert isinstance(end.event, LeaseEnded)
    assert ENDINGS[end.event.ended_by] == "revoked"
    assert end.header.cause == told.position
    assert (
        end.sealed.reason == "missing in 3 observations since 2023-11-14T22:13:22.000Z, last in "
        "a test"
    )
    assert ledger.state.lease(a.lease_id) is not None


def test_a_healthy_lease_costs_no_event() -> None:
    """Who is where the ledger says is not told of, however often it is seen."""
    ledger, _ = setting("a", "b")
    for _number in range(3):
        observed = seen(pass_s(ledger, 100), "10.0.0.1", ("10.0.0.2", "b", "eth0"))
        assert isinstance(reconcile(ledger, observed, **FEW).outcomes[0], Held)


def test_one_observation_counts_once() -> None:
    """Given twice, and after the grace: it was still made only once."""
    ledger, (lease,) = setting("a")
    observed = seen(pass_s(ledger, 1), "10.0.0.9")
    assert reconcile(ledger, observed, **FEW).answer.missing == (lease.lease_id,)
    pass_s(ledger, 600)
    assert reconcile(ledger, observed, **FEW).answer == ((), (), ())
    same_again = seen(ledger.clock.now_ms, "10.0.0.9")
    assert same_again.id != observed.id
    assert reconcile(ledger, same_again, **FEW).answer.released == (lease.lease_id,)


def test_what_is_seen_again_begins_anew() -> None:
    """That it is back is told once; an older observation that comes late changes nothing."""
    ledger, (lease,) = setting("a")
    reconcile(ledger, seen(pass_s(ledger, 1)), **FEW)
    late = seen(pass_s(ledger, 30))
    back = seen(pass_s(ledger, 30), ("10.0.0.1", "a"))
    assert reconcile(ledger, back, **FEW).answer.back == (lease.lease_id,)
    assert reconcile(ledger, seen(pass_s(ledger, 1), "10.0.0.1"), **FEW).answer.back == ()
    assert reconcile(ledger, late, **FEW).answer == ((), (), ())
    assert reconcile(ledger, seen(pass_s(ledger, 60)), **FEW).answer.released == ()
    assert reconcile(ledger, seen(pass_s(ledger, 60)), **FEW).answer.released == (lease.lease_id,)


def test_a_renewal_is_a_sign_of_life() -> None:
    """Whoever renews a lease holds it: what was missing before does not count."""
    ledger, (lease,) = setting("a", ttl_s=3_600)
    reconcile(ledger, seen(pass_s(ledger, 1)), **FEW)
    ledger.done(Renew(lease.lease_id))
    assert reconcile(ledger, seen(pass_s(ledger, 60)), **FEW).answer.released == ()


def test_what_was_granted_since_is_not_missing() -> None:
    """Neither in an observation made before, nor within the grace after."""
    ledger, _ = setting()
    before_ms = pass_s(ledger, 1)
    (lease,) = ledger.grant()
    assert reconcile(ledger, seen(before_ms), **FEW).answer == ((), (), ())
    one = {**FEW, "release_after": 1}
    assert reconcile(ledger, seen(pass_s(ledger, 59)), **one).answer.released == ()
    one["grace_s"] = 0
    assert reconcile(ledger, seen(pass_s(ledger, 1)), **one).answer.released == (lease.lease_id,)


def test_what_is_contradicted_is_not_released() -> None:
    """Another one at the address, or the owner elsewhere: somebody must look first."""
    ledger, leases = setting("a", "b", "c", "d")
    users = ("10.0.0.1", "z"), ("10.0.0.77", "b"), ("10.0.0.3", "c", "net1"), "10.0.0.4"
    for _number in range(3):
        ran = reconcile(ledger, seen(pass_s(ledger, 100), *users), **FEW)
        assert ran.answer == ((), (), ())
    found = compare(ledger.state, seen(ledger.clock.now_ms, *users), Scope())
    assert [(item.lease, texts([item.user])) for item in found.wrong] == [
        (leases[0], {"z@1"}), (leases[1], {"b@77"}), (leases[2], {"c@3"}),
    ]  # fmt: skip
    assert (found.expected, found.present) == (4, (leases[3],))
    assert texts(item.user for item in found.unleased) == {"b@77"}


def test_users_without_a_lease() -> None:
    """In which pool, and what reserves it; what no pool has is only counted."""
    ledger, (lease,) = setting("a", "b")[0], setting("a")[1]
    ledger.apply(make_reservation("printer", "10.0.0.9"))
    ledger.done(make_release(lease.lease_id))
    observed = seen(ledger.clock.now_ms, "10.0.0.1", "10.0.0.9", "10.9.9.9", ("10.0.0.50", "z"))
    found = compare(ledger.state, observed, Scope())
    assert [(texts([item.user]), item.pool, item.reserved_by) for item in found.unleased] == [
        ({"None@9"}, "pool", "printer"), ({"z@50"}, "pool", None),
    ], "10.0.0.1 was held when it was seen"  # fmt: skip
    assert found.outside == 1


def test_a_list_of_one_cluster_says_nothing_about_another() -> None:
    """Only leases of the pools, clusters and labels that are named can be missing."""
    ledger, _ = setting()
    ledger.apply(make_pool("other", "10.0.1.0/24"))
    east = ledger.grant(owner="a", cluster="east", labels=(("app", "x"),))[0]
    west = ledger.grant("other", owner="b", cluster="west", labels=(("app", "y"),))[0]
    for asked in ({"clusters": ["east"]}, {"pools": ["pool"]}, {"labels": (("app", "x"),)}):
        ran = reconcile(ledger, seen(pass_s(ledger, 1)), **FEW, **asked)
        assert ran.answer.missing == (east.lease_id,)
    assert reconcile(ledger, seen(pass_s(ledger, 1)), **FEW).answer.missing == (
        east.lease_id, west.lease_id
    )  # fmt: skip
    assert refusal(ledger, seen(pass_s(ledger, 1)), pools=["nope"])[0] == "not_found"


@pytest.mark.parametrize(
    ("users", "said"), [((), "is empty"), (("10.0.0.1",), "2 of 3 leases are missing")]
)
def test_what_is_suspicious_is_refused(users: tuple[str, ...], said: str) -> None:
    """An agent that failed shows an empty network, or half of it."""
    ledger, _ = setting("a", "b", "c")
    kind, message = refusal(ledger, seen(pass_s(ledger, 1), *users))
    assert kind == "forbidden"
    assert said in message
    ran = reconcile(ledger, seen(pass_s(ledger, 1), *users), accept_many_missing=True)
    assert len(ran.answer.missing) == 3 - len(users)
    half = seen(pass_s(ledger, 1), "10.0.0.1", "10.0.0.2")
    assert len(reconcile(ledger, half).answer.missing) == 1


def test_the_time_of_an_observation_is_checked() -> None:
    """Not in the future, and not so long ago that nobody knows what was seen since."""
    ledger, _ = setting("a")
    assert refusal(ledger, seen(pass_s(ledger, 0) + 2_000), **FEW)[0] == "invalid"
    old = seen(ledger.clock.now_ms)
    pass_s(ledger, AGE_S_MAX + 1)
    kind, message = refusal(ledger, old, **FEW)
    assert kind == "forbidden"
    assert "s old" in message


def test_an_old_space_is_left_as_it_is() -> None:
    """A space of level 1 knows no observations; comparing is possible all the same."""
    ledger, (lease,) = setting("a")
    assert ledger.state.space is not None
    ledger.state.space = ledger.state.space._replace(level=1)
    kind, message = refusal(ledger, seen(ledger.clock.now_ms, "10.0.0.9"), **FEW)
    assert (kind, "level 1" in message) == ("forbidden", True)
    assert compare(ledger.state, seen(ledger.clock.now_ms), Scope()).missing == (lease,)


# ---------------------------------------------------------------------------- beside each other


@pytest.mark.parametrize("meanwhile", ["seen", "renewed", "released"])
def test_what_happens_meanwhile_stops_the_end(meanwhile: str) -> None:
    """Another writer, after the end was decided and before it was written."""
    ledger, (lease,) = setting("a", ttl_s=3_600)
    other = TestLedger(seed=1, beside=ledger)
    reconcile(ledger, seen(pass_s(ledger, 1)), **FEW)
    observed = seen(pass_s(ledger, 60))
    told = {**FEW, "release_after": 9}
    reconcile(ledger, observed, **told)
    call = ledger.call(operation_of(observed, **FEW).command)
    assert not ledger.step([call]), "it first looks whether its state is new enough"
    batch = ledger.plan(call)
    assert len(batch.members) == 1, "it is about to end the lease"
    ledger.clock.now_ms += 1
    other.refresh()
    if meanwhile == "seen":
        reconcile(other, seen(other.clock.now_ms, ("10.0.0.1", "a")))
    elif meanwhile == "renewed":
        other.done(Renew(lease.lease_id))
    else:
        other.done(make_release(lease.lease_id))
    before = ledger.stream.head()
    assert ledger.append(batch) == (call,)
    while call.outcome is None:
        ledger.step([call])
    assert isinstance(call.outcome, Held)
    assert ledger.stream.head() == before


def test_an_observation_ends_only_what_it_was_the_last_to_miss() -> None:
    """One that was made between two others finds enough counted, and is not what counted it."""
    ledger, _ = setting("a")
    reconcile(ledger, seen(pass_s(ledger, 1)), **{**FEW, "release_after": 9})
    between = seen(pass_s(ledger, 61), "10.0.0.9")
    reconcile(ledger, seen(pass_s(ledger, 1)), **{**FEW, "release_after": 9})
    assert reconcile(ledger, between, **FEW).answer == ((), (), ())


def test_a_series_is_gone_on_with() -> None:
    """Killed between two of its commits, with the same command id: nothing twice, all of it."""
    ledger = TestLedger()
    ledger.apply(make_pool("pool", "10.0.0.0/16"))
    many = OBSERVED_MAX + 200
    for first in range(0, many, 400):
        ledger.grant(owner=f"o{first}", number=400)
    pass_s(ledger, 100)
    reconcile(ledger, seen(ledger.clock.now_ms), **FEW)
    observed = seen(pass_s(ledger, 60))

    class KilledError(Exception):
        pass

    def kill(step: int) -> None:
        if step == 3:
            raise KilledError

    with pytest.raises(KilledError):
        reconcile(ledger, observed, command_id="x", between=kill, **FEW)
    left = len(list(ledger.state.leases()))
    assert 0 < left < many
    again = TestLedger(seed=9, beside=ledger)
    ran = reconcile(again, observed, command_id="x", **FEW)
    assert len(set(ran.answer.released)) == len(ran.answer.released) == len(ran.answer.missing)
    assert not list(again.state.leases())
    before = ledger.stream.head()
    assert reconcile(again, observed, command_id="x", **FEW).answer == ran.answer
    assert ledger.stream.head() == before
    assert not audit(ledger.stream).total


def test_two_that_reconcile_the_same_count_it_once() -> None:
    """Both with the same list at the same time: one tells, the other finds it told."""
    ledger, (lease,) = setting("a")
    other = TestLedger(seed=1, beside=ledger)
    observed = seen(pass_s(ledger, 1))
    reconcile(other, observed, **FEW)
    assert reconcile(ledger, observed, **FEW).answer.missing == ()
    absence = ledger.state.absence_of(lease.lease_id)
    assert absence is not None
    assert absence.times == 1


def test_what_is_known_of_a_lease_is_kept() -> None:
    """A later process reads it from the local view, and decides on it as this one would."""
    ledger, (lease,) = setting("a")
    reconcile(ledger, seen(pass_s(ledger, 1)), **FEW)
    digest = ledger.digest()
    forgetful = ledger.replayed()
    forgetful.lease_table._absences.clear()
    assert state_digest(forgetful) != digest, "it decides, so it is in the digest"
    ledger.take_up(MemoryPages())
    assert ledger.digest() == digest
    ran = reconcile(ledger, seen(pass_s(ledger, 60)), **FEW)
    assert ran.answer.released == (lease.lease_id,)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 12), st.sampled_from((None, "a", "b", "c"))), max_size=9))
def test_comparing_is_what_a_look_at_each_says(users: list[tuple[int, str | None]]) -> None:
    """Each lease is missing, present or contradicted, as one would say who looks at all users."""
    ledger, leases = setting("a", "b", "c")
    told = [(f"10.0.0.{last}", *([] if owner is None else [owner])) for last, owner in users]
    observed = seen(ledger.clock.now_ms, *told)  # type: ignore[arg-type]
    found = compare(ledger.state, observed, Scope())
    wrong = {item.lease.lease_id for item in found.wrong}
    for lease in leases:
        last = lease.address[-1]
        there = {owner for at, owner in users if at == last}
        elsewhere = {at for at, owner in users if owner == lease.owner and at != last}
        assert (lease in found.present) == bool(there & {None, lease.owner})
        assert (lease in found.missing) == (not there and not elsewhere)
        assert (lease.lease_id in wrong) == bool(
            there - {None, lease.owner} or (elsewhere and not there & {None, lease.owner})
        )
    assert texts(item.user for item in found.unleased) == {
        f"{owner}@{at}" for at, owner in users if at > 3
    }
