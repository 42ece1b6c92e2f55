"""What starts and stops pods on a real server: processes of which one is killed in the middle.

The driver gives each process a share of the work and hears every answer. One of them is killed
(SIGKILL) at an append that is drawn beforehand: on its way to the server, or on its way back, when
the commit stands and nobody knows. Then all of its share is done again by another process: whoever
repeats what was done already is answered as before.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from random import Random
from typing import Any, NamedTuple

import ipledger
from engine.entry import Anchor
from engine.model import LOCAL, Durability
from engine.stream import AppendReply, AppendsWhenFetched, Proposal, Stream
from tests.faults.workers import CONTEXT
from tests.invariants import check_stream


class Pod(NamedTuple):
    """A pod by its name, and by its incarnation."""

    owner: str
    uid: str


class Task(NamedTuple):
    """A pod shall start, or go."""

    pod: Pod
    stop: bool = False


class Heard(NamedTuple):
    """An answer: the address, or None for a pod that is gone or was told `exhausted`."""

    task: Task
    address: str | None


Answers = dict[Task, str | None]


class Death(NamedTuple):
    """When a process is killed: at this append of its own, counted from 0, there or back."""

    append: int
    on_the_way_back: bool


class _Share(NamedTuple):
    """A process, what it has to do, and where it is heard."""

    process: BaseProcess
    tasks: Sequence[Task]
    connection: Connection


class _MortalStream(AppendsWhenFetched):
    """A stream whose writer is killed at one of its appends."""

    def __init__(self, stream: Stream, death: Death) -> None:
        self._stream = stream
        self._death = death
        self._appends = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def append(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:  # fmt: skip
        """As the stream's, until its time has come."""
        dies = self._appends == self._death.append
        self._appends += 1
        if dies and not self._death.on_the_way_back:
            os.kill(os.getpid(), signal.SIGKILL)
        reply = self._stream.append(after, voided, now_ms, proposals, wanted)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return reply


def work(
    connection: Connection, url: str, space: str, states: str,
    tasks: Sequence[Task], death: Death | None,
) -> None:  # fmt: skip
    """One process: carry out tasks one after the other, and say each answer, as long as it lives.

    An answer that was sent before the death is heard: it is in the pipe by then.
    """
    with ipledger.connect(url, space, state_dir=states) as ledger:
        if death is not None:
            ledger.writer.stream = _MortalStream(ledger.writer.stream, death)
        for task in tasks:
            connection.send(Heard(task, _carry(ledger, task)))
    connection.close()


def _carry(ledger: ipledger.Ledger, task: Task) -> str | None:
    if task.stop:
        ledger.release(owner=task.pod.owner)
        return None
    try:
        answer = ledger.allocate("p", owner=task.pod.owner, uid=task.pod.uid)
    except ipledger.Refused as refused:
        if refused.kind != "exhausted":
            raise
        return None
    lease = ledger.state.lease((*answer.held, *(lease.lease_id for lease in answer.granted))[0])
    assert lease is not None, "nobody else ends what was just granted"
    return lease.text


class Processes:
    """The driver: rounds of work on one space, each with a death in it."""

    def __init__(self, seed: int, url: str, space: str, states: str, *ips: str) -> None:
        """Create the space, and in it pool p with the addresses `ips`."""
        self.random = Random(seed)  # noqa: S311 - the same work on every run
        self.seed = seed
        self._where = (url, space, states)
        self.killed = 0
        with self.connect() as ledger:
            ledger.create_space()
            ledger.apply(ipledger.pool("p", subnet="10.0.0.0/24", ips=ips))

    def connect(self) -> ipledger.Ledger:
        """A fresh reader: it stops at any hole, double grant or damaged entry."""
        url, space, states = self._where
        return ipledger.connect(url, space, state_dir=states)

    def carry(self, tasks: Iterable[Task], processes: int = 3) -> dict[Pod, str]:
        """Do tasks in any order; one process is killed. The addresses of who got one."""
        mixed = sorted(tasks)
        self.random.shuffle(mixed)
        parts = [mixed[n::processes] for n in range(processes) if mixed[n::processes]]
        if not parts:
            return {}
        mortal = self.random.randrange(len(parts))
        death = Death(self.random.randrange(len(parts[mortal])), self.random.random() < 0.7)
        shares = [self._start(part, death if n == mortal else None) for n, part in enumerate(parts)]
        heard: Answers = {}
        for share in shares:
            answers = self._hear(share)
            if share.process.exitcode == -signal.SIGKILL:
                self.killed += 1
                again = self._start(share.tasks)
                before, answers = answers, self._hear(again)
                self._check_repeated(before, answers)
                assert again.process.exitcode == 0, f"seed {self.seed}: a process died"
            else:
                assert share.process.exitcode == 0, f"seed {self.seed}: a process died"
            heard.update(answers)
        assert heard.keys() == set(mixed), f"seed {self.seed}: not everything was answered"
        return {task.pod: address for task, address in heard.items() if address is not None}

    def check(self, alive: dict[Pod, str]) -> None:
        """Every record is a live pod of that uid at the address that it was told; none else."""
        with self.connect() as ledger:
            leases = list(ledger.state.leases())
            found = {Pod(lease.owner, lease.uid or ""): lease.text for lease in leases}
            where = f"seed {self.seed}, position {ledger.position}"
            assert found == alive, where
            assert len(set(found.values())) == len(leases) == len(found), where
            (pool,) = ledger.state.pools()
            assert ledger.state.counts(pool.pool_id).leased == len(alive), where
            assert ledger.position == ledger.writer.stream.head().length, where

    def audit(self) -> None:
        """Whatever ever happened: no invariant was broken at any commit."""
        with self.connect() as ledger:
            check_stream(ledger.writer.stream, ledger.digest())

    def _start(self, tasks: Sequence[Task], death: Death | None = None) -> _Share:
        ours, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=work, args=(theirs, *self._where, tasks, death))
        process.start()
        theirs.close()  # so that its end is heard
        return _Share(process, tasks, ours)

    def _hear(self, share: _Share) -> Answers:
        """The answers of a process until it has ended."""
        heard: Answers = {}
        with suppress(EOFError):
            while True:
                assert share.connection.poll(60), f"seed {self.seed}: a process is silent"
                answer: Heard = share.connection.recv()
                heard[answer.task] = answer.address
        share.process.join(60)
        return heard

    def _check_repeated(self, before: Answers, after: Answers) -> None:
        """Who had been told an address is told the same again; who had none may have one now."""
        for task, address in before.items():
            if address is not None:
                assert after[task] == address, f"seed {self.seed}: {task}"
