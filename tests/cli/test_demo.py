"""`demo`: Spiderpool's page, step by step; it checks itself against what the page says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ipledger.cli import demo
from tests.cli.conftest import Cli


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name: a longer one moves the server's socket out of its home."""
    with TemporaryDirectory(prefix="ipl-") as directory:
        yield Path(directory)


@pytest.fixture
def bare(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: Path) -> Cli:
    """The command line of somebody whose environment says all sorts of things."""
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setenv("IPLEDGER_SPACE", "mine")
    monkeypatch.setenv("IPLEDGER_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("IPLEDGER_STATE_DIR", "/nope")
    return Cli([], capsys, monkeypatch)


def test_everything_happens_as_the_page_says(bare: Cli, place: Path) -> None:
    """All chapters, exit code 0; the user's environment and directory are as before."""
    before, here = dict(os.environ), Path.cwd()
    result = bare("demo")
    assert result.code == 0, result.out
    assert result.out.endswith("Everything happened as the page says.\n")
    for number, chapter in enumerate(demo.CHAPTERS, 1):
        assert f"\n{number}. {chapter.title}\n" in result.out
    assert "error (exhausted): all IP addresses used out" in result.out, "stderr is shown in place"
    assert (dict(os.environ), Path.cwd()) == (before, here)
    assert list(place.iterdir()) == [], "nothing is left behind"


def test_a_difference_stops_it(bare: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """If something else happens than the page says, it says so with exit code 1."""
    wrong = demo.Chapter("A wrong one", (demo.Step("ipledger get pools", 0, ("nothing says so",)),))
    monkeypatch.setattr(demo, "CHAPTERS", (demo.CHAPTERS[0], wrong))
    result = bare("demo")
    assert result.code == 1
    assert "This is not what the page says" in result.err
    assert "A wrong one" in result.out
