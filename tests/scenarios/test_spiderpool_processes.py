"""Spiderpool's cases of chaos on real servers: processes that are killed, a hundred at a time.

The same cases run in memory over many seeds in `test_spiderpool`; here they are small, but the
writers, the server and the deaths are real.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Final

import pytest

import ipledger
from tests.invariants import check_stream
from tests.scenarios.pods import Pod, Processes, Task

CREATORS: Final = 100


def start(*pods: Pod) -> list[Task]:
    """These pods shall start."""
    return [Task(pod) for pod in pods]


def stop(*pods: Pod) -> list[Task]:
    """These pods shall go."""
    return [Task(pod, stop=True) for pod in pods]


def test_g00011_two_groups_of_five_under_processes_that_die(
    redis_url: str, space: str, tmp_path: Path
) -> None:
    """G00011: one group scales 5, 0, 5 while the other starts: never a duplicate, 5 are ready."""
    cluster = Processes(11, redis_url, space, str(tmp_path), "10.0.0.1-10.0.0.5")
    ready = cluster.carry(start(*(Pod(f"a-{n}", "u0") for n in range(5))))
    cluster.check(ready)
    waiting = {Pod(f"b-{n}", "u0") for n in range(5)}
    for phase in (1, 2):
        going = [pod for pod in ready if pod.owner.startswith("a")]
        got = cluster.carry([*stop(*going), *start(*waiting)])
        ready = {pod: address for pod, address in ready.items() if pod not in going} | got
        cluster.check(ready)
        waiting = (waiting - got.keys()) | {Pod(pod.owner, f"u{phase}") for pod in going}
        got = cluster.carry(start(*waiting))
        ready |= got
        waiting -= got.keys()
        assert len(ready) == 5, ready
        cluster.check(ready)
    assert cluster.killed == 5
    cluster.audit()


def test_g00012_six_groups_of_three_under_processes_that_die(
    redis_url: str, space: str, tmp_path: Path
) -> None:
    """G00012: chaos on 18 addresses; after each phase no duplicates, live uids, exact counts."""
    cluster = Processes(12, redis_url, space, str(tmp_path), "10.0.0.1-10.0.0.18")
    sizes = dict.fromkeys("abcdef", 3)
    alive = cluster.carry(start(*(Pod(f"{name}-{n}", "u0") for name in sizes for n in range(3))))
    assert len(alive) == 18
    cluster.check(alive)
    for phase in ("scale", "restart", "delete and create"):
        one, other = cluster.random.sample(sorted(sizes), 2)
        if phase == "scale":
            sizes[one], sizes[other] = 0, sizes[other] + sizes[one]
        wanted = {f"{name}-{n}" for name, size in sizes.items() for n in range(size)}
        deleted = [one, other] if phase == "delete and create" else []
        gone = [pod for pod in alive if pod.owner not in wanted or pod.owner[0] in deleted]
        assert cluster.carry(stop(*gone)) == {}
        alive = {pod: address for pod, address in alive.items() if pod not in gone}
        cluster.check(alive)
        # What restarts asks under a new uid while its old record still stands.
        again = [one, other] if phase == "restart" else []
        alive = {pod: address for pod, address in alive.items() if pod.owner[0] not in again}
        asking = [Pod(owner, phase) for owner in wanted - {pod.owner for pod in alive}]
        alive |= cluster.carry(start(*asking))
        assert len(alive) == 18, phase
        cluster.check(alive)
    assert cluster.killed == 6, "one each time, but for the phase in which nothing goes first"
    cluster.carry(stop(*alive))
    cluster.check({})
    cluster.audit()


def test_p00002_forty_replicas_under_processes_that_die(
    redis_url: str, space: str, tmp_path: Path
) -> None:
    """P00002: 40 pods on exactly 40 addresses: create, rebuild, delete; every uid is its own."""
    cluster = Processes(2, redis_url, space, str(tmp_path), "10.0.0.1-10.0.0.40")
    created = cluster.carry(start(*(Pod(f"web-{n}", f"u{n}") for n in range(40))))
    cluster.check(created)
    rebuilt = cluster.carry(start(*(Pod(f"web-{n}", f"v{n}") for n in range(40))))
    cluster.check(rebuilt)
    assert len({pod.uid for pod in rebuilt}) == 40
    assert {p.owner: at for p, at in rebuilt.items()} == {p.owner: at for p, at in created.items()}
    cluster.carry(stop(*rebuilt))
    cluster.check({})
    cluster.audit()


# A subnet claims its whole block, and so does the pool that takes its place.
SPECS: Final = {"i00009": ["10.0.0.0-10.0.0.255"], "i00010": ["10.0.0.1-10.0.0.9"]}


@pytest.mark.parametrize("ips", SPECS.values(), ids=SPECS.keys())
def test_i00009_i00010_of_a_hundred_creators_one_succeeds(
    redis_url: str, space: str, tmp_path: Path, ips: list[str]
) -> None:
    """I00009, I00010: 100 concurrent creates of pools with the same spec: exactly one stands.

    Each has a connection of its own and has read the empty space. With 100 processes, and ranges
    that overlap without being the same, it is done in tests/faults/test_many_writers.py.
    """
    ledgers = [
        ipledger.connect(redis_url, space, state_dir=tmp_path / str(number))
        for number in range(CREATORS)
    ]
    ledgers[0].create_space()
    barrier = Barrier(CREATORS)

    def create(number: int) -> ipledger.LedgerError | None:
        """One creator; why it did not succeed, or None."""
        ledgers[number].refresh()
        barrier.wait(60)
        try:
            pool = ipledger.pool(f"pool-{number}", subnet="10.0.0.0/24", ips=ips)
            ledgers[number].apply(pool, create_only=True)
        except ipledger.LedgerError as error:
            return error
        return None

    with ThreadPoolExecutor(CREATORS) as threads:
        said = list(threads.map(create, range(CREATORS)))
    (winner,) = [number for number, error in enumerate(said) if error is None]
    for number, error in enumerate(said):
        if error is not None:
            assert error.kind == "conflict", error
            assert f"pool-{number} overlaps pool pool-{winner} in {ips[0]}" in error.message
    reader = ledgers[winner - 1]
    reader.refresh()
    assert [pool.name for pool in reader.state.pools()] == [f"pool-{winner}"]
    assert reader.position == 2
    check_stream(reader.writer.stream, reader.digest())
    for ledger in ledgers:
        ledger.close()
