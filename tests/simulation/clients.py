"""The processes that write: clients and sweepers, near and far, that ask and are killed.

A writer is `ipledger.writer.Writer` as it is. What a process has on its disk (what it has seen of
the stream, before it answered anything that rests on it) outlives it; what it has in memory does
not.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

from engine.bulk import read_rows
from engine.commands import Claim, Command, Reconcile, Release
from engine.entry import Anchor
from engine.errors import ClockSkew, IntegrityError, Unavailable, UnknownOutcome
from engine.reading import Continuity, HighWater
from engine.stream import Stream
from ipledger.high_water import merged
from ipledger.operation import Operation
from ipledger.writer import Writer
from ipledger.writing import Batch, Call, Done, Held, Outcome, Recall
from projections.state import LedgerState
from tests.simulation.drawing import Draw
from tests.simulation.network import Link, World
from tests.simulation.schedule import Crashed

_TIMEOUT_S: Final = 4.0
_CLOCK_JUMP_MS: Final = 400_000
_STEPS_MAX: Final = 4


class Moment(NamedTuple):
    """Where the server's stream ended, whose turn of all it was, and the server's time."""

    position: int
    turn: int
    server_ms: int


class Attempt(NamedTuple):
    """One command as its caller saw it: what it was answered, and the server around it.

    ``life`` counts how often the process had been killed or stopped; ``struck`` is whether one of
    its requests was lost or held up for long meanwhile, or the server's clock kept it waiting.
    """

    process: str
    life: int
    command: Command
    key: bytes
    step: int
    began: Moment
    ended: Moment
    outcome: Outcome
    struck: bool


class ProcessClock:
    """A process's own idea of the time: `ipledger.clock.Clock` on the schedule's."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random
        self.ahead_ms = random.randrange(-2_000, 2_000)

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return self._world.schedule.now_ms / 1000

    def now_ms(self) -> int:
        """See `Clock`."""
        return self._world.schedule.now_ms + self.ahead_ms

    def sleep_s(self, seconds: float) -> None:
        """See `Clock`."""
        self._world.schedule.pause(max(int(seconds * 1000), 1))

    def random_bytes(self, number: int) -> bytes:
        """See `Clock`."""
        return self._random.randbytes(number)


class Habits(NamedTuple):
    """What a writer does: how much, how far from the server, with what pauses and patience."""

    rounds: int
    away_ms: int = 0
    pause_ms: int = 300
    together_max: int = 4
    timeout_s: float = _TIMEOUT_S


