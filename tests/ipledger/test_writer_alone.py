"""The writer on a clock and a server that a test moves: what it does when a server comes back.

Found by the simulation of faults (`tests/simulation`), and held here one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from engine.commands import Claim, Reconcile
from engine.entry import Anchor
from engine.errors import (
    HistoryDiverged,
    IntegrityError,
    LedgerError,
    Unavailable,
    UnknownOutcome,
)
from engine.model import LOCAL, Durability
from engine.observation import Observation
from engine.stream import AppendReply, AppendsWhenFetched, Head, Proposal
from ipledger.writer import Writer
from ipledger.writing import Call, Done
from tests.builders import TestLedger, make_allocate, make_pool


class Clock:
    """Time that passes when the writer sleeps."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._drawn = 0

    def monotonic_s(self) -> float:
        """See `ipledger.clock.Clock`."""
        return self._now_ms / 1000

    def now_ms(self) -> int:
        """See `ipledger.clock.Clock`."""
        return self._now_ms

    def sleep_s(self, seconds: float) -> None:
        """See `ipledger.clock.Clock`."""
        self._now_ms += int(seconds * 1000)

    def random_bytes(self, number: int) -> bytes:
        """See `ipledger.clock.Clock`."""
        self._drawn += 1
        return (self._drawn % (1 << 8 * number)).to_bytes(number)


