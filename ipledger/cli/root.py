"""The root command: which verbs there are, and how every failure leaves the process."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from engine.errors import EXIT_CODES, LedgerError, ViewDamaged
from ipledger import __version__
from ipledger.cli.settings import Settings, options, output_asked
from ipledger.cli.show import error_text

USAGE = 2
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended: 128 + SIGINT

# Verb: module and name of its command. A module is imported when its verb is used.
VERBS = {
    "allocate": "ipledger.cli.leases:allocate",
    "apply": "ipledger.cli.manifest:apply",
    "attribute": "ipledger.cli.attribute:attribute",
    "audit": "ipledger.cli.audit:audit",
    "completion": "ipledger.cli.admin:completion",
    "consumers": "ipledger.cli.consumers:consumers",
    "delete": "ipledger.cli.manifest:delete",
    "demo": "ipledger.cli.demo:demo",
    "describe": "ipledger.cli.describe:describe",
    "doctor": "ipledger.cli.doctor:doctor",
    "embedded": "ipledger.cli.admin:embedded",
    "explain": "ipledger.cli.explain:explain",
    "export": "ipledger.cli.export:export",
    "follow": "ipledger.cli.follow:follow",
    "free": "ipledger.cli.free:free",
    "get": "ipledger.cli.views:get",
    "history": "ipledger.cli.history:history",
    "import": "ipledger.cli.importing:import_",
    "mirror": "ipledger.cli.mirror:mirror",
    "quarantine": "ipledger.cli.time:quarantine",
    "release": "ipledger.cli.leases:release",
    "renew": "ipledger.cli.time:renew",
    "replay": "ipledger.cli.replay:replay",
    "schema": "ipledger.cli.export:schema",
    "space": "ipledger.cli.admin:space",
    "sweep": "ipledger.cli.time:sweep",
    "unquarantine": "ipledger.cli.time:unquarantine",
    "views": "ipledger.cli.local_views:views",
}


class _Verbs(click.Group):
    """A group whose commands are imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(args[0][:20], VERBS, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"{args[0]!r} is not a command{meant}", ctx)
        return super().resolve_command(ctx, args)


@click.command(
    cls=_Verbs,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`ipledger COMMAND --help` tells about a command, `ipledger demo` shows the whole.",
)
@click.version_option(__version__, prog_name="ipledger", message="%(prog)s %(version)s")
@options
def root() -> None:
    """IP address allocation whose only truth is an append-only event stream in Redis.

    Without a URL a private embedded server is used, and started when it is needed. The options
    below may also stand behind the command.
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code. No traceback ever reaches a user."""
    settings = Settings()
    try:
        returned: Any = root.main(
            args=list(arguments) or ["--help"],
            prog_name="ipledger",
            standalone_mode=False,
            obj=settings,
        )
    except click.ClickException as error:
        _tell("usage", " ".join(error.format_message().split()), _usage(error), arguments)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except ViewDamaged as error:
        # It is forgotten by now. Who has only read reads again; a change is not just repeated.
        if settings.opened is None or not settings.opened.writer.has_appended:
            return run(arguments)
        _tell(error.kind, error.message, error.hint, arguments)
        return EXIT_CODES[error.kind]
    except LedgerError as error:
        _tell(error.kind, error.message, _in_space(error.hint, settings.space), arguments)
        return EXIT_CODES[error.kind]
    except Exception as error:  # the outermost border: a bug is told, not dumped
        if os.environ.get("IPLEDGER_DEBUG"):
            raise
        _tell("unexpected", *_unexpected(error), arguments)
        return EXIT_CODES["unexpected"]
    return returned if isinstance(returned, int) else 0


def _tell(kind: str, message: str, hint: str, arguments: Sequence[str]) -> None:
    click.echo(error_text(kind, message, hint, output_asked(arguments)), err=True)


def _usage(error: click.ClickException) -> str:
    """How the command is used, on one line."""
    context = getattr(error, "ctx", None)
    if context is None:
        return "see `ipledger --help`"
    usage = " ".join(context.get_usage().split()).removeprefix("Usage: ")
    return f"{usage}; see `{context.command_path} --help`"


def _in_space(hint: str, space: str) -> str:
    """A hint whose commands speak of the space that the command spoke of."""
    if space in {"default", os.environ.get("IPLEDGER_SPACE")}:
        return hint
    verbs = "|".join(verb for verb in VERBS if verb != "space")
    return re.sub(rf"\bipledger (?=(?:{verbs})\b)", f"ipledger --space {space} ", hint)


def _unexpected(error: Exception) -> tuple[str, str]:
    traceback = "set IPLEDGER_DEBUG=1 for the traceback"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", f"the system said no; {traceback}"
    return f"{type(error).__name__}: {error}", f"this is a bug; {traceback}"
