"""What every benchmark shares: a server of its own, how time is taken, and how figures are shown.

A figure stands beside a ceiling that was measured in the same run, turn by turn with it, because
rates of two runs on a busy machine cannot be compared. Medians are compared, for the same reason.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ipledger import embedded, servers

if TYPE_CHECKING:
    from redis import Redis

_FSYNC_TRIES: Final = 20
_FSYNC_BYTES: Final = 4_096


class Options(NamedTuple):
    """What a run is asked to be: `quick` only proves that it works."""

    quick: bool
    server: str | None


class Bench(NamedTuple):
    """A private server, found empty, and where it keeps its data."""

    home: Path
    url: str
    client: Redis
    version: str
    fsync_us: float


class Timing:
    """How long the same piece of work took, again and again; `items` are done each time."""

    def __init__(self, items: int = 1) -> None:
        self.items = items
        self.durations_s: list[float] = []

    def take(self, work: Callable[[], object], times: int = 1) -> None:
        """Do the work so many times and note how long each took."""
        for _ in range(times):
            before_s = time.perf_counter()
            work()
            self.durations_s.append(time.perf_counter() - before_s)

    def percentile_s(self, percent: int) -> float:
        """The duration that so many percent did not exceed."""
        ordered = sorted(self.durations_s)
        return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]

    def tenths(self) -> list[Timing]:
        """The first tenth of what was measured, the second, and so on to the last."""
        parts = [Timing(self.items) for _ in range(10)]
        length = len(self.durations_s) // 10
        for index, part in enumerate(parts):
            part.durations_s = self.durations_s[index * length : (index + 1) * length]
        return parts

    @property
    def rate(self) -> float:
        """Items a second, by the median duration."""
        return self.items / self.percentile_s(50)


class Figure(NamedTuple):
    """One line of a report; `ceiling` names the figure that it is held against."""

    name: str
    timing: Timing
    ceiling: str | None = None
    sizes: Mapping[str, float] = MappingProxyType({})
    note: str = ""


class Report:
    """The figures of one benchmark, and what they were measured on."""

    def __init__(self, name: str, bench: Bench, options: Options) -> None:
        self.name = name
        self.context = {
            "machine": machine(),
            "server": bench.version,
            "durability": "appendfsync always, unix socket",
            "fsync_us": round(bench.fsync_us),
            "commit": commit(),
            "quick": options.quick,
        }
        self.figures: list[Figure] = []

    def add(self, *figures: Figure) -> None:
        """Add lines, ceilings first."""
        self.figures += figures

    def of_ceiling(self, figure: Figure) -> float | None:
        """The median rate as a share of the ceiling's, or None if it stands alone."""
        if figure.ceiling is None:
            return None
        ceiling = next(other for other in self.figures if other.name == figure.ceiling)
        return figure.timing.rate / ceiling.timing.rate

    def as_json(self) -> dict[str, Any]:
        """The report as plain values: times in milliseconds, rates per second."""
        return {
            "benchmark": self.name,
            **self.context,
            "figures": [
                {
                    "name": figure.name,
                    "items": figure.timing.items,
                    "samples": len(figure.timing.durations_s),
                    "rate_per_s": figure.timing.rate,
                    "p50_ms": figure.timing.percentile_s(50) * 1_000,
                    "p99_ms": figure.timing.percentile_s(99) * 1_000,
                    "ceiling": figure.ceiling,
                    "of_ceiling": self.of_ceiling(figure),
                    "sizes": dict(figure.sizes),
                    "note": figure.note,
                }
                for figure in self.figures
            ],
        }

    def lines(self) -> Iterator[str]:
        """The report as a person reads it."""
        told = self.context
        yield f"{self.name}{' (quick: these figures prove nothing)' if told['quick'] else ''}"
        yield f"  machine  {told['machine']}"
        yield f"  server   {told['server']}, {told['durability']}"
        yield f"  disk     one fsync takes {told['fsync_us']} µs"
        yield f"  commit   {told['commit'] or 'none'}"
        yield ""
        yield f"  {'':58}{'items':>7}{'samples':>9}{'rate/s':>12}{'p50 ms':>10}{'p99 ms':>10}"
        ceilings = {figure.ceiling for figure in self.figures}
        for figure in self.figures:
            timing, share = figure.timing, self.of_ceiling(figure)
            middle_ms, slow_ms = (timing.percentile_s(p) * 1_000 for p in (50, 99))
            name = f"{figure.name}{' (ceiling)' if figure.name in ceilings else ''}"
            yield (
                f"  {name:58}{timing.items:>7,}{len(timing.durations_s):>9,}{timing.rate:>12,.0f}"
                f"{middle_ms:>10.3f}{slow_ms:>10.3f}" + _beside(figure, share)
            )
            said = [f"{what.replace('_', ' ')}: {size:,}" for what, size in figure.sizes.items()]
            said += [figure.note] if figure.note else []
            if said:
                yield f"      {'; '.join(said)}"
        yield ""


def _beside(figure: Figure, share: float | None) -> str:
    """A figure beside its ceiling: a rate as a share of it, one piece of work by its time."""
    if share is None:
        return ""
    if figure.timing.items == 1:
        return f"  {1 / share:.2f} × the time of: {figure.ceiling}"
    return f"  {share:.0%} of: {figure.ceiling}"


def in_turns(rounds: int, *works: tuple[Timing, Callable[[], object]], times: int = 1) -> None:
    """Do one kind of work after the other, round after round: all see the machine's weather."""
    for _ in range(rounds):
        for timing, work in works:
            timing.take(work, times)


def machine() -> str:
    """The processor, how many cores we may use, and the Python."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{name}, {cores} cores, {platform.system()} {platform.machine()}, {python}"


def commit() -> str | None:
    """The checkout's commit, and whether it was changed since; None outside a checkout."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=, changed since"],
            cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


@contextmanager
def private_server(program: str | None) -> Iterator[Bench]:
    """Start a server with its data in a directory of its own; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ipl-") as directory:
        home = Path(directory)
        fsync_us = _fsync_us(home)
        running = embedded.ensure_running(home, program)
        try:
            reached = servers.reach(running.url)
            yield Bench(home, running.url, reached.client, reached.version, fsync_us)
        finally:
            embedded.stop(home)


def _fsync_us(directory: Path) -> float:
    """What it costs to have a few bytes on this disk: the floor of every single write."""
    timing = Timing()
    with (directory / "fsync").open("wb", buffering=0) as file:

        def write() -> None:
            file.write(bytes(_FSYNC_BYTES))
            os.fsync(file)

        timing.take(write, _FSYNC_TRIES)
    return timing.percentile_s(50) * 1_000_000


Measure = Callable[[Options, Bench], Report]


def run_all(options: Options, measures: Sequence[Measure]) -> Iterator[Report]:
    """Run benchmarks one after the other, each with a server of its own."""
    for measure in measures:
        with private_server(options.server) as bench:
            report = measure(options, bench)
        print(*report.lines(), sep="\n", flush=True)
        yield report


def main(description: str, measures: Sequence[Measure]) -> None:
    """Run benchmarks as the command line asks."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--server", metavar="PROGRAM", help="a redis-server or valkey-server")
    asked = parser.parse_args()
    reports = list(run_all(Options(asked.quick, asked.server), measures))
    if asked.json is not None:
        text = json.dumps([report.as_json() for report in reports], indent=1)
        asked.json.write_text(text + "\n", "utf-8")
