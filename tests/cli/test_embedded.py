"""The embedded server as a user meets it: started on demand, told once, found again, stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli, shown


def test_started_on_demand_and_stopped(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status tells where the data is; the first use says so on stderr, later ones do not."""
    cli = Cli(["--data-dir", str(home)], capsys, monkeypatch)
    before = cli.json("embedded", "status").data
    assert (before["running"], before["pid"], before["url"]) == (False, None, None)
    first = cli("get", "pools", "-o", "json")
    assert first.data == {"items": []}
    assert "started an embedded server" in first.err
    assert "ipledger embedded stop" in first.err
    assert cli("get", "pools").err == ""
    running = cli.json("embedded", "status").data
    assert running["running"]
    assert Path(running["data"]).is_relative_to(home.resolve())
    assert cli.json("embedded", "stop").data == {"stopped": True}
    assert cli.ok("embedded", "stop") == "no embedded server runs\n"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--data-dir", "/dev/null"], 7), (["--data-dir", "/proc/nope"], 7),
        (["--data-dir", ""], 6), (["--server", ""], 6),
        (["--url", ""], 6), (["--url", "foo"], 6), (["--url", "http://localhost"], 6),
        (["--url", "redis://127.0.0.1:port"], 6), (["--url", "redis://127.0.0.1:1"], 7),
        (["--url", "unix:///nope.sock"], 7),
    ],
    ids=shown,
)  # fmt: skip
def test_where_there_is_no_server(
    options: list[str], code: int, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Invalid or unavailable, each with a hint, for a reader and a writer."""
    cli = Cli(options, capsys, monkeypatch)
    for command in (["get", "pools"], ["release", "1"], ["doctor"], ["get", "spaces"]):
        result = cli(*command, "-o", "json")
        assert result.code == code, result
        assert result.error["hint"]


def test_a_password_is_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error names the server without user and password."""
    result = Cli(["--url", "redis://me:secret@127.0.0.1:1/0"], capsys, monkeypatch)("get", "pools")
    assert result.code == 7
    assert "127.0.0.1:1" in result.err
    assert "secret" not in result.err


def test_a_state_directory_that_cannot_be_used(cli: Cli) -> None:
    """Unavailable, naming it: what cannot be remembered must not be answered."""
    for directory in ("/proc/nope", "/dev/null/x"):
        result = cli("--state-dir", directory, "get", "pools", "-o", "json")
        assert (result.code, result.error["kind"]) == (7, "unavailable")
        assert directory in result.error["message"]
        assert "--state-dir" in result.error["hint"]
