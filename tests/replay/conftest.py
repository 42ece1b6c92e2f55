"""Where the tests of a history keep it, and a ledger to make it of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from replay.history.store import HistoryView
from tests.builders import TestLedger, make_pool, make_release, make_reservation


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a history is kept; its directory is not there yet."""
    return tmp_path / "views" / "history.sqlite"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], HistoryView]]:
    """Opens views at `path`; they are closed in the end."""
    views: list[HistoryView] = []

    def make() -> HistoryView:
        views.append(HistoryView(path))
        return views[-1]

    yield make
    for view in views:
        view.close()


@pytest.fixture
def ledger() -> TestLedger:
    """A ledger in which something was granted, and something ended."""
    made = TestLedger()
    made.apply(make_pool("web"), make_reservation("kept", "10.0.0.9", reason="why"))
    for number in range(20):
        made.clock.now_ms += 1_000
        made.grant("web", owner=f"pod-{number}", labels=(("k", "v"),))
        if number % 3 == 0:
            made.done(make_release(owner=f"pod-{number}"))
    return made
