"""How fast a space is mirrored and compared, beside reading and checking it alone."""

from __future__ import annotations

from collections import deque
from typing import Final

from benchmarks.harness import Bench, Figure, Options, Report, Timing, main, private_server
from benchmarks.replay import fill
from engine.reading import Continuity, read_commits
from engine.redis_stream import RedisStream
from engine.stream import PAGE_ENTRIES
from ipledger import servers
from ipledger.ledger import Ledger
from replay.compare import compare, entries_of
from replay.mirror import Ends, Mirror

SPACE: Final = "default"


def copy(source: RedisStream, target: RedisStream) -> None:
    """Mirror the whole space."""
    mirror = Mirror(source, target, SPACE, Ends("source", "target"), lambda: 1)
    mirror.attach()
    while mirror.step():
        pass


def measure(options: Options, bench: Bench) -> Report:
    """The whole of a history copied to an empty server, a few times over."""
    report = Report("mirror", bench, options)
    source = servers.open_stream(servers.reach(bench.url), SPACE)
    with Ledger(servers.open_stream(servers.reach(bench.url), SPACE)) as ledger:
        fill(ledger, 2_000 if options.quick else 100_000)
        events = ledger.position
    del ledger
    read, checked, copied = Timing(events), Timing(events), Timing(events)
    compared = Timing(events)
    with private_server(options.server) as other:
        target = servers.open_stream(servers.reach(other.url), SPACE)
        for _ in range(2 if options.quick else 5):
            other.client.flushall()
            read.take(lambda: deque(entries_of(source), maxlen=0))
            checked.take(lambda: deque(read_commits(source, Continuity()), maxlen=0))
            copied.take(lambda: copy(source, target))
            compared.take(lambda: compare(source, target))
        found = compare(source, target)
        assert (found.entries, found.difference) == (events, None), found
    reading, checking = "read in pages", "read and checked, as every reader does"
    report.add(
        Figure(reading, read, sizes={"events": events, "page": PAGE_ENTRIES}),
        Figure(checking, checked),
        Figure("mirrored: read, checked, written, read back", copied, ceiling=checking),
        Figure("compared byte by byte", compared, ceiling=reading),
    )
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
