"""What a decision answers: events to append, or that nothing needs to be, or a refusal."""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.errors import Refusal
from engine.events import Event, Sealed
from engine.facts import Lease

# The writer replaces it with 16 random bytes: a decision draws no random numbers.
UNSALTED: Final = bytes(16)


class Change(NamedTuple):
    """One event to append, with what is sealed about it (salt still missing)."""

    event: Event
    sealed: Sealed
    cause: int | None = None
    effective_at_ms: int | None = None


class Draft(NamedTuple):
    """These events, unless somebody wrote one of these tags since the decision's position.

    The tag of the command itself is read by every proposal; the writer adds it. The server's
    clock must have reached ``not_before_ms``.
    """

    changes: tuple[Change, ...]
    reads: tuple[str, ...]
    not_before_ms: int = 0


class Nothing(NamedTuple):
    """What was asked for is already so; ``leases`` are those that the owner already holds."""

    leases: tuple[Lease, ...] = ()


Decision = Draft | Nothing | Refusal
