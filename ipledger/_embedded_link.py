"""Asking an embedded server who it is, and to end; changes with what it is asked.

Four commands need no client library, whose import takes three times as long as a start.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from engine.errors import Unavailable
from ipledger._embedded_paths import ELSEWHERE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedRWPair

    from ipledger._embedded_paths import EmbeddedPaths

_REPLY_BYTES_MAX: Final = 65_536


class Greeting(NamedTuple):
    """What a server says of itself; not ``ready`` while it is still loading its data."""

    pid: int
    server: str
    ready: bool


class ServerError(Exception):
    """The server answered with an error; the text begins with its code."""


def identify(link: BufferedRWPair, paths: EmbeddedPaths) -> Greeting:
    """Let the server prove that it is the one of this directory, and say what it is.

    Raises:
        Unavailable: If it keeps its data elsewhere.
        ServerError: If it answers with an error.
        ValueError: If it does not speak like a Redis server.
        KeyError: If it does not say what a Redis server says.
    """
    # All at once: a server that is loading looks at its connections only now and then.
    _send(link, "INFO server", "CONFIG GET dir", "PING")
    lines = _reply(link)[0].decode(errors="replace").splitlines()
    info = dict(line.split(":", 1) for line in lines if ":" in line)
    pid = int(info["process_id"])
    directory = os.fsdecode(_reply(link)[1])
    # An empty answer means that the directory was removed under the server.
    if not directory or not Path(directory).is_dir() or not paths.data.samefile(directory):
        raise Unavailable(
            f"the server on {paths.socket} (pid {pid}) keeps its data in {directory!r}, "
            f"not in {paths.data}",
            f"end that server, or choose another --data-dir, {ELSEWHERE}",
        )
    ready = True
    try:
        _reply(link)
    except ServerError as error:
        if not str(error).startswith("LOADING "):
            raise
        ready = False
    valkey = info.get("valkey_version")
    name = f"valkey {valkey}" if valkey else f"redis {info['redis_version']}"
    return Greeting(pid, name, ready)


def shut_down(link: BufferedRWPair) -> None:
    """Tell the server to end; it does so without an answer, which is a `ConnectionResetError`.

    The append-only file is flushed either way. NOSAVE is about snapshots, which nobody would read.

    Raises:
        ServerError: If it will not.
    """
    _send(link, "SHUTDOWN NOSAVE")
    _reply(link)


@contextmanager
def connected(path: Path, deadline: float) -> Iterator[BufferedRWPair]:
    """Connect to a server; what is not answered in time is a `TimeoutError`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(max(deadline - time.monotonic(), 0.1))
        connection.connect(str(path))
        with connection.makefile("rwb") as link:
            yield link


def _send(link: BufferedRWPair, *commands: str) -> None:
    link.write("".join(f"{command}\r\n" for command in commands).encode())
    link.flush()


def _reply(link: BufferedRWPair) -> list[bytes]:
    """Read one reply as a flat list; one that breaks off is a `ConnectionResetError`."""
    line = link.readline(_REPLY_BYTES_MAX)
    if not line.endswith(b"\n"):
        raise ConnectionResetError
    kind, rest = line[:1], line[1:].rstrip()
    if kind == b"+":
        return [rest]
    if kind == b"-":
        raise ServerError(rest.decode(errors="replace"))
    count = int(rest)
    if kind == b"$" and 0 <= count <= _REPLY_BYTES_MAX:
        data = link.read(count + 2)
        if len(data) != count + 2:
            raise ConnectionResetError
        return [data[:-2]]
    if kind == b"*":
        return [item for _ in range(count) for item in _reply(link)]
    raise ValueError("it does not speak the protocol of Redis")
