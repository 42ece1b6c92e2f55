"""A private Redis-compatible server for users without a URL; changes with how servers are run.

The server is a daemon on a unix socket, one for each home directory, found again by the next call.
Two locks keep a data directory from ever having two writers:

- ``start.lock`` is held by a caller while it starts or stops the server. Nobody else holds it.
- ``server.lock`` is held by the server itself. It inherits the locked descriptor, and the kernel
  gives the lock up when the last process of the server is gone, however it went. That says
  "is one alive?" without a process id, which may have been reused, may be a zombie's, or may
  belong to another container; and without a socket file, which anybody's clean-up may remove.

Nothing is believed because of a file alone: who answers on the socket has to say that it keeps its
data in our directory before it is used or stopped.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

from engine.errors import Unavailable
from ipledger._embedded_link import Greeting, ServerError, connected, identify, shut_down
from ipledger._embedded_paths import (
    ELSEWHERE,
    EmbeddedPaths,
    default_home,
    make_directories,
    paths_for,
)
from ipledger._embedded_program import find_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "EmbeddedPaths",
    "Running",
    "default_home",
    "ensure_running",
    "find_server",
    "paths_for",
    "status",
    "stop",
]

_POLL_S: Final = 0.005
# Loading 500,000 events was measured at 0.9 s. A server that needs longer than this bound goes on
# loading, and the next call waits for it again.
_LOADING_S_MAX: Final = 60.0
_STATUS_S_MAX: Final = 2.0
_LOG_TAIL_BYTES: Final = 4_096
_LOG_TAIL_LINES: Final = 6

# What the server is told, beside its paths.
#
# ``aof-use-rdb-preamble no``: the preamble's format differs between Redis and Valkey, and a
# directory written by one must open in the other.
# ``aof-load-truncated yes``: a torn last command is dropped at start. With ``always`` it was never
# acknowledged, and a commit is one MULTI/EXEC there, so it goes as a whole. A tail that was cut
# off by anything else is a shorter history, which clients notice by their high-water mark and
# refuse. Damage anywhere but at the very end keeps the server from starting.
_SETTINGS: Final = """\
port 0
unixsocketperm 700
save ""
appendonly yes
appendfsync always
aof-use-rdb-preamble no
aof-load-truncated yes
maxmemory-policy noeviction
daemonize yes
"""


class Running(NamedTuple):
    """A server that answers for a home; ``started`` says whether this very call started it."""

    url: str
    socket: Path
    pid: int
    started: bool
    server: str


def ensure_running(home: Path, server: str | None = None, start_timeout_s: float = 10.0) -> Running:
    """Find the server of ``home``, or start it; it then stays until `stop`.

    Args:
        home: The directory that holds its data, made when missing.
        server: The program to start (see `find_server`). A server that runs is used as it is.
        start_timeout_s: How long it may take to answer. Loading its data comes on top.

    Raises:
        Unavailable: If it cannot be started or used; the hint holds what the server logged.
        InvalidInput: If ``server`` is no Redis or Valkey server.
    """
    paths = paths_for(home)
    deadline = time.monotonic() + start_timeout_s
    started = False
    with _file_errors_explained(paths):
        greeting = _greet(paths, deadline)
        if greeting is None:
            make_directories(paths)
            with _locked(paths.lock_file, deadline):
                # Whoever held the lock before may have put the socket elsewhere.
                paths = paths_for(home)
                greeting = _find(paths, deadline)
                if greeting is None:
                    greeting = _start(paths, find_server(server), deadline)
                    started = True
        return _running(paths, _loaded(paths, greeting), started=started)


def status(home: Path) -> Running | None:
    """Say which server runs for ``home``, also while it is loading; None if there is none.

    Raises:
        Unavailable: If one is there but does not answer, or belongs to another directory.
    """
    paths = paths_for(home)
    with _file_errors_explained(paths):
        greeting = _find(paths, time.monotonic() + _STATUS_S_MAX)
    return None if greeting is None else _running(paths, greeting, started=False)


def stop(home: Path, timeout_s: float = 10.0) -> bool:
    """Shut the server of ``home`` down and wait until it is gone; False if none ran.

    Raises:
        Unavailable: If it does not end in time, or what answers is not the server of ``home``.
    """
    paths = paths_for(home)
    if not paths.data.is_dir():
        return False
    deadline = time.monotonic() + timeout_s
    with _file_errors_explained(paths), _locked(paths.lock_file, deadline):
        greeting = _find(paths, deadline)
        if greeting is None:
            return False
        _end(paths, deadline)
        while _is_alive(paths) or _greet(paths, deadline):
            if not _paused(deadline):
                raise Unavailable(
                    f"the server (pid {greeting.pid}) has not ended yet", _log_tail(paths)
                )
    return True


def _start(paths: EmbeddedPaths, program: Path, deadline: float) -> Greeting:
    """Start the server, with the start lock held, and wait for its first answer."""
    log_start = paths.log_file.stat().st_size if paths.log_file.exists() else 0
    paths.socket_link.unlink(missing_ok=True)
    if paths.socket.parent != paths.data:
        paths.socket_link.symlink_to(paths.socket)
    exit_code = _spawn(paths, program, deadline)
    while exit_code == 0 and _is_alive(paths):
        if greeting := _greet(paths, deadline):
            return greeting
        if not _paused(deadline):
            raise Unavailable(f"{program} does not answer yet", _log_tail(paths, log_start))
    raise Unavailable(f"{program} did not start", _log_tail(paths, log_start))


def _spawn(paths: EmbeddedPaths, program: Path, deadline: float) -> int:
    """Launch the daemon, and return the exit code of the process that left it behind."""
    import subprocess

    # On standard input the paths can be quoted byte by byte, whatever they look like.
    settings = _SETTINGS + "".join(
        f"{name} {_quoted(path)}\n"
        for name, path in (
            ("dir", paths.data),
            ("unixsocket", paths.socket),
            ("pidfile", paths.pid_file),
            ("logfile", paths.log_file),
        )
    )
    with _locked(paths.server_lock_file, deadline) as server_lock, paths.log_file.open("ab") as log:
        # The daemon gets nothing of ours but its own lock: a caller whose output is read through
        # a pipe would otherwise never be seen to end. A complaint about the configuration comes
        # before the server opens its log, so standard error leads there.
        try:
            process = subprocess.Popen(  # noqa: S603 - chosen by find_server
                [program, "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(server_lock,),
                start_new_session=True,
                umask=0o077,
            )
        except OSError as error:
            raise Unavailable(
                f"{program} does not run: {error.strerror}",
                f"set IPLEDGER_SERVER to another program, {ELSEWHERE}",
            ) from error
        with process:
            try:
                process.communicate(settings.encode(), max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
            return process.wait()


def _quoted(path: Path) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'


def _loaded(paths: EmbeddedPaths, greeting: Greeting) -> Greeting:
    """Wait until the server has read its data."""
    deadline = time.monotonic() + _LOADING_S_MAX
    latest: Greeting | None = greeting
    while latest is not None and not latest.ready:
        if not _paused(deadline):
            raise Unavailable(
                f"the server (pid {latest.pid}) is still loading its data", "try again later"
            )
        latest = _greet(paths, deadline)
    if latest is None:
        raise Unavailable("the server ended while it was loading its data", _log_tail(paths))
    return latest


def _running(paths: EmbeddedPaths, greeting: Greeting, *, started: bool) -> Running:
    url = "unix://" + quote(str(paths.socket))
    return Running(url, paths.socket, greeting.pid, started, greeting.server)


def _find(paths: EmbeddedPaths, deadline: float) -> Greeting | None:
    """Greet the server of this directory; None only when it is certain that none is alive."""
    while True:
        if greeting := _greet(paths, deadline):
            return greeting
        if not _is_alive(paths):
            return None
        if not _paused(deadline):
            raise Unavailable(
                f"a server is alive on {paths.data} but does not listen on {paths.socket}",
                f"its socket was removed. {paths.pid_file} names its process: when you are sure "
                "of it, end it with SIGTERM, which loses nothing, and try again",
            )


def _greet(paths: EmbeddedPaths, deadline: float) -> Greeting | None:
    """Ask who listens on the socket; None if nobody does.

    Raises:
        Unavailable: If it does not answer in time, or is not the server of this directory.
    """
    while True:
        try:
            with connected(paths.socket, deadline) as link:
                return identify(link, paths)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return None
        except (TimeoutError, ConnectionError, BlockingIOError):
            # It is ending, or has more callers waiting than it can queue, or hangs.
            if not _paused(deadline):
                raise Unavailable(
                    f"the server on {paths.socket} does not answer", _log_tail(paths)
                ) from None
        except (ServerError, ValueError, KeyError) as error:
            raise Unavailable(
                f"what listens on {paths.socket} cannot be used: {error}", _log_tail(paths)
            ) from error


def _end(paths: EmbeddedPaths, deadline: float) -> None:
    """Tell the server to end, on a connection on which it has just said that it is ours."""
    try:
        with connected(paths.socket, deadline) as link:
            identify(link, paths)
            shut_down(link)
    except ServerError as error:
        raise Unavailable(f"the server refuses to end: {error}", _log_tail(paths)) from error
    except OSError:
        # It ends without an answer. Whether it has ended is told by its lock.
        return


@contextmanager
def _locked(path: Path, deadline: float) -> Iterator[int]:
    """Hold the lock on a file, and hand out its descriptor.

    It is given up by closing, never by unlocking, which would take it from a server that has
    inherited it.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not _paused(deadline):
                    raise Unavailable(
                        f"another process has been holding {path} for too long",
                        "it is starting or stopping the server: try again",
                    ) from None
        yield descriptor
    finally:
        os.close(descriptor)


def _is_alive(paths: EmbeddedPaths) -> bool:
    """Whether a server holds the lock of this directory."""
    import fcntl

    try:
        descriptor = os.open(paths.server_lock_file, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _paused(deadline: float) -> bool:
    """Wait a moment; False, and no wait, once the deadline has passed."""
    if time.monotonic() >= deadline:
        return False
    time.sleep(_POLL_S)
    return True


def _log_tail(paths: EmbeddedPaths, start: int = 0) -> str:
    """The last lines that the server logged, beginning not before the byte ``start``."""
    try:
        with paths.log_file.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(start, size - _LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        lines = []
    if not lines:
        return f"nothing was logged in {paths.log_file}"
    return f"the end of {paths.log_file}:\n" + "\n".join(lines[-_LOG_TAIL_LINES:])


@contextmanager
def _file_errors_explained(paths: EmbeddedPaths) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"cannot use {error.filename or paths.data}: {error.strerror or error}",
            f"make {paths.home} a directory you can write to, choose another --data-dir, "
            f"{ELSEWHERE}",
        ) from error
