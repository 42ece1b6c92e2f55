"""The manifests of Pods and what makes Pods; changes with how a workload asks for addresses."""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.errors import InvalidInput
from engine.model import DEFAULT_INTERFACE
from engine.names import check_interface, check_labels, check_name
from ipledger.manifests.fields import Fields, inside
from ipledger.manifests.json_text import read_json
from ipledger.manifests.metadata import Metadata

REPLICAS_MAX: Final = 10_000

ANNOTATION: Final = "ipam.spidernet.io/ippool"
# To Spiderpool each of these goes before ours: passing over it would draw from the wrong pools.
_STRONGER: Final = (
    "ipam.spidernet.io/ippools", "ipam.spidernet.io/subnet", "ipam.spidernet.io/subnets",
)  # fmt: skip
_HINT: Final = f"""write {ANNOTATION}: '{{"ipv4": ["POOL"]}}', or ipv6, or both"""
# Kubernetes itself takes no more than four times this for all annotations of an object.
_ANNOTATION_LENGTH_MAX: Final = 65_536


class Workload(NamedTuple):
    """Who asks for addresses, how many, and from which pools.

    Each of ``groups`` lists pools in order of preference; a replica gets one address from each
    group, all of them or none.
    """

    kind: str
    namespace: str
    name: str
    replicas: int
    groups: tuple[tuple[str, ...], ...]
    interface: str
    labels: dict[str, str]

    def owners(self) -> list[str]:
        """Who will hold the addresses: the Pod, or each replica by its number."""
        full_name = f"{self.namespace}/{self.name}"
        if self.kind == "Pod":
            return [full_name]
        return [f"{full_name}-{number}" for number in range(self.replicas)]


def read_pod(document: Fields, metadata: Metadata, _warnings: list[str]) -> Workload:
    """Read a Pod.

    Raises:
        InvalidInput: naming the field.
    """
    del document  # what a Pod runs is not our business
    return _workload("Pod", metadata, 1, metadata.labels, metadata.annotations)


def read_deployment(document: Fields, metadata: Metadata, _warnings: list[str]) -> Workload:
    """Read a Deployment, or any other kind that says ``replicas`` and has a Pod template.

    Raises:
        InvalidInput: naming the field.
    """
    spec = document.child("spec") or Fields({}, "spec")
    replicas = spec.integer("replicas")
    if replicas is None:
        replicas = 1
    if not 0 <= replicas <= REPLICAS_MAX:
        raise InvalidInput(f"{spec.at('replicas')}: it is not from 0 to {REPLICAS_MAX}")
    template = spec.child("template") or Fields({}, "spec.template")
    of_pods = template.child("metadata") or Fields({}, "spec.template.metadata")
    annotations = of_pods.child("annotations") or Fields({}, of_pods.at("annotations"))
    labels = dict(of_pods.labels("labels"))
    return _workload(document.values["kind"], metadata, replicas, labels, annotations)


def _workload(
    kind: str, metadata: Metadata, replicas: int, labels: dict[str, str], annotations: Fields
) -> Workload:
    groups, interface = _read_annotation(annotations)
    namespace = check_name(metadata.namespace or "default", "metadata.namespace")
    # Ours win over labels of the same name: deletion finds a workload's leases by them.
    marks = {"namespace": namespace, "workload": f"{kind.lower()}/{metadata.name}"}
    labels = dict(check_labels(labels | marks))
    return Workload(kind, namespace, metadata.name, replicas, groups, interface, labels)


def _read_annotation(annotations: Fields) -> tuple[tuple[tuple[str, ...], ...], str]:
    """Return the groups of pools and the interface that the Pods ask for."""
    for name in _STRONGER:
        if annotations.has(name):
            why = f"{annotations.path}: {name} is not read by this release"
            raise InvalidInput(why, f"use one {ANNOTATION} instead")
    text = annotations.text(ANNOTATION)
    if text is None:
        raise InvalidInput(f"{annotations.path}: {ANNOTATION} is missing", _HINT)
    with inside(f"{annotations.at(ANNOTATION)}: "):
        if len(text) > _ANNOTATION_LENGTH_MAX:
            raise InvalidInput(f"{len(text)} characters are too many", _HINT)
        try:
            asked = Fields(read_json(text), "", ("interface", "ipv4", "ipv6"))
        except ValueError as error:
            raise InvalidInput(f"it is not JSON: {error}", _HINT) from None
        return _read_groups(asked), check_interface(asked.text("interface") or DEFAULT_INTERFACE)


def _read_groups(asked: Fields) -> tuple[tuple[str, ...], ...]:
    families = [asked.texts("ipv4"), asked.texts("ipv6")]
    groups = tuple(
        tuple(check_name(pool, "the pool") for pool in pools) for pools in families if pools
    )
    pools = [pool for group in groups for pool in group]
    if not pools:
        raise InvalidInput("it names no pool", _HINT)
    for index, pool in enumerate(pools):
        if pool in pools[:index]:
            raise InvalidInput(f"the pool {pool!r} is named twice", "name each pool once")
    return groups
