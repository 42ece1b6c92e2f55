"""kill -9 of the embedded server while it works: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

import ipledger
from ipledger import embedded

ALLOCATIONS = 10_000
CALLERS = 40


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory for an embedded server of the test's own."""
    with tempfile.TemporaryDirectory(prefix="ipl-") as directory:
        yield Path(directory)
        embedded.stop(Path(directory))


def test_kill_in_the_middle_of_10_000_allocations(home: Path) -> None:
    """Every acknowledged lease is there once; callers only wait; nobody restarts anything."""
    acknowledged: dict[str, str] = {}
    problems: list[str] = []
    halfway = Event()
    with ipledger.connect(home=home) as ledger:
        ledger.apply(ipledger.pool("p", subnet="10.0.0.0/16", ips=["10.0.0.1-10.0.255.0"]))

        def caller(number: int) -> None:
            for at in range(ALLOCATIONS // CALLERS):
                owner = f"o-{number}-{at}"
                try:
                    answer = ledger.allocate("p", owner=owner)
                except ipledger.LedgerError as error:
                    problems.append(f"{owner}: {error.kind}: {error}")
                    continue
                lease_ids = [lease.lease_id for lease in answer.granted] or list(answer.held)
                lease = ledger.state.lease(lease_ids[0])
                acknowledged[owner] = lease.text if lease else "?"
                if len(acknowledged) >= ALLOCATIONS // 3:
                    halfway.set()

        callers = [Thread(target=caller, args=(number,)) for number in range(CALLERS)]
        for thread in callers:
            thread.start()
        kills = 0
        for _ in range(3):
            assert halfway.wait(60)
            running = embedded.status(home)
            if running is not None:
                os.kill(running.pid, signal.SIGKILL)
                kills += 1
            callers[0].join(0.3)  # let them get on for a while between two kills
        for thread in callers:
            thread.join(100)
        assert kills
        assert not problems, problems[:3]
        assert len(acknowledged) == ALLOCATIONS

    with ipledger.connect(home=home) as fresh:
        held = {lease.owner: lease.text for lease in fresh.state.leases()}
        assert held == acknowledged
        assert len(set(held.values())) == ALLOCATIONS
        assert fresh.position == ALLOCATIONS + 2


def test_a_reply_lost_by_a_kill_is_answered_once(home: Path) -> None:
    """A command repeated with its id after a crash, from another process, lands once."""
    with ipledger.connect(home=home) as ledger:
        ledger.apply(ipledger.pool("p", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.9"]))
        first = ledger.allocate("p", owner="o", command_id="ticket 4711")
        running = embedded.status(home)
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
    with ipledger.connect(home=home) as again:
        repeated = again.allocate("p", owner="o", command_id="ticket 4711")
        assert repeated.repeated
        assert repeated.granted == first.granted
        with pytest.raises(ipledger.Refused) as refused:
            again.allocate("p", owner="somebody else", command_id="ticket 4711")
        assert refused.value.kind == "conflict"
        assert len(again.state.lease_table) == 1
