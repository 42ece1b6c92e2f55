"""Following a stream: whole commits, each once and in order, whatever becomes of the server.

A stream that is another one than it was is noticed before anything of it is handed on, with an
error that says which of the ways it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events as ev
from engine.entry import RawEntry
from engine.errors import (
    DamagedEntry,
    HistoryDiverged,
    InvalidInput,
    LedgerError,
    MissingEntries,
    SpaceReplaced,
    Unavailable,
)
from engine.memory_stream import MemoryStream
from engine.reading import Checkpoint, Continuity, read_commits
from engine.stream import Head
from projections.following import Following, Lag, Page, lag_of
from projections.starting import NOW, AtPosition, AtTime, Start, begin
from tests.engine.book import SPACE_ID, START_MS, Book, filler

FIRST = AtPosition(1)
SIZES = st.lists(st.integers(1, 4), max_size=8)


def followed(book: Book, start: Start = FIRST, entries_max: int = 1_000) -> list[list[int]]:
    """The positions of each commit from a start to the end."""
    following = Following(book.stream, begin(book.stream, start), entries_max=entries_max)
    pages = list(following.follow(until_end=True))
    return [[r.position for r in whole.records] for page in pages for whole in page.commits()]


def checkpoints(book: Book, entries_max: int = 1_000) -> list[Checkpoint]:
    """The checkpoint behind each commit."""
    following = Following(book.stream, Continuity(), entries_max=entries_max)
    return [
        whole.checkpoint
        for page in following.follow(until_end=True)
        for whole in page.commits()
    ]  # fmt: skip


def commits_of(book: Book) -> list[list[int]]:
    """The positions of each commit, as they stand in the stream."""
    found: list[list[int]] = []
    for page in read_commits(book.stream, Continuity()):
        for record in page:
            if record.commit.part == 0:
                found.append([])
            found[-1].append(record.position)
    return found


def restored_book() -> Book:
    """A history of three generations: 1-3, void 4-6, 7-10, void 11-12, 13-15."""
    book = Book(2)  # 1, 2-3
    book.restore(3, 6)  # 7
    book.write(*map(filler, range(1, 4)))  # 8-10
    book.restore(10, 12)  # 13
    book.write(filler(), filler())  # 14-15
    return book


@given(SIZES, st.integers(1, 5))
def test_commits_come_whole_and_once(sizes: list[int], entries_max: int) -> None:
    """In pages of any size; and the checkpoint behind each is the place to go on from."""
    book = Book(*sizes)
    commits = commits_of(book)
    assert followed(book, entries_max=entries_max) == commits
    for at, checkpoint in enumerate(checkpoints(book, entries_max)):
        assert checkpoint.position == commits[at][-1]
        assert followed(book, checkpoint, entries_max) == commits[at + 1 :]


@pytest.mark.parametrize("entries_max", [1, 2, 3, 1_000])
def test_restorations_are_gone_through(entries_max: int) -> None:
    """Every checkpoint of a restored history knows how many positions are void before it."""
    book = restored_book()
    commits = [[1], [2, 3], [7], [8, 9, 10], [13], [14, 15]]
    found = checkpoints(book, entries_max)
    assert [(c.position, c.generation, c.voided) for c in found] == [
        (1, 0, 0), (3, 0, 0), (7, 1, 3), (10, 1, 3), (13, 2, 5), (15, 2, 5),
    ]  # fmt: skip
    for at, checkpoint in enumerate(found):
        assert followed(book, checkpoint, entries_max) == commits[at + 1 :]


@pytest.mark.parametrize("book", [Book(2, 3, 1), restored_book()], ids=["plain", "restored"])
def test_every_place_to_begin_is_that_of_who_read_everything(book: Book) -> None:
    """A start at a position, void ones included, makes the checkpoint that reading makes."""
    commits = commits_of(book)
    behind = {0: None} | {c.position: c for c in checkpoints(book)}
    for commit in commits:
        rest = [other for other in commits if other >= commit]
        assert followed(book, AtPosition(commit[0])) == rest
        continuity = begin(book.stream, AtPosition(commit[0]))
        expected = behind[max([end for end in behind if end < commit[0]])]
        assert (continuity.checkpoint() if continuity.space else None) == expected
    assert followed(book, AtPosition(book.last + 1)) == followed(book, NOW) == []
    assert begin(book.stream, NOW).checkpoint() == behind[book.last]


def test_a_void_position_begins_with_the_restoration() -> None:
    """As whatever stood there is no more, what follows is what voided it."""
    book = restored_book()
    assert followed(book, AtPosition(5)) == followed(book, AtPosition(7))
    assert followed(book, AtPosition(12)) == [[13], [14, 15]]


def test_from_a_time() -> None:
    """The first commit of that time or later; beyond the end it is the next one."""
    book = Book(2, 3)  # at 10, 20 and 30 ms
    assert followed(book, AtTime(START_MS)) == [[1], [2, 3], [4, 5, 6]]
    assert followed(book, AtTime(START_MS + 20)) == [[2, 3], [4, 5, 6]]
    assert followed(book, AtTime(START_MS + 21)) == [[4, 5, 6]]
    assert followed(book, AtTime(START_MS + 31)) == []


@pytest.mark.parametrize(
    ("position", "error", "match"),
    [(0, InvalidInput, "from 1 to 7"), (8, InvalidInput, "from 1 to 7"),
     (3, InvalidInput, "inside a commit"), (6, InvalidInput, "inside a commit")],
)  # fmt: skip
def test_no_place_to_begin(position: int, error: type[LedgerError], match: str) -> None:
    """Beyond the end, before the beginning, inside a commit: refused, naming what is right."""
    with pytest.raises(error, match=match) as caught:
        begin(Book(2, 3).stream, AtPosition(position))
    assert caught.value.hint


def test_inside_a_commit_the_nearest_are_named() -> None:
    """Where it begins, and where the next one does."""
    with pytest.raises(InvalidInput) as caught:
        begin(Book(2, 3).stream, AtPosition(5))
    assert caught.value.hint == "it begins at 4, and the next one at 7"


def test_a_deleted_position_is_a_hole() -> None:
    """No place to begin at, nor behind, and nothing is begun beyond it."""
    book = Book(1, 1, 1)
    book.delete(3)
    for position in (3, 4):
        with pytest.raises(MissingEntries) as caught:
            begin(book.stream, AtPosition(position))
        assert caught.value.position == 3


def _follow_then(book: Book, change: Book) -> list[Page]:
    """Follow to the end, put another history under the reader, and follow on."""
    following = Following(book.stream, Continuity(), entries_max=2)
    list(following.follow(until_end=True))
    book.stream.entries = change.stream.entries
    book.stream.last_generated = change.stream.last_generated
    return list(following.follow(until_end=True))


def test_a_shorter_history_is_refused() -> None:
    """The named error says where it ends now, and how far the reader had come."""
    with pytest.raises(HistoryDiverged, match=r"ends at position 3, but .* position 6"):
        _follow_then(Book(2, 3), Book(2))
    empty = Book()
    empty.stream.entries, empty.stream.last_generated = [], (0, 0)
    with pytest.raises(HistoryDiverged, match="ends at position 0"):
        _follow_then(Book(2, 3), empty)


def test_a_history_that_differs_and_went_on_is_refused() -> None:
    """A fail-over lost position 6, and others were written since: positions alone would fit."""
    other = Book(2)
    other.ms += 5
    other.write(filler(7), filler(8), filler(9))
    other.write(filler())
    with pytest.raises(HistoryDiverged, match="position 6 is not the entry"):
        _follow_then(Book(2, 3), other)


def test_another_space_is_refused() -> None:
    """Under the same key, with as many entries."""
    other = Book(2, 3, 1)
    other.stream.entries.clear()
    other.stream.last_generated = (0, 0)
    other.write(ev.SpaceCreated(bytes(16), "default", ev.LEVEL))
    for _ in range(6):
        other.write(filler())
    with pytest.raises(SpaceReplaced, match=SPACE_ID.hex()):
        _follow_then(Book(2, 3), other)


def test_what_was_voided_is_told() -> None:
    """A restoration to before what was read: which positions are void, and what to undo."""
    restored = Book(2)
    restored.restore(3, 8)
    restored.write(filler())
    with pytest.raises(HistoryDiverged, match="positions 4 to 8 are void") as caught:
        _follow_then(Book(2, 3), restored)
    assert caught.value.hint.startswith("undo what was made of positions 4 to 6")
    at_6 = checkpoints(Book(2, 3))[-1]
    with pytest.raises(HistoryDiverged, match=r"void .* \(generation 1\)"):
        begin(restored.stream, at_6)


def test_a_restoration_behind_what_was_read_is_just_read() -> None:
    """Nothing that the reader has seen is void."""
    restored = Book(2, 3)
    restored.restore(6, 8)
    pages = _follow_then(Book(2, 3), restored)
    assert [record.position for page in pages for record in page.records] == [9]


def test_a_cursor_beyond_the_end_or_of_another_space() -> None:
    """Refused where it begins, not later."""
    at_6 = checkpoints(Book(2, 3))[-1]
    with pytest.raises(HistoryDiverged, match="ends at position 3") as caught:
        begin(Book(2).stream, at_6)
    assert "doctor" in caught.value.hint
    with pytest.raises(SpaceReplaced):
        begin(Book(2, 3).stream, at_6._replace(space_id=bytes(16)))


def test_what_is_right_comes_before_the_error() -> None:
    """Commits in front of a damaged entry are delivered, also those of its page."""
    book = Book(2, 3, 1)
    raw = book.stream.entries[4]
    book.stream.entries[4] = raw._replace(e=raw.e + b"\0")
    for entries_max in (1, 3, 1_000):
        following = Following(book.stream, Continuity(), entries_max=entries_max)
        delivered: list[int] = []
        records = (r for page in following.follow(until_end=True) for r in page.records)
        with pytest.raises(DamagedEntry) as caught:
            delivered.extend(record.position for record in records)
        assert (delivered, caught.value.position) == ([1, 2, 3], 5)
        assert following.checkpoint is not None
        assert following.checkpoint.position == 3


class Flaky(MemoryStream):
    """A stream whose server is away for the calls that a test names."""

    calls = 0
    away: Sequence[int] = ()

    def _knock(self) -> None:
        self.calls += 1
        if self.calls in self.away:
            raise Unavailable("the server is away")

    def head(self) -> Head:
        """Or not."""
        self._knock()
        return super().head()

    def read(self, after_ms: int, after_position: int, entries_max: int) -> list[RawEntry]:
        """Or not."""
        self._knock()
        return super().read(after_ms, after_position, entries_max)


@pytest.mark.parametrize("away", [*[[n] for n in range(1, 8)], [2, 3, 4, 6]], ids=str)
def test_a_server_that_goes_away_is_waited_for(away: list[int]) -> None:
    """Wherever reading breaks off, each commit comes once, in order, and whole."""
    book = Book(4, 5, 1)
    stream = Flaky(lambda: START_MS)
    stream.entries, stream.last_generated = book.stream.entries, book.stream.last_generated
    stream.away = away
    told: list[Unavailable | None] = []
    waits: list[float] = []
    following = Following(
        stream, Continuity(), entries_max=2, pause=waits.append, on_away=told.append
    )
    commits = (whole for page in following.follow() for whole in page.commits())
    found = [[r.position for r in whole.records] for whole in islice(commits, 4)]
    assert found == commits_of(book)
    assert len(waits) == len(away)
    assert [error is None for error in told] == [False, True] * (len(told) // 2)


def test_the_pauses_grow_to_a_bound_and_begin_anew() -> None:
    """A server that is away long is not asked ten times a second, nor forgotten."""
    stream = Flaky(lambda: START_MS)
    stream.entries, stream.last_generated = Book().stream.entries, (START_MS + 10, 1)
    stream.away = [*range(1, 11), 15]
    waits: list[float] = []
    following = Following(stream, Continuity(), pause=waits.append)
    for _ in islice(following.follow(), 6):
        pass
    assert waits[:3] == [0.1, 0.2, 0.4]
    assert max(waits) == waits[9] == 5.0
    assert waits[10] == 0.1


def test_until_the_end_nobody_waits() -> None:
    """Who asked for the end gets the error."""
    stream = Flaky(lambda: START_MS)
    stream.away = [1]
    with pytest.raises(Unavailable):
        list(Following(stream, Continuity()).follow(until_end=True))


def test_a_replica_that_is_shorter_lags() -> None:
    """It is waited for; when it has come as far, reading goes on."""
    book = Book(2, 3)
    whole = list(book.stream.entries)
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            book.stream.entries = whole
            book.stream.last_generated = (whole[-1].ms, whole[-1].position)

    following = Following(book.stream, Continuity(), lags=lambda: True, pause=pause)
    list(following.follow(until_end=True))
    book.stream.entries = whole[:3]
    book.stream.last_generated = (whole[2].ms, 3)
    page = next(following.follow())
    assert (page.records, len(waits)) == ([], 3)


def test_a_space_that_comes_into_being() -> None:
    """It is followed from its first position on."""
    book = Book(1)
    entries, book.stream.entries = book.stream.entries, []
    last, book.stream.last_generated = book.stream.last_generated, (0, 0)
    following = Following(book.stream, begin(book.stream, NOW))
    pages = following.follow()
    assert next(pages).checkpoint is None
    book.stream.entries, book.stream.last_generated = entries, last
    assert [record.position for record in next(pages).records] == [1, 2]


def test_it_stops_when_asked() -> None:
    """At the next page."""
    stopped: list[bool] = []
    following = Following(Book(1).stream, Continuity(), is_stopped=lambda: bool(stopped))
    pages = following.follow()
    next(pages)
    stopped.append(True)
    assert len(list(pages)) <= 1


def test_lag_in_positions_and_seconds() -> None:
    """By the stream's own figures; none at the end, however old it is."""
    book = Book(2, 3)
    head = book.stream.head()
    behind = checkpoints(book)
    assert [lag_of(c, head) for c in behind] == [Lag(5, 0.02), Lag(3, 0.01), Lag(0, 0.0)]
    assert lag_of(None, head) == Lag(6, 0.0)
