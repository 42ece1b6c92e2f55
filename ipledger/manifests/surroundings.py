"""The Namespaces and Nodes beside workloads: what pools select them by, and what they prefer."""

from __future__ import annotations

from typing import NamedTuple

from ipledger.manifests.annotations import Nic, read_namespace_annotations
from ipledger.manifests.fields import Fields
from ipledger.manifests.metadata import Metadata


class Namespace(NamedTuple):
    """A Namespace: its labels, and the pools of its Pods that do not ask for any themselves."""

    name: str
    labels: dict[str, str]
    pools: Nic | None


class Node(NamedTuple):
    """A Node and its labels."""

    name: str
    labels: dict[str, str]


def read_namespace(_document: Fields, metadata: Metadata, _warnings: list[str]) -> Namespace:
    """Read a Namespace.

    Raises:
        InvalidInput: naming the field.
    """
    pools = read_namespace_annotations(metadata.annotations)
    return Namespace(metadata.name, metadata.labels, pools)


def read_node(_document: Fields, metadata: Metadata, _warnings: list[str]) -> Node:
    """Read a Node."""
    return Node(metadata.name, metadata.labels)
