"""Run the history checker by hand: ``python -m tests.checker --fault kill --seconds 60``."""

from __future__ import annotations

import argparse
import sys
import time

from tests.checker.faults import FAULTS, server_program
from tests.checker.running import run


def main() -> int:
    """Run one fault, or each in turn, with one seed after another; say what was held to what."""
    parser = argparse.ArgumentParser(prog="python -m tests.checker", description=__doc__)
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="[all in turn]")
    parser.add_argument("--seconds", type=float, default=0.0, help="begin no run after that [0]")
    parser.add_argument("--seed", type=int, default=0, help="of the first run [0]")
    parser.add_argument("--strikes", type=int, help="how often the fault strikes in a run")
    parser.add_argument("--bundled", action="store_true", help="on the bundled server")
    asked = parser.parse_args()
    program = server_program(bundled=asked.bundled)
    until_s, seed = time.monotonic() + asked.seconds, asked.seed
    while True:
        for fault in asked.fault or FAULTS:
            try:
                ran = run(program, fault, seed=seed, strikes=asked.strikes)
            except AssertionError as error:
                again = f"python -m tests.checker --fault {fault} --seed {seed}"
                write(f"{fault}, seed {seed}: broken\n{error}\n\nonce more:\n  {again}")
                return 1
            write(f"{fault}, seed {seed}: sound; {ran}")
        seed += 1
        if time.monotonic() >= until_s:
            return 0


def write(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
