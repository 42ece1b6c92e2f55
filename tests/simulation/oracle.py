"""Who held what, answered from a plain list of facts: the naive twin of every history.

A fact is what the simulation asked for and was answered, noted when it happened. No event is
decoded here, and nothing is clever: an answer is found by looking at all facts of an address.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.addresses import Address


@dataclass(slots=True)
class Fact:
    """One tenure, on both axes of time; what is None has not come."""

    lease: int
    address: Address
    pool: str
    owner: str
    interface: str
    uid: str
    labels: tuple[tuple[str, str], ...]
    cluster: str
    granted_ms: int  # when it was recorded
    effective_from_ms: int
    ended_ms: int | None = None  # when that was recorded
    effective_to_ms: int | None = None
    ended_by: str | None = None

    def covers(self, at_ms: int, known_at_ms: int) -> bool:
        """Whether it was so at one time, as far as was recorded by another.

        A tenure holds from its beginning until just before its end.
        """
        if self.granted_ms > known_at_ms or at_ms < self.effective_from_ms:
            return False
        end_is_known = self.ended_ms is not None and self.ended_ms <= known_at_ms
        return not end_is_known or self.effective_to_ms is None or at_ms < self.effective_to_ms


class Oracle:
    """All facts, by address."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._by_address: dict[Address, list[Fact]] = {}
        for fact in facts:
            self._by_address.setdefault(fact.address, []).append(fact)

    @property
    def addresses(self) -> list[Address]:
        """Every address that was ever held, in order."""
        return sorted(self._by_address)

    def tenures(self, address: Address) -> list[Fact]:
        """All tenures of an address, in order of their grant."""
        return self._by_address.get(address, [])

    def holder(self, address: Address, at_ms: int, known_at_ms: int) -> Fact | None:
        """Who held an address at one time, as far as was recorded by another; None if nobody."""
        found = [fact for fact in self.tenures(address) if fact.covers(at_ms, known_at_ms)]
        assert len(found) <= 1, f"two held it at {at_ms}: {found}"
        return found[0] if found else None
