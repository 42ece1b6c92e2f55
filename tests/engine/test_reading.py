"""Reading gives whole commits in their order, or a named error: nothing goes missing unnoticed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events as ev
from engine.entry import ORIGIN, Anchor, RawEntry, Record
from engine.errors import (
    DamagedEntry,
    HistoryDiverged,
    IntegrityError,
    MissingEntries,
    SpaceReplaced,
    UnknownEvent,
)
from engine.events import LEVEL, Event
from engine.memory_stream import MemoryStream
from engine.reading import Continuity, HighWater, read_commits
from tests.engine.book import SPACE_ID, START_MS, Book, filler


def positions(commits: Sequence[Sequence[Record]]) -> list[int]:
    """The positions of records that came in groups."""
    return [record.position for records in commits for record in records]


# --- Whole commits --------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(1, 7), max_size=6),
    entries_max=st.integers(1, 9),
)
def test_pages_of_any_size_give_whole_commits(sizes: list[int], entries_max: int) -> None:
    """Every record comes once and in order, and every group ends where a commit does."""
    book = Book(*sizes)
    commits = book.read(entries_max=entries_max)
    assert positions(commits) == list(range(1, book.last + 1))
    ends = set(accumulate([1, *sizes]))
    assert all(commits)
    assert {records[-1].position for records in commits} <= ends
    assert all(records[-1].commit.ends_here for records in commits)


def test_a_commit_larger_than_a_page_comes_at_once() -> None:
    """Pages are put together until the commit is whole; nothing of it is handed on before."""
    book = Book(1, 10, 1)
    assert [len(records) for records in book.read(entries_max=3)] == [2, 10, 1]


def test_reading_goes_on_where_it_stopped() -> None:
    """The same continuity reads on from its last entry, and knows the space."""
    book = Book(2)
    continuity = Continuity()
    assert continuity.anchor == ORIGIN
    assert positions(list(read_commits(book.stream, continuity))) == [1, 2, 3]
    assert list(read_commits(book.stream, continuity)) == []
    book.write(filler(), filler())
    assert positions(list(read_commits(book.stream, continuity))) == [4, 5]
    assert continuity.anchor == book.anchor(5)
    assert continuity.space == ev.SpaceCreated(SPACE_ID, "default", LEVEL)
    assert continuity.at_commit_end


def test_a_writer_goes_past_its_own_commit() -> None:
    """What the stream confirmed need not be read: the next entry follows on it."""
    book = Book()
    continuity = Continuity()
    first = list(read_commits(book.stream, continuity))
    book.write(filler(), filler())
    own = [book.read()[0][position] for position in (1, 2)]
    continuity.advance(own[-1], book.anchor(3).c)
    assert continuity.anchor == book.anchor(3)
    book.write(filler())
    assert positions([*first, own, *read_commits(book.stream, continuity)]) == [1, 2, 3, 4]


def test_an_empty_stream_gives_nothing() -> None:
    """Nothing is there, and nothing is wrong with that."""
    stream = MemoryStream(lambda: START_MS)
    assert list(read_commits(stream, Continuity())) == []


class BusyStream(MemoryStream):
    """A stream to which somebody writes whenever a page was read, a few times."""

    def __init__(self, book: Book) -> None:
        super().__init__(lambda: START_MS)
        self.entries = book.stream.entries
        self.last_generated = book.stream.last_generated
        self.book = book
        book.stream = self
        self.writes = 3

    def read(self, after_ms: int, after_position: int, entries_max: int) -> list[RawEntry]:
        """A page, as it was before somebody wrote."""
        page = super().read(after_ms, after_position, entries_max)
        if self.writes:
            self.writes -= 1
            self.book.write(filler(), filler())
        return page


@pytest.mark.parametrize("entries_max", [1, 2, 3, 5, 1_000])
def test_writers_do_not_disturb_a_reader(entries_max: int) -> None:
    """What is written meanwhile is read or left for the next time, and is no hole."""
    book = Book(3, 1)
    stream = BusyStream(book)
    continuity = Continuity()
    found = positions(list(read_commits(stream, continuity, entries_max=entries_max)))
    assert found[:5] == [1, 2, 3, 4, 5]
    while more := positions(list(read_commits(stream, continuity, entries_max=entries_max))):
        found += more
    assert found == list(range(1, 12))


# --- What is missing ------------------------------------------------------------------------


def test_every_hole_is_missed() -> None:
    """Whichever entry is deleted, a reader stops there and has handed on only what is before it."""
    for position in range(1, 9):
        book = Book(1, 3, 1, 2)
        book.delete(position)
        book.fails(MissingEntries, position, "has a hole")
        handed_on: list[int] = []
        with pytest.raises(MissingEntries):  # noqa: PT012 - it is read until it fails
            for records in read_commits(book.stream, Continuity(), entries_max=1):
                handed_on += [record.position for record in records]
        ends = [end for end in (1, 2, 5, 6, 8) if end < position]
        assert handed_on == list(range(1, (ends or [0])[-1] + 1))


def test_an_entry_deleted_behind_the_reader_is_missed() -> None:
    """What was read long ago is missed by the number of entries, as soon as something is read."""
    book = Book(1, 3)
    continuity = Continuity()
    list(read_commits(book.stream, continuity))
    book.delete(2)
    with pytest.raises(MissingEntries, match="the stream has 4 entries where 5 belong"):
        list(read_commits(book.stream, continuity))


def test_a_stream_that_lost_its_end_is_shorter() -> None:
    """A reader that has seen more than there is stops, before it reads anything."""
    book = Book(1, 3)
    continuity = Continuity()
    list(read_commits(book.stream, continuity))
    book.delete(4, 5)
    book.stream.last_generated = (book.ms, 3)
    with pytest.raises(HistoryDiverged, match="ends at position 3, but position 5 was seen"):
        list(read_commits(book.stream, continuity))


def test_a_whole_commit_deleted_at_the_end_is_missed() -> None:
    """What is left are whole commits; but the stream remembers that there was more."""
    for deleted in ([5], [4, 5], [2, 3, 4, 5], [1, 2, 3, 4, 5]):
        book = Book(2, 1, 1)
        book.delete(*deleted)
        book.fails(MissingEntries, deleted[0], "has a hole")


def test_half_a_commit_at_the_end_is_missing() -> None:
    """A stream that ends inside a commit, as after a torn copy, is not whole."""
    book = Book(1, 3)
    book.delete(5)
    book.stream.last_generated = (book.ms, 4)
    book.fails(MissingEntries, 5, "at its end")


@pytest.mark.parametrize(
    "other",
    [
        {"part": 0, "parts": 1},
        {"part": 1, "parts": 4},
        {"part": 1, "parts": 3, "nonce": b"another."},
        {"part": 1, "parts": 3, "request_hash": b"another request."},
        {"part": 1, "parts": 3, "generation": 1},
        {"part": 1, "parts": 3, "decided_at": 0},
    ],
    ids=str,
)
def test_a_commit_that_another_breaks_into_is_not_whole(other: dict[str, Any]) -> None:
    """Whatever follows a first part and is not of its commit leaves that one unfinished."""
    book = Book()
    book.put(filler(), part=0, parts=3)
    book.put(filler(), **{"decided_at": 1, **other})
    book.fails(MissingEntries, 3, "the commit before position 3 is not whole")


@pytest.mark.parametrize(
    ("event", "commit"),
    [
        (filler(), {"part": 1, "parts": 2}),
        (filler(), {"generation": 1}),
        (ev.SpaceCreated(SPACE_ID, "default", LEVEL), {}),
    ],
    ids=["begins in the middle", "another generation", "a second beginning"],
)
def test_an_entry_that_continues_nothing_is_damage(event: Event, commit: dict[str, int]) -> None:
    """An entry in its place that does not go on from what is before it."""
    book = Book()
    book.put(event, **commit)
    book.fails(DamagedEntry, 2)


@pytest.mark.parametrize("wrong", [0, 2])
def test_the_parts_of_a_commit_are_in_order(wrong: int) -> None:
    """A part that is repeated or left out is damage."""
    book = Book()
    book.put(filler(), part=0, parts=3, decided_at=1, nonce=bytes(8))
    book.put(filler(), part=wrong, parts=3, decided_at=1, nonce=bytes(8))
    book.fails(DamagedEntry, 3, "does not continue")


def test_a_decision_comes_before_its_commit() -> None:
    """A commit cannot have been decided on itself, not even a later part on an earlier one."""
    book = Book()
    book.put(filler(), part=0, parts=2, decided_at=1)
    book.put(filler(), part=1, parts=2, decided_at=1)
    assert positions(book.read()) == [1, 2, 3]
    book.put(filler(), part=0, parts=2, decided_at=3)
    book.put(filler(), part=1, parts=2, decided_at=4)
    book.fails(MissingEntries, 5)
    book = Book()
    book.put(filler(), decided_at=2)
    book.fails(DamagedEntry, 2, "wrong shape")


def test_a_stream_begins_with_its_space() -> None:
    """Anything else at position 1 is no space of ours."""
    book = Book()
    book.delete(1)
    book.stream.last_generated = (0, 0)
    book.put(filler())
    book.fails(DamagedEntry, 1, "not what begins a space")


def test_time_does_not_run_backwards() -> None:
    """An earlier time at a later position is damage; the same time is not."""
    book = Book(1)
    book.put(filler(), ms=book.ms)
    assert positions(book.read()) == [1, 2, 3]
    # Under an id that no server would take: both its parts must ascend.
    book.put(filler(), ms=book.ms - 1)
    continuity = Continuity()
    for raw in book.stream.entries[:3]:
        continuity.admit(raw)
    with pytest.raises(DamagedEntry, match="time runs backwards at position 4"):
        continuity.admit(book.stream.entries[3])


@pytest.mark.parametrize("first", range(2, 6))
@pytest.mark.parametrize("second", range(2, 6))
def test_entries_that_changed_places_are_noticed(first: int, second: int) -> None:
    """Two entries, each whole and well, under each other's ids."""
    book = Book(1, 2, 1)
    entries = book.stream.entries
    one, other = entries[first - 1], entries[second - 1]
    entries[first - 1] = RawEntry(*one[:2], *other[2:])
    entries[second - 1] = RawEntry(*other[:2], *one[2:])
    if first == second:
        assert positions(book.read()) == [1, 2, 3, 4, 5]
    else:
        with pytest.raises((DamagedEntry, MissingEntries)):
            book.read()


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    how=st.sampled_from(["leave out", "repeat", "exchange"]),
    places=st.tuples(st.integers(0, 99), st.integers(0, 99)),
)
def test_no_rewriting_goes_unnoticed(sizes: list[int], how: str, places: tuple[int, int]) -> None:
    """A history rewritten under new, gapless ids, with entries left out, repeated or exchanged."""
    book = Book(*sizes)
    contents = [raw[2:] for raw in book.stream.entries]
    one, other = (place % len(contents) for place in places)
    if how == "leave out":
        rewritten = contents[:one] + contents[one + 1 :]
    elif how == "repeat":
        rewritten = contents[: one + 1] + contents[one:]
    else:
        rewritten = list(contents)
        rewritten[one], rewritten[other] = rewritten[other], rewritten[one]
    remembered = book.remembered(book.last)
    book.stream.entries = [
        RawEntry(START_MS + position, position, *content)
        for position, content in enumerate(rewritten, start=1)
    ]
    book.stream.last_generated = book.stream.entries[-1][:2] if rewritten else (0, 0)
    if rewritten == contents:
        assert positions(book.read()) == list(range(1, book.last + 1))
    else:
        with pytest.raises(IntegrityError):
            book.read(remembered)


