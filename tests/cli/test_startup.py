"""Commands start fast: they import what they need, when. benchmarks/startup.py measures it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _loaded(*words: str) -> set[str]:
    """The modules that a command has loaded by its end."""
    program = (
        "import sys, atexit\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n"
        "from ipledger.__main__ import main\n"
        f"sys.argv = ['ipledger', *{list(words)!r}]\n"
        "main()\n"
    )
    # -S: what an environment's own start-up files import is not our doing.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_the_version_needs_next_to_nothing() -> None:
    """Not even the command line, nor typing, which would double what Python itself takes."""
    assert not _loaded("--version") & {"click", "typing", "re", "enum", "engine", "redis"}


@pytest.mark.parametrize("verb", ["get", "apply", "allocate", "follow", "doctor", "demo"])
def test_help_needs_no_server_and_no_client(verb: str) -> None:
    """Neither a Redis client, nor YAML, nor the state's bitmaps."""
    loaded = _loaded(verb, "--help")
    assert "click" in loaded
    assert not loaded & {"redis", "yaml", "pyroaring", "msgpack", "asyncio", "structlog"}
