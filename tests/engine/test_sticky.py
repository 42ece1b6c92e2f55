"""A pool that is sticky gives an owner that comes back the address that it had last."""

from __future__ import annotations

from typing import Final

import pytest

from engine.commands import SetAside
from engine.events import LeaseGranted
from engine.pool_spec import read_reservation_spec
from engine.wire import decode_entry
from tests.builders import (
    TestLedger,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)

FOUR: Final = ["10.0.0.1-10.0.0.4"]


def with_pool(policy: str, **fields: object) -> TestLedger:
    """A ledger with one pool of that policy."""
    ledger = TestLedger()
    ledger.apply(make_pool(policy=policy, **fields))  # type: ignore[arg-type]
    return ledger


def change(ledger: TestLedger, **fields: object) -> None:
    """Define the pool anew."""
    ledger.apply(make_pool(**fields))  # type: ignore[arg-type]


def pass_s(ledger: TestLedger, seconds: float) -> None:
    """Let time go on."""
    ledger.clock.now_ms += int(seconds * 1_000)


def take(ledger: TestLedger, owner: str, **fields: object) -> str:
    """One address, in words: its last number."""
    (text,) = ledger.take(owner=owner, **fields)
    return text.rpartition(".")[2]


def took_over(ledger: TestLedger) -> int | None:
    """Which lease the latest grant names as the one that it takes over from."""
    event = decode_entry(ledger.stream.entries[-1]).event
    assert isinstance(event, LeaseGranted)
    return event.supersedes


