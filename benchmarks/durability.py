"""What it costs that an answer is on a replica, in memory or on disk, for one caller and for many.

Both servers are on this machine, which is the least that it can cost: a network adds to it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import ipledger
from benchmarks.harness import Bench, Figure, Options, Report, Timing, in_turns, main
from engine.model import LOCAL, Durability
from engine.redis_stream import RedisStream
from ipledger import embedded, operations, servers
from ipledger.ledger import Ledger

BATCH: Final = 256
WAIT_S: Final = 20.0
KINDS: Final = {
    "local": LOCAL,
    "replicated": Durability(1, fsync=False, ack_timeout_ms=4_000),
    "replicated --fsync": Durability(1, fsync=True, ack_timeout_ms=4_000),
}

_number = count()


def _owner() -> str:
    return f"cluster-1/default/pod-{next(_number)}"


@contextmanager
def replica_of(bench: Bench, program: str | None) -> Iterator[None]:
    """A replica on this machine, with a disk file of its own."""
    with socket.socket() as free, TemporaryDirectory(prefix="ipl-") as directory:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        bench.client.config_set("bind", "127.0.0.1", "port", port)
        running = embedded.ensure_running(Path(directory), program)
        try:
            with servers.make_client(running.url) as replica:
                replica.execute_command("REPLICAOF", "127.0.0.1", port)
                _await(bench)
                yield
        finally:
            embedded.stop(Path(directory))


def _await(bench: Bench) -> None:
    """Wait until the replica answers, and has its file."""
    deadline = time.monotonic() + WAIT_S
    with Ledger(RedisStream(servers.make_client(bench.url), "ready"), "ready") as ledger:
        ledger.create_space()
        while ledger.writer.shortfall(Durability(1, fsync=True, ack_timeout_ms=1_000)):
            assert time.monotonic() < deadline, "the replica does not follow"


def _ledger(bench: Bench, name: str, promises: Durability) -> Ledger:
    space = name.replace(" --", "-")
    ledger = Ledger(RedisStream(servers.make_client(bench.url), space), space)
    ledger.create_space(promises=promises)
    ledger.apply(ipledger.pool("wide", subnet="10.0.0.0/8", ips=["10.0.0.1-10.255.255.254"]))
    return ledger


def measure(options: Options, bench: Bench) -> Report:
    """Each durability in a space of its own, turn by turn."""
    report = Report("durability", bench, options)
    if not _knows_waitaof(bench):
        report.add(Figure("this server knows no WAITAOF", _nothing()))
        return report
    batch = 8 if options.quick else BATCH
    with replica_of(bench, options.server):
        ledgers = {name: _ledger(bench, name, promises) for name, promises in KINDS.items()}
        alone = {name: Timing() for name in KINDS}
        together = {name: Timing(batch) for name in KINDS}

        def many(ledger: Ledger) -> None:
            answers = ledger.run_all([operations.allocate("wide", _owner()) for _ in range(batch)])
            assert not any(isinstance(answer, ipledger.LedgerError) for answer in answers)

        def one(ledger: Ledger) -> None:
            ledger.allocate("wide", owner=_owner())

        rounds = 2 if options.quick else 60
        in_turns(
            rounds, *((alone[name], lambda of=of: one(of)) for name, of in ledgers.items()), times=2
        )  # fmt: skip
        in_turns(
            rounds, *((together[name], lambda of=of: many(of)) for name, of in ledgers.items())
        )
        for ledger in ledgers.values():
            ledger.close()
    for timings, what in ((alone, "one caller"), (together, f"{batch} at once")):
        ceiling = f"{what}: local"
        for name, timing in timings.items():
            report.add(Figure(f"{what}: {name}", timing, None if name == "local" else ceiling))
    return report


def _knows_waitaof(bench: Bench) -> bool:
    ask: Callable[..., Any] = bench.client.execute_command
    return bool(ask("COMMAND INFO", "WAITAOF")[0])


def _nothing() -> Timing:
    timing = Timing()
    timing.take(lambda: None)
    return timing


if __name__ == "__main__":
    main(__doc__, [measure])
