"""What choosing costs by each policy: from an empty pool, and from one that is 99 % full."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any, Final

import ipledger
from benchmarks.harness import Bench, Figure, Options, Report, Timing, in_turns, main
from engine.commands import Allocate, Claim
from engine.decide import decide
from engine.draft import Draft
from engine.model import POLICIES, Policy
from engine.placement import Placement
from engine.redis_stream import RedisStream
from ipledger import operations
from ipledger.ledger import Ledger

BATCH: Final = 64
ONE_IN: Final = 100  # is free of a pool that is nearly full
_FILL_COUNT: Final = 64

_number = itertools.count()


class Deciding:
    """A batch of independent allocations, decided and not written: the choosing itself."""

    def __init__(self, ledger: Ledger, pool: str, batch: int) -> None:
        self._state = ledger.state
        self._commands = [Allocate(((pool,),), f"new-{number}") for number in range(batch)]

    def __call__(self) -> None:
        """Decide the batch."""
        placement = Placement(seed=next(_number))
        for command in self._commands:
            assert isinstance(decide(self._state, command, Claim(), placement), Draft)


class Taking:
    """The same, written and folded; what was taken is given back apart."""

    def __init__(self, ledger: Ledger, pool: str, batch: int) -> None:
        self._ledger = ledger
        self._pool = pool
        self._batch = batch
        self._taken: list[int] = []

    def __call__(self) -> None:
        """Take the batch."""
        self._taken += granted(
            self._ledger,
            [operations.allocate(self._pool, f"pod-{next(_number)}") for _ in range(self._batch)],
        )

    def give_back(self) -> None:
        """Leave the pool as full as it was."""
        self._ledger.release(*self._taken)
        self._taken.clear()


def granted(ledger: Ledger, wanted: list[Any]) -> list[int]:
    """The leases of allocations, all of which must succeed."""
    leases: list[int] = []
    for answer in ledger.run_all(wanted):
        assert not isinstance(answer, ipledger.LedgerError), answer
        leases += [lease.lease_id for lease in answer.granted]
    return leases


def fill(ledger: Ledger, pool: str, addresses: int) -> None:
    """Give out so many addresses, and then give back one in a hundred, here and there."""
    wanted = [
        operations.allocate(pool, f"held-{next(_number)}", count=_FILL_COUNT)
        for _ in range(addresses // _FILL_COUNT)
    ]
    leases = [
        lease for at in range(0, len(wanted), 16) for lease in granted(ledger, wanted[at : at + 16])
    ]
    Random(1).shuffle(leases)  # noqa: S311 - the same holes on every run
    ledger.release(*leases[: addresses // ONE_IN])


def new_ledger(bench: Bench, policy: Policy, width: int) -> Ledger:
    """A space with three pools of a policy: empty, full but for one in 100, and a /64 in use."""
    ledger = Ledger(RedisStream(bench.client, policy), policy, timeout_s=300)
    ledger.create_space()
    last = f"10.1.{(1 << (24 - width)) - 1}.255"
    pools = {
        "empty": ("11.0.0.0/16", "11.0.0.0-11.0.255.255"),
        "full": (f"10.1.0.0/{width}", f"10.1.0.0-{last}"),
        "deep": ("fd00::/64", "fd00::1-fd00::ffff:ffff:ffff:fffe"),
    }
    ledger.apply(
        *(
            ipledger.pool(name, subnet=subnet, ips=[ips], policy=policy)
            for name, (subnet, ips) in pools.items()
        )
    )
    for name in ("full", "deep"):
        fill(ledger, name, 1 << (32 - width))
    return ledger


def measure(options: Options, bench: Bench) -> Report:
    """Each policy: the pools in turns, decided only, and whole."""
    report = Report("policies", bench, options)
    width, batch, rounds = (22, 4, 2) if options.quick else (16, BATCH, 40)
    names = {
        "empty": "an empty /16", "full": f"a /{width} that is 99 % full",
        "deep": f"a /64 with {(1 << (32 - width)) * 99 // 100:,} leases",
    }  # fmt: skip
    for policy in POLICIES:
        ledger = new_ledger(bench, policy, width)
        deciding = {pool: Timing(batch) for pool in names}
        taking = {pool: Timing(batch) for pool in names}
        takings = [Taking(ledger, pool, batch) for pool in names]
        for _ in range(rounds):
            works = [Deciding(ledger, pool, batch) for pool in names]
            in_turns(4, *zip(deciding.values(), works, strict=True))
            in_turns(1, *zip(taking.values(), takings, strict=True))
            for taken in takings:
                taken.give_back()
        for what, timings in (("decided", deciding), ("written", taking)):
            first = f"{policy}, {what}: {names['empty']}"
            for pool, timing in timings.items():
                ceiling = None if pool == "empty" else first
                report.add(Figure(f"{policy}, {what}: {names[pool]}", timing, ceiling))
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
