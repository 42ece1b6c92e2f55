"""The manifests of Pods and what makes Pods; changes with how a workload asks for addresses."""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.errors import InvalidInput
from engine.names import check_labels, check_name, check_text
from ipledger.manifests.annotations import Nic, read_networks, read_pod_annotations
from ipledger.manifests.fields import Fields
from ipledger.manifests.metadata import Metadata

REPLICAS_MAX: Final = 10_000


class Workload(NamedTuple):
    """Who asks for addresses, how many, and from which pools.

    A replica gets what each of ``nics`` asks for, or nothing. No item: it does not say itself from
    which pools. ``node`` is where it runs, if that is known already; ``networks`` are those of
    its interfaces by their names. ``uid`` is a Pod's own, once it has one: of what makes Pods, it
    would tell nothing of theirs.
    """

    kind: str
    namespace: str
    name: str
    replicas: int
    nics: tuple[Nic, ...]
    labels: dict[str, str]
    node: str | None = None
    networks: tuple[tuple[str, str], ...] = ()
    uid: str | None = None

    @property
    def full_name(self) -> str:
        """The namespace and the name, as people write them."""
        return f"{self.namespace}/{self.name}"

    def name_in(self, cluster: str | None) -> str:
        """The full name with the cluster's before it, as `ipledger import` names Pods."""
        return self.full_name if cluster is None else f"{cluster}/{self.full_name}"

    def owners(self, cluster: str | None = None) -> list[str]:
        """Who will hold the addresses: the Pod, or each replica by its number."""
        name = self.name_in(cluster)
        if self.kind == "Pod":
            return [name]
        return [f"{name}-{number}" for number in range(self.replicas)]


def read_pod(document: Fields, metadata: Metadata, _warnings: list[str]) -> Workload:
    """Read a Pod.

    Raises:
        InvalidInput: naming the field.
    """
    spec = document.child("spec") or Fields({}, "spec")
    return _workload("Pod", metadata, 1, metadata.labels, metadata.annotations, spec)


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
    pod = template.child("spec") or Fields({}, template.at("spec"))
    return _workload(document.values["kind"], metadata, replicas, labels, annotations, pod)


def _workload(
    kind: str, metadata: Metadata, replicas: int, labels: dict[str, str],
    annotations: Fields, pod: Fields,
) -> Workload:  # fmt: skip
    nics = read_pod_annotations(annotations)
    namespace = check_name(metadata.namespace or "default", "metadata.namespace")
    # Ours win over labels of the same name: deletion finds a workload's leases by them.
    marks = {"namespace": namespace, "workload": f"{kind.lower()}/{metadata.name}"}
    labels = dict(check_labels(labels | marks))
    node = pod.text("nodeName")
    checked = check_name(node, pod.at("nodeName")) if node else None
    networks = read_networks(annotations, namespace)
    uid = check_text(metadata.uid, "metadata.uid") if kind == "Pod" and metadata.uid else None
    return Workload(
        kind, namespace, metadata.name, replicas, nics, labels, checked, networks, uid
    )  # fmt: skip
