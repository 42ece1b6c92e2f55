"""Many processes, a bad network, crashes and failovers: of 1,000 seeds none breaks a promise.

What is promised is in `tests.simulation.verdict`. That it would be noticed is held by defects that
are put in by hand, one after another: each must be found within a few seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from engine.decide import decide
from engine.draft import Draft, Nothing
from engine.entry import Anchor, Record
from engine.errors import Refusal, UnknownOutcome
from engine.memory_stream import MemoryStream, _Written
from engine.placement import Placement
from engine.stream import AppendReply, Proposal
from ipledger.writer import Writer
from ipledger.writing import Call, Done, Held, Protocol
from projections.pools import Pools
from tests.simulation.network import LIKELY
from tests.simulation.running import run_seed, run_seeds

_SEEDS_A_TEST: Final = 50
_SEEDS: Final = 1_000
_WITHIN: Final = 60  # seeds, in which a defect is found

# What must have been seen in fifty seeds beside the faults: the ways out of them.
_SOMETIMES: Final = (
    "answer Done", "answer Held", "answer Refusal", "answer UnknownOutcome", "answer ClockSkew",
    "answer HistoryDiverged", "accepted rollback", "told again",
)  # fmt: skip


@pytest.mark.parametrize("first", range(0, _SEEDS, _SEEDS_A_TEST))
def test_no_seed_breaks_a_promise(first: int) -> None:
    """Fifty runs, in which every kind of fault happened, and every way out of one was taken."""
    happened, failed = run_seeds(range(first, first + _SEEDS_A_TEST))
    assert failed is None, f"{failed.why}\n\nrun it again:\n  {failed.command}"
    assert set(LIKELY) | set(_SOMETIMES) <= set(happened)


def test_a_seed_is_a_run() -> None:
    """The same seed gives the same turns, the same answers and the same bytes."""
    one, other = run_seed(7), run_seed(7)
    assert one.world.schedule.turns == other.world.schedule.turns
    assert one.world.happened == other.world.happened
    assert [repr(a) for a in one.attempts] == [repr(a) for a in other.attempts]
    # What an operator writes has random bytes of the machine's in it.
    mine, theirs = (
        [raw for raw in run.world.server.entries if b"operator" not in raw.s]
        for run in (one, other)
    )
    assert mine == theirs


Defect = Callable[[pytest.MonkeyPatch], None]


def _skip_the_tag_check(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Written, "conflict", lambda _written, _reads: None)


def _reuse_a_position(patch: pytest.MonkeyPatch) -> None:
    append = MemoryStream.append

    def reusing(
        self: MemoryStream, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal]
    ) -> AppendReply:
        reply = append(self, after, voided, now_ms, proposals)
        if len(self.entries) % 9 == 0:
            ms, position = self.last_generated
            self.last_generated = (ms, position - 1)
        return reply

    patch.setattr(MemoryStream, "append", reusing)


def _apply_twice(patch: pytest.MonkeyPatch) -> None:
    commit = Protocol._commit

    def twice(self: Protocol, *arguments: Any) -> Done:
        done = commit(self, *arguments)
        self.state.commands.fold(*_as_folded(done.records[-1]))
        self.state.pool_table._homeless.clear()
        self.state.lease_table._last_tenure.clear()
        self.state.position += 1
        return done

    patch.setattr(Protocol, "_commit", twice)


def _as_folded(record: Record) -> tuple[Any, ...]:
    header = record.header
    return record.position, record.ms, header.command, header.step, record.commit


def _forget_the_cooldown(patch: pytest.MonkeyPatch) -> None:
    give_back = Pools.give_back

    def at_once(self: Pools, event: Any, leases_left: int, _ended_at_ms: int, now_ms: int) -> None:
        give_back(self, event, leases_left, 0, now_ms)

    patch.setattr(Pools, "give_back", at_once)


def _answer_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    reconnect = Writer._reconnect

    def hopeful(self: Writer, error: Any) -> None:
        if isinstance(error, UnknownOutcome):
            for call in self._queue:
                imagined = _imagined(self, call) if call.in_doubt else None
                if imagined is not None and call.outcome is None:
                    call.settle(Done((imagined,)))
        reconnect(self, error)

    patch.setattr(Writer, "_reconnect", hopeful)


def _imagined(writer: Writer, call: Call) -> Record | None:
    """The record that a hopeful writer believes in: the next position, of its own command."""
    batch, _ = writer._protocol.plan([call], writer.server_now_ms())
    at = writer.continuity.anchor.position + 1
    return Record(at, writer.state.ms, *batch.members[0].parts[0]) if batch.members else None


def _refuse_from_a_stale_state(patch: pytest.MonkeyPatch) -> None:
    plan = Protocol.plan

    def stale(self: Protocol, calls: Sequence[Call], now_ms: int = 0) -> Any:
        batch, answers = plan(self, calls, now_ms)
        for call in batch.waiting:
            decision = decide(self.state, call.command, call.claim, Placement(), now_ms)
            if isinstance(decision, Refusal):
                answers.append((call, decision))
            elif isinstance(decision, Nothing):
                answers.append((call, Held(decision.leases)))
            else:
                assert isinstance(decision, Draft), "there are no others"
        answered = {id(call) for call, _ in answers}
        waiting = tuple(call for call in batch.waiting if id(call) not in answered)
        return batch._replace(waiting=waiting), answers

    patch.setattr(Protocol, "plan", stale)


def _drop_the_commit_boundary(patch: pytest.MonkeyPatch) -> None:
    append = MemoryStream.append

    def torn(
        self: MemoryStream, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal]
    ) -> AppendReply:
        reply = append(self, after, voided, now_ms, proposals)
        if proposals and len(proposals[-1].entries) > 1 and reply.status == "ok":
            del self.entries[-1]
            self.last_generated = self.entries[-1][:2]
        return reply

    patch.setattr(MemoryStream, "append", torn)


@pytest.mark.parametrize(
    "defect",
    [
        _skip_the_tag_check,
        _reuse_a_position,
        _apply_twice,
        _forget_the_cooldown,
        _answer_before_the_commit,
        _refuse_from_a_stale_state,
        _drop_the_commit_boundary,
    ],
)
def test_a_defect_is_found(defect: Defect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them breaks a promise within a few seeds; the failure says how to see it again."""
    defect(monkeypatch)
    _, failed = run_seeds(range(_WITHIN))
    assert failed is not None
    assert f"--seed {failed.seed}" in failed.command
