"""The words of the domain as values: what a pool and a reservation are defined to be.

These are definitions, as a user writes them and an event carries them. What *is* (which pool has
how many leases) is in `engine.facts` and belongs to the projections.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from engine.addresses import Address, Family, RangeSet, Subnet
from engine.names import Labels

Policy = Literal["lowest", "least-recently-used", "random", "sticky"]
# The order is the wire's: a policy is written as its index. [format]
POLICIES: Final[tuple[Policy, ...]] = ("lowest", "least-recently-used", "random", "sticky")

EndedBy = Literal["released", "expired", "superseded", "revoked"]
# The order is the wire's: how a lease ended is written as its index. [format]
ENDINGS: Final[tuple[EndedBy, ...]] = ("released", "expired", "superseded", "revoked")

DEFAULT_INTERFACE: Final = "eth0"


class Durability(NamedTuple):
    """What a space promises of an answer: how many replicas have what it rests on (0: none).

    With ``fsync`` they have it on disk, and so has the server that was written to. An answer
    waits for them at most ``ack_timeout_ms``. The fields are those of `events.DurabilitySet`.
    """

    replicas: int = 0
    fsync: bool = False
    ack_timeout_ms: int = 0


LOCAL: Final = Durability()  # what one server keeps, as it is set up


class Route(NamedTuple):
    """A route that a holder is given besides its address."""

    destination: Subnet
    gateway: Address


class Expression(NamedTuple):
    """One `matchExpressions` item of a Kubernetes label selector."""

    key: str
    operator: str
    values: tuple[str, ...]


class Selector(NamedTuple):
    """A Kubernetes label selector: every part must match."""

    match_labels: Labels = ()
    match_expressions: tuple[Expression, ...] = ()


class Selectors(NamedTuple):
    """Who may draw from a pool; all absent means everybody."""

    pod_affinity: Selector | None = None
    namespace_affinity: Selector | None = None
    node_affinity: Selector | None = None
    namespace_names: tuple[str, ...] = ()
    node_names: tuple[str, ...] = ()
    multus_names: tuple[str, ...] = ()

    @property
    def given(self) -> tuple[str, ...]:
        """The manifest's names of the selectors that are set."""
        names = (
            "podAffinity",
            "namespaceAffinity",
            "nodeAffinity",
            "namespaceName",
            "nodeName",
            "multusName",
        )
        return tuple(name for name, value in zip(names, self, strict=True) if value)


class PoolSpec(NamedTuple):
    """A pool as defined: its subnet, and which of its addresses may be given out how.

    ``cooldown_s``, ``ttl_s`` and ``sticky_s`` are whole seconds; ``None`` for ``ttl_s`` is a
    lease without an end.
    """

    subnet: Subnet
    ips: RangeSet
    exclude_ips: RangeSet
    gateway: Address | None = None
    routes: tuple[Route, ...] = ()
    disabled: bool = False
    default: bool = False
    selectors: Selectors = Selectors()
    policy: Policy = "lowest"
    cooldown_s: int = 0
    ttl_s: int | None = None
    sticky_s: int | None = None
    labels: Labels = ()

    @property
    def family(self) -> Family:
        """4 or 6."""
        return self.subnet.family

    def effective(self) -> RangeSet:
        """What the pool may give out at all: ips − excludeIPs."""
        return self.ips - self.exclude_ips


class ReservationSpec(NamedTuple):
    """A reservation as defined: addresses kept from every pool of the space, now and later."""

    ips: RangeSet
    owner: str | None = None
    reason: str | None = None
    for_s: int | None = None
    labels: Labels = ()
