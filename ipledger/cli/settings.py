"""The global options: accepted before or after the verb, or taken from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from engine.errors import InvalidInput

if TYPE_CHECKING:
    from ipledger.cli.progress import Progress
    from ipledger.ledger import Ledger

Command = TypeVar("Command", bound=Callable[..., Any])

OUTPUTS = ("table", "json", "yaml", "jsonl")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


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
        self.opened: Ledger | None = None

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
    def views(self) -> Path:
        """Where views of streams are kept; all of them can be thrown away."""
        return self.home / "views"

    @property
    def timeout_s(self) -> float:
        """How long to wait for an answer."""
        return _read_timeout(self.timeout)

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

        self.opened = connect(
            self.url,
            self.space,
            home=self.home,
            state_dir=self.states,
            actor=self.who,
            timeout_s=self.timeout_s,
            server=self.server,
            remember_every_s=0,
            on_start=tell_started,
            on_progress=_Reading(),
            stays=False,
        )
        return self.opened

    def claims(self) -> dict[str, Any]:
        """The arguments that every operation takes about who asks and why."""
        return {"command_id": self.command_id, "reason": self.reason}


class _Reading:
    """Tells how far the stream was read, when that takes long: the first time on a long one."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def __call__(self, position: int, end: int) -> None:
        """So much was read, of so much."""
        if self._progress is None:
            from ipledger.cli.progress import Progress

            self._progress = Progress("reading the stream", end)
        self._progress(position)
        if position >= end:
            self._progress.close()


def tell_started(what: str) -> None:
    """Say on stderr that an embedded server was started."""
    click.echo(f"ipledger: {what}; it stays until `ipledger embedded stop`", err=True)


def _read_timeout(text: str) -> float:
    """Seconds from plain seconds or a duration.

    Raises:
        InvalidInput: neither of the two, or no time at all.
    """
    from ipledger.durations import parse_duration

    seconds = float(text) if _SECONDS.fullmatch(text) else float(parse_duration(text, least=0))
    if not seconds:
        message = f"--timeout {text} is not a time to wait"
        raise InvalidInput(message, "give more than zero, such as 30s")
    return seconds


pass_settings = click.make_pass_decorator(Settings, ensure=True)


class GlobalOption(click.Option):
    """An option that every verb takes; the help lists these apart."""


def _store(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is None or parameter.name is None:
        return
    if value == "":
        message = f"{parameter.opts[-1]} is empty"
        raise InvalidInput(message, "give it a value or leave it out")
    if parameter.name == "timeout":
        _read_timeout(value)
    setattr(ctx.ensure_object(Settings), parameter.name, value)


class _Row(NamedTuple):
    names: tuple[str, ...]
    metavar: str
    told: str
    kind: click.ParamType[Any] | None = None


_ROWS = (
    _Row(("--space",), "NAME", "Address space (IPLEDGER_SPACE) [default]."),
    _Row(
        ("--url",), "URL", "redis://, rediss:// or unix:// (IPLEDGER_URL) [the embedded server]."
    ),
    _Row(
        ("--data-dir",), "DIR",
        "Home of the embedded server (IPLEDGER_HOME) [your data directory].", click.Path(),
    ),
    _Row(
        ("--state-dir",), "DIR",
        "What was seen last (IPLEDGER_STATE_DIR) [`state` in the data directory].", click.Path(),
    ),
    _Row(
        ("--server",), "PROGRAM",
        "Program to start as embedded server (IPLEDGER_SERVER) [the bundled one].",
    ),
    _Row(
        ("-o", "--output"), "FORM", "Form of the output: table, json, yaml or jsonl [table].",
        click.Choice(OUTPUTS),
    ),
    _Row(
        ("--actor",), "TEXT",
        "Who asks: a claim that is recorded (IPLEDGER_ACTOR) [your login name].",
    ),
    _Row(("--reason",), "TEXT", "Why: recorded with the change."),
    _Row(("--timeout",), "TIME", "How long to wait for an answer [30s]."),
    _Row(("--command-id",), "ID", "Makes repeating this very command safe."),
)  # fmt: skip


def options(command: Command) -> Command:
    """Add the global options to a command or a group."""
    for row in reversed(_ROWS):
        command = click.option(
            *row.names,
            cls=GlobalOption,
            type=row.kind,
            metavar=row.metavar,
            help=row.told,
            callback=_store,
            expose_value=False,
            is_eager=True,  # an error in the verb's own options is told in the form asked for
        )(command)
    return command


def output_asked(arguments: Sequence[str]) -> str:
    """The form of output that a command line asks for, also one that cannot be understood."""
    asked = "table"
    for at, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--output" and equals:
            asked = value
        elif argument in {"-o", "--output"} and at + 1 < len(arguments):
            asked = arguments[at + 1]
        elif argument.startswith("-o") and argument[2:] in OUTPUTS:
            asked = argument[2:]
    return asked


class Verb(click.Command):
    """A command whose help tells its own options first, and the global ones after them."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in two sections."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Global options": []}
        for parameter in self.get_params(ctx):
            told = parameter.get_help_record(ctx)
            if told is not None and isinstance(parameter, click.Option):
                is_global = isinstance(parameter, GlobalOption)
                sections["Global options" if is_global else "Options"].append(told)
        for title, told_options in sections.items():
            if told_options:
                with formatter.section(title):
                    formatter.write_dl(told_options)


class VerbGroup(click.Group):
    """A verb that has verbs of its own; its help leaves the global options to theirs."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **{"no_args_is_help": False, **attributes})

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs."""
        self.format_commands(ctx, formatter)


def verb(
    name: str | None = None, *, within: click.Group | None = None, examples: Sequence[str] = ()
) -> Callable[[Callable[..., Any]], Verb]:
    """Make a function a verb: it is given the settings, and takes the global options."""
    shown = "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)

    def decorate(function: Callable[..., Any]) -> Verb:
        make = click.command(name, cls=Verb, epilog=shown if examples else None)
        made = make(options(pass_settings(function)))
        if within is not None:
            within.add_command(made)
        return made

    return decorate
