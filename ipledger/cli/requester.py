"""The options of `allocate` that say for whom an address is wanted, as pools select by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import click

_Function = Callable[..., Any]


class AskedAround(TypedDict):
    """The values of the options that say where a pod runs."""

    namespace: str | None
    namespace_labels: tuple[str, ...]
    node: str | None
    node_labels: tuple[str, ...]
    network: str | None


class AskedFor(AskedAround):
    """The values of all of these options."""

    ip_versions: tuple[str, ...]


_AROUND = (
    click.option(
        "--namespace", metavar="NAME", help="The pod's namespace: recorded as a label, too."
    ),
    click.option(
        "--namespace-label",
        "namespace_labels",
        multiple=True,
        metavar="KEY=VALUE",
        help="A label of the namespace; repeatable.",
    ),
    click.option(
        "--node", metavar="NAME", help="The node that the pod runs on: recorded as a label, too."
    ),
    click.option(
        "--node-label",
        "node_labels",
        multiple=True,
        metavar="KEY=VALUE",
        help="A label of the node; repeatable.",
    ),
    click.option(
        "--network",
        metavar="NAME",
        help="The interface's network as Multus names it: NAME or NAMESPACE/NAME.",
    ),
)
_OPTIONS = (
    *_AROUND,
    click.option(
        "--ip-version",
        "ip_versions",
        multiple=True,
        metavar="4|6",
        type=click.Choice(("4", "6")),
        help="Of the default pools, or of the pools of each --pool; repeatable.",
    ),
)


def around_options(function: _Function) -> _Function:
    """Add the options that say where a pod runs to a verb."""
    return _with(_AROUND, function)


def requester_options(function: _Function) -> _Function:
    """Add these options to a verb."""
    return _with(_OPTIONS, function)


def _with(options: Sequence[Callable[[_Function], _Function]], function: _Function) -> _Function:
    for option in reversed(options):
        function = option(function)
    return function
