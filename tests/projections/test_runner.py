"""The runner keeps a view right: killed anywhere, poisoned, behind, or with the server away.

A view and its checkpoint are saved together, so whatever happens between two saves, the next
runner ends with what a fold from the beginning gives.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.entry import Record
from engine.errors import (
    ContradictoryEvent,
    DamagedEntry,
    HistoryDiverged,
    IntegrityError,
    Unavailable,
)
from engine.reading import Checkpoint
from engine.stream import Stream
from ipledger.cursors import cursor_text, read_cursor
from projections.following import Lag
from projections.runner import PoisonedView, Progress, Runner, build
from tests.engine.book import Book, filler


class Killed(BaseException):
    """The process died here."""


class CountingView:
    """Positions and times in SQLite, with the checkpoint in the same transaction.

    It is killed when a budget of steps is used up: before a fold, between fold and save, in the
    middle of a save, or behind it.
    """

    name = "counting"
    schema_version = 3

    def __init__(self, path: Path, steps: int = 1_000_000, poison: int = 0) -> None:
        self.steps = steps
        self.poison = poison
        self.saves = 0
        self.database = sqlite3.connect(path)
        self.database.execute("PRAGMA synchronous = OFF")  # the machine itself is not killed
        self.database.execute("CREATE TABLE IF NOT EXISTS seen (position INTEGER PRIMARY KEY, ms)")
        self.database.execute("CREATE TABLE IF NOT EXISTS stands (cursor)")
        self.database.commit()

    def _step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise Killed

    def load(self) -> Checkpoint | None:
        """From the table."""
        row = self.database.execute("SELECT cursor FROM stands").fetchone()
        return None if row is None else read_cursor(row[0])

    def apply_all(self, records: Sequence[Record]) -> None:
        """Each record once: one that comes again breaks the primary key."""
        for record in records:
            self._step()
            if record.position == self.poison:
                message = f"position {record.position} says what cannot be"
                raise ContradictoryEvent(message, "", record.position)
            row = (record.position, record.ms)
            self.database.execute("INSERT INTO seen VALUES (?, ?)", row)

    def save(self, checkpoint: Checkpoint) -> None:
        """Commit both."""
        self._step()
        self.database.execute("DELETE FROM stands")
        self._step()
        self.database.execute("INSERT INTO stands VALUES (?)", (cursor_text(checkpoint),))
        self._step()
        self.database.commit()
        self.saves += 1
        self._step()

    def discard(self, why: str) -> None:
        """Forget everything."""
        assert why
        for table in ("seen", "stands"):
            self.database.execute(f"DELETE FROM {table}")  # noqa: S608 - two names of our own

    def digest(self) -> str:
        """Of the rows."""
        rows = self.database.execute("SELECT * FROM seen ORDER BY position").fetchall()
        return sha256(repr(rows).encode()).hexdigest()

    def positions(self) -> list[int]:
        """What it has seen, saved or not."""
        return [at for (at,) in self.database.execute("SELECT position FROM seen ORDER BY 1")]

    def close(self) -> None:
        """Drop what is not committed, as the end of a process does."""
        self.database.close()


def fresh_digest(stream: Stream, path: Path) -> str:
    """The digest of a view that is built in one go."""
    with closing(CountingView(path)) as view:
        build(stream, view)
        return view.digest()


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=12), seed=st.integers(0, 2**32))
def test_killed_anywhere_it_ends_with_the_same_digest(
    sizes: list[int], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Between fold and save, inside a save, and while the stream grows; nothing folds twice."""
    random = Random(seed)  # noqa: S311 - the same kills on every run
    path = tmp_path_factory.mktemp("view")
    book = Book(*sizes)
    for _ in range(10):
        view = CountingView(path / "v", steps=random.randint(0, 12))
        with closing(view), suppress(Killed):
            Runner(book.stream, view, save_events=random.randint(1, 6)).catch_up()
        if random.random() < 0.3:
            book.write(*map(filler, range(1, random.randint(2, 4))))
    with closing(CountingView(path / "v")) as view:
        progress = Runner(book.stream, view).catch_up()
        assert view.positions() == list(range(1, book.last + 1))
        assert view.digest() == fresh_digest(book.stream, path / "fresh")
    assert (progress.position, progress.lag) == (book.last, Lag(0, 0.0))


def test_it_says_how_far_it_is(tmp_path: Path) -> None:
    """After each page: the view, its schema version, and how far it lags by the stream's clock."""
    book = Book(*[1] * 1_500)
    told: list[Progress] = []
    with closing(CountingView(tmp_path / "v")) as view:
        end = Runner(book.stream, view, on_progress=told.append).catch_up()
    assert [(p.view, p.schema_version, p.position, p.events, p.lag) for p in told] == [
        ("counting", 3, 1_000, 1_000, Lag(501, 5.01)),
        ("counting", 3, 1_501, 1_501, Lag(0, 0.0)),
        ("counting", 3, 1_501, 1_501, Lag(0, 0.0)),
    ]
    assert end == told[-1]
    assert end.head_position == 1_501


