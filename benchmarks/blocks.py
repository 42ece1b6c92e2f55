"""What a block costs beside a single address, in a pool that is full of holes.

Deciding, encoding and folding the answer are measured, as `benchmarks.life` does; a server would
add the same to every row. `of_a_single` is the ratio of the medians, taken in the same turns.
"""

from __future__ import annotations

import itertools
import time
from functools import partial
from random import Random
from typing import Final

import ipledger
from benchmarks.harness import Bench, Figure, Options, Report, Timing, main
from benchmarks.life import Committing
from ipledger.ledger import Ledger

TURNS: Final = 2_000
QUICK_TURNS: Final = 20
# Of 2^24 addresses so many are taken, one by one, all over the pool.
SCATTERED: Final = (1_000_000, 4_000_000)
QUICK_SCATTERED: Final = (20_000,)
BLOCKS: Final = 100_000  # of /64 out of a /40, one in three of them given back
QUICK_BLOCKS: Final = 300

_number = itertools.count()


class _Pool:
    """A pool, and what single addresses and blocks of some lengths cost in it."""

    def __init__(self, name: str, subnet: str, ips: str, lengths: tuple[int | None, ...]) -> None:
        self.name = name
        self.ledger = Ledger(Committing(lambda: time.time_ns() // 1_000_000))
        self.ledger.apply(ipledger.pool("p", subnet=subnet, ips=[ips]))
        (self.pool,) = self.ledger.state.pools()
        self.free = self.ledger.state.pool_table.free(self.pool.pool_id)
        self.first_ask = Timing()
        self.timings = {length: Timing() for length in lengths}

    def ask_first(self) -> None:
        """Ask for a block for the first time, which makes the index."""
        self.first_ask.take(partial(next, iter(self.free.blocks(0)), None))

    def live(self) -> None:
        """Grant one of each length, and release them; the pool stays as fragmented as it is."""
        for length, timing in self.timings.items():
            owner = f"cluster-1/node-{next(_number)}"
            timing.take(partial(self.ledger.allocate, "p", owner, prefix_length=length))
            (lease,) = self.ledger.state.leases_of(owner)
            self.ledger.release(lease.lease_id)


def _fragmented(taken: int) -> _Pool:
    ips = "11.0.0.0-11.255.255.255"
    name = f"a /8 with {taken:,} scattered addresses taken"
    made = _Pool(name, "11.0.0.0/8", ips, (None, 31, 28))
    random = Random(taken)  # noqa: S311 - the same holes on every run
    first = made.pool.effective.ranges[0][0]
    for offset in random.sample(range(1 << 24), taken):
        made.free.take(first + offset)
    return made


def _delegated(blocks: int) -> _Pool:
    ips = "fd00::-fd00:0:ff:ffff:ffff:ffff:ffff:ffff"
    made = _Pool(f"a v6 /40 with {blocks:,} of /64", "fd00::/40", ips, (None, 127, 64, 56))
    first = made.pool.effective.ranges[0][0]
    for number in range(blocks):
        made.free.take_block(first + (number << 64), 64)
    for number in range(0, blocks, 3):
        made.free.give_back_block(first + (number << 64), 64)
    return made


def measure(options: Options, bench: Bench) -> Report:
    """In each pool a single address, then blocks, each with its ratio to that."""
    report = Report("blocks", bench, options)
    pools = [_fragmented(taken) for taken in (QUICK_SCATTERED if options.quick else SCATTERED)]
    pools.append(_delegated(QUICK_BLOCKS if options.quick else BLOCKS))
    for pool in pools:
        pool.ask_first()
    for _ in range(QUICK_TURNS if options.quick else TURNS):
        for pool in pools:
            pool.live()
    for pool in pools:
        single = pool.timings[None].percentile_s(50)
        ceiling = f"an address in {pool.name}"
        report.add(Figure(ceiling, pool.timings[None]))
        for length, timing in pool.timings.items():
            if length is not None:
                ratio = {"of_a_single": round(timing.percentile_s(50) / single, 2)}
                report.add(Figure(f"a /{length} in {pool.name}", timing, ceiling, ratio))
        report.add(Figure(f"the index, made of {pool.name}", pool.first_ask))
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
