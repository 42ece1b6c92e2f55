"""Leak collection through the Python API, on a real server: both faces, several commits, undo."""

from __future__ import annotations

import asyncio
import time

import pytest

import ipledger
from engine.errors import InvalidInput, Refused
from engine.observation import Observation
from ipledger.aio import AsyncLedger
from replay.audit import audit


@pytest.fixture
def ledger(embedded_url: str, space: str, tmp_path: object) -> ipledger.Ledger:
    """A space with a pool whose addresses rest for a minute."""
    opened = ipledger.connect(embedded_url, space, home=str(tmp_path))
    opened.create_space()
    opened.apply(ipledger.pool("web", subnet="10.0.0.0/16", ips=["10.0.0.1-10.0.200.0"],
                               cooldown_s=60))  # fmt: skip
    return opened


def look(*addresses: str) -> Observation:
    """What is in use now: a little later than whatever was granted before."""
    time.sleep(0.005)
    told = [{"address": address} for address in addresses]
    return ipledger.observation(told, time.time_ns() // 1_000_000)


def test_several_commits_and_undo(ledger: ipledger.Ledger) -> None:
    """More than one commit holds: told, then ended, and one of them given back."""
    with ledger:
        for number in range(3):
            ledger.allocate("web", f"o{number}", count=500)
        kept = [f"10.0.0.{n}" for n in range(1, 101)]
        done = [
            ledger.reconcile(
                look(*kept), evidence="a look", release_after=2, grace_s=0, accept_many_missing=True
            )
            for _number in range(2)
        ]
        assert [tuple(map(len, each)) for each in done] == [(1_400, 0, 0), (1_400, 0, 1_400)]
        assert len(list(ledger.state.leases())) == 100
        lease = done[1].released[0]
        undone = ledger.undo(lease, reason="it was there")
        assert (undone.lease.text, undone.lease.owner, undone.already) == (
            "10.0.0.101",
            "o0",
            False,
        )
        assert ledger.undo(lease) == (undone.lease, True)
        with pytest.raises(InvalidInput):
            ledger.undo(0)
        found = audit(ledger.writer.stream)
        assert not found.total, found.breaches
        assert found.digest == ledger.digest()


def test_the_asyncio_face_does_the_same(ledger: ipledger.Ledger) -> None:
    """Reconciled, refused, and undone by two at once, who get one lease."""

    async def main() -> None:
        face = AsyncLedger(ledger)
        await face.allocate("web", "a", count=3)
        with pytest.raises(Refused, match="2 of 3 leases are missing"):
            await face.reconcile(look("10.0.0.1"), evidence="a look")
        done = await face.reconcile(
            look("10.0.0.1", "10.0.0.2"), evidence="a look", release_after=1, grace_s=0
        )
        (lease,) = done.released
        both = await asyncio.gather(face.undo(lease), face.undo(lease))
        assert {undone.lease.lease_id for undone in both} == {lease + 3}
        assert sorted(undone.already for undone in both) == [False, True]
        await face.close()

    with ledger:
        asyncio.run(main())
