"""The manifests of pools and reservations, Spiderpool's and our own; changes with their fields."""

from __future__ import annotations

from typing import Final

from engine.commands import PutPool, PutReservation
from engine.errors import InvalidInput
from engine.model import Expression, Selector, Selectors
from engine.names import check_text
from engine.pool_spec import read_pool_spec, read_reservation_spec
from ipledger.manifests.fields import Fields, inside, shown
from ipledger.manifests.json_text import read_json
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
    """Read the fields of a pool of either kind; those it does not have are not in its `spec`."""
    subnet = spec.required_text("subnet", _SUBNET_HINT)
    ips, exclude_ips = spec.texts("ips"), spec.texts("excludeIPs")
    gateway, ip_version = spec.text("gateway"), spec.integer("ipVersion")
    routes, selectors = _routes(spec), _selectors(spec)
    disabled, default = spec.flag("disable"), spec.flag("default")
    policy = "lowest" if (written := spec.text("policy")) is None else written
    cooldown_s = spec.duration("cooldown", least=0) or 0
    ttl_s, sticky_s = spec.duration("ttl"), spec.duration("sticky")
    with inside("spec."):
        read = read_pool_spec(
            subnet=subnet,
            ips=ips,
            exclude_ips=exclude_ips,
            gateway=gateway,
            routes=routes,
            ip_version=ip_version,
            disabled=disabled,
            default=default,
            selectors=selectors,
            policy=policy,
            cooldown_s=cooldown_s,
            ttl_s=ttl_s,
            sticky_s=sticky_s,
            labels=metadata.labels,
            allow_cidr=own,
        )
    return PutPool(metadata.name, read)


def _reservation(spec: Fields, metadata: Metadata, *, own: bool) -> PutReservation:
    ips, ip_version = spec.texts("ips"), spec.integer("ipVersion")
    owner, reason, for_s = spec.text("owner"), spec.text("reason"), spec.duration("for")
    with inside("spec."):
        read = read_reservation_spec(
            ips=ips,
            ip_version=ip_version,
            owner=owner,
            reason=reason,
            for_s=for_s,
            labels=metadata.labels,
            allow_cidr=own,
        )
    return PutReservation(metadata.name, read)


def _routes(spec: Fields) -> list[tuple[str, str]]:
    hint = "a route is written dst: SUBNET, gw: ADDRESS"
    routes = []
    for where, item in spec.items("routes"):
        route = Fields(item, where, ("dst", "gw"))
        routes.append((route.required_text("dst", hint), route.required_text("gw", hint)))
    return routes


def _selectors(spec: Fields) -> Selectors:
    return Selectors(
        pod_affinity=_selector(spec, "podAffinity"),
        namespace_affinity=_selector(spec, "namespaceAffinity"),
        node_affinity=_selector(spec, "nodeAffinity"),
        namespace_names=spec.printable_texts("namespaceName"),
        node_names=spec.printable_texts("nodeName"),
        multus_names=spec.printable_texts("multusName"),
    )


def _selector(spec: Fields, name: str) -> Selector | None:
    selector = spec.child(name, ("matchLabels", "matchExpressions"))
    if selector is None:
        return None
    expressions = []
    for where, item in selector.items("matchExpressions"):
        expression = Fields(item, where, ("key", "operator", "values"))
        key = expression.required_text("key", "write the key of a label")
        operator = expression.required_text("operator", "write In, NotIn, Exists or DoesNotExist")
        values = expression.printable_texts("values")
        expressions.append(Expression(check_text(key, expression.at("key")), operator, values))
    return Selector(selector.labels("matchLabels"), tuple(expressions))


def _warn_of_leases(status: Fields, warnings: list[str]) -> None:
    """Warn if the pool comes from a cluster where its addresses are in use."""
    written = status.values.get("allocatedIPs")
    if not written:
        return
    try:
        leases = read_json(written) if isinstance(written, str) else written
    except ValueError:
        leases = None
    if not isinstance(leases, dict):
        warnings.append(
            "status.allocatedIPs cannot be read: ADDRESSES MAY BE IN USE ELSEWHERE, and this "
            "ledger would give them out again. `ipledger import` takes them over"
        )
    elif leases:
        first = [shown(address) for address in list(leases)[:_SHOWN_ADDRESSES]]
        more = f" and {len(leases) - len(first)} more" if len(leases) > len(first) else ""
        number = "1 ADDRESS IS" if len(leases) == 1 else f"{len(leases)} ADDRESSES ARE"
        warnings.append(
            f"{number} IN USE ELSEWHERE, says status.allocatedIPs: {', '.join(first)}{more}. "
            "This ledger does not know those leases and would give the addresses out again. "
            "`ipledger import` takes pools and leases over"
        )
