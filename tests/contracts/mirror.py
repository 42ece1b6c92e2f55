"""What every stream backend must do that can be a mirror: take copies, and nothing else."""

from __future__ import annotations

from typing import Final

import pytest

from engine.entry import ORIGIN, Anchor, RawEntry
from engine.errors import IntegrityError, ReadOnlyMirror
from engine.mirroring import CopyStatus, Marker, Target
from engine.stream import Committed, Head
from tests.contracts.stream import Workbench

SPACE_ID: Final = bytes(range(16))
MARKER: Final = Marker(SPACE_ID, "redis://east:6379/0", 0, 0)
EMPTY: Final = Head(0, 0, 0)


def made(*ids: tuple[int, int]) -> list[RawEntry]:
    """Entries of these ids, whose bytes are no text."""
    return [
        RawEntry(ms, position, b"\x00e\xff", b"s%d" % position, b"t", b"c%d" % position)
        for ms, position in ids
    ]


def anchor(raw: RawEntry) -> Anchor:
    """An entry to go on behind."""
    return Anchor(raw.ms, raw.position, raw.c)


def target(bench: Workbench) -> Target:
    """The stream as what is copied to."""
    stream = bench.stream
    assert hasattr(stream, "copy"), "every backend can be a mirror"
    return stream  # type: ignore[return-value]


def mirrored(bench: Workbench, *ids: tuple[int, int]) -> list[RawEntry]:
    """Make the stream a mirror of these entries."""
    entries = made(*ids)
    assert target(bench).copy(ORIGIN, EMPTY, MARKER, entries) == "ok"
    return entries


