"""The benchmarks run, and say what they were measured on and against. No figure is judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.benchmarks.running import ROOT, run

NAMES: Final = (
    "append", "allocate", "contention", "memory", "replay", "life", "blocks", "startup", "cold",
    "history", "audit", "mirror", "attribute", "policies", "coming", "durability", "lengths",
    "peers",
)  # fmt: skip


@pytest.fixture(scope="module", params=NAMES)
def ran(
    request: pytest.FixtureRequest, server: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str, dict[str, Any]]:
    """Each benchmark in turn: its name, what a quick run of it printed, and its report."""
    name: str = request.param
    json_file = tmp_path_factory.mktemp(name) / "figures.json"
    printed, (report,) = run(f"benchmarks.{name}", server, json_file)
    return name, printed, report


def test_a_benchmark_says_what_it_was_measured_on(ran: tuple[str, str, dict[str, Any]]) -> None:
    """Machine, server, durability and commit are printed and reported, and that it was quick."""
    name, printed, report = ran
    assert report["benchmark"] == name
    assert report["quick"] is True
    assert "prove nothing" in printed
    assert report["durability"] == "appendfsync always, unix socket"
    assert "cores" in report["machine"]
    assert "Python" in report["machine"]
    assert report["server"].startswith(("redis ", "valkey "))
    for told in ("machine", "server", "durability"):
        assert report[told] in printed
    assert report["commit"] is None or report["commit"] in printed


def test_the_figures_stand_beside_their_ceiling(ran: tuple[str, str, dict[str, Any]]) -> None:
    """Every figure has its median and percentiles; every ceiling is a figure of the same run."""
    benchmark, printed, report = ran
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert len(figures) == len(report["figures"]), "a name stands for one figure"
    ceilings = {figure["ceiling"] for figure in figures.values()} - {None}
    assert ceilings or benchmark == "memory", "only bytes have no ceiling"
    for name in ceilings:
        assert f"{name} (ceiling)" in printed
    for figure in figures.values():
        assert figure["name"] in printed
        assert figure["samples"] > 0
        assert figure["rate_per_s"] > 0
        assert 0 < figure["p50_ms"] <= figure["p99_ms"]
        if figure["ceiling"] is not None:
            measured = figure["rate_per_s"] / figures[figure["ceiling"]]["rate_per_s"]
            assert figure["of_ceiling"] == pytest.approx(measured)


def test_all_run_in_one_go(everything: list[dict[str, Any]]) -> None:
    """`python -m benchmarks` runs every benchmark, each once."""
    assert tuple(report["benchmark"] for report in everything) == NAMES


def test_a_server_that_is_none_is_refused(tmp_path: Path) -> None:
    """A program that cannot be started ends the run, instead of figures of another server."""
    asked = [sys.executable, "-m", "benchmarks.replay", "--quick", "--server", str(tmp_path / "x")]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode != 0
    assert "(ceiling)" not in said.stdout
