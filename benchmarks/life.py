"""What allocating, renewing and releasing cost, at any fill of pools of any size.

All of a command but the server is measured: deciding, encoding, folding the answer. A server would
add the same to every row and hide the differences that this benchmark is about.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Final

import ipledger
from benchmarks.harness import Bench, Figure, Options, Report, Timing, main
from engine.entry import Anchor
from engine.memory_stream import MemoryStream
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

_number = itertools.count()


class Committing(MemoryStream):
    """Commits everything at once and keeps nothing: what is left is the client's own work."""

    def append(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal]
    ) -> AppendReply:
        """See `engine.stream.Stream.append`."""
        if after.position == 0 or not proposals:
            return super().append(after, voided, now_ms, proposals)
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


def _life(options: Options, subnet: str, ips: str, percent: float) -> list[Timing]:
    """Allocate, renew and release one lease after the other; the fill stays what it is."""
    ledger = Ledger(Committing(lambda: time.time_ns() // 1_000_000))
    ledger.apply(ipledger.pool("p", subnet=subnet, ips=[ips]))
    _fill(ledger, "p", percent)
    allocate, renew, release = Timing(), Timing(), Timing()
    steps: list[tuple[Timing, Callable[[str], object]]] = [
        (allocate, lambda owner: ledger.allocate("p", owner, ttl_s=TTL_S)),
        (renew, lambda owner: ledger.renew(ledger.state.leases_of(owner)[0].lease_id)),
        (release, lambda owner: ledger.release(ledger.state.leases_of(owner)[0].lease_id)),
    ]
    for _ in range(3 if options.quick else 1_000):
        owner = f"cluster-1/default/pod-{next(_number)}"
        for timing, work in steps:
            timing.take(lambda work=work, owner=owner: work(owner))  # type: ignore[misc]
    return [timing for timing, _ in steps]


def measure(options: Options, bench: Bench) -> Report:
    """A curve for each command: pools by fills, the slowest beside the fastest."""
    report = Report("life", bench, options)
    curves: dict[str, list[tuple[str, Timing]]] = {"allocate": [], "renew": [], "release": []}
    for percent, (width, subnet, ips) in itertools.product(FILLS, POOLS):
        if options.quick and width == "/8" and percent not in {0.0, 99.9}:
            continue
        for what, timing in zip(curves, _life(options, subnet, ips, percent), strict=True):
            curves[what].append((f"{what} in a {width} that is {percent:g} % full", timing))
    for rows in curves.values():
        middles = [timing.percentile_s(50) for _, timing in rows]
        sizes = {"slowest_of_fastest_median": round(max(middles) / min(middles), 2)}
        first = rows[0][0]  # an empty /24: every other row is held against it
        report.add(Figure(*rows[0], sizes=sizes))
        report.add(*(Figure(name, timing, first) for name, timing in rows[1:]))
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
