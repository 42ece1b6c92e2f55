"""How fast a history is read, checked and folded anew, beside reading and unpacking alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgpack

import ipledger
from benchmarks.bare import caller_of
from benchmarks.harness import Bench, Figure, Options, Report, Timing, in_turns, main
from engine.stream import PAGE_ENTRIES, Stream
from ipledger import operations, servers
from ipledger.ledger import Ledger
from ipledger.operation import Allocated, Operation
from projections.digest import state_digest
from replay.rebuild import rebuild

if TYPE_CHECKING:
    from redis import Redis

BATCH: Final = 500


def fill(ledger: Ledger, events: int) -> None:
    """Write a history: of every four grants, one is released at the end of its batch."""
    ledger.apply(ipledger.pool("bench", subnet="10.0.0.0/8", ips=["10.0.0.1-10.255.255.254"]))
    number = 0
    while ledger.position < events:
        number += 1
        granted: list[Any] = ledger.run_all(
            [_grant(f"cluster-1/default/pod-{number}-{index}") for index in range(BATCH)]
        )
        leases = [answer.granted[0].lease_id for answer in granted[::4]]
        ledger.run_all([operations.release(lease) for lease in leases])


def _grant(owner: str) -> Operation[Allocated]:
    return operations.allocate("bench", owner, uid=owner[-8:], labels={"app": "web"})


class BareReading:
    """XRANGE page by page, and msgpack of the event alone: nothing is checked, nothing is kept."""

    def __init__(self, client: Redis, key: str) -> None:
        self._execute = caller_of(client)
        self._key = key

    def __call__(self) -> None:
        """Read everything once."""
        start = b"-"
        while page := self._execute("XRANGE", self._key, start, "+", "COUNT", PAGE_ENTRIES):
            for _, fields in page:
                msgpack.unpackb(fields[1], use_list=False)
            start = b"(" + page[-1][0]


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
    bare, ours, digest = Timing(events), Timing(events), Timing()
    leases = take_digest(stream, digest, expected)
    rounds = 2 if options.quick else 5
    in_turns(
        rounds,
        (bare, BareReading(bench.client, stream.key)),
        (ours, lambda: rebuild(stream)),
    )
    name = "XRANGE and unpack of e"
    report.add(
        Figure(name, bare, sizes={"events": events, "page": PAGE_ENTRIES}),
        Figure("rebuild: read, decode, check, fold", ours, ceiling=name),
        Figure("state_digest", digest, sizes={"active_leases": leases}),
    )
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
