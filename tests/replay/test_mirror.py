"""A mirror is its source, byte for byte, up to a commit end; or it stops with a named error.

Streams in memory: what only servers can show is in tests/faults/test_mirror.py.
"""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events as ev
from engine.entry import ORIGIN, Anchor, RawEntry
from engine.errors import (
    DamagedEntry,
    HistoryDiverged,
    IntegrityError,
    LedgerError,
    MissingEntries,
    Refused,
    SpaceReplaced,
)
from engine.memory_stream import MemoryStream
from engine.mirroring import Marker
from engine.stream import PAGE_ENTRIES, Head, NewEntry
from engine.wire import decode_entry
from replay import mirror as mirror_module
from replay.mirror import MARK_EVERY_MS, Ends, GivenUp, Mirror
from tests.engine.book import START_MS, Book, filler


class Pair:
    """A history, and a mirror of it."""

    def __init__(self, *sizes: int) -> None:
        self.book = Book(*sizes)
        self.target = MemoryStream(lambda: START_MS)
        self.now_ms = START_MS
        self.aside: list[RawEntry] = []
        self.page = PAGE_ENTRIES

    @property
    def source(self) -> MemoryStream:
        """The history."""
        return self.book.stream

    def mirror(self) -> Mirror:
        """A copier that knows nothing yet, as after a restart."""
        ends = Ends("east", "west")
        return Mirror(
            self.source, self.target, "default", ends, lambda: self.now_ms, entries_max=self.page
        )  # fmt: skip

    def catch_up(self, mirror: Mirror | None = None, *, accept: bool = False) -> Mirror:
        """Copy to the source's end."""
        mirror = mirror or self.mirror()
        mirror.attach((lambda _kept, entries: self.aside.extend(entries)) if accept else None)
        while mirror.step():
            pass
        return mirror

    def assert_equal(self) -> None:
        """Both hold the same entries, and the mirror is marked."""
        assert self.target.entries == self.source.entries
        assert self.target.head() == self.source.head()
        marker = self.target.marker()
        assert marker is not None
        head = self.target.head()
        assert marker.voided == head.position - head.length

    def assert_stops(
        self, error: type[LedgerError], match: str | None, act: Callable[[], object] | None = None
    ) -> LedgerError:
        """Check that copying stops with this error, and that the target is untouched by it."""
        before = list(self.target.entries), self.target.head(), self.target.marker()
        with pytest.raises(error, match=match) as caught:
            (act or self.catch_up)()
        assert (list(self.target.entries), self.target.head(), self.target.marker()) == before
        return caught.value

    def alter(self, stream: MemoryStream, position: int, field: str = "s") -> None:
        """Flip one bit of an entry."""
        at = next(i for i, raw in enumerate(stream.entries) if raw.position == position)
        raw = stream.entries[at]
        content = bytearray(getattr(raw, field))
        content[-1] ^= 1
        stream.entries[at] = raw._replace(**{field: bytes(content)})  # type: ignore[arg-type]


# --- Copying --------------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(1, 7), max_size=8),
    page=st.integers(1, 9),
    batch=st.integers(1, 9),
    batch_bytes=st.sampled_from([1, 300, 1 << 20]),
    later=st.lists(st.integers(1, 7), max_size=4),
    restored_at=st.sampled_from([None, 0, 1]),
)
def test_any_history_is_copied_whole_commits_at_a_time(
    sizes: list[int], page: int, batch: int, batch_bytes: int, later: list[int],
    restored_at: int | None,
) -> None:  # fmt: skip
    """Whatever the sizes of commits, pages and batches, also with restorations in between."""
    pair = Pair(*sizes)
    pair.page = page
    copied = pair.target.copy

    def whole(after: Anchor, head: Head, marker: object, entries: list[RawEntry]) -> str:
        assert not entries or decode_entry(entries[-1]).commit.ends_here
        return copied(after, head, marker, entries)  # type: ignore[arg-type]

    with (
        patch.object(mirror_module, "BATCH_ENTRIES", batch),
        patch.object(mirror_module, "BATCH_BYTES", batch_bytes),
        patch.object(pair.target, "copy", whole),
    ):
        pair.catch_up()
        pair.assert_equal()
        for at, size in enumerate(later):
            if restored_at == at:
                pair.book.restore(kept=pair.book.last, void_through=pair.book.last + 5)
            pair.book.write(*map(filler, range(1, size + 1)))
        mirror = pair.catch_up()
        pair.assert_equal()
    assert mirror.progress.behind == mirror.progress.behind_ms == 0


