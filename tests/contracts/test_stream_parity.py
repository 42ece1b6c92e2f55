"""The script and the stream in memory are one thing: whatever is asked, they answer alike.

The contract says what must be answered where somebody thought of it; here Hypothesis thinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple
from unittest.mock import patch
from uuid import uuid4

import fakeredis
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine import memory_stream, redis_stream, tags
from engine.entry import ORIGIN, Anchor
from engine.errors import IntegrityError
from engine.stream import AppendReply, Conflict, Head, NewEntry, Proposal
from tests.contracts.benches import MemoryBench, RedisBench
from tests.contracts.stream import MINUTE_MS, Workbench, v4, v6

# Small enough for Hypothesis to run into them often.
PAGE_ENTRIES: Final = 6
TAIL_BYTES_MAX: Final = 300

addresses = st.integers(0, 9)
ranges = st.tuples(addresses, addresses).map(sorted)
some_tags = st.one_of(
    st.sampled_from([tags.SPACE, tags.POOLS, tags.RESERVATIONS, tags.owner("a", "eth0")]),
    addresses.map(v4),
    addresses.map(v6),
    ranges.map(lambda pair: v4(*pair)),
    ranges.map(lambda pair: v6(*pair)),
)
written = st.lists(some_tags, max_size=3).map(" ".join)


class Wish(NamedTuple):
    """A proposal but for its commit fields and the time, which differ from run to run."""

    reads: str
    entries: list[tuple[bytes, str]]
    not_before_in_ms: int
    not_after_in_ms: int


wishes = st.lists(
    st.builds(
        Wish,
        reads=written,
        entries=st.lists(st.tuples(st.binary(max_size=40), written), max_size=3),
        not_before_in_ms=st.sampled_from([0, 0, 0, -2 * MINUTE_MS, 2 * MINUTE_MS]),
        not_after_in_ms=st.sampled_from([0, 0, 0, -2 * MINUTE_MS, 2 * MINUTE_MS]),
    ),
    max_size=4,
)
# Usually the truth; else off by one, or another commit field at the right place.
knowledge = st.sampled_from(["the end", "the end", "some entry", "too much", "altered"])


def numbers_of(tag: str) -> tuple[str, int, int]:
    """A tag as its kind and an interval of numbers, which is how a person compares them."""
    low, _, high = tag.partition("-")
    return low[0] + str(len(low)), int(low[1:], 16), int((high or low)[1:], 16)


def clash(read: str, wrote: str) -> bool:
    """Whether two tags are of a kind and have a number in common."""
    kind, low, high = numbers_of(read)
    other_kind, other_low, other_high = numbers_of(wrote)
    return kind == other_kind and low <= other_high and other_low <= high


class Comparable(NamedTuple):
    """A reply without what may differ: times, and which of several clashing entries is named."""

    status: str
    detail: int
    verdicts: Sequence[object]
    tail: list[tuple[object, ...]]


def comparable(reply: AppendReply) -> Comparable:
    """What two backends must agree on."""
    detail = 0 if reply.status == "clock" else reply.detail
    verdicts = [v.tag if isinstance(v, Conflict) else v for v in reply.verdicts]
    return Comparable(reply.status, detail, verdicts, [raw[1:] for raw in reply.tail])


class StreamParity(RuleBasedStateMachine):
    """Two backends are asked the same; neither may know anything that the other does not."""

    def __init__(self) -> None:
        super().__init__()
        self.resources = ExitStack()
        for module in (memory_stream, redis_stream):
            enter = self.resources.enter_context
            enter(patch.object(module, "PAGE_ENTRIES", PAGE_ENTRIES))
            enter(patch.object(module, "TAIL_BYTES_MAX", TAIL_BYTES_MAX))
        server = fakeredis.FakeServer(server_type="redis", version=(7,))
        client, other = (
            self.resources.enter_context(fakeredis.FakeRedis(server=server, protocol=2))
            for _ in range(2)
        )
        self.memory = MemoryBench()
        self.redis = RedisBench(client, other, f"test-{uuid4().hex}")
        self.benches: tuple[Workbench, ...] = (self.memory, self.redis)
        self.voided = 0
        self.made = 0

    def teardown(self) -> None:
        """Give the connections back, and the limits."""
        self.resources.close()

    def entry(self, e: bytes, wrote: str) -> NewEntry:
        """An entry like no other, the same for both."""
        self.made += 1
        return NewEntry(e, b"", wrote.encode(), b"%d" % self.made)

    def anchor(self, bench: Workbench, what: str, at: int) -> Anchor:
        """What a writer believes to be the last entry, right or wrong."""
        entries = bench.all()
        last = bench.stream.head().position
        if what == "too much":
            return Anchor(bench.now_ms, last + 1, b"?")
        if not entries:
            return ORIGIN
        raw = entries[-1] if what == "the end" else entries[at % len(entries)]
        return Anchor(raw.ms, raw.position, b"?" if what == "altered" else raw.c)

    def check_conflicts(self, bench: Workbench, reply: AppendReply) -> None:
        """Each conflict names an entry that did write what was read."""
        wrote = {raw.position: raw.t.decode().split() for raw in bench.all()}
        for verdict in reply.verdicts:
            if isinstance(verdict, Conflict):
                assert any(clash(verdict.tag, tag) for tag in wrote[verdict.position])

    @initialize(wrote=written)
    def begin(self, wrote: str) -> None:
        """Most histories have a beginning."""
        entry = self.entry(b"", wrote)
        for bench in self.benches:
            bench.append(Proposal("", (entry,)))

    @rule(
        wishes=wishes,
        what=knowledge,
        at=st.integers(0, 100),
        miscounted=st.sampled_from([0, 0, 0, 1]),
        skew_ms=st.sampled_from([0, 0, 0, 0, 6 * MINUTE_MS, -6 * MINUTE_MS]),
    )
    def append(self, wishes: list[Wish], what: str, at: int, miscounted: int, skew_ms: int) -> None:
        """The same proposals, decided at the same entry, get the same verdicts."""
        now_ms = self.memory.now_ms
        proposals = [
            Proposal(
                wish.reads,
                tuple(self.entry(e, wrote) for e, wrote in wish.entries),
                wish.not_before_in_ms and now_ms + wish.not_before_in_ms,
                wish.not_after_in_ms and now_ms + wish.not_after_in_ms,
            )
            for wish in wishes
        ]
        answers: list[Comparable] = []
        for bench in self.benches:
            after = self.anchor(bench, what, at)
            reply = bench.append(
                *proposals, after=after, voided=self.voided + miscounted, skew_ms=skew_ms
            )
            self.check_conflicts(bench, reply)
            answers.append(comparable(reply))
        assert answers[0] == answers[1]
        if answers[0].status == "missing" and not miscounted:
            self.start_over()

    def start_over(self) -> None:
        """Leave a damaged history behind, which would answer nothing else any more."""
        for bench in self.benches:
            bench.flush()
        self.voided = 0

    @rule(how=st.sampled_from(["not", "delete", "trim"]), at=st.integers(0, 100))
    def damage(self, how: str, at: int) -> None:
        """An entry is deleted behind everybody's back, or the oldest but one are dropped."""
        entries = self.memory.all()
        for bench in self.benches:
            if how == "delete" and entries:
                bench.delete(entries[at % len(entries)].position)
            elif how == "trim" and entries:
                bench.trim(1 + at % len(entries))

    @rule(
        what=knowledge,
        at=st.integers(0, 100),
        more=st.integers(-1, 3),
        wrote=st.sampled_from(["", f"{tags.SPACE} {tags.restoration(1, 2)} {tags.SPACE}"]),
        stale=st.sampled_from([False, False, False, True]),
    )
    def restore(self, what: str, at: int, more: int, wrote: str, *, stale: bool) -> None:
        """An operator accepts what is left, or is refused for the same reason."""
        entry = self.entry(b"restored", wrote)
        outcomes = []
        for bench in self.benches:
            keep = self.anchor(bench, what, at)
            seen = bench.stream.head()
            head = Head(seen.ms, seen.position - 1, seen.length) if stale else seen
            through = max(seen.position + more, 0)
            try:
                bench.stream.restore(keep, head, through, bench.now_ms, entry)
                outcomes.append("restored")
            except IntegrityError as error:
                outcomes.append(error.message)
        assert outcomes[0] == outcomes[1]
        if outcomes[0] == "restored":
            head = self.memory.stream.head()
            self.voided = head.position - head.length

    @rule(at=st.integers(0, 100), entries_max=st.integers(1, 8))
    def read(self, at: int, entries_max: int) -> None:
        """The same page follows the same entry, and the same entries are of a time or later."""
        pages = []
        for bench in self.benches:
            anchor = self.anchor(bench, "some entry", at)
            page = bench.stream.read(anchor.ms, anchor.position, entries_max)
            pages.append([raw[1:] for raw in page])
            since = [raw for raw in bench.all() if raw.ms >= anchor.ms]
            assert bench.stream.read_from(anchor.ms, entries_max) == since[:entries_max]
        assert pages[0] == pages[1]

    @invariant()
    def the_streams_are_equal(self) -> None:
        """Both hold the same bytes at the same positions, in the order of time."""
        memory, redis = (bench.all() for bench in self.benches)
        assert [raw[1:] for raw in memory] == [raw[1:] for raw in redis]
        assert self.memory.stream.head()[1:] == self.redis.stream.head()[1:]
        assert [raw.ms for raw in redis] == sorted(raw.ms for raw in redis)


StreamParity.TestCase.settings = settings(max_examples=80, stateful_step_count=30)
# Not needed to pass: to make a failure small takes some minutes.
TestStreamParity = pytest.mark.timeout(400)(StreamParity.TestCase)
