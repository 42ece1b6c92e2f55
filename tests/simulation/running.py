"""Running seeds: one after another; and, of one that fails, the least that still fails."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Final, NamedTuple

from tests.simulation.cluster import ROUNDS, Cluster
from tests.simulation.network import LIKELY
from tests.simulation.situations import count
from tests.simulation.verdict import Broken, Verdict

_SEEDS_A_JOB: Final = 25


class Run(NamedTuple):
    """A run that kept every promise, and what happened in it."""

    cluster: Cluster
    happened: Counter[str]


class Failed(NamedTuple):
    """A run that broke a promise, and with how little it still does."""

    seed: int
    rounds: int
    without: frozenset[str]
    why: str

    @property
    def command(self) -> str:
        """The one command that runs it again."""
        left_out = "".join(
            f" --without {fault.replace(' ', '-')}" for fault in sorted(self.without)
        )
        return f"python -m tests.simulation --seed {self.seed} --rounds {self.rounds}{left_out}"


def run_seed(seed: int, without: frozenset[str] = frozenset(), rounds: int = ROUNDS) -> Run:
    """Run one seed, and hold it to every promise.

    Raises:
        Broken: one was broken.
        Exception: whatever escaped from the code that ran.
    """
    with tempfile.TemporaryDirectory() as directory:
        cluster = Cluster(seed, Path(directory) / "aside.jsonl", without, rounds)
        verdict = Verdict(cluster)
        cluster.check = verdict.check
        cluster.run()
    verdict.check_end()
    return Run(cluster, count(cluster, verdict.checks))


def _why(seed: int, without: frozenset[str], rounds: int) -> str | None:
    try:
        run_seed(seed, without, rounds)
    except (Broken, Exception) as error:  # noqa: BLE001 - whatever escapes is what is looked for
        return _told(error)
    return None


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def shrunk(seed: int, why: str, without: frozenset[str] = frozenset()) -> Failed:
    """The same seed with as few faults and rounds as it takes to fail."""
    failed = Failed(seed, ROUNDS, without, why)
    for fault in LIKELY:
        fewer = failed.without | {fault}
        if (still := _why(seed, fewer, failed.rounds)) is not None:
            failed = failed._replace(without=fewer, why=still)
    for rounds in range(1, ROUNDS):
        if (still := _why(seed, failed.without, rounds)) is not None:
            return failed._replace(rounds=rounds, why=still)
    return failed


def run_seeds(seeds: Iterable[int]) -> tuple[Counter[str], Failed | None]:
    """Run seeds until one fails; what happened in them, and the failure, made small."""
    happened: Counter[str] = Counter()
    for seed in seeds:
        try:
            happened.update(run_seed(seed).happened)
        except (Broken, Exception) as error:  # noqa: BLE001 - as above
            return happened, shrunk(seed, _told(error))
    return happened, None


def run_in_processes(seeds: Sequence[int], jobs: int) -> tuple[Counter[str], Failed | None]:
    """As `run_seeds`, in so many processes at once; of several failures the first that is found."""
    happened: Counter[str] = Counter()
    shares = [seeds[at : at + _SEEDS_A_JOB] for at in range(0, len(seeds), _SEEDS_A_JOB)]
    with ProcessPoolExecutor(jobs, initializer=_be_silent) as pool:
        running = [pool.submit(run_seeds, share) for share in shares]
        for share in as_completed(running):
            of_share, failed = share.result()
            happened.update(of_share)
            if failed is not None:
                pool.shutdown(cancel_futures=True)
                return happened, failed
    return happened, None


def _be_silent() -> None:
    """What a writer logs of each fault is not what is looked for."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
