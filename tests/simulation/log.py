"""The log as the verdict reads it: whole commits, each entry decoded once for all who ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from engine.entry import Anchor, RawEntry, Record
from engine.events import HistoryRestored
from engine.reading import Continuity, HighWater, read_commits
from engine.stream import Stream
from engine.wire import decode_entry

# An entry's record follows from its bytes, so that a verdict need not decode it again and again.
decoded: Final = lru_cache(maxsize=4_096)(decode_entry)


def commits(stream: Stream, remembered: HighWater | None = None) -> Iterator[list[Record]]:
    """Each commit of a stream, checked as every reader checks it.

    Raises:
        IntegrityError: the stream is not what it must be.
    """
    commit: list[Record] = []
    for page in read_commits(stream, Continuity(remembered, decoded)):
        for record in page:
            commit.append(record)
            if record.commit.ends_here:
                yield commit
                commit = []


def anchors_of(entries: Iterable[RawEntry]) -> set[Anchor]:
    """Every place in a stream, as who has seen it remembers it."""
    return {Anchor(raw.ms, raw.position, raw.c) for raw in entries}


def not_given_up(remembered: Iterable[Anchor], entries: Sequence[RawEntry]) -> bool:
    """Whether something that was seen is not there, and no restoration says that it is void."""
    there = anchors_of(entries)
    events = [decoded(raw).event for raw in entries]
    restored = [event for event in events if isinstance(event, HistoryRestored)]
    return any(
        anchor not in there
        and not any(each.kept < anchor.position <= each.void_through for each in restored)
        for anchor in remembered
    )


def ends_inside(entries: list[RawEntry]) -> bool:
    """Whether the last of these entries is not the last one of its commit."""
    return bool(entries) and not decoded(entries[-1]).commit.ends_here