# --- Levels ---------------------------------------------------------------------------------


def test_a_higher_level_stops_the_reader() -> None:
    """A space that began at, or was raised to, a level of a later release is not guessed at."""
    book = Book()
    book.put(ev.LevelRaised(LEVEL + 1))
    book.fails(UnknownEvent, 2, f"has format level {LEVEL + 1}; this release reads {LEVEL}")
    book.delete(1, 2)
    book.stream.last_generated = (0, 0)
    book.put(ev.SpaceCreated(SPACE_ID, "default", LEVEL + 1))
    book.fails(UnknownEvent, 1, f"has format level {LEVEL + 1}; this release reads {LEVEL}")


# --- Restorations ---------------------------------------------------------------------------


def test_a_restoration_is_the_one_jump() -> None:
    """What it voids is not missed, what it begins is a new generation; and it may happen again."""
    book = Book(1, 2)
    book.restore(kept=2, void_through=6)
    book.write(filler(), filler())
    book.restore(kept=9, void_through=9)
    book.write(filler())
    continuity = Continuity()
    commits = list(read_commits(book.stream, continuity, entries_max=2))
    assert positions(commits) == [1, 2, 7, 8, 9, 10, 11]
    assert (continuity.generation, continuity.voided) == (2, 4)
    assert continuity.anchor.position == 11


