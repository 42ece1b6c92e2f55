"""How commands fail: one exit code a kind, JSON on stderr, and never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

import ipledger
from engine.errors import EXIT_CODES, Kind, LedgerError, Refusal, Refused
from ipledger.cli.root import VERBS
from ipledger.cli.settings import Settings
from tests.cli.conftest import Cli, shown

ROOT = Path(__file__).parents[2]


def _process(
    *words: str, stdout: int | IO[str] = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "ipledger", *words], check=False, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=stdout, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("kind", EXIT_CODES)
def test_each_kind_has_its_exit_code(kind: Kind, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever raises it: the code is the kind's, and both forms of the error tell all of it."""

    def refuse(_settings: Settings) -> None:
        raise Refused(Refusal(kind, "what happened", "what to do"))

    monkeypatch.setattr(Settings, "open", refuse)
    result = cli("get", "pools", "-o", "json")
    assert (result.code, result.out) == (EXIT_CODES[kind], "")
    assert result.error == {"kind": kind, "message": "what happened", "hint": "what to do"}
    told = cli("get", "pools").err
    assert told == f"error ({kind}): what happened\nhint: what to do\n"


def test_a_bug_is_told_not_dumped(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, and how to get the traceback; which is then there."""

    def fail(_settings: Settings) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(Settings, "open", fail)
    result = cli("get", "pools", "-o", "json")
    assert (result.code, result.error["kind"]) == (1, "unexpected")
    assert result.error["message"] == "ZeroDivisionError: oops"
    assert "IPLEDGER_DEBUG" in result.error["hint"]
    monkeypatch.setenv("IPLEDGER_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli("get", "pools")


def test_a_full_disk_is_no_bug(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says no to is told in its words, with the file."""

    def fail(_settings: Settings) -> None:
        raise OSError(28, "No space left on device", "state.json")

    monkeypatch.setattr(Settings, "open", fail)
    result = cli("get", "pools", "-o", "json")
    assert (result.code, result.error["message"]) == (1, "state.json: No space left on device")


def test_hints_with_lines_stay_readable(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a server's log is shown as lines, its control characters escaped."""

    def fail(_settings: Settings) -> None:
        raise LedgerError("no\nserver", "the log:\none\x1b[31m\ntwo")

    monkeypatch.setattr(Settings, "open", fail)
    assert cli("get", "pools").err == (
        "error (unexpected): no\\nserver\nhint: the log:\none\\x1b[31m\ntwo\n"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["frobnicate"], "'frobnicate' is not a command"),
        (["alocate"], "did you mean allocate?"),
        (["get"], "Missing argument 'KIND'"),
        (["get", "pools", "--nope"], "--nope"),
        (["get", "pools", "a", "b\x1b[31m"], "extra argument"),
        (["get", "pools", "-o", "xml"], "'xml' is not one of"),
        (["get", "pools", "--space"], "requires an argument"),
        (["space"], "Missing command"),
        (["history"], "Missing command"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
    ids=shown,
)
def test_misuse_says_how_it_is_used(cli: Cli, words: list[str], says: str) -> None:
    """Exit code 2 on stderr: one line of what is wrong, one of how it is used."""
    result = cli(*words)
    assert (result.code, result.out) == (2, "")
    first, second = result.err.splitlines()
    assert first.startswith("error (usage): ")
    assert says in first
    assert second.startswith("hint: ")
    assert second.endswith(" --help`")
    assert "\x1b" not in result.err


@pytest.mark.parametrize("asked", [["-o", "json"], ["--output=json"], ["-ojson"]])
@pytest.mark.parametrize("before", [True, False])
def test_json_is_kept_where_nothing_can_be_parsed(
    cli: Cli, asked: list[str], *, before: bool
) -> None:
    """An error is JSON if the command line asks for it anywhere, however wrong the rest is."""
    words = [*asked, "get", "pools", "--nope"] if before else ["get", "pools", "--nope", *asked]
    assert cli(*words).error["kind"] == "usage"
    words = [*asked, "frobnicate"] if before else ["frobnicate", *asked]
    assert cli(*words).error["kind"] == "usage"


@pytest.mark.parametrize(
    "value", ["0", "0.0", "-1", "nan", "inf", "1e9", "abc", "", "0s", "9" * 99]
)
def test_a_timeout_is_a_time(cli: Cli, value: str) -> None:
    """Refused before anything is done, by every verb."""
    for command in (["get", "pools"], ["get", "spaces"], ["doctor"], ["embedded", "status"]):
        result = cli(*command, "--timeout", value, "-o", "json")
        assert (result.code, result.error["kind"]) == (6, "invalid")


@pytest.mark.parametrize("value", ["5", "0.5", "1m", "1h30m"])
def test_a_timeout_is_seconds_or_a_duration(cli: Cli, value: str) -> None:
    """Both are understood."""
    assert cli("get", "pools", "--timeout", value).code == 0


@pytest.mark.parametrize("name", ["--actor", "--reason", "--command-id", "--space", "--state-dir"])
def test_an_empty_option_is_refused(cli: Cli, name: str) -> None:
    """It is more likely an unset variable of a script than a wish."""
    result = cli("get", "pools", name, "", "-o", "json")
    assert (result.code, result.error["message"]) == (6, f"{name} is empty")


def test_alone_it_helps() -> None:
    """Without arguments: the help, and exit code 0; every verb is in it with a whole sentence."""
    done = _process()
    assert (done.returncode, done.stderr) == (0, "")
    commands = done.stdout.split("Commands:")[1]
    for verb in VERBS:
        (line,) = [line for line in commands.splitlines() if line.split()[:1] == [verb]]
        assert line.endswith("."), line
        assert not line.endswith("..."), line


def test_the_version() -> None:
    """As the package says, with or without other arguments."""
    for words in (["--version"], ["--space", "x", "--version"]):
        assert _process(*words).stdout == (f"ipledger {ipledger.__version__}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", [["--version"], ["--help"], ["completion", "bash"]])
def test_output_that_cannot_be_written(words: list[str]) -> None:
    """A full disk behind stdout is exit code 1 without a traceback."""
    with Path("/dev/full").open("w") as full:
        done = _process(*words, stdout=full)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["completion", "zsh"]])
def test_closed_streams(words: list[str]) -> None:
    """Without stdin, stdout and stderr there is nothing to say, but no crash either."""
    code = subprocess.run(
        ["bash", "-c", 'exec "$@" <&- >&- 2>&-', "-", sys.executable, "-m", "ipledger", *words],
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).returncode  # fmt: skip
    assert code == 0


@pytest.mark.parametrize("after_s", [0.05, 0.1, 0.2])
def test_control_c_while_starting(after_s: float, tmp_path: Path) -> None:
    """Whenever it comes, there is no traceback of ours."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ipledger", "--url", f"unix://{tmp_path}/s", "get", "pools"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in {130, -signal.SIGINT, 7}
    assert "ipledger/cli" not in said
