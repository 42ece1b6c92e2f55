"""`space`, `embedded` and `completion`: looking after the installation."""

from __future__ import annotations

import click

from ipledger.cli.settings import Settings, options, pass_settings
from ipledger.cli.show import emit, fields, table


@click.group()
def space() -> None:
    """Address spaces: what others call VRF, scope or tenant."""


@space.command("create")
@click.argument("name")
@options
@pass_settings
def space_create(settings: Settings, name: str) -> None:
    """Make a new address space. (`default` is made on its first use.)"""
    from engine.errors import Refusal, Refused
    from engine.names import check_name

    settings.space = check_name(name, "space")
    with settings.open() as ledger:
        if ledger.position or not ledger.create_space(reason=settings.reason):
            hint = "see `ipledger get spaces`"
            raise Refused(Refusal("exists", f"space {name} exists", hint, name))
        assert ledger.state.space is not None, "it was created just now"
        data = {"name": name, "space_id": ledger.state.space.space_id.hex(),
                "position": ledger.position}  # fmt: skip
        emit(settings.output, {"items": [data]}, f"space/{name} created")


@space.command("list")
@options
@pass_settings
def space_list(settings: Settings) -> None:
    """List the spaces of the server."""
    from ipledger.spaces import list_spaces

    items = list_spaces(settings)
    rows = [(i["name"], i["space_id"], i["position"], i["generation"]) for i in items]
    emit(settings.output, {"items": items}, table(["name", "id", "position", "gen"], rows))


@space.command("forget")
@click.argument("name")
@options
@pass_settings
def space_forget(settings: Settings, name: str) -> None:
    """Forget what this machine has seen of a space, so that another one is accepted.

    For when a space was replaced on purpose. The stream is not touched.
    """
    from ipledger.spaces import forget_space

    did = "forgotten" if forget_space(settings, name) else "nothing was remembered"
    emit(settings.output, {"items": [{"name": name, "result": did}]}, f"space/{name} {did}")


@click.group()
def embedded() -> None:
    """The private server that is used when there is no URL."""


@embedded.command("status")
@options
@pass_settings
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


@embedded.command("stop")
@options
@pass_settings
def embedded_stop(settings: Settings) -> None:
    """Stop the embedded server; its data stays, and the next command starts it again."""
    from ipledger.embedded import stop

    stopped = stop(settings.home)
    human = "embedded server stopped" if stopped else "no embedded server runs"
    emit(settings.output, {"stopped": stopped}, human)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    For bash: eval "$(ipledger completion bash)"
    """
    from click.shell_completion import get_completion_class

    from ipledger.cli.root import root

    found = get_completion_class(shell)
    assert found is not None, "the choice allows only shells that click knows"
    click.echo(found(root, {}, "ipledger", "_IPLEDGER_COMPLETE").source())
