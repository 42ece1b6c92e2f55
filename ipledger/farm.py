"""Work shared among processes: pieces go out as somebody is free, results come back in order.

Each worker has a pipe of its own and at most one piece at a time, so nothing is ever written to a
worker that is itself writing. A worker ends when its pipe does, however we ended.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final, Generic, NamedTuple, TypeVar

from engine.errors import Kind, LedgerError

Piece = TypeVar("Piece")
Result = TypeVar("Result")

# How many results may wait for one before them, for each worker.
_AHEAD: Final = 2
_END_S: Final = 5.0


def usable_cores() -> int:
    """How many cores this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


class _Failed(NamedTuple):
    """What a worker raised, in words: an exception may not survive the way."""

    kind: Kind
    message: str
    hint: str


class _Worker(Generic[Piece, Result]):
    """One process, and what it is at."""

    def __init__(self, process: BaseProcess, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe
        self.at: int | None = None

    def give(self, number: int, piece: Piece) -> None:
        """Hand it a piece."""
        self.at = number
        try:
            self.pipe.send(piece)
        except OSError:
            raise self._gone() from None

    def take(self) -> Result:
        """Take its result, which must be there."""
        try:
            result: Result | _Failed = self.pipe.recv()
        except (EOFError, OSError):
            raise self._gone() from None
        self.at = None
        if isinstance(result, _Failed):
            error = LedgerError(result.message, result.hint)
            error.kind = result.kind
            raise error
        return result

    def _gone(self) -> LedgerError:
        self.process.join(_END_S)
        message = f"a worker process ended with code {self.process.exitcode}"
        return LedgerError(message, "it may have run out of memory; try --workers 1")


class Farm(Generic[Piece, Result]):
    """Some processes that do the same work; a context manager, which ends them.

    ``in_flight_most`` tells how many pieces were out or waiting for their turn at most.
    """

    def __init__(self, prepare: Callable[[], Callable[[Piece], Result]], workers: int) -> None:
        """Start them.

        Args:
            prepare: makes the function that works on a piece, once in each worker; it is sent
                there, so it is a class or a function of a module, or a `partial` of one.
            workers: how many.
        """
        self.in_flight_most = 0
        self._workers: list[_Worker[Piece, Result]] = []
        try:
            resource_tracker.ensure_running()  # which would unblock the signal if it began later
            with _interrupts_later():
                for number in range(workers):
                    self._start(number, prepare)
        except BaseException:
            self._end()
            raise

    def _start(self, number: int, prepare: Callable[[], Callable[[Piece], Result]]) -> None:
        context = get_context("spawn")  # a fork would copy the client's locks and threads
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_work, args=(theirs, prepare), name=f"worker-{number}", daemon=True
        )
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))

    @property
    def process_ids(self) -> list[int]:
        """The workers' ids."""
        return [worker.process.pid or 0 for worker in self._workers]

    def results(self, pieces: Iterable[Piece]) -> Generator[Result, None, None]:
        """The results, in the order of the pieces.

        Raises:
            LedgerError: a worker failed, or is gone.
        """
        source = enumerate(pieces)
        waiting: dict[int, Result] = {}
        due = sent = 0
        is_over = False
        most = len(self._workers) * _AHEAD
        while True:
            for worker in self._workers:
                if worker.at is None and not is_over and sent - due < most:
                    piece = next(source, None)
                    is_over = piece is None
                    if piece is not None:
                        worker.give(*piece)
                        sent += 1
                        self.in_flight_most = max(self.in_flight_most, sent - due)
            busy = {w.pipe: w for w in self._workers if w.at is not None}
            if not busy:
                return
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]  # wait() gives back what it was given
                number = worker.at
                assert number is not None, "only who has a piece is waited for"
                waiting[number] = worker.take()
            while due in waiting:
                yield waiting.pop(due)
                due += 1

    def __enter__(self) -> Farm[Piece, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        """End all workers: they have nothing to lose."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.terminate()
            worker.process.join(_END_S)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Let children begin deaf to Ctrl-C, which a terminal sends to all: we end them ourselves.

    Blocked and not ignored: a child inherits it, and for us the signal comes when this is over.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, prepare: Callable[[], Callable[[Piece], Result]]) -> None:
    """What a worker does until its pipe ends."""
    work: Callable[[Piece], Result] | None = None
    with suppress(EOFError, OSError):
        while True:
            piece: Piece = pipe.recv()
            answer: Result | _Failed
            try:
                work = work or prepare()
                answer = work(piece)
            except LedgerError as error:
                answer = _Failed(error.kind, error.message, error.hint)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told to who waits
                said = f"a worker process failed: {type(error).__name__}: {error}"
                answer = _Failed("unexpected", said, "this is a bug")
            pipe.send(answer)
