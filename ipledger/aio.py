"""The ledger for asyncio: the same operations on the same writer, awaited.

The sync client in one thread is the fastest way from asyncio too (measured: the asyncio client
halves the rate of wide commands), so calls go to the shared writer, and one thread leads it while
anything is queued, one batch for each turn of the loop. Answers come back in one wake-up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from engine.commands import Command
from engine.explaining import Explanation
from engine.model import DEFAULT_INTERFACE
from ipledger import durability, operations, reconciling
from ipledger.asking import Around
from ipledger.ledger import Ledger, connect
from ipledger.operation import Operation, accepted
from ipledger.reconciling import Claims, Undone
from ipledger.writing import Call, Done, Held, Outcome
from projections.collector import seldom_collecting

P = ParamSpec("P")
Answer = TypeVar("Answer")


def _awaits(
    make: Callable[P, Operation[Answer]],
) -> Callable[Concatenate[AsyncLedger, P], Awaitable[Answer]]:
    """The method that runs an operation and is awaited."""

    def method(self: AsyncLedger, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[Answer]:
        return self.run(make(*args, **kwargs))

    method.__doc__ = make.__doc__
    method.__name__ = make.__name__
    return method


class AsyncLedger:
    """A `Ledger` for one event loop. Use it as an async context manager, or `close` it."""

    def __init__(self, ledger: Ledger) -> None:
        """Share `ledger` with the running loop."""
        self.ledger = ledger
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ipledger-writer")
        self._driving = False
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._finished: deque[Call] = deque()
        self._idle: asyncio.Future[None] | None = None  # awaited by `close`
        self._busy: ExitStack | None = None  # what holds while calls are waiting

    @classmethod
    async def connect(cls, *args: Any, **kwargs: Any) -> AsyncLedger:
        """As `ipledger.connect`, without blocking the loop."""
        return cls(await asyncio.to_thread(connect, *args, **kwargs))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for what is under way, and end the thread."""
        if self._waiting:
            self._idle = self._loop.create_future()
            await self._idle
        await asyncio.to_thread(self._thread.shutdown)

    apply = _awaits(operations.apply)
    delete = _awaits(operations.delete)
    allocate = _awaits(operations.allocate)
    release = _awaits(operations.release)
    renew = _awaits(operations.renew)
    sweep = _awaits(operations.sweep)
    quarantine = _awaits(operations.quarantine)
    unquarantine = _awaits(operations.unquarantine)
    raise_level = _awaits(operations.raise_level)
    set_durability = _awaits(durability.set_durability)
    reconcile = _awaits(reconciling.reconcile)

    async def undo(self, lease: int, **claims: Unpack[Claims]) -> Undone:
        """Give an address back to whose lease it was; see `ipledger.reconciling.undo`."""
        ended = await asyncio.to_thread(reconciling.look_up, self.ledger, lease)
        return await self.run(reconciling.undo(lease, ended, **claims))

    async def explain(
        self,
        address: str,
        *,
        owner: str | None = None,
        interface: str = DEFAULT_INTERFACE,
        at: str | None = None,
        labels: Mapping[str, str] | None = None,
        **around: Unpack[Around],
    ) -> Explanation:
        """As `Ledger.explain`, without blocking the loop."""
        ask = partial(
            self.ledger.explain, address, owner=owner, interface=interface, at=at, labels=labels,
            **around,
        )  # fmt: skip
        return await asyncio.to_thread(ask)

    async def run(self, operation: Operation[Answer]) -> Answer:
        """Carry out an operation.

        Raises:
            Refused: the answer is no.
            LedgerError: it could not be carried out, or its outcome is unknown.
        """
        if not self.ledger.position:
            await asyncio.to_thread(self.ledger.ensure_space)
        if not operation.series:
            outcome = await self._submit(operation, operation.command, 0)
            return operation.read(accepted(outcome, operation))
        outcomes: list[Done | Held] = []
        while not outcomes or operation.goes_on(outcomes[-1]):
            step = len(outcomes)
            outcome = await self._submit(operation, operation.command_at(outcomes), step)
            outcomes.append(accepted(outcome, operation, step))
        return operation.read_all(outcomes)

    def _submit(
        self, operation: Operation[Any], command: Command, step: int
    ) -> asyncio.Future[Outcome]:
        """Queue one commit of an operation; what is returned will be its outcome."""
        ledger = self.ledger
        timeout_s = operation.timeout_s
        call = ledger.writer.make_call(
            command,
            ledger.claim(operation),
            operation.key,
            ledger.timeout_s if timeout_s is None else timeout_s,
            self._on_done,
            step,
        )
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting[id(call)] = future
        ledger.writer.submit(call)
        if not self._driving:
            self._drive()
        return future

    def _drive(self) -> None:
        """Let the thread lead for one batch. Runs in the loop's thread."""
        self._driving = True
        if self._busy is None:  # what a call leaves behind is no cycle; others' are still collected
            self._busy = ExitStack()
            self._busy.enter_context(seldom_collecting())
        # Later in this turn of the loop: callers that are ready now go in the batch.
        self._loop.call_soon(self._thread.submit, self._lead)

    def _lead(self) -> None:
        try:
            self.ledger.writer.drive_once()
        finally:
            self._loop.call_soon_threadsafe(self._drove)

    def _drove(self) -> None:
        """Hand on the answers of a batch. Only then comes the next, with what they led to.

        So the loop and the thread take turns. Side by side they would share one interpreter lock,
        and the thread would leave with the few calls that had been made so far.
        """
        self._driving = False
        self._deliver()
        if self.ledger.writer.has_work:
            self._drive()
        elif self._busy is not None and not self._waiting:
            self._busy.close()
            self._busy = None

    def _on_done(self, call: Call) -> None:
        """Called by whoever leads the writer: a caller's call is answered, or nobody leads."""
        if call.outcome is None:
            self._loop.call_soon_threadsafe(self._drive)
            return
        # In this order: what is appended after `_drove` has looked finds nobody driving.
        self._finished.append(call)
        if not self._driving:
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        """Hand all finished calls to their callers, in one turn of the loop."""
        while self._finished:
            call = self._finished.popleft()
            future = self._waiting.pop(id(call), None)  # once: it may have been woken to lead, too
            if future is not None and not future.done():
                assert call.outcome is not None, "it is finished"
                future.set_result(call.outcome)
        if self._idle is not None and not self._waiting and not self._idle.done():
            self._idle.set_result(None)
