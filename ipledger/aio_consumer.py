"""A consumer for asyncio: the same one, in a thread of its own, awaited.

Reading blocks for up to a second at a time, and the sync client in a thread is the fastest way
from asyncio (see `ipledger.aio`), so there is nothing here but handing over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from ipledger.consumer import Consumer
from ipledger.consuming import Delivery
from projections.following import Lag

Result = TypeVar("Result")


class AsyncConsumer:
    """A `Consumer` for one event loop: ``async for`` over it, in an ``async with`` block.

    It takes the same arguments. A commit that was under way when the waiting for it was cancelled
    is delivered to who waits next: nothing is lost.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take the arguments of `Consumer`; the server is reached on entering the block."""
        self._make: Callable[[], Consumer] = lambda: Consumer(*args, **kwargs)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ipledger-consumer")
        self._consumer: Consumer | None = None
        self._commits: Iterator[Delivery] = iter(())
        self._next: asyncio.Future[Delivery | None] | None = None

    async def __aenter__(self) -> Self:
        try:
            self._consumer = await self._run(self._make)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        self._commits = iter(self._consumer)
        return self

    async def __aexit__(self, failed: type[BaseException] | None, *_exception: object) -> None:
        try:
            self.stop()
            if self._next is not None:
                await asyncio.wait([self._next])
            await self._run(lambda: self.consumer.__exit__(failed))
        finally:
            self._thread.shutdown(wait=False)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        if self._next is None:
            self._next = asyncio.ensure_future(self._run(lambda: next(self._commits, None)))
        # Shielded: the thread goes on although the waiting is cancelled, and what it finds is
        # for whoever asks next.
        try:
            delivery = await asyncio.shield(self._next)
        finally:
            if self._next.done():
                self._next = None
        if delivery is None:
            raise StopAsyncIteration
        return delivery

    @property
    def consumer(self) -> Consumer:
        """The consumer that is shared with the thread."""
        assert self._consumer is not None, "the block was not entered"
        return self._consumer

    @property
    def lag(self) -> Lag:
        """See `Consumer.lag`."""
        return self.consumer.lag

    @property
    def cursor(self) -> str | None:
        """See `Consumer.cursor`."""
        return self.consumer.cursor

    async def commit(self) -> None:
        """See `Consumer.commit`."""
        await self._run(self.consumer.commit)

    def stop(self) -> None:
        """See `Consumer.stop`."""
        self.consumer.stop()

    async def _run(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)
