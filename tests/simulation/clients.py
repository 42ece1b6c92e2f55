"""The processes of the simulation: writers that ask and are killed, a consumer, a mirror.

A writer is `ipledger.writer.Writer` as it is. What a process has on its disk (what it has seen of
the stream, before it answered anything that rests on it) outlives it; what it has in memory does
not.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from engine.bulk import read_rows
from engine.commands import Claim, Command
from engine.entry import Anchor, RawEntry
from engine.errors import IntegrityError, Unavailable, UnknownOutcome
from engine.memory_stream import MemoryStream
from engine.reading import Checkpoint, Continuity, HighWater, read_commits, resume
from ipledger.high_water import merged
from ipledger.writer import Writer
from ipledger.writing import Call, Done, Outcome
from projections.state import LedgerState
from replay.mirror import Ends, Mirror
from tests.simulation.network import Link, World
from tests.simulation.schedule import Crashed

_TIMEOUT_S: Final = 4.0
_CLOCK_JUMP_MS: Final = 400_000


class Moment(NamedTuple):
    """Where the server's stream ended, whose turn of all it was, and the server's time."""

    position: int
    turn: int
    server_ms: int


class Attempt(NamedTuple):
    """One command as its caller saw it: what it was answered, and the server around it."""

    process: str
    command: Command
    key: bytes
    began: Moment
    ended: Moment
    outcome: Outcome


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


class WriterProcess:
    """Asks for one batch after another; is killed and begins again with what is on its disk."""

    def __init__(
        self, world: World, name: str, draw: Callable[[LedgerState], Command], rounds: int,
        attempts: list[Attempt],
    ) -> None:  # fmt: skip
        self.name = name
        self.remembered: HighWater | None = None
        self.writer: Writer | None = None
        self.stopped: IntegrityError | None = None
        self._world = world
        self._random = Random(f"{name} {world.random.random()}")  # noqa: S311
        self._clock = ProcessClock(world, self._random)
        self._draw = draw
        self._rounds = rounds
        self._attempts = attempts

    def live(self) -> None:
        """Until its work is done, or the stream is not what it has seen."""
        wait_ms = 0
        while self._rounds and self.stopped is None:
            try:
                self._world.schedule.pause(wait_ms)
                wait_ms = 0
                self._run()
            except Crashed:
                self.writer = None
            except IntegrityError as error:
                self.stopped = error
            except Unavailable:
                wait_ms = 200

    def begin(self) -> Writer:
        """Open the ledger as a new process does: everything is read, and held to the memory."""
        link, state = Link(self._world), LedgerState()
        continuity = Continuity(self.remembered)
        for items in read_rows(link, continuity):
            state.apply_rows(items)
        self.writer = Writer(link, continuity, state, on_advance=self._remember, clock=self._clock)
        self._remember(continuity.anchor, state)
        return self.writer

    def _remember(self, anchor: Anchor, state: LedgerState) -> None:
        assert state.space is not None, "the space was made before anything began"
        before = self.remembered
        if before is None or before.position < anchor.position:
            space_id = state.space.space_id
            self.remembered = merged(before, space_id, state.generation, anchor)

    def _run(self) -> None:
        writer = self.begin()
        again: list[tuple[Command, bytes]] = []
        while self._rounds:
            self._rounds -= 1
            if self._world.happens("client clock jumps"):
                self._clock.ahead_ms = self._random.randrange(-_CLOCK_JUMP_MS, _CLOCK_JUMP_MS)
            else:
                self._clock.ahead_ms = self._random.randrange(-2_000, 2_000)
            wanted = again + [
                (self._draw(writer.state), self._random.randbytes(16))
                for _ in range(self._random.randint(1, 4))
            ]
            again = self._ask(writer, wanted)
            self._world.schedule.pause(self._random.randrange(300))

    def _ask(self, writer: Writer, wanted: list[tuple[Command, bytes]]) -> list[
        tuple[Command, bytes]
    ]:  # fmt: skip
        """Carry commands in one batch; return those to be repeated, since nobody knows of them."""
        began = self._moment()
        calls: list[Call] = []
        stopped: IntegrityError | None = None
        for command, key in wanted:
            call = writer.make_call(command, Claim(), key, _TIMEOUT_S, lambda _call: None)
            calls.append(call)
            writer.submit(call)
        writer.drive()
        ended = self._moment()
        again = []
        for call in calls:
            assert call.outcome is not None, "driving ends when every call is answered"
            attempt = Attempt(self.name, call.command, call.key, began, ended, call.outcome)
            self._attempts.append(attempt)
            if isinstance(call.outcome, IntegrityError):
                stopped = call.outcome
            elif isinstance(call.outcome, UnknownOutcome) or (
                isinstance(call.outcome, Done) and self._random.random() < 0.05
            ):
                again.append((call.command, call.key))
        if stopped is not None:
            raise stopped
        return again

    def _moment(self) -> Moment:
        world, schedule = self._world, self._world.schedule
        server_ms = schedule.now_ms + world.server_ahead_ms
        return Moment(world.server.head().position, schedule.turns, server_ms)


class _Follower:
    """Catches up again and again; is killed at any step, and goes on from what it has kept."""

    _pause_ms = 200

    def __init__(self, world: World) -> None:
        self.stopped: IntegrityError | None = None
        self.done = False
        self._world = world

    def live(self) -> None:
        """Until it is told that there will be no more."""
        while not self.done and self.stopped is None:
            try:
                self.catch_up()
                self._world.schedule.pause(self._world.random.randrange(self._pause_ms))
            except (Crashed, Unavailable):
                pass
            except IntegrityError as error:
                self.stopped = error

    def catch_up(self) -> None:
        """Read to the end as of now."""
        raise NotImplementedError


class ConsumerProcess(_Follower):
    """Reads on from where it stopped, whole commits; is killed between reading and noting it."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.checkpoint: Checkpoint | None = None
        self.read: list[tuple[int, bytes]] = []  # position and check value of each entry

    def catch_up(self) -> None:
        """Read to the end as of now; each commit is noted with how far it came, in one step."""
        link = Link(self._world)
        continuity = resume(link, self.checkpoint) if self.checkpoint else Continuity()
        pending: list[tuple[int, bytes]] = []
        for records in read_commits(link, continuity, entries_max=7):
            pending += [(record.position, record.commit.check) for record in records]
            if continuity.at_commit_end:  # what was read may reach beyond the commits given
                self.read += pending
                self.checkpoint = continuity.checkpoint()
                pending = []


class MirrorProcess(_Follower):
    """Copies the stream; is killed at any step, and goes on where its copy ends."""

    _pause_ms = 300

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.copy = MemoryStream(lambda: world.schedule.now_ms)

    def catch_up(self) -> None:
        """Copy until there is nothing left."""
        source, ends = Link(self._world), Ends("source", "target")
        mirror = Mirror(source, self.copy, "default", ends, lambda: self._world.schedule.now_ms)
        mirror.attach()
        while mirror.step():
            pass

    @property
    def entries(self) -> list[RawEntry]:
        """What it has."""
        return self.copy.entries
