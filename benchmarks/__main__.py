"""All benchmarks, one after the other: `python -m benchmarks [--quick] [--json FILE]`."""

from __future__ import annotations

from benchmarks import allocate, append, cold, history, life, mirror, replay, startup
from benchmarks.harness import main

if __name__ == "__main__":
    main(
        __doc__,
        [
            append.measure,
            allocate.measure,
            replay.measure,
            life.measure,
            startup.measure,
            cold.measure,
            mirror.measure,
            history.measure,
        ],
    )
