"""What can go wrong, as one tree; and the refusal, which is a value and not an error.

::

    LedgerError                     kind         when
    ├── InvalidInput                invalid      the caller's text or file cannot be understood
    │   └── AddressError            invalid      an address, range or subnet is not acceptable
    ├── IntegrityError              integrity    the stream is not what it must be: stop
    │   ├── MissingEntries          integrity    a hole: positions are not gapless
    │   ├── DamagedEntry            integrity    an entry's bytes do not decode or do not check
    │   │   └── UnknownEvent        integrity    a type, version or level this release cannot read
    │   ├── ContradictoryEvent      integrity    an event that cannot follow what is before it
    │   ├── HistoryDiverged         integrity    shorter than, or different from, what we have seen
    │   └── SpaceReplaced           integrity    another space id under the same name
    ├── Unavailable                 unavailable  the server cannot be used now; nothing was written
    │   └── ClockSkew               unavailable  server and writer disagree about the time
    ├── ReadOnlyMirror              forbidden    a mirror takes copies, and no decision
    ├── UnknownOutcome              unknown      it may have committed: repeat with the command id
    └── ViewDamaged                 unexpected   a local view is not what was written: built anew

Every error says what happened, where, and what to do about it (``hint``). A decision that says
no returns a `Refusal`; only the outermost shell turns one into an exit code or an exception.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal[
    "not_found",
    "exists",
    "conflict",
    "forbidden",
    "exhausted",
    "invalid",
    "unavailable",
    "integrity",
    "unknown",
    "unexpected",
]

# The exit codes of the command line, by kind. Usage errors (2) never reach the engine.
EXIT_CODES: Final[dict[Kind, int]] = {
    "unexpected": 1,
    "not_found": 3,
    "exists": 4,
    "conflict": 4,
    "forbidden": 4,
    "exhausted": 5,
    "invalid": 6,
    "unavailable": 7,
    "integrity": 8,
    "unknown": 9,
}


class Refusal(NamedTuple):
    """A decision's "no": nothing was written, and this is why.

    ``about`` names the field or object spoken of, ``position`` the stream position of the fact
    that stands in the way, where there is one.
    """

    kind: Kind
    message: str
    hint: str = ""
    about: str = ""
    position: int | None = None


class LedgerError(Exception):
    """The root: something this library raises on purpose."""

    kind: Kind = "unexpected"

    def __init__(self, message: str, hint: str = "", position: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.position = position

    def __str__(self) -> str:
        return self.message


class InvalidInput(LedgerError):
    """The caller's text or file cannot be understood; nothing was written."""

    kind: Kind = "invalid"


class AddressError(InvalidInput):
    """An address, range or subnet is not acceptable; ``entry`` is the text as it was given."""

    def __init__(self, entry: str, why: str, hint: str = "") -> None:
        super().__init__(f"{entry!r}: {why}", hint)
        self.entry = entry
        self.why = why


class IntegrityError(LedgerError):
    """The stream is not what it must be. Readers and writers stop; nothing is guessed."""

    kind: Kind = "integrity"


class MissingEntries(IntegrityError):
    """Positions are not gapless: entries were deleted or trimmed by someone else."""


class DamagedEntry(IntegrityError):
    """An entry's bytes do not decode, or do not match their check value or their tags."""


class UnknownEvent(DamagedEntry):
    """An event type, version or format level that this release cannot read."""


class ContradictoryEvent(IntegrityError):
    """An event says what cannot be, after what the events before it said."""


class HistoryDiverged(IntegrityError):
    """The stream is shorter than, or different from, what this client has already seen."""


class SpaceReplaced(IntegrityError):
    """Another space id stands under the same name."""


class Unavailable(LedgerError):
    """The server cannot be used now; nothing was written."""

    kind: Kind = "unavailable"


class ClockSkew(Unavailable):
    """The server's clock and the writer's (or the last entry's) are too far apart."""


class ReadOnlyMirror(LedgerError):
    """The stream is a mirror: it is read, and nothing is decided on it."""

    kind: Kind = "forbidden"


class UnknownOutcome(LedgerError):
    """The reply was lost, or too few replicas have what it rests on. Repeat it with its command id.

    The command may have been committed, and may be lost with the server; repeated, it lands once.
    """

    kind: Kind = "unknown"

    def __init__(self, message: str, hint: str = "", command_id: str = "") -> None:
        super().__init__(message, hint)
        self.command_id = command_id


class ViewDamaged(LedgerError):
    """A view kept on this machine is not what was written: it is thrown away, and built anew."""


class Refused(LedgerError):
    """A `Refusal` raised by the Python API, for callers that asked for exceptions."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message, refusal.hint, refusal.position)
        self.kind = refusal.kind
        self.refusal = refusal