@pytest.mark.parametrize(
    ("event", "position", "generation"),
    [
        (ev.HistoryRestored(1, 6, 1), 7, 1),
        (ev.HistoryRestored(3, 6, 1), 7, 1),
        (ev.HistoryRestored(2, 5, 1), 7, 1),
        (ev.HistoryRestored(2, 7, 1), 7, 1),
        (ev.HistoryRestored(2, 6, 2), 7, 2),
        (ev.HistoryRestored(2, 6, 2), 7, 1),
        (ev.HistoryRestored(2, 6, 1), 7, 0),
        (ev.HistoryRestored(2, 6, 1), 3, 1),
    ],
    ids=[
        "keeps less", "keeps more", "voids less", "voids more", "skips a generation",
        "names another generation",
        "is of the old generation", "stands too early",
    ],
)  # fmt: skip
def test_a_restoration_that_does_not_fit_is_damage(
    event: ev.HistoryRestored, position: int, generation: int
) -> None:
    """A restoration says exactly what is before it, and what is void."""
    book = Book(1)
    book.put(event, position=position, generation=generation, decided_at=2)
    with pytest.raises(DamagedEntry) as caught:
        book.read()
    assert caught.value.position == position


def test_a_restoration_stands_behind_a_whole_commit() -> None:
    """Half a commit cannot be kept."""
    book = Book(1, 3)
    book.restore(kept=4, void_through=5)
    book.fails(MissingEntries, 6, "not whole")


