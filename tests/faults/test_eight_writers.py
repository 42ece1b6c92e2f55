"""Ten thousand commands by eight writers at once: every invariant holds at every commit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Barrier
from typing import Any, Final

import ipledger
from engine.events import LeaseEnded, Quarantined, QuarantineEnded
from engine.model import ENDINGS
from tests.invariants import check_stream

WRITERS: Final = 8
COMMANDS: Final = 10_000
SEED: Final = 3
# All that two writers who want the same few addresses may be told; anything else is a bug.
EXPECTED: Final = {"exhausted", "conflict", "forbidden", "not_found"}

OWNERS: Final = [f"c1/default/web-{n}" for n in range(80)]


def _address(random: Random) -> str:
    """One that is always an address of pool a."""
    return f"10.0.0.{random.randint(1, 12)}"


def _pool_a(random: Random) -> Any:
    """The pool that is resized while it is used; where time plays a part."""
    last = random.randint(12, 20)
    return ipledger.pool(
        "a", subnet="10.0.0.0/24", ips=[f"10.0.0.1-10.0.0.{last}"], cooldown_s=1, ttl_s=1,
        disabled=random.random() < 0.05,
    )  # fmt: skip


def _pool_b() -> Any:
    """A pool without rest: what is past its time there is taken by whoever needs it."""
    return ipledger.pool("b", subnet="10.1.0.0/24", ips=["10.1.0.1-10.1.0.30"], ttl_s=1)


def _allocate(ledger: ipledger.Ledger, random: Random) -> int:
    """One of the ways to ask; answers with a lease to speak of later."""
    owner, uid = random.choice(OWNERS), random.choice(("u1",) * 30 + ("u2",))
    pools: Any = random.choice(("a", "b", "a,b", "b,a", ["a", "b"]))
    extra: dict[str, Any] = {"labels": {"node": f"n{random.randrange(40)}"}} if (
        random.random() < 0.5) else {}  # fmt: skip
    kind = random.random()
    if kind < 0.1:
        extra |= {"addresses": [_address(random)]}
        pools = "a"
    elif kind < 0.3:
        extra |= {"count": random.randint(1, 3)}
    elif kind < 0.4:
        extra |= {"interface": ["eth0", "eth1"]}
    elif kind < 0.5:
        extra |= {"ttl_s": 2}
    answer = ledger.allocate(pools, owner, uid=uid, **extra)
    return answer.granted[0].lease_id if answer.granted else answer.held[0]


def _reserve(ledger: ipledger.Ledger, random: Random) -> None:
    owner = random.choice((None, *OWNERS[:3]))
    name = f"r{random.randrange(3)}"
    for_s = random.choice((1, None))
    ledger.apply(ipledger.reservation(name, ips=[_address(random)], owner=owner, for_s=for_s))


# What is done how often, beside allocating. Each is given a lease that this writer was granted.
_Work = Callable[[ipledger.Ledger, Random, int], object]
_OTHERS: Final[list[tuple[int, _Work]]] = [
    (2, lambda ledger, _r, lease: ledger.release(lease)),
    (1, lambda ledger, r, _l: ledger.release(owner=r.choice(OWNERS))),
    (1, lambda ledger, r, _l: ledger.release(labels={"node": f"n{r.randrange(40)}"})),
    (6, lambda ledger, r, lease: ledger.renew(lease, ttl_s=r.choice((None, 1, 2)))),
    (5, lambda ledger, _r, _l: ledger.sweep()),
    (3, lambda ledger, r, _l: ledger.quarantine(
        _address(r), reason="something answers", for_s=r.choice((None, 1)))),
    (4, lambda ledger, r, _l: ledger.unquarantine(_address(r))),
    (2, lambda ledger, r, _l: _reserve(ledger, r)),
    (3, lambda ledger, r, _l: ledger.delete(
        ipledger.Target("reservation", f"r{r.randrange(3)}"))),
    (2, lambda ledger, r, _l: ledger.apply(_pool_a(r))),
]  # fmt: skip


def _one_command(ledger: ipledger.Ledger, random: Random, leases: list[int]) -> None:
    if not leases or random.random() < 0.5:
        leases.append(_allocate(ledger, random))
        return
    weights, works = zip(*_OTHERS, strict=True)
    (work,) = random.choices(works, weights)
    work(ledger, random, random.choice(leases[-4:]))


def _write(ledger: ipledger.Ledger, number: int, barrier: Barrier) -> Counter[str]:
    """One writer's share; what became of it, by kind of refusal."""
    random = Random(f"{SEED} {number}")  # noqa: S311 - the same choices on every run
    leases: list[int] = []
    said: Counter[str] = Counter()
    barrier.wait(60)
    for _command in range(COMMANDS // WRITERS):
        try:
            _one_command(ledger, random, leases)
        except ipledger.Refused as refused:
            if refused.kind not in EXPECTED:
                raise AssertionError(f"seed {SEED}, writer {number}: {refused}") from refused
            said[refused.kind] += 1
        else:
            said["done"] += 1
    return said


def _sweep_out(ledger: ipledger.Ledger) -> None:
    """Wait until every lease with an end has ended by it: two seconds at most."""
    while any(lease.expires_at_ms is not None for lease in ledger.state.leases()):
        ledger.sweep()
        time.sleep(0.02)


def test_eight_writers_leave_a_history_without_fault(
    embedded_url: str, space: str, tmp_path: Path
) -> None:
    """10,000 mixed commands on few addresses: invariants at every commit, one digest for all."""
    ledgers = [
        ipledger.connect(embedded_url, space, state_dir=tmp_path / str(number))
        for number in range(WRITERS)
    ]
    ledgers[0].create_space()
    ledgers[0].apply(_pool_a(Random(SEED)), _pool_b())  # noqa: S311 - as above
    for ledger in ledgers:
        ledger.refresh()
    barrier = Barrier(WRITERS)
    try:
        with ThreadPoolExecutor(WRITERS) as threads:
            futures = [
                threads.submit(_write, ledger, number, barrier)
                for number, ledger in enumerate(ledgers)
            ]
        said = sum((future.result() for future in futures), Counter())
        _sweep_out(ledgers[0])
        for ledger in ledgers:
            ledger.refresh()
        records = check_stream(ledgers[0].writer.stream, *(ledger.digest() for ledger in ledgers))
    finally:
        for ledger in ledgers:
            ledger.close()

    assert sum(said.values()) == COMMANDS
    assert set(said) == {"done", *EXPECTED}, f"seed {SEED}: not all of it came up: {said}"
    events = [record.event for record in records]
    endings = {ENDINGS[event.ended_by] for event in events if isinstance(event, LeaseEnded)}
    assert endings == {"released", "expired", "superseded"}, f"seed {SEED}"
    for kind in (Quarantined, QuarantineEnded):
        assert any(isinstance(event, kind) for event in events), f"seed {SEED}: no {kind}"
