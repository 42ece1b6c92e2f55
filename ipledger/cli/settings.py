"""The global options: accepted before or after the verb, or taken from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.errors import InvalidInput

if TYPE_CHECKING:
    from ipledger.ledger import Ledger

Command = TypeVar("Command", bound=Callable[..., Any])

OUTPUTS = ("table", "json", "yaml", "jsonl")


class Settings:
    """What the global options say; the last place that says it wins."""

    def __init__(self) -> None:
        env = os.environ.get
        self.space: str = env("IPLEDGER_SPACE") or "default"
        self.url: str | None = env("IPLEDGER_URL") or None
        self.data_dir: str | None = env("IPLEDGER_HOME") or None
        self.state_dir: str | None = env("IPLEDGER_STATE_DIR") or None
        self.server: str | None = env("IPLEDGER_SERVER") or None
        self.actor: str | None = env("IPLEDGER_ACTOR") or None
        self.output = "table"
        self.reason: str | None = None
        self.command_id: str | None = None
        self.timeout: str = "30s"

    @property
    def home(self) -> Path:
        """Where the embedded server and, by default, our own state live."""
        if self.data_dir:
            return Path(self.data_dir)
        from ipledger.embedded import default_home

        return default_home()

    @property
    def states(self) -> Path:
        """Where high-water marks are kept."""
        return Path(self.state_dir) if self.state_dir else self.home / "state"

    @property
    def timeout_s(self) -> float:
        """How long to wait for an answer: a duration, or plain seconds."""
        from ipledger.durations import parse_duration

        try:
            return float(self.timeout)
        except ValueError:
            return float(parse_duration(self.timeout))

    @property
    def who(self) -> str:
        """The actor: as told, else the login name on this machine. A claim, not a proof."""
        if self.actor:
            return self.actor
        import getpass
        import socket

        try:
            name = getpass.getuser()
        except (KeyError, OSError):  # a container may know no name for its user
            name = str(os.getuid())
        return f"{name}@{socket.gethostname()}"

    def open(self) -> Ledger:
        """Open the ledger that the options speak of.

        Raises:
            LedgerError: it cannot be reached, or is not what it must be.
        """
        from ipledger.ledger import connect

        if not self.timeout_s > 0:
            message = f"--timeout {self.timeout} is not a time to wait"
            raise InvalidInput(message, "give more than zero, such as 30s")
        return connect(
            self.url,
            self.space,
            home=self.home,
            state_dir=self.states,
            actor=self.who,
            timeout_s=self.timeout_s,
            server=self.server,
            remember_every_s=0,
            on_start=_tell_started,
        )

    def claims(self) -> dict[str, Any]:
        """The arguments that every operation takes about who asks and why."""
        return {"command_id": self.command_id, "reason": self.reason}


def _tell_started(what: str) -> None:
    # For the person at the terminal, so not in the form of a log line.
    click.echo(f"ipledger: {what}; it stays until `ipledger embedded stop`", err=True)


def _store(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is not None and parameter.name is not None:
        setattr(ctx.ensure_object(Settings), parameter.name, value)


def _option(*names: str, **attributes: Any) -> Callable[[Command], Command]:
    return click.option(
        *names, expose_value=False, callback=_store, is_eager=True, **attributes
    )  # fmt: skip


_OPTIONS = [
    _option("--space", metavar="NAME", help="Address space [default]."),
    _option("--url", help="redis://, rediss:// or unix:// (IPLEDGER_URL); else embedded."),
    _option("--data-dir", metavar="DIR", help="Data of the embedded server (IPLEDGER_HOME)."),
    _option("--state-dir", metavar="DIR", help="High-water marks [state in the data directory]."),
    _option("--server", metavar="PROGRAM", help="Server to embed instead of the bundled one."),
    _option("-o", "--output", type=click.Choice(OUTPUTS), help="Form of the output [table]."),
    _option("--actor", help="Who asks: a claim that is recorded [login name]."),
    _option("--reason", help="Why: recorded with the change."),
    _option("--timeout", metavar="TIME", help="How long to wait for an answer [30s]."),
    _option("--command-id", metavar="ID", help="Makes repeating this very command safe."),
]


def options(command: Command) -> Command:
    """Add the global options to a command or group."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


pass_settings = click.make_pass_decorator(Settings, ensure=True)
