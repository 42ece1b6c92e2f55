"""Pods and what makes Pods say whose addresses are wanted, how many, and from which pools."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from engine.errors import InvalidInput
from ipledger.manifests import Parsed, Source, Workload, parse
from ipledger.manifests.annotations import Nic

ANNOTATION: Final = "ipam.spidernet.io/ippool"
TEMPLATE: Final = "spec.template.metadata.annotations"


def deployment(annotation: object, **spec: object) -> dict[str, Any]:
    """A Deployment called web whose Pods carry an annotation, given as text or as plain data."""
    text = annotation if isinstance(annotation, str) else json.dumps(annotation)
    pods = {"metadata": {"annotations": {ANNOTATION: text}}, "spec": {"containers": []}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": pods, **spec},
    }


def read(document: object) -> Parsed:
    """What a document means."""
    return parse([Source("web.yaml", json.dumps(document))])


def workload(document: object) -> Workload:
    """The workload that a document means."""
    parsed = read(document)
    assert not parsed.objects
    assert not parsed.warnings
    (found,) = parsed.workloads
    return found


def refusal(document: object) -> InvalidInput:
    """The error that a document is refused with."""
    with pytest.raises(InvalidInput) as caught:
        read(document)
    return caught.value


def test_a_deployment_is_read() -> None:
    """Replicas, pools in their order, and the labels of its Pods beside our own two."""
    document = deployment({"ipv4": ["a", "b"]}, replicas=3)
    document["metadata"]["namespace"] = "shop"
    document["metadata"]["labels"] = {"not": "of the Pods"}
    document["spec"]["template"]["metadata"]["labels"] = {"app": "web"}
    found = workload(document)
    labels = {"app": "web", "namespace": "shop", "workload": "deployment/web"}
    assert found == Workload(
        "Deployment", "shop", "web", 3, (Nic(None, (("a", "b"),), (4,)),), labels
    )
    assert found.owners() == ["shop/web-0", "shop/web-1", "shop/web-2"]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "ReplicaSet"])
def test_kinds_with_a_template_are_read_alike(kind: str) -> None:
    """Whatever makes Pods of one template is the same to us but for its name."""
    found = workload({**deployment({"ipv4": ["a"]}), "kind": kind})
    assert found.kind == kind
    assert found.labels["workload"] == f"{kind.lower()}/web"
    assert found.owners() == ["default/web-0"], "one replica unless told otherwise"


def test_a_pod_is_read() -> None:
    """A Pod asks by its own annotation, and is the owner itself."""
    metadata = {
        "name": "one", "namespace": "shop", "labels": {"app": "one"},
        "annotations": {ANNOTATION: '{"interface": "net1", "ipv6": ["six"]}'},
    }  # fmt: skip
    found = workload({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    labels = {"app": "one", "namespace": "shop", "workload": "pod/one"}
    assert found == Workload("Pod", "shop", "one", 1, (Nic("net1", (("six",),), (6,)),), labels)
    assert found.owners() == ["shop/one"]


def test_both_families_are_two_groups() -> None:
    """Each replica gets an address of each family; a family without pools is not asked for."""
    both = deployment({"ipv4": ["a", "b"], "ipv6": ["c"]})
    assert workload(both).nics == (Nic(None, (("a", "b"), ("c",)), (4, 6)),)
    six = workload(deployment({"ipv4": [], "ipv6": ["c"]}))
    assert six.nics == (Nic(None, (("c",),), (6,)),)
    four = workload(deployment({"ipv4": ["a"], "ipv6": None}))
    assert four.nics == (Nic(None, (("a",),), (4,)),)


def test_our_labels_win() -> None:
    """A Pod cannot hide from the deletion of its workload behind labels of the same names."""
    document = deployment({"ipv4": ["a"]})
    theirs = {"namespace": "mine", "workload": "none", "app": "web"}
    document["spec"]["template"]["metadata"]["labels"] = theirs
    ours = {"namespace": "default", "workload": "deployment/web", "app": "web"}
    assert workload(document).labels == ours


@pytest.mark.parametrize(("replicas", "owners"), [(0, 0), (None, 1), (10_000, 10_000)])
def test_replicas_are_counted(replicas: int | None, owners: int) -> None:
    """None at all is a number too, and the default is one."""
    assert len(workload(deployment({"ipv4": ["a"]}, replicas=replicas)).owners()) == owners


def test_the_longest_owner_fits() -> None:
    """Names as long as names may be still make an owner of at most 512 bytes."""
    document = deployment({"ipv4": ["a"]}, replicas=10_000)
    document["metadata"] = {"name": "n" * 253, "namespace": "s" * 253}
    assert max(len(owner) for owner in workload(document).owners()) == 512


@pytest.mark.parametrize("replicas", [-1, 10_001, "3", 1.5, True, [1]])
def test_absurd_replicas_are_refused(replicas: object) -> None:
    """A number that is none, or that no ledger wants to see, is refused by its field."""
    error = refusal(deployment({"ipv4": ["a"]}, replicas=replicas))
    assert error.message.startswith("web.yaml, document 1 (Deployment web): spec.replicas: ")


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ("", "it is not JSON"),
        ("a", "it is not JSON"),
        ('{"ipv4": ["a"]', "it is not JSON"),
        ('{"ipv4": ["a"], "ipv4": ["b"]}', "it is not JSON: a key is there twice"),
        ("[" * 60_000, "it is not JSON: it is nested too deep"),
        ('{"ipv4": ["a"], "x": ' + "9" * 5_000 + "}", "it is not JSON"),
        (" " * 65_537, "65537 characters are too many"),
        ("[]", "must be a mapping, not a list"),
        ("null", "must be a mapping, not nothing"),
        ({"ipv4": ["a"], "cleangateway": True}, "unknown field 'cleangateway'"),
        ({"ipv4": "a"}, "ipv4: must be a list, not 'a'"),
        ({"ipv4": [1]}, "ipv4[0]: must be text, not 1"),
        ({"ipv4": ["a/*"]}, "the pool 'a/*' is not a pattern of names"),
        ({"ipv4": ["[a"]}, "the pool '[a' is not a pattern of names"),
        ({"ipv4": [""]}, "the pool '' is not a name"),
        ({"ipv4": ["\ud800"]}, "the pool '\\ud800' is not a name"),
        ({"ipv4": ["a", "b", "a"]}, "the pool 'a' is named twice"),
        ({"ipv4": ["a"], "ipv6": ["a"]}, "the pool 'a' is named twice"),
        ({"ipv4": ["a"], "interface": 0}, "interface: must be text, not 0"),
        ({"ipv4": ["a"], "interface": "e th"}, "interface 'e th' has white space in it"),
        ({}, "it names no pool"),
        ({"interface": "eth0"}, "it names no pool"),
        ({"ipv4": [], "ipv6": []}, "it names no pool"),
    ],
)
def test_an_annotation_that_says_nothing_clear_is_refused(annotation: object, message: str) -> None:
    """What the annotation gets wrong is named behind its full name, with a hint."""
    error = refusal(deployment(annotation))
    prefix = f"web.yaml, document 1 (Deployment web): {TEMPLATE}.{ANNOTATION}: "
    assert error.message.startswith(f"{prefix}{message}")
    assert len(error.message) < 300
    assert error.hint


@pytest.mark.parametrize("holder", ["annotations", "metadata", "template", "spec"])
def test_a_missing_annotation_says_nothing(holder: str) -> None:
    """Without the annotation something else says which pools: its Namespace, or a default."""
    document = deployment({"ipv4": ["a"]})
    template = document["spec"]["template"]
    parents = {
        "annotations": template["metadata"], "metadata": template, "template": document["spec"],
        "spec": document,
    }  # fmt: skip
    del parents[holder][holder]
    assert workload(document).nics == ()


def test_an_annotation_that_is_no_text_is_refused() -> None:
    """The annotation is JSON inside a text: written as YAML it is no annotation to Kubernetes."""
    document = deployment("")
    document["spec"]["template"]["metadata"]["annotations"][ANNOTATION] = {"ipv4": ["a"]}
    assert f"{TEMPLATE}.{ANNOTATION}: must be text, not a mapping" in refusal(document).message


@pytest.mark.parametrize("name", ["subnet", "subnets"])
def test_stronger_annotations_are_refused(name: str) -> None:
    """What Spiderpool would follow instead of ours is not passed over in silence."""
    document = deployment({"ipv4": ["a"]})
    document["spec"]["template"]["metadata"]["annotations"][f"ipam.spidernet.io/{name}"] = "[]"
    error = refusal(document)
    why = f"{TEMPLATE}: ipam.spidernet.io/{name} is not read by this release"
    assert error.message.endswith(why)
    assert error.hint == f"use one {ANNOTATION} instead"


def test_the_kinds_and_namespaces_of_others_are_refused() -> None:
    """An old apiVersion and a namespace that could not be one are named."""
    old = {**deployment({"ipv4": ["a"]}), "apiVersion": "extensions/v1beta1"}
    assert "apiVersion 'extensions/v1beta1' is not supported" in refusal(old).message
    odd = deployment({"ipv4": ["a"]})
    odd["metadata"]["namespace"] = "a/b"
    assert "metadata.namespace 'a/b' is not a name" in refusal(odd).message


def test_too_many_labels_are_refused() -> None:
    """A lease has room for 64 labels, ours among them."""
    document = deployment({"ipv4": ["a"]})
    document["spec"]["template"]["metadata"]["labels"] = {f"l{i}": "x" for i in range(62)}
    assert len(workload(document).labels) == 64
    document["spec"]["template"]["metadata"]["labels"]["one-more"] = "x"
    assert "65 labels are too many" in refusal(document).message


def test_a_workload_being_deleted_is_told() -> None:
    """It is read all the same: the caller may be about to release its leases."""
    document = deployment({"ipv4": ["a"]})
    document["metadata"]["deletionTimestamp"] = "2026-07-08T09:10:12Z"
    parsed = read(document)
    assert len(parsed.workloads) == 1
    assert "metadata.deletionTimestamp" in parsed.warnings[0]
