"""Running seeds: one after another; and, of one that fails, the least that still fails."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.simulation.cluster import ROUNDS, Cluster
from tests.simulation.network import LIKELY
from tests.simulation.verdict import Broken, Verdict


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


def run_seed(seed: int, without: frozenset[str] = frozenset(), rounds: int = ROUNDS) -> Cluster:
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
    return cluster


def _why(seed: int, without: frozenset[str], rounds: int) -> str | None:
    try:
        run_seed(seed, without, rounds)
    except (Broken, Exception) as error:  # noqa: BLE001 - whatever escapes is what is looked for
        return f"{type(error).__name__}: {error}"
    return None


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
    """Run seeds until one fails; what faults there were, and the failure, made small."""
    happened: Counter[str] = Counter()
    for seed in seeds:
        why = _why_counted(seed, happened)
        if why is not None:
            return happened, shrunk(seed, why)
    return happened, None


def _why_counted(seed: int, happened: Counter[str]) -> str | None:
    try:
        cluster = run_seed(seed)
    except (Broken, Exception) as error:  # noqa: BLE001 - as above
        return f"{type(error).__name__}: {error}"
    happened.update(cluster.world.happened)
    happened.update(f"answer {type(a.outcome).__name__}" for a in cluster.attempts)
    happened["accepted rollback"] += cluster.accepted_at is not None
    happened["told again"] += sum(getattr(a.outcome, "repeated", False) for a in cluster.attempts)
    return None
