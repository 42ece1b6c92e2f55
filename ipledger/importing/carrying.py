"""Carrying out a plan: a series of commits, each of which stands whatever becomes of the next.

An import that was interrupted is run again: what is held by then is left as it is, so it goes on
where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from engine import events as ev
from engine.commands import Adopt, Adopted, Apply, Command, SetAside, request_hash
from engine.decide_adopt import adoption
from engine.entry import COMMIT_BYTES_MAX
from engine.errors import LedgerError, Refusal, Refused
from engine.range_index import PoolFinder
from ipledger.importing.found import FoundLease
from ipledger.importing.planning import Plan, RefusedLease
from ipledger.ledger import Ledger
from ipledger.operation import Operation, make_claim
from ipledger.writing import Done, Held

# As many as make a commit of some hundred kilobytes: others get their turn between two of them.
CHUNK_LEASES: Final = 1_000
_CHUNK_BYTES: Final = COMMIT_BYTES_MAX * 3 // 4
_BARE_BYTES: Final = 360  # of a grant with its tags and its commit, without its texts
_ASIDE_AT_ONCE: Final = 256


class Claims(NamedTuple):
    """Who imports, why, and under which command id; each commit's own is made of that."""

    command_id: str | None = None
    reason: str | None = None


_NOBODY: Final = Claims()


class Imported(NamedTuple):
    """What an import has written; ``refused`` are those that became so while it went on."""

    leases: int
    refused: tuple[RefusedLease, ...]


def carry_out(
    ledger: Ledger,
    plan: Plan,
    source: str,
    claims: Claims = _NOBODY,
    on_progress: Callable[[int], None] = lambda _leases: None,
) -> Imported:
    """Write what the plan says is missing; `on_progress` is told how many leases are done.

    Raises:
        Refused: the definitions cannot be, or something cannot be set aside.
        LedgerError: it was interrupted; what was written stands.
    """
    done = written = 0
    refused: list[RefusedLease] = []
    try:
        _run(ledger, Apply(plan.objects) if plan.objects else None, claims)
        for leases, behind in ((plan.covered, plan.later), (plan.leases, ())):
            for chunk in _chunks(leases):
                granted, late = _adopt(ledger, chunk, source, claims)
                done, written, refused = done + len(chunk), written + granted, [*refused, *late]
                on_progress(done)
            _run(ledger, Apply(behind) if behind else None, claims)
        _set_aside(ledger, plan.aside, claims)
    except LedgerError as error:
        if written and error.kind in {"unavailable", "unknown"}:
            error.hint = f"{written} leases are imported; run it again as it was to go on"
        raise
    return Imported(written, tuple(refused))


def _operation(command: Command, claims: Claims) -> Operation[Done | Held]:
    # A command id names one command: each commit's is made from it, and from what it asks for.
    command_id = claims.command_id
    if command_id is not None:
        command_id = f"{command_id}/{request_hash(command).hex()}"
    key, claim = make_claim(command_id, None, claims.reason)
    return Operation(command, claim, key, None, lambda outcome: outcome)


def _run(ledger: Ledger, command: Command | None, claims: Claims) -> None:
    if command is not None:
        ledger.run(_operation(command, claims))


def _adopt(
    ledger: Ledger, chunk: Sequence[FoundLease], source: str, claims: Claims
) -> tuple[int, list[RefusedLease]]:
    """One commit of leases: how many were granted, and which could not be any more."""
    command = Adopt(tuple(entry.lease for entry in chunk), source)
    granted: set[tuple[bytes, int]] = set()
    try:
        outcome = ledger.run(_operation(command, claims))
    except Refused as error:
        if error.refusal.about == "level":
            raise
    else:
        for record in outcome.records if isinstance(outcome, Done) else ():
            if isinstance(record.event, ev.LeaseGranted):
                granted.add((bytes(record.event.address), record.event.prefix_length))
    if len(granted) == len(chunk):
        return len(granted), []
    return len(granted), list(_refused_since(ledger, chunk, granted))


def _refused_since(
    ledger: Ledger, chunk: Sequence[FoundLease], granted: set[tuple[bytes, int]]
) -> Iterator[RefusedLease]:
    """Those of a commit that somebody else was faster with."""
    finder = PoolFinder(ledger.state.pools())
    now_ms = ledger.writer.server_now_ms()
    for entry in chunk:
        if (bytes(entry.lease.address), entry.lease.prefix_length) not in granted:
            verdict = adoption(ledger.state, finder, entry.lease, now_ms)
            if isinstance(verdict, Refusal):
                yield RefusedLease(entry, verdict)


def _set_aside(ledger: Ledger, aside: Sequence[SetAside], claims: Claims) -> None:
    for at in range(0, len(aside), _ASIDE_AT_ONCE):
        commands = aside[at : at + _ASIDE_AT_ONCE]
        answers: list[Any] = ledger.run_all([_operation(one, claims) for one in commands])
        for answer in answers:
            if isinstance(answer, LedgerError):
                raise answer


def _chunks(leases: Sequence[FoundLease]) -> Iterator[list[FoundLease]]:
    """Leases for one commit each."""
    chunk: list[FoundLease] = []
    size = 0
    for entry in leases:
        weight = _weight(entry.lease)
        if chunk and (len(chunk) == CHUNK_LEASES or size + weight > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += weight
    if chunk:
        yield chunk


def _weight(lease: Adopted) -> int:
    """About as many bytes as its grant takes in the stream, rather more than fewer."""
    texts = [lease.owner, lease.interface, lease.uid, lease.cluster]
    texts += [part for label in lease.labels for part in label]
    return _BARE_BYTES + sum(len(text.encode()) + 4 for text in texts if text)
