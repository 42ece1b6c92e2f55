"""What the processes do: callers in threads, who ask for everything that can meet somebody else.

Pools are small and owners shared, so that much is refused and much is held already. What a caller
draws is a matter of its seed; how the processes meet is the machine's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Event
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any, Final, NamedTuple

import ipledger
from tests.checker.defects import DEFECTS
from tests.checker.history import Answered, Failed, Recorder, Request
from tests.faults.workers import CONTEXT

THREADS: Final = 6
WAITS_S: Final = (0.3, 2.0, 20.0)  # short ones give up during a fault, long ones do not
_OWNERS: Final = 60

SMALL: Final[dict[str, Any]] = {
    "kind": "pool", "name": "small", "subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.24"],
}  # fmt: skip
POOLS: Final[tuple[dict[str, Any], ...]] = (
    SMALL,
    {"kind": "pool", "name": "wide", "subnet": "10.1.0.0/16", "ips": ["10.1.0.1-10.1.200.0"]},
    {
        "kind": "pool", "name": "lent", "subnet": "10.2.0.0/24", "ips": ["10.2.0.1-10.2.0.20"],
        "ttl_s": 1,
    },
    {
        "kind": "pool", "name": "rests", "subnet": "10.3.0.0/24", "ips": ["10.3.0.1-10.3.0.20"],
        "cooldown_s": 1, "policy": "least-recently-used",
    },
    {
        "kind": "pool", "name": "closed", "subnet": "10.4.0.0/24", "ips": ["10.4.0.1"],
        "disabled": True,
    },
)  # fmt: skip


class Caller:
    """One thread's caller: asks, learns what it holds, and repeats what it is in doubt of."""

    def __init__(self, recorder: Recorder, random: Random, waits_s: Sequence[float]) -> None:
        self._recorder = recorder
        self._waits_s = waits_s
        self._random = random
        self._leases: list[int] = []
        self._last: Request | None = None
        self._doubted: Request | None = None

    def step(self) -> Failed | None:
        """Make one call; return how it failed, if it did."""
        request = self._next()
        answer, outcome = self._recorder.call(request)
        failed = outcome if isinstance(outcome, Failed) else None
        self._doubted = request if failed is not None and failed.kind == "unknown" else None
        if isinstance(outcome, Answered):
            self._last = request
            if isinstance(answer, ipledger.Allocated):
                self._leases += [lease.lease_id for lease in answer.granted]
        return failed

    def _next(self) -> Request:
        if self._doubted is not None and self._random.random() < 0.8:
            return self._doubted
        if self._last is not None and (drawn := self._random.random()) < 0.04:
            if drawn < 0.03:
                return self._last
            used = self._last.options["command_id"]
            return self._ask("allocate", "wide", owner="another", command_id=used)
        draws = (
            (20, self._allocate_small), (22, self._allocate_wide), (12, self._allocate_timed),
            (4, self._allocate_anew), (4, self._allocate_address), (18, self._release),
            (8, self._release_owner), (6, self._renew), (6, self._define), (3, self._set_aside),
            (2, self._sweep),
        )  # fmt: skip
        weights, makers = zip(*draws, strict=True)
        maker: Callable[[], Request] = self._random.choices(makers, weights)[0]
        return maker()

    def _ask(self, method: str, *args: Any, **options: Any) -> Request:
        options.setdefault("command_id", self._random.randbytes(16).hex())
        options["timeout_s"] = self._random.choice(self._waits_s)
        return Request(method, list(args), options)

    def _owner(self) -> str:
        return f"o-{self._random.randrange(_OWNERS)}"

    def _lease(self) -> int:
        if self._leases and self._random.random() < 0.8:
            return self._leases.pop(self._random.randrange(len(self._leases)))
        return self._random.randrange(1, 400)  # somebody else's, or none

    def _address(self) -> str:
        return f"10.0.0.{self._random.randrange(1, 30)}"

    def _allocate_small(self) -> Request:
        pools = self._random.choice(["small", "small", "small,rests", "closed", "nowhere"])
        return self._ask("allocate", pools, owner=self._owner())

    def _allocate_wide(self) -> Request:
        pools = self._random.choice([["wide"], ["wide"], ["wide", "small"]])
        return self._ask("allocate", pools, owner=f"w-{self._random.randrange(1_000)}")

    def _allocate_timed(self) -> Request:
        return self._ask("allocate", self._random.choice(["lent", "rests"]), owner=self._owner())

    def _allocate_anew(self) -> Request:
        uid = f"u-{self._random.randrange(3)}"
        return self._ask("allocate", "small", owner=self._owner(), uid=uid)

    def _allocate_address(self) -> Request:
        return self._ask("allocate", "small", owner=self._owner(), addresses=[self._address()])

    def _release(self) -> Request:
        return self._ask("release", self._lease())

    def _release_owner(self) -> Request:
        return self._ask("release", owner=self._owner())

    def _renew(self) -> Request:
        return self._ask("renew", self._lease())

    def _define(self) -> Request:
        drawn = self._random.randrange(5)
        if drawn == 0:
            return self._ask("apply", SMALL, create_only=True)
        if drawn == 1:
            return self._ask("apply", {**SMALL, "exclude_ips": [self._address()]})
        if drawn == 2:
            return self._ask("apply", SMALL)
        kept = {"kind": "reservation", "name": f"kept-{self._random.randrange(3)}"}
        if drawn == 3:
            return self._ask("apply", {**kept, "ips": [self._address()]})
        return self._ask("delete", {**kept, "target": True})

    def _set_aside(self) -> Request:
        if self._random.random() < 0.6:
            return self._ask("quarantine", self._address(), reason="it answers", for_s=1)
        return self._ask("unquarantine", self._address())

    def _sweep(self) -> Request:
        return self._ask("sweep")


class Work(NamedTuple):
    """What one process does, and where it notes it."""

    url: str
    directory: Path
    name: str
    seed: int
    defect: str = ""
    threads: int = THREADS
    waits_s: tuple[float, ...] = WAITS_S


def write(work: Work, stop: Event) -> None:
    """So many callers, each in a thread, until they are told to stop."""
    # For as long as the process lives, so it is not closed. What a writer logs of each fault is
    # not what is looked for.
    sys.stderr = (work.directory / f"{work.name}.log").open("w", encoding="utf-8")
    if work.defect:
        DEFECTS[work.defect]()
    with ipledger.connect(work.url, home=work.directory / work.name) as ledger:
        callers = [
            Thread(target=_live, args=(work, ledger, number, stop))
            for number in range(work.threads)
        ]
        for thread in callers:
            thread.start()
        for thread in callers:
            thread.join()


def _live(work: Work, ledger: ipledger.Ledger, number: int, stop: Event) -> None:
    random = Random(f"{work.seed} {work.name} {number}")  # noqa: S311 - the same on every run
    path = work.directory / f"{work.name}-{number}.calls"
    with Recorder(path, work.name, ledger) as recorder:
        caller = Caller(recorder, random, work.waits_s)
        while not stop.is_set():
            if caller.step() is not None:
                stop.wait(0.02)  # it asks again and again, but does not only do that


def begin(work: Work, stop: Event) -> Any:
    """Start a process."""
    process = CONTEXT.Process(target=write, args=(work, stop), name=work.name)
    process.start()
    return process
