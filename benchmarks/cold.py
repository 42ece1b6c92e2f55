"""What a command costs on a long stream, beside the same command on a short one.

Each is a process of its own, as from a shell: it starts, takes up the view that the one before it
kept, allocates an address and ends.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import Any, Final

import ipledger
from benchmarks.harness import Bench, Figure, Options, Report, Timing, in_turns, main
from benchmarks.startup import program
from ipledger import opening, operations, servers
from ipledger.ledger import Ledger

BATCH: Final = 504
RATIO_MAX: Final = 3.0

_number = itertools.count()


def fill(url: str, space: str, events: int) -> tuple[int, int]:
    """Write a history in which one lease of three has ended; return its events and live leases."""
    with Ledger(servers.open_stream(servers.reach(url), space), space, timeout_s=300) as ledger:
        ledger.create_space()
        ledger.apply(ipledger.pool("bench", subnet="10.0.0.0/8", ips=["10.0.0.1-10.255.255.254"]))
        while ledger.position < events:
            granted: list[Any] = ledger.run_all(
                [
                    operations.allocate("bench", f"cluster-1/default/pod-{next(_number)}")
                    for _ in range(min(BATCH, max(events * 3 // 4, 4)))
                ]
            )
            leases = [answer.granted[0].lease_id for answer in granted[::3]]
            ledger.run_all([operations.release(lease) for lease in leases])
        return ledger.position, sum(1 for _ in ledger.state.leases())


# Memory is asked of a small parent: a process begins with what the one that forks it has.
_PEAK: Final = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)
"""


class Allocating:
    """`ipledger allocate` for a new owner, as a process."""

    def __init__(self, bench: Bench, space: str) -> None:
        self._words = [*program(), "--url", bench.url, "--space", space, "allocate"]
        self._environment = {**os.environ, "IPLEDGER_HOME": str(bench.home)}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def _run(self, *before: str) -> str:
        words = [*before, *self._words, "--pool", "bench", "--owner", f"new-{next(_number)}"]
        said = subprocess.run(
            words, env=self._environment, check=True, capture_output=True, text=True
        )
        return said.stdout

    def __call__(self) -> None:
        """Run it once; it must succeed."""
        self._run()

    def peak_mb(self) -> int:
        """The most memory that it takes."""
        return int(self._run(sys.executable, "-c", _PEAK))


def measure(options: Options, bench: Bench) -> Report:
    """The short stream and the long one in turns, the long one's view kept beforehand."""
    report = Report("cold", bench, options)
    short = fill(bench.url, "short", 100 if options.quick else 1_000)
    long = fill(bench.url, "long", opening.KEEP_FROM if options.quick else 1_000_000)
    on_short, on_long = Allocating(bench, "short"), Allocating(bench, "long")
    first, base, timing = Timing(), Timing(), Timing()
    first.take(on_long)
    in_turns(2 if options.quick else 25, (base, on_short), (timing, on_long))
    name = "ipledger allocate, short stream"
    report.add(
        Figure(name, base, sizes={**_sizes(short), "rss_mb_max": on_short.peak_mb()}),
        Figure(
            "ipledger allocate, long stream", timing, ceiling=name,
            sizes={**_sizes(long), "rss_mb_max": on_long.peak_mb()},
            note=f"the target is at most {RATIO_MAX:g} ×",
        ),
        Figure("… the first time, without a view", first, ceiling=name),
    )  # fmt: skip
    return report


def _sizes(filled: tuple[int, int]) -> dict[str, int]:
    return {"events": filled[0], "active_leases": filled[1]}


if __name__ == "__main__":
    main(__doc__, [measure])
