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
    contention,
    durability,
    history,
    lengths,
    life,
    memory,
    mirror,
    policies,
    replay,
    startup,
)
from benchmarks.harness import Measure, main
from benchmarks.peers import job

MEASURES: tuple[Measure, ...] = tuple(
    bench.measure
    for bench in (
        append, allocate, contention, memory, replay, life, blocks, startup, cold, history, audit,
        mirror, attribute, policies, coming, durability, lengths, job,
    )
)  # fmt: skip

if __name__ == "__main__":
    main(__doc__, MEASURES)
