"""The stream in memory: the same verdicts as the script, for simulation and fast tests.

It keeps nothing when the process ends. Its clock is an argument, so that a simulation decides
what time it is.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Final

from engine.entry import Anchor, RawEntry
from engine.mirroring import CopyStatus, Marker, read_only
from engine.model import LOCAL, Durability
from engine.stream import (
    PAGE_ENTRIES,
    TAIL_BYTES_MAX,
    Acknowledged,
    AppendReply,
    AppendsWhenFetched,
    Committed,
    Conflict,
    Head,
    NewEntry,
    Proposal,
    Status,
    StoredEntry,
    Untimely,
    Verdict,
    not_restored,
    trouble,
)

SKEW_MS_MAX: Final = 300_000
_RANGE: Final = re.compile(r"([46][0-9a-f]+)-([46][0-9a-f]+)")
_RESTORATION: Final = re.compile(rb" h[0-9a-f]+-[0-9a-f]+")


class _Written:
    """What was written since the writer's position: points in a table, ranges in a list."""

    def __init__(self) -> None:
        self.points: dict[str, int] = {}
        self.ranges: list[tuple[str, str, int]] = []

    def note(self, tags: str, position: int) -> None:
        for tag in tags.split():
            if match := _RANGE.fullmatch(tag):
                self.ranges.append((match[1], match[2], position))
            else:
                self.points[tag] = position

    def conflict(self, reads: str) -> Conflict | None:
        for tag in reads.split():
            match = _RANGE.fullmatch(tag)
            low, high = (match[1], match[2]) if match else (tag, tag)
            if tag in self.points:
                return Conflict(tag, self.points[tag])
            if match:
                for point, position in self.points.items():
                    if len(point) == len(low) and low <= point <= high:
                        return Conflict(tag, position)
            for first, last, position in self.ranges:
                if len(first) == len(low) and first <= high and last >= low:
                    return Conflict(tag, position)
        return None


