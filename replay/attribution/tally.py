"""What came of a file: how many records, with what answers, and what was wrong with which lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from replay.attribution.answers import STATUSES

FIRST_MAX: Final = 3


class Fault:
    """One cause of broken lines: how many there are, and the first of them with what they say."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[int, str]] = []

    def add(self, line: int, told: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < FIRST_MAX:
            self.first.append((line, told))


class Tally:
    """Counts of a block, or of all blocks so far; line numbers count from 1.

    ``answers`` has a list for each address column, in the order of `STATUSES`. ``rejected`` are
    the broken records that were written aside, ``left_out`` those that had no place anywhere.
    """

    def __init__(self, columns: int) -> None:
        self.lines = 0
        self.records = 0
        self.rejected = 0
        self.left_out = 0
        self.answers = [[0] * len(STATUSES) for _ in range(columns)]
        self.faults: dict[str, Fault] = {}

    @property
    def broken(self) -> int:
        """Records that could not be read, for any cause."""
        return sum(fault.count for fault in self.faults.values())

    def fault(self, cause: str, line: int, told: str) -> None:
        """Count a broken record; `line` is where it begins."""
        self.faults.setdefault(cause, Fault()).add(line, told)

    def of(self, status: str) -> int:
        """How many addresses had that answer, over all columns."""
        return sum(counts[STATUSES.index(status)] for counts in self.answers)

    def add(self, later: Tally) -> None:
        """Add the counts of what follows directly."""
        for cause, fault in later.faults.items():
            mine = self.faults.setdefault(cause, Fault())
            mine.count += fault.count
            shifted: Iterable[tuple[int, str]] = (
                (line + self.lines, told) for line, told in fault.first
            )
            mine.first = [*mine.first, *shifted][:FIRST_MAX]
        for mine_counts, counts in zip(self.answers, later.answers, strict=True):
            for status, count in enumerate(counts):
                mine_counts[status] += count
        self.lines += later.lines
        self.records += later.records
        self.rejected += later.rejected
        self.left_out += later.left_out
