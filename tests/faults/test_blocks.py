"""Eight writers on a real server ask for blocks and for addresses: all apart, nothing lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

import ipledger
from engine.facts import Lease
from replay.audit import Options, audit

WRITERS = 8
ROUNDS = 12


@pytest.fixture
def states(tmp_path: Path) -> Iterator[Path]:
    """High-water marks for the writers of one test."""
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


def work(url: str, space: str, states: Path, number: int) -> list[Lease]:
    """Allocate and release for a while, then release everything; return what was granted."""
    random = Random(number)  # noqa: S311 - the same requests on every run
    granted: list[Lease] = []
    held: list[int] = []
    with ipledger.connect(url, space, state_dir=states / str(number)) as ledger:
        for turn in range(ROUNDS):
            length = random.choice([None, 32, 31, 30, 29, 28, 26])
            try:
                answer = ledger.allocate(
                    "p", f"w{number}-{turn}", prefix_length=length, count=random.choice([1, 1, 3])
                )
            except ipledger.LedgerError as error:
                assert error.kind == "exhausted"  # noqa: PT017 - of those that may be raised
            else:
                granted += answer.granted
                held += [lease.lease_id for lease in answer.granted]
            if held and random.random() < 0.4:
                ledger.release(held.pop(random.randrange(len(held))))
        if held:
            ledger.release(*held)
    return granted


def test_blocks_and_addresses_by_eight_writers(redis_url: str, space: str, states: Path) -> None:
    """Disjoint at every position, aligned, and all of the pool is free in the end."""
    with ipledger.connect(redis_url, space, state_dir=states) as ledger:
        ledger.create_space()
        ledger.apply(ipledger.pool("p", subnet="10.0.0.0/23", ips=["10.0.0.0-10.0.1.255"]))
    with ThreadPoolExecutor(WRITERS) as pool:
        said = list(pool.map(lambda n: work(redis_url, space, states, n), range(WRITERS)))

    leases = [lease for each in said for lease in each]
    assert len({lease.lease_id for lease in leases}) == len(leases) > WRITERS * ROUNDS // 2
    for lease in leases:
        size = 1 << (32 - lease.prefix_length)
        assert int.from_bytes(lease.address) % size == 0
    assert any(lease.prefix_length < 32 for lease in leases)
    with ipledger.connect(redis_url, space, state_dir=states) as ledger:
        found = audit(ledger.writer.stream, Options(count_every=20))
        assert not found.breaches  # one-holder, among others
        assert found.digest == ledger.digest()
        (definition,) = ledger.state.pools()
        counts = ledger.state.counts(definition.pool_id)
        assert (counts.free, counts.leased) == (512, 0)
        assert ledger.state.free_lengths(definition.pool_id) == {23: 1}
