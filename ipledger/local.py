"""Where this machine keeps what it can throw away: views that are rebuilt from the stream."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

# What is kept of a space: the names of its files.
HISTORY: Final = "history.sqlite"
STATE: Final = "state"


def view_path(directory: Path, endpoint: str, space: str, what: str) -> Path:
    """The file of one view of one space on one server.

    Args:
        directory: the directory of views, ``views`` in the data directory by default.
        endpoint: the server's name, without credentials.
        space: the address space.
        what: which view, with its suffix: ``history.sqlite``.
    """
    name = sha256(endpoint.encode()).hexdigest()[:12]
    return directory / f"{space}-{name}-{what}"
