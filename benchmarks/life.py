"""What allocating, renewing and releasing cost, at any fill of pools of any size.

All of a command but the server is measured: deciding, encoding, folding the answer. A server would
add the same to every row and hide the differences that this benchmark is about.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import ipledger
from benchmarks.harness import Bench, Figure, Options, Report, Timing, main
from engine.entry import Anchor
from engine.memory_stream import MemoryStream
from engine.model import LOCAL, Durability
from engine.stream import AppendReply, Committed, Proposal
from ipledger.ledger import Ledger
from projections.free_set import RANGE_SIZE_MAX

POOLS: Final = (
    ("/24", "10.0.0.0/24", "10.0.0.0-10.0.0.255"),
    ("/16", "10.1.0.0/16", "10.1.0.0-10.1.255.255"),
    ("/8", "11.0.0.0/8", "11.0.0.0-11.255.255.255"),
    ("v6 /64", "fd00::/64", "fd00::-fd00::ffff:ffff:ffff:ffff"),
)
FILLS: Final = (0.0, 50.0, 99.0, 99.9)
FILLED_MAX: Final = 1 << 24  # of a /64, this many addresses stand for its fill
TTL_S: Final = 3_600
TURNS: Final = 100

_number = itertools.count()


class Committing(MemoryStream):
    """Commits everything at once and keeps nothing: what is left is the client's own work."""

    def append(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:  # fmt: skip
        """See `engine.stream.Stream.append`."""
        if after.position == 0 or not proposals:
            return super().append(after, voided, now_ms, proposals, wanted)
        position = after.position + 1
        verdicts = []
        for proposal in proposals:
            verdicts.append(Committed(position))
            position += len(proposal.entries)
        return AppendReply("ok", 0, max(now_ms, after.ms), tuple(verdicts), [])


def _fill(ledger: Ledger, name: str, percent: float) -> int:
    """Take a part of a pool's addresses, lowest first, but for one in a thousand of them."""
    pool = ledger.state.pool(name)
    assert pool is not None, "it was applied"
    free = ledger.state.pool_table.free(pool.pool_id)
    first = pool.effective.ranges[0][0]
    taken = int(min(pool.effective.size, FILLED_MAX) * percent / 100)
    for start in range(0, taken, RANGE_SIZE_MAX):
        free.take_range(first + start, first + min(start + RANGE_SIZE_MAX, taken) - 1)
    # Holes all over what is filled, so that a release does not just move one frontier.
    for hole in range(0, taken - 1, 1_000):
        free.give_back(first + hole)
    return taken


class _Cell:
    """One pool at one fill, and what a lease's life costs in it; the fill stays what it is."""

    def __init__(self, where: str, subnet: str, ips: str, percent: float) -> None:
        self.name = f"in a {where} that is {percent:g} % full"
        self.ledger = Ledger(Committing(lambda: time.time_ns() // 1_000_000))
        self.ledger.apply(ipledger.pool("p", subnet=subnet, ips=[ips]))
        _fill(self.ledger, "p", percent)
        self.timings = {"allocate": Timing(), "renew": Timing(), "release": Timing()}

    def live(self, times: int) -> None:
        """Allocate, renew and release one lease after the other."""
        ledger = self.ledger
        for _ in range(times):
            owner = f"cluster-1/default/pod-{next(_number)}"
            self.timings["allocate"].take(partial(ledger.allocate, "p", owner, ttl_s=TTL_S))
            lease_id = ledger.state.leases_of(owner)[0].lease_id
            self.timings["renew"].take(partial(ledger.renew, lease_id))
            self.timings["release"].take(partial(ledger.release, lease_id))


def measure(options: Options, bench: Bench) -> Report:
    """A curve for each command: pools by fills, the slowest beside the fastest."""
    report = Report("life", bench, options)
    cells = [
        _Cell(*pool, percent)
        for percent, pool in itertools.product(FILLS, POOLS)
        if not options.quick or pool[0] != "/8" or percent in {0.0, 99.9}
    ]
    # In many short turns: the machine's speed drifts by more than the cells differ.
    for _ in range(1 if options.quick else TURNS):
        for cell in cells:
            cell.live(3 if options.quick else 10)
    for what in cells[0].timings:
        rows = [(f"{what} {cell.name}", cell.timings[what]) for cell in cells]
        middles = [timing.percentile_s(50) for _, timing in rows]
        sizes = {"slowest_of_fastest_median": round(max(middles) / min(middles), 2)}
        first = rows[0][0]  # an empty /24: every other row is held against it
        report.add(Figure(*rows[0], sizes=sizes))
        report.add(*(Figure(name, timing, first) for name, timing in rows[1:]))
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
