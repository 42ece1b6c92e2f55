"""What a projection that outlives its process must be able to do: keep itself with its checkpoint.

A view is local to who uses it and can be thrown away: the stream rebuilds it. So it never answers
from what it cannot vouch for: one that is damaged, of another space or of another schema version
loads as none, and is built anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.entry import Record
from engine.reading import Checkpoint


class View(Protocol):
    """A projection together with where it is kept."""

    @property
    def name(self) -> str:
        """What it shows, for messages and figures."""

    @property
    def schema_version(self) -> int:
        """The version of its folds and of its form on disk: another one is built anew."""

    def load(self) -> Checkpoint | None:
        """Where it stands, or None if there is nothing that can be gone on from."""

    def apply_all(self, records: Sequence[Record]) -> None:
        """Fold whole commits, in their order. They may stay unsaved until `save`.

        Raises:
            ContradictoryEvent: an event says what cannot be; nothing of it is to be saved.
        """

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep what was folded and the checkpoint, both or neither.

        Raises:
            Unavailable: it cannot be written.
        """

    def discard(self, why: str) -> None:
        """Show nothing, and be built from the beginning; readers keep what there is until then."""

    def digest(self) -> str:
        """The canonical digest of what it shows: 64 hex digits, the same for the same events."""

    def close(self) -> None:
        """Let go of its files."""
