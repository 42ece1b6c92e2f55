"""Histories by chance, built and kept as a runner would."""

from __future__ import annotations

from typing import Final

from engine.entry import Record
from engine.reading import Checkpoint
from replay.history.store import HistoryView
from tests.replay.simulated import Simulation

EVENTS: Final = 3_000


def simulated(seed: int = 7, events: int = EVENTS) -> tuple[list[list[Record]], Simulation]:
    """Commits by chance, and who drew them."""
    simulation = Simulation(seed)
    return list(simulation.commits(events)), simulation


def build(view: HistoryView, events: int = EVENTS, seed: int = 7) -> HistoryView:
    """A history by chance, whole."""
    assert view.load() is None
    commits, simulation = simulated(seed, events)
    for commit in commits:
        view.apply_all(commit)
    view.save(simulation.checkpoint())
    view.settle()
    return view


def keep(
    view: HistoryView, records: list[Record], checkpoint: Checkpoint, *, settled: bool = True
) -> None:
    """Fold, save, and put in order what was built anew."""
    view.apply_all(records)
    view._flush()
    view.save(checkpoint)
    if settled:
        view.settle()
