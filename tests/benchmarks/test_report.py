"""The report says what the figures say: not more, not what is not there, and the bad, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from benchmarks import append, plots, report
from benchmarks.harness import Options
from benchmarks.rendering import render
from benchmarks.targets import TARGETS, Target, figures_of, judge, share, times, verdicts
from tests.benchmarks.running import ROOT

HERE: Final = ROOT / "benchmarks"
# Targets whose benchmarks come with the work on them. What is built is taken out of here.
NOT_BUILT: Final[frozenset[str]] = frozenset()


@pytest.fixture(scope="module")
def saved(everything: list[dict[str, Any]]) -> dict[str, Any]:
    """What a measuring run keeps."""
    return {"day": "2026-01-31", "versions": {"redis": "8.1.0"}, "reports": everything}


def target(*, at_most: bool, must: float | None, wanted: float | None) -> Target:
    """A target of a figure `x` of a benchmark `b`."""
    read = times("x") if at_most else share("x")
    return Target("what", "b", read, at_most, must, wanted, lambda value: f"{value:g}", "because")


@pytest.mark.parametrize(
    ("at_most", "must", "wanted", "share_of_ceiling", "met"),
    [
        (False, 0.35, None, 0.35, "yes"),
        (False, 0.35, None, 0.34, "**no**"),
        (False, 0.35, 0.6, 0.5, "yes, less than hoped"),
        (False, 0.35, 0.6, 0.6, "yes, as hoped"),
        (False, None, 0.6, 0.5, "less than hoped"),
        (False, None, 0.6, 0.7, "as hoped"),
        (True, 2.0, None, 0.5, "yes"),
        (True, 2.0, None, 0.4, "**no**"),
    ],
)
def test_a_target_is_met_or_not(
    at_most: bool, must: float | None, wanted: float | None, share_of_ceiling: float, met: str
) -> None:
    """A bound holds when it is reached; the reason is told only of what is not met."""
    figures = [{"name": "x", "of_ceiling": share_of_ceiling}]
    verdict = judge(target(at_most=at_most, must=must, wanted=wanted), figures)
    assert verdict.met == met
    assert verdict.why == ("because" if met == "**no**" else "")


def test_what_was_not_measured_is_not_met() -> None:
    """A target without its figure says so, and neither yes nor no."""
    for figures in ([], [{"name": "y", "of_ceiling": 1.0}]):
        verdict = judge(target(at_most=False, must=0.1, wanted=None), figures)
        assert (verdict.measured, verdict.met) == ("not measured", "–")


def test_every_target_finds_its_figure(saved: dict[str, Any]) -> None:
    """A figure that was renamed would leave its target unmeasured for ever."""
    ran = {each["benchmark"] for each in saved["reports"]}
    assert not ran & NOT_BUILT, "it is built: take it out of NOT_BUILT"
    for each in TARGETS:
        found = each.read(figures_of(saved["reports"], each.benchmark))
        assert (found is not None) == (each.benchmark in ran), each.what
        assert each.benchmark in ran | NOT_BUILT


def test_the_report_holds_all_of_it(saved: dict[str, Any]) -> None:
    """Every target, every figure, what it was measured on, and that a quick run proves nothing."""
    page = render(saved, [])
    assert "Its figures prove" in page
    assert "pip install '.[bench]'" in page
    for verdict in verdicts(saved["reports"]):
        assert f"| {verdict.what} |" in page
    for each in saved["reports"]:
        assert f"### {each['benchmark']}\n" in page
        for figure in each["figures"]:
            assert f"| {figure['name']} |" in page
    assert saved["reports"][0]["machine"] in page
    assert saved["reports"][0]["server"] in page
    assert "redis 8.1.0" in page


def test_a_quick_run_judges_no_target(saved: dict[str, Any]) -> None:
    """Sizes that prove nothing meet no target, and miss none."""
    page = render(saved, [])
    rows = [line for line in page.splitlines() if line.endswith("| (quick) |")]
    assert len(rows) == len(TARGETS)
    assert "Why not:" not in page


def test_who_is_faster_is_said(saved: dict[str, Any]) -> None:
    """The sentence about the peers is made of the figures: whoever is quicker is named as such."""
    peers = figures_of(saved["reports"], "peers")
    named = plots.fills(peers)
    first = min(named["ipledger"])
    ours_ms = named["ipledger"][first]["p50_ms"]
    told = next(
        line for line in render(saved, []).splitlines() if line.startswith("For one caller at 0 %")
    )
    quicker, _, slower = told.partition("; slower: ")
    for peer, by_fill in named.items():
        if peer != "ipledger":
            assert peer in (quicker if by_fill[first]["p50_ms"] < ours_ms else slower)


def test_figures_are_kept_after_each_benchmark(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends early leaves what it has measured by then, for `--from`."""

    def breaks(*_: object) -> None:
        raise RuntimeError("of no matter")

    monkeypatch.setattr(report, "MEASURES", (append.measure, breaks))
    kept = tmp_path / "figures.json"
    with pytest.raises(RuntimeError, match="of no matter"):
        report.measured(Options(quick=True, server=server), kept)
    saved = json.loads(kept.read_text("utf-8"))
    assert [each["benchmark"] for each in saved["reports"]] == ["append"]
    assert render(saved, [])


def written(saved: dict[str, Any], into: Path, seed: str = "0") -> dict[str, bytes]:
    """What `--from` writes, by file, in a process with this hash seed."""
    kept = into.with_suffix(".json")
    kept.write_text(json.dumps(saved), "utf-8")
    asked = [sys.executable, "-m", "benchmarks.report", "--from", str(kept), "--into", str(into)]
    said = subprocess.run(
        asked, cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    files = (file for file in into.rglob("*") if file.is_file())
    return {str(file.relative_to(into)): file.read_bytes() for file in files}


def test_it_is_written_again_from_what_was_kept(saved: dict[str, Any], tmp_path: Path) -> None:
    """Measuring and writing are two things: the same figures give the same bytes."""
    one, two = (written(saved, tmp_path / seed, seed) for seed in ("1", "2"))
    assert "report.md" in one
    assert one == two


def test_the_report_at_hand_is_what_its_figures_say() -> None:
    """The page that is kept in the repository was made from the figures beside it, by this code."""
    saved = json.loads((HERE / "report" / "figures.json").read_text("utf-8"))
    drawn = list(plots.plots(saved["reports"]))
    again = "python -m benchmarks.report --from benchmarks/report/figures.json"
    assert (HERE / "report.md").read_text("utf-8") == render(saved, drawn), f"run {again}"
    for plot in drawn:
        assert (HERE / "report" / plot.file).exists(), f"run {again}"


@pytest.mark.bench
def test_the_pictures_are_drawn(saved: dict[str, Any], tmp_path: Path) -> None:
    """Latency by fill, rate by batch and replay by length, on the page, without a date in them."""
    files = written(saved, tmp_path / "out")
    page = files["report.md"].decode()
    for name in ("fill.svg", "batch.svg", "replay.svg"):
        assert f"(report/{name})" in page
        picture = files[f"report/{name}"].decode()
        assert "<svg" in picture
        assert "ipledger" in picture or "RedisStream" in picture
        assert "dc:date" not in picture
    assert "openwisp-ipam" in files["report/fill.svg"].decode()
