"""The annotations by which Pods and Namespaces ask for pools; changes with what they may say."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, NamedTuple

from engine.addresses import Family
from engine.errors import InvalidInput
from engine.model import DEFAULT_INTERFACE
from engine.names import check_interface
from engine.patterns import check_pool, is_pattern
from ipledger.manifests.fields import Fields, inside, nearest, shown
from ipledger.manifests.json_text import read_json

PREFIX: Final = "ipam.spidernet.io/"
POOL: Final = f"{PREFIX}ippool"
POOLS: Final = f"{PREFIX}ippools"
# To Spiderpool each of these goes before ours: passing over it would draw from the wrong pools.
_STRONGER: Final = (f"{PREFIX}subnet", f"{PREFIX}subnets")
# What a Pod may also carry: it does not say which addresses are wanted.
_BESIDE: Final = tuple(
    PREFIX + name
    for name in ("routes", "dns", "default-route-nic", "ippool-ip-number", "ippool-reclaim",
                 "cdi-version", "network-status")
)  # fmt: skip
_OF_NAMESPACES: Final[dict[str, Family]] = {
    f"{PREFIX}default-ipv4-ippool": 4,
    f"{PREFIX}default-ipv6-ippool": 6,
}
_FAMILIES: Final[dict[str, Family]] = {"ipv4": 4, "ipv6": 6}
_HINT: Final = f"""write {POOL}: '{{"ipv4": ["POOL"]}}', or ipv6, or both"""
_HINT_LIST: Final = f"""write {POOLS}: '[{{"interface": "eth0", "ipv4": ["POOL"]}}]'"""
_HINT_NAMES: Final = """write '["POOL"]'"""
_DEFAULT_NETWORK: Final = "v1.multus-cni.io/default-network"
_NETWORKS: Final = "k8s.v1.cni.cncf.io/networks"
_NETWORK: Final = re.compile(r"(?:[a-z0-9.-]{1,253}/)?[a-z0-9.-]{1,253}", re.ASCII)
# Kubernetes itself takes no more than four times this for all annotations of an object.
_ANNOTATION_LENGTH_MAX: Final = 65_536


class Nic(NamedTuple):
    """What one interface asks for: an address from each group of pools, all or none.

    A group lists pools, or patterns of their names, in order of preference; ``families`` has the
    IP version of each group. No ``interface``: whichever is being added.
    """

    interface: str | None
    groups: tuple[tuple[str, ...], ...]
    families: tuple[Family, ...]


def read_pod_annotations(annotations: Fields) -> tuple[Nic, ...]:
    """Return what a Pod asks for, an item for each interface; none if it says nothing.

    Raises:
        InvalidInput: naming the annotation and the field.
    """
    _check_known(annotations, (POOL, POOLS, *_STRONGER, *_BESIDE))
    for name in _STRONGER:
        if annotations.has(name):
            why = f"{annotations.path}: {name} is not read by this release"
            raise InvalidInput(why, f"use one {POOL} instead")
    text = annotations.text(POOLS)
    if text is not None:
        with inside(f"{annotations.at(POOLS)}: "):
            return _read_list(_json(text, _HINT_LIST))
    text = annotations.text(POOL)
    if text is None:
        return ()
    with inside(f"{annotations.at(POOL)}: "):
        asked = Fields(_json(text, _HINT), "", ("interface", *_FAMILIES))
        return (_read_nic(asked),)


def read_namespace_annotations(annotations: Fields) -> Nic | None:
    """Return the pools that a Namespace has for its Pods; None if it names none.

    Raises:
        InvalidInput: naming the annotation and the item.
    """
    _check_known(annotations, tuple(_OF_NAMESPACES))
    groups: list[tuple[str, ...]] = []
    families: list[Family] = []
    for name, family in _OF_NAMESPACES.items():
        text = annotations.text(name)
        if text is None:
            continue
        with inside(f"{annotations.at(name)}: "):
            pools = _read_names(_json(text, _HINT_NAMES))
            _check_once([pool for group in (*groups, pools) for pool in group])
        if pools:
            groups.append(pools)
            families.append(family)
    return Nic(None, tuple(groups), tuple(families)) if groups else None


def _read_names(listed: object) -> tuple[str, ...]:
    if not isinstance(listed, list):
        raise InvalidInput(f"must be a list, not {shown(listed)}", _HINT_NAMES)
    names: list[str] = []
    for index, name in enumerate(listed):
        with inside(f"[{index}]: "):
            names.append(check_pool(name, "the pool"))
    return tuple(names)


def read_networks(annotations: Fields, namespace: str) -> tuple[tuple[str, str], ...]:
    """Return the network of each interface, as Multus is told: ``[NAMESPACE/]NAME[@INTERFACE],…``.

    The form in JSON is not read: those networks are not known.

    Raises:
        InvalidInput: an annotation is no text.
    """
    found: dict[str, str] = {}
    default = (annotations.text(_DEFAULT_NETWORK) or "").strip()
    if _NETWORK.fullmatch(default):
        found[DEFAULT_INTERFACE] = default
    listed = (annotations.text(_NETWORKS) or "").split(",")
    for number, item in enumerate(listed, 1):
        name, _, interface = item.strip().partition("@")
        if _NETWORK.fullmatch(name):
            found[interface or nth_interface(number)] = (
                name if "/" in name else f"{namespace}/{name}"
            )
    return tuple(found.items())


def _check_known(annotations: Fields, known: Collection[str]) -> None:
    """Refuse an annotation of Spiderpool's that means nothing here: it may be a slip of the pen."""
    for name in annotations.values:
        if str(name).startswith(PREFIX) and name not in known:
            why = f"{annotations.path}: unknown annotation {shown(name)}"
            raise InvalidInput(why, nearest(name, known))