def test_an_old_generation_does_not_go_on() -> None:
    """A writer that has not seen the restoration cannot have written behind it."""
    book = Book(1)
    book.restore(kept=2, void_through=2)
    book.put(filler(), generation=0)
    book.fails(DamagedEntry, 4, "does not continue")


def test_a_jump_without_a_restoration_is_a_hole() -> None:
    """No other event may skip a position."""
    book = Book(1)
    book.put(filler(), position=4)
    book.fails(MissingEntries, 3)


@pytest.mark.timeout(10)
def test_voiding_costs_nothing() -> None:
    """A restoration that voids more positions than anybody could count is read at once."""
    book = Book(1)
    remembered = book.remembered(1, 2)
    book.restore(kept=2, void_through=1 << 60)
    assert positions(book.read(remembered)) == [1, 2, (1 << 60) + 1]


@pytest.mark.parametrize("entries_max", [1, 2, 3, 1_000])
@pytest.mark.parametrize("sizes", [(1, 3), (1, 3, 2)])
def test_a_history_written_anew_is_no_continuation(
    sizes: tuple[int, ...], entries_max: int
) -> None:
    """Who reads on notices that the entry it had read last is another one now: a failover lost it.

    It is noticed however far the new history has come meanwhile.
    """
    book = Book(1, 3)
    continuity = Continuity()
    list(read_commits(book.stream, continuity))
    book.delete(3, 4, 5)
    book.stream.last_generated = (book.anchor(2).ms, 2)
    for size in sizes:
        book.write(*map(filler, range(7, 7 + size)))
    with pytest.raises(HistoryDiverged, match="position 5 is not the entry") as caught:
        list(read_commits(book.stream, continuity, entries_max=entries_max))
    assert caught.value.position == 5


