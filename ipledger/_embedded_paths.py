"""Where an embedded server lives on disk; changes with where its files are to be found."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from engine.errors import Unavailable

# What can be done instead of using an embedded server; the end of many a hint.
ELSEWHERE: Final = "or give --url (IPLEDGER_URL) to use a server of your own"

# The place that is short everywhere. What is made in it is checked, since others write there too.
_LAST_RESORT: Final = "/tmp"  # noqa: S108 - see above
# One byte less than ``sun_path`` holds, because of the closing NUL.
_SOCKET_PATH_BYTES_MAX: Final = 103 if sys.platform == "darwin" else 107


class EmbeddedPaths(NamedTuple):
    """Where an embedded server keeps what, all of it below its home but, maybe, the socket."""

    home: Path
    data: Path
    socket: Path
    pid_file: Path
    lock_file: Path
    log_file: Path
    server_lock_file: Path

    @property
    def socket_link(self) -> Path:
        """A link to the socket, where that had to go elsewhere."""
        return self.data / "socket-link"


def default_home() -> Path:
    """Where the embedded server lives when the user does not say: the user's data directory.

    Raises:
        Unavailable: If this user has no home directory.
    """
    if chosen := os.environ.get("IPLEDGER_HOME"):
        return Path(chosen)
    data_home = os.environ.get("XDG_DATA_HOME", "")
    # The specification says that relative ones are to be ignored.
    if Path(data_home).is_absolute():
        return Path(data_home, "ipledger")
    try:
        user = Path.home()
    except RuntimeError:
        raise Unavailable(
            "this user has no home directory to keep data in", "give --data-dir or IPLEDGER_HOME"
        ) from None
    if sys.platform == "darwin":
        return user / "Library" / "Application Support" / "ipledger"
    return user / ".local" / "share" / "ipledger"


def paths_for(home: Path) -> EmbeddedPaths:
    """Say where the embedded server of ``home`` keeps its things, creating nothing.

    Raises:
        Unavailable: If there is no safe place for the socket, or no such server on this system.
    """
    if sys.platform == "win32":
        raise Unavailable("the embedded server needs Linux or macOS", "give --url")
    resolved = Path(os.path.realpath(home))
    data = resolved / "redis"
    near = EmbeddedPaths(
        home=resolved,
        data=data,
        socket=data / "s.sock",
        pid_file=data / "server.pid",
        lock_file=data / "start.lock",
        log_file=data / "server.log",
        server_lock_file=data / "server.lock",
    )
    return near if _fits_a_socket(near.socket) else near._replace(socket=_short_socket(near))


def _fits_a_socket(path: Path) -> bool:
    # Clients read a URL as UTF-8, so a path that is none cannot be told to them.
    try:
        return len(str(path).encode()) <= _SOCKET_PATH_BYTES_MAX
    except UnicodeEncodeError:
        return False


def _short_socket(near: EmbeddedPaths) -> Path:
    """Find a place for the socket of a home that is too deep for one."""
    import hashlib
    import tempfile

    name = hashlib.sha256(os.fsencode(near.home)).hexdigest()[:16] + ".sock"
    candidates = [
        Path(base, f"ipledger-{os.getuid()}", name)
        for base in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), _LAST_RESORT)
        if Path(base).is_absolute() and os.access(base, os.W_OK | os.X_OK)
    ]
    # A start leaves a link behind, through which a caller in another environment (a cron job has
    # no XDG_RUNTIME_DIR) finds the server. The name shows that it is not some other home's,
    # brought here with a copy of its directory.
    with suppress(OSError):
        linked = near.socket_link.readlink()
        if linked.name == name and linked.parent.is_dir():
            candidates.insert(0, linked)
    for candidate in candidates:
        if _fits_a_socket(candidate):
            if os.path.lexists(candidate.parent):
                _refuse_unless_private(candidate.parent)
            return candidate
    raise Unavailable(
        f"the path {near.socket} is too long for a unix socket, and no shorter place was found",
        f"choose a shorter --data-dir, {ELSEWHERE}",
    )


def _refuse_unless_private(directory: Path) -> None:
    """Refuse a directory that another user has made, or can put a socket of his own into."""
    found = directory.lstat()
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or shared:
        raise Unavailable(
            f"{directory} must be a directory that only you can write to: mode "
            f"{stat.filemode(found.st_mode)}, owner {found.st_uid}, you are {os.getuid()}",
            f"remove it, or choose a shorter --data-dir, {ELSEWHERE}",
        )


def make_directories(paths: EmbeddedPaths) -> None:
    """Make what is missing, for this user alone.

    Raises:
        Unavailable: If a directory belongs to another user, or others could write to it.
        OSError: If one cannot be made.
    """
    paths.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.data.mkdir(mode=0o700, exist_ok=True)
    found = paths.data.stat()
    if found.st_uid != os.getuid():
        # The files made in it would be ours, and its owner could not open the data any more.
        raise Unavailable(
            f"{paths.data} belongs to another user ({found.st_uid}, you are {os.getuid()})",
            f"choose another --data-dir, {ELSEWHERE}",
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        paths.data.chmod(0o700)
    if paths.socket.parent != paths.data:
        paths.socket.parent.mkdir(mode=0o700, exist_ok=True)
        _refuse_unless_private(paths.socket.parent)
