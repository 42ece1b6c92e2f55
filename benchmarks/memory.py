"""What the projections of a writer take in memory: a live lease, and the free set of a full /8."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import ipledger
from benchmarks.harness import Bench, Figure, Options, Report, Timing, main
from engine.addresses import RangeSet
from engine.bulk import GRANTED, Row
from engine.memory_stream import MemoryStream
from ipledger.ledger import Ledger
from projections.block_set import BlockSet
from projections.state import LedgerState

LEASES: Final = 1_000_000
_FIRST: Final = 10 << 24
_POOL: Final = 2
_MS: Final = 2_000_000_000_000  # behind everything that the pool's definition is dated


def _state() -> LedgerState:
    """A space with a pool of a /8."""
    ledger = Ledger(MemoryStream(lambda: time.time_ns() // 1_000_000))
    ledger.apply(ipledger.pool("wide", subnet="10.0.0.0/8", ips=["10.0.0.0-10.255.255.255"]))
    return ledger.state


def _grants(number: int) -> Iterator[Row]:
    """So many grants as a replay reads them: an address each, to an owner each."""
    for at in range(number):
        position = _POOL + 1 + at
        address = (_FIRST + at).to_bytes(4)
        interface = b"eth0".decode()  # a text of its own, as the decoder makes one
        event = (_POOL, address, 32, interface, None, None, None, (), None, None)
        fields = (GRANTED, 1, os.urandom(16), 0, None, None, None, *event)
        owner = f"cluster-1/default/pod-{at}"
        sealed = (os.urandom(16), owner, None, (), None, None, None, None)
        commit = (os.urandom(8), 0, 1, 0, position - 1, os.urandom(16), bytes(8))
        yield position, _MS + at, fields, sealed, commit


def _resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _of_leases(results: Any, number: int) -> None:
    """In a process of its own: how much it grew by, and how long the fold took."""
    state, timing = _state(), Timing()
    before = _resident_bytes()
    timing.take(lambda: state.apply_rows(_grants(number)))
    grown = _resident_bytes() - before
    assert len(state.lease_table) == number
    results.put((grown, timing.durations_s[0]))


def _of_pool(results: Any, size: int, starts: tuple[int, ...]) -> None:
    """As `_of_leases`, of a pool of which every other address is taken from each start on."""
    every = RangeSet(4, [(_FIRST, _FIRST + size - 1)])
    before = _resident_bytes()
    free = BlockSet(_FIRST, 4, every, RangeSet(4))
    timing = Timing()

    def fill() -> None:
        for start in starts:  # one by one, so that nothing comes as a range
            for offset in range(start, size, 2):
                free.take_open(_FIRST + offset)

    timing.take(fill)
    assert free.counts.free == size - len(starts) * size // 2
    results.put((_resident_bytes() - before, timing.durations_s[0]))


def _aside(work: Any, *arguments: Any) -> tuple[int, float]:
    """Measure in a process that has done nothing else."""
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=work, args=(results, *arguments))
    process.start()
    process.join()
    assert process.exitcode == 0, "it said why"
    found: tuple[int, float] = results.get()
    return found


def measure(options: Options, bench: Bench) -> Report:
    """One figure each; the time is that of folding, or of taking the addresses."""
    report = Report("memory", bench, options)
    leases = 20_000 if options.quick else LEASES
    grown, seconds = _aside(_of_leases, leases)
    folded = Timing(leases)
    folded.durations_s.append(seconds)
    sizes = {"bytes_a_lease": round(grown / leases), "resident_bytes": grown}
    report.add(Figure(f"fold {leases:,} grants", folded, sizes=sizes))
    width, addresses = ("/14", 1 << 18) if options.quick else ("/8", 1 << 24)
    for name, starts, size in (
        (f"take all of a {width}", (0, 1), "free_set_bytes"),
        (f"take every other address of a {width}", (0,), "half_taken_bytes"),
    ):
        grown, seconds = _aside(_of_pool, addresses, starts)
        taken = Timing()
        taken.durations_s.append(seconds)
        report.add(Figure(name, taken, sizes={size: grown}))
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
