"""The writer: callers from any thread, one batch at a time, no thread of its own.

Whoever calls while nobody leads becomes the leader: it carries everybody's commands in its
batches until its own is answered, then hands the lead to one that waits. So a single caller pays
for no hand-over between threads, and many callers share round trips and fsyncs (group commit).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from queue import SimpleQueue

from engine.commands import Claim, Command
from engine.model import Durability
from ipledger.carrier import Carrier
from ipledger.writing import Call, Outcome


class Writer(Carrier):
    """Carries commands to one space's stream, and keeps the state that they are decided on."""

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
                self._await(call, wake_ups)
        return call.outcome

    def _await(self, call: Call, wake_ups: SimpleQueue[None]) -> None:
        """Wait until a call is answered, or nobody leads."""
        try:
            wake_ups.get()
        except BaseException:  # an interrupt: nobody will lead for this one
            call.on_done = _nobody
            self._hand_over()
            raise

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
    def has_work(self) -> bool:
        """Whether calls wait for somebody to lead."""
        return bool(self._queue) or self._flight is not None

    def submit(self, call: Call) -> None:
        """Queue a call for whoever leads; somebody must `drive`."""
        self._queue.append(call)

    def drive(self) -> None:
        """Lead until nothing is left to do. For callers that do not wait in `call`."""
        while self.has_work:
            with self._lead:
                while self.has_work:
                    self._step()

    def drive_once(self) -> None:
        """Lead for one turn. For callers whose next calls come of the answers to this one."""
        with self._lead:
            self._step()

    def refresh(self) -> None:
        """Bring the state up to the stream's end as of now or later.

        Raises:
            LedgerError: the stream cannot be read, or is not what it must be.
        """
        with self._lead:
            self._clear()
            self._catch_up()
        self._hand_over()

    def shortfall(self, wanted: Durability | None = None) -> str | None:
        """Why what has been read is not kept as is `wanted`, or as the space promises.

        Raises:
            LedgerError: the stream is not what was read.
        """
        with self._lead:
            self._clear()
            found = self._shortfall(self.state.durability if wanted is None else wanted)
        self._hand_over()
        return found

    def _hand_over(self) -> None:
        """Wake one that waits, so that the queue never stands without a leader."""
        flight = self._flight
        carried = chain(() if flight is None else flight.batch.calls, tuple(self._queue))
        waiting = (c for c in carried if c.outcome is None and c.on_done is not _nobody)
        first = next(waiting, None)
        if first is not None:
            first.on_done(first)


def _nobody(_call: Call) -> None:
    """Nobody waits for the call any more."""
