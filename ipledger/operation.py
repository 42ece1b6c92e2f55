"""What an operation is: a command with who claims it, and the way to read its answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from engine.commands import Claim, Command, Delete, Reconcile, Release, command_key
from engine.decide_time import SWEEP_ENDS_MAX
from engine.endings import ENDS_BYTES_MAX, weight
from engine.entry import Record
from engine.errors import LedgerError, Refusal, Refused
from engine.facts import Lease
from engine.names import check_text
from ipledger.writing import Done, Held, Outcome

Answer = TypeVar("Answer")


class Applied(NamedTuple):
    """What `apply` or `delete` did to one object: ``created``, ``configured`` or ``deleted``."""

    kind: str
    name: str
    did: str


class Allocated(NamedTuple):
    """The leases that the owner now holds; ``repeated`` if the command had been committed before.

    ``granted`` are new, ``held`` were held already (by id).
    """

    granted: tuple[Lease, ...]
    held: tuple[int, ...]
    repeated: bool


class Released(NamedTuple):
    """The leases that ended, by id."""

    leases: tuple[int, ...]
    records: tuple[Record, ...]


class Operation(NamedTuple, Generic[Answer]):
    """A command, who claims it under which id, and how its answer is read.

    With ``series`` it may take several commits under the one command id: it goes on while a
    commit ended about as much as one may.
    """

    command: Command
    claim: Claim
    key: bytes
    timeout_s: float | None
    read: Callable[[Done | Held], Answer]
    series: bool = False

    def goes_on(self, outcome: Done | Held) -> bool:
        """Whether there may be more to do than the last commit did."""
        if not self.series or isinstance(outcome, Held):
            return False
        if isinstance(self.command, Reconcile):
            return True  # what was told may be enough to end something
        # No single end is as large as half of them may be, so a smaller commit was not cut short.
        size = sum(weight(record.event, record.sealed) for record in outcome.records)
        return len(outcome.records) >= SWEEP_ENDS_MAX or size > ENDS_BYTES_MAX // 2

    def command_at(self, outcomes: Sequence[Done | Held]) -> Command:
        """What the commit behind `outcomes` is asked.

        Later commits of a series are bounded to what was there before the first one, so that a
        series that is repeated when it is long done does not touch what has been made since.
        """
        if not outcomes or not isinstance(outcomes[0], Done):
            return self.command
        first = outcomes[0].records[0].position
        match self.command:
            case Delete():
                # What the first commit deleted may be gone by now.
                return self.command._replace(before=first, ignore_not_found=True)
            case Release():
                return self.command._replace(before=first)
            case _:
                return self.command

    def read_all(self, outcomes: Sequence[Done | Held]) -> Answer:
        """The answer to all commits of a series together."""
        if len(outcomes) == 1:
            return self.read(outcomes[0])
        done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
        records = tuple(record for outcome in done for record in outcome.records)
        return self.read(Done(records, all(outcome.repeated for outcome in done)))


def accepted(
    outcome: Outcome, operation: Operation[Any] | None = None, step: int = 0
) -> Done | Held:
    """The outcome, unless it is a no. In a series it is told what stands and how to go on.

    Raises:
        Refused: it is a refusal.
        LedgerError: it is an error.
    """
    if isinstance(outcome, Refusal):
        raise Refused(outcome)
    if isinstance(outcome, LedgerError):
        if operation is not None and step:
            command_id = operation.claim.command_id or operation.key.hex()
            outcome.hint = (
                f"{step} commits of it stand; repeat it with --command-id {command_id} to go on"
            )
        raise outcome
    return outcome


class Swept(NamedTuple):
    """What was past its time and has ended now: leases, reservations and quarantines by id."""

    leases: tuple[int, ...]
    reservations: tuple[str, ...]
    quarantines: tuple[int, ...]


class Aside(NamedTuple):
    """What was set aside now, and on which leases it waits for their end."""

    quarantines: tuple[int, ...]
    leases: tuple[int, ...]


def make_claim(
    command_id: str | None, actor: str | None, reason: str | None
) -> tuple[bytes, Claim]:
    """The command's key and what is sealed about who asks; an id is made when there is none."""
    key, text = command_key(command_id) if command_id is not None else (os.urandom(16), None)
    return key, Claim(
        None if actor is None else check_text(actor, "actor"),
        None if reason is None else check_text(reason, "reason"),
        text,
    )
