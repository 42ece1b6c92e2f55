"""One run of the simulation: who is there, what they ask, what strikes them, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from engine.addresses import Address, RangeSet, from_int, to_int
from engine.commands import (
    Allocate,
    Apply,
    Command,
    Delete,
    PutBack,
    Release,
    Renew,
    SetAside,
    Sweep,
)
from engine.entry import Anchor
from engine.model import DEFAULT_INTERFACE
from engine.wire import decode_entry
from ipledger.diagnosis import accept_rollback, diagnose
from projections.state import LedgerState
from tests.builders import TestLedger, make_allocate, make_delete, make_pool, make_reservation
from tests.simulation.clients import Attempt, ConsumerProcess, MirrorProcess, WriterProcess
from tests.simulation.network import World

_POOLS: Final = (
    make_pool("a", "10.0.0.0/28"),
    make_pool("b", "10.0.1.0/28", cooldown_s=3, policy="sticky", sticky_s=60),
    make_pool("c", "10.0.2.0/26", ttl_s=2, policy="least-recently-used"),
)
_CHANGED: Final = (
    make_pool("a", "10.0.0.0/28", disabled=True),
    make_pool("b", "10.0.1.0/28", cooldown_s=1),
    make_pool("c", "10.0.2.0/26", ttl_s=1),
    make_pool("c", "10.0.2.0/26", policy="random", default=True),
    make_pool("d", "10.0.3.0/29", cooldown_s=2),
)
_GROUPS: Final = ("a", "b", "c", "a,b", "b,c,a", "d,a")
_OWNERS: Final = 9
_WRITERS: Final = 3
ROUNDS: Final = 7
_FAR_BACK: Final = 12  # entries that a failover may lose


class Commands:
    """Draws what a writer asks for, on what it knows."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def __call__(self, state: LedgerState) -> Command:
        """The next command."""
        drawn, choose = self._random.random(), self._random.choice
        leases = [lease.lease_id for lease in state.leases()]
        if drawn < 0.50 or not leases:
            return self._allocate()
        if drawn < 0.70:
            owner = f"pod-{self._random.randrange(_OWNERS)}"
            named = Release((choose(leases),))
            return choose((named, named, Release(owner=owner), Release(labels=(("app", "x"),))))
        if drawn < 0.76:
            return Renew(choose(leases), choose((None, 1, 5)), may_shorten=True)
        if drawn < 0.84:
            return Sweep()
        if drawn < 0.90:
            ips = RangeSet(4, [(self._value(),) * 2])
            return choose((SetAside(ips, "arp", choose((None, 2))), PutBack(ips)))
        if drawn < 0.95:
            first = str(from_text(self._value()))
            kept = make_reservation("r", first, for_s=choose((None, 2)))
            return choose((Apply((kept,)), Delete(make_delete(reservations=("r",)).targets)))
        changed = (*_CHANGED, *_POOLS)
        return choose((Apply((choose(changed),)), make_delete(choose(("d", "b")), cascade=True)))

    def _value(self) -> int:
        return to_int(Address(bytes([10, 0, self._random.randrange(2), 0]))) + (
            self._random.randint(1, 14)
        )

    def _allocate(self) -> Allocate:
        choose = self._random.choice
        groups = choose(((choose(_GROUPS),), (choose(_GROUPS),), ("a", "c")))
        length = choose((None, None, None, None, 31, 30))
        return make_allocate(
            *choose((groups, groups, groups, ("[ac]",))),
            prefix_length=length,
            owner=f"pod-{self._random.randrange(_OWNERS)}",
            uid=choose((None, "u1", "u2", "u3")),
            interface=choose((DEFAULT_INTERFACE, "net1")),
            number=choose((1, 1, 1, 2)),
            labels=choose(((), (("app", "x"),))),
        )


def from_text(value: int) -> str:
    """An IPv4 address in words."""
    return ".".join(str(byte) for byte in bytes(from_int(value, 4)))


