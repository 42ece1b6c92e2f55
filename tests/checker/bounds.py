"""Where the stream can have ended at a moment, by what is known from outside alone.

Two kinds of facts are sound whatever the product believes: that at a moment the stream *had
reached* a position, since an answer that rests on it had come; and that it *had not yet*, since
what stands there was not asked for before. Both come of calls, and of somebody who watches.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import Final, NamedTuple

NO_END: Final = 1 << 62


class Seen(NamedTuple):
    """Somebody asked where the stream ends: it was there after the question, before the answer."""

    asked_ns: int
    answered_ns: int
    position: int


class Ends:
    """The least and the greatest position at which a stream can have ended at a moment."""

    def __init__(self, reached: list[tuple[int, int]], not_yet: list[tuple[int, int]]) -> None:
        """Take facts as pairs of a moment and a position."""
        reached, not_yet = sorted(reached), sorted(not_yet)
        self._reached_ns = [ns for ns, _ in reached]
        self._reached = list(accumulate((at for _, at in reached), max))
        self._not_yet_ns = [ns for ns, _ in not_yet]
        self._not_yet = list(accumulate((at for _, at in reversed(not_yet)), min))[::-1]

    def least(self, ns: int) -> int:
        """What it had surely reached before then."""
        known = bisect_left(self._reached_ns, ns)
        return self._reached[known - 1] if known else 0

    def most(self, ns: int) -> int:
        """What it had surely not gone beyond by then."""
        known = bisect_left(self._not_yet_ns, ns)
        return self._not_yet[known] - 1 if known < len(self._not_yet) else NO_END
