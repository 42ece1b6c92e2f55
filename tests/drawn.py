"""Definitions of any shape, drawn by Hypothesis: pools, reservations, leases, quarantines."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

from engine.addresses import Address, Family, RangeSet, from_int, parse_subnet
from engine.facts import Lease, Quarantine
from engine.model import (
    POLICIES,
    Expression,
    PoolSpec,
    ReservationSpec,
    Route,
    Selector,
    Selectors,
)
from engine.names import Labels
from engine.shapes import SECONDS_MAX

NAMES: Final = st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True)
# What a reader of YAML, a shell or a terminal might take for something else, among anything else.
TEXTS: Final = st.one_of(
    st.sampled_from(["no", "null", "1e3", "0x1f", "1:2", "- a", "a: b", "a #b", "'", '"', "\\",
                     "\u00ad", "\u200b\u202e", "\ufeff", "\U0001f600", "\U000e0001", "2026-01-01",
                     "{", "%", "@a", "~", "<<", "=", "a:", " a", "a ", "ä" * 200]),
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20),
).map(lambda text: unicodedata.normalize("NFC", text)).filter(str.strip)  # fmt: skip
SECONDS: Final = st.integers(1, SECONDS_MAX)
_MAYBE_SECONDS: Final = st.none() | SECONDS
LABELS: Final[st.SearchStrategy[Labels]] = st.dictionaries(
    TEXTS, TEXTS | st.just(""), max_size=4
).map(lambda labels: tuple(sorted(labels.items())))
_KEYS: Final = st.from_regex(
    r"([a-z]{1,5}\.io/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[a-z])?", fullmatch=True
)
_VALUES: Final = st.just("") | st.from_regex(
    r"[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[a-z])?", fullmatch=True
)
TIMES_MS: Final = st.integers(0, 4_000_000_000_000)


@st.composite
def _expressions(draw: Callable[..., Any]) -> Expression:
    operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]))
    values = draw(st.lists(TEXTS, min_size=1, max_size=3)) if "In" in operator else []
    return Expression(draw(_KEYS), operator, tuple(values))


@st.composite
def selectors(draw: Callable[..., Any]) -> Selector:
    """A Kubernetes selector that selects something."""
    labels = draw(st.dictionaries(_KEYS, _VALUES, max_size=3))
    least = 0 if labels else 1
    expressions = draw(st.lists(_expressions(), min_size=least, max_size=2))
    return Selector(tuple(sorted(labels.items())), tuple(expressions))


def ranges_in(family: Family, first: int, last: int, least: int = 0) -> st.SearchStrategy[RangeSet]:
    """Sets of addresses between two."""
    ends = st.tuples(st.integers(first, last), st.integers(first, last))
    parts = st.lists(ends.map(lambda pair: (min(pair), max(pair))), min_size=least, max_size=5)
    return parts.map(lambda drawn: RangeSet(family, drawn))


@st.composite
def pool_specs(draw: Callable[..., Any], index: int | None = None) -> PoolSpec:
    """A pool; those of different `index` have subnets of their own."""
    number = draw(st.integers(0, 255)) if index is None else index
    subnet = parse_subnet(
        draw(st.sampled_from([f"10.{number}.0.0/24", f"fd00:{number + 1:x}::/64"]))
    )  # fmt: skip
    family, first, last = subnet.family, subnet.first, subnet.last
    ips, excluded = (draw(ranges_in(family, first, last)) for _ in range(2))
    gateways = RangeSet(family, [(first, last)]) - (ips - excluded)
    gateway = from_int(gateways.ranges[-1][1], family) if gateways and draw(st.booleans()) else None
    inside = st.integers(first, last).map(lambda value: from_int(value, family))
    block = "192.168.{}.0/24" if family == 4 else "2001:db8:{}::/48"
    destinations = draw(st.lists(st.integers(1, 9), unique=True, max_size=3))
    maybe = st.none() | selectors()
    texts = st.lists(TEXTS, max_size=3).map(tuple)
    return PoolSpec(
        subnet, ips, excluded, gateway,
        tuple(Route(parse_subnet(block.format(n)), draw(inside)) for n in destinations),
        draw(st.booleans()), draw(st.booleans()),
        Selectors(draw(maybe), draw(maybe), draw(maybe), draw(texts), draw(texts), draw(texts)),
        draw(st.sampled_from(POLICIES)), draw(st.just(0) | SECONDS),
        draw(_MAYBE_SECONDS), draw(_MAYBE_SECONDS), draw(LABELS),
    )  # fmt: skip


@st.composite
def reservation_specs(draw: Callable[..., Any]) -> ReservationSpec:
    """A reservation."""
    family: Family = draw(st.sampled_from([4, 6]))
    ips = draw(ranges_in(family, 1 << 24, 1 << 25, least=1))
    maybe = st.none() | TEXTS
    return ReservationSpec(ips, draw(maybe), draw(maybe), draw(_MAYBE_SECONDS), draw(LABELS))


@st.composite
def leases(draw: Callable[..., Any]) -> Lease:
    """A lease of an address or a block, as granted, as imported, or renewed since."""
    family: Family = draw(st.sampled_from([4, 6]))
    bits = 32 if family == 4 else 128
    free_bits = draw(st.sampled_from([0, 0, 4, 8]))
    value = draw(st.integers(1 << 24, 1 << 25)) >> free_bits << free_bits
    address: Address = from_int(value, family)
    since_ms, ttl_s = draw(TIMES_MS), draw(_MAYBE_SECONDS)
    later_ms = draw(st.just(0) | st.integers(0, 10_000_000))
    ends_ms = None if ttl_s is None else since_ms + later_ms + ttl_s * 1_000
    maybe = st.none() | TEXTS
    return Lease(
        1, 1, address, bits - free_bits, draw(TEXTS), draw(st.sampled_from(["eth0", "net1", "ü"])),
        draw(maybe), draw(LABELS), draw(maybe), since_ms, since_ms, ttl_s, ends_ms, 1,
    )  # fmt: skip


@st.composite
def quarantines(draw: Callable[..., Any]) -> Quarantine:
    """A quarantine."""
    family: Family = draw(st.sampled_from([4, 6]))
    ips = draw(ranges_in(family, 1 << 24, 1 << 25, least=1))
    return Quarantine(1, ips, draw(TEXTS), draw(_MAYBE_SECONDS), None, draw(TIMES_MS))
