"""The same job for ipledger and for what a user would have otherwise, turn by turn.

A /16 is filled one address at a time, lowest first; an address is acquired and released at half
fill; sixteen callers ask at once. Each peer has a store of its own on the same disk.

What is like for like: one machine, one run, turn by turn; lowest free address first; an owner kept
with each address; Redis, SQLite and ipledger answer only when the disk has it. What is not:

- ipledger also writes history, refuses a repeated request, checks that nothing was lost or altered,
  and asks a server in another process. SQLite is a file in the caller's process: no round trip.
- The peers in memory survive nothing. They are the floor, not an alternative.
- The lock of SQLite makes one writer of all processes on one machine; ipledger and the document in
  Redis need no lock and serve many machines. openwisp-ipam has no lock at this place: of two calls
  at once both may get the same address. What was seen of that is a size beside its figures.
- Python's threads share one core: sixteen callers of a peer that computes much wait for each other.
"""

from __future__ import annotations

import importlib.util
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final, NamedTuple

from benchmarks.bare import BareEvalsha, BareScript, ready_made
from benchmarks.harness import Bench, Figure, Options, Report, Timing
from benchmarks.peers.document import Document
from benchmarks.peers.memory import FreeSet, HostScan
from benchmarks.peers.openwisp import Openwisp
from benchmarks.peers.ours import Ours, Tasks
from benchmarks.peers.peer import QUICK, WIDE, ConflictError, Held, Job, Peer
from benchmarks.peers.sqlite import COMMIT, BareCommit, FreeTable, LockAndScan

CALLERS: Final = 16
HALF: Final = 50
ROUND_TRIP: Final = "EVALSHA that only writes the same bytes"
# Sixteen callers that need longer than this for one address each ask for only one in a turn.
SLOW_S: Final = 0.5

_number = itertools.count()
_counting = threading.Lock()


Work = tuple[Timing, Callable[[], object]]


class Extent(NamedTuple):
    """How much is done.

    Attributes:
        shares: the fills at which one caller is measured, in percent.
        few: the one of them at which sixteen callers are let loose on every peer.
        rounds: how often it is everybody's turn.
        times: how many calls a turn has.
        each: how many addresses each of sixteen callers wants in a turn.
        budget_s: how long one peer may take in all at one fill.
    """

    job: Job
    shares: tuple[int, ...]
    few: int
    rounds: int
    times: int
    each: int
    budget_s: float


FULL: Final = Extent(
    Job(WIDE), (0, 2, 25, 50, 75, 99), few=2, rounds=60, times=5, each=4, budget_s=3.0
)
SHORT: Final = Extent(Job(QUICK), (0, 50, 99), few=0, rounds=2, times=1, each=1, budget_s=0.2)


def owner() -> str:
    """A name that nobody has had yet."""
    return f"cluster-1/default/pod-{next(_number)}"


