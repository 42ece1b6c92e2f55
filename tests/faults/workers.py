"""What the processes of the multi-process tests do. They are started from a fork server."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from threading import Thread
from typing import Any, NamedTuple

import ipledger
from engine.entry import Anchor
from engine.model import LOCAL, Durability
from engine.stream import AppendReply, AppendsWhenFetched, Committed, Conflict, Proposal, Stream

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["tests.faults.workers", "ipledger.ledger", "engine.redis_stream", "replay.mirror"]
)


class Said(NamedTuple):
    """What one caller was answered: a lease's address, or the kind of a refusal."""

    owner: str
    address: str | None
    kind: str | None
    message: str


def run_all(work: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Run `work(barrier, results, *arguments)` in a process for each; return all results."""
    barrier = CONTEXT.Barrier(len(arguments))
    results = CONTEXT.SimpleQueue()
    processes = [
        CONTEXT.Process(target=work, args=(barrier, results, *given)) for given in arguments
    ]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0, "a worker died"
    return found


def create_pool(barrier: Barrier, results: Any, url: str, space: str, number: int) -> None:
    """One of many creators of overlapping pools."""
    with ipledger.connect(url, space, state_dir=_states(space)) as ledger:
        barrier.wait(60)
        definition = ipledger.pool(
            f"pool-{number}", subnet="10.7.0.0/16", ips=[f"10.7.0.{number}-10.7.9.0"]
        )
        try:
            ledger.apply(definition)
        except ipledger.LedgerError as error:
            results.put(Said(f"pool-{number}", None, error.kind, error.message))
        else:
            results.put(Said(f"pool-{number}", "created", None, ""))


def allocate_from_threads(
    barrier: Barrier, results: Any, url: str, space: str, process: int, threads: int, each: int
) -> None:
    """Many callers of one process, each allocating for owners of its own."""
    said: list[Said] = []
    with ipledger.connect(url, space, state_dir=_states(space)) as ledger:
        barrier.wait(60)

        def caller(number: int) -> None:
            said.extend(_allocate(ledger, f"o-{process}-{number}-{at}") for at in range(each))

        callers = [Thread(target=caller, args=(number,)) for number in range(threads)]
        for thread in callers:
            thread.start()
        for thread in callers:
            thread.join()
    results.put(said)


def _allocate(ledger: ipledger.Ledger, owner: str) -> Said:
    try:
        answer = ledger.allocate("p", owner=owner)
    except ipledger.LedgerError as error:
        return Said(owner, None, error.kind, error.message)
    return Said(owner, answer.granted[0].text, None, "")


class FarStream(AppendsWhenFetched):
    """A stream behind a delay, that counts what became of the proposals sent through it."""

    def __init__(self, stream: Stream, one_way_s: float) -> None:
        self._stream = stream
        self._one_way_s = one_way_s
        self.committed = 0
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def append(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:  # fmt: skip
        """As the stream's, half of the delay before and half of it after."""
        time.sleep(self._one_way_s)
        reply = self._stream.append(after, voided, now_ms, proposals, wanted)
        time.sleep(self._one_way_s)
        self.committed += sum(isinstance(verdict, Committed) for verdict in reply.verdicts)
        self.refused += sum(isinstance(verdict, Conflict) for verdict in reply.verdicts)
        if reply.status == "behind":
            self.refused += len(proposals)
        return reply


def allocate_from_afar(barrier: Barrier, results: Any, url: str, space: str, number: int) -> None:
    """One caller, one address after the other, behind 20 ms there and back."""
    with ipledger.connect(url, space, state_dir=_states(space)) as ledger:
        far = FarStream(ledger.writer.stream, 0.010)
        ledger.writer.stream = far
        barrier.wait(60)
        said = [_allocate(ledger, f"far-{at}") for at in range(number)]
    results.put((said, far.committed, far.refused))


def allocate_nearby(barrier: Barrier, results: Any, url: str, space: str, seconds: float) -> None:
    """One busy caller beside the server, for a bounded time."""
    with ipledger.connect(url, space, state_dir=_states(space)) as ledger:
        barrier.wait(60)
        until = time.monotonic() + seconds
        said: list[Said] = []
        while time.monotonic() < until:
            said.append(_allocate(ledger, f"near-{len(said)}"))
    results.put((said, 0, 0))


def _states(space: str) -> str:
    """High-water marks of a space that one test made and nobody uses again."""
    import tempfile

    return f"{tempfile.gettempdir()}/ipledger-tests-{space}"