class LosesReplies(AppendsWhenFetched):
    """A stream whose next append is carried out, and its reply lost."""

    def __init__(self, ledger: TestLedger, before_head: Callable[[], None] = lambda: None) -> None:
        self._ledger = ledger
        self._before_head = before_head
        self.loses = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger.stream, name)

    def head(self) -> Head:
        """See `engine.stream.Stream.head`."""
        self._before_head()
        return self._ledger.stream.head()

    def append(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:  # fmt: skip
        """See `engine.stream.Stream.append`."""
        reply = self._ledger.stream.append(after, voided, now_ms, proposals, wanted)
        if self.loses:
            self.loses = False
            raise UnknownOutcome("the reply was lost")
        return reply


@pytest.fixture
def ledger() -> TestLedger:
    """A space with a pool."""
    ledger = TestLedger()
    ledger.apply(make_pool())
    return ledger


def _call(writer: Writer, command: Any, number: int = 1, timeout_s: float = 5.0) -> Call:
    call = writer.make_call(command, Claim(), number.to_bytes(16), timeout_s, lambda _call: None)
    writer.submit(call)
    return call


def test_what_was_seen_is_noted_before_an_answer_that_was_lost(ledger: TestLedger) -> None:
    """An answer that is found in the stream after its reply was lost rests on what was noted."""
    noted: list[int] = []
    stream: Any = LosesReplies(ledger)
    writer = Writer(
        stream, ledger.continuity, ledger.state, clock=Clock(ledger.clock.now_ms),
        on_advance=lambda anchor, _state: noted.append(anchor.position),
    )  # fmt: skip
    call = _call(writer, make_allocate())
    writer.drive()
    assert isinstance(call.outcome, Done)
    assert noted[-1] == call.outcome.records[-1].position


def test_a_call_that_failed_while_it_waited_is_not_answered_again(ledger: TestLedger) -> None:
    """A slow server comes back with another history when the call's time has just run out."""
    clock = Clock(ledger.clock.now_ms)
    stream: Any = LosesReplies(ledger, before_head=lambda: clock.sleep_s(10))
    writer = Writer(stream, ledger.continuity, ledger.state, clock=clock)
    told: list[Call] = []
    call = writer.make_call(make_allocate(), Claim(), b"9" * 16, 5.0, told.append)
    writer.submit(call)
    # As after a failover that lost the last entry: another one stands there now.
    ledger.stream.entries[-1] = ledger.stream.entries[-1]._replace(c=b"another")
    ledger.stream.append = lambda *_asked: None  # type: ignore[assignment, method-assign]
    writer.drive()
    assert isinstance(call.outcome, IntegrityError)
    assert told == [call]


class Meeting(Call):
    """A call that another thread follows with one of its own just when it is looked at."""

    __slots__ = ("_ends_s", "_follow")

    def __init__(self, call: Call, follow: Callable[[], Call]) -> None:
        self._follow: Callable[[], Call] | None = None
        super().__init__(
            call.command, call.claim, call.key, arrived_s=call.arrived_s,
            deadline_s=call.deadline_s, on_done=call.on_done,
        )  # fmt: skip
        self._follow = follow

    @property
    def deadline_s(self) -> float:
        """Until when it waits."""
        if self._follow is not None:
            self._follow()
        return self._ends_s

    @deadline_s.setter
    def deadline_s(self, ends_s: float) -> None:
        self._ends_s = ends_s


@pytest.mark.parametrize("timeout_s", [0.3, 5.0])
def test_who_calls_while_the_server_is_away_is_not_forgotten(
    ledger: TestLedger, timeout_s: float
) -> None:
    """Calls come from other threads while those that wait are looked through; all are answered."""
    clock = Clock(ledger.clock.now_ms)
    stream: Any = LosesReplies(ledger)
    writer = Writer(stream, ledger.continuity, ledger.state, clock=clock)
    more: list[Call] = []

    def follow() -> Call:
        number = len(more) + 2
        if number < 40:
            more.append(_call(writer, make_allocate(owner=f"o{number}"), number))
        return call

    call = writer.make_call(make_allocate(), Claim(), b"9" * 16, timeout_s, lambda _call: None)
    writer.submit(Meeting(call, follow))
    writer.drive()
    assert len(more) > 2
    assert all(isinstance(one.outcome, Done) for one in more)


def test_a_commit_that_is_gone_is_not_told_again(ledger: TestLedger) -> None:
    """A command is repeated whose commit the server has lost since: that is what is said."""
    writer = Writer(
        ledger.stream, ledger.continuity, ledger.state, clock=Clock(ledger.clock.now_ms)
    )
    first = _call(writer, make_allocate())
    writer.drive()
    assert isinstance(first.outcome, Done)
    again = _call(writer, make_allocate())
    writer.drive()
    assert isinstance(again.outcome, Done)
    assert again.outcome.records == first.outcome.records
    lost = ledger.stream.entries.pop()
    ledger.stream.last_generated = ledger.stream.entries[-1][:2]
    once_more = _call(writer, make_allocate())
    writer.drive()
    assert isinstance(once_more.outcome, HistoryDiverged)
    assert once_more.outcome.position == lost.position


def test_a_call_whose_time_has_run_out_is_told_so(ledger: TestLedger) -> None:
    """Nothing is sent for it."""
    clock = Clock(ledger.clock.now_ms)
    writer = Writer(ledger.stream, ledger.continuity, ledger.state, clock=clock)
    call = _call(writer, make_allocate())
    clock.sleep_s(6)
    writer.drive()
    assert isinstance(call.outcome, Unavailable)


def test_what_is_too_early_is_not_asked_without_a_pause(ledger: TestLedger) -> None:
    """The server's clock was set back behind what stands: time stands still until it is there."""
    clock = Clock(ledger.clock.now_ms)
    asked = 0
    append = ledger.stream.append

    def counted(
        after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:  # fmt: skip
        nonlocal asked
        asked += 1
        return append(after, voided, now_ms, proposals, wanted)

    ledger.stream.append = counted  # type: ignore[method-assign]
    writer = Writer(ledger.stream, ledger.continuity, ledger.state, clock=clock)
    ledger.grant(owner="a")
    ledger.clock.now_ms -= 60_000
    soon = Observation([], ledger.state.ms + 500)
    call = _call(writer, Reconcile(soon.id, "arp", None, 0, (), (), (), True, soon))
    writer.drive()
    assert isinstance(call.outcome, Unavailable)
    assert call.deadline_s <= clock.monotonic_s() < call.deadline_s + 1
    assert asked < 300, "some fifty times a second, while it may wait for 5"


def test_what_a_decision_stumbles_over_is_its_callers_alone(ledger: TestLedger) -> None:
    """A command of wrong types is answered with an error; the others, and the next, go on."""
    writer = Writer(
        ledger.stream, ledger.continuity, ledger.state, clock=Clock(ledger.clock.now_ms)
    )
    wrong: Any = "2"
    calls = [
        _call(writer, make_allocate(owner="a"), 1),
        _call(writer, make_allocate(owner="b", number=wrong), 2),
        _call(writer, make_allocate(owner="c"), 3),
    ]
    writer.drive()
    assert isinstance(calls[0].outcome, Done)
    assert isinstance(calls[1].outcome, LedgerError)
    assert "could not be decided: TypeError" in calls[1].outcome.message
    assert isinstance(calls[2].outcome, Done)
    later = _call(writer, make_allocate(owner="d"), 4)
    writer.drive()
    assert isinstance(later.outcome, Done)
