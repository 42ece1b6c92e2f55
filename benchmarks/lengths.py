"""How replay time grows with the length of the stream, beside reading and unpacking it alone."""

from __future__ import annotations

from benchmarks.bare import caller_of
from benchmarks.harness import Bench, Figure, Options, Report, Timing, in_turns, main
from benchmarks.replay import BareReading, fill, fold_free_sets
from ipledger import servers
from ipledger.ledger import Ledger
from replay.rebuild import rebuild

# Events, and how often the whole of them is replayed: a long stream takes long.
LENGTHS = ((1_000, 20), (10_000, 10), (100_000, 4), (1_000_000, 2))
QUICK = ((500, 2), (2_000, 2))


def measure(options: Options, bench: Bench) -> Report:
    """One stream that grows from length to length, replayed at each."""
    report = Report("lengths", bench, options)
    stream = servers.open_stream(servers.reach(bench.url), "default")
    for wanted, rounds in QUICK if options.quick else LENGTHS:
        # A new writer at each length: the state of an old one would weigh on the collector.
        with Ledger(stream) as ledger:
            fill(ledger, wanted)
        del ledger
        events = int(caller_of(bench.client)("XLEN", stream.key))
        bare, free, whole = Timing(events), Timing(events), Timing(events)
        in_turns(
            rounds,
            (bare, BareReading(bench.client, stream.key, 1, 3, 7)),
            (free, lambda: fold_free_sets(stream)),
            (whole, lambda: rebuild(stream)),
        )
        said = f"of {wanted:,} events"
        name = f"XRANGE and unpack of e, s and c, {said}"
        sizes = {"events": events}
        report.add(
            Figure(name, bare, sizes=sizes),
            Figure(f"the free sets, {said}", free, name, sizes),
            Figure(f"the whole state, {said}", whole, name, sizes),
        )
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
