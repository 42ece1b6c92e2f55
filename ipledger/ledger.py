"""A space's ledger as Python sees it: `connect`, then ask and tell."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, Unpack

from engine import tags
from engine.commands import Claim
from engine.decide import decide
from engine.draft import Nothing
from engine.entry import ORIGIN, Anchor, Commit, Header, Record
from engine.errors import InvalidInput, LedgerError, Refusal, Refused, UnknownOutcome
from engine.events import LEVEL, DurabilitySet, Event, Sealed, SpaceCreated
from engine.explaining import Explanation
from engine.model import DEFAULT_INTERFACE, LOCAL, Durability
from engine.names import DEFAULT_SPACE, check_name, check_text
from engine.placement import Placement
from engine.reading import find_entry
from engine.stream import NewEntry, Proposal, Stream, trouble
from engine.wire import decode_entry, encode_commit, encode_entry
from ipledger import durability, operations, reconciling
from ipledger.asking import Around
from ipledger.high_water import HighWaterFile
from ipledger.local import STATE, view_path
from ipledger.opening import Opener, Progress
from ipledger.operation import Operation, accepted
from ipledger.reaching import open_server
from ipledger.writer import Writer
from ipledger.writing import Done, Held
from projections.digest import state_digest
from projections.lease_fields import granted_lease
from projections.state import LedgerState
from projections.state_view import StateView

TIMEOUT_S: Final = 30.0

P = ParamSpec("P")
Answer = TypeVar("Answer")


def _waits(
    make: Callable[P, Operation[Answer]],
) -> Callable[Concatenate[Ledger, P], Answer]:
    """The method that runs an operation and waits for its answer."""

    def method(self: Ledger, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return self.run(make(*args, **kwargs))

    method.__doc__ = make.__doc__
    method.__name__ = make.__name__
    return method


class Ledger:
    """One space: its current state, and the ways to change it. Safe to share between threads.

    A refusal is raised as `Refused`, with ``kind``, ``message`` and ``hint``.
    """

    def __init__(
        self,
        stream: Stream,
        space: str = DEFAULT_SPACE,
        *,
        memory: HighWaterFile | None = None,
        actor: str | None = None,
        timeout_s: float = TIMEOUT_S,
        remember_every_s: float = 1.0,
        revive: Callable[[], None] | None = None,
        view: StateView | None = None,
        stays: bool = True,
        on_progress: Progress | None = None,
    ) -> None:
        """Open `space` on `stream` and read it to its end.

        With `view`, the state is taken from it as far as it goes, and kept for the next process;
        one that `stays` holds all of it in memory. `on_progress` is told the position that was
        reached, and the last one.

        With `memory`, what was seen is remembered on opening and closing and, while changes are
        made, every `remember_every_s` seconds; 0 remembers it before each answer, as a
        short-lived client must.

        Raises:
            InvalidInput: the space or the actor cannot be named so.
            IntegrityError: the stream is not what it must be, or not what was seen before.
            Unavailable: it cannot be read.
        """
        self.space = check_name(space, "space")
        self.actor = None if actor is None else check_text(actor, "actor")
        self.timeout_s = timeout_s
        self._memory = memory
        self._remembered = memory.load() if memory else None
        self._remember_every_s = remember_every_s
        self._next_remember_s = 0.0
        opener = Opener(stream, self._remembered, view, stays=stays, on_progress=on_progress)
        try:
            continuity, state = opener.open()
            self.writer = Writer(
                stream,
                continuity,
                state,
                on_advance=self._advance if memory else None,
                revive=revive,
                anew=opener.anew,
            )
            self._advance(continuity.anchor, state)
        except BaseException:
            stream.close()
            raise

    def close(self) -> None:
        """Remember what was seen, and close the connection."""
        try:
            self._next_remember_s = 0.0
            self._advance(self.writer.continuity.anchor, self.state)
        finally:
            self.writer.stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def state(self) -> LedgerState:
        """The state as of the last answer or `refresh`."""
        return self.writer.state

    @property
    def position(self) -> int:
        """The position that the state is as of; 0 for a space that does not exist."""
        return self.writer.state.position

    def refresh(self) -> int:
        """Bring the state up to the stream's end; return its position."""
        self.writer.refresh()
        return self.position

    def digest(self) -> str:
        """The canonical digest of the state."""
        return state_digest(self.state)

    def run(self, operation: Operation[Answer]) -> Answer:
        """Carry out an operation and wait for its answer.

        Raises:
            Refused: the answer is no.
            LedgerError: it could not be carried out, or its outcome is unknown.
        """
        self.ensure_space()
        timeout_s = self.timeout_s if operation.timeout_s is None else operation.timeout_s
        outcomes: list[Done | Held] = []
        while not outcomes or operation.goes_on(outcomes[-1]):
            step = len(outcomes)
            outcome = self.writer.call(
                operation.command_at(outcomes),
                self.claim(operation),
                operation.key,
                timeout_s,
                step,
            )
            outcomes.append(accepted(outcome, operation, step))
        return operation.read_all(outcomes)

    def preview(self, operation: Operation[Answer]) -> Answer:
        """What an operation would do now. Nothing is written; positions and times are 0.

        Raises:
            Refused: the answer would be no.
            LedgerError: the stream cannot be read.
        """
        self.refresh()
        decision = decide(
            self.state, operation.command, operation.claim, Placement(),
            self.writer.server_now_ms(),
        )  # fmt: skip
        if isinstance(decision, Refusal):
            raise Refused(decision)
        if isinstance(decision, Nothing):
            return operation.read(Held(decision.leases))
        header, commit = Header(operation.key), Commit(bytes(8), 0, 1, 0, 0, bytes(16))
        records = (
            Record(0, 0, change.event, change.sealed, header, commit) for change in decision.changes
        )
        return operation.read(Done(tuple(records)))

    def run_all(self, operations_: Sequence[Operation[Answer]]) -> list[Answer | LedgerError]:
        """Carry out operations that do not depend on each other, sharing their round trips.

        Each stands or falls on its own: what went wrong with one is returned in its place.
        """
        self.ensure_space()
        calls = [
            self.writer.make_call(
                operation.command,
                self.claim(operation),
                operation.key,
                self.timeout_s if operation.timeout_s is None else operation.timeout_s,
                lambda _call: None,
            )
            for operation in operations_
        ]
        for call in calls:
            self.writer.submit(call)
        self.writer.drive()
        answers: list[Answer | LedgerError] = []
        for call, operation in zip(calls, operations_, strict=True):
            assert call.outcome is not None, "driving ends when every call is answered"
            try:
                answers.append(operation.read(accepted(call.outcome)))
            except LedgerError as error:
                answers.append(error)
        return answers

    def explain(
        self,
        address: str,
        *,
        owner: str | None = None,
        interface: str = DEFAULT_INTERFACE,
        at: str | None = None,
        labels: Mapping[str, str] | None = None,
        **around: Unpack[Around],
    ) -> Explanation:
        """Why an address would, or would not, be given to an owner: every rule that speaks.

        Without an owner, to anybody who holds nothing. `at` is a position or a time in the past
        (``"17"``, ``"-2h"``); `labels` and `around` are as in `allocate`.

        Raises:
            InvalidInput: an argument cannot be understood, or the time is none of the space's.
            LedgerError: the stream cannot be read, or is not what it must be.
        """
        from ipledger.explaining import Asker, explain_at, read_address, state_at

        wanted, asker = read_address(address), Asker.read(owner, interface, labels, around)
        return explain_at(self.writer.stream, state_at(self, at), wanted, asker)

    def claim(self, operation: Operation[Any]) -> Claim:
        """The operation's claim, with this ledger's actor where it names none."""
        claim = operation.claim
        if claim.actor is not None or self.actor is None:
            return claim
        return claim._replace(actor=self.actor)

    apply = _waits(operations.apply)
    delete = _waits(operations.delete)
    allocate = _waits(operations.allocate)
    release = _waits(operations.release)
    renew = _waits(operations.renew)
    sweep = _waits(operations.sweep)
    quarantine = _waits(operations.quarantine)
    unquarantine = _waits(operations.unquarantine)
    raise_level = _waits(operations.raise_level)
    set_durability = _waits(durability.set_durability)
    reconcile = _waits(reconciling.reconcile)
    undo = reconciling.undo_end

    def ensure_space(self) -> None:
        """Make the space `default` on its first use; any other must have been created.

        Raises:
            Refused: ``not_found``.
        """
        if self.position:
            return
        if self.space != DEFAULT_SPACE:
            hint = f"`ipledger space create {self.space}` makes it, if it is no typing error"
            raise Refused(Refusal("not_found", f"space {self.space} does not exist", hint, "space"))
        self.create_space()

    def create_space(self, *, reason: str | None = None, promises: Durability = LOCAL) -> bool:
        """Write position 1, and what the space promises; False if somebody else has just done so.

        Raises:
            InvalidInput: the reason is no text.
            UnknownOutcome: too few replicas have it.
            LedgerError: the stream cannot be written.
        """
        event = SpaceCreated(os.urandom(16), self.space, LEVEL)
        events: list[Event] = [event]
        if promises != LOCAL:
            events.append(DurabilitySet(*promises))
        header, nonce = Header(os.urandom(16)), os.urandom(8)
        why = None if reason is None else check_text(reason, "reason")
        entries: list[NewEntry] = []
        for part, what in enumerate(events):
            sealed = Sealed(os.urandom(16), actor=self.actor, reason=why)
            e, s, t = encode_entry(what, sealed, header)
            commit = Commit(nonce, part, len(events), 0, 0, bytes(16))
            entries.append(NewEntry(e, s, t, encode_commit(commit, e, s)[1]))
        proposal = Proposal(tags.SPACE, tuple(entries))
        now_ms = time.time_ns() // 1_000_000
        reply = self.writer.stream.append(ORIGIN, 0, now_ms, [proposal])
        if reply.status not in {"ok", "behind"}:
            raise trouble(reply.status, reply.detail, ORIGIN, now_ms)
        self.writer.refresh()
        if self.state.space is None or self.state.space.space_id != event.space_id:
            return False
        if missing := self.writer.shortfall():
            message = f"space {self.space} stands on the server, but may be lost with it: {missing}"
            hint = f"`ipledger --space {self.space} doctor` says which replicas there are"
            raise UnknownOutcome(message, hint)
        return True

    def lease_as_granted(self, lease_id: int) -> tuple[Any, int] | None:
        """A lease as it was granted, active or ended, with its pool's id; None if never."""
        raw = find_entry(self.writer.stream, lease_id)
        if raw is None:
            return None
        record = decode_entry(raw)
        if type(record.event).__name__ != "LeaseGranted":
            return None
        lease = granted_lease(record, record.event)  # type: ignore[arg-type]
        return lease, lease.pool_id

    def _advance(self, anchor: Anchor, state: LedgerState) -> None:
        """Remember the high-water mark, before anything that rests on it is answered."""
        if self._memory is None or state.space is None:
            return
        now_s = time.monotonic()
        if now_s >= self._next_remember_s:
            self._memory.advance(state.space.space_id, state.generation, anchor)
            self._next_remember_s = now_s + self._remember_every_s


