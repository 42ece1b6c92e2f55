"""How fast a history is read, checked and folded anew, beside reading and unpacking alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgpack

import ipledger
from benchmarks.bare import caller_of
from benchmarks.harness import Bench, Figure, Options, Report, Timing, in_turns, main
from engine.bulk import read_rows
from engine.reading import Continuity
from engine.stream import PAGE_ENTRIES, Stream
from engine.wire import decode_event
from ipledger import operations, servers
from ipledger.ledger import Ledger
from ipledger.operation import Allocated, Operation
from projections.collector import seldom_collecting
from projections.digest import state_digest
from projections.free_sets import FreeSets
from replay.rebuild import rebuild

if TYPE_CHECKING:
    from redis import Redis

BATCH: Final = 500


def fill(ledger: Ledger, events: int) -> None:
    """Write on in a history: of every four grants, one is released at the end of its batch."""
    ledger.apply(ipledger.pool("bench", subnet="10.0.0.0/8", ips=["10.0.0.1-10.255.255.254"]))
    while ledger.position < events:
        number = ledger.position  # so that no two owners are the same, also when one goes on
        granted: list[Any] = ledger.run_all(
            [_grant(f"cluster-1/default/pod-{number}-{index}") for index in range(BATCH)]
        )
        leases = [answer.granted[0].lease_id for answer in granted[::4]]
        ledger.run_all([operations.release(lease) for lease in leases])


def _grant(owner: str) -> Operation[Allocated]:
    return operations.allocate("bench", owner, uid=owner[-8:], labels={"app": "web"})


class BareReading:
    """XRANGE page by page, and msgpack of some fields: nothing is checked, nothing is kept."""

    def __init__(self, client: Redis, key: str, *fields: int) -> None:
        """Unpack the fields of each entry at these indexes of its reply."""
        self._execute = caller_of(client)
        self._key = key
        self._fields = fields

    def __call__(self) -> None:
        """Read everything once."""
        start = b"-"
        while page := self._execute("XRANGE", self._key, start, "+", "COUNT", PAGE_ENTRIES):
            for _, found in page:
                for at in self._fields:
                    msgpack.unpackb(found[at], use_list=False)
            start = b"(" + page[-1][0]


@seldom_collecting()
def fold_free_sets(stream: Stream) -> FreeSets:
    """What may be given out, folded anew."""
    sets = FreeSets()
    for items in read_rows(stream, Continuity(decode=decode_event), sealed=False):
        sets.apply_rows(items)
    return sets


def take_digest(stream: Stream, digest: Timing, expected: str) -> int:
    """The time of the digest of a state that was folded anew; return its active leases."""
    state = rebuild(stream).state
    assert state_digest(state) == expected, "live and replayed differ"
    digest.items = sum(1 for _ in state.leases())
    digest.take(lambda: state_digest(state), 3)
    return digest.items


def measure(options: Options, bench: Bench) -> Report:
    """The whole history replayed a few times, and the digest of what it comes to."""
    report = Report("replay", bench, options)
    stream = servers.open_stream(servers.reach(bench.url), "default")
    with Ledger(stream) as ledger:
        fill(ledger, 2_000 if options.quick else 200_000)
        events, expected = ledger.position, ledger.digest()
    # The writer's own state is gone by now: it would weigh on each of the collector's passes.
    del ledger
    least, bare, free = Timing(events), Timing(events), Timing(events)
    ours, digest = Timing(events), Timing()
    leases = take_digest(stream, digest, expected)
    rounds = 2 if options.quick else 5
    in_turns(
        rounds,
        (least, BareReading(bench.client, stream.key, 1)),
        (bare, BareReading(bench.client, stream.key, 1, 3, 7)),
        (free, lambda: fold_free_sets(stream)),
        (ours, lambda: rebuild(stream)),
    )
    sizes = {"events": events, "page": PAGE_ENTRIES}
    name, least_name = "XRANGE and unpack of e, s and c", "XRANGE and unpack of e alone"
    report.add(
        Figure(name, bare, sizes=sizes, note="all of an entry that is packed"),
        Figure("the free sets: read, decode, check, fold", free, ceiling=name),
        Figure("the whole state: read, decode, check, fold", ours, ceiling=name),
        Figure(least_name, least, sizes=sizes),
        Figure("… the free sets beside that", free, ceiling=least_name),
        Figure("… the whole state beside that", ours, ceiling=least_name),
        Figure("state_digest", digest, sizes={"active_leases": leases}),
    )
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
