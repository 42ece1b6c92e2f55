"""Forgeries by their names: what each of them breaks, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.replay.forger import Forger

# Given the history of `Forger`, it forges and returns the position of the breach.
Forge = Callable[[Forger], int]


class Forgeries(dict[str, tuple[str, Forge]]):
    """The rule that each forgery breaks, and the forgery."""

    def one(self, rule: str, name: str) -> Callable[[Forge], Forge]:
        """Enter a function as the forgery of a name."""

        def enter(forge: Forge) -> Forge:
            self.several(rule, {name: forge})
            return forge

        return enter

    def several(self, rule: str, forgeries: Mapping[str, Forge]) -> None:
        """Enter forgeries that all break one rule."""
        for name, forge in forgeries.items():
            assert name not in self, name
            self[name] = (rule, forge)


def just_before(at_s: int) -> float:
    """How long to wait behind the history, so that it is a millisecond early."""
    return at_s - 14 - 0.001


def write(*said: Any, **commit: Any) -> Forge:
    """A forgery that goes on with one commit."""
    return lambda history: history.write(*said, **commit)