class MirrorContract:
    """The contract. It speaks of any bytes and ids: what they mean is the copier's business."""

    def test_what_is_copied_stands_as_it_was(self, bench: Workbench) -> None:
        """Ids and bytes are the source's, and the marker says whose they are."""
        assert target(bench).marker() is None
        entries = mirrored(bench, (5, 1), (5, 2), (9, 3))
        assert bench.all() == entries
        assert bench.stream.head() == Head(9, 3, 3)
        assert target(bench).marker() == MARKER

    def test_copying_goes_on_behind_the_last_entry(self, bench: Workbench) -> None:
        """Also over a jump in positions; the marker is replaced as a whole."""
        entries = mirrored(bench, (5, 1), (6, 2))
        more = made((6, 7), (8, 8))
        marker = Marker(SPACE_ID, "redis://elsewhere", 4, 77)
        after = anchor(entries[-1])
        assert target(bench).copy(after, Head(6, 2, 2), marker, more) == "ok"
        assert bench.all() == entries + more
        assert target(bench).marker() == marker

    def test_a_copy_of_nothing_marks(self, bench: Workbench) -> None:
        """An empty copy changes the marker only; it keeps when it was level if that is not said."""
        (entry,) = mirrored(bench, (5, 1))
        level = MARKER._replace(level_at_ms=99)
        assert target(bench).copy(anchor(entry), Head(5, 1, 1), level, ()) == "ok"
        assert target(bench).copy(anchor(entry), Head(5, 1, 1), MARKER, ()) == "ok"
        assert target(bench).marker() == level
        assert bench.all() == [entry]

    def test_copying_behind_an_earlier_entry_removes_what_follows(self, bench: Workbench) -> None:
        """What the source gave up makes room for what stands there instead, in one step."""
        entries = mirrored(bench, (5, 1), *((6, at) for at in range(2, 2_050)))
        restored = made((7, 3_000))
        head = Head(6, 2_049, 2_049)
        assert target(bench).copy(anchor(entries[0]), head, MARKER, restored) == "ok"
        assert bench.all() == [entries[0], *restored]
        assert bench.stream.head() == Head(7, 3_000, 2)

    @pytest.mark.parametrize(
        ("what", "status"),
        [
            ("a stream of its own", "occupied"),
            ("its own, all deleted", "occupied"),
            ("another space", "other"),
            ("written meanwhile", "moved"),
            ("gone meanwhile", "moved"),
            ("another entry there", "diverged"),
            ("an earlier time", "low"),
            ("the same position", "low"),
            ("not ascending", "low"),
        ],
    )
    def test_what_does_not_fit_is_not_written(
        self, bench: Workbench, what: str, status: CopyStatus
    ) -> None:
        """Everything is checked before the first write: neither entry nor marker changes."""
        entries, marker = made((6, 3)), MARKER._replace(source="redis://elsewhere")
        after, head = ORIGIN, EMPTY
        if status == "occupied":
            after = bench.write("")
            head = bench.stream.head()
            if what != "a stream of its own":
                bench.delete(1)
        else:
            first = mirrored(bench, (5, 1), (6, 2))
            after, head = anchor(first[-1]), bench.stream.head()
        if what == "another space":
            marker = marker._replace(space_id=bytes(16))
        elif what == "written meanwhile":
            head = Head(5, 1, 1)
        elif what == "gone meanwhile":
            bench.flush()
        elif what == "another entry there":
            after = after._replace(c=b"another")
        elif status == "low":
            ids = {"an earlier time": [(5, 3)], "the same position": [(7, 2)]}
            entries = made(*ids.get(what, [(6, 3), (7, 3)]))
        before = bench.stream.head(), bench.all(), target(bench).marker()
        assert target(bench).copy(after, head, marker, entries) == status
        assert (bench.stream.head(), bench.all(), target(bench).marker()) == before

    def test_a_mirror_takes_no_decision(self, bench: Workbench) -> None:
        """Neither a commit, nor a look at the tail that a refusal would rest on, nor a restoration.

        A writer that knew the stream before it was marked is refused no less.
        """
        mirrored(bench, (5, 1), (6, 2))
        before = bench.stream.head(), bench.all()
        for proposals in ((), (bench.proposal(""),)):
            for after in (ORIGIN, bench.end()):
                with pytest.raises(ReadOnlyMirror, match="mirror of redis://east:6379/0") as caught:
                    bench.append(*proposals, after=after)
                assert caught.value.kind == "forbidden"
                assert "redis://east:6379/0" in caught.value.hint
        with pytest.raises(ReadOnlyMirror):
            bench.stream.restore(bench.end(), bench.stream.head(), 9, bench.now_ms, bench.entry())
        assert (bench.stream.head(), bench.all()) == before

    def test_a_mirror_that_is_promoted_takes_commits(self, bench: Workbench) -> None:
        """In one step it ends to be a mirror and has its restoration; then it is as any stream."""
        entries = mirrored(bench, (5, 1), (6, 2))
        restored = bench.entry("restored")
        head = bench.stream.head()
        bench.stream.restore(bench.end(), head, 8, bench.now_ms, restored, promote=True)
        assert target(bench).marker() is None
        assert bench.all()[:2] == entries
        assert bench.all()[2][1:] == (9, *restored)
        assert bench.append(bench.proposal(""), voided=6).verdicts == (Committed(10),)

    @pytest.mark.parametrize("why", ["diverged", "moved", "low"])
    def test_a_promotion_that_does_not_fit_leaves_a_mirror(
        self, bench: Workbench, why: str
    ) -> None:
        """A mirror that goes on being copied to while it is promoted stays one."""
        mirrored(bench, (5, 1), (6, 2))
        keep, head, through = bench.end(), bench.stream.head(), 9
        if why == "diverged":
            keep = keep._replace(c=b"another")
        elif why == "moved":
            head = Head(5, 1, 1)
        else:
            through = 1
        before = bench.stream.head(), bench.all(), target(bench).marker()
        with pytest.raises(IntegrityError, match=rf"\({why}\)"):
            bench.stream.restore(keep, head, through, bench.now_ms, bench.entry(), promote=True)
        assert (bench.stream.head(), bench.all(), target(bench).marker()) == before

    def test_only_a_mirror_is_promoted(self, bench: Workbench) -> None:
        """Any other stream is left as it is."""
        known = bench.write("")
        head = bench.stream.head()
        with pytest.raises(IntegrityError, match=r"\(no mirror\)"):
            bench.stream.restore(known, head, 9, bench.now_ms, bench.entry(), promote=True)
        assert bench.stream.head() == head
