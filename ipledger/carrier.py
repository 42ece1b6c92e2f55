"""Carrying batches to a stream and their answers back, one on its way while the next is decided.

The script and the fsync of one batch take as long as deciding the next does, so a busy writer does
both at once: it sends, decides what is queued meanwhile, and only then fetches the answer. What
was decided behind a batch is sent if nobody else wrote meanwhile, and decided anew if somebody did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from threading import Lock
from typing import Final, NamedTuple

from engine.bulk import read_rows
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
from engine.stream import RESTORE_HINT, Acknowledged, Fetch, Stream, Untimely, trouble
from engine.wire import decode_entry
from ipledger import log
from ipledger.assurance import Answers, Assurance, promises, withheld
from ipledger.clock import SYSTEM_CLOCK, Clock
from ipledger.doubt import doubt, gone, in_doubt, too_late
from ipledger.writing import (
    BATCH_PROPOSALS_MAX,
    Batch,
    Call,
    Done,
    Protocol,
    Recall,
    Settled,
)
from projections.collector import seldom_collecting
from projections.state import LedgerState

# From so many callers on, half of them are carried while the other half is decided.
_SHARED_FROM: Final = 32
_PAUSE_FIRST_S: Final = 0.02
_PAUSE_MAX_S: Final = 0.5


class _Flight(NamedTuple):
    """A batch that was sent, behind which entry and when, for what, and how it is fetched."""

    batch: Batch
    anchor: Anchor
    now_ms: int
    wanted: Durability
    fetch: Fetch | None  # None when it was fetched, and nothing of it can stand unnoticed


class Carrier:
    """What is queued, what is on its way, and the state that both are decided on.

    Its methods are called by one thread at a time: the one that leads.
    """

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
        self._flight: _Flight | None = None
        self._alone = True  # nobody else wrote during the last round trip
        self._lead = Lock()  # held by whoever calls anything here
        self._broken: LedgerError | None = None
        self._server_ahead_ms = 0
        self._assurance = Assurance()
        self._told: Acknowledged | None = None
        self._was_early = False  # all that was sent last, by the server's clock
        self.shared_from = _SHARED_FROM

    def server_now_ms(self) -> int:
        """The server's time as far as it is known here: our clock until it has answered once."""
        return self._clock.now_ms() + self._server_ahead_ms

    def _step(self) -> None:
        """One turn: take, decide, fold what was sent before, send, answer. The caller leads.

        What is queued is decided while the server is busy with what was sent before; see
        `_turn`. If nothing is on its way and nothing more is queued, the answer is waited for.
        """
        if self._was_early:  # only time helps, and a clock that was set back may take its time
            self._was_early = False
            self._clock.sleep_s(_PAUSE_FIRST_S)
        # Among other writers, what is decided behind a batch is thrown away more often than not.
        calls = self._take() if self._flight is None or self._alone else []
        if calls or self._flight is not None:
            self._guarded(calls, self._turn)

    def _clear(self) -> None:
        """Wait for what is on its way, if anything is, and send nothing more."""
        self._guarded([], lambda _calls: self._answer_landed())

    def _answer_landed(self) -> None:
        landed = self._land()
        if landed is not None:
            self._answer(landed.answers, self._take_told())

    def _guarded(self, calls: list[Call], turn: Callable[[list[Call]], None]) -> None:
        """Take a turn; whatever goes wrong, those that it leaves without an answer get one."""
        try:
            self._check_sound()
            with seldom_collecting() if len(calls) >= _SHARED_FROM else nullcontext():
                turn(calls)
        except ViewDamaged as error:
            self._go_on_anew([*self._grounded(), *calls], error)
        except LedgerError as error:
            if isinstance(error, IntegrityError):
                self._broken = error  # what we know cannot be trusted any more
            self._fail([*self._grounded(), *calls], error)
        except BaseException as error:
            # An interrupt or a bug: the others must not wait for ever for an answer.
            failed = LedgerError(f"the writer stopped: {error!r}", "start again")
            self._broken = failed
            self._fail([*self._grounded(), *calls], failed)
            raise

    def _turn(self, calls: list[Call]) -> None:
        """Decide `calls` behind what is on its way; when that has landed, send what was decided."""
        flight = self._flight
        behind = None if flight is None else flight.batch
        batch, answers = self._protocol.plan(calls, self.server_now_ms(), behind)
        self._answer(answers)
        if flight is None:
            self._send(batch)
            if not self._queue:
                self._answer_landed()
            return
        landed = self._land(batch.calls)
        if landed is None:
            return
        told = self._take_told()
        if landed.alone:
            self._send(batch)
        else:  # somebody else wrote: what was decided may not hold any more
            self._queue.extendleft(reversed(batch.calls))
        self._answer(landed.answers, told)

    def _take_told(self) -> Acknowledged | None:
        """What was told of the replicas with the batch that has just landed."""
        told, self._told = self._told, None
        return told

    def _send(self, batch: Batch) -> None:
        """Send a batch, if there is anything in it to send."""
        if not batch.members and not batch.waiting:
            self._queue.extendleft(reversed(batch.left))
            return
        anchor, now_ms = self.continuity.anchor, self._clock.now_ms()
        self.has_appended = self.has_appended or bool(batch.proposals)
        voided, wanted = self.continuity.voided, self.state.durability
        fetch = self.stream.begin(anchor, voided, now_ms, batch.proposals, wanted)
        self._flight = _Flight(batch, anchor, now_ms, wanted, fetch)

    def _land(self, behind: Sequence[Call] = ()) -> Settled | None:
        """Fetch and fold what became of the batch that was sent, if one was.

        None if that is not known yet: then its calls are queued again, and those `behind` them.
        """
        flight = self._flight
        if flight is None:
            return None
        batch = flight.batch
        assert flight.fetch is not None, "what landed is no flight any more"
        self._flight = flight._replace(fetch=gone)  # whatever happens, it is fetched once
        try:
            reply = flight.fetch()
        except (UnknownOutcome, Unavailable) as error:
            if isinstance(error, UnknownOutcome):
                doubt(batch)
            self._flight = None
            self._queue.extendleft(reversed([*batch.calls, *behind]))
            self._reconnect(error)
            return None
        except LedgerError:
            self._flight = flight._replace(fetch=None)  # it was answered: nothing is in doubt
            raise
        if reply.status == "behind":
            self._flight = None
            self._queue.extendleft(reversed([*batch.calls, *behind]))
            self._catch_up()
            return None
        self._flight = flight._replace(fetch=lambda: reply)
        if reply.status != "ok":
            raise trouble(reply.status, reply.detail, flight.anchor, flight.now_ms)
        self._server_ahead_ms = reply.ms - flight.now_ms
        settled = self._protocol.settle(batch, reply)
        self._flight = None
        self._alone = settled.alone
        verdicts = reply.verdicts
        self._was_early = bool(verdicts) and all(isinstance(each, Untimely) for each in verdicts)
        self._tell_advance()
        self._queue.extendleft(reversed(settled.again))
        # What was waited for is no answer to a promise that this very batch has changed.
        if reply.acknowledged is not None and flight.wanted == self.state.durability:
            self._told = reply.acknowledged
        return settled

    def _grounded(self) -> list[Call]:
        """The calls of what was sent and did not land, if anything was; it is not waited for."""
        flight, self._flight = self._flight, None
        if flight is None:
            return []
        try:  # the line must be clear for what comes next
            stands = flight.fetch is not None and flight.fetch().status == "ok"
        except LedgerError:
            stands = True  # it may
        if stands:
            doubt(flight.batch)
        return list(flight.batch.calls)

    def _go_on_anew(self, calls: list[Call], error: ViewDamaged) -> None:
        """Decide the calls that are not answered again, on a state that is folded anew.

        What was carried may stand already: it is found in the stream, and answered from it.
        """
        queued = set(map(id, list(self._queue)))
        again = {id(c): c for c in calls if c.outcome is None and id(c) not in queued}
        self._queue.extendleft(reversed(again.values()))
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
        queued = len(self._queue)
        most = BATCH_PROPOSALS_MAX
        if self._flight is None and self._alone and queued >= self.shared_from:
            most = min(most, (queued + 1) // 2)  # the rest is decided while these are on their way
        while self._queue and len(calls) < most:
            call = self._queue.popleft()
            if call.outcome is not None:
                continue  # it was answered with an error while it was queued to be carried again
            if call.deadline_s > now_s:
                calls.append(call)
            else:
                call.settle(too_late(call))
        return calls

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
        """Take what is queued, in steps that no thread can interrupt: others may add meanwhile."""
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
        """Answer calls that were carried; whatever cannot be read, each of them gets an answer."""
        try:
            self._tell(answers, told)
        except LedgerError as error:
            self._fail([call for call, _ in answers], error)
            raise

    def _tell(self, answers: Answers, told: Acknowledged | None) -> None:
        durability = self.state.durability
        if durability.replicas and promises(answers):
            why = self._shortfall(durability, told)
            answers = answers if why is None else withheld(answers, why)
        for call, outcome in answers:
            try:
                call.settle(self._recall(outcome) if isinstance(outcome, Recall) else outcome)
            except (Unavailable, UnknownOutcome):
                call.settle(in_doubt(call))  # it stands, and cannot be read again now

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
        """Answer those of the calls that are not answered yet, with why they failed."""
        for call in calls:
            if call.outcome is not None:
                continue
            certain = not call.in_doubt or isinstance(error, IntegrityError)
            call.settle(error if certain else in_doubt(call))
