"""`space`, `embedded` and `completion`: looking after the installation."""

from __future__ import annotations

import click

from ipledger.cli.settings import Settings, VerbGroup, options, verb
from ipledger.cli.show import emit, fields, write
from ipledger.cli.views import space_table


@click.group(cls=VerbGroup)
@options
def space() -> None:
    """Address spaces: what others call VRF, scope or tenant."""


@verb("create", within=space, examples=("ipledger space create blue",))
@click.argument("name")
def space_create(settings: Settings, name: str) -> None:
    """Make a new address space; `default` is made on its first use."""
    from engine.errors import Refusal, Refused
    from engine.names import check_name
    from ipledger.views import space_view

    settings.space = check_name(name, "space")
    with settings.open() as ledger:
        if ledger.position or not ledger.create_space(reason=settings.reason):
            hint = "see `ipledger get spaces`"
            raise Refused(Refusal("exists", f"space {name} exists", hint, name))
        assert ledger.state.space is not None, "it was created just now"
        created = space_view(
            name, ledger.state.space.space_id, ledger.position, ledger.state.generation
        )
    emit(settings.output, {"items": [created]}, f"space/{name} created")


@verb("list", within=space)
def space_list(settings: Settings) -> None:
    """List the spaces of the server, as `get spaces` does."""
    from ipledger.spaces import list_spaces

    items = list_spaces(settings)
    emit(settings.output, {"items": items}, space_table(items))


@verb("forget", within=space, examples=("ipledger space forget blue",))
@click.argument("name")
def space_forget(settings: Settings, name: str) -> None:
    """Forget what this machine has seen of a space.

    For when a space was replaced on purpose: another one is then accepted. The stream is not
    touched.
    """
    from ipledger.spaces import forget_space

    did = "forgotten" if forget_space(settings, name) else "nothing was remembered"
    emit(settings.output, {"items": [{"name": name, "result": did}]}, f"space/{name}: {did}")


@click.group(cls=VerbGroup)
@options
def embedded() -> None:
    """The private server that is used when there is no URL."""


@verb("status", within=embedded)
def embedded_status(settings: Settings) -> None:
    """Say whether the embedded server runs, and where its data is."""
    from ipledger.embedded import paths_for, status

    running = status(settings.home)
    paths = paths_for(settings.home)
    data = {
        "running": running is not None,
        "server": None if running is None else running.server,
        "pid": None if running is None else running.pid,
        "url": None if running is None else running.url,
        "data": str(paths.data),
        "log": str(paths.log_file),
    }
    emit(settings.output, data, fields(data.items()))


@verb("stop", within=embedded)
def embedded_stop(settings: Settings) -> None:
    """Stop the embedded server; its data stays.

    The next command that needs it starts it again.
    """
    from ipledger.embedded import stop

    stopped = stop(settings.home)
    human = "embedded server stopped" if stopped else "no embedded server runs"
    emit(settings.output, {"stopped": stopped}, human)


@click.command(epilog='\b\nFor bash, in ~/.bashrc:\n  eval "$(ipledger completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    It completes commands, options, kinds of things, and the names of pools.
    """
    from click.shell_completion import get_completion_class

    from ipledger.cli.root import root

    found = get_completion_class(shell)
    assert found is not None, "the choice allows only shells that click knows"
    write(found(root, {}, "ipledger", "_IPLEDGER_COMPLETE").source())
