"""Whether a pool is for who asks: every selector, matched and not; what is not said matches none.

Label selectors are held against a second evaluator that is written as Kubernetes documents them.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.affinity import Mismatch, mismatch, not_for, rank
from engine.commands import Allocate, Requester
from engine.facts import Pool
from engine.model import Expression, Selector, Selectors
from engine.names import Labels
from tests.builders import make_pool

WEB = Selector((("app", "web"),))
ZONE_A = Selector((("zone", "a"),))


def request(labels: Labels = (), **around: object) -> Allocate:
    """An owner who says this much about where it runs."""
    requester = Requester(**around)  # type: ignore[arg-type]
    return Allocate((("pool",),), "pod-1", labels=labels, requester=requester)


# Selectors, a request that matches them, one that does not, and one that does not say.
KINDS = {
    "podAffinity": (
        Selectors(pod_affinity=WEB),
        request((("app", "web"), ("x", "y"))),
        request((("app", "db"),)),
        request(),
    ),
    "nodeName": (
        Selectors(node_names=("n1", "n2")),
        request(node="n2"),
        request(node="n3"),
        request(node_labels=(("zone", "a"),)),
    ),
    "nodeAffinity": (
        Selectors(node_affinity=ZONE_A),
        request(node_labels=(("zone", "a"),)),
        request(node_labels=(("zone", "b"),)),
        request(node="n1"),
    ),
    "namespaceName": (
        Selectors(namespace_names=("shop",)),
        request(namespace="shop"),
        request(namespace="bank"),
        request(),
    ),
    "namespaceAffinity": (
        Selectors(namespace_affinity=ZONE_A),
        request(namespace_labels=(("zone", "a"),)),
        request(namespace_labels=(("zone", "b"),)),
        request(namespace="shop"),
    ),
    "multusName": (
        Selectors(multus_names=("kube-system/macvlan", "bridge")),
        request(network="kube-system/macvlan"),
        request(network="kube-system/ipvlan"),
        request(network="macvlan"),
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_selector_opens_to_whom_it_matches(name: str) -> None:
    """Who matches is let in; who does not, and who does not say, is told by which selector."""
    selectors, fits, other, silent = KINDS[name]
    assert mismatch(selectors, fits) is None
    refused = mismatch(selectors, other)
    assert refused is not None
    assert (refused.selector, refused.unsaid) == (name, None)
    unsaid = mismatch(selectors, silent)
    assert unsaid is not None
    assert unsaid.selector == name
    assert "the request does not say" in unsaid.why
    assert unsaid.unsaid is not None
    assert unsaid.unsaid.startswith("--")


@pytest.mark.parametrize(
    ("changed", "selector"),
    [
        ({}, None),
        ({"node": "n3"}, "nodeName"),
        ({"namespace_labels": (("zone", "b"),)}, "namespaceAffinity"),
        ({"network": None}, "multusName"),
    ],
)
def test_all_selectors_of_a_pool_must_match(changed: dict[str, Any], selector: str | None) -> None:
    """One that does not is enough, whichever it is."""
    of_all = Selectors(
        pod_affinity=WEB, node_names=("n1",), namespace_affinity=ZONE_A, multus_names=("m",)
    )
    fits = Requester("shop", (("zone", "a"),), "n1", (), "m")._replace(**changed)
    found = mismatch(of_all, Allocate((), "o", labels=(("app", "web"),), requester=fits))
    assert (found and found.selector) == selector
    found = mismatch(of_all, Allocate((), "o", labels=(("app", "db"),), requester=fits))
    assert found is not None
    assert found.selector == "podAffinity", "the first that does not match is told"


def test_a_name_goes_before_the_labels_of_the_same_thing() -> None:
    """With nodeName, nodeAffinity is not looked at; namespaces alike."""
    node = Selectors(node_names=("n1",), node_affinity=ZONE_A)
    assert mismatch(node, request(node="n1", node_labels=(("zone", "b"),))) is None
    assert mismatch(node, request(node="n2", node_labels=(("zone", "a"),))) is not None
    space = Selectors(namespace_names=("shop",), namespace_affinity=ZONE_A)
    assert mismatch(space, request(namespace="shop", namespace_labels=(("zone", "b"),))) is None
    assert mismatch(space, request(namespace="bank", namespace_labels=(("zone", "a"),))) is not None


@pytest.mark.parametrize(
    ("expression", "labels", "why"),
    [
        (Expression("k", "In", ("a", "b")), "c", "label k=c of the pod is not one of a, b"),
        (Expression("k", "In", ("a",)), None, "the pod has no label k"),
        (Expression("k", "NotIn", ("a", "b")), "b", "label k=b of the pod is one of a, b"),
        (Expression("k", "Exists", ()), None, "the pod has no label k"),
        (Expression("k", "DoesNotExist", ()), "a", "label k=a of the pod is there"),
        (Expression("k", "In", ("a", "b")), "b", None),
        (Expression("k", "In", ("",)), "", None),
        (Expression("k", "NotIn", ("a",)), "c", None),
        (Expression("k", "NotIn", ("a",)), None, None),
        (Expression("k", "Exists", ()), "", None),
        (Expression("k", "DoesNotExist", ()), None, None),
    ],
    ids=str,
)
def test_operators_are_those_of_kubernetes(
    expression: Expression, labels: str | None, why: str | None
) -> None:
    """NotIn and DoesNotExist match where the key is missing; an empty value is a value."""
    pod: Labels = (("other", "x"),) if labels is None else (("k", labels), ("other", "x"))
    found = mismatch(Selectors(pod_affinity=Selector((), (expression,))), request(pod))
    assert found == (None if why is None else Mismatch("podAffinity", why))


@pytest.mark.parametrize("operator", ["NotIn", "DoesNotExist"])
def test_silence_is_no_absence(operator: str) -> None:
    """Who gives no labels at all, or only says where it runs, may have the label after all."""
    values = ("a",) if operator == "NotIn" else ()
    selectors = Selectors(pod_affinity=Selector((), (Expression("k", operator, values),)))
    for labels in ((), (("namespace", "shop"), ("node", "n1"))):
        found = mismatch(selectors, request(labels, namespace="shop", node="n1"))
        assert found is not None
        assert found.unsaid == "--label KEY=VALUE"
    assert mismatch(selectors, request((("app", "web"),))) is None


def test_a_namespace_has_its_name_as_a_label() -> None:
    """As Kubernetes puts it on every namespace; what is given goes before it."""
    by_name = Selectors(namespace_affinity=Selector((("kubernetes.io/metadata.name", "shop"),)))
    assert mismatch(by_name, request(namespace="shop")) is None
    assert mismatch(by_name, request(namespace="bank")) is not None
    assert mismatch(by_name, request()) is not None


@pytest.mark.parametrize(
    ("entry", "asked", "fits"),
    [
        ("macvlan", "macvlan", True), ("macvlan", "any/macvlan", True),
        ("ns/macvlan", "ns/macvlan", True), ("ns/macvlan", "macvlan", False),
        ("ns/macvlan", "other/macvlan", False), ("macvlan", "macvlan2", False),
        ("ns/macvlan", "ns", False), ("macvlan", "macvlan/other", False),
    ],
)  # fmt: skip
def test_a_network_with_a_namespace_is_just_that_one(entry: str, asked: str, fits: bool) -> None:
    """A name alone is that network in any namespace."""
    found = mismatch(Selectors(multus_names=(entry,)), request(network=asked))
    assert (found is None) == fits


def test_the_refusal_names_the_pool_and_what_to_say() -> None:
    """Long lists are cut short."""
    names = tuple(f"n{number}" for number in range(10))
    spec = make_pool("web", selectors=Selectors(node_names=names)).spec
    pool = Pool(2, "web", spec, spec.effective())
    silent = not_for(pool, request())
    assert silent is not None
    assert silent.kind == "forbidden"
    assert silent.message == (
        "pool web is not for this request: nodeName: it is for n0, n1, n2, n3, n4, n5, n6, n7 and "
        "2 more, and the request does not say its node"
    )
    assert silent.hint == "say it with --node"
    other = not_for(pool, request(node="n10"))
    assert other is not None
    assert other.hint == "use another pool"
    assert not_for(pool, request(node="n9")) is None


def test_pools_are_ranked_key_by_key() -> None:
    """From podAffinity to none; a later key counts only where the earlier ones are equal."""
    order = [
        Selectors(pod_affinity=WEB, node_names=("n",)),
        Selectors(pod_affinity=WEB, node_affinity=ZONE_A, multus_names=("m",)),
        Selectors(pod_affinity=WEB),
        Selectors(node_names=("n",), namespace_names=("s",)),
        Selectors(node_names=("n",)),
        Selectors(node_affinity=ZONE_A),
        Selectors(namespace_names=("s",)),
        Selectors(namespace_affinity=ZONE_A, multus_names=("m",)),
        Selectors(namespace_affinity=ZONE_A),
        Selectors(multus_names=("m",)),
        Selectors(),
    ]
    for seed in range(20):
        mixed = Random(seed).sample(order, len(order))  # noqa: S311 - the same on every run
        assert sorted(mixed, key=rank) == order, seed


# ------------------------------------------------------------------- against a naive evaluator

_KEYS = st.sampled_from(["a", "b", "c"])
_VALUES = st.sampled_from(["", "x", "y"])
_EXPRESSIONS = st.one_of(
    st.builds(
        Expression, _KEYS, st.sampled_from(["In", "NotIn"]),
        st.lists(_VALUES, min_size=1, max_size=2).map(tuple),
    ),
    st.builds(Expression, _KEYS, st.sampled_from(["Exists", "DoesNotExist"]), st.just(())),
)  # fmt: skip
_SELECTORS = st.builds(
    Selector,
    st.dictionaries(_KEYS, _VALUES, max_size=2).map(lambda found: tuple(sorted(found.items()))),
    st.lists(_EXPRESSIONS, max_size=3).map(tuple),
)


def naive_match(selector: Selector, labels: dict[str, str]) -> bool:
    """A label selector as Kubernetes documents it, a sentence a line."""
    for key, value in selector.match_labels:
        if key not in labels or labels[key] != value:
            return False
    for key, operator, values in selector.match_expressions:
        holds = {
            "In": key in labels and labels[key] in values,
            "NotIn": key not in labels or labels[key] not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not holds[operator]:
            return False
    return True


@given(_SELECTORS, st.dictionaries(_KEYS, _VALUES, max_size=3))
@example(Selector((), (Expression("a", "NotIn", ("x",)),)), {})
def test_label_selectors_match_as_in_kubernetes(selector: Selector, labels: dict[str, str]) -> None:
    """Of pods, nodes and namespaces alike, once anything is known of their labels."""
    pairs = tuple(sorted({**labels, "known": ""}.items()))
    asked = request(pairs, node_labels=pairs, namespace_labels=pairs)
    for field in ("pod_affinity", "node_affinity", "namespace_affinity"):
        fields: dict[str, Selector] = {field: selector}
        found = mismatch(Selectors(**fields), asked)  # type: ignore[arg-type]
        assert (found is None) == naive_match(selector, labels), found
