"""The metadata every Kubernetes object carries; changes with what of it means something to us."""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.names import LABELS_MAX, check_name
from ipledger.manifests.fields import Fields

# All fields of Kubernetes' ObjectMeta. What is not read below belongs to the API server, and is
# let through as ``kubectl get -o yaml`` prints it; anything else is somebody's slip of the pen.
_KNOWN: Final = (
    "name", "namespace", "labels", "annotations", "generateName", "uid", "resourceVersion",
    "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "finalizers", "ownerReferences", "managedFields", "selfLink", "clusterName",
)  # fmt: skip


class Metadata(NamedTuple):
    """What of an object's metadata means something to us."""

    name: str
    namespace: str | None
    labels: dict[str, str]
    annotations: Fields
    being_deleted: bool
    uid: str | None = None


def read_name(document: Fields) -> str:
    """Return the name of an object, which is wanted before anything else for the messages.

    Raises:
        InvalidInput: It is missing or is not a name.
    """
    metadata = document.child("metadata") or Fields({}, "metadata")
    name = metadata.required_text("name", "write the object's name below metadata:")
    return check_name(name, "metadata.name")


def read_metadata(document: Fields, labels_max: int = LABELS_MAX) -> Metadata:
    """Return the metadata of an object, with so many labels at most.

    Raises:
        InvalidInput: naming the field.
    """
    name = read_name(document)
    fields = Fields(document.values["metadata"], "metadata", _KNOWN)
    return Metadata(
        name=name,
        namespace=fields.text("namespace"),
        labels=dict(fields.labels("labels", labels_max)),
        annotations=read_annotations(fields),
        being_deleted=fields.has("deletionTimestamp"),
        uid=fields.text("uid"),
    )


def read_annotations(metadata: Fields) -> Fields:
    """Return the annotations, which belong to whoever wrote them; none if there are none.

    Raises:
        InvalidInput: They are no mapping.
    """
    return metadata.child("annotations") or Fields({}, f"{metadata.path}.annotations")
