"""Eight writers on one pool, whatever it prefers: no address twice, nobody refused, one digest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Barrier
from typing import Final

import pytest

import ipledger
from engine.events import LeaseGranted
from engine.model import POLICIES, Policy
from replay.picks import explain_pick
from tests.invariants import check_stream

WRITERS: Final = 8
HELD_MAX: Final = 6  # by one writer
ROOM: Final = WRITERS * HELD_MAX + 2
COMMANDS: Final = 90  # of each


def _write(ledger: ipledger.Ledger, number: int, barrier: Barrier) -> list[str]:
    """Take and give back, for owners of this writer's own; every address that was granted."""
    random = Random(number)  # noqa: S311 - the same choices on every run
    held: list[str] = []
    granted: list[str] = []
    barrier.wait(60)
    for _command in range(COMMANDS):
        if len(held) == HELD_MAX or (held and random.random() < 0.4):
            ledger.release(owner=held.pop(random.randrange(len(held))))
            continue
        owner = f"w{number}-{random.randrange(20)}"
        if owner not in held:
            answer = ledger.allocate("p", owner)
            granted += [lease.text for lease in answer.granted]
            held.append(owner)
    return granted


@pytest.mark.parametrize("policy", POLICIES)
def test_eight_writers_share_a_pool_that_is_nearly_full(
    embedded_url: str, space: str, tmp_path: Path, policy: Policy
) -> None:
    """There is always room for two more: so none of them is refused, and none waits in vain."""
    ledgers = [
        ipledger.connect(embedded_url, space, state_dir=tmp_path / str(number))
        for number in range(WRITERS)
    ]
    ledgers[0].create_space()
    ledgers[0].apply(
        ipledger.pool(
            "p", subnet="10.0.0.0/24", ips=[f"10.0.0.1-10.0.0.{ROOM}"], policy=policy, sticky_s=60
        )
    )
    for ledger in ledgers:
        ledger.refresh()
    barrier = Barrier(WRITERS)
    try:
        with ThreadPoolExecutor(WRITERS) as threads:
            futures = [
                threads.submit(_write, ledger, number, barrier)
                for number, ledger in enumerate(ledgers)
            ]
        granted = [text for future in futures for text in future.result()]
        for ledger in ledgers:
            ledger.refresh()
        stream = ledgers[0].writer.stream
        records = check_stream(stream, *(ledger.digest() for ledger in ledgers))
        drawn = [
            record.position for record in records
            if isinstance(record.event, LeaseGranted) and record.event.seed is not None
        ]  # fmt: skip
        picks = [explain_pick(stream, lease_id) for lease_id in drawn[:: len(drawn) // 20 or 1]]
    finally:
        for ledger in ledgers:
            ledger.close()

    assert len(granted) > WRITERS * COMMANDS // 4
    assert bool(drawn) == (policy == "random")
    assert all(pick.is_as_given for pick in picks)
