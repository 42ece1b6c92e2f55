"""From which pools and for whom an address is asked: words into what a request consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, TypedDict, get_args

from engine.addresses import Family
from engine.commands import Requester
from engine.errors import InvalidInput
from engine.names import SELECTED_LABELS_MAX, Labels, check_labels, check_text
from engine.patterns import check_pool

Pools = str | Sequence[str | Sequence[str]] | None

_FAMILIES: Final = get_args(Family)


def read_groups(pools: Pools) -> tuple[tuple[str, ...], ...]:
    """Groups of pools: ``"a"``, ``"a,b"`` (b if a is exhausted), ``["a", "b"]`` (from both).

    A name may be a pattern, such as ``"web-*"``. None, or no group at all: the default pools.

    Raises:
        InvalidInput: something is neither a name nor a pattern.
    """
    if isinstance(pools, str):
        return _read_group(pools)
    listed = [] if pools is None else list(pools)
    groups = [group.split(",") if isinstance(group, str) else list(group) for group in listed]
    return tuple(tuple(check_pool(name) for name in group) for group in groups)


@lru_cache(maxsize=256)  # who asks for many leases asks for the same pools again and again
def _read_group(pools: str) -> tuple[tuple[str, ...], ...]:
    return (tuple(check_pool(name) for name in pools.split(",")),)


def read_families(families: Sequence[int]) -> tuple[Family, ...]:
    """IP versions: 4 and 6.

    Raises:
        InvalidInput: there is no such version.
    """
    found: list[Family] = []
    for number in families:
        if number not in _FAMILIES or isinstance(number, bool):
            message = f"{number!r} is no IP version"
            raise InvalidInput(message, "4 or 6")
        found.append(4 if number == 4 else 6)
    return tuple(found)


class Around(TypedDict, total=False):
    """Where a pod runs, as far as the selectors of pools look at it.

    The names of its namespace and node are also recorded as the labels ``namespace`` and ``node``
    of its lease, unless it has such labels. ``network`` is its interface's, as Multus names it:
    ``name`` or ``namespace/name``.
    """

    namespace: str | None
    namespace_labels: Mapping[str, str] | None
    node: str | None
    node_labels: Mapping[str, str] | None
    network: str | None


_AROUND: Final = frozenset(Around.__annotations__)
_ANYWHERE: Final = Requester()
_ARGUMENTS: Final = (
    "addresses", "cluster", "count", "effective_at_ms", "families", "interface", "labels",
    "prefix_length", "ttl_s", "uid", "command_id", "timeout_s", *sorted(_AROUND),
)  # fmt: skip


def read_whole(value: object, what: str) -> int:
    """A whole number, which true and false are not.

    Raises:
        InvalidInput: it is something else.
    """
    if type(value) is not int:
        raise InvalidInput(f"{what} {value!r} is not a whole number", "give an integer")
    return value


def read_requester(around: Around) -> Requester:
    """For whom an address is asked, as far as the selectors of pools look at it.

    Raises:
        InvalidInput: something is no printable text, or too much of it; or an argument is unknown.
    """
    if not around:
        return _ANYWHERE
    unknown = sorted(set(around) - _AROUND)
    if unknown:
        from difflib import get_close_matches

        near = get_close_matches(unknown[0], _ARGUMENTS, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}?" if near else "see help(ipledger.Ledger.allocate)"
        raise InvalidInput(f"there is no argument {unknown[0]!r}", hint)
    namespace, node, network = around.get("namespace"), around.get("node"), around.get("network")
    asked = Requester(
        None if namespace is None else check_text(namespace, "namespace"),
        _labels(around.get("namespace_labels"), "namespace label"),
        None if node is None else check_text(node, "node"),
        _labels(around.get("node_labels"), "node label"),
        None if network is None else check_text(network, "network"),
    )
    parts = ["name"] if asked.network is None else asked.network.split("/")
    if len(parts) > 2 or not all(parts):
        message = f"network {asked.network!r} is not NAME or NAMESPACE/NAME"
        raise InvalidInput(message, "as Multus names it")
    return asked


def _labels(labels: Mapping[str, str] | None, what: str) -> Labels:
    return check_labels(labels or {}, what, SELECTED_LABELS_MAX)


def lease_labels(labels: Mapping[str, str] | None, requester: Requester) -> Labels:
    """The labels of a lease: those that are given, and where it is used, so that history tells.

    Raises:
        InvalidInput: a label is no printable text, or there are too many.
    """
    if not labels and requester is _ANYWHERE:
        return ()
    marks = {"namespace": requester.namespace, "node": requester.node}
    known = {key: value for key, value in marks.items() if value is not None}
    return check_labels({**known, **(labels or {})})
