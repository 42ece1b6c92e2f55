"""Whether what an answer rests on is kept as its space promises; changes with that promise.

An answer that says that something is so (a commit, one made before, "it is so already") waits
until enough replicas have everything that the state was read from. A refusal promises nothing and
waits for nothing (ADR 0031).
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.entry import Anchor
from engine.errors import LedgerError, Refusal, Unavailable, UnknownOutcome
from engine.model import LOCAL, Durability
from engine.stream import Acknowledged, Stream
from ipledger.writing import Call, Outcome, Recall

Answers = Sequence[tuple[Call, Outcome | Recall]]


class Assurance:
    """What is known of how far the replicas have come."""

    def __init__(self) -> None:
        self._durability = LOCAL
        self._through = 0  # up to this position enough replicas have everything

    def shortfall(
        self,
        stream: Stream,
        durability: Durability,
        through: Anchor,
        told: Acknowledged | None = None,
    ) -> str | None:
        """Why an answer must not be given that rests on what stands up to an entry.

        `told` is what is known already from waiting for just that.

        Raises:
            HistoryDiverged: the entry is not there any more.
        """
        if durability == self._durability and self._through >= through.position:
            return None
        try:
            acknowledged = told or stream.acknowledge(through, durability)
        except (Unavailable, UnknownOutcome) as error:
            return error.message
        if durability != self._durability:
            self._durability, self._through = durability, 0
        if acknowledged.replicas >= durability.replicas:
            self._through = max(self._through, through.position)
        return _too_few(durability, acknowledged)


def _too_few(durability: Durability, acknowledged: Acknowledged) -> str | None:
    """How many replicas are missing, in words; None if there are enough."""
    if acknowledged.replicas >= durability.replicas:
        return None
    disk = " on disk" if durability.fsync else ""
    why = f": {acknowledged.why}" if acknowledged.why else ""
    return (
        f"{acknowledged.replicas} of {durability.replicas} replicas acknowledged it{disk} "
        f"within {durability.ack_timeout_ms} ms{why}"
    )


def withheld(answers: Answers, why: str) -> Answers:
    """The answers, those that must not be given replaced by one that says so."""
    return [
        (call, outcome if isinstance(outcome, Refusal | LedgerError) else _unassured(call, why))
        for call, outcome in answers
    ]


def promises(answers: Answers) -> bool:
    """Whether any of them says that something is so."""
    return any(not isinstance(outcome, Refusal | LedgerError) for _, outcome in answers)


def _unassured(call: Call, why: str) -> UnknownOutcome:
    command_id = call.claim.command_id or call.key.hex()
    message = f"it stands on the server, but may be lost with it: {why} (command id {command_id})"
    hint = f"repeat it as it was with --command-id {command_id}: it waits again, and lands once"
    return UnknownOutcome(message, hint, command_id)
