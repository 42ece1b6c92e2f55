"""One run of the simulation: who is there, what strikes them, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import Final

from engine.entry import Anchor
from engine.events import LEVEL
from ipledger.diagnosis import accept_rollback, diagnose, promote
from ipledger.selection import Selection
from tests.builders import TestLedger
from tests.simulation.clients import Attempt, Habits, ProcessClock, WriterProcess
from tests.simulation.cursors import CursorTable
from tests.simulation.drawing import POOLS, Draw, Drawing, sweep
from tests.simulation.followers import ConsumerProcess, Delivered, MirrorProcess
from tests.simulation.log import decoded
from tests.simulation.network import World

ROUNDS: Final = 6
_FAR_BACK: Final = 12  # entries that a failover may lose
_NAMED: Final = "named"  # the consumer whose cursor is on the server
_JUMPS_MS: Final = (0, -60_000, 60_000, 400_000, -400_000)


class Loss:
    """Acknowledged entries that are gone: since when, and who had seen them."""

    def __init__(self, cluster: Cluster, kept: int) -> None:
        """Note who has seen more than what is `kept`."""
        self.turn = cluster.world.schedule.turns
        self.kept = kept
        self.entries = set(cluster.world.server.entries[kept:])
        self.attempts = len(cluster.attempts)
        self.remembered: dict[str, Anchor] = {}
        self.lives: dict[str, int] = {}  # of those that had seen it and are alive
        for process in cluster.writers:
            if process.remembered is not None and process.remembered.position > kept:
                self.remembered[process.name] = process.remembered.anchors[-1]
                if process.writer is not None:
                    self.lives[process.name] = process.life


class Cluster:
    """Writers near and far, sweepers, consumers, a mirror and an operator, from one seed."""

    def __init__(
        self, seed: int, aside: Path, without: frozenset[str] = frozenset(), rounds: int = ROUNDS
    ) -> None:
        """Make everything ready; what an operator sets aside goes to the file `aside`."""
        self.seed = seed
        self._aside = aside
        self.world = World(seed, without)
        self.attempts: list[Attempt] = []
        self.journals: dict[str, list[Delivered]] = {"in step": [], _NAMED: []}
        self.loss: Loss | None = None
        self.accepted_at: int | None = None
        self.promoted_at: int | None = None
        self.deleted_at: int | None = None
        # Holds everything to the promises as of now; the verdict puts itself here.
        self.check: Callable[[], None] = lambda: None
        random = self.world.random
        self._operator = ProcessClock(self.world, Random(f"operator {seed}"))  # noqa: S311
        self._begin(level=1 if random.random() < 0.2 else LEVEL)
        self.cursors = CursorTable()
        self.writers = [
            self._writer("near", Habits(rounds, 0, 60, timeout_s=1.5)),
            self._writer("beside", Habits(rounds, random.randrange(4))),
            self._writer("far", Habits(rounds, random.randrange(40, 130), 40)),
            self._writer("sweeper", Habits(3, random.randrange(40), 600, 1), sweep),
            self._writer("far sweeper", Habits(3, random.randrange(40, 130), 600, 1), sweep),
        ]
        self.consumers = [
            ConsumerProcess(
                self.world, "in step", random.randrange(60), self.journals["in step"], Selection()
            ),
            self._named(_NAMED),
        ]
        self.mirror = MirrorProcess(self.world, random.randrange(40))
        self._alive = len(self.writers)

    @property
    def came_back(self) -> bool:
        """Whether a lost entry stands again, to the byte, behind others than before.

        A request that was told twice may do that, if it lands at the very position and in the very
        millisecond a second time. Who had seen it cannot tell (ADR 0027), and nothing is promised.
        """
        if self.loss is None:
            return False
        now = self.world.server.entries[self.loss.kept :]
        same = sum(1 for _ in takewhile(self.loss.entries.__contains__, now))
        return not self.loss.entries.isdisjoint(now[same:])

    def run(self) -> None:
        """From the beginning until everybody is done."""
        schedule = self.world.schedule
        for process in self.writers:
            schedule.spawn(process.name, self._until_done(process))
        for follower in (*self.consumers, self.mirror):
            schedule.spawn(follower.name, follower.live)
        schedule.spawn("trouble", self._trouble)
        schedule.run()

    def _begin(self, level: int) -> None:
        """The space and its pools, over a line that holds."""
        first = TestLedger(seed=0, level=level)
        first.clock.now_ms = self.world.schedule.now_ms
        first.apply(*POOLS)
        self.world.server.entries = first.stream.entries
        self.world.server.last_generated = first.stream.last_generated

    def _writer(self, name: str, habits: Habits, draw: Draw | None = None) -> WriterProcess:
        random = Random(f"{name} {self.world.random.random()}")  # noqa: S311
        return WriterProcess(self.world, name, draw or Drawing(random), habits, self.attempts)

    def _named(self, process: str) -> ConsumerProcess:
        random = self.world.random
        wanted = (
            Selection(),
            Selection.read(types=["LeaseGranted", "LeaseEnded"]),
            Selection.read(pools=["a", "e"]),
        )[self.seed % 3]
        return ConsumerProcess(
            self.world, process, random.randrange(60), self.journals[_NAMED], wanted,
            self.cursors, save_every_s=(0, 1)[self.seed // 3 % 2],
        )  # fmt: skip

    def _until_done(self, process: WriterProcess) -> Callable[[], None]:
        def live() -> None:
            process.live()
            self._alive -= 1

        return live

    # -------------------------------------------------------------------------------- what strikes

    def _trouble(self) -> None:
        """Crashes, clocks, failovers, until the writers are done; then the end is told."""
        world, random = self.world, self.world.random
        check_at: int | None = world.schedule.now_ms + random.randrange(2_000)
        while self._alive or world.under_way:
            world.schedule.pause(random.randrange(120))
            if check_at is not None and world.schedule.now_ms >= check_at:
                check_at = None
                self.check()
            if world.happens("crash"):
                names = [process.name for process in self.writers]
                names += [process.name for process in (*self.consumers, self.mirror)]
                world.schedule.doom(random.choice(names))
            self._clock_jumps()
            if len(self.consumers) == 2 and world.happens("cursor taken over"):
                self.consumers.append(self._named(f"{_NAMED} again"))
                world.schedule.spawn(self.consumers[-1].name, self.consumers[-1].live)
            if self.loss is None and self.deleted_at is None:
                self._strike()
        world.calm = True
        world.server_ahead_ms = 0
        for follower in (*self.consumers, self.mirror):
            follower.done = True

    def _clock_jumps(self) -> None:
        """The servers' clock goes wrong, and is set right again soon, as a rule."""
        world, random = self.world, self.world.random
        if world.happens("server clock jumps"):
            world.server_ahead_ms = random.choice(_JUMPS_MS)
        elif abs(world.server_ahead_ms) > 60_000 and random.random() < 0.25:
            world.server_ahead_ms = 0

    def _strike(self) -> None:
        """What changes the history itself: it is held to the promises before."""
        if self.world.happens("failover"):
            self.check()
            self._fail_over()
        elif self.mirror.copy.marker() and self.world.happens("mirror promoted"):
            self.check()
            self._promote()
        elif self.world.happens("entry deleted"):
            self.check()
            self._delete()

    def _fail_over(self) -> None:
        """The server comes back without its last entries, which had been acknowledged."""
        world, random = self.world, self.world.random
        server = world.server
        last = len(server.entries)
        ends = [
            at for at, raw in enumerate(server.entries, 1)
            if decoded(raw).commit.ends_here and at > last - _FAR_BACK
        ]  # fmt: skip
        far, near = ends[:-1], ends[-3:-1]  # what is little is soon written over
        kept = random.choice(random.choice((far, near)) or ends)
        if kept == last:
            return
        self.loss = Loss(self, kept)
        server.entries = server.entries[:kept]
        server.last_generated = server.entries[-1][:2]
        self.cursors.lose(kept)
        if random.random() < 0.5:
            self._stranger()  # it has never seen what was lost
        if random.random() < 0.7:
            world.aside("operator", lambda: self._accept(last))

    def _stranger(self) -> None:
        stranger = self._writer("stranger", Habits(4))
        self.writers.append(stranger)
        self._alive += 1
        self.world.schedule.spawn(stranger.name, self._until_done(stranger))

    def _accept(self, highest: int) -> None:
        """The operator accepts what is left, and starts again what has stopped."""
        self.world.schedule.pause(self.world.random.randrange(3_000))
        known = [process.remembered for process in self.writers if process.remembered is not None]
        if not known:
            return  # nobody had begun
        seen = max(known, key=lambda high: high.position)
        found = diagnose(self.world.server, seen)
        if found.trouble is None:
            return  # nobody had seen what was lost
        void_through = max(highest, found.void_through_least, seen.position)
        accept_rollback(
            self.world.server, found, void_through=void_through, actor="operator",
            reason="failover", save_to=self._aside, clock=self._operator,
        )  # fmt: skip
        self.accepted_at = self.world.schedule.turns
        self._start_again()

    def _start_again(self) -> None:
        mirror, schedule = self.mirror, self.world.schedule
        mirror.accepts = True
        if mirror.stopped is not None:
            mirror.stopped = None
            schedule.spawn(mirror.name, mirror.live)
        for process in self.writers:
            if process.stopped is not None:
                process.stopped = None
                self._alive += 1
                schedule.spawn(process.name, self._until_done(process))

    def _promote(self) -> None:
        """The server is gone for good: its mirror becomes the space, as far as it has come."""
        copy, lost = self.mirror.copy, self.world.server
        found = diagnose(copy, None)
        self.loss = Loss(self, found.kept.position)
        void_through = max(found.void_through_least, lost.last_generated[1])
        promote(
            copy, found, void_through=void_through, actor="operator", reason="lost for good",
            clock=self._operator,
        )  # fmt: skip
        self.cursors.lose(0)  # a mirror has none of them
        self.world.server = copy
        self.promoted_at = self.world.schedule.turns

    def _delete(self) -> None:
        """Somebody deletes an entry by hand, in the middle of the stream."""
        entries = self.world.server.entries
        del entries[self.world.random.randrange(1, len(entries) - 1)]
        self.deleted_at = self.world.schedule.turns
