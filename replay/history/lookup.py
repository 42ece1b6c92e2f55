"""What attribution in bulk asks of a history: all that one address ever belonged to, at once.

A flow file asks for the same addresses again and again. So the answer to one question is the
whole life of an address, small enough to keep, and the search in time is the asker's own.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from engine.names import Labels


class TenureSpan(NamedTuple):
    """One tenure on the effective axis: half-open, ``[from_ms, to_ms)``, no end while it lasts.

    ``pool`` is the name that the pool had; ``lease_id`` is the position of the grant.
    """

    from_ms: int
    to_ms: int | None
    owner: str
    lease_id: int
    labels: Labels
    pool: str
    interface: str
    cluster: str | None


class TenureLookup(Protocol):
    """A history that can be asked for everything about an address."""

    def tenures_at(self, address: bytes) -> list[TenureSpan]:
        """The tenures of an address, of blocks that contain it too, in order of their beginning.

        Args:
            address: 4 or 16 raw bytes; an address nobody ever held has no tenures.
        """
