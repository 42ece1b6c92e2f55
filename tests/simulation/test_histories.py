"""Who held what when: a history of a simulated world answers as its naive oracle does.

`python -m benchmarks.simulation` asks the same of a million events.
"""

from __future__ import annotations

from pathlib import Path

from replay.history.catching_up import catch_up
from replay.history.store import HistoryView
from tests.simulation.oracle import Oracle
from tests.simulation.questions import disagreement, questions
from tests.simulation.world import simulated

EVENTS = 20_000
QUESTIONS = 10_000


def test_ten_thousand_answers_equal_the_oracles(tmp_path: Path) -> None:
    """On both axes: when it was so, and by when that was recorded."""
    world = simulated(EVENTS)
    oracle = Oracle(world.facts)
    view = HistoryView(tmp_path / "history")
    held = late = 0
    try:
        catch_up(view, world.stream)
        with view.reading() as history:
            assert history.position == world.events
            for question in questions(world, QUESTIONS):
                address, at_ms, known_at_ms = question
                by_ms = world.now_ms if known_at_ms is None else known_at_ms
                fact = oracle.holder(address, at_ms, by_ms)
                tenure = history.holder(address, at_ms, known_at_ms)
                assert disagreement(question, fact, tenure) is None
                held += fact is not None
                late += fact is not oracle.holder(address, at_ms, world.now_ms)
    finally:
        view.close()
    assert QUESTIONS // 4 < held < QUESTIONS * 3 // 4, "both answers are asked for"
    assert late > QUESTIONS // 50, "what was known then is another answer often enough"
