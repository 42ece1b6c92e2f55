"""ipledger as its guide says: `connect`, `allocate`, `release`; and a pool of sixteen tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import ipledger
from benchmarks.harness import Bench, Timing
from benchmarks.peers.peer import Held, Job, Peer, filler
from ipledger import operations
from ipledger.aio import AsyncLedger
from ipledger.ledger import Ledger

BATCH = 256
POOL = "bench"


def spelt(job: Job, address: int) -> str:
    """An address of the job as text."""
    return str(job.prefix[address - int(job.prefix.network_address)])


class Ours(Peer):
    """A ledger in a space of its own, with one pool."""

    name = "ipledger"
    flat = True

    def __init__(self, bench: Bench, job: Job, ceiling: str) -> None:
        self.ceiling = ceiling
        home = bench.home / "client"
        self.ledger: Ledger = ipledger.connect(bench.url, "peers", home=home)
        self.ledger.create_space()
        ips = [f"{spelt(job, job.first)}-{spelt(job, job.last)}"]
        self.ledger.apply(ipledger.pool(POOL, subnet=str(job.prefix), ips=ips))
        pool = self.ledger.state.pool(POOL)
        assert pool is not None
        self._pool_id = pool.pool_id

    def acquire(self, owner: str) -> Held:
        """See `Peer.acquire`."""
        (lease,) = self.ledger.allocate(POOL, owner).granted
        return Held(int.from_bytes(lease.address, "big"), lease.lease_id)

    def release(self, held: Held) -> None:
        """See `Peer.release`."""
        self.ledger.release(held.handle)

    def fill_to(self, taken: int) -> None:
        """See `Peer.fill_to`: real leases, 256 callers at once."""
        while (leased := self.ledger.state.counts(self._pool_id).leased) < taken:
            wanted = range(leased, min(leased + BATCH, taken))
            answers = self.ledger.run_all(
                [operations.allocate(POOL, filler(index)) for index in wanted]
            )
            failed = [each for each in answers if isinstance(each, ipledger.LedgerError)]
            assert not failed, failed[0]

    def close(self) -> None:
        """See `Peer.close`."""
        self.ledger.close()


class Tasks:
    """Callers on one event loop, sharing the ledger."""

    def __init__(self, ours: Ours, owner: Callable[[], str]) -> None:
        self._runner = asyncio.Runner()
        self._owner = owner
        self._ours = ours
        self._shared = self._runner.run(self._share())

    async def _share(self) -> AsyncLedger:
        return AsyncLedger(self._ours.ledger)

    def turn(self, callers: int, each: int, latency: Timing) -> list[Held]:
        """So many callers at once, each asking again when answered."""
        held: list[Held] = []
        loop = self._runner.get_loop()

        async def caller() -> None:
            for _ in range(each):
                before_s = loop.time()
                (lease,) = (await self._shared.allocate(POOL, self._owner())).granted
                latency.durations_s.append(loop.time() - before_s)
                held.append(Held(int.from_bytes(lease.address, "big"), lease.lease_id))

        async def together() -> None:
            await asyncio.gather(*(caller() for _ in range(callers)))

        self._runner.run(together())
        return held

    def close(self) -> None:
        """End the loop; the ledger is somebody else's."""
        self._runner.run(self._shared.close())
        self._runner.close()
