"""From what a caller says to a server that was reached: by URL, or the embedded one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ipledger.servers import Server


class Opened(NamedTuple):
    """A server, the name that its memory is kept under, and where our data and that memory are."""

    server: Server
    endpoint: str
    home: Path
    states: Path


def open_server(
    url: str | None,
    *,
    home: str | Path | None = None,
    state_dir: str | Path | None = None,
    program: str | None = None,
    on_start: Callable[[str], None] | None = None,
) -> Opened:
    """Reach the server at a URL; without one the embedded server, which is started if need be.

    Raises:
        InvalidInput: the URL cannot be understood.
        Unavailable: no server can be reached or started.
    """
    from ipledger import servers
    from ipledger.embedded import default_home, ensure_running

    home_path = Path(home) if home is not None else default_home()
    states = Path(state_dir) if state_dir is not None else home_path / "state"
    if url is not None:
        server = servers.reach(url)
        return Opened(server, server.endpoint, home_path, states)
    running = ensure_running(home_path, program)
    if running.started and on_start is not None:
        on_start(f"started an embedded server ({running.server}) in {home_path}")
    server = servers.reach(running.url)
    return Opened(server, f"embedded:{home_path.resolve()}", home_path, states)
