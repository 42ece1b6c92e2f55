"""How the tests of the command line run it: in this process, on a space of their own."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from ipledger import embedded
from ipledger.cli import run


class Result(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What stdout says in JSON."""
        return json.loads(self.out)

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items that stdout says in JSON."""
        items: list[dict[str, Any]] = self.data["items"]
        return items

    @property
    def error(self) -> dict[str, str]:
        """The error that stderr says in JSON, in its last line."""
        error: dict[str, str] = json.loads(self.err.splitlines()[-1])["error"]
        return error


class Cli:
    """The command line with some global options in front of every command."""

    def __init__(
        self, options: list[str], capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ) -> None:
        self.options = options
        self._capsys = capsys
        self._patch = patch

    def __call__(self, *words: str, stdin: bytes | None = None) -> Result:
        """Run one command and take what it printed."""
        self._capsys.readouterr()
        if stdin is not None:
            self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run([*self.options, *words])
        return Result(code, *self._capsys.readouterr())

    def json(self, *words: str) -> Result:
        """Run one command with -o json; it must succeed."""
        result = self(*words, "-o", "json")
        assert result.code == 0, result
        return result

    def ok(self, *words: str) -> str:
        """Run one command; it must succeed, and its output is returned."""
        result = self(*words)
        assert result.code == 0, result
        return result.out


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the developer has set up reaches a test."""
    for name in ("SPACE", "URL", "HOME", "STATE_DIR", "SERVER", "ACTOR", "CLUSTER", "DEBUG"):
        monkeypatch.delenv(f"IPLEDGER_{name}", raising=False)


@pytest.fixture
def cli(
    embedded_url: str, space: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Cli:  # fmt: skip
    """The command line on a new space of a running server."""
    # The views of a test are its own; `--data-dir` would stand in the way of tests that ask for it.
    monkeypatch.setenv("IPLEDGER_HOME", str(tmp_path / "home"))
    options = ["--url", embedded_url, "--state-dir", str(tmp_path / "state"), "--space", space]
    made = Cli(options, capsys, monkeypatch)
    made.ok("space", "create", space)
    return made


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The home of an embedded server, which the module's tests may start; stopped at the end."""
    with TemporaryDirectory(prefix="ipl-") as directory:
        yield Path(directory)
        embedded.stop(Path(directory))


@pytest.fixture
def at_home(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line without a URL, on the module's embedded server."""
    return Cli(["--data-dir", str(home)], capsys, monkeypatch)


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[[str], str]:
    """Write a manifest to a file; the file's path."""
    numbers = iter(range(1_000))

    def write(text: str) -> str:
        path = tmp_path / f"manifest-{next(numbers)}.yaml"
        path.write_text(text, "utf-8")
        return str(path)

    return write


def shown(value: object) -> str | None:
    """The name of a test's parameter: the words of a command, not too many of them."""
    if not isinstance(value, list):
        return None
    return " ".join(map(ascii, value)).replace("'", "")[:60] or "nothing"


def pool_yaml(name: str, subnet: str, *ips: str, more: str = "") -> str:
    """A Pool of our own kind; `more` are further lines of its spec, in flow style."""
    return (
        f"apiVersion: ipledger/v1\nkind: Pool\nmetadata: {{name: {name}}}\n"
        f'spec: {{subnet: "{subnet}", ips: [{", ".join(map(json.dumps, ips))}]'
        f"{', ' if more else ''}{more}}}\n---\n"
    )


def reservation_yaml(name: str, *ips: str, more: str = "") -> str:
    """A Reservation of our own kind."""
    return (
        f"apiVersion: ipledger/v1\nkind: Reservation\nmetadata: {{name: {name}}}\n"
        f"spec: {{ips: [{', '.join(map(json.dumps, ips))}]{', ' if more else ''}{more}}}\n---\n"
    )


def deployment_yaml(name: str, replicas: int, pool: str) -> str:
    """A Deployment whose Pods ask for an address of a pool."""
    return (
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n"
        f"  replicas: {replicas}\n  template:\n    metadata:\n      annotations:\n"
        f'        ipam.spidernet.io/ippool: \'{{"ipv4": ["{pool}"]}}\'\n---\n'
    )


@pytest.fixture
def web(cli: Cli, manifest: Callable[[str], str]) -> Cli:
    """The command line on a space with pools `web` (10 addresses) and `six` (a whole /64)."""
    cli.ok("apply", "-f", manifest(
        pool_yaml("web", "10.0.0.0/24", "10.0.0.10-10.0.0.19")
        + pool_yaml("six", "fd00::/64", "fd00::/64")
    ))  # fmt: skip
    return cli
