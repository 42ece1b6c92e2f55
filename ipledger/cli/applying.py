"""What manifests say beside pools and reservations: the space, and what somebody holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipledger.ledger import Ledger
    from ipledger.manifests import Parsed, StatedSpace
    from ipledger.operation import Applied


def check_space(stated: Sequence[StatedSpace], space: str) -> int | None:
    """Return the format level that manifests want of the space that the command speaks of.

    Raises:
        InvalidInput: they speak of another space, or of a level that is not known.
    """
    from engine.events import LEVEL

    for wanted in stated:
        if wanted.name != space:
            message = f"the manifests are of space {wanted.name}, the command is of space {space}"
            hint = f"use --space {wanted.name}, or leave the document of kind Space out"
            raise InvalidInput(message, hint)
        if wanted.level is not None and wanted.level > LEVEL:
            message = f"format level {wanted.level} is not known; this release knows {LEVEL}"
            raise InvalidInput(message, "use a release that knows it")
    return max((wanted.level or 1 for wanted in stated), default=None)


def put_space(ledger: Ledger, level: int, *, dry_run: bool) -> Applied:
    """Make the space if it is not there, and raise its format level if it has a lower one."""
    from ipledger import operations
    from ipledger.operation import Applied

    if not ledger.position:
        if not dry_run:
            ledger.create_space()
        return Applied("space", ledger.space, "created")
    if level <= ledger.state.level:
        return Applied("space", ledger.space, "unchanged")
    if not dry_run:
        ledger.run(operations.raise_level(level))
    return Applied("space", ledger.space, "configured")


def refuse_held(parsed: Parsed, what: str) -> None:
    """Leases and quarantines are not definitions.

    Raises:
        InvalidInput: there are some.
    """
    for number, kind in ((len(parsed.leases), "Lease"), (len(parsed.quarantines), "Quarantine")):
        if number:
            told = f"{number} documents of kind {kind} are" if number > 1 else (
                f"a document of kind {kind} is"
            )  # fmt: skip
            message = f"{told} not {what}: nothing was changed"
            raise InvalidInput(message, "`ipledger export --definitions` has none")
