"""Several writers on one space in memory, who start and stop pods: what random scenarios are of.

Where Spiderpool speaks of pods, an owner stands for a pod's name and a uid for its incarnation.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final

from engine.commands import PutPool, PutReservation
from engine.errors import Refusal
from ipledger.writing import Call, Done
from tests.builders import TestLedger, granted, make_allocate, make_release
from tests.invariants import check_stream

SEEDS: Final = range(20)
USED_OUT: Final = "all IP addresses used out"


def ips(first: int, last: int) -> list[str]:
    """Addresses of 10.0.0.0/24."""
    return [f"10.0.0.{first}-10.0.0.{last}"]


class Cluster:
    """Writers on one space, of which each knows its own past; a round is one turn of each."""

    def __init__(self, seed: int, *objects: PutPool | PutReservation, writers: int = 3) -> None:
        """Begin a space, in which `objects` are defined, if there are any."""
        self.random = Random(seed)  # noqa: S311 - a simulation
        self.first = TestLedger(seed=seed * 10)
        if objects:
            self.first.apply(*objects)
        self.writers = [self.first] + [
            TestLedger(seed=seed * 10 + n, beside=self.first) for n in range(1, writers)
        ]
        self.seed = seed

    def carry(self, calls: Iterable[tuple[TestLedger, Call]]) -> None:
        """Carry calls through their writers, in any order, until all are answered."""
        queues: list[tuple[TestLedger, list[Call]]] = [(w, []) for w in self.writers]
        for writer, call in calls:
            next(queue for at, queue in queues if at is writer).append(call)
        for _round in range(1_000):
            queues = [(writer, queue) for writer, queue in queues if queue]
            if not queues:
                return
            planned = [(writer, writer.plan(*queue)) for writer, queue in queues]
            self.random.shuffle(planned)
            queues = [(writer, list(writer.append(batch))) for writer, batch in planned]
        raise AssertionError(f"seed {self.seed}: the calls were not answered in 1,000 rounds")

    def start(
        self, pods: Iterable[tuple[str, str]], pool: str = "pool"
    ) -> dict[tuple[str, str], str]:
        """Let pods, by name and uid, ask from any writer; the addresses of those that got one."""
        calls: dict[tuple[str, str], tuple[TestLedger, Call]] = {}
        for owner, uid in pods:
            writer = self.random.choice(self.writers)
            calls[owner, uid] = writer, writer.call(make_allocate(pool, owner=owner, uid=uid))
        self.carry(calls.values())
        got: dict[tuple[str, str], str] = {}
        for pod, (_, call) in calls.items():
            if isinstance(call.outcome, Done):
                (lease,) = granted(call.outcome)
                got[pod] = lease.text
            else:
                assert isinstance(call.outcome, Refusal), f"seed {self.seed}: {call.outcome}"
                assert call.outcome.kind == "exhausted", f"seed {self.seed}: {call.outcome}"
        return got

    def stop(self, owners: Iterable[str]) -> None:
        """Let pods go, from any writer."""
        chosen = [(self.random.choice(self.writers), owner) for owner in owners]
        self.carry([(w, w.call(make_release(owner=owner))) for w, owner in chosen])

    def restart_a_writer(self) -> None:
        """One process dies and another takes its place, which knows nothing but the stream."""
        at = self.random.randrange(1, len(self.writers))
        seed = self.random.randrange(10**6, 10**9)
        self.writers[at] = TestLedger(seed=seed, beside=self.first)

    def check(self, alive: Iterable[tuple[str, str]], number: int) -> None:
        """After a phase: each record is a live pod of that uid, none twice, the count exact."""
        for writer in self.writers:
            writer.refresh()
        where = f"seed {self.seed}, position {self.first.state.position}"
        leases = list(self.first.state.leases())
        assert len({lease.address for lease in leases}) == len(leases), where
        assert {(lease.owner, lease.uid) for lease in leases} <= set(alive), where
        counted = [self.first.state.counts(pool.pool_id) for pool in self.first.state.pools()]
        assert len(leases) == sum(counts.leased for counts in counted) == number, where
        try:
            check_stream(self.first.stream, *(writer.digest() for writer in self.writers))
        except AssertionError as error:
            raise AssertionError(f"{where}: {error}") from error
