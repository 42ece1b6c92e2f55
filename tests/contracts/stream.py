"""What every stream backend must do, as a base class; changes with the contract of `Stream`.

A backend's tests derive from `StreamContract` and say with the fixture `bench` how it is set up.
Events are opaque here: a stream knows tags and bytes, and nothing of what they mean.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from itertools import count
from typing import Final

import pytest

from engine import tags
from engine.entry import ORIGIN, Anchor, RawEntry
from engine.errors import IntegrityError
from engine.stream import (
    PAGE_ENTRIES,
    TAIL_BYTES_MAX,
    AppendReply,
    Committed,
    Conflict,
    Head,
    NewEntry,
    Proposal,
    Stream,
    Untimely,
    Verdict,
)

MINUTE_MS: Final = 60_000


def v4(first: int, last: int | None = None) -> str:
    """The tag of one v4 address, or of a range of them."""
    return tags.address_range(4, first, first if last is None else last)


def v6(first: int, last: int | None = None) -> str:
    """The tag of one v6 address, or of a range of them."""
    return tags.address_range(6, first, first if last is None else last)


class Workbench(ABC):
    """A backend under test, and what other programs may do to its data behind its back."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._made = count(1)

    @abstractmethod
    def delete(self, *positions: int) -> None:
        """Delete entries, as XDEL does: what was generated last stays known."""

    @abstractmethod
    def trim(self, length: int) -> None:
        """Drop the oldest entries until `length` are left."""

    @abstractmethod
    def flush(self) -> None:
        """Remove the whole stream."""

    @abstractmethod
    def inject(self, raw: RawEntry) -> None:
        """Write an entry behind the last one, under any id."""

    @property
    def now_ms(self) -> int:
        """What a writer on this machine takes for the time."""
        return time.time_ns() // 1_000_000

    def entry(self, written: str = "", e: bytes = b"event") -> NewEntry:
        """An entry that writes these tags; its commit field is like no other."""
        return NewEntry(e, b"sealed", written.encode(), b"commit %d" % next(self._made))

    def proposal(self, *written: str, reads: str = "") -> Proposal:
        """A proposal of one entry for each argument."""
        return Proposal(reads, tuple(map(self.entry, written)))

    def append(
        self, *proposals: Proposal, after: Anchor | None = None, voided: int = 0, skew_ms: int = 0
    ) -> AppendReply:
        """Append behind `after` (by default: the end), by a clock that is `skew_ms` fast."""
        known = self.end() if after is None else after
        return self.stream.append(known, voided, self.now_ms + skew_ms, proposals)

    def write(self, *written: str) -> Anchor:
        """Commit one entry for each argument, and return the last one."""
        (verdict,) = self.append(self.proposal(*written)).verdicts
        assert isinstance(verdict, Committed)
        return self.anchor(verdict.position + len(written) - 1)

    def verdict(self, proposal: Proposal, after: Anchor) -> Verdict:
        """What becomes of a proposal that was decided at `after`."""
        reply = self.append(proposal, after=after)
        assert reply.status == "ok"
        (verdict,) = reply.verdicts
        return verdict

    def all(self) -> list[RawEntry]:
        """Every entry."""
        return self.stream.read(0, 0, 10_000)

    def anchor(self, position: int) -> Anchor:
        """The entry at a position, as a client remembers it."""
        (found,) = [entry for entry in self.all() if entry.position == position]
        return Anchor(found.ms, found.position, found.c)

    def end(self) -> Anchor:
        """The last entry."""
        head = self.stream.head()
        return self.anchor(head.position) if head.position else ORIGIN

    def assert_stops(
        self, status: str, detail: int, after: Anchor, *, voided: int = 0, skew_ms: int = 0
    ) -> AppendReply:
        """Check that an append behind `after` is refused as a whole and changes nothing."""
        before = self.stream.head(), self.all()
        reply = self.append(self.proposal(""), after=after, voided=voided, skew_ms=skew_ms)
        assert (reply.status, reply.verdicts, reply.tail) == (status, (), [])
        if status != "clock":
            assert reply.detail == detail
        assert (self.stream.head(), self.all()) == before
        return reply


