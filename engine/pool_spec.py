"""Reading a pool or reservation as a user wrote it: rules V1, V2, V4, V5, V10 and V12–V18.

The numbers are those of the rules of Spiderpool's webhook (docs/rules.md lists them all). These
rules look at one definition alone; those that look at the others are in `engine.decide_config`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from engine.addresses import (
    Address,
    RangeSet,
    Subnet,
    format_address,
    parse_address,
    parse_subnet,
    to_int,
)
from engine.errors import AddressError, InvalidInput
from engine.model import POLICIES, Policy, PoolSpec, ReservationSpec, Route, Selector, Selectors
from engine.names import check_labels, check_text
from engine.shapes import SECONDS_MAX

# An event must stay provable in 64 KiB; this many ranges always fit beside everything else.
RANGES_MAX: Final = 1_500
ROUTES_MAX: Final = 256

_OPERATORS: Final = frozenset({"In", "NotIn", "Exists", "DoesNotExist"})
_LABEL_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)


def _in_field(field: str, rule: str, error: InvalidInput) -> InvalidInput:
    return InvalidInput(f"{field}: {error.message} ({rule})", error.hint)


def _invalid(field: str, rule: str, why: str, hint: str = "") -> InvalidInput:
    return InvalidInput(f"{field}: {why} ({rule})", hint)


def _subnet(text: str) -> Subnet:
    try:
        return parse_subnet(text)  # V4, V5
    except AddressError as error:
        raise _in_field("subnet", "V4, V5", error) from None


def _ranges(
    field: str, entries: Sequence[str], subnet: Subnet | None, *, allow_cidr: bool
) -> RangeSet:
    try:
        ranges = RangeSet.parse(entries, subnet=subnet, allow_cidr=allow_cidr)
    except AddressError as error:
        raise _in_field(field, "V10", error) from None
    if len(ranges) > RANGES_MAX:
        hint = f"at most {RANGES_MAX} separate ranges fit one definition; split it"
        raise _invalid(field, "V10", f"{len(ranges)} separate ranges are too many", hint)
    return ranges


def _address_in(field: str, rule: str, text: str, subnet: Subnet) -> Address:
    try:
        address = parse_address(text, subnet.family)
    except AddressError as error:
        raise _in_field(field, rule, error) from None
    if address not in subnet:
        raise _invalid(field, rule, f"{text!r} is not in subnet {subnet}")
    return address


def _gateway(text: str | None, subnet: Subnet, effective: RangeSet) -> Address | None:
    if text is None:
        return None
    gateway = _address_in("gateway", "V12", text, subnet)
    if to_int(gateway) in effective:
        hint = "add it to excludeIPs, or take it out of ips"
        shown = format_address(gateway)
        raise _invalid("gateway", "V13", f"{shown} is one of the pool's own addresses", hint)
    return gateway


def _routes(routes: Sequence[tuple[str, str]], subnet: Subnet) -> tuple[Route, ...]:
    if len(routes) > ROUTES_MAX:
        raise _invalid("routes", "V16", f"{len(routes)} routes are too many", f"≤ {ROUTES_MAX}")
    read: list[Route] = []
    for index, (destination_text, gateway_text) in enumerate(routes):
        field = f"routes[{index}]"
        try:
            destination = parse_subnet(destination_text)
        except AddressError as error:
            raise _in_field(f"{field}.dst", "V16", error) from None
        if destination.family != subnet.family:
            raise _invalid(f"{field}.dst", "V16", f"{destination} is not IPv{subnet.family}")
        if destination.prefix_length == 0:
            hint = "use the field gateway for the default route"
            raise _invalid(f"{field}.dst", "V14", f"{destination} is the default route", hint)
        if any(destination == route.destination for route in read):
            raise _invalid(f"{field}.dst", "V15", f"{destination} has a route already")
        gateway = _address_in(f"{field}.gw", "V17", gateway_text, subnet)
        read.append(Route(destination, gateway))
    return tuple(read)


def _check_label_key(key: str, field: str) -> None:
    """V18: a Kubernetes label key is an optional DNS prefix and a name."""
    name = key.rpartition("/")[2]
    if not _LABEL_NAME.fullmatch(name) or len(key) > 317:
        raise _invalid(field, "V18", f"{key!r} is not a label key")


def _check_selector(selector: Selector | None, field: str) -> None:
    if selector is None:
        return
    if not selector.match_labels and not selector.match_expressions:
        hint = "leave it out, or say which labels must match"
        raise _invalid(field, "V18", "it is present but empty", hint)
    for key, value in selector.match_labels:
        _check_label_key(key, field)
        if value and not _LABEL_NAME.fullmatch(value):
            raise _invalid(field, "V18", f"{value!r} is not a label value")
    for expression in selector.match_expressions:
        _check_label_key(expression.key, field)
        if expression.operator not in _OPERATORS:
            hint = f"one of {', '.join(sorted(_OPERATORS))}"
            raise _invalid(field, "V18", f"{expression.operator!r} is no operator", hint)
        if bool(expression.values) != (expression.operator in {"In", "NotIn"}):
            raise _invalid(
                field, "V18", f"operator {expression.operator} with {len(expression.values)} values"
            )


def _selectors(selectors: Selectors | None) -> Selectors:
    if selectors is None:
        return Selectors()
    for field, selector in zip(
        ("podAffinity", "namespaceAffinity", "nodeAffinity"), selectors[:3], strict=True
    ):
        _check_selector(selector, field)
    return selectors


def _policy(text: str) -> Policy:
    for policy in POLICIES:
        if policy == text:
            return policy
    raise InvalidInput(f"policy: {text!r} is not a policy", f"one of {', '.join(POLICIES)}")


def check_seconds(value: object, field: str, *, least: int = 1) -> int:
    """Return `value` if it is a whole number of seconds from `least` to a century.

    Raises:
        InvalidInput: naming the field.
    """
    if type(value) is not int or not least <= value <= SECONDS_MAX:
        message = f"{field}: {value!r} is not from {least} to {SECONDS_MAX} seconds"
        raise InvalidInput(message, "give a duration such as 90s, 30m, 12h or 7d")
    return value


def read_pool_spec(
    *,
    subnet: str,
    ips: Sequence[str] = (),
    exclude_ips: Sequence[str] = (),
    gateway: str | None = None,
    routes: Sequence[tuple[str, str]] = (),
    ip_version: int | None = None,
    disabled: bool = False,
    default: bool = False,
    selectors: Selectors | None = None,
    policy: str = "lowest",
    cooldown_s: int = 0,
    ttl_s: int | None = None,
    sticky_s: int | None = None,
    labels: Mapping[str, str] | None = None,
    allow_cidr: bool = False,
) -> PoolSpec:
    """Return the pool that the texts define.

    Args:
        subnet: canonical CIDR text.
        ips: addresses and ``a-b`` ranges inside the subnet; with `allow_cidr` blocks too.
        exclude_ips: of the same form; need not lie within `ips`.
        gateway: inside the subnet, not among the pool's own addresses.
        routes: pairs of destination (CIDR) and gateway (address inside the subnet).
        ip_version: 4 or 6, if the manifest says it; it must agree with the subnet.
        disabled: gives out nothing new.
        default: used when a request names no pool.
        selectors: who may draw from it.
        policy: which free address is chosen: ``lowest``, ``least-recently-used``, ``random``
            or ``sticky`` (`engine.choosing`).
        cooldown_s: how long a released address rests.
        ttl_s: how long a lease lasts when the request does not say.
        sticky_s: how long a ``sticky`` pool remembers an owner's last address after its release;
            None is until somebody else has it.
        labels: free pairs.
        allow_cidr: whether `ips` may hold blocks (our own manifests).

    Raises:
        InvalidInput: naming the field, the entry, and the rule.
    """
    network = _subnet(subnet)
    if ip_version not in {None, 4, 6}:
        raise _invalid("ipVersion", "V2", f"{ip_version!r} is not 4 or 6")
    if ip_version not in {None, network.family}:
        raise _invalid("ipVersion", "V1", f"{ip_version} is not that of subnet {network}")
    allowed = _ranges("ips", ips, network, allow_cidr=allow_cidr)
    excluded = _ranges("excludeIPs", exclude_ips, network, allow_cidr=allow_cidr)
    return PoolSpec(
        subnet=network,
        ips=allowed,
        exclude_ips=excluded,
        gateway=_gateway(gateway, network, allowed - excluded),
        routes=_routes(routes, network),
        disabled=disabled,
        default=default,
        selectors=_selectors(selectors),
        policy=_policy(policy),
        cooldown_s=check_seconds(cooldown_s, "cooldown", least=0),
        ttl_s=None if ttl_s is None else check_seconds(ttl_s, "ttl"),
        sticky_s=None if sticky_s is None else check_seconds(sticky_s, "sticky"),
        labels=check_labels(labels or {}),
    )


def read_reservation_spec(
    *,
    ips: Sequence[str],
    ip_version: int | None = None,
    owner: str | None = None,
    reason: str | None = None,
    for_s: int | None = None,
    labels: Mapping[str, str] | None = None,
    allow_cidr: bool = False,
) -> ReservationSpec:
    """Return the reservation that the texts define; its family is that of its addresses.

    Raises:
        InvalidInput: no address at all, mixed families, or an entry that is not acceptable.
    """
    if not ips:
        raise _invalid("ips", "V1", "a reservation needs at least one address")
    ranges = _ranges("ips", ips, None, allow_cidr=allow_cidr)
    if ip_version not in {None, 4, 6}:
        raise _invalid("ipVersion", "V2", f"{ip_version!r} is not 4 or 6")
    if ip_version not in {None, ranges.family}:
        raise _invalid("ipVersion", "V1", f"{ip_version} is not that of the addresses")
    return ReservationSpec(
        ips=ranges,
        owner=None if owner is None else check_text(owner, "owner"),
        reason=None if reason is None else check_text(reason, "reason"),
        for_s=None if for_s is None else check_seconds(for_s, "for"),
        labels=check_labels(labels or {}),
    )