class Race:
    """The peers that are installed, the two bare writes, and what is measured of them."""

    def __init__(self, bench: Bench, extent: Extent, report: Report) -> None:
        self.extent = extent
        self.report = report
        self.missing: list[str] = []
        job = extent.job
        self.round_trip = BareEvalsha(bench.client, "bare", ready_made(1))
        self.script = BareScript(bench.client, "bare-script", ready_made(CALLERS))
        self.commit = BareCommit(bench.home / "bare.sqlite3")
        self.ours = Ours(bench, job, ROUND_TRIP)
        makers: tuple[tuple[type[Peer], Callable[[], Peer]], ...] = (
            (FreeTable, lambda: FreeTable(bench.home / "free.sqlite3", job)),
            (LockAndScan, lambda: LockAndScan(bench.home / "scan.sqlite3", job)),
            (Document, lambda: Document(bench.client, job, ROUND_TRIP)),
            (Openwisp, lambda: Openwisp(bench.home / "openwisp.sqlite3", job)),
            (FreeSet, lambda: FreeSet(job)),
            (HostScan, lambda: HostScan(job)),
        )
        self.peers: list[Peer] = [self.ours]
        for kind, make in makers:
            if kind.needs is None or importlib.util.find_spec(kind.needs) is not None:
                self.peers.append(make())
            else:
                self.missing.append(kind.name)
        self.step = max(job.size // 100, 1)
        self.held: Counter[Peer] = Counter()
        self.filling = {peer: Timing(self.step) for peer in self.peers if peer.flat}

    def close(self) -> None:
        """End all of them."""
        self.commit.close()
        for peer in self.peers:
            peer.close()

    def taken(self, percent: int) -> int:
        """How many addresses are taken when so much of the prefix is."""
        return self.extent.job.size * percent // 100

    def fill(self, percent: int) -> None:
        """Bring every store to the same fill: by calls that are timed, or the fastest way."""
        goal = self.taken(percent)
        flat = [peer for peer in self.peers if peer.flat]
        while any(self.held[peer] + self.step <= goal for peer in flat):
            for peer in flat:
                if self.held[peer] + self.step <= goal:
                    self.filling[peer].take(partial(self._acquire_step, peer))
        for peer in self.peers:
            peer.fill_to(goal)
            self.held[peer] = goal

    def _acquire_step(self, peer: Peer) -> None:
        for _ in range(self.step):
            self._acquire(peer)

    def _acquire(self, peer: Peer) -> None:
        peer.acquire(owner())
        self.held[peer] += 1

    def filled(self) -> None:
        """What filling by calls took, a hundredth of the prefix at a time."""
        for peer, timing in self.filling.items():
            sizes = {"addresses": len(timing.durations_s) * self.step}
            name = f"{peer.name}: fill, one address at a time"
            self.report.add(Figure(name, timing, sizes=sizes))
        if self.missing:
            last = self.report.figures[-1]
            said = f"not measured, since not installed: {', '.join(self.missing)}"
            self.report.figures[-1] = last._replace(note=said)

    def acquire(self, percent: int) -> None:
        """One caller, one address after the other, at a fill, in turns with the bare writes."""
        sizes = {"percent": percent, "taken": self.taken(percent)}
        bare: tuple[tuple[str, Work], ...] = (
            (ROUND_TRIP, (Timing(), self.round_trip)),
            (COMMIT, (Timing(), self.commit)),
        )
        works: list[Work] = [(Timing(), partial(self._acquire, peer)) for peer in self.peers]
        within(self.extent, [*(work for _, work in bare), *works])
        for name, (timing, _) in bare:
            self.report.add(Figure(f"{name}, beside {percent} %", timing, sizes=sizes))
        for peer, (timing, _) in zip(self.peers, works, strict=True):
            ceiling = peer.ceiling and f"{peer.ceiling}, beside {percent} %"
            name = f"{peer.name}: acquire at {percent} %"
            self.report.add(Figure(name, timing, ceiling, sizes))

    def acquire_and_release(self, percent: int) -> None:
        """One caller who gives each address back at once."""
        works = [(Timing(), partial(_pair, peer)) for peer in self.peers]
        within(self.extent, works)
        sizes = {"percent": percent, "taken": self.taken(percent)}
        for peer, (timing, _) in zip(self.peers, works, strict=True):
            name = f"{peer.name}: acquire and release at {percent} %"
            self.report.add(Figure(name, timing, sizes=sizes))

    def together(self, percent: int, peers: Sequence[Peer]) -> None:
        """Sixteen callers at once, who ask again when answered."""
        with ExitStack() as stack:
            crowds: list[Crowd] = []
            for peer in peers:
                ask = stack.enter_context(_threads(peer))
                crowds.append(Crowd(f"{peer.name}: {CALLERS} threads at {percent} %", peer, ask))
            shared = Tasks(self.ours, owner)
            stack.callback(shared.close)
            name = f"{self.ours.name}: {CALLERS} asyncio tasks at {percent} %"
            crowds.insert(0, Crowd(name, self.ours, _tasks(shared)))
            self._let_loose(crowds, percent)

    def _let_loose(self, crowds: Sequence[Crowd], percent: int) -> None:
        script = Timing(CALLERS)
        for crowd in crowds:
            crowd.warm(self.extent.each, self.extent.budget_s)
        for _ in range(max(self.extent.rounds // 4, 1)):
            script.take(self.script, 3)
            for crowd in crowds:
                crowd.go(self.extent.budget_s)
        ceiling = f"append.lua by raw EVALSHA, {CALLERS} a call, beside {percent} %"
        self.report.add(Figure(ceiling, script))
        for crowd in crowds:
            sizes = {
                "percent": percent,
                "taken": self.taken(percent),
                "asked_again": crowd.counts["conflicts"],
                "given_out_twice": crowd.counts["twice"],
            }
            beside = ceiling if crowd.peer is self.ours else None
            self.report.add(
                Figure(crowd.name, crowd.whole, beside, sizes),
                Figure(f"{crowd.name}, what one waits", crowd.latency),
            )


# So many addresses for each of the callers; how long each waited, and what was counted.
Turn = Callable[[int, Timing, Counter[str]], list[Held]]


class Crowd:
    """Sixteen callers of one peer: how long a turn of theirs takes, and what went wrong."""

    def __init__(self, name: str, peer: Peer, turn: Turn) -> None:
        self.name = name
        self.peer = peer
        self.turn = turn
        self.whole = Timing()
        self.latency = Timing()
        self.counts: Counter[str] = Counter()
        self.each = 1

    def warm(self, each: int, budget_s: float) -> None:
        """Let the threads and their connections be there before anything is timed."""
        tried = Timing()
        for _ in range(3):  # a busy moment must not pass for a slow peer
            tried.take(lambda: self._give_back(self.turn(1, Timing(), Counter())))
            if tried.durations_s[-1] <= SLOW_S or sum(tried.durations_s) >= budget_s:
                break
        self.each = 1 if tried.durations_s[-1] > SLOW_S else each
        self.whole.items = CALLERS * self.each

    def go(self, budget_s: float) -> None:
        """One more turn, unless the time for it is used up; all is given back, untimed."""
        spent = self.whole.durations_s
        if spent and sum(spent) >= budget_s:
            return
        held: list[Held] = []
        self.whole.take(lambda: held.extend(self.turn(self.each, self.latency, self.counts)))
        self.counts["twice"] += len(held) - len({one.address for one in held})
        self._give_back(held)

    def _give_back(self, held: Sequence[Held]) -> None:
        for one in held:
            self.peer.release(one)


def _tasks(shared: Tasks) -> Turn:
    return lambda each, latency, _: shared.turn(CALLERS, each, latency)


@contextmanager
def _threads(peer: Peer) -> Iterator[Turn]:
    """Sixteen threads, and how to have them all ask: again until each has its address."""
    barrier = threading.Barrier(CALLERS)

    def leave(_: int) -> None:
        barrier.wait()
        peer.leave()

    def turn(each: int, latency: Timing, counts: Counter[str]) -> list[Held]:
        def caller(_: int) -> list[Held]:
            held: list[Held] = []
            for _ in range(each):
                latency.take(lambda: held.append(_until_held(peer, counts)))
            return held

        return [held for mine in executor.map(caller, range(CALLERS)) for held in mine]

    with ThreadPoolExecutor(CALLERS) as executor:
        yield turn
        list(executor.map(leave, range(CALLERS)))


def _until_held(peer: Peer, counts: Counter[str]) -> Held:
    asked_by = owner()
    while True:
        try:
            return peer.acquire(asked_by)
        except ConflictError:
            with _counting:
                counts["conflicts"] += 1


def _pair(peer: Peer) -> None:
    peer.release(peer.acquire(owner()))


def within(extent: Extent, works: Sequence[Work]) -> None:
    """Turn by turn; who has used up its time sits out, so that the slowest end, too."""
    for _ in range(extent.rounds):
        for timing, work in works:
            for _ in range(extent.times):
                if sum(timing.durations_s) < extent.budget_s:
                    timing.take(work)


def measure(options: Options, bench: Bench) -> Report:
    """All peers at every fill; the callers nearly empty and at half fill."""
    report = Report("peers", bench, options)
    extent = SHORT if options.quick else FULL
    race = Race(bench, extent, report)
    try:
        for percent in extent.shares:
            race.fill(percent)
            race.acquire(percent)
            if percent == extent.few:
                race.together(percent, race.peers)
            if percent == HALF:
                race.acquire_and_release(percent)
                race.together(percent, [peer for peer in race.peers if peer.asked_at_half])
        race.filled()
    finally:
        race.close()
    return report