# Every kind of tag, and ranges that meet at an end, in the middle or altogether: (read, written).
CLASHES: Final = {
    "space": (tags.SPACE, tags.SPACE),
    "all pools": (tags.POOLS, tags.POOLS),
    "pool": (tags.pool("a"), tags.pool("a")),
    "reservations": (tags.RESERVATIONS, tags.RESERVATIONS),
    "leases of a pool": (tags.pool_leases(7), tags.pool_leases(7)),
    "owner": (tags.owner("a", "eth0"), tags.owner("a", "eth0")),
    "lease": (tags.lease(7), tags.lease(7)),
    "command": (tags.command(b"k" * 16, 0), tags.command(b"k" * 16, 0)),
    "v4 address": (v4(7), v4(7)),
    "v6 address": (v6(7), v6(7)),
    "v4 range over its first address": (v4(7, 9), v4(7)),
    "v4 range over its last address": (v4(7, 9), v4(9)),
    "v4 address at the start of a range": (v4(7), v4(7, 9)),
    "v4 address at the end of a range": (v4(9), v4(7, 9)),
    "v4 ranges that share one address": (v4(1, 7), v4(7, 9)),
    "v4 range within another": (v4(8, 9), v4(1, 20)),
    "v4 range around another": (v4(1, 20), v4(8, 9)),
    "v4 range equal to another": (v4(1, 20), v4(1, 20)),
    "v4 ranges that carry into the next digit": (v4(0x0F, 0x11), v4(0x10)),
    "v6 range over its last address": (v6(1 << 64, 3 << 64), v6(3 << 64)),
    "v6 address at the start of a range": (v6(1 << 64), v6(1 << 64, 3 << 64)),
    "v6 ranges that share one address": (v6(0, 1 << 64), v6(1 << 64, 1 << 65)),
    "all of v6 over its last address": (v6(0, (1 << 128) - 1), v6((1 << 128) - 1)),
    "the last of several reads": (f"{tags.lease(1)} {v4(1)} {tags.lease(2)}", tags.lease(2)),
}

# What touches without clashing. The all-embracing ranges are of the same width as a point tag.
NEIGHBOURS: Final = {
    "the address before a range": (v4(7, 9), v4(6)),
    "the address behind a range": (v4(10), v4(7, 9)),
    "ranges that adjoin": (v4(1, 6), v4(7, 9)),
    "v6 ranges that adjoin": (v6(0, (1 << 64) - 1), v6(1 << 64, 1 << 65)),
    "v4 address, v6 written": (v4(7), v6(7)),
    "all of v4, v6 written": (v4(0, (1 << 32) - 1), v6(7)),
    "all of v4, all of v6 written": (v4(0, (1 << 32) - 1), v6(0, (1 << 128) - 1)),
    "all of v6, v4 written": (v6(0, (1 << 128) - 1), v4(7)),
    "all of v6, an owner written": (v6(0, (1 << 128) - 1), tags.owner("a", "eth0")),
    "all of v6, pools written": (v6(0, (1 << 128) - 1), tags.POOLS),
    "an owner, all of v6 written": (tags.owner("a", "eth0"), v6(0, (1 << 128) - 1)),
    "reservations, all of v6 written": (tags.RESERVATIONS, v6(0, (1 << 128) - 1)),
    "another pool": (tags.pool("a"), tags.pool("b")),
    "a lease and a pool of that number": (tags.lease(7), tags.pool_leases(7)),
    "another interface": (tags.owner("a", "eth0"), tags.owner("a", "eth1")),
    "another step of the command": (tags.command(b"k" * 16, 0), tags.command(b"k" * 16, 1)),
    "nothing read": ("", tags.SPACE),
    "nothing written": (tags.SPACE, ""),
}


