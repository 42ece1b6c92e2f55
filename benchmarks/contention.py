"""Writers in several processes on one pool, all lowest first, beside one process alone."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from typing import Any, Final, NamedTuple

import ipledger
from benchmarks.allocate import CountingStream
from benchmarks.harness import Bench, Figure, Options, Report, Timing, main
from ipledger.aio import AsyncLedger
from ipledger.ledger import Ledger
from ipledger.servers import reach

CALLERS: Final = 256  # tasks of each process, that ask again as soon as they are answered
PROCESSES: Final = 4
SECONDS: Final = 4.0
ROUNDS: Final = 3


class Worked(NamedTuple):
    """What one process got done in its time."""

    leases: int
    refused: int
    seconds: float
    proposals: int
    round_trips: int


def _work(barrier: Barrier, results: Any, *asked: Any) -> None:
    results.put(asyncio.run(_callers(barrier, *asked)))


async def _callers(barrier: Barrier, url: str, space: str, number: int, seconds: float) -> Worked:
    """So many callers for so long, each for owners of its own."""
    server = reach(url)
    stream = CountingStream(server.client, space)
    shared = AsyncLedger(Ledger(stream, space, memory=None))
    refused = done = 0

    async def caller(at: int) -> None:
        nonlocal refused, done
        mine = 0
        while time.perf_counter() < until_s:
            mine += 1
            try:
                await shared.allocate("wide", f"cluster-{number}/default/pod-{at}-{mine}")
            except ipledger.LedgerError:
                refused += 1
            else:
                done += 1

    await asyncio.to_thread(barrier.wait, 60)
    began_s = time.perf_counter()
    until_s = began_s + seconds
    await asyncio.gather(*(caller(at) for at in range(CALLERS)))
    took_s = time.perf_counter() - began_s
    await shared.close()
    shared.ledger.close()
    return Worked(done, refused, took_s, stream.proposals, stream.calls)


def together(url: str, space: str, processes: int, seconds: float) -> list[Worked]:
    """Let so many processes work side by side."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.SimpleQueue()
    started = [
        context.Process(target=_work, args=(barrier, results, url, space, number, seconds))
        for number in range(processes)
    ]
    for process in started:
        process.start()
    found = [results.get() for _ in started]
    for process in started:
        process.join()
    return found


def measure(options: Options, bench: Bench) -> Report:
    """One process and four, round after round, each in a space of its own."""
    report = Report("contention", bench, options)
    seconds, rounds = (0.3, 1) if options.quick else (SECONDS, ROUNDS)
    alone, shared = Timing(CALLERS), Timing(CALLERS)
    spread: list[float] = []
    refused = 0
    batches: dict[int, list[float]] = {1: [], PROCESSES: []}
    for at in range(rounds):
        for processes, timing in ((1, alone), (PROCESSES, shared)):
            space = f"contended-{at}-{processes}"
            with ipledger.connect(bench.url, space, state_dir=bench.home) as ledger:
                ledger.create_space()
                ledger.apply(
                    ipledger.pool("wide", subnet="10.0.0.0/8", ips=["10.0.0.1-10.255.255.254"])
                )
            found = together(bench.url, space, processes, seconds)
            leases = [worked.leases for worked in found]
            timing.durations_s.append(max(w.seconds for w in found) / sum(leases) * CALLERS)
            refused += sum(worked.refused for worked in found)
            trips = sum(worked.round_trips for worked in found)
            batches[processes].append(sum(worked.proposals for worked in found) / trips)
            if processes > 1:
                spread.append(max(leases) / max(min(leases), 1))
    name = f"one process, {CALLERS} asyncio callers"
    sizes = {
        "proposals_a_round_trip_alone": round(sum(batches[1]) / rounds, 1),
        "proposals_a_round_trip_shared": round(sum(batches[PROCESSES]) / rounds, 1),
        "slowest_of_fastest": round(max(spread), 2),
        "refused": refused,
    }
    report.add(
        Figure(name, alone),
        Figure("four processes on one pool", shared, name, sizes, f"{CALLERS} callers each"),
    )
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
