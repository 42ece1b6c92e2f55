"""The report: runs all benchmarks, keeps the figures, and writes what they say.

`python -m benchmarks.report [--quick] [--server PROGRAM]` measures; `--from FILE` writes it again
from figures that were kept, byte for byte the same with the same version of the drawing library.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from benchmarks import plots
from benchmarks.__main__ import MEASURES
from benchmarks.harness import Options, run_all
from benchmarks.rendering import render

HERE: Final = Path(__file__).parent
_LIBRARIES: Final = (
    "redis", "hiredis", "msgpack", "pyroaring", "netaddr", "openwisp-ipam", "Django", "matplotlib",
)  # fmt: skip


def versions() -> dict[str, str]:
    """What took part and is not named by the machine or the server."""

    def installed() -> Iterator[tuple[str, str]]:
        for name in _LIBRARIES:
            try:
                yield name, metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        yield "SQLite", sqlite3.sqlite_version

    return dict(installed())


def measured(options: Options, into: Path) -> dict[str, Any]:
    """Run everything; what is there is kept after each benchmark, so that no hour is lost."""
    saved: dict[str, Any] = {
        "day": datetime.now(UTC).date().isoformat(),
        "versions": versions(),
        "reports": [],
    }
    for report in run_all(options, MEASURES):
        saved["reports"].append(report.as_json())
        into.write_text(json.dumps(saved, indent=1) + "\n", "utf-8")
    return saved


def write(saved: dict[str, Any], directory: Path) -> Path:
    """Write the report, and its pictures beside it if they can be drawn."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = plots.write(saved["reports"], directory / "report") if plots.installed() else []
    page = directory / "report.md"
    page.write_text(render(saved, drawn), "utf-8")
    return page


def main() -> None:
    """Do as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--server", metavar="PROGRAM", help="a redis-server or valkey-server")
    parser.add_argument("--from", dest="kept", type=Path, metavar="FILE", help="measure nothing")
    parser.add_argument(
        "--into", type=Path, default=HERE, metavar="DIRECTORY", help="where the report goes"
    )
    asked = parser.parse_args()
    if asked.kept is not None:
        saved = json.loads(asked.kept.read_text("utf-8"))
    else:
        beside = asked.into / "report"
        beside.mkdir(parents=True, exist_ok=True)
        saved = measured(Options(asked.quick, asked.server), beside / "figures.json")
    print(write(saved, asked.into))


if __name__ == "__main__":
    main()
