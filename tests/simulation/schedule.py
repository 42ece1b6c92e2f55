"""Processes that take turns as a seed says: one runs at a time, on a clock that only we move.

Each process is the code as it is, in a thread of its own; it goes on until it asks a server
something or sleeps, and hands the turn back there. The same seed gives the same order of turns.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from threading import Lock, Thread
from typing import Final

_HURRY_MS: Final = 3  # what passes between two turns, at most


class Crashed(BaseException):
    """The process is killed where it stands. Not an `Exception`: nothing may handle it."""


class _Ended(BaseException):
    """The run is over: everybody goes home."""


class _Process:
    """A process, and whose turn it is."""

    def __init__(self, name: str, body: Callable[[], None]) -> None:
        self.name = name
        self.body = body
        self.go = Lock()
        self.go.acquire()
        self.wake_ms = 0
        self.doomed = False
        self.over = False
        self.error: BaseException | None = None


class Schedule:
    """Whose turn it is, and what time it is."""

    def __init__(self, random: Random, now_ms: int) -> None:
        self.now_ms = now_ms
        self.turns = 0
        self._random = random
        self._processes: list[_Process] = []
        self._back = Lock()
        self._back.acquire()
        self._running: _Process | None = None
        self._ending = False

    def spawn(self, name: str, body: Callable[[], None]) -> None:
        """Begin a process: its first turn comes like any other."""
        process = _Process(name, body)
        process.wake_ms = self.now_ms
        self._processes.append(process)
        Thread(target=self._live, args=(process,), daemon=True, name=name).start()

    def pause(self, for_ms: int = 0) -> None:
        """Hand the turn back; go on when it comes again, not before `for_ms` have passed.

        Raises:
            Crashed: the process was killed meanwhile.
        """
        process = self._running
        assert process is not None, "only a process pauses"
        process.wake_ms = self.now_ms + for_ms
        self._back.release()
        process.go.acquire()
        if self._ending:
            raise _Ended
        if process.doomed:
            process.doomed = False
            raise Crashed

    def doom(self, name: str) -> None:
        """Kill the process of that name when its turn comes."""
        for process in self._processes:
            if process.name == name and not process.over and process is not self._running:
                process.doomed = True

    def run(self) -> None:
        """Give turns until every process is over. What one raises is raised here."""
        try:
            while left := [process for process in self._processes if not process.over]:
                ready = [process for process in left if process.wake_ms <= self.now_ms]
                if not ready:
                    self.now_ms = min(process.wake_ms for process in left)
                    continue
                self._give(self._random.choice(ready))
                self.now_ms += self._random.randrange(_HURRY_MS)
        finally:
            self._end_all()

    def _give(self, process: _Process) -> None:
        self.turns += 1
        self._running = process
        process.go.release()
        self._back.acquire()
        self._running = None
        if process.error is not None:
            raise process.error

    def _live(self, process: _Process) -> None:
        process.go.acquire()
        try:
            process.doomed = False  # nobody can be killed who has not begun
            if not self._ending:
                process.body()
        except (Crashed, _Ended):
            pass
        except BaseException as error:  # noqa: BLE001 - handed on to who runs the schedule
            process.error = error
        process.over = True
        self._back.release()

    def _end_all(self) -> None:
        """No thread stays behind, also after an error."""
        self._ending = True
        for process in self._processes:
            if not process.over:
                self._running = process
                process.go.release()
                self._back.acquire()
        self._running = None