def test_a_mirror_says_how_far_it_is() -> None:
    """Positions and milliseconds of the source's own time, before and after."""
    pair = Pair()
    pair.catch_up()
    for _ in range(3):
        pair.book.write(filler())
    mirror = pair.mirror()
    begin = mirror.attach()
    assert (begin.position, begin.behind, begin.behind_ms, begin.copied) == (1, 3, 30, 0)
    assert mirror.step()
    end = mirror.progress
    assert (end.position, end.behind, end.behind_ms, end.copied) == (4, 0, 0, 3)
    assert not mirror.step()


def test_when_it_was_level_is_noted_now_and_then() -> None:
    """At once after something was copied, and else not with every look."""
    pair = Pair(2)
    mirror = pair.catch_up()

    def noted() -> int:
        marker = pair.target.marker()
        assert marker is not None
        return marker.level_at_ms

    assert noted() == START_MS
    for later_ms, expected_ms in ((1, 0), (MARK_EVERY_MS, MARK_EVERY_MS)):
        pair.now_ms = START_MS + later_ms
        assert not mirror.step()
        assert noted() == START_MS + expected_ms
    pair.book.write(filler())
    pair.now_ms += 1
    assert mirror.step()
    assert noted() == START_MS + MARK_EVERY_MS
    assert not mirror.step()
    assert noted() == pair.now_ms


def test_two_mirrors_at_once_write_everything_once() -> None:
    """Each goes on from what the other has written."""
    pair = Pair(*[3] * 9)
    pair.page = 4
    with patch.object(mirror_module, "BATCH_ENTRIES", 3):
        one, other = pair.mirror(), pair.mirror()
        one.attach()
        other.attach()
        while one.step() | other.step():
            pass
    pair.assert_equal()
    assert one.copied + other.copied == len(pair.source.entries)


def test_a_mirror_that_lost_its_end_or_everything_is_filled_again() -> None:
    """Its server was restored from an older backup, or emptied but for the marker."""
    pair = Pair(2, 3)
    pair.catch_up()
    for entries in (pair.target.entries[:3], []):
        pair.target.entries = entries
        pair.target.last_generated = entries[-1][:2] if entries else (0, 0)
        pair.catch_up()
        pair.assert_equal()


def test_a_first_copy_that_lands_late_is_the_mirrors_own() -> None:
    """It lands while the mirror looks where it is: that is no stream of somebody else's."""
    pair = Pair(2, 3)
    late = Pair(2, 3)
    late.catch_up()
    looked = pair.target.marker

    def landing() -> Marker | None:
        found = looked()
        pair.target.marker = looked  # type: ignore[method-assign]
        written = late.target.marker()
        assert written is not None
        pair.target.copy(ORIGIN, Head(0, 0, 0), written, late.target.entries)
        return found

    pair.target.marker = landing  # type: ignore[method-assign]
    pair.catch_up()
    pair.assert_equal()


# --- What stops it --------------------------------------------------------------------------


def test_a_source_without_the_space_is_not_found() -> None:
    """Nothing is marked for a typing error."""
    pair = Pair()
    pair.source.entries, pair.source.last_generated = [], (0, 0)
    error = pair.assert_stops(Refused, "does not exist on east")
    assert error.kind == "not_found"
    assert pair.target.marker() is None


def test_a_target_with_something_of_its_own_is_left_alone() -> None:
    """Another space, and also the same history without a marker: who wrote it may go on."""
    for other in (Book(1), None):
        pair = Pair(1)
        pair.target = MemoryStream(lambda: START_MS) if other is None else other.stream
        pair.target.entries = list(pair.source.entries)
        pair.target.last_generated = pair.source.last_generated
        error = pair.assert_stops(Refused, "has a space default of its own")
        assert error.kind == "exists"


