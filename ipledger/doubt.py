"""What is told when nobody knows whether a command was committed, or when its time is over."""

from __future__ import annotations

from engine.errors import LedgerError, Unavailable, UnknownOutcome
from engine.stream import AppendReply
from ipledger.writing import Batch, Call


def gone() -> AppendReply:
    """The answer to an append that was fetched before and did not come."""
    raise UnknownOutcome("the reply was lost")


def doubt(batch: Batch) -> None:
    """Note of what a batch proposes that it may stand."""
    for member in batch.members:
        member.call.in_doubt = True


def in_doubt(call: Call) -> UnknownOutcome:
    """The answer to a call of which a reply was lost."""
    command_id = call.claim.command_id or call.key.hex()
    message = f"the reply was lost: the command may have been committed (command id {command_id})"
    hint = f"repeat it as it was with --command-id {command_id}: it will land once"
    return UnknownOutcome(message, hint, command_id)


def too_late(call: Call) -> LedgerError:
    """The answer to a call that is past its deadline."""
    if call.in_doubt:
        return in_doubt(call)
    message = "the time for this command ran out; nothing was written"
    return Unavailable(message, "try again, or give it more time with --timeout")
