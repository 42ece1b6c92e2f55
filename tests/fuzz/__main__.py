"""Fuzz by hand: ``python -m tests.fuzz --target decoder --seconds 60``."""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.running import TARGETS, Failure, failure_of, fuzz, opened, serving, shrunk
from tests.fuzz.target import Target

_RUNS = re.compile(r"^stat::number_of_executed_units:\s*([0-9]+)", re.MULTILINE)

_BLIND = "Is the code instrumented for coverage?"


def main() -> int:
    """Fuzz targets one after the other; say what was tried, and stop at what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--target", action="append", choices=TARGETS, help="this one [all]")
    parser.add_argument("--seconds", type=int, default=60, help="for so long each [60]")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations [0]")
    parser.add_argument("--plain", action="store_true", help="without Atheris")
    parser.add_argument("--input", type=Path, help="try just this file on the target")
    asked = parser.parse_args()
    targets = asked.target or list(TARGETS)
    return max(_fuzz(name, asked) for name in targets)


def _fuzz(name: str, asked: argparse.Namespace) -> int:
    if asked.input is not None:
        with opened(name) as target:
            return _tell(target, failure_of(target, asked.input.read_bytes()))
    if asked.plain or importlib.util.find_spec("atheris") is None:
        how, (tried, failure) = "seeded", _seeded(name, asked)
    else:
        how, (tried, failure) = "guided by coverage", _guided(name, asked)
    write(f"{name}: {tried:,} inputs in {asked.seconds} s, {how}, seed {asked.seed}")
    with opened(name) as target:
        return _tell(target, failure)


def _seeded(name: str, asked: argparse.Namespace) -> tuple[int, Failure | None]:
    end_s = time.monotonic() + asked.seconds
    with opened(name) as target:
        return fuzz(target, asked.seed, lambda _tried: time.monotonic() < end_s)


def _guided(name: str, asked: argparse.Namespace) -> tuple[int, Failure | None]:
    """As `_seeded`, in a process that libFuzzer ends."""
    with tempfile.TemporaryDirectory(prefix="ipl-") as directory, serving(name) as url:
        words = [name, str(asked.seconds), str(asked.seed), directory]
        words += [] if url is None else ["--url", url]
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", *words],
            check=False, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        found = _RUNS.search(done.stderr)
        tried = int(found[1]) if found else 0
        left = [path for path in Path(directory).iterdir() if path.is_file()]
        if not left and done.returncode == 0 and _BLIND not in done.stderr:
            return tried, None
        if not left:
            return tried, Failure(b"", "ended", f"exit code {done.returncode}:\n{done.stderr}")
        data, why = left[0].read_bytes(), left[0].name.partition("-")[0]
        with opened(name) as target:
            failure = failure_of(target, data) if why == "crash" else None
            if failure is not None:
                return tried, shrunk(target, failure)
        return tried, Failure(data, why, f"libFuzzer calls it a {why}:\n{done.stderr[-2_000:]}")


def _tell(target: Target, failure: Failure | None) -> int:
    if failure is None:
        return 0
    kept = Path(tempfile.mkdtemp(prefix="ipl-found-")) / failure.name
    kept.write_bytes(failure.data)
    write(f"{failure.says}\n\n{failure.data[:400]!r}\n\nrun it again:")
    write(f"  python -m tests.fuzz --target {target.name} --input {kept}")
    return 1


def write(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
