"""Which free address a pool chooses, and what holds whatever it prefers: the policies."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

import pytest

from engine.addresses import to_int
from engine.choosing import drawn
from engine.commands import AllocateTogether, Apply, Claim, Command, SetAside
from engine.decide import decide
from engine.errors import Refusal
from engine.events import LeaseGranted
from engine.facts import Pool
from engine.model import POLICIES, Policy
from engine.placement import Placement
from engine.pool_spec import read_reservation_spec
from engine.wire import decode_entry
from tests.builders import (
    MemoryPages,
    TestLedger,
    granted,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)

FOUR: Final = ["10.0.0.1-10.0.0.4"]


def pool_of(ledger: TestLedger, name: str = "pool") -> Pool:
    """The pool of that name."""
    found = ledger.state.pool(name)
    assert found is not None, name
    return found


def with_pool(policy: Policy, **fields: object) -> TestLedger:
    """A ledger with one pool of that policy."""
    ledger = TestLedger()
    ledger.apply(make_pool(policy=policy, **fields))  # type: ignore[arg-type]
    return ledger


def pass_s(ledger: TestLedger, seconds: float) -> None:
    """Let time go on."""
    ledger.clock.now_ms += int(seconds * 1_000)


def change(ledger: TestLedger, **fields: object) -> None:
    """Define the pool anew."""
    ledger.apply(make_pool(**fields))  # type: ignore[arg-type]


def take(ledger: TestLedger, owner: str, **fields: object) -> str:
    """One address, in words: its last number."""
    (text,) = ledger.take(owner=owner, **fields)
    return text.rpartition(".")[2]


def seeds(ledger: TestLedger) -> list[int | None]:
    """The seed of each grant, in order."""
    events = [decode_entry(raw).event for raw in ledger.stream.entries]
    return [event.seed for event in events if isinstance(event, LeaseGranted)]


# ------------------------------------------------------------------------------- every policy alike


@pytest.mark.parametrize("policy", POLICIES)
class TestEveryPolicy:
    """A preference is no rule: what holds of pools holds whatever they prefer."""

    def test_a_pool_is_given_out_to_its_last_address(self, policy: Policy) -> None:
        """One by one, in one command, or by many in one batch; then it is exhausted."""
        one = with_pool(policy, ips=FOUR)
        assert sorted(take(one, f"o{n}") for n in range(4)) == ["1", "2", "3", "4"]
        many = with_pool(policy, ips=["10.0.0.1-10.0.0.200"])
        assert len(set(many.take(number=200))) == 200
        batch = with_pool(policy, ips=["10.0.0.1-10.0.0.60"])
        calls = [batch.call(make_allocate(owner=f"o{n}")) for n in range(61)]
        batch.step(calls)
        batch.step([call for call in calls if call.outcome is None])
        refused = [call.outcome for call in calls if isinstance(call.outcome, Refusal)]
        assert [r.kind for r in refused] == ["exhausted"]
        assert batch.counts().leased == 60
        for ledger in (one, many, batch):
            assert ledger.refused(make_allocate(owner="late")).kind == "exhausted"

    def test_what_an_owner_holds_comes_first(self, policy: Policy) -> None:
        """Asked again it is the same lease; a new incarnation gets the same address."""
        ledger = with_pool(policy)
        (lease,) = ledger.grant(uid="u1")
        assert ledger.held(make_allocate(uid="u1")) == (lease,)
        (anew,) = ledger.grant(uid="u2")
        assert anew.address == lease.address

    def test_what_is_reserved_for_the_owner_comes_first(self, policy: Policy) -> None:
        """And nobody else is given it."""
        ledger = with_pool(policy, ips=FOUR)
        ledger.apply(make_reservation("mine", "10.0.0.3", owner="me"))
        assert sorted(take(ledger, f"o{n}") for n in range(3)) == ["1", "2", "4"]
        assert take(ledger, "me") == "3"

    def test_an_address_can_be_asked_for(self, policy: Policy) -> None:
        """The policy has no say in that; nor does a seed."""
        ledger = with_pool(policy, ips=FOUR)
        assert take(ledger, "a", ips=["10.0.0.3"]) == "3"
        assert seeds(ledger) == [None]

    def test_what_is_closed_is_not_given_out(self, policy: Policy) -> None:
        """Reserved and quarantined addresses, also those that were held before."""
        ledger = with_pool(policy, ips=FOUR)
        for lease in ledger.grant(number=4):
            ledger.done(make_release(lease.lease_id))
        ledger.apply(make_reservation("kept", "10.0.0.1"))
        aside = read_reservation_spec(ips=["10.0.0.2"]).ips
        ledger.done(SetAside(aside, "answers"))
        assert sorted(ledger.take(owner="other", number=2)) == ["10.0.0.3", "10.0.0.4"]
        assert ledger.refused(make_allocate(owner="late")).kind == "exhausted"

    def test_what_rests_is_given_out_when_time_has_freed_it(self, policy: Policy) -> None:
        """Nobody need write anything meanwhile, and no seed is said of it."""
        ledger = with_pool(policy, ips=["10.0.0.1"], cooldown_s=10)
        (lease,) = ledger.grant(owner="a")
        ledger.done(make_release(lease.lease_id))
        assert ledger.refused(make_allocate(owner="b")).kind == "exhausted"
        pass_s(ledger, 10)
        assert take(ledger, "b") == "1"
        assert seeds(ledger)[1:] == [None]

    def test_the_next_pool_is_used_when_one_is_exhausted(self, policy: Policy) -> None:
        """Fallback and joint grants go by pools, as ever."""
        ledger = TestLedger()
        ledger.apply(
            make_pool("a", ips=FOUR[:1], policy=policy),
            make_pool("b", "10.0.1.0/24", ips=["10.0.1.1-10.0.1.4"], policy=policy),
        )
        both = ledger.take("a,b", number=6)
        assert [text.startswith("10.0.0.") for text in both] == [True] * 4 + [False] * 2

    def test_a_large_pool_of_either_family(self, policy: Policy) -> None:
        """A /8 and a /64, hardly used, and used by a few thousand."""
        ledger = TestLedger()
        ledger.apply(
            make_pool("wide", "11.0.0.0/8", policy=policy),
            make_pool("deep", "fd00::/64", policy=policy),
        )
        for pool in ("wide", "deep"):
            assert len(set(ledger.take(pool, owner="a", number=2_000))) == 2_000
            for lease in list(ledger.state.leases_of("a"))[:50]:
                ledger.done(make_release(lease.lease_id))
            assert len(set(ledger.take(pool, owner="b", number=100))) == 100

    def test_two_interfaces_of_a_pod_are_granted_together(self, policy: Policy) -> None:
        """They get two addresses."""
        ledger = with_pool(policy, ips=FOUR)
        both = AllocateTogether((make_allocate(), make_allocate(interface="net1")))
        first, second = granted(ledger.done(both))
        assert first.address != second.address

    def test_a_late_report_is_not_given_what_was_held_then(self, policy: Policy) -> None:
        """What is said to be true since an earlier time is true of an address free since then."""
        ledger = with_pool(policy, ips=["10.0.0.1-10.0.0.2"])
        before_ms = ledger.clock.now_ms
        pass_s(ledger, 10)
        lease, other = ledger.grant(owner="a", number=2)
        pass_s(ledger, 10)
        ledger.done(make_release(lease.lease_id))
        command = make_allocate(owner="b", effective_at_ms=before_ms)
        assert ledger.refused(command).kind == "exhausted"
        assert other


# ------------------------------------------------------------------------------------------ random


class TestRandom:
    """Drawn by a seed that the grant records, from the state that it was decided on."""

    def test_every_free_address_is_as_likely_as_any_other(self) -> None:
        """In an empty pool, in one that is nearly full, and when a part is reserved."""
        for held, kept in ((0, 0), (50, 0), (30, 20)):
            ledger = with_pool("random", ips=["10.0.0.1-10.0.0.60"])
            if kept:
                ledger.apply(make_reservation("kept", f"10.0.0.1-10.0.0.{kept}"))
            if held:
                ledger.take(owner="held", number=held)
            pool = pool_of(ledger)
            free = ledger.counts().free
            random = Random(1)  # noqa: S311 - the same seeds on every run
            draws = Counter(drawn(ledger.state, pool, random.getrandbits(64)) for _ in range(9_000))
            assert len(draws) == free
            assert all(ledger.state.is_free(pool.pool_id, value or 0) for value in draws)
            expected = 9_000 / free
            chi_square = sum((n - expected) ** 2 / expected for n in draws.values())
            assert chi_square < free + 4.5 * (2 * free) ** 0.5, "one in a million"

    def test_two_batches_draw_differently(self) -> None:
        """The seed is the writer's chance, not the pool's."""
        taken = [tuple(with_random(seed).take(number=20)) for seed in range(5)]
        assert len(set(taken)) == 5

    def test_a_grant_without_a_seed_was_not_drawn(self) -> None:
        """Other policies record none."""
        for policy in POLICIES:
            ledger = with_pool(policy)
            ledger.take(number=3)
            assert [seed is not None for seed in seeds(ledger)] == [policy == "random"] * 3

    def test_every_grant_of_a_batch_has_a_seed_of_its_own(self) -> None:
        """What is pending is drawn again, to the last address of the pool."""
        ledger = with_pool("random", ips=["10.0.0.1-10.0.0.100"])
        calls = [ledger.call(make_allocate(owner=f"o{n}")) for n in range(100)]
        assert ledger.step(calls)
        found = seeds(ledger)
        assert None not in found
        assert len(set(found)) == 100

    def test_a_pool_that_a_batch_takes_whole_is_not_drawn_from_for_ever(self) -> None:
        """The rest of the batch waits for the next round, at the cost of one look."""
        ledger = with_pool("random", ips=["10.0.0.1-10.0.0.50"])
        calls = [ledger.call(make_allocate(owner=f"o{n}")) for n in range(400)]
        batch = ledger.plan(*calls)
        assert (len(batch.members), len(batch.waiting)) == (50, 350)


def with_random(seed: int) -> TestLedger:
    """A ledger whose writer draws by that seed."""
    ledger = TestLedger(seed=seed)
    ledger.apply(make_pool(policy="random"))
    return ledger


# ----------------------------------------------------------------------------- least recently used


class TestLeastRecentlyUsed:
    """Never held before held once, and then what has been idle for longest."""

    def test_the_order(self) -> None:
        """All of the pool before anything comes again; then in the order of the releases."""
        ledger = with_pool("least-recently-used", ips=FOUR)
        (first,) = ledger.grant(owner="a")
        ledger.done(make_release(first.lease_id))
        assert [take(ledger, f"o{n}") for n in range(4)] == ["2", "3", "4", "1"]
        for host in (3, 1, 4, 2):
            pass_s(ledger, 1)
            ledger.done(make_release(owner=next(
                lease.owner for lease in ledger.state.leases() if lease.text == f"10.0.0.{host}"
            )))  # fmt: skip
        assert [take(ledger, f"p{n}") for n in range(4)] == ["3", "1", "4", "2"]

    def test_what_ended_together_goes_by_address(self) -> None:
        """One release of several leases is one moment."""
        ledger = with_pool("least-recently-used", ips=FOUR)
        ledger.take(owner="a", number=4)
        ledger.done(make_release(owner="a"))
        assert [take(ledger, f"o{n}") for n in range(4)] == ["1", "2", "3", "4"]

    def test_idle_counts_from_when_the_tenure_ended_in_effect(self) -> None:
        """A release that was reported late counts from when it was true."""
        ledger = with_pool("least-recently-used", ips=["10.0.0.1-10.0.0.2"])
        (first,), (second,) = ledger.grant(owner="a"), ledger.grant(owner="b")
        pass_s(ledger, 60)
        ledger.done(make_release(first.lease_id))
        pass_s(ledger, 60)
        late = make_release(second.lease_id)
        ledger.done(late._replace(effective_at_ms=ledger.clock.now_ms - 90_000))
        assert take(ledger, "c") == "2"

    def test_what_was_idle_under_another_policy_counts(self) -> None:
        """Being idle belongs to the address, not to the pool's setting at the time."""
        ledger = with_pool("lowest", ips=FOUR)
        for owner in ("a", "b"):
            ledger.grant(owner=owner)
        for owner in ("b", "a"):
            pass_s(ledger, 1)
            ledger.done(make_release(owner=owner))
        change(ledger, ips=FOUR, policy="least-recently-used")
        assert [take(ledger, f"o{n}") for n in range(4)] == ["3", "4", "2", "1"]

    def test_a_pool_made_anew_knows_what_was_held_before_it(self) -> None:
        """Deleted and made again, or made over another pool's former addresses."""
        ledger = with_pool("lowest", ips=FOUR)
        (lease,) = ledger.grant(owner="a")
        ledger.done(make_release(lease.lease_id))
        ledger.done(make_delete("pool"))
        ledger.apply(make_pool("other", ips=FOUR, policy="least-recently-used"))
        found = [ledger.take("other", owner=f"o{n}")[0][-1] for n in range(4)]
        assert found == ["2", "3", "4", "1"]

    def test_addresses_that_come_and_go_keep_their_order(self) -> None:
        """A pool that shrinks and grows back, while the policy lasts."""
        ledger = with_pool("least-recently-used", ips=FOUR)
        for owner in "abcd":
            ledger.grant(owner=owner)
        for owner in "dbca":
            pass_s(ledger, 1)
            ledger.done(make_release(owner=owner))
        change(ledger, ips=["10.0.0.1-10.0.0.2"], policy="least-recently-used")
        assert take(ledger, "x") == "2"
        change(ledger, ips=["10.0.0.1-10.0.0.5"], policy="least-recently-used")
        assert [take(ledger, f"o{n}") for n in range(4)] == ["5", "4", "3", "1"]

    def test_what_is_reserved_later_is_passed_over(self) -> None:
        """Also what was never held, once the order is known."""
        ledger = with_pool("least-recently-used", ips=FOUR)
        assert take(ledger, "a") == "1"
        ledger.apply(make_reservation("kept", "10.0.0.2-10.0.0.3"))
        assert take(ledger, "b") == "4"
        ledger.done(make_delete(reservations=["kept"]))
        assert take(ledger, "c") == "2"

    def test_what_is_asked_for_no_more_is_kept_no_more(self) -> None:
        """A pool of another policy leaves no page of the order behind."""
        ledger, pages = with_pool("least-recently-used", ips=FOUR), MemoryPages()
        (lease,) = ledger.grant()
        ledger.done(make_release(lease.lease_id))
        for looked_at in (False, True):
            ledger.take_up(pages)
            assert {table for table, _ in pages.stored if table[:4] == "idle"} != set()
            if looked_at:
                ledger.done(make_release(ledger.grant()[0].lease_id))
            change(ledger, ips=FOUR, policy="lowest")
            ledger.take_up(pages)
            assert {table for table, _ in pages.stored if table[:4] == "idle"} == set()
            change(ledger, ips=FOUR, policy="sticky")

    def test_it_is_what_a_plain_list_says_over_random_histories(self) -> None:
        """Takes and releases, by address too, in a pool that also rests and is kept in pages."""
        random = Random(5)  # noqa: S311 - the same history on every run
        ledger, pages = TestLedger(), MemoryPages()
        ledger.apply(make_pool("pool", "10.0.0.0/22", policy="least-recently-used"))
        never, idle = list(range(1, 1_023)), list[int]()
        held: list[tuple[int, int]] = []
        first = pool_of(ledger).spec.subnet.first
        for step in range(3_000):
            pass_s(ledger, 1)
            if random.random() < 0.02:
                ledger.take_up(pages)
            if held and random.random() < (0.2 if step < 1_500 else 0.55):
                lease_id, value = held.pop(random.randrange(len(held)))
                ledger.done(make_release(lease_id))
                idle.append(value)
                continue
            if idle and random.random() < 0.1:
                value = idle.pop(random.randrange(len(idle)))
                ips = [f"10.0.{value >> 8}.{value & 255}"]
            else:
                value, ips = never.pop(0) if never else idle.pop(0), []
            (lease,) = ledger.grant(owner=f"o{step}", ips=ips)
            assert to_int(lease.address) - first == value, f"step {step}"
            held.append((lease.lease_id, value))
        assert len(idle) > 100


