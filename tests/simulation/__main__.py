"""Run the simulation by hand: ``python -m tests.simulation --seeds 20000 --jobs 2``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from contextlib import redirect_stderr
from pathlib import Path
from typing import Final

from tests.simulation.cluster import ROUNDS
from tests.simulation.network import LIKELY
from tests.simulation.running import run_in_processes, run_seed, run_seeds
from tests.simulation.situations import OFTEN, SELDOM

_SEEDS_FOR_ALL: Final = 1_000  # in so many, whatever was never seen is a defect of the simulation


def main() -> int:
    """Run one seed, or many until one fails; say what happened."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one")
    parser.add_argument("--seeds", type=int, default=1_000, help="run so many [1000]")
    parser.add_argument("--first", type=int, default=0, help="beginning with this one [0]")
    parser.add_argument("--jobs", type=int, default=1, help="in so many processes at once [1]")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how long a run is")
    faults = [fault.replace(" ", "-") for fault in LIKELY]
    parser.add_argument("--without", action="append", default=[], choices=faults)
    asked = parser.parse_args()
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        return _run(asked)  # what a writer logs of each fault is not what is looked for


def _run(asked: argparse.Namespace) -> int:
    if asked.seed is not None:
        without = frozenset(fault.replace("-", " ") for fault in asked.without)
        run = run_seed(asked.seed, without, asked.rounds)
        write(f"seed {asked.seed}: sound")
        write_table(run.happened)
        return 0
    began_s = time.monotonic()
    seeds = range(asked.first, asked.first + asked.seeds)
    happened, failed = run_seeds(seeds) if asked.jobs == 1 else run_in_processes(seeds, asked.jobs)
    if failed is not None:
        write(f"{failed.why}\n\nrun it again:\n  {failed.command}")
        return 1
    write(f"{asked.seeds} seeds in {time.monotonic() - began_s:.0f} s, none broke a promise")
    write_table(happened)
    missing = sorted(what for what in OFTEN | SELDOM if not happened[what])
    for what in missing:
        write(f"{'never':>10}  {what}")
    return 1 if missing and asked.seeds >= _SEEDS_FOR_ALL else 0


def write_table(happened: Counter[str]) -> None:
    """Print what happened, and how often."""
    for what, number in sorted(happened.items()):
        write(f"{number:10,}  {what}")


def write(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
