"""How fast ready-made proposals reach the stream, beside the bare script and bare XADDs."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.bare import BarePipeline, BareScript, ready_made
from benchmarks.harness import Bench, Figure, Options, Report, Timing, in_turns, main
from engine.entry import ORIGIN, Anchor
from engine.redis_stream import RedisStream
from engine.stream import Committed, Proposal

BATCHES = (1, 16, 64, 256, 512)


class Appender:
    """`RedisStream.append` of the same proposals again and again, and nothing else of a writer."""

    def __init__(self, stream: RedisStream, proposals: list[Proposal]) -> None:
        self._stream = stream
        self._proposals = proposals
        self._after = ORIGIN

    def __call__(self) -> None:
        """Append all of the proposals once more."""
        now_ms = time.time_ns() // 1_000_000
        reply = self._stream.append(self._after, 0, now_ms, self._proposals)
        last = reply.verdicts[-1]
        assert isinstance(last, Committed), last
        self._after = Anchor(reply.ms, last.position, self._proposals[-1].entries[-1].c)


def measure(options: Options, bench: Bench) -> Report:
    """One line a batch size, each beside its two ceilings."""
    report = Report("append", bench, options)
    for batch in BATCHES:
        proposals = ready_made(batch)
        works: list[tuple[Timing, Callable[[], object]]] = [
            (Timing(batch), BareScript(bench.client, f"bare-{batch}", proposals)),
            (Timing(batch), BarePipeline(bench.client, f"xadd-{batch}", proposals)),
            (Timing(batch), Appender(RedisStream(bench.client, f"ours-{batch}"), proposals)),
        ]
        for _, work in works:
            work()
        # Calls of one kind follow each other, as a writer's would, but no kind has a longer turn.
        rounds, times = (2, 2) if options.quick else (20, max(40 // batch, 3))
        in_turns(rounds, *works, times=times)
        script, pipeline, ours = (timing for timing, _ in works)
        size = sum(len(part) for part in (*proposals[0].entries[0], proposals[0].reads))
        name = f"append.lua by raw EVALSHA, {batch} a call"
        report.add(
            Figure(name, script, sizes={"bytes_each": size}),
            Figure(f"pipeline of XADD, {batch} a call", pipeline),
            Figure(f"RedisStream.append, {batch} a call", ours, ceiling=name),
        )
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
