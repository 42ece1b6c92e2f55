"""How fast leases are given out: to one caller, to many at once, and from pools at any fill."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import ipledger
from benchmarks.bare import BareEvalsha, BareScript, ready_made
from benchmarks.harness import Bench, Figure, Options, Report, Timing, in_turns, main
from engine.entry import Anchor
from engine.model import LOCAL, Durability
from engine.redis_stream import RedisStream
from engine.stream import Fetch, Proposal
from ipledger import operations
from ipledger.aio import AsyncLedger
from ipledger.ledger import Ledger

TASKS: Final = 256
THREADS: Final = 64
BATCH: Final = 256
# Every so many addresses one is left free: 99.9 % full, and nowhere a run of free addresses.
LEFT_FREE: Final = 1_000

_number = itertools.count()


def owner() -> str:
    """A name that nobody has had yet."""
    return f"cluster-1/default/pod-{next(_number)}"


class CountingStream(RedisStream):
    """The stream that a ledger writes to, counting how many proposals share a round trip."""

    calls = 0
    proposals = 0

    def begin(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> Fetch:  # fmt: skip
        """See `engine.stream.Stream.begin`."""
        self.calls += 1
        self.proposals += len(proposals)
        return super().begin(after, voided, now_ms, proposals, wanted)

    def batch_mean(self) -> float:
        """Proposals for each round trip since the last time that somebody asked."""
        mean = self.proposals / max(self.calls, 1)
        self.calls = self.proposals = 0
        return mean


def new_ledger(bench: Bench, space: str) -> tuple[Ledger, CountingStream]:
    """A ledger in a space of its own, with a pool `wide` (a /8)."""
    stream = CountingStream(bench.client, space)
    ledger = Ledger(stream, space)
    ledger.create_space()
    ledger.apply(ipledger.pool("wide", subnet="10.0.0.0/8", ips=["10.0.0.1-10.255.255.254"]))
    return ledger, stream


def allocate_batch(ledger: Ledger, pool: str, number: int) -> None:
    """So many independent allocations, as concurrent callers would ask for them."""
    answers = ledger.run_all([operations.allocate(pool, owner()) for _ in range(number)])
    assert not any(isinstance(answer, ipledger.LedgerError) for answer in answers), answers[0]


def one_caller(options: Options, bench: Bench, report: Report) -> None:
    """One caller alone, beside the least that a durable round trip of the same bytes takes."""
    ledger, _ = new_ledger(bench, "one-caller")
    proposals = ready_made(1)
    evalsha, script, ours = Timing(), Timing(), Timing()
    in_turns(
        2 if options.quick else 40,
        (evalsha, BareEvalsha(bench.client, "evalsha", proposals)),
        (script, BareScript(bench.client, "script", proposals)),
        (ours, lambda: ledger.allocate("wide", owner())),
        times=5 if options.quick else 50,
    )
    name = "EVALSHA that only writes the same bytes"
    report.add(
        Figure(name, evalsha),
        Figure("append.lua by raw EVALSHA, 1 a call", script),
        Figure("one caller: ledger.allocate", ours, ceiling=name),
    )


def many_callers(options: Options, bench: Bench, report: Report) -> None:
    """Callers that ask again as soon as they are answered: tasks of one loop, then threads."""
    each, rounds = (1, 2) if options.quick else (8, 12)
    for kind, callers, make in (
        ("asyncio tasks", TASKS, _tasks),
        ("threads", THREADS, _threads),
    ):
        ledger, stream = new_ledger(bench, kind.replace(" ", "-"))
        ours, latency = Timing(callers * each), Timing()
        turn, close = make(ledger, callers, each, latency)
        turn()
        stream.batch_mean()
        turn()
        # The ceiling is taken at the batch size that comes of so many callers.
        batch = max(round(stream.batch_mean()), 1)
        latency.durations_s.clear()
        bare = Timing(batch)
        script = BareScript(bench.client, f"script-{callers}", ready_made(batch))
        in_turns(rounds, (bare, script), (bare, script), (bare, script), (ours, turn))
        close()
        name = f"append.lua by raw EVALSHA, {batch} a call, beside the {kind}"
        sizes = {"proposals_a_round_trip": round(stream.batch_mean(), 1)}
        report.add(
            Figure(name, bare),
            Figure(f"{callers} {kind}, asking again when answered", ours, name, sizes),
            Figure(f"… what one of the {callers} {kind} waits", latency),
        )


Turn = tuple[Callable[[], object], Callable[[], object]]


def _tasks(ledger: Ledger, callers: int, each: int, latency: Timing) -> Turn:
    """A turn of asyncio callers, and how to end them all."""
    runner = asyncio.Runner()
    loop = runner.get_loop()

    async def share() -> AsyncLedger:
        return AsyncLedger(ledger)

    shared = runner.run(share())

    async def caller() -> None:
        for _ in range(each):
            before_s = loop.time()
            await shared.allocate("wide", owner())
            latency.durations_s.append(loop.time() - before_s)

    async def turn() -> None:
        await asyncio.gather(*(caller() for _ in range(callers)))

    def close() -> None:
        runner.run(shared.close())
        runner.close()

    return lambda: runner.run(turn()), close


def _threads(ledger: Ledger, callers: int, each: int, latency: Timing) -> Turn:
    """A turn of threads, and how to end them all."""
    executor = ThreadPoolExecutor(callers)

    def caller(_: int) -> None:
        latency.take(lambda: ledger.allocate("wide", owner()), each)

    return lambda: list(executor.map(caller, range(callers))), executor.shutdown


def any_fill(options: Options, bench: Bench, report: Report) -> None:
    """A /16 (a /22 when quick) given out whole: the last tenth must cost what the first did."""
    ledger, _ = new_ledger(bench, "any-fill")
    width, batch = ("/22", 32) if options.quick else ("/16", BATCH)
    pool = ipledger.pool("whole", subnet=f"172.16.0.0{width}", ips=[f"172.16.0.0-{_last(width)}"])
    ledger.apply(pool)
    total = pool.spec.ips.size
    bare, ours = Timing(batch), Timing(batch)
    script = BareScript(bench.client, "script-fill", ready_made(batch))
    in_turns(total // batch, (bare, script), (ours, lambda: allocate_batch(ledger, "whole", batch)))
    counts = ledger.state.counts(ledger.state.pool("whole").pool_id)  # type: ignore[union-attr]
    assert (counts.leased, counts.free) == (total, 0), counts
    rates = [tenth.rate for tenth in ours.tenths()]
    # Beside the bare script of the same turns: a machine that was busy for a while slows both.
    shares = [mine / rate.rate for mine, rate in zip(rates, bare.tenths(), strict=True)]
    sizes = {
        "addresses": total,
        "slowest_tenth_per_s": round(min(rates)),
        "fastest_tenth_per_s": round(max(rates)),
        "slowest_of_fastest": round(min(rates) / max(rates), 2),
        "slowest_of_fastest_as_shares_of_the_ceiling": round(min(shares) / max(shares), 2),
    }
    name = f"append.lua by raw EVALSHA, {batch} a call, beside the fill"
    report.add(
        Figure(name, bare),
        Figure(f"fill 0 to 100 % of a {width}, {batch} callers", ours, name, sizes),
    )


def _last(width: str) -> str:
    return "172.16.3.255" if width == "/22" else "172.16.255.255"


def nearly_full(options: Options, bench: Bench, report: Report) -> None:
    """A /8 of which 99.9 % is taken, beside an empty one, turn by turn."""
    ledger, _ = new_ledger(bench, "nearly-full")
    ledger.apply(ipledger.pool("full", subnet="11.0.0.0/8", ips=["11.0.0.0-11.255.255.255"]))
    pool = ledger.state.pool("full")
    assert pool is not None
    free = ledger.state.pool_table.free(pool.pool_id)
    first, last = pool.effective.ranges[0]
    for start in range(first, last + 1, LEFT_FREE):
        if start < last:
            free.take_range(start + 1, min(start + LEFT_FREE - 1, last))
    counts = ledger.state.counts(pool.pool_id)
    batch, rounds = (32, 2) if options.quick else (BATCH, 40)
    empty, full = Timing(batch), Timing(batch)
    in_turns(
        rounds,
        (empty, lambda: allocate_batch(ledger, "wide", batch)),
        (full, lambda: allocate_batch(ledger, "full", batch)),
    )
    name = f"an empty /8, {batch} callers"
    report.add(
        Figure(name, empty),
        Figure(
            f"a /8 that is 99.9 % full, {batch} callers",
            full,
            name,
            {"addresses": counts.total, "free_at_the_start": counts.free},
            "the free set was filled directly, without 16.7 million events and leases; "
            f"one address in {LEFT_FREE:,} was left free",
        ),
    )


def measure(options: Options, bench: Bench) -> Report:
    """All of them, each in a space of its own."""
    report = Report("allocate", bench, options)
    for part in (one_caller, many_callers, any_fill, nearly_full):
        part(options, bench, report)
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
