"""`space`, `embedded` and `completion`: looking after the installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from ipledger.cli.settings import Settings, VerbGroup, options, verb
from ipledger.cli.show import emit, fields, write
from ipledger.cli.views import durability_words, space_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.model import Durability
    from ipledger.ledger import Ledger


@click.group(cls=VerbGroup)
@options
def space() -> None:
    """Address spaces: what others call VRF, scope or tenant."""


class _Durability(TypedDict):
    """The options that say what a space promises of its answers."""

    durability: str
    replicas: int | None
    ack_timeout: str | None
    fsync: bool


def _durability_options(*, required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What a space promises of its answers."""
    # To this library, an option with a default of None is not missing.
    said: dict[str, Any] = {"required": True} if required else {"default": "local"}
    told = [
        click.option("--durability", type=click.Choice(["local", "replicated"]),
                     **said,
                     help="What an answer waits for: the server, or its replicas, too."),
        click.option("--replicas", type=click.IntRange(min=1), metavar="N",
                     help="With replicated: how many must have it [1]."),
        click.option("--ack-timeout", metavar="TIME",
                     help="With replicated: how long to wait for them [1s; with --fsync 3s]."),
        click.option("--fsync", is_flag=True,
                     help="With replicated: on disk, there and here (Redis 7.2, Valkey)."),
    ]  # fmt: skip

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(told):
            command = option(command)
        return command

    return decorated


def _read(said: _Durability) -> Durability:
    from ipledger.durability import read_durability
    from ipledger.durations import parse_short

    wait = said["ack_timeout"]
    return read_durability(
        said["durability"],
        replicas=said["replicas"],
        ack_timeout_s=None if wait is None else parse_short(wait),
        fsync=said["fsync"],
    )


@verb(
    "create",
    within=space,
    examples=("ipledger space create blue", "ipledger space create red --durability replicated"),
)
@click.argument("name")
@_durability_options(required=False)
def space_create(settings: Settings, name: str, **said: Unpack[_Durability]) -> None:
    """Make a new address space; `default` is made on its first use."""
    from engine.errors import Refusal, Refused
    from engine.names import check_name

    settings.space = check_name(name, "space")
    promises = _read(said)
    with settings.open() as ledger:
        if ledger.position or not ledger.create_space(reason=settings.reason, promises=promises):
            hint = "see `ipledger get spaces`"
            raise Refused(Refusal("exists", f"space {name} exists", hint, name))
        created = _view_of(ledger)
    emit(settings.output, {"items": [created]}, f"space/{name} created")


def _view_of(ledger: Ledger) -> dict[str, Any]:
    """The space of a ledger."""
    from ipledger.views import space_view

    state = ledger.state
    assert state.space is not None, "it was created before"
    space_id, level = state.space.space_id, state.space.level
    return space_view(
        ledger.space, space_id, state.position, state.generation, level, state.durability
    )


@verb(
    "raise",
    within=space,
    examples=("ipledger space raise", "ipledger space raise blue --level 2 --dry-run"),
)
@click.argument("name", required=False)
@click.option("--level", type=click.IntRange(min=1), metavar="N",
              help="The format level [the highest that this release knows].")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def space_raise(settings: Settings, *, name: str | None, level: int | None, dry_run: bool) -> None:
    """Raise the format level of a space, so that it may use what this release brought.

    Releases that do not know the level stop reading the space there: first see that everything
    that reads it is up to date, consumers and mirrors in other clusters included. A level is
    never lowered.
    """
    from engine.events import LEVEL
    from engine.names import check_name
    from ipledger import operations
    from ipledger.spaces import no_such_space

    if name is not None:
        settings.space = check_name(name, "space")
    wanted = LEVEL if level is None else level
    operation = operations.raise_level(wanted, **settings.claims())
    with settings.open() as ledger:
        if not ledger.position:
            raise no_such_space(settings.space)
        before = ledger.state.level
        raises = ledger.preview(operation)
        if raises:
            told = f"releases that do not know format level {wanted} stop reading space"
            click.echo(f"ipledger: {told} {settings.space} with this", err=True)
        if raises and not dry_run:
            ledger.run(operation)
        item = _view_of(ledger)
    did = f"has format level {wanted} already"
    if raises:
        would = "would be " if dry_run else ""
        did = f"{would}raised from format level {before} to {wanted}"
    data = {"items": [item], "raised_from": before if raises else None}
    emit(settings.output, data, f"space/{settings.space} {did}")


@verb(
    "set",
    within=space,
    examples=(
        "ipledger space set --durability replicated",
        "ipledger space set blue --durability replicated --replicas 2 --ack-timeout 200ms --fsync",
        "ipledger space set blue --durability local",
    ),
)
@click.argument("name", required=False)
@_durability_options(required=True)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def space_set(
    settings: Settings, *, name: str | None, dry_run: bool, **said: Unpack[_Durability]
) -> None:
    """Set what a space promises of its answers, for all that write to it.

    With `replicated`, an answer waits until so many replicas have what it rests on. With too few
    in time the answer is `unknown` (exit code 9), and what was written stands. It is only set if
    the replicas answer now. What is not said has its default.
    """
    from engine.errors import Unavailable
    from engine.names import check_name
    from ipledger.durability import promising
    from ipledger.spaces import no_such_space
    from ipledger.views import durability_view

    if name is not None:
        settings.space = check_name(name, "space")
    wanted = _read(said)
    operation = promising(wanted, **settings.claims())
    with settings.open() as ledger:
        if not ledger.position:
            raise no_such_space(settings.space)
        changes = ledger.preview(operation)
        if changes and (missing := ledger.writer.shortfall(wanted)):
            hint = "see that the replicas run and are connected: `ipledger doctor` counts them"
            raise Unavailable(f"nothing was changed: {missing}", hint)
        if not dry_run:  # also one that changes nothing: its answer waits for the replicas
            ledger.run(operation)
        item = _view_of(ledger)
    if dry_run:
        item["durability"] = durability_view(wanted)
    words = durability_words(item["durability"])
    did = f"has durability {words} already"
    if changes:
        did = f"{'would have' if dry_run else 'has'} durability {words}"
    emit(settings.output, {"items": [item], "changed": changes}, f"space/{settings.space} {did}")


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
