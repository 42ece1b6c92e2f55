"""What the workloads of manifests ask for, as operations: one for each replica."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypedDict, Unpack

from engine.commands import Allocate, AllocateTogether
from engine.facts import Lease
from engine.model import DEFAULT_INTERFACE
from ipledger import operations
from ipledger.manifests import Parsed, Workload
from ipledger.manifests.annotations import Nic
from ipledger.manifests.choosing import Given, Surrounding, choose_pools, surrounding
from ipledger.operation import Allocated, Operation

# The labels by which `delete -f` finds the leases of a workload again.
MARKS: Final = ("namespace", "workload")


class Wish(NamedTuple):
    """A replica, and what is asked for it."""

    owner: str
    operation: Operation[Allocated]


class Terms(TypedDict, total=False):
    """What holds for the leases of all replicas; see `ipledger.operations.allocate`."""

    ttl_s: int | None
    labels: Mapping[str, str] | None
    cluster: str | None
    effective_at_ms: int | None
    command_id: str | None
    reason: str | None


def make_wishes(parsed: Parsed, given: Given, **terms: Unpack[Terms]) -> list[Wish]:
    """What is asked for each replica of the workloads, each on its own.

    Raises:
        InvalidInput: what manifests and command line say together makes no sense.
    """
    wishes: list[Wish] = []
    for workload in parsed.workloads:
        nics = [
            (nic, surrounding(workload, nic.interface, parsed, given))
            for nic in choose_pools(workload, parsed, given)
        ]
        owners = workload.owners(terms.get("cluster"))
        wishes += [Wish(owner, _wish(workload, owner, nics, terms)) for owner in owners]
    return wishes


def _wish(
    workload: Workload, owner: str, nics: list[tuple[Nic, Surrounding]], terms: Terms
) -> Operation[Allocated]:
    """All interfaces of a replica in one commit, so that none is given an address for nothing."""
    marks = {name: workload.labels[name] for name in MARKS}  # and no label of the terms
    labels = {**workload.labels, **(terms.get("labels") or {}), **marks}
    command_id = terms.get("command_id")
    # A command id names one command: each replica's is made from it.
    step = None if command_id is None else f"{command_id}/{owner}"
    mine: Terms = {**terms, "labels": labels, "command_id": step}
    first, *others = (
        operations.allocate(
            nic.groups, owner, interface=nic.interface or DEFAULT_INTERFACE,
            families=nic.families, uid=workload.uid, **mine, **around._asdict(),
        )
        for nic, around in nics
    )  # fmt: skip
    return operations.together(first, *others)


def as_held(
    wish: Wish, leases_of: Callable[[str, str], Sequence[Lease]], said: Mapping[str, str]
) -> Wish:
    """The same wish, with the labels of the leases that this very Pod holds already.

    An imported lease knows less of its Pod than the manifest does. The uid tells that both are of
    one Pod, so that is no other wish; it is one if any label of both differs, or if the lease has
    not got those that the user `said`.
    """
    command = wish.operation.command
    if isinstance(command, AllocateTogether):
        requests = tuple(_labelled_as_held(one, leases_of, said) for one in command.requests)
        return wish._replace(operation=wish.operation._replace(command=AllocateTogether(requests)))
    if isinstance(command, Allocate):
        one = _labelled_as_held(command, leases_of, said)
        return wish._replace(operation=wish.operation._replace(command=one))
    return wish


def _labelled_as_held(
    request: Allocate, leases_of: Callable[[str, str], Sequence[Lease]], said: Mapping[str, str]
) -> Allocate:
    held = leases_of(request.owner, request.interface)
    known = {(lease.uid, lease.labels) for lease in held}
    if request.uid is None or len(known) != 1 or held[0].uid != request.uid:
        return request
    labels, wanted = dict(held[0].labels), dict(request.labels)
    agree = all(wanted.get(key, value) == value for key, value in labels.items())
    if not agree or not said.keys() <= labels.keys():
        return request
    return request._replace(labels=held[0].labels)