def test_it_saves_every_so_many_events_and_at_the_end(tmp_path: Path) -> None:
    """And not when nothing came."""
    book = Book(*[1] * 3_500)
    with closing(CountingView(tmp_path / "v")) as view:
        runner = Runner(book.stream, view, save_events=2_000, save_ms=3_600_000)
        runner.catch_up()
        assert view.saves == 2
        runner.catch_up()
        assert view.saves == 2


def test_it_saves_after_so_many_milliseconds(tmp_path: Path) -> None:
    """Zero is after each page."""
    book = Book(*[1] * 3_500)
    with closing(CountingView(tmp_path / "v")) as view:
        Runner(book.stream, view, save_ms=0).catch_up()
        assert view.saves == 4


def test_a_poisoned_view_stops_and_nothing_of_it_is_saved(tmp_path: Path) -> None:
    """The error says which view, which position and why; what was saved before stands."""
    book = Book(2, 3)
    with closing(CountingView(tmp_path / "v")) as view:
        build(book.stream, view)
    book.write(filler(), filler(), filler())  # 7, 8, 9
    for _ in range(2):
        with (
            pytest.raises(PoisonedView, match="view counting stopped at position 8") as caught,
            Runner(book.stream, CountingView(tmp_path / "v", poison=8)) as runner,
        ):
            runner.catch_up()
        assert (caught.value.view, caught.value.position) == ("counting", 8)
        assert "says what cannot be" in caught.value.message
        assert isinstance(caught.value, IntegrityError)
    with closing(CountingView(tmp_path / "v")) as view:
        assert view.positions() == [1, 2, 3, 4, 5, 6]
        assert build(book.stream, view).position == 9


def test_a_page_folded_in_part_is_not_saved_with_the_one_before(tmp_path: Path) -> None:
    """The page before it was not saved yet, and what is half folded lies on top of it."""
    book = Book(*[1] * 1_500)
    view = CountingView(tmp_path / "v", poison=1_200)
    with (
        pytest.raises(PoisonedView),
        Runner(book.stream, view, save_ms=3_600_000) as runner,
    ):
        runner.catch_up()
    with closing(CountingView(tmp_path / "v")) as view:
        assert (view.load(), view.positions()) == (None, [])


def test_a_view_with_a_bug_is_poisoned_too(tmp_path: Path) -> None:
    """Whatever it raises is told with the positions, and nothing is saved."""

    class Broken(CountingView):
        def apply_all(self, records: Sequence[Record]) -> None:
            super().apply_all(records)
            raise KeyError(7)

    with closing(Broken(tmp_path / "v")) as view:
        with pytest.raises(PoisonedView, match="positions 1 to 3: KeyError: 7"):
            build(Book(2).stream, view)
        assert view.saves == 0


def test_what_is_right_before_a_damaged_entry_is_saved(tmp_path: Path) -> None:
    """The stream is at fault and not the view: it stands in front of the damage."""
    book = Book(2, 3)
    raw = book.stream.entries[4]
    book.stream.entries[4] = raw._replace(s=raw.s + b"\0")
    with closing(CountingView(tmp_path / "v")) as view:
        with pytest.raises(DamagedEntry):
            build(book.stream, view)
        stands = view.load()
        assert stands is not None
        assert stands.position == 3


def test_a_view_that_cannot_be_written_is_not_poisoned(tmp_path: Path) -> None:
    """It is told as it is, and what was folded in part is not saved."""

    class Full(CountingView):
        def apply_all(self, records: Sequence[Record]) -> None:
            super().apply_all(records[:1])
            raise Unavailable("the disk is full")

    with pytest.raises(Unavailable), Runner(Book(2).stream, Full(tmp_path / "v")) as runner:
        runner.catch_up()
    with closing(CountingView(tmp_path / "v")) as view:
        assert view.positions() == []


def test_a_view_of_what_is_void_is_refused(tmp_path: Path) -> None:
    """It must be thrown away, and whoever owns it is told why."""
    book = Book(2, 3)
    with closing(CountingView(tmp_path / "v")) as view:
        build(book.stream, view)
        book.restore(3, 6)
        with pytest.raises(HistoryDiverged, match="void"):
            Runner(book.stream, view)


def test_it_follows_until_it_is_stopped(tmp_path: Path) -> None:
    """What is written meanwhile is folded, and saved at the end."""
    book = Book(2)
    rounds: list[Progress] = []

    def on_progress(progress: Progress) -> None:
        rounds.append(progress)
        if len(rounds) < 4:
            book.write(filler())

    with closing(CountingView(tmp_path / "v")) as view:
        runner = Runner(
            book.stream, view, on_progress=on_progress, is_stopped=lambda: len(rounds) > 6
        )
        end = runner.follow()
        assert view.positions() == list(range(1, 7))
        stands = view.load()
        assert stands is not None
        assert stands.position == end.position == 6


def test_a_view_of_another_history_is_built_anew_where_that_is_wanted(tmp_path: Path) -> None:
    """Else its owner is told; what stands in the file is that history's until the first save."""
    with closing(CountingView(tmp_path / "v")) as view:
        Runner(Book(3, 3).stream, view).catch_up()
        shorter = Book(2).stream
        with pytest.raises(HistoryDiverged):
            Runner(shorter, view)
        assert len(view.positions()) == 7
        end = Runner(shorter, view, rebuilds=True).catch_up()
        assert view.positions() == [1, 2, 3]
        assert end.position == 3