# ----------------------------------------------------------------------------------- two writers


@pytest.mark.parametrize("policy", POLICIES)
def test_a_process_that_reads_what_was_kept_chooses_the_same(policy: Policy) -> None:
    """A state in memory, and one that goes through pages again and again."""
    random = Random(9)  # noqa: S311 - the same history on every run
    whole, kept = TestLedger(seed=3), TestLedger(seed=3)
    pages = MemoryPages()
    commands: list[Command] = [
        Apply((make_pool("pool", "10.0.0.0/26", cooldown_s=3, sticky_s=50),))
    ]
    for step in range(600):
        owner = f"o{random.randrange(60)}"
        if step % 150 == 100:
            fields = {"cooldown_s": 3, "sticky_s": 50, "policy": policy, "ttl_s": step}
            commands.append(Apply((make_pool("pool", "10.0.0.0/26", **fields),)))
        elif random.random() < 0.45:
            commands.append(make_release(owner=owner))
        else:
            commands.append(make_allocate(owner=owner))
    for number, command in enumerate(commands):
        for ledger in (whole, kept):
            ledger.clock.now_ms += 700
            ledger.run(command)
        if number % 7 == 0:
            kept.take_up(pages)
    assert [e.e for e in whole.stream.entries] == [e.e for e in kept.stream.entries]


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_proposed_can_be_taken_back(policy: Policy) -> None:
    """A refused member of a batch leaves what it would have had to the next one."""
    ledger = with_pool(policy, ips=FOUR)
    placement = Placement(seed=5)
    refused = decide(ledger.state, make_allocate(number=5), Claim(), placement)
    assert isinstance(refused, Refusal)
    decision = decide(ledger.state, make_allocate(number=4), Claim(), placement)
    assert not isinstance(decision, Refusal)