# --- What a client remembers ----------------------------------------------------------------


def test_what_was_seen_before_is_still_there() -> None:
    """A history that went on from what a client remembers is read to its end."""
    book = Book(1, 3)
    remembered = book.remembered(1, 3, 5)
    assert remembered.position == 5
    assert HighWater(SPACE_ID, 0, ()).position == 0
    book.write(filler())
    assert positions(book.read(remembered)) == [1, 2, 3, 4, 5, 6]
    assert positions(book.read(HighWater(SPACE_ID, 0, ()))) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("position", [1, 3, 5])
@pytest.mark.parametrize("other", [{"c": b"another"}, {"ms": START_MS - 1}], ids=str)
def test_another_entry_than_was_seen_is_diverged(position: int, other: dict[str, Any]) -> None:
    """The high-water mark and every older anchor must be the very entries."""
    book = Book(1, 3)
    remembered = book.remembered(1, 3, 5)
    anchors = tuple(
        Anchor(**{**anchor._asdict(), **other}) if anchor.position == position else anchor
        for anchor in remembered.anchors
    )
    with pytest.raises(HistoryDiverged, match=f"position {position} is not the entry") as caught:
        book.read(remembered._replace(anchors=anchors))
    assert caught.value.position == position


def test_a_history_shorter_than_was_seen_is_diverged() -> None:
    """An older backup reads well to its end, and there it is too short."""
    book = Book(1, 3)
    remembered = book.remembered(2, 5)
    book.delete(3, 4, 5)
    book.stream.last_generated = (book.anchor(2).ms, 2)
    assert positions(book.read()) == [1, 2]
    with pytest.raises(HistoryDiverged, match="ends at position 2, but position 5 was seen"):
        book.read(remembered)


def test_what_a_restoration_voided_is_not_missed() -> None:
    """A client that saw what an operator gave up goes on with the restored history."""
    book = Book(1, 3)
    remembered = book.remembered(2, 4, 5)
    book.restore(kept=2, void_through=5)
    book.write(filler())
    assert positions(book.read(remembered)) == [1, 2, 6, 7]


def test_what_was_seen_beyond_a_restoration_is_missed() -> None:
    """A client that saw more than the operator knew of stops, also when that position is reused."""
    book = Book(1, 3)
    remembered = book.remembered(2, 5)
    book.restore(kept=2, void_through=3)
    with pytest.raises(HistoryDiverged, match="ends at position 4, but position 5 was seen"):
        book.read(remembered)
    book.write(filler())
    with pytest.raises(HistoryDiverged, match="position 5 is not the entry"):
        book.read(remembered)


def test_another_space_under_the_name_is_replaced() -> None:
    """A stream with another id is told from one that lost entries, and how to accept it is said."""
    book = Book(1)
    remembered = book.remembered(1, 2)._replace(space_id=bytes(16))
    with pytest.raises(SpaceReplaced, match=f"{SPACE_ID.hex()}, not {bytes(16).hex()}") as caught:
        book.read(remembered)
    assert "ipledger space forget default" in caught.value.hint
