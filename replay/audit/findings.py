"""What an audit finds: breaches, each with the rule, where, and the events behind it."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

from replay.audit.rules import RULES

BREACHES_MAX: Final = 100


class Breach(NamedTuple):
    """Something that must not be.

    ``events`` are the positions of the events behind it, ``position`` among them: what was
    granted before, the pool's definition, and so on. ``doubt`` is the position of something
    earlier that could not be read or is missing: with it, this might be no breach of its own.
    """

    position: int
    rule: str
    says: str
    events: tuple[int, ...]
    doubt: int | None


class Findings:
    """The breaches in the order of their discovery: the first ones whole, the rest as counts."""

    def __init__(
        self, breaches_max: int = BREACHES_MAX, muted: frozenset[str] = frozenset()
    ) -> None:
        """Keep so many; `muted` rules are passed over, for a test that shows what they catch."""
        self.kept: list[Breach] = []
        self.by_rule: Counter[str] = Counter()
        self.doubt: int | None = None
        self._max = breaches_max
        self._muted = muted

    @property
    def total(self) -> int:
        """How many breaches there are, kept or not."""
        return self.by_rule.total()

    def breach(self, rule: str, position: int, says: str, *events: int | None) -> None:
        """Note that a rule is broken at a position; positions that are not known are left out."""
        assert rule in RULES, rule
        if rule in self._muted:
            return
        self.by_rule[rule] += 1
        if len(self.kept) < self._max:
            behind = sorted({position, *(at for at in events if at is not None)})
            doubt = self.doubt if self.doubt != position else None
            self.kept.append(Breach(position, rule, says, tuple(behind), doubt))

    def cannot_see(self, position: int) -> None:
        """Something at a position is missing or unreadable: what follows is less certain."""
        if self.doubt is None:
            self.doubt = position
