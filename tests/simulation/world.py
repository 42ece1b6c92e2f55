"""Three clusters that share address pools: a long history from a seed, in memory.

Each cluster has a writer of its own on one stream, with its own state and the real protocol, real
decisions and real bytes; only the server, the threads and the clock are simulated. The same seed
gives the same bytes. Beside the stream it leaves the list of facts that it knows by its own hand,
for `tests.simulation.oracle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Final, NamedTuple

from engine.addresses import Address, RangeSet, from_int
from engine.commands import (
    Allocate,
    Apply,
    Claim,
    Command,
    PutBack,
    Release,
    Renew,
    SetAside,
    Sweep,
)
from engine.entry import Record
from engine.errors import Refusal
from engine.events import LeaseEnded, LeaseGranted
from engine.memory_stream import MemoryStream
from ipledger.writing import Call, Done, Held, Outcome
from projections.collector import seldom_collecting
from tests.builders import TestLedger, make_delete, make_pool, make_reservation, text_of
from tests.simulation.oracle import Fact

CLUSTERS: Final = ("c1", "c2", "c3")
_CALLS: Final = 150  # in each turn of a cluster
_HELD: Final = 5_000  # leases, about
_NAMES: Final = 2_500  # of pods in each cluster; they are used again and again
_LATE_MS_MAX: Final = 1_800_000
_TURN_MS: Final = (20_000, 160_000)

_POOLS: Final = (
    make_pool("c1-pods", "10.1.0.0/20", ttl_s=3_600),
    make_pool("c2-pods", "10.2.0.0/21", ttl_s=7_200, cooldown_s=60),
    make_pool("c3-pods", "10.3.0.0/21", cooldown_s=300),
    make_pool("shared", "10.10.0.0/22", ttl_s=10_800),
    make_pool("v6", "fd00:10::/64"),
)
# Deleted with all its leases and made anew, again and again.
_VOLATILE: Final = make_pool("volatile", "10.20.0.0/24", ttl_s=1_800)
_SHARED_FIRST: Final = 0x0A0A0001

_Holder = tuple[str, str]  # owner and interface
_Groups = tuple[tuple[str, ...], ...]


class _Ask(NamedTuple):
    """A command, and what follows for the facts once it is committed."""

    command: Command
    then: Callable[[Done], None]


class Simulation:
    """A world that goes on as long as it is asked to."""

    def __init__(self, seed: int = 0) -> None:
        self.facts: list[Fact] = []
        self.refused = 0
        first = TestLedger(seed=seed * len(CLUSTERS))
        others = [
            TestLedger(seed=seed * len(CLUSTERS) + at, beside=first)
            for at in range(1, len(CLUSTERS))
        ]
        self._writers = dict(zip(CLUSTERS, (first, *others), strict=True))
        self._clock = first.clock
        self._random = Random(f"world {seed}")  # noqa: S311 - the same history on every run
        self._held: dict[int, Fact] = {}
        self._active: list[int] = []  # the same leases in a list, to draw from
        self._places: dict[int, int] = {}
        self._of: dict[_Holder, list[int]] = {}
        self._groups: dict[_Holder, _Groups] = {}
        self._busy: set[_Holder] = set()  # what a turn has spoken of already
        self._reserved: set[str] = set()
        self._aside: set[str] = set()
        self._uids = 0
        self._turns = 0
        self.stream: MemoryStream = first.stream
        self._carry("c1", [_Ask(Apply((*_POOLS, _VOLATILE)), _nothing)])

    @property
    def now_ms(self) -> int:
        """The time of the world."""
        return self._clock.now_ms

    @property
    def events(self) -> int:
        """How many events there are."""
        return len(self.stream.entries)

    def run(self, events: int) -> None:
        """Go on until there are so many events, or a few more."""
        with seldom_collecting():
            while self.events < events:
                self.turn()

    def turn(self) -> None:
        """Some time passes, and one cluster does what it has to do."""
        self._turns += 1
        self._clock.now_ms += self._random.randint(*_TURN_MS)
        cluster = self._random.choice(CLUSTERS)
        self._busy.clear()
        if self._turns % 2 == 0:
            self._sweep(cluster)
        self._carry(cluster, list(self._changes()))
        self._carry(cluster, list(self._life(cluster)))

    # ------------------------------------------------------------------------------- what happens

    def _life(self, cluster: str) -> Iterator[_Ask]:
        """Pods come, come again, go on and go."""
        share = 0.45 if len(self._held) < _HELD else 0.3
        for _ in range(_CALLS):
            drawn = self._random.random()
            if drawn < share:
                yield from self._grant(cluster)
            elif drawn < share + 0.35:
                yield from self._renew()
            else:
                yield from self._release()

    def _grant(self, cluster: str) -> Iterator[_Ask]:
        """A pod, or a new incarnation of one, asks for its addresses; now and then it is late."""
        number = self._random.randrange(_NAMES)
        holder = f"{cluster}/ns-{number % 7}/pod-{number}", self._random.choice(_INTERFACES)
        if holder in self._busy:
            return
        self._busy.add(holder)
        held = [self._held[lease] for lease in self._of.get(holder, ())]
        groups = self._groups[holder] if held else self._random.choice(_GROUPS[cluster])
        effective_ms = None
        if self._random.random() < 0.06:
            earliest = max([fact.effective_from_ms for fact in held], default=0)
            effective_ms = max(earliest, self.now_ms - self._random.randrange(_LATE_MS_MAX))
        self._uids += 1
        ttl_s = self._random.choice(_TTLS)
        command = Allocate(
            groups, *holder, f"uid-{self._uids}", ttl_s=ttl_s, cluster=cluster,
            labels=(("app", f"app-{number % 11}"), ("node", f"n{self._random.randrange(40)}")),
            effective_at_ms=effective_ms,
        )  # fmt: skip
        yield _Ask(command, lambda done: self._granted(command, done))

    def _granted(self, command: Allocate, done: Done) -> None:
        holder = command.owner, command.interface
        mine = set(self._of.get(holder, ()))
        for record in done.records:
            match record.event:
                case LeaseEnded(lease=lease) if lease in mine:
                    self._close(lease, "superseded", command.effective_at_ms)
                case LeaseEnded(lease=lease):
                    self._close(lease, "expired", None)  # it made room in an exhausted pool
                case LeaseGranted():
                    self._open(command, record, record.event)
                case _:
                    pass  # an address whose holder was in conflict is set aside at its end
        self._groups[holder] = command.groups

    def _open(self, command: Allocate, record: Record, event: LeaseGranted) -> None:
        # The address and the lease's id are what was answered; all else is what was asked.
        effective_ms = command.effective_at_ms
        assert command.uid is not None
        assert command.cluster is not None
        fact = Fact(
            record.position, Address(event.address), _pool_of(event.address),
            command.owner, command.interface, command.uid, command.labels, command.cluster,
            self.now_ms, self.now_ms if effective_ms is None else effective_ms,
        )  # fmt: skip
        self.facts.append(fact)
        self._held[fact.lease] = fact
        self._of.setdefault((fact.owner, fact.interface), []).append(fact.lease)
        self._places[fact.lease] = len(self._active)
        self._active.append(fact.lease)

    def _close(self, lease: int, ended_by: str, effective_ms: int | None) -> None:
        fact = self._held.pop(lease)
        fact.ended_ms = self.now_ms
        fact.effective_to_ms = self.now_ms if effective_ms is None else effective_ms
        fact.ended_by = ended_by
        holder = fact.owner, fact.interface
        self._of[holder].remove(lease)
        if not self._of[holder]:
            del self._of[holder]
        place, last = self._places.pop(lease), self._active.pop()
        if last != lease:
            self._active[place] = last
            self._places[last] = place

    def _drawn(self) -> Fact | None:
        """A lease that this turn has not spoken of yet."""
        if not self._active:
            return None
        fact = self._held[self._random.choice(self._active)]
        holder = fact.owner, fact.interface
        if holder in self._busy:
            return None
        self._busy.add(holder)
        return fact

    def _renew(self) -> Iterator[_Ask]:
        fact = self._drawn()
        if fact is not None:
            yield _Ask(Renew(fact.lease), _nothing)

    def _release(self) -> Iterator[_Ask]:
        """A pod goes; now and then that is told late."""
        fact = self._drawn()
        if fact is None:
            return
        effective_ms = None
        if self._random.random() < 0.1:
            earliest = max(fact.effective_from_ms, self.now_ms - _LATE_MS_MAX)
            effective_ms = self._random.randint(earliest, self.now_ms)
        command = Release((fact.lease,), effective_at_ms=effective_ms)
        yield _Ask(command, lambda done: self._ended(done, "released", effective_ms))

    def _ended(self, done: Done, ended_by: str, effective_ms: int | None = None) -> None:
        for record in done.records:
            if isinstance(record.event, LeaseEnded):
                self._close(record.event.lease, ended_by, effective_ms)

    def _sweep(self, cluster: str) -> None:
        """Whatever is past its time ends."""
        ask = _Ask(Sweep(), lambda done: self._ended(done, "expired"))
        while self._carry(cluster, [ask]):
            pass

    def _changes(self) -> Iterator[_Ask]:
        """Pools, reservations and quarantines come and go."""
        if self._turns % 40 == 0:
            delete = make_delete("volatile", cascade=True)
            yield _Ask(delete, lambda done: self._ended(done, "revoked"))
        if self._turns % 40 == 4:
            yield _Ask(Apply((_VOLATILE,)), _nothing)
        if self._turns % 23 == 0:
            ttl_s = self._random.choice([3_600, 10_800])
            yield _Ask(Apply((make_pool("shared", "10.10.0.0/22", ttl_s=ttl_s),)), _nothing)
        if self._turns % 3 == 0:
            yield self._reservation()
        if self._turns % 4 == 0:
            yield self._quarantine()

    def _reservation(self) -> _Ask:
        number = self._random.randrange(6)
        name = f"kept-{number}"
        if name in self._reserved and self._random.random() < 0.5:
            self._reserved.discard(name)
            return _Ask(make_delete(reservations=[name]), _nothing)
        self._reserved.add(name)
        first = _SHARED_FIRST + 64 + number * 16
        last = first + self._random.randrange(8)
        span = f"{text_of(from_int(first, 4))}-{text_of(from_int(last, 4))}"
        owner = f"c1/ns-0/pod-{number * 7}" if number % 3 == 0 else None
        return _Ask(Apply((make_reservation(name, span, owner=owner),)), _nothing)

    def _quarantine(self) -> _Ask:
        address = text_of(from_int(_SHARED_FIRST + self._random.randrange(60), 4))
        ips = RangeSet.parse([address])
        if address in self._aside:
            self._aside.discard(address)
            return _Ask(PutBack(ips), _nothing)
        self._aside.add(address)
        for_s = self._random.choice([None, 3_600])
        return _Ask(SetAside(ips, "something answers", for_s), _nothing)

    # -------------------------------------------------------------------------- how it is written

    def _carry(self, cluster: str, asks: list[_Ask]) -> int:
        """Carry out commands in as many round trips as it takes; return how many committed."""
        writer = self._writers[cluster]
        claim = Claim(actor=f"{cluster}-agent")
        calls = {writer.call(ask.command, claim=claim): ask for ask in asks}
        waiting: tuple[Call, ...] = tuple(calls)
        for _round in range(100):
            if not waiting:
                break
            waiting = writer.append(writer.plan(*waiting))
        assert not waiting, "a call was not answered in 100 rounds"
        return sum(self._answered(call.outcome, ask) for call, ask in calls.items())

    def _answered(self, outcome: Outcome | None, ask: _Ask) -> bool:
        if isinstance(outcome, Done):
            ask.then(outcome)
            return True
        assert isinstance(outcome, Refusal | Held), outcome
        self.refused += isinstance(outcome, Refusal)
        return False


@cache
def simulated(events: int, seed: int = 0) -> Simulation:
    """A world of so many events; the same one for all who ask. They look at it only."""
    simulation = Simulation(seed)
    simulation.run(events)
    return simulation


_INTERFACES: Final = ("eth0",) * 9 + ("net1",)
_TTLS: Final = (None,) * 9 + (900,)
_GROUPS: Final[dict[str, tuple[_Groups, ...]]] = {
    cluster: (
        *(((f"{cluster}-pods", "shared"),),) * 6,
        (("shared",),),
        ((f"{cluster}-pods", "shared"), ("v6",)),
        (("volatile", "shared"),),
    )
    for cluster in CLUSTERS
}


def _nothing(_done: Done) -> None:
    """No fact follows."""


def _pool_of(raw: bytes) -> str:
    """The pool that an address is of: they do not overlap."""
    if len(raw) == 16:
        return "v6"
    return {1: "c1-pods", 2: "c2-pods", 3: "c3-pods", 10: "shared", 20: "volatile"}[raw[1]]
