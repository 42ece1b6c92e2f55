"""Deciding behind a batch that is on its way: what is sent then, and what must not be."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from threading import Event, Thread
from typing import Any, Final

import pytest

import ipledger
from engine.commands import Claim, Release
from engine.entry import Anchor, RawEntry
from engine.errors import (
    ClockSkew,
    HistoryDiverged,
    LedgerError,
    Refusal,
    Unavailable,
    UnknownOutcome,
)
from engine.memory_stream import MemoryStream
from engine.model import LOCAL, Durability
from engine.stream import AppendReply, Fetch, Proposal
from ipledger import operations
from ipledger.ledger import Ledger
from ipledger.writer import Writer
from ipledger.writing import Call, Done, Held
from tests.builders import TestLedger, make_allocate, make_pool, make_reservation

_MANY: Final = 64  # so many share: half is carried while the other half is decided


class Watched(MemoryStream):
    """A stream that is asked at once when a batch is begun, and does what a test says meanwhile."""

    def __init__(self, ledger: TestLedger) -> None:
        self.clock_ahead_ms = 0
        super().__init__(lambda: ledger.clock.now_ms + self.clock_ahead_ms)
        self.entries, self.last_generated = ledger.stream.entries, ledger.stream.last_generated
        self.begun: list[int] = []
        self.fails: list[LedgerError] = []
        self.before_begin: dict[int, Callable[[], object]] = {}

    def begin(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> Fetch:  # fmt: skip
        """See `engine.stream.Stream.begin`."""
        self.before_begin.pop(len(self.begun), lambda: None)()
        self.begun.append(len(proposals))
        reply = self.append(after, voided, now_ms, proposals, wanted)

        def fetch() -> AppendReply:
            if self.fails:
                raise self.fails.pop()
            return reply

        return fetch


@pytest.fixture
def ledger() -> TestLedger:
    """A space with a pool."""
    ledger = TestLedger()
    ledger.apply(make_pool("pool", "10.0.0.0/20"))
    return ledger


@pytest.fixture
def stream(ledger: TestLedger) -> Watched:
    """The space's stream."""
    return Watched(ledger)


@pytest.fixture
def writer(ledger: TestLedger, stream: Watched) -> Writer:
    """A writer on it, with the machine's clock."""
    ledger.clock.now_ms = time.time_ns() // 1_000_000
    return Writer(stream, ledger.continuity, ledger.state)


def _submit(writer: Writer, *commands: Any, first: int = 1) -> list[Call]:
    calls = [
        writer.make_call(command, Claim(), number.to_bytes(16), 30.0, lambda _call: None)
        for number, command in enumerate(commands, first)
    ]
    for call in calls:
        writer.submit(call)
    return calls


def _records(calls: Sequence[Call]) -> list[Any]:
    found: list[Any] = []
    for call in calls:
        assert isinstance(call.outcome, Done), call.outcome
        found += call.outcome.records
    return found


def _granted(calls: Sequence[Call]) -> list[bytes]:
    return [record.event.address for record in _records(calls)]


def _many(number: int = _MANY, first: int = 1) -> list[Any]:
    return [make_allocate(owner=f"o{at}") for at in range(first, first + number)]