def test_a_mirror_of_another_space_is_left_alone() -> None:
    """The space's id decides, not its name."""
    pair = Pair(2)
    pair.catch_up()
    marker = pair.target.marker()
    assert marker is not None
    pair.target._marker = marker._replace(space_id=bytes(16))
    error = pair.assert_stops(SpaceReplaced, "is of another space default")
    assert "DEL ipledger:{default}:events ipledger:{default}:mirror" in error.hint


@pytest.mark.parametrize("field", ["e", "s", "t", "c"])
@pytest.mark.parametrize("position", [1, 6])
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_flipped_bit_where_it_goes_on_stops_it(side: str, position: int, field: str) -> None:
    """The first and the last mirrored entry are compared with the source's, in every field."""
    pair = Pair(2, 3)
    pair.catch_up()
    pair.book.write(filler())
    pair.alter(pair.source if side == "source" else pair.target, position, field)
    pair.assert_stops(IntegrityError, None)


def test_a_flipped_bit_in_the_source_is_not_copied() -> None:
    """What is read is checked before it is written; what was sound before it is there."""
    pair = Pair(2, 3, 1)
    pair.alter(pair.source, 5)
    with pytest.raises(DamagedEntry) as caught:
        pair.catch_up()
    assert caught.value.position == 5
    assert pair.target.entries == pair.source.entries[:3]
    pair.assert_stops(DamagedEntry, None)


@pytest.mark.parametrize("position", [2, 4, 7])
def test_a_hole_in_the_source_is_not_copied(position: int) -> None:
    """Wherever it is: in the middle of a commit, at its end, or the end of everything."""
    pair = Pair(2, 3, 1)
    pair.book.delete(position)
    with pytest.raises(MissingEntries):
        pair.catch_up()
    assert all(raw.position < position for raw in pair.target.entries)


def test_a_hole_behind_us_in_the_source_is_found() -> None:
    """What the mirror has and the source has lost since shows by the source's length."""
    pair = Pair(2, 3)
    pair.catch_up()
    pair.book.write(filler())
    pair.book.delete(3)
    with pytest.raises(MissingEntries, match="has 6 entries where 7 belong"):
        pair.catch_up()


@pytest.mark.parametrize("position", [1, 3, 6])
def test_a_hole_in_the_mirror_stops_it(position: int) -> None:
    """Entries that were deleted from the mirror are noticed before anything is written."""
    pair = Pair(2, 3)
    pair.catch_up()
    pair.book.write(filler())
    pair.target.entries = [e for e in pair.target.entries if e.position != position]
    pair.assert_stops(MissingEntries, "the mirror has 5 entries where 6 belong")


def test_a_shorter_source_stops_it() -> None:
    """A source that lost its tail in a failover is not followed; the mirror has what it lost."""
    pair = Pair(2, 3)
    mirror = pair.catch_up()
    pair.source.entries = pair.source.entries[:3]
    pair.source.last_generated = pair.source.entries[-1][:2]
    for act in (pair.catch_up, mirror.step):
        error = pair.assert_stops(HistoryDiverged, "ends at position 3, the mirror at 6", act)
        assert "failover" in error.hint


def test_a_source_that_went_another_way_stops_it() -> None:
    """As long or longer, with other entries: also while following, without any interruption."""
    pair = Pair(2)
    mirror = pair.catch_up()
    pair.source.entries.pop()
    pair.source.entries.pop()
    pair.source.last_generated = pair.source.entries[-1][:2]
    pair.book.write(filler(7), filler(8))
    for act in (pair.catch_up, mirror.step):
        pair.assert_stops(HistoryDiverged, "not what its source is at position 3", act)
    pair.book.write(filler())
    for act in (pair.catch_up, mirror.step):
        pair.assert_stops(HistoryDiverged, "not what its source is at position 3", act)


