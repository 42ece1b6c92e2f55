"""What tests of leak collection share: observations in short, whole series on a `TestLedger`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from engine.commands import Undo
from engine.observation import Observation, User
from ipledger import reconciling
from ipledger.operation import Operation
from ipledger.reconciling import Reconciled
from ipledger.writing import Done, Held, Outcome
from tests.builders import TestLedger, address


def seen(at_ms: int, *users: str | tuple[str, str] | tuple[str, str, str]) -> Observation:
    """An observation of addresses, each with an owner and an interface where that is known."""
    told = (user if isinstance(user, tuple) else (user,) for user in users)
    return Observation((User(address(text), *more) for text, *more in told), at_ms)


def operation_of(observed: Observation, **asked: Any) -> Operation[Reconciled]:
    """What is asked of a ledger with an observation."""
    return reconciling.reconcile(observed, evidence="a test", **asked)


class Ran(NamedTuple):
    """What a series did: its answer, and the outcome of each of its commits."""

    answer: Reconciled
    outcomes: list[Done | Held]


def reconcile(
    ledger: TestLedger,
    observed: Observation,
    *,
    command_id: str | None = None,
    between: Callable[[int], None] = lambda _step: None,
    **asked: Any,
) -> Ran:
    """Carry out a whole series; `between` is called before each of its commits."""
    outcome: Outcome | None = None
    operation = operation_of(observed, **asked)
    outcomes: list[Done | Held] = []
    key = command_id or f"reconcile {observed.id.hex()} {ledger.stream.head().position}"
    while not outcomes or operation.goes_on(outcomes[-1]):
        between(len(outcomes))
        call = ledger.call(operation.command_at(outcomes), key)
        call.step = len(outcomes)
        while call.outcome is None:
            ledger.step([call])
        outcome = call.outcome
        assert isinstance(outcome, Done | Held), outcome
        outcomes.append(outcome)
    return Ran(operation.read_all(outcomes), outcomes)


def refusal(ledger: TestLedger, observed: Observation, **asked: Any) -> tuple[str, str]:
    """The kind and the message of a refusal, for which nothing is written."""
    operation = operation_of(observed, **asked)
    refused = ledger.refused(operation.command)
    return refused.kind, refused.message


def undo(ledger: TestLedger, lease: int) -> Undo:
    """The command that undoes the end of a lease, as of what this writer knows."""
    ledger.refresh()
    return Undo(lease, reconciling.find_ended(ledger.stream, ledger.state, lease))


def texts(users: Iterable[User]) -> set[str]:
    """Users in words."""
    return {f"{user.owner}@{int.from_bytes(user.address) & 255}" for user in users}