def _json(text: str, hint: str) -> object:
    if len(text) > _ANNOTATION_LENGTH_MAX:
        raise InvalidInput(f"{len(text)} characters are too many", hint)
    try:
        return read_json(text)
    except ValueError as error:
        raise InvalidInput(f"it is not JSON: {error}", hint) from None


def _read_list(listed: object) -> tuple[Nic, ...]:
    """The items of a list: each names its interface, or none does and they go by their order."""
    if not isinstance(listed, list):
        raise InvalidInput(f"must be a list, not {shown(listed)}", _HINT_LIST)
    if not listed:
        raise InvalidInput("it has no item", _HINT_LIST)
    nics: list[Nic] = []
    for index, item in enumerate(listed):
        asked = Fields(item, f"[{index}]", ("interface", *_FAMILIES, "cleangateway"))
        asked.flag("cleangateway")  # a matter of routes, not of addresses
        nics.append(_read_nic(asked))
    named = [nic.interface for nic in nics if nic.interface is not None]
    if named and len(named) != len(nics):
        lacking = next(index for index, nic in enumerate(nics) if nic.interface is None)
        hint = "name the interface of every item, or of none"
        raise InvalidInput(f"[{lacking}].interface is missing", hint)
    for index, name in enumerate(named):
        if name in named[:index]:
            why = f"[{index}].interface: {name!r} is there twice"
            raise InvalidInput(why, "name each interface once")
    if named:
        return tuple(nics)
    return tuple(nic._replace(interface=nth_interface(index)) for index, nic in enumerate(nics))


def nth_interface(index: int) -> str:
    """What the interfaces of a Pod are called when nobody names them: eth0, net1, net2 and on."""
    return DEFAULT_INTERFACE if index == 0 else f"net{index}"


def _read_nic(asked: Fields) -> Nic:
    groups: list[tuple[str, ...]] = []
    families: list[Family] = []
    for name, family in _FAMILIES.items():
        if pools := asked.texts(name):
            with inside(f"{asked.path}: " if asked.path else ""):
                groups.append(tuple(check_pool(pool, "the pool") for pool in pools))
            families.append(family)
    with inside(f"{asked.path}: " if asked.path else ""):
        if not groups:
            raise InvalidInput("it names no pool", _HINT)
        _check_once([pool for group in groups for pool in group])
        interface = asked.text("interface")
        checked = check_interface(interface) if interface else None
    return Nic(checked, tuple(groups), tuple(families))


def _check_once(pools: list[str]) -> None:
    for index, pool in enumerate(pools):
        if pool in pools[:index] and not is_pattern(pool):
            raise InvalidInput(f"the pool {pool!r} is named twice", "name each pool once")
