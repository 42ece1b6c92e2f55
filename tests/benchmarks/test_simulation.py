"""The simulation's benchmark runs, and no answer differs; no figure is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_quick_run(tmp_path: Path) -> None:
    """What it did, on what, and that every answer was right."""
    path = tmp_path / "figures.json"
    asked = [sys.executable, "-m", "benchmarks.simulation", "--quick", "--json", str(path)]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    figures = json.loads(path.read_text("utf-8"))
    assert "prove nothing" in said.stdout
    assert figures["machine"] in said.stdout
    assert figures["differing"] == 0
    assert figures["held"] > 100
    assert figures["late"] > 0
    assert figures["events"] >= 5_000
