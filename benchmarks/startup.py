"""How long a command takes to start, beside the bare interpreter and the bare Redis client."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.harness import Bench, Figure, Options, Report, Timing, in_turns, main

# What each command may take, as a multiple of what stands above it.
VERSION_MAX: Final = 3.0
GET_MAX: Final = 2.0
_CHECKOUT: Final = Path(__file__).parents[1]


def program() -> list[str]:
    """The command as it is installed beside this interpreter, or else the module."""
    installed = Path(sys.executable).with_name("ipledger")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "ipledger"]


def starting(words: Sequence[str], home: Path) -> Callable[[], object]:
    """Start a program and wait for its end; it must succeed."""
    environment = {**os.environ, "IPLEDGER_HOME": str(home)}
    if words[0] == sys.executable:
        environment["PYTHONPATH"] = str(_CHECKOUT)
    # An installed package has its bytecode; without it, compiling would be measured.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def start() -> None:
        subprocess.run(words, env=environment, check=True, capture_output=True)

    start()
    return start


def measure(options: Options, bench: Bench) -> Report:
    """Each command in turn with what it is held against."""
    report = Report("startup", bench, options)
    python = [sys.executable, "-c"]
    works = [
        (Timing(), starting(words, bench.home))
        for words in (
            [*python, "pass"],
            [*program(), "--version"],
            [*python, "import redis"],
            [*program(), "get", "pools"],
        )
    ]
    in_turns(2 if options.quick else 25, *works)
    bare, version, client, get = (timing for timing, _ in works)
    report.add(
        Figure("python -c pass", bare),
        Figure(
            "ipledger --version", version, ceiling="python -c pass",
            note=f"the target is at most {VERSION_MAX:g} ×",
        ),
        Figure("python -c 'import redis'", client),
        Figure(
            "ipledger get pools, server running", get, ceiling="python -c 'import redis'",
            note=f"the target is at most {GET_MAX:g} ×",
        ),
    )  # fmt: skip
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
