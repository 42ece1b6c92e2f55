"""A server program for the benchmarks, and what all of them say in one go."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import Unavailable
from tests.benchmarks.running import run
from tests.servers import bundled_program, system_program


@pytest.fixture(scope="session")
def server() -> str:
    """A program that the benchmarks can start."""
    try:
        return str(bundled_program())
    except Unavailable:
        program = system_program()
        if program is None:
            pytest.skip("no server program here")
        return str(program)


@pytest.fixture(scope="session")
def everything(server: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The reports of all benchmarks, run in one go."""
    _, reports = run("benchmarks", server, tmp_path_factory.mktemp("all") / "figures.json")
    return reports
