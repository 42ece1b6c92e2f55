"""Who held an address at a time: one search among the moments at which the answer changed.

The life of an address is laid out once, as edges and the answers between them, and kept: flow
files ask for the same addresses again and again. What the history does not reach is part of it,
so that "unknown" costs no question of its own.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from engine.addresses import parse_address
from engine.errors import AddressError
from replay.history.lookup import TenureLookup, TenureSpan

STATUSES: Final = ("held", "unheld", "unknown", "disputed", "none", "broken")
HELD, UNHELD, UNKNOWN, DISPUTED, NONE, BROKEN = range(len(STATUSES))

# What flow logs write where a record has no address.
_NO_ADDRESS: Final = frozenset({"", "-"})
_TEXT_LENGTH_MAX: Final = 100  # longer than any address; not worth keeping

# How many answers a generation of lives may have. A tenure is two of them and takes some 300 bytes,
# and there are two generations: 200 MB at most.
ANSWERS_MAX: Final = 600_000


# What happens at a moment of a life, in the order in which it does.
_ENDS, _BEGINS, _KNOWN_NO_MORE = range(3)


class Known(NamedTuple):
    """What the history reaches: from its first event to the moment it was read, half-open.

    At ``until_ms`` and later nobody can say who holds what: the next event may already be on its
    way. ``position`` is that of the last event that was read.
    """

    from_ms: int
    until_ms: int
    position: int


class Rendered(NamedTuple):
    """An answer as it is written behind a record, and which of `STATUSES` it is."""

    text: str
    status: int


Answer = TenureSpan | int | Rendered
Rendering = Callable[[int, TenureSpan | None], str]


class Life(NamedTuple):
    """``answers[i]`` holds before ``edges[i]``, the last of them for ever after.

    The edges lie side by side in memory: flow records ask at random, and a search among number
    objects waited for memory at each step.
    """

    edges: Sequence[int]
    answers: list[Answer]


class Field(NamedTuple):
    """Something that is added to a record; `value` is a plain value of JSON."""

    name: str
    value: Callable[[TenureSpan], object]


FIELDS: Final = {
    field.name: field
    for field in (
        Field("owner", lambda span: span.owner),
        Field("interface", lambda span: span.interface),
        Field("lease", lambda span: span.lease_id),
        Field("labels", lambda span: dict(span.labels)),
        Field("pool", lambda span: span.pool),
        Field("cluster", lambda span: span.cluster),
    )
}
FIELDS_USUAL: Final = ("owner", "lease", "labels", "pool")


def life_of(spans: list[TenureSpan], known: Known) -> Life:
    """Lay out the life of an address.

    A span from before the first event (a fact told late) counts. Two spans at once are what the
    rules forbid; should a history have them, the answer is "disputed" and names nobody.
    """
    marks = [(known.from_ms, _BEGINS, -1), (known.until_ms, _KNOWN_NO_MORE, -1)]
    for at, span in enumerate(spans):
        if span.to_ms is None or span.from_ms < span.to_ms:
            marks.append((span.from_ms, _BEGINS, at))
            if span.to_ms is not None:
                marks.append((span.to_ms, _ENDS, at))
    marks.sort()
    edges: list[int] = []
    answers: list[Answer] = [UNKNOWN]
    now: dict[int, TenureSpan] = {}
    unheld = UNKNOWN
    for ms, what, at in marks:
        if what == _KNOWN_NO_MORE:
            answer: Answer = UNKNOWN
        else:
            if at < 0:
                unheld = UNHELD
            elif what == _BEGINS:
                now[at] = spans[at]
            else:
                del now[at]
            answer = next(iter(now.values())) if len(now) == 1 else DISPUTED if now else unheld
        if edges and edges[-1] == ms:
            answers[-1] = answer
        else:
            edges.append(ms)
            answers.append(answer)
        if what == _KNOWN_NO_MORE:
            break
    return Life(array("q", edges), answers)


class Answers:
    """The answers to the addresses of a file, each rendered once; bounded.

    Two generations stand in for a list in order of use: what is asked for moves to the young one,
    and when that is full it becomes the old one, whose predecessor is forgotten.
    """

    def __init__(
        self,
        lookup: TenureLookup,
        known: Known,
        rendering: Rendering,
        answers_max: int = ANSWERS_MAX,
    ) -> None:
        self.young: dict[str, Life] = {}
        self._without = [Rendered(rendering(at, None), at) for at in range(len(STATUSES))]
        self.broken = self._without[BROKEN]
        self._old: dict[str, Life] = {}
        self._weight = 0
        self._weight_max = answers_max
        self._lookup = lookup
        self._known = known
        self._rendering = rendering
        self._none = Life([], [self._without[NONE]])

    def at(self, text: str, at_ms: int) -> Rendered:
        """The answer for an address as it was written, at a time."""
        life = self.young.get(text) or self.life(text)
        place = bisect_right(life.edges, at_ms)
        answer = life.answers[place]
        return answer if isinstance(answer, Rendered) else self.render(life, place)

    def life(self, text: str) -> Life:
        """The life of an address that is not in the young generation, and will be."""
        life = self._old.get(text)
        if life is None:
            life = self._found(text)
        if len(text) <= _TEXT_LENGTH_MAX:
            self._keep(text, life)
        return life

    def render(self, life: Life, place: int) -> Rendered:
        """The rendered form of an answer, which takes its place."""
        answer = life.answers[place]
        if isinstance(answer, TenureSpan):
            rendered = Rendered(self._rendering(HELD, answer), HELD)
        else:
            assert isinstance(answer, int), "what is rendered is not rendered again"
            rendered = self._without[answer]
        life.answers[place] = rendered
        return rendered

    def _found(self, text: str) -> Life:
        trimmed = text.strip()
        if trimmed in _NO_ADDRESS:
            return self._none
        try:
            address = parse_address(trimmed)
        except AddressError:
            return Life([], [self.broken])
        return life_of(self._lookup.tenures_at(address), self._known)

    def _keep(self, text: str, life: Life) -> None:
        self._weight += len(life.answers)
        if self._weight > self._weight_max:
            # In place: whoever loops over records holds on to the young generation itself.
            self._old = dict(self.young)
            self.young.clear()
            self._weight = len(life.answers)
        self.young[text] = life
