"""From the compact shapes that events carry to the values that views are made of."""

from __future__ import annotations

from typing import Any

from engine.addresses import Address, Family, RangeSet, Subnet
from engine.events import PoolCreated
from engine.model import POLICIES, Expression, PoolSpec, Route, Selector, Selectors
from engine.names import Labels


def unpack_ranges(packed: bytes, family: Family) -> RangeSet:
    """The set of ranges that `packed` holds; the decoder has checked that it is canonical."""
    width = 4 if family == 4 else 16
    ends = [
        int.from_bytes(packed[at : at + width]) for at in range(0, len(packed), width)
    ]  # fmt: skip
    return RangeSet.of_sorted(family, tuple(zip(ends[::2], ends[1::2], strict=True)))


def _selector(fields: Any) -> Selector | None:
    if fields is None:
        return None
    labels, expressions = fields
    return Selector(labels, tuple(Expression(*part) for part in expressions))


def unpack_pool(event: PoolCreated, labels: Labels) -> PoolSpec:
    """The definition that an event carries; labels are sealed apart from it."""
    address, prefix_length = event.subnet
    family: Family = 4 if len(address) == 4 else 6
    pod, namespace, node, namespaces, nodes, multus = event.selectors
    texts: Any = (namespaces, nodes, multus)
    return PoolSpec(
        subnet=Subnet(family, int.from_bytes(address), prefix_length),
        ips=unpack_ranges(event.ips, family),
        exclude_ips=unpack_ranges(event.exclude_ips, family),
        gateway=None if event.gateway is None else Address(event.gateway),
        routes=tuple(
            Route(Subnet(family, int.from_bytes(first), length), Address(gateway))
            for first, length, gateway in event.routes
        ),
        disabled=event.disabled,
        default=event.default,
        selectors=Selectors(_selector(pod), _selector(namespace), _selector(node), *texts),
        policy=POLICIES[event.policy],
        cooldown_s=event.cooldown_s,
        ttl_s=event.ttl_s,
        sticky_s=event.sticky_s,
        labels=labels,
    )
