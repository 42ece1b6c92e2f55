"""Every command and every program in the documentation runs, and says what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ipledger import embedded

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")),
         *sorted((ROOT / "docs" / "guides").glob("*.md"))]  # fmt: skip

_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Documented(NamedTuple):
    """A command as typed, with the output that the page shows."""

    command: str
    output: list[str]


def _commands(block: str) -> list[Documented]:
    """The commands of a console block: ``$`` begins one, ``>`` continues it."""
    found: list[Documented] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Documented(line[2:], []))
        elif line.startswith("> "):
            found[-1] = found[-1]._replace(command=f"{found[-1].command}\n{line[2:]}")
        else:
            found[-1].output.append(line)
    return found


def _matches(expected: str, actual: str) -> bool:
    """Whether a line is as documented; ``...`` stands for anything, white space for itself."""
    pattern = ".*".join(
        re.escape(" ".join(part.split())) for part in expected.split("...")
    )  # fmt: skip
    return re.fullmatch(rf"\s*{pattern}\s*".replace(r"\ ", r"\s+"), actual) is not None


def _differences(documented: Documented, said: str, code: int) -> str:
    """What of the documented output is not there, in its order."""
    lines = iter(f"{said}\n(exit code {code})".splitlines())
    for expected in documented.output:
        if expected.strip() == "...":
            continue
        if not any(_matches(expected, line) for line in lines):
            return f"{documented.command!r} did not say {expected!r} but:\n{said}"
    wanted = next((e for e in documented.output if e.startswith("(exit code")), "(exit code 0)")
    return "" if wanted == f"(exit code {code})" else f"{documented.command!r} ended with {code}"


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """An empty working directory with an embedded server of its own, and `ipledger` on PATH."""
    with tempfile.TemporaryDirectory(prefix="ipl-") as directory:
        programs = Path(directory) / "bin"
        programs.mkdir()
        (programs / "ipledger").write_text(
            f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m ipledger "$@"\n'
        )
        (programs / "ipledger").chmod(0o755)
        for name in ("python", "python3"):  # the one that has what the tests have
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
            (programs / name).chmod(0o755)
        (Path(directory) / "docs").symlink_to(ROOT / "docs")  # examples are called by their paths
        home = Path(directory) / "home"
        yield {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "IPLEDGER_HOME": str(home),
            "HOME": directory,
        }
        embedded.stop(home)
        embedded.stop(Path(directory) / "mirror")  # the second server of the guide to operations


def _pages(kind: str) -> list[Path]:
    return [
        page for page in PAGES
        if any(match[1] == kind for match in _BLOCK.finditer(page.read_text("utf-8")))
    ]  # fmt: skip


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", _pages("console"), ids=_name)
def test_documented_commands_do_what_the_page_says(page: Path, environment: dict[str, str]) -> None:
    """Each command of the page, in its order, on an empty machine."""
    blocks = [m[2] for m in _BLOCK.finditer(page.read_text("utf-8")) if m[1] == "console"]
    for documented in (command for block in blocks for command in _commands(block)):
        done = subprocess.run(
            ["bash", "-c", documented.command], env=environment, cwd=environment["HOME"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        difference = _differences(documented, done.stdout, done.returncode)
        assert not difference, difference


@pytest.mark.parametrize("page", _pages("python"), ids=_name)
def test_documented_programs_run(page: Path, environment: dict[str, str]) -> None:
    """Each Python block of the page is a whole program that ends well."""
    blocks = [m[2] for m in _BLOCK.finditer(page.read_text("utf-8")) if m[1] == "python"]
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", block], env=environment, cwd=environment["HOME"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert not done.stderr.replace("ipledger: started", ""), done.stderr
