"""The root command: which verbs there are, and how every failure leaves the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from engine.errors import EXIT_CODES, LedgerError
from ipledger import __version__
from ipledger.cli.settings import Settings, options
from ipledger.cli.show import error_text

# Verb: module and name of its command. A module is imported when its verb is used.
VERBS = {
    "allocate": "ipledger.cli.leases:allocate",
    "apply": "ipledger.cli.manifest:apply",
    "completion": "ipledger.cli.admin:completion",
    "delete": "ipledger.cli.manifest:delete",
    "demo": "ipledger.cli.demo:demo",
    "describe": "ipledger.cli.views:describe",
    "doctor": "ipledger.cli.doctor:doctor",
    "embedded": "ipledger.cli.admin:embedded",
    "follow": "ipledger.cli.stream:follow",
    "free": "ipledger.cli.views:free",
    "get": "ipledger.cli.views:get",
    "history": "ipledger.cli.stream:history",
    "release": "ipledger.cli.leases:release",
    "replay": "ipledger.cli.stream:replay",
    "space": "ipledger.cli.admin:space",
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


@click.command(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ipledger", message="%(prog)s %(version)s")
@options
def root() -> None:
    """IP address allocation whose only truth is an append-only event stream in Redis.

    Without a URL a private embedded server is used, and started when it is needed.
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code. No traceback ever reaches a user."""
    settings = Settings()
    try:
        returned: Any = root.main(
            args=list(arguments), prog_name="ipledger", standalone_mode=False, obj=settings
        )
    except click.ClickException as error:
        if settings.output in {"json", "jsonl"} and not isinstance(
            error, click.exceptions.NoArgsIsHelpError
        ):
            click.echo(error_text("usage", error.format_message(), "", settings.output), err=True)
        else:
            error.show()
        return error.exit_code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except LedgerError as error:
        click.echo(error_text(error.kind, error.message, error.hint, settings.output), err=True)
        return EXIT_CODES[error.kind]
    except BrokenPipeError:
        # Whoever read our output has gone: say nothing, and let nothing more be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:  # noqa: BLE001 - the outermost border: a bug is told, not dumped
        if os.environ.get("IPLEDGER_DEBUG"):
            raise
        hint = "this is a bug; set IPLEDGER_DEBUG=1 for the traceback"
        told = f"{type(error).__name__}: {error}"
        click.echo(error_text("unexpected", told, hint, settings.output), err=True)
        return EXIT_CODES["unexpected"]
    return returned if isinstance(returned, int) else 0
