"""How a test runs a benchmark: as a person would, in its quick form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]


def run(module: str, server: str, json_file: Path) -> tuple[str, list[dict[str, Any]]]:
    """What a quick run printed, and the reports that it wrote."""
    asked = [sys.executable, "-m", module, "--quick", "--server", server, "--json", str(json_file)]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    reports: list[dict[str, Any]] = json.loads(json_file.read_text("utf-8"))
    return said.stdout, reports
