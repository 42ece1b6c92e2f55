"""Whether a pool is for whoever asks: label selectors as in Kubernetes, and lists of names.

A name goes before the labels of the same thing: with nodeName, nodeAffinity is not looked at. What
a request does not say matches no selector: a pool is never opened by silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from engine.commands import Allocate, Requester
from engine.errors import Refusal
from engine.facts import Pool
from engine.model import Expression, Selector, Selectors
from engine.names import Labels

# Labels of a lease that tell where it is used, and nothing else about the pod.
MARKS: Final = ("namespace", "node")
# Kubernetes itself puts this label on every namespace.
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"

ANYBODY: Final = Selectors()  # nothing is asked of who draws from the pool
_LISTED_MAX: Final = 8


class Mismatch(NamedTuple):
    """The first selector that does not match, why not, and the option that would say more."""

    selector: str
    why: str
    unsaid: str | None = None


class _Known(NamedTuple):
    """Labels of something; if nothing was said of them, that one is missing is not known."""

    whose: str
    option: str
    labels: dict[str, str]
    are_said: bool


def mismatch(selectors: Selectors, command: Allocate) -> Mismatch | None:
    """Why a pool with these selectors is not for this request; None if it is."""
    requester = command.requester
    return (
        _other_pod(selectors.pod_affinity, command.labels)
        or _other_node(selectors, requester)
        or _other_namespace(selectors, requester)
        or _other_network(selectors.multus_names, requester.network)
    )


def not_for(pool: Pool, command: Allocate) -> Refusal | None:
    """The refusal of a pool whose selectors do not match; None if they do."""
    found = mismatch(pool.spec.selectors, command)
    if found is None:
        return None
    message = f"pool {pool.name} is not for this request: {found.selector}: {found.why}"
    hint = f"say it with {found.unsaid}" if found.unsaid else "use another pool"
    return Refusal("forbidden", message, hint, "pool")


def rank(selectors: Selectors) -> tuple[bool, ...]:
    """What puts pools in order: the more precisely a pool says whom it is for, the earlier.

    Compared from podAffinity over nodeName, nodeAffinity, namespaceName and namespaceAffinity to
    multusName; False sorts first.
    """
    return (
        selectors.pod_affinity is None,
        not selectors.node_names,
        selectors.node_affinity is None,
        not selectors.namespace_names,
        selectors.namespace_affinity is None,
        not selectors.multus_names,
    )


def _other_pod(affinity: Selector | None, labels: Labels) -> Mismatch | None:
    if affinity is None:
        return None
    said = any(key not in MARKS for key, _ in labels)
    return _unmet("podAffinity", affinity, _Known("pod", "--label", dict(labels), said))


def _other_node(selectors: Selectors, requester: Requester) -> Mismatch | None:
    if selectors.node_names:
        return _not_named("nodeName", "node", selectors.node_names, requester.node)
    if selectors.node_affinity is None:
        return None
    labels = dict(requester.node_labels)
    known = _Known("node", "--node-label", labels, bool(labels))
    return _unmet("nodeAffinity", selectors.node_affinity, known)


def _other_namespace(selectors: Selectors, requester: Requester) -> Mismatch | None:
    name = requester.namespace
    if selectors.namespace_names:
        return _not_named("namespaceName", "namespace", selectors.namespace_names, name)
    if selectors.namespace_affinity is None:
        return None
    labels = dict(requester.namespace_labels)
    said = bool(labels)
    if name is not None:
        labels.setdefault(NAMESPACE_NAME, name)
    known = _Known("namespace", "--namespace-label", labels, said)
    return _unmet("namespaceAffinity", selectors.namespace_affinity, known)


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - _LISTED_MAX} more" if len(words) > _LISTED_MAX else ""
    return f"{', '.join(words[:_LISTED_MAX])}{more}"


def _not_named(
    selector: str, what: str, names: tuple[str, ...], asked: str | None
) -> Mismatch | None:
    if asked is None:
        why = f"it is for {_listed(names)}, and the request does not say its {what}"
        return Mismatch(selector, why, f"--{what}")
    if asked in names:
        return None
    return Mismatch(selector, f"{what} {asked} is not one of {_listed(names)}")


def _other_network(names: tuple[str, ...], asked: str | None) -> Mismatch | None:
    """A name without a namespace is that network in any; one with it is just that one."""
    if asked is None:
        return _not_named("multusName", "network", names, None) if names else None
    namespace, _, short = asked.rpartition("/")
    if not names or asked in names or short in names:
        return None
    if not namespace and any(name.rpartition("/")[2] == short for name in names):
        why = f"it is for {_listed(names)}, and the request does not say the namespace of {asked}"
        return Mismatch("multusName", why, "--network NAMESPACE/NAME")
    return _not_named("multusName", "network", names, asked)


def _unmet(name: str, selector: Selector, known: _Known) -> Mismatch | None:
    """The first requirement of a label selector that is not met."""
    required = [Expression(key, "In", (value,)) for key, value in selector.match_labels]
    for expression in (*required, *selector.match_expressions):
        key, operator, values = expression
        value = known.labels.get(key)
        if value is None:
            if not known.are_said:
                why = f"it depends on label {key}, and the request does not say the {known.whose}'s"
                return Mismatch(name, why, f"{known.option} KEY=VALUE")
            if operator in {"In", "Exists"}:
                return Mismatch(name, f"the {known.whose} has no label {key}")
        elif not _holds(operator, value, values):
            wanted = f" is {'not ' * (operator == 'In')}one of {_listed(values)}" if values else ""
            why = f"label {key}={value} of the {known.whose}{wanted or ' is there'}"
            return Mismatch(name, why)
    return None


def _holds(operator: str, value: str, values: tuple[str, ...]) -> bool:
    """Whether an operator is satisfied by the value of a label that is there."""
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    assert operator in {"Exists", "DoesNotExist"}, "there are no others (V18)"
    return operator == "Exists"