def test_half_is_decided_while_half_is_on_its_way(writer: Writer, stream: Watched) -> None:
    """Two batches, one sent behind the other, with addresses of their own, lowest first."""
    calls = _submit(writer, *_many())
    writer.drive()
    assert stream.begun == [_MANY // 2, _MANY // 2]
    addresses = _granted(calls)
    assert addresses == sorted(set(addresses))
    decided = [record.commit.decided_at for record in _records(calls)]
    assert decided == [2] * _MANY, "both halves were decided on what was before either"


def test_a_few_are_not_split(writer: Writer, stream: Watched) -> None:
    """Where there is little to decide, everybody goes in one batch, and nothing stays behind."""
    _submit(writer, *_many(8))
    writer.drive()
    assert stream.begun == [8]
    assert not writer.has_work


def test_what_touches_the_batch_on_its_way_waits(writer: Writer) -> None:
    """The same owner twice, once in each half: the second one finds what the first was given."""
    commands = [*_many(_MANY // 2), make_allocate(owner="o1"), *_many(_MANY // 2 - 1, first=900)]
    calls = _submit(writer, *commands)
    writer.drive()
    again = calls[_MANY // 2].outcome
    assert isinstance(again, Held)
    assert [lease.address for lease in again.leases] == _granted(calls[:1])


def test_what_others_write_meanwhile_is_decided_anew(
    ledger: TestLedger, writer: Writer, stream: Watched
) -> None:
    """A reservation of all that is left lands in between: nobody in the second half gets any."""
    other = TestLedger(seed=1, beside=ledger)
    other.stream = stream
    other.refresh()
    calls = _submit(writer, *_many())
    stream.before_begin[1] = lambda: other.apply(make_reservation("all", "10.0.0.0-10.0.15.255"))
    writer.drive()
    assert len(_granted(calls[: _MANY // 2])) == _MANY // 2
    late = [call.outcome for call in calls[_MANY // 2 :]]
    assert all(isinstance(outcome, Refusal) and outcome.kind == "exhausted" for outcome in late)
    replayed = ledger.replayed()
    assert len(replayed.lease_table) == _MANY // 2


def test_a_foreign_tail_throws_away_what_was_decided(
    ledger: TestLedger, writer: Writer, stream: Watched
) -> None:
    """Somebody wrote before the first half: the second is decided on what that was."""
    other = TestLedger(seed=1, beside=ledger)
    other.stream = stream
    other.refresh()
    other.apply(make_reservation("two", "10.0.0.40-10.0.0.41"))
    calls = _submit(writer, *_many())
    writer.drive()
    addresses = _granted(calls)
    assert len(set(addresses)) == _MANY
    assert not {bytes((10, 0, 0, 40)), bytes((10, 0, 0, 41))} & set(addresses)
    decided = [record.commit.decided_at for record in _records(calls[_MANY // 2 :])]
    assert min(decided) > 2


def test_a_release_of_all_that_an_owner_has_sees_what_is_on_its_way(
    writer: Writer,
) -> None:
    """It arrives while its owner's grant is on its way: the lease is ended, not overlooked."""
    commands = [*_many(_MANY // 2), *_many(_MANY // 2 - 1, first=500), Release(owner="o3")]
    calls = _submit(writer, *commands)
    writer.drive()
    assert _granted(calls[-1:]) == _granted(calls[2:3])


def test_a_release_of_all_that_an_owner_has_knows_what_was_there_before_it(
    ledger: TestLedger, writer: Writer, stream: Watched
) -> None:
    """What somebody else granted after a batch was sent, and before the release was asked for."""
    other = TestLedger(seed=1, beside=ledger)
    other.stream = stream
    other.refresh()
    other.grant("pool", owner="both")
    _submit(writer, *_many(_MANY // 2))
    writer.drive_once()
    assert writer.has_work, "one half is on its way, and comes back with what was granted"
    other.refresh()
    other.grant("pool", owner="both", interface="net1")
    released = _submit(writer, Release(owner="both"), first=900)
    writer.drive()
    assert len(_records(released)) == 2


def test_a_lost_reply_keeps_both_halves(
    ledger: TestLedger, writer: Writer, stream: Watched
) -> None:
    """The first half's reply is lost: it is found in the stream, and everything stands once."""
    stream.fails = [UnknownOutcome("the reply was lost")]
    calls = _submit(writer, *_many())
    writer.drive()
    assert len(set(_granted(calls))) == _MANY
    assert len(stream.entries) == 2 + _MANY
    assert len(ledger.replayed().lease_table) == _MANY


def test_a_server_that_was_away_loses_nobody(writer: Writer, stream: Watched) -> None:
    """The first half certainly did not arrive; it is carried again, and the second behind it."""
    stream.fails = [Unavailable("the server is away")]
    calls = _submit(writer, *_many())
    writer.drive()
    assert all(isinstance(call.outcome, Done) for call in calls)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(Unavailable("the line was cut"), "unknown"), (HistoryDiverged("it is another"), "integrity")],
)
def test_a_commit_that_cannot_be_read_again_keeps_nobody_waiting(
    ledger: TestLedger, writer: Writer, stream: Watched, error: LedgerError, kind: str
) -> None:
    """Found in what came back with a batch: all who were carried with it are answered, too."""
    other = TestLedger(seed=1, beside=ledger)
    other.stream = stream
    other.refresh()
    other.apply(make_pool("late", "10.1.0.0/24"))
    command = make_allocate("late", owner="late")
    done = other.done(command, "the same")  # for this writer there is no such pool yet
    stands_at = done.records[0].position
    key = sha256(b"the same").digest()[:16]
    repeated = writer.make_call(command, Claim(), key, 30.0, lambda _call: None)
    writer.submit(repeated)
    calls = _submit(writer, *_many())

    read = stream.read

    def failing(after_ms: int, after_position: int, entries_max: int) -> list[RawEntry]:
        if after_position == stands_at - 1:
            raise error
        return read(after_ms, after_position, entries_max)

    stream.read = failing  # type: ignore[method-assign]
    writer.drive()
    assert not writer.has_work
    assert isinstance(repeated.outcome, LedgerError)
    assert repeated.outcome.kind == kind
    assert all(call.outcome is not None for call in calls)


def test_a_refused_clock_is_everybodys(writer: Writer, stream: Watched) -> None:
    """Clocks that are apart: nothing was written, and all who were carried are told so."""
    stream.clock_ahead_ms = 400_000
    calls = _submit(writer, *_many())
    writer.drive()
    assert all(isinstance(call.outcome, ClockSkew) for call in calls)
    assert len(stream.entries) == 2


def test_a_refresh_clears_what_is_on_its_way(writer: Writer) -> None:
    """Whoever reads the stream must not fold a second time what is about to land."""
    _submit(writer, *_many())
    writer.drive_once()
    assert writer.has_work, "one half is on its way"
    writer.refresh()
    assert writer.state.position == 2 + _MANY // 2
    writer.drive()
    assert writer.state.position == 2 + _MANY


def test_the_lead_goes_to_nobody_who_is_answered(writer: Writer) -> None:
    """A call that was answered with an error while it was queued waits for nothing any more."""
    woken: list[Call] = []
    calls = [
        writer.make_call(make_allocate(), Claim(), bytes([at]) * 16, 30.0, woken.append)
        for at in (1, 2)
    ]
    for call in calls:
        writer.submit(call)
    calls[0].settle(Unavailable("the server is away"))
    woken.clear()
    writer._hand_over()
    assert woken == calls[1:]


def test_an_interrupt_while_waiting_leaves_the_others_a_leader() -> None:
    """Whoever is interrupted waits no more; the lead goes to somebody who does."""
    ledger = Ledger(MemoryStream(lambda: time.time_ns() // 1_000_000))
    ledger.apply(ipledger.pool("p", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.99"]))
    writer = ledger.writer
    gone = Event()

    class Interrupted:
        """What a thread waits on that is interrupted, as by Ctrl-C."""

        def get(self) -> None:
            raise KeyboardInterrupt

    call = writer.make_call(
        operations.allocate("p", "left").command, Claim(), bytes(16), 30.0, lambda _call: None
    )
    answers: list[Any] = []

    def stay() -> None:
        answers.append(ledger.allocate("p", owner="stays"))
        gone.set()

    with writer._lead:
        writer.submit(call)
        thread = Thread(target=stay)
        thread.start()
        while len(writer._queue) < 2:
            pass
        with pytest.raises(KeyboardInterrupt):
            writer._await(call, Interrupted())  # type: ignore[arg-type]
    writer._hand_over()
    assert gone.wait(30)
    thread.join()
    assert answers[0].granted
