"""What a join of records with the history is, for every form of file."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from replay.attribution.blocks import Block
from replay.attribution.tally import Tally

# Cause: what is wrong. A record with one of the first three is still a record: it has a place in
# the output, where its added fields say that it is broken. The others have none.
CAUSES: Final = {
    "time": "the time cannot be read",
    "address": "an address cannot be read",
    "column": "a column is missing",
    "fields": "another number of fields than the first line",
    "quote": "a quote is opened and never closed",
    "json": "not a JSON object",
    "taken": "a member of the name to be added is there already",
}

_SHOWN_LENGTH: Final = 60


class Joined(NamedTuple):
    """A block with its answers, what of it was put aside, and the counts."""

    output: bytes
    rejected: bytes
    tally: Tally


class Join(Protocol):
    """From a block of whole records to the same records with answers."""

    def __call__(self, block: Block) -> Joined:
        """Join one block; blocks do not depend on each other."""


def shown(text: str) -> str:
    """The beginning of what is wrong, fit for a message."""
    cut = text if len(text) <= _SHOWN_LENGTH else f"{text[: _SHOWN_LENGTH - 3]}..."
    return ascii(cut) if not cut.isprintable() else repr(cut)


def decoded(data: bytes) -> str:
    """The text of some bytes; those that are not UTF-8 come back as they were."""
    return data.decode("utf-8", "surrogateescape")


def encoded(parts: list[str]) -> bytes:
    """The bytes of some texts, one after the other."""
    return "".join(parts).encode("utf-8", "surrogateescape")
