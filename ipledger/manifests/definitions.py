"""The manifests of pools and reservations, Spiderpool's and our own; changes with their fields."""

from __future__ import annotations

import json
from typing import Final

from engine.commands import PutPool, PutReservation
from engine.errors import InvalidInput
from engine.model import Expression, Selector, Selectors
from engine.names import check_text
from engine.pool_spec import read_pool_spec, read_reservation_spec
from ipledger.manifests.fields import Fields, inside, shown
from ipledger.manifests.metadata import Metadata

_SPIDER_POOL_FIELDS: Final = (
    "subnet", "ips", "excludeIPs", "gateway", "routes", "ipVersion", "disable", "default",
    "podAffinity", "namespaceAffinity", "nodeAffinity", "namespaceName", "nodeName", "multusName",
    "vlan",
)  # fmt: skip
_OWN_POOL_FIELDS: Final = (*_SPIDER_POOL_FIELDS[:-1], "policy", "cooldown", "ttl", "sticky")
_SPIDER_RESERVATION_FIELDS: Final = ("ips", "ipVersion")
_OWN_RESERVATION_FIELDS: Final = (*_SPIDER_RESERVATION_FIELDS, "owner", "reason", "for")

_SUBNET_HINT: Final = "write the pool's subnet, such as subnet: 172.18.41.0/24"
_SHOWN_ADDRESSES: Final = 3


def read_spider_pool(document: Fields, metadata: Metadata, warnings: list[str]) -> PutPool:
    """Read a SpiderIPPool.

    Raises:
        InvalidInput: naming the field.
    """
    spec = _spec(document, _SPIDER_POOL_FIELDS)
    if spec.has("vlan"):
        warnings.append("spec.vlan is ignored: Spiderpool has removed it from its pools")
    if status := document.child("status"):
        _warn_of_leases(status, warnings)
    return _pool(spec, metadata, own=False)


def read_own_pool(document: Fields, metadata: Metadata, _warnings: list[str]) -> PutPool:
    """Read a Pool.

    Raises:
        InvalidInput: naming the field.
    """
    return _pool(_spec(document, _OWN_POOL_FIELDS), metadata, own=True)


def read_spider_reservation(
    document: Fields, metadata: Metadata, _warnings: list[str]
) -> PutReservation:
    """Read a SpiderReservedIP.

    Raises:
        InvalidInput: naming the field.
    """
    return _reservation(_spec(document, _SPIDER_RESERVATION_FIELDS), metadata, own=False)


def read_own_reservation(
    document: Fields, metadata: Metadata, _warnings: list[str]
) -> PutReservation:
    """Read a Reservation.

    Raises:
        InvalidInput: naming the field.
    """
    return _reservation(_spec(document, _OWN_RESERVATION_FIELDS), metadata, own=True)


def _spec(document: Fields, known: tuple[str, ...]) -> Fields:
    spec = document.child("spec", known)
    if spec is None:
        raise InvalidInput("spec is missing", f"it holds the fields {', '.join(known)}")
    return spec


def _pool(spec: Fields, metadata: Metadata, *, own: bool) -> PutPool:
    """Read the fields of any pool; those that a kind does not have are absent from its `spec`."""
    fields = {
        "subnet": spec.required_text("subnet", _SUBNET_HINT),
        "ips": spec.texts("ips"),
        "exclude_ips": spec.texts("excludeIPs"),
        "gateway": spec.text("gateway"),
        "routes": _routes(spec),
        "ip_version": spec.integer("ipVersion"),
        "disabled": spec.flag("disable"),
        "default": spec.flag("default"),
        "selectors": _selectors(spec),
        "cooldown_s": spec.duration("cooldown", least=0) or 0,
        "ttl_s": spec.duration("ttl"),
        "sticky_s": spec.duration("sticky"),
        "labels": metadata.labels,
    }
    raise NotImplementedError(fields)
