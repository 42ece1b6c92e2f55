"""A history in memory that a test writes entry by entry: as it should be, or just not."""

from __future__ import annotations

from typing import Any, Final

import pytest

from engine import events as ev
from engine.entry import Anchor, Commit, Header, RawEntry, Record
from engine.errors import (
    IntegrityError,
)
from engine.events import LEVEL, Event, Sealed
from engine.memory_stream import MemoryStream
from engine.reading import Continuity, HighWater, read_commits
from engine.wire import encode_commit, encode_entry

START_MS: Final = 1_700_000_000_000
SPACE_ID: Final = bytes(range(16))
HEADER: Final = Header(bytes(16))


def filler(number: int = 1) -> Event:
    """An event that says nothing to a reader; its number tells it from others."""
    return ev.PoolDeleted(number, "p")


class Book:
    """A history in memory, written entry by entry: as it should be, or just not."""

    def __init__(self, *sizes: int) -> None:
        """Begin a space, and write commits of these sizes."""
        self.stream = MemoryStream(lambda: START_MS)
        self.ms = START_MS
        self.generation = 0
        self.write(ev.SpaceCreated(SPACE_ID, "default", LEVEL))
        for size in sizes:
            self.write(*map(filler, range(1, size + 1)))

    @property
    def last(self) -> int:
        """The last position."""
        return self.stream.last_generated[1]

    def write(self, *events: Event) -> None:
        """One commit, as a writer makes it that has seen everything before."""
        self.ms += 10
        decided_at = self.last
        for part, event in enumerate(events):
            self.put(event, part=part, parts=len(events), decided_at=decided_at)

    def put(self, event: Event, position: int = 0, ms: int = 0, **commit: Any) -> None:
        """One entry of any commit, at any place; by default a right one at the next place."""
        position = position or self.last + 1
        about = {
            "nonce": (position - commit.get("part", 0)).to_bytes(8),
            "part": 0,
            "parts": 1,
            "generation": self.generation,
            "decided_at": position - 1,
            "request_hash": bytes(16),
        }
        e, s, t = encode_entry(event, Sealed(bytes(16)), HEADER)
        c = encode_commit(Commit(**{**about, **commit}), e, s)[1]
        self.stream.entries.append(RawEntry(ms or self.ms, position, e, s, t, c))
        self.stream.last_generated = (ms or self.ms, position)

    def restore(self, kept: int, void_through: int) -> None:
        """Accept what is left as a writer's doctor does."""
        self.stream.entries = [raw for raw in self.stream.entries if raw.position <= kept]
        self.generation += 1
        self.ms += 10
        event = ev.HistoryRestored(kept, void_through, self.generation)
        self.put(event, position=void_through + 1, decided_at=kept)

    def delete(self, *positions: int) -> None:
        """Delete entries behind everybody's back."""
        self.stream.entries = [raw for raw in self.stream.entries if raw.position not in positions]

    def anchor(self, position: int) -> Anchor:
        """An entry, as a client remembers it."""
        (raw,) = [raw for raw in self.stream.entries if raw.position == position]
        return Anchor(raw.ms, raw.position, raw.c)

    def remembered(self, *positions: int) -> HighWater:
        """What a client keeps that has seen these entries."""
        return HighWater(SPACE_ID, self.generation, tuple(map(self.anchor, positions)))

    def read(
        self, remembered: HighWater | None = None, entries_max: int = 1_000
    ) -> list[list[Record]]:
        """Everything, from the beginning."""
        return list(read_commits(self.stream, Continuity(remembered), entries_max=entries_max))

    def fails(
        self, error: type[IntegrityError], position: int | None, match: str | None = None
    ) -> None:
        """Check that a reader stops with this very error, in pages of every size."""
        for entries_max in (1, 2, 3, 1_000):
            with pytest.raises(error, match=match) as caught:
                self.read(entries_max=entries_max)
            assert type(caught.value) is error
            assert caught.value.position == position