class Cluster:
    """Writers, a consumer, a mirror and an operator on one server, from one seed."""

    def __init__(
        self, seed: int, aside: Path, without: frozenset[str] = frozenset(), rounds: int = ROUNDS
    ) -> None:
        """Make everything ready; what an operator sets aside goes to the file `aside`."""
        self.seed = seed
        self._aside = aside
        self.world = World(seed, without)
        self.attempts: list[Attempt] = []
        self.lost_since: int | None = None  # the turn in which a failover lost entries
        self.lost_by: dict[str, Anchor] = {}  # who had seen what was lost, and up to where
        self.accepted_at: int | None = None
        self.deleted_at: int | None = None
        self.highest = 0  # the highest position that there ever was
        self._rounds = rounds
        self._begin()
        self.consumer, self.mirror = ConsumerProcess(self.world), MirrorProcess(self.world)
        self.writers = [self._writer(f"writer {number}") for number in range(_WRITERS)]
        self._alive = len(self.writers)

    def run(self) -> None:
        """From the beginning until everybody is done."""
        schedule = self.world.schedule
        for process in self.writers:
            schedule.spawn(process.name, self._until_done(process))
        schedule.spawn("consumer", self.consumer.live)
        schedule.spawn("mirror", self.mirror.live)
        schedule.spawn("trouble", self._trouble)
        schedule.run()

    def _begin(self) -> None:
        """The space and its pools, over a line that holds."""
        first = TestLedger(seed=0)
        first.clock.now_ms = self.world.schedule.now_ms
        first.apply(*_POOLS)
        self.world.server.entries = first.stream.entries
        self.world.server.last_generated = first.stream.last_generated

    def _writer(self, name: str) -> WriterProcess:
        draw = Commands(Random(f"{name} {self.world.random.random()}"))  # noqa: S311
        return WriterProcess(self.world, name, draw, self._rounds, self.attempts)

    def _until_done(self, process: WriterProcess) -> Callable[[], None]:
        def live() -> None:
            process.live()
            self._alive -= 1

        return live

    # -------------------------------------------------------------------------------- what strikes

    def _trouble(self) -> None:
        """Crashes, clocks, failovers, until the writers are done; then the end is told."""
        world, random = self.world, self.world.random
        names = [*(process.name for process in self.writers), "consumer", "mirror"]
        while self._alive:
            world.schedule.pause(random.randrange(120))
            if world.happens("crash"):
                world.schedule.doom(random.choice(names))
            if world.happens("server clock jumps"):
                world.server_ahead_ms = random.choice((0, 0, -60_000, 60_000, 400_000, -400_000))
            if self.lost_since is None and self.deleted_at is None:
                if world.happens("failover"):
                    self._fail_over()
                elif world.happens("entry deleted"):
                    self._delete()
        world.calm = True
        world.server_ahead_ms = 0
        self.consumer.done = self.mirror.done = True

    def _fail_over(self) -> None:
        """The server comes back without its last entries, which had been acknowledged."""
        world, random = self.world, self.world.random
        server = world.server
        last = server.last_generated[1]
        ends = [
            at for at, raw in enumerate(server.entries, 1)
            if decode_entry(raw).commit.ends_here and at > last - _FAR_BACK
        ]  # fmt: skip
        cut = random.choice(ends[:-1] or ends)
        gone = server.entries[cut:]
        if not gone:
            return
        self.highest = last
        self.lost_since = world.schedule.turns
        server.entries = server.entries[:cut]
        server.last_generated = server.entries[-1][:2]
        self.lost_by = {
            process.name: process.remembered.anchors[-1] for process in self.writers
            if process.remembered is not None
            and process.remembered.position > server.last_generated[1]
        }  # fmt: skip
        if random.random() < 0.5:
            stranger = self._writer("stranger")  # it has never seen what was lost
            self.writers.append(stranger)
            self._alive += 1
            world.schedule.spawn(stranger.name, self._until_done(stranger))
        if random.random() < 0.7:
            world.schedule.spawn("operator", self._accept)

    def _accept(self) -> None:
        """The operator accepts what is left, and starts again what has stopped."""
        self.world.schedule.pause(self.world.random.randrange(3_000))
        known = [process.remembered for process in self.writers if process.remembered is not None]
        if not known:
            return  # nobody had begun
        seen = max(known, key=lambda high: high.position)
        found = diagnose(self.world.server, seen)
        if found.trouble is None:
            return  # nobody had seen what was lost
        void_through = max(self.highest, found.void_through_least, seen.position)
        accept_rollback(
            self.world.server, found, void_through=void_through, actor="operator",
            reason="failover", save_to=self._aside,
        )  # fmt: skip
        self.accepted_at = self.world.schedule.turns
        for process in self.writers:
            if process.stopped is not None:
                process.stopped = None
                self._alive += 1
                self.world.schedule.spawn(f"{process.name} again", self._until_done(process))

    def _delete(self) -> None:
        """Somebody deletes an entry by hand, in the middle of the stream."""
        entries = self.world.server.entries
        del entries[self.world.random.randrange(1, len(entries) - 1)]
        self.deleted_at = self.world.schedule.turns
