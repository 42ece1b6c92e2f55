"""The writer: callers from any thread, one batch at a time, no thread of its own.

Whoever calls while nobody leads becomes the leader: it carries everybody's commands in its
batches until its own is answered, then hands the lead to one that waits. So a single caller pays
for no hand-over between threads, and many callers share round trips and fsyncs (group commit).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock
from typing import Final

from engine.bulk import read_rows
from engine.commands import Claim, Command
from engine.entry import Anchor
from engine.errors import (
    HistoryDiverged,
    IntegrityError,
    LedgerError,
    Unavailable,
    UnknownOutcome,
    ViewDamaged,
)
from engine.model import Durability
from engine.reading import Continuity
from engine.stream import RESTORE_HINT, Acknowledged, Stream, trouble
from engine.wire import decode_entry
from ipledger import log
from ipledger.assurance import Answers, Assurance, promises, withheld
from ipledger.clock import SYSTEM_CLOCK, Clock
from ipledger.writing import BATCH_PROPOSALS_MAX, Batch, Call, Done, Outcome, Protocol, Recall
from projections.collector import seldom_collecting
from projections.state import LedgerState

_PAUSE_FIRST_S: Final = 0.02
_PAUSE_MAX_S: Final = 0.5


class Writer:
    """Carries commands to one space's stream, and keeps the state that they are decided on."""

    def __init__(
        self,
        stream: Stream,
        continuity: Continuity,
        state: LedgerState,
        *,
        on_advance: Callable[[Anchor, LedgerState], None] | None = None,
        revive: Callable[[], None] | None = None,
        anew: Callable[[], tuple[Continuity, LedgerState]] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Write to `stream` on top of `state`.

        Args:
            stream: where events are kept.
            continuity: what has been read of it.
            state: the fold of what has been read.
            on_advance: told the high-water mark before any answer that rests on it.
            revive: called before reconnecting to a server that is gone (an embedded one).
            anew: the fold of the whole stream, for when the local view turns out to be damaged.
            clock: time, sleep and randomness; the machine's but in a simulation.
        """
        self.stream = stream
        self.state = state
        self.continuity = continuity
        self._clock = clock
        self._lane = clock.random_bytes(1)[0] / 256
        self._protocol = Protocol(state, continuity, clock.random_bytes, lane=self._lane)
        self._on_advance = on_advance
        self._revive = revive
        self._anew = anew
        self.has_appended = False  # since it was made; then a command is not just done again
        self._queue: deque[Call] = deque()
        self._lead = Lock()
        self._broken: LedgerError | None = None
        self._server_ahead_ms = 0
        self._assurance = Assurance()

    def call(
        self, command: Command, claim: Claim, key: bytes, timeout_s: float, step: int = 0
    ) -> Outcome:
        """Carry out one command and wait for its answer, at most about `timeout_s` seconds."""
        wake_ups: SimpleQueue[None] = SimpleQueue()
        call = self.make_call(
            command, claim, key, timeout_s, lambda _call: wake_ups.put(None), step
        )
        self._queue.append(call)
        while call.outcome is None:
            if self._lead.acquire(blocking=False):
                try:
                    while call.outcome is None:
                        self._step()
                finally:
                    self._lead.release()
                    self._hand_over()
            else:
                wake_ups.get()  # it is answered, or nobody leads
        return call.outcome

    def make_call(
        self,
        command: Command,
        claim: Claim,
        key: bytes,
        timeout_s: float,
        on_done: Callable[[Call], None],
        step: int = 0,
    ) -> Call:
        """A call that arrives now."""
        now_s = self._clock.monotonic_s()
        return Call(
            command,
            claim,
            key,
            arrived_s=now_s,
            deadline_s=now_s + timeout_s,
            on_done=on_done,
            step=step,
        )

    @property
    def has_queued(self) -> bool:
        """Whether calls wait for somebody to lead."""
        return bool(self._queue)

    def submit(self, call: Call) -> None:
        """Queue a call for whoever leads; somebody must `drive`."""
        self._queue.append(call)

    def drive(self) -> None:
        """Lead until nothing is queued. For callers that do not wait in `call`."""
        while self._queue:
            with self._lead:
                while self._queue:
                    self._step()

    def drive_once(self) -> None:
        """Lead for one batch. For callers whose next calls come of the answers to this one."""
        with self._lead:
            self._step()

    def server_now_ms(self) -> int:
        """The server's time as far as it is known here: our clock until it has answered once."""
        return self._clock.now_ms() + self._server_ahead_ms

    def refresh(self) -> None:
        """Bring the state up to the stream's end as of now or later.

        Raises:
            LedgerError: the stream cannot be read, or is not what it must be.
        """
        with self._lead:
            self._catch_up()
        self._hand_over()

    def shortfall(self, wanted: Durability | None = None) -> str | None:
        """Why what has been read is not kept as is `wanted`, or as the space promises.

        Raises:
            LedgerError: the stream is not what was read.
        """
        with self._lead:
            found = self._shortfall(self.state.durability if wanted is None else wanted)
        self._hand_over()
        return found

    def _hand_over(self) -> None:
        """Wake one that waits, so that the queue never stands without a leader."""
        with suppress(IndexError):  # nobody waits
            first = self._queue[0]
            first.on_done(first)

    def _step(self) -> None:
        """One batch: take, decide, append, fold, answer. The caller holds the lead."""
        calls = self._take()
        if not calls:
            return
        try:
            self._check_sound()
            batch, answers = self._protocol.plan(calls, self.server_now_ms())
            self._answer(answers)
            if batch.members or batch.waiting:
                self._append(batch)
            else:
                self._queue.extendleft(reversed(batch.left))
        except ViewDamaged as error:
            self._go_on_anew(calls, error)
        except LedgerError as error:
            if isinstance(error, IntegrityError):
                self._broken = error  # what we know cannot be trusted any more
            self._fail([call for call in calls if call.outcome is None], error)
        except BaseException as error:
            # An interrupt or a bug: the others must not wait for ever for an answer.
            failed = LedgerError(f"the writer stopped: {error!r}", "start again")
            self._broken = failed
            self._fail([call for call in calls if call.outcome is None], failed)
            raise

    def _go_on_anew(self, calls: list[Call], error: ViewDamaged) -> None:
        """Decide the calls that are not answered again, on a state that is folded anew.

        What was carried may stand already: it is found in the stream, and answered from it.
        """
        queued = set(map(id, list(self._queue)))
        again = [c for c in calls if c.outcome is None and id(c) not in queued]
        self._queue.extendleft(reversed(again))
        try:
            self._start_anew(error)
        except LedgerError as failed:
            if isinstance(failed, IntegrityError):
                self._broken = failed
            self._fail(self._drained(), failed)

    def _start_anew(self, error: ViewDamaged) -> None:
        """Fold the whole stream: a part of the state could not be read from the local view."""
        if self._anew is None:
            raise error
        log.warn("building the local view anew", why=error.message)
        self.continuity, self.state = self._anew()
        self._protocol = Protocol(
            self.state, self.continuity, self._clock.random_bytes, lane=self._lane
        )

    def _check_sound(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _take(self) -> list[Call]:
        """The next calls in order of arrival; those past their deadline are answered."""
        calls: list[Call] = []
        now_s = self._clock.monotonic_s()
        while self._queue and len(calls) < BATCH_PROPOSALS_MAX:
            call = self._queue.popleft()
            if call.outcome is not None:
                continue  # it was answered with an error while it was queued to be carried again
            if call.deadline_s > now_s:
                calls.append(call)
            else:
                call.settle(_too_late(call))
        return calls

    def _append(self, batch: Batch) -> None:
        anchor = self.continuity.anchor
        now_ms = self._clock.now_ms()
        carried = [member.call for member in batch.members]
        calls = [*carried, *batch.waiting, *batch.left]
        wanted = self.state.durability
        try:
            self.has_appended = self.has_appended or bool(batch.proposals)
            voided = self.continuity.voided
            reply = self.stream.append(anchor, voided, now_ms, batch.proposals, wanted)
        except (UnknownOutcome, Unavailable) as error:
            if isinstance(error, UnknownOutcome):
                for call in carried:
                    call.in_doubt = True
            self._queue.extendleft(reversed(calls))
            self._reconnect(error)
            return
        if reply.status == "behind":
            self._queue.extendleft(reversed(calls))
            self._catch_up()
            return
        if reply.status != "ok":
            raise trouble(reply.status, reply.detail, anchor, now_ms)
        self._server_ahead_ms = reply.ms - now_ms
        try:
            settled = self._protocol.settle(batch, reply)
        except ViewDamaged:
            for call in carried:
                call.in_doubt = True
            raise
        self._tell_advance()
        self._queue.extendleft(reversed(settled.again))
        # What was waited for is no answer to a promise that this very batch has changed.
        told = reply.acknowledged if wanted == self.state.durability else None
        self._answer(settled.answers, told)

    def _reconnect(self, error: LedgerError) -> None:
        """Wait, until some caller's deadline, for the server to be back; then read what it has.

        That settles what was in doubt: a commit that is found in the stream is answered from it.
        """
        log.warn("waiting for the server", error=error.message, calls=len(self._queue))
        began_s = self._clock.monotonic_s()
        pause_s = _PAUSE_FIRST_S
        while True:
            deadline_s = min((call.deadline_s for call in list(self._queue)), default=0.0)
            if self._clock.monotonic_s() + pause_s >= deadline_s:
                self._expire(error)
                if not self._queue:
                    return
            self._clock.sleep_s(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)
            try:
                if self._revive is not None:
                    self._revive()
                self._catch_up()
            except Unavailable as still:
                error = still
            else:
                log.info(
                    "the server is back", after_s=round(self._clock.monotonic_s() - began_s, 3)
                )
                return

    def _expire(self, error: LedgerError) -> None:
        """Answer the calls that cannot wait for another attempt with why it failed."""
        limit_s = self._clock.monotonic_s() + _PAUSE_MAX_S
        calls = self._drained()
        self._queue.extendleft(call for call in reversed(calls) if call.deadline_s > limit_s)
        self._fail([call for call in calls if call.deadline_s <= limit_s], error)

    def _drained(self) -> list[Call]:
        """Take what is queued. Others may add to it at any moment: that stays, behind it.

        So the queue is never looked through as it is, but copied or taken in steps that no other
        thread can interrupt.
        """
        return [self._queue.popleft() for _ in range(len(self._queue))]

    @seldom_collecting()
    def _catch_up(self) -> None:
        try:
            for items in read_rows(self.stream, self.continuity):
                self.state.apply_rows(items)
        except ViewDamaged as error:
            self._start_anew(error)
        self._tell_advance()  # a command that was in doubt may be answered from what was read

    def _tell_advance(self) -> None:
        if self._on_advance is not None:
            self._on_advance(self.continuity.anchor, self.state)

    def _answer(self, answers: Answers, told: Acknowledged | None = None) -> None:
        durability = self.state.durability
        if durability.replicas and promises(answers):
            why = self._shortfall(durability, told)
            answers = answers if why is None else withheld(answers, why)
        for call, outcome in answers:
            call.settle(self._recall(outcome) if isinstance(outcome, Recall) else outcome)

    def _shortfall(self, wanted: Durability, told: Acknowledged | None = None) -> str | None:
        if not wanted.replicas:
            return None
        return self._assurance.shortfall(self.stream, wanted, self.continuity.anchor, told)

    def _recall(self, recall: Recall) -> Done:
        """The records of a commit that was made before, read from the stream."""
        position, ms, parts, request_hash = recall.remembered
        records = tuple(map(decode_entry, self.stream.read(ms, position - 1, parts)))
        found = [(record.position, record.commit.request_hash) for record in records]
        if found != [(position + part, request_hash) for part in range(parts)]:
            message = f"the commit at position {position} is not what was read there before"
            raise HistoryDiverged(message, RESTORE_HINT, position)
        return Done(records, repeated=True)

    def _fail(self, calls: list[Call], error: LedgerError) -> None:
        for call in calls:
            certain = not call.in_doubt or isinstance(error, IntegrityError)
            call.settle(error if certain else _in_doubt(call))


def _in_doubt(call: Call) -> UnknownOutcome:
    command_id = call.claim.command_id or call.key.hex()
    message = f"the reply was lost: the command may have been committed (command id {command_id})"
    hint = f"repeat it as it was with --command-id {command_id}: it will land once"
    return UnknownOutcome(message, hint, command_id)


def _too_late(call: Call) -> LedgerError:
    if call.in_doubt:
        return _in_doubt(call)
    message = "the time for this command ran out; nothing was written"
    return Unavailable(message, "try again, or give it more time with --timeout")
