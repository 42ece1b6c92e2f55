"""All benchmarks, one after the other: `python -m benchmarks [--quick] [--json FILE]`."""

from __future__ import annotations

from benchmarks import (
    allocate,
    append,
    attribute,
    audit,
    blocks,
    cold,
    coming,
    durability,
    history,
    life,
    mirror,
    policies,
    replay,
    startup,
)
from benchmarks.harness import main

if __name__ == "__main__":
    benches = (
        append, allocate, replay, life, blocks, startup, cold, history, audit, mirror, attribute,
        policies, coming, durability,
    )  # fmt: skip
    main(__doc__, [bench.measure for bench in benches])
