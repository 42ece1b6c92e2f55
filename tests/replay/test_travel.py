"""The state at any moment, found by position or time, and any other fold beside it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import pytest

from engine.entry import Anchor, Record
from engine.errors import HistoryDiverged, IntegrityError, InvalidInput
from engine.memory_stream import MemoryStream
from engine.reading import Continuity, HighWater, read_commits
from engine.wire import decode_entry
from ipledger.diagnosis import accept_rollback, diagnose
from projections.digest import state_digest
from projections.state import LedgerState
from replay.moments import Moment, last_moment, moment_at, moment_by
from replay.rebuild import fold_to, rebuild
from replay.walk import walk
from tests.builders import SPACE_ID, TestLedger, make_pool
from tests.simulation.world import simulated

EVENTS: Final = 6_000


@pytest.fixture(scope="module")
def stream() -> MemoryStream:
    """A long history."""
    return simulated(EVENTS).stream


@pytest.fixture(scope="module")
def ends(stream: MemoryStream) -> list[int]:
    """The positions at which its commits end."""
    return [e.position for e in stream.entries if decode_entry(e).commit.ends_here]


def _some(ends: list[int], number: int = 20) -> list[int]:
    return sorted(Random("ends").sample(ends, number))  # noqa: S311 - the same on every run


class Counting:
    """A fold of our own: how many events of each kind there were."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()

    def apply_all(self, records: Sequence[Record]) -> None:
        """Count them."""
        self.kinds.update(type(record.event).__name__ for record in records)


def test_the_state_at_any_moment(stream: MemoryStream, ends: list[int]) -> None:
    """Rebuilt to a commit end or its time, it is what a fold had when it came by."""
    wanted = set(_some(ends, 6))
    passing = LedgerState()
    for entry in stream.entries:
        passing.apply(decode_entry(entry))
        if entry.position in wanted:
            state, events = rebuild(stream, to_position=entry.position)
            assert events == state.position == entry.position
            assert state_digest(state) == state_digest(passing)
            last = moment_by(stream, entry.ms)
            assert last is not None
            assert rebuild(stream, to_ms=entry.ms).state.position == last.position
    assert rebuild(stream).events == len(stream.entries)
    assert rebuild(stream, to_position=0).events == rebuild(stream, to_ms=0).events == 0


def test_anything_can_be_folded(stream: MemoryStream, ends: list[int]) -> None:
    """To a moment, and from there on to a later one."""
    middle, end = ends[len(ends) // 2], last_moment(stream)
    counting, continuity = Counting(), Continuity()
    first = fold_to(stream, counting, moment_at(stream, middle))
    assert first == middle == counting.kinds.total()
    for records in read_commits(_until(stream, middle), continuity):
        assert records[-1].position <= middle
    assert fold_to(stream, counting, end, continuity=continuity) == end.position - middle
    whole = Counter(type(decode_entry(e).event).__name__ for e in stream.entries)
    assert counting.kinds == whole
    assert fold_to(stream, counting, end, continuity=continuity) == 0


def _until(stream: MemoryStream, position: int) -> MemoryStream:
    shorter = MemoryStream(lambda: 0)
    shorter.entries = stream.entries[:position]
    shorter.last_generated = shorter.entries[-1][:2]
    return shorter


def test_a_step_ends_at_each_stop(stream: MemoryStream, ends: list[int]) -> None:
    """Nothing is left out or handed on twice, wherever the stops are."""
    stops = [0, 0, *_some(ends), ends[-1]]
    arrivals = []
    positions: list[int] = []
    for records, arrived in walk(stream, Continuity(), stops, None, read_commits):
        positions += [record.position for record in records]
        if arrived:
            arrivals.append(positions[-1] if positions else 0)
    assert positions == list(range(1, ends[-1] + 1))
    assert arrivals == stops
    within = list(range(1, ends[-1], 7))  # most of them inside commits, several in one
    reached = [
        r[-1].position
        for r, arrived in walk(stream, Continuity(), within, None, read_commits)
        if arrived
    ]
    ends_at = set(ends)
    assert reached == sorted({next(e for e in range(at, at + 4_096) if e in ends_at)
                              for at in within})  # fmt: skip


def test_progress_is_told(stream: MemoryStream) -> None:
    """After each page, by position."""
    told: list[int] = []
    rebuild(stream, on_progress=told.append)
    assert told == sorted(told)
    assert len(told) > 5
    assert told[-1] == len(stream.entries)


def test_a_moment_by_position(stream: MemoryStream, ends: list[int]) -> None:
    """A commit's end; inside of one both ends beside it are named; 0 is the beginning."""
    assert moment_at(stream, 0) == Moment(0, 0)
    ends_at = set(ends)
    inside = 0
    for position in range(1, 3_000, 3):
        if position in ends_at:
            assert moment_at(stream, position) == Moment(
                position, stream.entries[position - 1].ms
            )  # fmt: skip
            continue
        inside += 1
        at = bisect_right(ends, position)
        with pytest.raises(InvalidInput, match="inside a commit") as refused:
            moment_at(stream, position)
        assert refused.value.hint == f"the nearest commit ends are {ends[at - 1]} and {ends[at]}"
    assert inside > 50
    with pytest.raises(InvalidInput, match="beyond the end"):
        moment_at(stream, len(stream.entries) + 1)


def test_a_moment_by_time(stream: MemoryStream) -> None:
    """The last commit that is not after it; none before the first event."""
    times = [entry.ms for entry in stream.entries]
    for ms in {*times[::97], *(ms - 1 for ms in times[100::97]), times[-1] + 5}:
        position = bisect_right(times, ms)
        assert moment_by(stream, ms) == Moment(position, times[position - 1])
    assert moment_by(stream, times[0] - 1) is None
    assert moment_by(MemoryStream(lambda: 0), 5) is None


def test_positions_that_were_given_up(tmp_path: Path) -> None:
    """A restored history jumps once: a void position is no moment, and its neighbours are named."""
    ledger = TestLedger()
    ledger.apply(make_pool())
    ledger.grant(owner="a")
    stream = ledger.stream
    found = diagnose(stream, None)._replace(trouble=IntegrityError("a backup was restored"))
    ledger.clock.now_ms += 1_000
    accept_rollback(
        stream, found, void_through=9, actor="me", reason="test", save_to=tmp_path / "aside"
    )
    assert last_moment(stream).position == 10
    for void in (4, 9):
        with pytest.raises(InvalidInput, match=f"position {void} is void") as refused:
            moment_at(stream, void)
        assert refused.value.hint == "the nearest commit ends are 3 and 10"
    assert moment_by(stream, ledger.clock.now_ms - 1) == Moment(3, stream.entries[2].ms)
    assert rebuild(stream).events == 4
    assert [
        r[-1].position for r, _ in walk(stream, Continuity(), [2, 7, 10], None, read_commits)
    ] == [2, 10]


def test_a_history_that_runs_backwards_is_noticed(stream: MemoryStream) -> None:
    """Also by who looks at an early moment only."""
    seen = HighWater(SPACE_ID, 0, (Anchor(1, EVENTS * 2, b"c"),))
    with pytest.raises(HistoryDiverged, match="was seen before"):
        rebuild(stream, to_position=1, remembered=seen)