class WriterProcess:
    """Asks for one batch after another; is killed and begins again with what is on its disk."""

    def __init__(
        self, world: World, name: str, draw: Draw, habits: Habits, attempts: list[Attempt]
    ) -> None:
        self.name = name
        self.habits = habits
        self.remembered: HighWater | None = None
        self.writer: Writer | None = None
        self.stopped: IntegrityError | None = None
        self.life = 0
        self.rounds_left = habits.rounds
        self._world = world
        self._random = Random(f"{name} {world.random.random()}")  # noqa: S311
        self._clock = ProcessClock(world, self._random)
        self._draw = draw
        self._link = Link(world, habits.away_ms)
        self._attempts = attempts

    def live(self) -> None:
        """Until its work is done, or the stream is not what it has seen."""
        wait_ms = 0
        while self.rounds_left and self.stopped is None:
            try:
                self._world.schedule.pause(wait_ms)
                wait_ms = 0
                self._run()
            except Crashed:
                self._end_life()
            except IntegrityError as error:
                self.stopped = error
                self._end_life()
            except Unavailable:
                wait_ms = 200
                self._end_life()

    def _end_life(self) -> None:
        """What was in memory is gone."""
        self.writer = None
        self.life += 1

    def begin(self, stream: Stream | None = None) -> Writer:
        """Open the ledger as a new process does: everything is read, and held to the memory."""
        link, state = stream or self._link, LedgerState()
        continuity = Continuity(self.remembered)
        for items in read_rows(link, continuity):
            state.apply_rows(items)
        self.writer = Writer(link, continuity, state, on_advance=self._remember, clock=self._clock)
        self.writer.shared_from = 2  # so that few callers show what many do
        self._count_what_is_decided_behind(self.writer)
        self._remember(continuity.anchor, state)
        return self.writer

    def _count_what_is_decided_behind(self, writer: Writer) -> None:
        """Count what is decided while something else is on its way."""
        plan, happened = writer._protocol.plan, self._world.happened

        def counted(
            calls: Sequence[Call], now_ms: int = 0, behind: Batch | None = None
        ) -> tuple[Batch, list[tuple[Call, Outcome | Recall]]]:
            happened["decided behind a batch"] += bool(behind and calls)
            return plan(calls, now_ms, behind)

        writer._protocol.plan = counted  # type: ignore[method-assign]

    def ask_now(self, command: Command) -> Outcome:
        """Open the ledger and ask for one thing, over a line that holds."""
        self._clock.ahead_ms = 0
        writer = self.begin(self._world.server)
        return writer.call(command, Claim(), self._random.randbytes(16), _TIMEOUT_S)

    def _remember(self, anchor: Anchor, state: LedgerState) -> None:
        assert state.space is not None, "the space was made before anything began"
        before = self.remembered
        if before is None or before.position < anchor.position:
            space_id = state.space.space_id
            self.remembered = merged(before, space_id, state.generation, anchor)

    def _run(self) -> None:
        writer = self.begin()
        again: list[tuple[Command, bytes]] = []
        while self.rounds_left:
            self.rounds_left -= 1
            if self._world.happens("client clock jumps"):
                self._clock.ahead_ms = self._random.randrange(-_CLOCK_JUMP_MS, _CLOCK_JUMP_MS)
            else:
                self._clock.ahead_ms = self._random.randrange(-2_000, 2_000)
            wanted = again + [
                (self._draw(writer), self._random.randbytes(16))
                for _ in range(self._random.randint(1, self.habits.together_max))
            ]
            skips = writer._protocol._lookout.skip_ahead(writer.state)
            self._world.happened["skipped ahead in its lane"] += bool(skips)
            again = self._ask(writer, wanted)
            self._world.schedule.pause(self._random.randrange(self.habits.pause_ms))

    def _ask(self, writer: Writer, wanted: list[tuple[Command, bytes]]) -> list[
        tuple[Command, bytes]
    ]:  # fmt: skip
        """Carry commands in one batch; return those to be repeated, since nobody knows of them."""
        attempts = self._drive(writer, [(command, key, 0) for command, key in wanted])
        for attempt in attempts:
            self._go_on(writer, attempt)
        return [
            (attempt.command, attempt.key) for attempt in attempts
            if isinstance(attempt.outcome, UnknownOutcome) or (
                isinstance(attempt.outcome, Done) and self._random.random() < 0.05
            )
        ]  # fmt: skip

    def _go_on(self, writer: Writer, attempt: Attempt) -> None:
        """The later commits of a series, until there is nothing left to do."""
        command, outcomes = attempt.command, [attempt.outcome]
        is_series = isinstance(command, Reconcile) or (
            isinstance(command, Release) and bool(command.labels)
        )
        while is_series and isinstance(outcomes[-1], Done) and len(outcomes) < _STEPS_MAX:
            done = [each for each in outcomes if isinstance(each, Done | Held)]
            operation = Operation(command, Claim(), attempt.key, None, lambda _outcome: None)
            step = operation.command_at(done), attempt.key, len(outcomes)
            outcomes.append(self._drive(writer, [step])[0].outcome)

    def _drive(self, writer: Writer, wanted: list[tuple[Command, bytes, int]]) -> list[Attempt]:
        """Carry commands in one batch, and note what each was answered.

        Raises:
            IntegrityError: that is what one was answered.
        """
        line = self._link.line
        began, struck, late_ms = self._moment(), line.struck, line.late_ms
        calls: list[Call] = []
        for command, key, step in wanted:
            timeout_s = self.habits.timeout_s
            call = writer.make_call(command, Claim(), key, timeout_s, lambda _call: None, step)
            calls.append(call)
            writer.submit(call)
        writer.drive()
        # Delays that take half of its patience are as good as a request that is lost.
        was_late = line.late_ms - late_ms > self.habits.timeout_s * 500
        ended, was_struck = self._moment(), line.struck > struck or was_late
        attempts: list[Attempt] = []
        for call in calls:
            assert call.outcome is not None, "driving ends when every call is answered"
            attempts.append(
                Attempt(
                    self.name, self.life, call.command, call.key, call.step, began, ended,
                    call.outcome, was_struck,
                )
            )  # fmt: skip
        self._attempts += attempts
        for attempt in attempts:
            if isinstance(attempt.outcome, IntegrityError):
                raise attempt.outcome
        return attempts

    def _moment(self) -> Moment:
        world = self._world
        position, turn = world.server.head().position, world.schedule.turns
        return Moment(position, turn, world.server_now_ms())


def was_starved(attempt: Attempt) -> bool:
    """Whether its time ran out although all its requests were answered: others were faster.

    One that ends whatever it finds is beaten whenever anybody ends one of those leases before it.
    So its few seconds may run out on a slow line, while the others do its very work.
    """
    outcome, command = attempt.outcome, attempt.command
    is_late = isinstance(outcome, Unavailable) and not isinstance(outcome, ClockSkew)
    finds = isinstance(command, Reconcile) or (isinstance(command, Release) and not command.leases)
    return is_late and not attempt.struck and not finds