def test_what_comes_back_otherwise_than_it_was_written_stops_it() -> None:
    """Each batch is read back and compared."""
    pair = Pair(2, 3)
    copied = pair.target.copy

    def damaging(*arguments: object) -> str:
        status = copied(*arguments)  # type: ignore[arg-type]
        pair.alter(pair.target, 4, "t")
        return status

    with (
        patch.object(pair.target, "copy", damaging),
        pytest.raises(HistoryDiverged, match="at position 4"),
    ):
        pair.catch_up()


def test_a_mirror_that_was_promoted_is_left_alone() -> None:
    """From then on it has something of its own, for a copier that follows as for a new one."""
    pair = Pair(2)
    mirror = pair.catch_up()
    promoted = Book(2)
    promoted.restore(kept=3, void_through=9)
    entry = promoted.stream.entries[-1]
    keep = promoted.anchor(3)
    new = NewEntry(*entry[2:])
    pair.target.restore(keep, pair.target.head(), 9, START_MS, new, promote=True)
    for act in (pair.catch_up, mirror.step):
        pair.assert_stops(Refused, "of its own", act)
    pair.book.write(filler())
    for act in (pair.catch_up, mirror.step):
        pair.assert_stops(Refused, "of its own", act)


# --- What the source gave up ----------------------------------------------------------------


def test_a_restoration_of_what_the_mirror_lacks_is_followed() -> None:
    """Positions jump on the mirror as they do on the source."""
    pair = Pair(2)
    pair.catch_up()
    pair.book.write(filler())
    pair.book.restore(kept=3, void_through=9)
    pair.book.write(filler())
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("again", [False, True], ids=["once", "a restoration given up, too"])
def test_what_the_source_gave_up_is_removed_only_when_told(again: bool) -> None:
    """The mirror stops and keeps it; with the word of an operator it is set aside and gone."""
    pair = Pair(2, 2)
    if again:
        pair.book.restore(kept=5, void_through=7)
        pair.book.write(filler())
        pair.book.generation = 0  # as it was at what will be kept
    mirror = pair.catch_up()
    given_up = [raw for raw in pair.target.entries if raw.position > 3]
    pair.book.restore(kept=3, void_through=pair.book.last + 4)
    pair.book.write(filler(), filler())
    for act in (pair.catch_up, mirror.step):
        error = pair.assert_stops(GivenUp, "source kept positions up to 3 and gave up those", act)
        assert "--accept-rollback" in error.hint
    pair.catch_up(accept=True)
    pair.assert_equal()
    assert pair.aside == given_up
    pair.catch_up()
    pair.assert_equal()


def test_killed_after_setting_aside_it_does_so_again() -> None:
    """Removing and writing what stands there instead are one step, so there is nothing between."""
    pair = Pair(2, 2)
    pair.catch_up()
    pair.book.restore(kept=3, void_through=5)
    pair.mirror().attach(lambda _kept, entries: pair.aside.extend(entries))
    assert pair.target.head().position == 5
    pair.catch_up(accept=True)
    pair.assert_equal()
    assert [raw.position for raw in pair.aside] == [4, 5, 4, 5]


def test_accepting_when_nothing_was_given_up_changes_nothing() -> None:
    """The flag is no licence to remove what merely differs."""
    pair = Pair(2, 2)
    pair.catch_up(accept=True)
    assert pair.aside == []
    pair.source.entries = pair.source.entries[:3]
    pair.source.last_generated = pair.source.entries[-1][:2]
    pair.assert_stops(HistoryDiverged, "source ends at", lambda: pair.catch_up(accept=True))
    assert pair.aside == []


def test_a_source_that_does_not_begin_is_damage() -> None:
    """Trimmed from outside, it has no beginning to compare."""
    pair = Pair(2)
    pair.book.delete(1)
    pair.assert_stops(MissingEntries, "does not begin")


def test_a_book_that_begins_twice_is_not_copied() -> None:
    """Continuity is asked about everything, not only about positions."""
    pair = Pair(1)
    pair.book.write(ev.SpaceCreated(bytes(16), "default", 1))
    with pytest.raises(DamagedEntry, match="begins a space"):
        pair.catch_up()
    assert pair.target.head().position == 2
