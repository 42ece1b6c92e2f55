"""`demo`: Spiderpool's page on reserved IPs, step by step, on a server of its own.

Every command is run as a user would type it and what came back is printed. The demo knows what
the page says must happen and stops, with exit code 1, if something else does.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

import click

from engine.errors import LedgerError
from ipledger.cli.settings import Settings, pass_settings

SEED: Final = Path(__file__).parents[1] / "seed"

_REDIS_NODE: Final = """\
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderReservedIP
metadata:
  name: redis-node
spec:
  ips:
  - 172.18.43.31
"""


class Step(NamedTuple):
    """A command, its exit code, and what its output must say (and, behind a "!", must not)."""

    command: str
    exit_code: int = 0
    says: tuple[str, ...] = ()


class Chapter(NamedTuple):
    """Some steps, and what they are to show."""

    title: str
    steps: tuple[Step, ...]


_APPLY_42: Final = "ipledger apply -f test-ipv4-reservedip.yaml -f test-ipv4-ippool.yaml"

CHAPTERS: Final = (
    Chapter(
        "Two ways to write one pool: two ranges, or one range with a hole (excludeIPs)",
        (
            Step("ipledger apply -f pool-not-use-excludeips.yaml", 0, ("created",)),
            Step("ipledger get pools", 0, ("172.18.41.40-172.18.41.44,172.18.41.46",)),
            # Side by side they would share ten addresses, so the second one is refused.
            Step("ipledger apply -f pool-use-excludeips.yaml", 4, ("conflict", "V11")),
            Step("ipledger delete pool not-use-excludeips", 0, ("deleted",)),
            Step("ipledger apply -f pool-use-excludeips.yaml", 0, ("created",)),
            Step("ipledger free use-excludeips", 0, ("172.18.41.44", "172.18.41.46", "10 free")),
            Step("ipledger delete -f pool-use-excludeips.yaml", 0, ("deleted",)),
        ),
    ),
    Chapter(
        "Nine of ten addresses are reserved: of three replicas one runs",
        (
            Step(_APPLY_42, 0, ("created",)),
            Step("ipledger get pools", 0, ("test-ipv4-ippool",)),
            Step("ipledger allocate -f reservedip-deploy.yaml", 5,
                 ("172.18.42.50", "all IP addresses used out")),
        ),
    ),
    Chapter(
        "The reservation is deleted: all three run",
        (
            Step("ipledger delete -f test-ipv4-reservedip.yaml", 0, ("deleted",)),
            Step("ipledger allocate -f reservedip-deploy.yaml", 0,
                 ("172.18.42.50", "172.18.42.41", "172.18.42.42")),
        ),
    ),
    Chapter(
        "Reserved while leased: the holder keeps it, and nobody gets it after that",
        (
            Step("ipledger apply -f test-ipv4-reservedip.yaml", 0, ("created",)),
            Step("ipledger get leases", 0, ("172.18.42.41",)),
            Step("ipledger release --owner default/reservedip-deploy-1", 0, ("released",)),
            Step("ipledger allocate --pool test-ipv4-ippool --owner default/newcomer", 5,
                 ("all IP addresses used out", "8 reserved")),
        ),
    ),
    Chapter(
        "Clean up",
        (
            Step("ipledger delete -f test-ipv4-reservedip.yaml -f test-ipv4-ippool.yaml "
                 "-f reservedip-deploy.yaml --ignore-not-found", 0, ("released", "deleted")),
            Step("ipledger get pools", 0, ("!test-ipv4",)),
        ),
    ),
    Chapter(
        "A trap: a Redis node has 172.18.43.31, and one pool excludes it. Another does not know",
        (
            Step("ipledger apply -f already-in-use.yaml -f created-by-someone-else.yaml", 0,
                 ("created",)),
            Step("ipledger allocate --pool created-by-someone-else --owner default/web-0", 0,
                 ("172.18.43.31",)),
        ),
    ),
    Chapter(
        "The same with a reservation: it holds for every pool, now and later",
        (
            Step("ipledger release --owner default/web-0", 0, ("released",)),
            Step("ipledger apply -f redis-node.yaml", 0, ("created",)),
            Step("ipledger allocate --pool created-by-someone-else --owner default/web-1", 0,
                 ("172.18.43.32", "!172.18.43.31")),
        ),
    ),
    Chapter(
        "Afterwards: who held the Redis node's address? And does the log prove the state?",
        (
            Step("ipledger history ip 172.18.43.31", 0, ("default/web-0", "released")),
            Step("ipledger replay --digest", 0, ("digest",)),
        ),
    ),
)  # fmt: skip


class _Tee(io.TextIOBase):
    """Shows what is written, and keeps it."""

    def __init__(self, shown: TextIO, kept: io.StringIO) -> None:
        self._shown = shown
        self._kept = kept

    def write(self, text: str) -> int:
        self._kept.write(text)
        return self._shown.write(text)

    def flush(self) -> None:
        self._shown.flush()


@click.command()
@click.option("--keep", is_flag=True, help="Keep the directory, to look around in it afterwards.")
@pass_settings
def demo(settings: Settings, keep: bool) -> int:
    """Walk through Spiderpool's page on reserved IPs.

    An embedded server is started in a directory of its own; both are gone afterwards.
    """
    directory = Path(tempfile.mkdtemp(prefix="ipledger-demo-"))
    # Whatever the user has set up is not for the demo to touch, nor to be misled by.
    before = {name: value for name, value in os.environ.items() if name.startswith("IPLEDGER_")}
    here = Path.cwd()
    try:
        _write_manifests(directory)
        for name in before:
            del os.environ[name]
        os.environ["IPLEDGER_HOME"] = str(directory / "home")
        os.chdir(directory)
        return _walk(directory, settings.server)
    finally:
        os.chdir(here)
        os.environ.pop("IPLEDGER_HOME", None)
        os.environ.update(before)
        _clean_up(directory, keep=keep)


def _write_manifests(directory: Path) -> None:
    for manifest in SEED.glob("*.yaml"):
        shutil.copy(manifest, directory)
    (directory / "redis-node.yaml").write_text(_REDIS_NODE, "utf-8")


def _clean_up(directory: Path, *, keep: bool) -> None:
    from ipledger.embedded import stop

    if keep:
        click.echo(f"\nKept: cd {directory} && export IPLEDGER_HOME={directory / 'home'}")
        return
    try:
        stop(directory / "home")
        shutil.rmtree(directory)
    except (LedgerError, OSError) as error:
        click.echo(f"could not remove {directory}: {error}", err=True)


def _walk(directory: Path, server: str | None) -> int:
    from ipledger.ledger import connect

    click.echo(f"$ cd {directory} && export IPLEDGER_HOME={directory / 'home'}")
    # A bystander that folds the events as they come: its state is the live one.
    with connect(home=directory / "home", server=server) as live:
        said = ""
        for number, chapter in enumerate(CHAPTERS, 1):
            click.echo(f"\n{number}. {chapter.title}")
            for step in chapter.steps:
                code, said = _run(step.command)
                if wrong := _differences(step, code, said):
                    click.echo(f"\nThis is not what the page says: {wrong}", err=True)
                    return 1
        live.refresh()
        digest = live.digest()
    if f"digest        {digest}" not in said:
        click.echo(f"\nThe live state has another digest: {digest}", err=True)
        return 1
    click.echo(f"\nThe live state's digest is the same: {digest[:16]}…")
    click.echo("Everything happened as the page says.")
    return 0


def _run(command: str) -> tuple[int, str]:
    """Run a command line as typed; return its exit code and everything that it printed."""
    from ipledger.cli.root import run

    click.echo(f"$ {command}")
    kept = io.StringIO()
    # Both streams are shown on one, so that a redirected demo still tells what came after what.
    out: Any = _Tee(sys.stdout, kept)
    with redirect_stdout(out), redirect_stderr(out):
        code = run(shlex.split(command)[1:])
        out.flush()
    if code:
        click.echo(f"(exit code {code})")
    return code, kept.getvalue()


def _differences(step: Step, code: int, said: str) -> str:
    if code != step.exit_code:
        return f"{step.command}: exit code {code}, not {step.exit_code}"
    for text in step.says:
        absent = text.startswith("!")
        if (text.lstrip("!") in said) == absent:
            return f"{step.command}: its output {'has' if absent else 'lacks'} {text.lstrip('!')!r}"
    return ""
