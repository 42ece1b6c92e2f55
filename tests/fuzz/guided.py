"""Fuzzing by coverage with Atheris, in a process of its own: `python -m tests.fuzz.guided`.

libFuzzer keeps what reaches new code and changes that further. It ends the process at the first
input that fails, takes too long or too much memory, and leaves that input as a file.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

atheris: Any = import_module("atheris")  # of the extra `fuzz`: it is not there where types are

INPUT_S_MAX = 20
MEMORY_MIB_MAX = 2_048


def main() -> None:
    """Fuzz one target; libFuzzer ends the process."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("seconds", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("directory", type=Path, help="where findings are left")
    parser.add_argument("--url", help="of a server; libFuzzer would not let us stop one of ours")
    asked = parser.parse_args()
    tempfile.tempdir = str(asked.directory)  # nor remove a directory
    with atheris.instrument_imports(include=["engine", "projections", "replay", "ipledger"]):
        import_module(f"tests.fuzz.{asked.target}")  # and with it all that it calls
    from tests.fuzz import running

    with running.opened(asked.target, asked.url) as target:
        seeds = asked.directory / "seeds"
        seeds.mkdir()
        for number, data in enumerate(running.begins(target)):
            (seeds / str(number)).write_bytes(data)

        def mutated(data: bytes, size_max: int, seed: int) -> bytes:
            """One of ours, or one of libFuzzer's, which knows what comparisons have failed."""
            random = Random(seed)  # noqa: S311 - the same for the same seed
            if random.randrange(2):
                return target.mutate(bytes(data), random)[:size_max]
            changed: bytes = atheris.Mutate(data, len(data))
            return changed

        settings = {
            "max_total_time": asked.seconds, "seed": asked.seed, "timeout": INPUT_S_MAX,
            "rss_limit_mb": MEMORY_MIB_MAX, "artifact_prefix": f"{asked.directory}{os.sep}",
            "print_final_stats": 1, "verbosity": 0, "max_len": running.INPUT_BYTES_MAX,
            # By itself it begins with a few bytes, to which it would cut all that is well-formed.
            "len_control": 0,
        }  # fmt: skip
        words = [sys.argv[0], *(f"-{name}={value}" for name, value in settings.items())]
        atheris.Setup([*words, str(seeds)], target.check, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