def connect(
    url: str | None = None,
    space: str = DEFAULT_SPACE,
    *,
    home: str | Path | None = None,
    state_dir: str | Path | None = None,
    actor: str | None = None,
    timeout_s: float = TIMEOUT_S,
    server: str | None = None,
    remember_every_s: float = 1.0,
    on_start: Callable[[str], None] | None = None,
    on_progress: Progress | None = None,
    stays: bool = True,
) -> Ledger:
    """Open a ledger.

    Args:
        url: redis://, rediss:// or unix://; without one an embedded server is used, and started.
        space: the address space.
        home: where the embedded server keeps its data; the user's data directory by default.
        state_dir: where high-water marks are kept; ``state`` under `home` by default.
        actor: who changes things, as claimed.
        timeout_s: how long a call waits for an answer.
        server: the program to use as embedded server instead of the bundled one.
        remember_every_s: how often the high-water mark is written; 0 for before each answer.
        on_start: told, when this call started the embedded server, in words.
        on_progress: told the position that was reached, and the last one, page by page.
        stays: False for a process that asks little and ends: it reads of the view that is kept
            under `home` only what it is asked for.

    Raises:
        InvalidInput: the URL or the space cannot be understood.
        Unavailable: no server can be reached or started.
        IntegrityError: the stream is not what it must be, or not what was seen before.
    """
    from ipledger import servers
    from ipledger.embedded import ensure_running

    check_name(space, "space")
    if timeout_s <= 0:
        message = f"timeout {timeout_s} is not a time to wait"
        raise InvalidInput(message, "give more than zero seconds")
    opened = open_server(
        url, home=home, state_dir=state_dir, program=server, on_start=on_start
    )  # fmt: skip
    endpoint = opened.endpoint

    def revive() -> None:
        ensure_running(opened.home, server)

    return Ledger(
        servers.open_stream(opened.server, space),
        space,
        memory=HighWaterFile(opened.states, endpoint, space),
        actor=actor,
        timeout_s=timeout_s,
        remember_every_s=remember_every_s,
        revive=revive if url is None else None,
        view=StateView(view_path(opened.home / "views", endpoint, space, STATE)),
        stays=stays,
        on_progress=on_progress,
    )
