"""Where a run happens: servers behind one address, processes that write, somebody who watches."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any, Final, Self

import redis

import ipledger
from engine.entry import RawEntry
from engine.redis_stream import RedisStream, stream_key
from engine.stream import PAGE_ENTRIES
from ipledger.servers import make_client
from tests.checker import workload
from tests.checker.bounds import Seen
from tests.checker.checking import Log
from tests.checker.history import FOREVER_NS, Recorder, Request
from tests.checker.workload import Work
from tests.faults.workers import CONTEXT
from tests.servers import OwnServer

PROCESSES: Final = 3
SOCKET_TIMEOUT_S: Final = 0.4  # the product's is 5 s: a fault that outlasts it would be a long one
DEADLINE_S: Final = 60.0
SPACE: Final = "default"
_KEY: Final = stream_key(SPACE)
_GLANCE_S: Final = 0.001


Settings = dict[str, str]


class Stuck(AssertionError):
    """A run does not get on: nobody writes any more, or a process died."""


class Ground:
    """The servers, of which one is the truth, and everybody who works with it."""

    def __init__(
        self,
        program: Path,
        seed: int,
        settings: Settings | None = None,
        deadline_s: float = DEADLINE_S,
        **work: Any,
    ) -> None:
        """Prepare a run; `work` is what is special about all processes that will write.

        The servers have these `settings` beside those of `ipledger embedded`. Where the stream
        does not grow for `deadline_s`, the run is stuck.
        """
        self.random = Random(f"faults {seed}")  # noqa: S311 - the same on every run
        self.struck: Counter[str] = Counter()
        self.seen: list[Seen] = []
        self.directory = Path(tempfile.mkdtemp(prefix="ipl-"))
        self._program, self._seed, self._work = program, seed, work
        self._settings = settings or {}
        self._deadline_s = deadline_s
        self._stop = CONTEXT.Event()
        self._watched = Event()
        self._processes: list[Any] = []
        self.died: list[str] = []  # or did not come to an end
        self._old: Callable[[], list[RawEntry]] | None = None
        self._torn = False
        self._turn_ns: tuple[int, int] = (FOREVER_NS, FOREVER_NS)
        self._address = self.directory / "at"
        self.url = f"unix://{self._address}?socket_timeout={SOCKET_TIMEOUT_S}"
        self._watcher = Thread(target=self._watch)

    def __enter__(self) -> Self:
        with ExitStack() as closing:
            self._closing = closing
            closing.callback(shutil.rmtree, self.directory)
            self.truth = self.new_server()
            self.lead_to(self.truth)
            self.set_up("setup")
            self._watcher.start()
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._watched.set()
        self._watcher.join()
        self._closing.close()

    # -------------------------------------------------------------------------------- servers

    def new_server(self) -> OwnServer:
        """Another server, which others can be replicas of."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        own = {"port": str(port), "bind": "127.0.0.1", "repl_diskless_sync_delay": "0"}
        server = OwnServer(self._program, **own, **self._settings)
        self._closing.callback(server.remove)
        return server

    def lead_to(self, server: OwnServer) -> None:
        """Let the address that everybody uses lead to a server, from the next connection on."""
        aside = self.directory / "aside"
        aside.symlink_to(server.socket)
        aside.replace(self._address)

    def lead_nowhere(self) -> None:
        """Let nobody reach a server by the address."""
        self._address.unlink()

    def turn_to(
        self,
        server: OwnServer,
        old: Callable[[], list[RawEntry]],
        *,
        gone_ns: int,
        torn: bool = False,
    ) -> None:
        """From now on another history is the truth; `old` reads the one before when all is over.

        The server that had it was gone at `gone_ns`, and nobody was led to the other one yet. With
        `torn`, what can be read of the old one is not all that it had.
        """
        self._torn = torn
        self._turn_ns = (gone_ns, time.monotonic_ns())
        self._old = old
        self.truth = server
        self.lead_to(server)

    @staticmethod
    def client(server: OwnServer) -> redis.Redis:
        """A connection of the test's own."""
        return redis.Redis.from_url(server.url)

    def position(self) -> int:
        """Where the true stream ends."""
        with make_client(self.truth.url) as client:
            return RedisStream(client, SPACE).head().position

    def entries(self, server: OwnServer) -> list[RawEntry]:
        """All that a server has."""
        with make_client(server.url) as client:
            stream, found = RedisStream(client, SPACE), list[RawEntry]()
            while page := stream.read(*(found[-1][:2] if found else (0, 0)), PAGE_ENTRIES):
                found += page
            return found

    def await_(
        self, condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S
    ) -> None:
        """Wait until something is so.

        Raises:
            Stuck: it is not so in time, or a process died.
        """
        deadline = time.monotonic() + deadline_s
        while not condition():
            died = [process.name for process in self._processes if process.exitcode is not None]
            if died or time.monotonic() > deadline:
                raise Stuck(f"waited in vain: {what}; died: {died}")
            time.sleep(0.002)

    def await_growth(self, entries: int) -> None:
        """Wait until so many more entries stand in the true stream."""
        wanted = self.position() + entries
        self.await_(lambda: self.position() >= wanted, f"{entries} more entries", self._deadline_s)

    # ------------------------------------------------------------------------------ processes

    def begin(self) -> None:
        """Start the processes that write, and wait until each of them does."""
        for number in range(PROCESSES):
            self.begin_one(f"writer-{number}", **self._work)

    def begin_one(self, name: str, **work: Any) -> None:
        """Start one more, and wait until it works; `work` is what is special about it."""
        work.setdefault("url", self.url)
        made = Work(directory=self.directory, name=name, seed=self._seed, **work)
        process = workload.begin(made, self._stop)
        self._processes.append(process)
        self._closing.callback(_end, process)
        self.await_(lambda: [*self.directory.glob(f"{name}-*.calls")], f"{name} works")

    def kill_one(self, name: str) -> int:
        """Kill the process that was begun first, begin another in its place; return how it ended.

        The new one has the old one's memory and views, and asks for other things.
        """
        process = self._processes.pop(0)
        home = self.directory / process.name
        process.kill()
        process.join()
        home.rename(self.directory / name)
        self.begin_one(name, **self._work)
        return int(process.exitcode)

    def end(self) -> list[Log]:
        """Stop everybody; return what the servers have, the truth last."""
        self._stop.set()
        for process in self._processes:
            process.join(DEADLINE_S)
        self.died = [process.name for process in self._processes if process.exitcode != 0]
        self._watched.set()
        self._watcher.join()
        until_ns, since_ns = self._turn_ns
        if self._old is None:
            return [Log(self.entries(self.truth))]
        after = Log(self.entries(self.truth), since_ns)
        return [Log(self._old(), 0, until_ns, self._torn), after]

    def set_up(self, name: str) -> None:
        """Define the pools, if they are not there, as a process of this name."""
        with (
            ipledger.connect(self.url, home=self.directory / name) as ledger,
            Recorder(self.directory / f"{name}.calls", name, ledger) as recorder,
        ):
            recorder.call(Request("apply", list(workload.POOLS), {"command_id": name}))

    def _watch(self) -> None:
        while not self._watched.is_set():
            server = self.truth
            with suppress(redis.RedisError, OSError), make_client(server.url, 1.0) as client:
                client.response_callbacks.clear()
                while server is self.truth and not self._watched.wait(_GLANCE_S):
                    asked_ns = time.monotonic_ns()
                    told: Any = client.execute_command("XINFO", "STREAM", _KEY)
                    answered_ns = time.monotonic_ns()
                    last_id = dict(zip(told[::2], told[1::2], strict=True))[b"last-generated-id"]
                    position = int(last_id.partition(b"-")[2])
                    self.seen.append(Seen(asked_ns, answered_ns, position))
            self._watched.wait(0.01)


def _end(process: Any) -> None:
    process.join(DEADLINE_S)
    if process.exitcode is None:
        process.kill()
        process.join()