class TestSticky:
    """An owner that comes back has its address again, while the pool remembers it."""

    @pytest.fixture
    def ledger(self) -> TestLedger:
        """A pool that remembers for an hour and lets addresses rest for a minute."""
        return with_pool("sticky", ips=FOUR, sticky_s=3_600, cooldown_s=60)

    def leave(self, ledger: TestLedger, owner: str) -> int:
        """Give up what an owner holds; its (only) lease."""
        (lease,) = ledger.state.leases_of(owner)
        ledger.done(make_release(lease.lease_id))
        return lease.lease_id

    def test_it_comes_back_while_its_address_rests(self, ledger: TestLedger) -> None:
        """It need not wait for its own address; the grant says from which lease it takes over."""
        take(ledger, "a")
        assert take(ledger, "b") == "2"
        left = self.leave(ledger, "b")
        pass_s(ledger, 5)
        assert take(ledger, "c") == "3"
        assert take(ledger, "b") == "2"
        assert took_over(ledger) == left

    def test_it_comes_back_after_its_address_has_rested(self, ledger: TestLedger) -> None:
        """Whether or not an event has freed it yet."""
        for owner in "ab":
            take(ledger, owner)
        for event_between in (False, True):
            self.leave(ledger, "b")
            pass_s(ledger, 100)
            if event_between:
                take(ledger, "x")
            assert take(ledger, "b") == "2"

    def test_after_its_time_it_is_a_newcomer(self, ledger: TestLedger) -> None:
        """To the millisecond."""
        for owner in "ab":
            take(ledger, owner)
        for late_s, expected in ((-0.001, "2"), (0, "3")):
            self.leave(ledger, "b")
            pass_s(ledger, 3_600 + late_s)
            assert take(ledger, "b") == expected

    def test_what_was_given_to_another_is_forgotten(self, ledger: TestLedger) -> None:
        """Also after that one has left."""
        for owner in "abcd":
            take(ledger, owner)
        self.leave(ledger, "b")
        pass_s(ledger, 60)
        assert take(ledger, "x") == "2"
        self.leave(ledger, "x")
        for owner in "cb":
            pass_s(ledger, 60)
            assert ledger.state.remembered("b", "eth0") == []
            if owner == "c":
                self.leave(ledger, owner)
        assert take(ledger, "b") == "2", "as every newcomer: it is idle for longest"

    def test_what_another_had_while_the_pool_was_not_sticky_is_forgotten(self) -> None:
        """Nobody wrote that down, but the address's last tenure tells."""
        ledger = with_pool("sticky", ips=FOUR)
        for owner in "ab":
            take(ledger, owner)
        self.leave(ledger, "b")
        change(ledger, ips=FOUR, policy="lowest")
        assert take(ledger, "x") == "2"
        self.leave(ledger, "x")
        change(ledger, ips=FOUR, policy="sticky")
        assert take(ledger, "b") == "3"

    def test_newcomers_are_given_what_nobody_is_remembered_for(self, ledger: TestLedger) -> None:
        """What was never held first, then what was left longest ago."""
        for owner in "abc":
            take(ledger, owner)
        for owner in "cab":
            pass_s(ledger, 60)
            self.leave(ledger, owner)
        pass_s(ledger, 60)
        assert [take(ledger, f"o{n}") for n in range(4)] == ["4", "3", "1", "2"]

    def test_an_interface_is_a_holder_of_its_own(self, ledger: TestLedger) -> None:
        """Another interface of the same owner is a newcomer."""
        assert take(ledger, "a") == "1"
        assert take(ledger, "a", interface="net1") == "2"
        ledger.done(make_release(owner="a"))
        pass_s(ledger, 60)
        assert take(ledger, "a", interface="net1") == "2"
        assert take(ledger, "a", interface="net2") == "3"
        assert take(ledger, "a") == "1"

    def test_all_that_it_held_comes_back(self, ledger: TestLedger) -> None:
        """Several addresses at once, and one of them beside those that it holds."""
        assert ledger.take(owner="a", number=3) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        ledger.done(make_release(owner="a"))
        assert take(ledger, "x") == "4"
        assert sorted(ledger.take(owner="a", number=3)) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        ledger.done(make_release(owner="a", ip="10.0.0.2"))
        assert [lease.text for lease in ledger.grant(owner="a", number=3)] == ["10.0.0.2"]

    def test_without_a_time_it_is_remembered_until_another_has_it(self) -> None:
        """However long that is."""
        ledger = with_pool("sticky", ips=FOUR)
        for owner in "ab":
            take(ledger, owner)
        self.leave(ledger, "b")
        pass_s(ledger, 1e9)
        assert take(ledger, "b") == "2"

    def test_what_counts_is_the_setting_when_it_was_released(self) -> None:
        """Changing the pool does not make it remember, nor forget."""
        ledger = with_pool("lowest", ips=FOUR)
        for owner in "ab":
            take(ledger, owner)
        self.leave(ledger, "b")
        change(ledger, ips=FOUR, policy="sticky", sticky_s=10)
        assert take(ledger, "b") == "3"
        self.leave(ledger, "b")
        change(ledger, ips=FOUR, policy="lowest")
        assert take(ledger, "x") == "2"
        change(ledger, ips=FOUR, policy="sticky", sticky_s=1_000)
        pass_s(ledger, 9)
        assert take(ledger, "b") == "3"

    def test_another_pool_of_the_same_addresses_remembers(self) -> None:
        """The memory belongs to the address; a pool that was deleted and made anew has it."""
        ledger = with_pool("sticky", ips=FOUR)
        for owner in "ab":
            take(ledger, owner)
        self.leave(ledger, "b")
        ledger.done(make_delete("pool", cascade=True))
        ledger.apply(make_pool("other", ips=FOUR, policy="sticky"))
        assert ledger.take("other", owner="b") == ["10.0.0.2"]
        assert ledger.take("other", owner="a") == ["10.0.0.1"]

    def test_what_is_closed_meanwhile_is_not_given_back(self, ledger: TestLedger) -> None:
        """Reserved, or quarantined: while it rests and after."""
        for owner in "ab":
            take(ledger, owner)
        for owner in "ab":
            self.leave(ledger, owner)
        ledger.apply(make_reservation("kept", "10.0.0.1"))
        ledger.done(SetAside(read_reservation_spec(ips=["10.0.0.2"]).ips, "answers"))
        assert take(ledger, "a") == "3"
        pass_s(ledger, 60)
        assert take(ledger, "b") == "4"

    def test_a_space_of_the_first_level_waits_for_the_rest(self, ledger: TestLedger) -> None:
        """A grant that takes over from an ended lease is for readers of level 2."""
        assert ledger.state.space is not None
        ledger.state.space = ledger.state.space._replace(level=1)
        for owner in "ab":
            take(ledger, owner)
        self.leave(ledger, "b")
        assert take(ledger, "b") == "3"
        pass_s(ledger, 1)
        self.leave(ledger, "b")
        pass_s(ledger, 60)
        assert take(ledger, "b") == "3"
        assert took_over(ledger) is None

    def test_a_batch_does_not_give_one_address_twice(self, ledger: TestLedger) -> None:
        """Who comes back and who is new, decided together."""
        for owner in "abcd":
            take(ledger, owner)
        for owner in "abcd":
            self.leave(ledger, owner)
        pass_s(ledger, 60)
        calls = [ledger.call(make_allocate(owner=owner)) for owner in "xdyb"]
        assert ledger.step(calls)
        found = {lease.owner: lease.text[-1] for lease in ledger.state.leases()}
        assert sorted(found.values()) == ["1", "2", "3", "4"]

    def test_the_memory_is_bounded_by_the_addresses(self) -> None:
        """However many owners come and go, and however often."""
        ledger = with_pool("sticky", ips=FOUR)
        for number in range(200):
            owner = f"o{number % 50}"
            take(ledger, owner)
            self.leave(ledger, owner)
        assert len(ledger.state.preferences._last_holders) <= 4
        assert len(ledger.state.preferences._last_holders._by_holder) <= 4
