"""A long history from a seed, and whether every question about it is answered as it was.

Three clusters write it in memory (see tests/simulation/). It is replayed, kept as a history, and
asked at random who held what on both axes of time; each answer is held against a naive oracle
that knows the facts from the simulation and not from the events. Ends with 1 if one differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.harness import Timing, commit, machine
from projections.digest import state_digest
from replay.history.catching_up import catch_up
from replay.history.store import HistoryView
from replay.rebuild import rebuild
from tests.simulation.oracle import Oracle
from tests.simulation.questions import disagreement, questions
from tests.simulation.world import Simulation

EVENTS: Final = 1_000_000
QUESTIONS: Final = 10_000
_QUICK: Final = (5_000, 500)
_SHOWN: Final = 5  # of the answers that differ


class Asked(NamedTuple):
    """The answers: how long each took, how many named a holder, and which differ."""

    timing: Timing
    held: int
    wrong: list[str]


def ask(world: Simulation, view: HistoryView, number: int, seed: int) -> Asked:
    """Ask a history at random, and hold each answer against the facts."""
    oracle = Oracle(world.facts)
    timing, held, wrong = Timing(), 0, []
    with view.reading() as history:
        for question in questions(world, number, seed):
            address, at_ms, known_at_ms = question
            before_s = time.perf_counter()
            tenure = history.holder(address, at_ms, known_at_ms)
            timing.durations_s.append(time.perf_counter() - before_s)
            by_ms = world.now_ms if known_at_ms is None else known_at_ms
            fact = oracle.holder(address, at_ms, by_ms)
            held += fact is not None
            differs = disagreement(question, fact, tenure)
            if differs is not None:
                wrong.append(differs)
    return Asked(timing, held, wrong)


def measure(events: int, number: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """Simulate, replay, keep and ask; the figures, and the answers that differ."""
    simulating, replaying, keeping = Timing(), Timing(), Timing()
    world = Simulation(seed)
    simulating.take(lambda: world.run(events))
    replaying.take(lambda: rebuild(world.stream))
    with tempfile.TemporaryDirectory(prefix="ipl-") as directory:
        path = Path(directory) / "history"
        view = HistoryView(path)
        try:
            keeping.take(lambda: catch_up(view, world.stream))
            size = path.stat().st_size
            asked = ask(world, view, number, seed)
        finally:
            view.close()
    for timing in (simulating, replaying, keeping):
        timing.items = world.events
    figures = {
        "benchmark": "simulation",
        "machine": machine(),
        "commit": commit(),
        "seed": seed,
        "events": world.events,
        "tenures": len(world.facts),
        "late": sum(
            fact.effective_from_ms != fact.granted_ms or fact.effective_to_ms != fact.ended_ms
            for fact in world.facts
        ),
        "digest": state_digest(rebuild(world.stream).state),
        "simulated_per_s": round(simulating.rate),
        "replayed_per_s": round(replaying.rate),
        "kept_per_s": round(keeping.rate),
        "bytes_per_tenure": round(size / len(world.facts)),
        "questions": number,
        "held": asked.held,
        "differing": len(asked.wrong),
        "answer_p50_us": round(asked.timing.percentile_s(50) * 1e6),
        "answer_p99_us": round(asked.timing.percentile_s(99) * 1e6),
    }
    return figures, asked.wrong


def main() -> int:
    """Run it as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--events", type=int, default=EVENTS, metavar="N")
    parser.add_argument("--questions", type=int, default=QUESTIONS, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    asked = parser.parse_args()
    events, number = _QUICK if asked.quick else (asked.events, asked.questions)
    figures, wrong = measure(events, number, asked.seed)
    print(f"simulation{' (quick: these figures prove nothing)' if asked.quick else ''}")
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else value
        print(f"  {name.replace('_', ' '):18}{shown}")
    for differs in wrong[:_SHOWN]:
        print(f"  {differs}")
    if asked.json is not None:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
