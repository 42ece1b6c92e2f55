"""One run: processes work, a fault strikes, and what everybody was told is held to the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from engine.memory_stream import MemoryStream
from tests.checker.checking import Log, Verdict, check
from tests.checker.faults import FAULTS, GROWTH
from tests.checker.ground import DEADLINE_S, Ground, Stuck
from tests.checker.history import load
from tests.invariants import check_stream


class Ran(NamedTuple):
    """What struck how often, and the verdict."""

    struck: dict[str, int]
    verdict: Verdict

    def __str__(self) -> str:
        struck = ", ".join(f"{what}: {number:,}" for what, number in self.struck.items())
        return f"{struck or 'no fault'}; {self.verdict}"


def run(
    program: Path, fault: str, *, seed: int = 0, strikes: int | None = None,
    deadline_s: float = DEADLINE_S, **work: Any,
) -> Ran:  # fmt: skip
    """Run a fault on servers of this program; `work` is what is special about the processes.

    Raises:
        Broken: an answer contradicts the log.
        Stuck: nobody got on any more.
        AssertionError: the history itself is not sound.
    """
    strike, usual, settings = FAULTS[fault]
    stuck: Stuck | None = None
    with Ground(program, seed, settings, deadline_s, **work) as ground:
        try:
            ground.begin()
            strike(ground, usual if strikes is None else strikes)
            ground.await_growth(GROWTH)
        except Stuck as error:
            stuck = error  # what everybody was told until then says more
        logs = ground.end()
        verdict = check(load(ground.directory), logs, ground.seen)
        _audit(logs[-1])
        if stuck is not None:
            raise stuck
        assert not ground.died, f"{ground.died} did not end as they should"
        return Ran(dict(ground.struck), verdict)


def _audit(log: Log) -> None:
    """The history is sound by the product's own audit, which shares nothing with the folds."""
    stream = MemoryStream(lambda: log.entries[-1].ms)
    stream.entries = list(log.entries)
    stream.last_generated = log.entries[-1][:2]
    check_stream(stream)
