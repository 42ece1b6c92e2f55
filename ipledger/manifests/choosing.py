"""From which pools a workload draws, and for whom: the first of these rules that says anything.

The Pod's own annotation; the annotations of its Namespace; the pools that the command line names
for those that do not; the pools that are defaults. There is no falling through: when the pools of
the rule that matches are used up, those of the next are not tried.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.addresses import Family
from engine.errors import InvalidInput
from engine.model import DEFAULT_INTERFACE
from ipledger.manifests.annotations import Nic
from ipledger.manifests.parsing import Parsed
from ipledger.manifests.workloads import Workload


class Given(NamedTuple):
    """What the command line says besides the manifests.

    ``interface`` is the one that is being added. ``pools`` are for workloads that do not say, in
    groups as `ipledger.asking.read_groups` makes them; ``families`` those of the default pools.
    """

    interface: str | None = None
    pools: tuple[tuple[str, ...], ...] = ()
    families: tuple[Family, ...] = ()
    namespace_labels: dict[str, str] | None = None
    node: str | None = None
    node_labels: dict[str, str] | None = None
    network: str | None = None


class Surrounding(NamedTuple):
    """Where a workload runs, as far as pools look at it."""

    namespace: str
    namespace_labels: dict[str, str]
    node: str | None
    node_labels: dict[str, str]
    network: str | None = None


def choose_pools(workload: Workload, parsed: Parsed, given: Given) -> tuple[Nic, ...]:
    """Return what each interface of a workload asks for; no group: the default pools.

    Raises:
        InvalidInput: the interface that is being added is not one of the workload's.
    """
    if workload.nics:
        return _named(workload, given.interface)
    namespace = parsed.namespaces.get(workload.namespace)
    interface = given.interface or DEFAULT_INTERFACE
    if namespace is not None and namespace.pools is not None:
        return (namespace.pools._replace(interface=interface),)
    if given.pools:
        return (Nic(interface, given.pools, ()),)
    return (Nic(interface, (), given.families),)


def _named(workload: Workload, adding: str | None) -> tuple[Nic, ...]:
    """The interfaces of the Pod's annotation, of which one is being added if it is said."""
    names = [nic.interface for nic in workload.nics]
    if names == [None]:
        return (workload.nics[0]._replace(interface=adding or DEFAULT_INTERFACE),)
    if adding is not None and adding not in names:
        what = f"{workload.kind} {workload.full_name}"
        listed = ", ".join(str(name) for name in names)
        message = f"{what}: interface {adding} must be specified: its annotation has {listed}"
        raise InvalidInput(message, "add it to the annotation, or leave --interface out")
    return workload.nics


def surrounding(
    workload: Workload, interface: str | None, parsed: Parsed, given: Given
) -> Surrounding:
    """Where an interface is: as the manifests say; what they do not, as the command line does.

    Raises:
        InvalidInput: they name two nodes.
    """
    if workload.node and given.node and workload.node != given.node:
        what = f"{workload.kind} {workload.full_name}"
        message = f"{what} is on node {workload.node}, but node {given.node} is asked for"
        raise InvalidInput(message, "leave --node out, or say the same")
    namespace = parsed.namespaces.get(workload.namespace)
    name = workload.node or given.node
    node = None if name is None else parsed.nodes.get(name)
    return Surrounding(
        workload.namespace,
        (given.namespace_labels or {}) if namespace is None else namespace.labels,
        name,
        (given.node_labels or {}) if node is None else node.labels,
        dict(workload.networks).get(interface or DEFAULT_INTERFACE, given.network),
    )