class MemoryStream(AppendsWhenFetched):
    """A list of entries under the contract of `engine.stream.Stream`.

    The ids ascend, so that an entry is found by halving: a history may be of millions.
    """

    def __init__(self, clock_ms: Callable[[], int], *, tail_max: int | None = None) -> None:
        """Begin empty; a writer that more than `tail_max` entries are new to is behind."""
        self.entries: list[RawEntry] = []
        self.last_generated = (0, 0)
        self.replicas = 0  # that have everything, and say so at once
        self._marker: Marker | None = None
        self._clock_ms = clock_ms
        self._tail_max = PAGE_ENTRIES if tail_max is None else tail_max

    def append(
        self,
        after: Anchor,
        voided: int,
        now_ms: int,
        proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:
        """See `engine.stream.Stream.append`."""
        if self._marker is not None:
            raise read_only("in memory", self._marker.source)
        tail: list[RawEntry] = []
        written = _Written()
        if stop := self._check_history(after, voided, tail, written):
            return stop
        last_ms, last = self.last_generated
        server_ms = self._clock_ms()
        if abs(server_ms - now_ms) > SKEW_MS_MAX or last_ms - server_ms > SKEW_MS_MAX:
            return _stop("clock", server_ms)
        ms = max(server_ms, last_ms)
        verdicts: list[Verdict] = []
        accepted: list[NewEntry] = []
        for proposal in proposals:
            verdict = self._judge(proposal, written, ms, last + len(accepted) + 1)
            verdicts.append(verdict)
            if isinstance(verdict, Committed):
                for at, entry in enumerate(proposal.entries):
                    written.note(entry.t.decode(), verdict.position + at)
                accepted += proposal.entries
        for at, entry in enumerate(accepted):
            self.entries.append(RawEntry(ms, last + 1 + at, *entry))
        if accepted:
            self.last_generated = (ms, last + len(accepted))
        acknowledged = Acknowledged(self.replicas) if accepted and wanted.replicas else None
        return AppendReply("ok", 0, ms, tuple(verdicts), tail, acknowledged)

    @staticmethod
    def _judge(proposal: Proposal, written: _Written, ms: int, position: int) -> Verdict:
        if found := written.conflict(proposal.reads):
            return found
        if ms < proposal.not_before_ms:
            return Untimely("early")
        if 0 < proposal.not_after_ms < ms:
            return Untimely("late")
        return Committed(position)

    def _check_history(
        self, after: Anchor, voided: int, tail: list[RawEntry], written: _Written
    ) -> AppendReply | None:
        """Fill `tail` and `written`, or say why nothing can be appended."""
        last = self.last_generated[1]
        if last and (not self.entries or self.entries[-1].position != last):
            return _stop("missing", last)
        if after.position > last:
            return _stop("shorter", last)
        known = self.read(after.ms, after.position - 1, 1)
        if after.position and (not known or _anchor(known[0]) != after):
            return _stop("diverged", after.position)
        if last and self.entries[0].position != 1:
            return _stop("missing", 1)
        tail += self.read(after.ms, after.position, self._tail_max + 1)
        if len(tail) > self._tail_max:
            return _stop("behind", last)
        previous, size = after.position, 0
        for entry in tail:
            if _RESTORATION.search(entry.t):
                return _stop("behind", last)
            if entry.position != previous + 1:
                return _stop("missing", previous + 1)
            previous = entry.position
            size += sum(map(len, entry[2:]))
            written.note(entry.t.decode(), entry.position)
        if size > TAIL_BYTES_MAX:
            return _stop("behind", last)
        return None if len(self.entries) == last - voided else _stop("missing", 0)

    def acknowledge(self, through: Anchor, wanted: Durability) -> Acknowledged:
        """See `engine.stream.Stream.acknowledge`; in one process nothing comes while one waits."""
        del wanted
        known = self.read(through.ms, through.position - 1, 1)
        if not known or _anchor(known[0]) != through:
            raise trouble("diverged", 0, through, 0)
        return Acknowledged(self.replicas)

    def head(self) -> Head:
        """See `engine.stream.Stream.head`."""
        return Head(*self.last_generated, len(self.entries))

    def read(self, after_ms: int, after_position: int, entries_max: int) -> list[RawEntry]:
        """See `engine.stream.Stream.read`."""
        begin = bisect_right(self.entries, (after_ms, after_position), key=_id)
        return self.entries[begin : begin + entries_max]

    def read_from(self, ms: int, entries_max: int) -> list[RawEntry]:
        """See `engine.stream.Stream.read_from`."""
        begin = bisect_left(self.entries, (ms, 0), key=_id)
        return self.entries[begin : begin + entries_max]

    def wait(self, after_ms: int, after_position: int, block_ms: int) -> list[RawEntry]:
        """See `engine.stream.Stream.wait`; in one process nothing appears while one waits."""
        del block_ms
        return self.read(after_ms, after_position, PAGE_ENTRIES)

    def dump(
        self, after_ms: int, after_position: int, entries_max: int | None = None
    ) -> list[StoredEntry]:
        """See `engine.stream.Stream.dump`."""
        most = len(self.entries) if entries_max is None else entries_max
        found = self.read(after_ms, after_position, most)
        return [
            (raw.entry_id, (b"e", raw.e, b"s", raw.s, b"t", raw.t, b"c", raw.c)) for raw in found
        ]

    def restore(
        self,
        keep: Anchor,
        head: Head,
        void_through: int,
        now_ms: int,
        entry: NewEntry,
        *,
        promote: bool = False,
    ) -> None:
        """See `engine.stream.Stream.restore`."""
        del now_ms
        if self._marker is not None and not promote:
            raise read_only("in memory", self._marker.source)
        if promote and self._marker is None:
            raise not_restored("no mirror")
        if all((e.ms, e.position, e.c) != keep for e in self.entries):
            raise not_restored("diverged")
        if (head.ms, head.position) != self.last_generated:
            raise not_restored("moved")
        if void_through < head.position:
            raise not_restored("low")
        self.entries = [e for e in self.entries if e.position <= keep.position]
        ms = max(self._clock_ms(), head.ms)
        self.entries.append(RawEntry(ms, void_through + 1, *entry))
        self.last_generated = (ms, void_through + 1)
        self._marker = None

    def marker(self) -> Marker | None:
        """See `engine.mirroring.Target.marker`."""
        return self._marker

    def copy(
        self, after: Anchor, head: Head, marker: Marker, entries: Sequence[RawEntry]
    ) -> CopyStatus:
        """See `engine.mirroring.Target.copy`."""
        before = self._marker
        if before is None and self.last_generated != (0, 0):
            return "occupied"
        if before is not None and before.space_id != marker.space_id:
            return "other"
        if self.last_generated != (head.ms, head.position):
            return "moved"
        if after.position and all((e.ms, e.position, e.c) != after for e in self.entries):
            return "diverged"
        last = self.last_generated
        for raw in entries:
            if raw.ms < last[0] or raw.position <= last[1]:
                return "low"
            last = (raw.ms, raw.position)
        level_at_ms = marker.level_at_ms or (before.level_at_ms if before else 0)
        self._marker = marker._replace(level_at_ms=level_at_ms)
        self.entries = [e for e in self.entries if e[:2] <= (after.ms, after.position)]
        self.entries += entries
        self.last_generated = last
        return "ok"

    def close(self) -> None:
        """See `engine.stream.Stream.close`; there is nothing to give back."""


def _id(entry: RawEntry) -> tuple[int, int]:
    return entry.ms, entry.position


def _anchor(entry: RawEntry) -> Anchor:
    return Anchor(entry.ms, entry.position, entry.c)


def _stop(status: Status, detail: int) -> AppendReply:
    return AppendReply(status, detail, 0, (), [])
