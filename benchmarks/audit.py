"""How fast a whole history is audited, beside a replay that checks no rule.

The audit folds the same state beside its own books, so what it adds to the replay is the price of
the rules.
"""

from __future__ import annotations

import tracemalloc
from typing import Final

from benchmarks.harness import Bench, Figure, Options, Report, Timing, in_turns, main
from benchmarks.replay import fill
from engine.stream import Stream
from ipledger import servers
from ipledger.ledger import Ledger
from replay.audit import Options as AuditOptions
from replay.audit import audit
from replay.rebuild import rebuild

EVENTS: Final = 200_000
_MEBIBYTE: Final = 1 << 20


def audited(stream: Stream, expected: str, *, fold: bool = True) -> None:
    """Audit everything; the history is one that the engine wrote."""
    found = audit(stream, AuditOptions(fold=fold))
    assert not found.total, found.breaches
    assert found.digest == (expected if fold else None), "live and audited differ"


def peak_mib(stream: Stream) -> float:
    """The most memory that the audit's own books take while it walks."""
    tracemalloc.start()
    try:
        audit(stream, AuditOptions(fold=False))
        return round(tracemalloc.get_traced_memory()[1] / _MEBIBYTE, 1)
    finally:
        tracemalloc.stop()


def measure(options: Options, bench: Bench) -> Report:
    """The same history replayed and audited, in turns."""
    report = Report("audit", bench, options)
    stream = servers.open_stream(servers.reach(bench.url), "default")
    with Ledger(stream) as ledger:
        fill(ledger, 2_000 if options.quick else EVENTS)
        events, expected = ledger.position, ledger.digest()
        leases = sum(1 for _ in ledger.state.leases())
    # The writer's own state is gone by now: it would weigh on each of the collector's passes.
    del ledger
    replayed, rules, whole = Timing(events), Timing(events), Timing(events)
    in_turns(
        2 if options.quick else 5,
        (replayed, lambda: rebuild(stream)),
        (rules, lambda: audited(stream, expected, fold=False)),
        (whole, lambda: audited(stream, expected)),
    )
    name = "rebuild: read, decode, check, fold"
    sizes = {"events": events, "active_leases": leases, "peak_mib": peak_mib(stream)}
    report.add(
        Figure(name, replayed, sizes={"events": events}),
        Figure("audit, without the state beside it", rules, ceiling=name, sizes=sizes),
        Figure("audit", whole, ceiling=name),
    )
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