class StreamContract:
    """The contract. What holds for one backend holds for all of them."""

    @pytest.fixture
    def bench(self) -> Workbench:
        """The backend, with an empty stream."""
        raise NotImplementedError

    # --- What is committed -----------------------------------------------------------------

    def test_a_stream_that_is_not_there_is_empty(self, bench: Workbench) -> None:
        """Before the first commit the head is all zero and nothing can be read."""
        assert bench.stream.head() == Head(0, 0, 0)
        assert bench.all() == bench.stream.read_from(0, 10) == []
        reply = bench.append()
        assert reply == AppendReply("ok", 0, reply.ms, (), [])
        assert bench.stream.head() == Head(0, 0, 0)

    def test_the_first_commit_stands_at_position_1(self, bench: Workbench) -> None:
        """A commit to an empty stream is stored at position 1, at about the time of the call."""
        before_ms = bench.now_ms
        proposal = bench.proposal("x")
        reply = bench.append(proposal)
        assert reply == AppendReply("ok", 0, reply.ms, (Committed(1),), [])
        assert before_ms - 1 <= reply.ms <= bench.now_ms + 1
        assert bench.all() == [RawEntry(reply.ms, 1, *proposal.entries[0])]
        assert bench.stream.head() == Head(reply.ms, 1, 1)

    def test_bytes_come_back_as_they_were_written(self, bench: Workbench) -> None:
        """Every byte value and every length survives: nothing is re-encoded."""
        every = bytes(range(256))
        entries = (
            NewEntry(every, every[::-1], b"x", every * 2),
            NewEntry(b"", b"", b"", b""),
            NewEntry(b"\r\n$1\r\n", b"\0", b"", b"\xff" * 70_000),
        )
        bench.append(Proposal("", entries))
        assert [tuple(raw[2:]) for raw in bench.all()] == list(entries)

    def test_positions_are_gapless_and_a_reply_has_one_time(self, bench: Workbench) -> None:
        """Proposals of one batch stand one behind the other, and all carry the reply's time."""
        bench.write("")
        reply = bench.append(bench.proposal("", "", ""), bench.proposal(""), bench.proposal("", ""))
        assert reply.verdicts == (Committed(2), Committed(5), Committed(6))
        written = bench.all()
        assert [raw.position for raw in written] == list(range(1, 8))
        assert {raw.ms for raw in written[1:]} == {reply.ms}
        assert reply.ms >= written[0].ms

    def test_time_never_runs_backwards(self, bench: Workbench) -> None:
        """While the last entry lies in the future, within bounds, its time is used again."""
        first = bench.write("")
        ahead_ms = bench.now_ms + 4 * MINUTE_MS
        bench.inject(RawEntry(ahead_ms, 2, *bench.entry()))
        reply = bench.append(bench.proposal(""), after=first)
        assert reply.ms == ahead_ms
        assert bench.end() == (ahead_ms, 3, bench.all()[-1].c)

    def test_no_proposals_is_a_look_at_the_tail(self, bench: Workbench) -> None:
        """An append of nothing writes nothing and brings what was not seen."""
        first = bench.write("")
        bench.write("", "")
        head = bench.stream.head()
        reply = bench.append(after=first)
        assert (reply.status, reply.verdicts, reply.tail) == ("ok", (), bench.all()[1:])
        assert reply.ms >= head.ms
        assert bench.append().tail == []
        assert bench.stream.head() == head

    def test_the_tail_is_what_others_wrote(self, bench: Workbench) -> None:
        """A committing writer is given what it had not seen, without its own commits."""
        first = bench.write("")
        others = bench.write("", "")
        reply = bench.append(bench.proposal("", ""), after=first)
        assert reply.verdicts == (Committed(4),)
        assert reply.tail == bench.all()[1 : others.position]
        assert bench.append(after=ORIGIN).tail == bench.all()

    # --- What conflicts --------------------------------------------------------------------

    @pytest.mark.parametrize(("read", "written"), CLASHES.values(), ids=CLASHES)
    def test_what_was_written_since_is_a_conflict(
        self, bench: Workbench, read: str, written: str
    ) -> None:
        """A proposal that read what others wrote since is refused, naming tag and position."""
        first = bench.write("")
        bench.write("", f"{tags.lease(99)} {written}", "")
        head = bench.stream.head()
        verdict = bench.verdict(bench.proposal("", reads=read), first)
        assert verdict == Conflict(read.rsplit(maxsplit=1)[-1], 3)
        assert bench.stream.head() == head

    @pytest.mark.parametrize(("read", "written"), NEIGHBOURS.values(), ids=NEIGHBOURS)
    def test_what_was_not_read_is_no_conflict(
        self, bench: Workbench, read: str, written: str
    ) -> None:
        """A proposal stands if what was written since is only similar to what it read."""
        first = bench.write("")
        bench.write(written)
        assert bench.verdict(bench.proposal("", reads=read), first) == Committed(3)

    def test_what_was_written_before_is_no_conflict(self, bench: Workbench) -> None:
        """What the writer had seen when it decided does not stand in its way."""
        known = bench.write(tags.SPACE, v4(7, 9))
        reads = f"{tags.SPACE} {v4(7, 9)} {v4(8)}"
        assert bench.verdict(bench.proposal("", reads=reads), known) == Committed(3)

    def test_the_members_of_a_batch_see_each_other(self, bench: Workbench) -> None:
        """What an earlier proposal of the batch writes, a later one must not have read."""
        bench.write("")
        reply = bench.append(
            bench.proposal("", v4(7), v6(7)),
            bench.proposal(v4(20), reads=v4(1, 9)),
            bench.proposal(v4(30, 40), reads=v4(20)),
            bench.proposal("", reads=v4(35)),
            bench.proposal("", reads=v6(7)),
        )
        # The second is refused, so that what it would have written stands in nobody's way.
        assert reply.verdicts == (
            Committed(2), Conflict(v4(1, 9), 3), Committed(5), Conflict(v4(35), 5),
            Conflict(v6(7), 4),
        )  # fmt: skip
        assert [raw.t.decode() for raw in bench.all()] == ["", "", v4(7), v6(7), v4(30, 40)]

    def test_one_conflict_stops_nobody_else(self, bench: Workbench) -> None:
        """The proposals around one that is refused are committed, without a gap."""
        first = bench.write("")
        bench.write(tags.SPACE)
        reply = bench.append(
            bench.proposal("", ""),
            bench.proposal("", "", reads=tags.SPACE),
            bench.proposal(""),
            after=first,
        )
        assert reply.verdicts == (Committed(3), Conflict(tags.SPACE, 2), Committed(5))
        assert [raw.position for raw in bench.all()] == [1, 2, 3, 4, 5]

    @pytest.mark.parametrize(
        ("bounds_ms", "expected"),
        [
            ((2 * MINUTE_MS, 0), Untimely("early")),
            ((0, -2 * MINUTE_MS), Untimely("late")),
            ((-2 * MINUTE_MS, 2 * MINUTE_MS), Committed(2)),
            ((-2 * MINUTE_MS, 0), Committed(2)),
            ((0, 2 * MINUTE_MS), Committed(2)),
        ],
        ids=["not yet", "no more", "within", "from", "until"],
    )
    def test_a_proposal_may_bound_its_time(
        self, bench: Workbench, bounds_ms: tuple[int, int], expected: Verdict
    ) -> None:
        """A proposal whose time has not come, or has gone, writes nothing; others go on."""
        bench.write("")
        not_before_ms, not_after_ms = (offset and bench.now_ms + offset for offset in bounds_ms)
        proposal = bench.proposal("")._replace(
            not_before_ms=not_before_ms, not_after_ms=not_after_ms
        )
        reply = bench.append(proposal, bench.proposal(""))
        written = isinstance(expected, Committed)
        assert reply.verdicts == (expected, Committed(3 if written else 2))
        assert bench.stream.head().length == (3 if written else 2)

    def test_the_bounds_of_a_time_are_inclusive(self, bench: Workbench) -> None:
        """A commit exactly at the bound stands, one millisecond off does not."""
        first = bench.write("")
        ms = bench.now_ms + MINUTE_MS
        bench.inject(RawEntry(ms, 2, *bench.entry()))
        proposals = [
            bench.proposal("")._replace(not_before_ms=not_before_ms, not_after_ms=not_after_ms)
            for not_before_ms, not_after_ms in ((ms, ms), (ms + 1, 0), (0, ms - 1))
        ]
        reply = bench.append(*proposals, after=first)
        assert reply.verdicts == (Committed(3), Untimely("early"), Untimely("late"))

    # --- What stops everything -------------------------------------------------------------

    def test_another_entry_at_the_writers_position_is_diverged(self, bench: Workbench) -> None:
        """The writer's last entry must be the very one: time, position and commit field."""
        bench.write("", "")
        known = bench.anchor(1)
        bench.assert_stops("diverged", 1, known._replace(c=b"another"))
        bench.assert_stops("diverged", 1, known._replace(ms=known.ms - 1))
        bench.delete(1)
        bench.assert_stops("diverged", 1, known)

    def test_a_shorter_stream_is_told_from_a_different_one(self, bench: Workbench) -> None:
        """A writer that knows a higher position is answered where the stream ends."""
        known = bench.write("", "", "")
        first = bench.all()[0]
        bench.flush()
        bench.assert_stops("shorter", 0, known)
        bench.inject(first)
        bench.assert_stops("shorter", 1, known)

    def test_a_writer_far_behind_must_catch_up(self, bench: Workbench) -> None:
        """A tail of one page is handed over; with one entry more the writer is behind."""
        first = bench.write("")
        bench.write(*[""] * PAGE_ENTRIES)
        assert len(bench.append(after=first).tail) == PAGE_ENTRIES
        last = bench.write("")
        bench.assert_stops("behind", last.position, first)

    def test_a_tail_of_many_bytes_must_be_read_in_pages(self, bench: Workbench) -> None:
        """A tail of exactly 1 MiB is handed over; with one byte more the writer is behind."""
        first = bench.write("")
        empty = NewEntry(b"", b"s" * 1_000, b"t", b"c" * 100)
        padding = TAIL_BYTES_MAX - sum(map(len, empty))
        bench.append(Proposal("", (empty._replace(e=b"e" * padding),)))
        assert bench.append(after=first).tail == bench.all()[1:]
        bench.append(Proposal("", (NewEntry(b"", b"", b"", b"+"),)))
        bench.assert_stops("behind", 3, first)

    def test_a_restoration_must_be_read_before_writing(self, bench: Workbench) -> None:
        """A writer that has not seen a restoration is sent to read it: the numbers changed."""
        known = bench.write("", "")
        restored = bench.entry(f"{tags.SPACE} {tags.restoration(2, 5)} {tags.command(b'', 0)}")
        bench.stream.restore(known, bench.stream.head(), 5, bench.now_ms, restored)
        bench.assert_stops("behind", 6, known)
        bench.assert_stops("behind", 6, known, voided=3)
        assert bench.append(bench.proposal(""), voided=3).verdicts == (Committed(7),)

    def test_a_hole_in_the_tail_is_missing(self, bench: Workbench) -> None:
        """An entry deleted behind the writer's position is named, and nothing is written."""
        bench.write("", "", "", "")
        known = bench.anchor(1)
        bench.delete(3)
        bench.assert_stops("missing", 3, known)

    def test_a_deleted_last_entry_is_missing(self, bench: Workbench) -> None:
        """The newest entry is missed although nothing stands behind it."""
        bench.write("", "", "")
        known = bench.anchor(2)
        bench.delete(3)
        bench.assert_stops("missing", 3, known)
        bench.assert_stops("missing", 3, ORIGIN)

    def test_a_deleted_old_entry_is_missing(self, bench: Workbench) -> None:
        """An entry that the writer has long passed is missed by the stream's length."""
        known = bench.write("", "", "", "")
        bench.delete(2)
        bench.assert_stops("missing", 0, known)

    def test_a_trimmed_head_is_missing(self, bench: Workbench) -> None:
        """A stream that no longer begins at position 1 takes no more commits."""
        known = bench.write("", "", "", "")
        bench.trim(2)
        bench.assert_stops("missing", 1, known)
        bench.assert_stops("missing", 1, ORIGIN)

    def test_a_stream_of_deleted_entries_is_missing(self, bench: Workbench) -> None:
        """A stream whose every entry was deleted is not taken for a new one."""
        bench.write("", "")
        bench.delete(1, 2)
        bench.assert_stops("missing", 2, ORIGIN)
        assert bench.stream.head() == bench.stream.head()._replace(position=2, length=0)

    def test_voided_positions_must_add_up(self, bench: Workbench) -> None:
        """A writer that counts void positions where there are none has another history."""
        known = bench.write("", "")
        bench.assert_stops("missing", 0, known, voided=1)

    @pytest.mark.parametrize("skew_ms", [6 * MINUTE_MS, -6 * MINUTE_MS], ids=["fast", "slow"])
    def test_clocks_far_apart_stop_the_writer(self, bench: Workbench, skew_ms: int) -> None:
        """A writer's clock more than 5 minutes off is refused with the server's time."""
        known = bench.write("")
        reply = bench.assert_stops("clock", 0, known, skew_ms=skew_ms)
        assert abs(reply.detail - bench.now_ms) < MINUTE_MS

    @pytest.mark.parametrize("skew_ms", [4 * MINUTE_MS, -4 * MINUTE_MS], ids=["fast", "slow"])
    def test_clocks_nearly_agree(self, bench: Workbench, skew_ms: int) -> None:
        """A writer's clock may be off by less; the server's time is what counts."""
        reply = bench.append(bench.proposal(""), skew_ms=skew_ms)
        assert reply.verdicts == (Committed(1),)
        assert abs(reply.ms - bench.now_ms) < MINUTE_MS

    def test_an_entry_from_the_future_stops_the_writer(self, bench: Workbench) -> None:
        """A last entry more than 5 minutes ahead of the server's clock takes no successor."""
        known = bench.write("")
        bench.inject(RawEntry(bench.now_ms + 6 * MINUTE_MS, 2, *bench.entry()))
        reply = bench.assert_stops("clock", 0, known)
        assert abs(reply.detail - bench.now_ms) < MINUTE_MS

    # --- What is read ----------------------------------------------------------------------

    def test_reading_goes_on_behind_an_id(self, bench: Workbench) -> None:
        """Pages that each begin behind the last entry of the one before are the whole stream."""
        bench.write("", "", "")
        bench.write("", "")
        found: list[RawEntry] = []
        ms, position = 0, 0
        while page := bench.stream.read(ms, position, 2):
            assert len(page) <= 2
            found += page
            ms, position = page[-1].ms, page[-1].position
        assert [raw.position for raw in found] == [1, 2, 3, 4, 5]
        assert found == bench.all()

    def test_reading_from_a_time_includes_it(self, bench: Workbench) -> None:
        """The entries from a time on are those of that very millisecond and later."""
        now_ms = bench.now_ms
        times_ms = [now_ms - 50, now_ms - 50, now_ms - 10]
        for position, ms in enumerate(times_ms, start=1):
            bench.inject(RawEntry(ms, position, *bench.entry()))

        def positions(ms: int, entries_max: int = 10) -> list[int]:
            return [raw.position for raw in bench.stream.read_from(ms, entries_max)]

        assert positions(-1) == positions(0) == positions(now_ms - 50) == [1, 2, 3]
        assert positions(now_ms - 49) == positions(now_ms - 10) == [3]
        assert positions(now_ms - 9) == []
        assert positions(0, 2) == [1, 2]

    def test_a_dump_is_everything_behind_an_id(self, bench: Workbench) -> None:
        """What is to be set aside comes whole, however many, with its fields' names."""
        bench.write(*[""] * (PAGE_ENTRIES + 2))
        first, *rest = bench.all()
        assert bench.stream.dump(first.ms, first.position) == [
            (raw.entry_id, (b"e", raw.e, b"s", raw.s, b"t", raw.t, b"c", raw.c)) for raw in rest
        ]
        assert bench.stream.dump(rest[-1].ms, rest[-1].position) == []

    @pytest.mark.parametrize("block_ms", [0, 20])
    def test_waiting_ends_when_nothing_comes(self, bench: Workbench, block_ms: int) -> None:
        """Whoever waits at the end gets nothing, soon, and never waits for ever."""
        assert bench.stream.wait(0, 0, block_ms) == []
        end = bench.write("", "")
        began_s = time.monotonic()
        assert bench.stream.wait(end.ms, end.position, block_ms) == []
        assert time.monotonic() - began_s < 2

    def test_waiting_ends_at_once_when_something_is_there(self, bench: Workbench) -> None:
        """Whoever waits behind an entry that has successors is given them."""
        bench.write("", "", "")
        assert bench.stream.wait(0, 0, 30_000) == bench.all()
        first = bench.anchor(1)
        assert bench.stream.wait(first.ms, first.position, 30_000) == bench.all()[1:]

    # --- The way home ----------------------------------------------------------------------

    def test_a_restoration_keeps_and_voids(self, bench: Workbench) -> None:
        """What follows the kept entry is gone, and the restoration stands behind what is void."""
        bench.write("", "", "", "", "")
        kept, head, before = bench.anchor(3), bench.stream.head(), bench.all()
        restored = bench.entry("restored")
        bench.stream.restore(kept, head, 8, bench.now_ms, restored)
        *old, new = bench.all()
        assert old == before[:3]
        assert new == RawEntry(new.ms, 9, *restored)
        assert new.ms >= head.ms
        assert bench.stream.head() == Head(new.ms, 9, 4)
        bench.assert_stops("missing", 0, bench.end())
        assert bench.append(bench.proposal(""), voided=5).verdicts == (Committed(10),)

    def test_a_restoration_may_void_nothing(self, bench: Workbench) -> None:
        """Accepting the stream as it is adds one entry, at the next position."""
        known = bench.write("", "")
        bench.stream.restore(known, bench.stream.head(), 2, bench.now_ms, bench.entry())
        assert [raw.position for raw in bench.all()] == [1, 2, 3]
        assert bench.append(bench.proposal("")).verdicts == (Committed(4),)

    def test_a_restoration_mends_a_hole(self, bench: Workbench) -> None:
        """A stream with entries missing takes commits again once what is left is accepted."""
        bench.write("", "", "", "")
        kept = bench.anchor(1)
        bench.delete(2, 4)
        bench.stream.restore(kept, bench.stream.head(), 4, bench.now_ms, bench.entry())
        assert [raw.position for raw in bench.all()] == [1, 5]
        assert bench.append(bench.proposal(""), voided=3).verdicts == (Committed(6),)

    def test_a_restoration_removes_any_number(self, bench: Workbench) -> None:
        """Also what is more than a page goes in one step."""
        bench.write(*[""] * (2 * PAGE_ENTRIES + 2))
        head = bench.stream.head()
        bench.stream.restore(bench.anchor(1), head, head.position, bench.now_ms, bench.entry())
        assert [raw.position for raw in bench.all()] == [1, head.position + 1]

    @pytest.mark.parametrize(
        ("what", "why"),
        [
            ("written meanwhile", "moved"),
            ("void too little", "low"),
            ("keep another", "diverged"),
            ("kept is gone", "diverged"),
            ("all is gone", "diverged"),
        ],
    )
    def test_a_restoration_of_something_else_is_refused(
        self, bench: Workbench, what: str, why: str
    ) -> None:
        """Nothing is touched unless the stream is the one that the operator looked at."""
        bench.write("", "", "")
        kept, head, void_through = bench.anchor(2), bench.stream.head(), 9
        if what == "written meanwhile":
            bench.write("")
        elif what == "void too little":
            void_through = 2
        elif what == "keep another":
            kept = kept._replace(c=b"another")
        elif what == "kept is gone":
            bench.delete(2)
        else:
            bench.flush()
        before = bench.stream.head(), bench.all()
        with pytest.raises(IntegrityError, match=rf"being restored \({why}\)"):
            bench.stream.restore(kept, head, void_through, bench.now_ms, bench.entry())
        assert (bench.stream.head(), bench.all()) == before
