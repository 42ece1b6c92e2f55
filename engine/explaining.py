"""Why an address is, or is not, given out: every rule that speaks about it, and which decides.

Nothing is decided here. What decisions refuse by is asked of the same functions, in the same
order, and a property holds that the verdict is the answer of `decide_allocate`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.addresses import Address, format_address
from engine.commands import Allocate, Claim, Requester
from engine.decide_leases import decide_allocate
from engine.draft import Draft
from engine.errors import Refusal
from engine.events import LeaseGranted
from engine.facts import Facts, Lease, Pool
from engine.granting import covers
from engine.model import DEFAULT_INTERFACE
from engine.names import Labels
from engine.placement import Placement
from engine.reasons import ANYBODY, FINDERS, Asked, Bucket, Found, Reason, bucket_of, pool_refusal

NOBODY: Final = Requester()


class Verdict(NamedTuple):
    """Whether an address would be given to an owner, or to anybody, and what decides it.

    ``bucket`` is the one that its pool counts it in; None if no pool gives it out.
    """

    given: bool
    decides: Found
    bucket: Bucket | None


class Explanation(NamedTuple):
    """An address as of one position and time: the verdict, and every rule that speaks."""

    address: Address
    owner: str | None
    interface: str
    verdict: Verdict
    reasons: tuple[Found, ...]
    lease: Lease | None
    position: int
    at_ms: int


def explain(
    facts: Facts,
    address: Address,
    *,
    now_ms: int,
    position: int,
    owner: str | None = None,
    interface: str = DEFAULT_INTERFACE,
    labels: Labels = (),
    requester: Requester = NOBODY,
) -> Explanation:
    """Tell all rules that speak about an address, and whether it would be given out.

    Args:
        facts: the state as of `position`.
        address: any address, of a pool or not.
        now_ms: the time as of which it is told.
        position: where the facts end.
        owner: who would ask for this very address; None for anybody who holds nothing yet and
            for whom nothing is kept.
        interface: on which of the owner's interfaces.
        labels: those of the lease that would be asked for.
        requester: what else pools with selectors look at.
    """
    pool = next((pool for pool in facts.pools() if covers(pool.effective, address)), None)
    lease = facts.lease_at(address)
    request = Allocate(
        () if pool is None else ((pool.name,),), ANYBODY if owner is None else owner, interface,
        addresses=(address,), labels=labels, requester=requester,
    )  # fmt: skip
    asked = Asked(facts, address, request, now_ms, pool, lease)
    reasons = tuple(found for find in FINDERS.values() for found in find(asked))
    verdict = _verdict(reasons, bucket_of(asked))
    return Explanation(address, owner, interface, verdict, reasons, lease, position, now_ms)


def _verdict(reasons: tuple[Found, ...], bucket: Bucket | None) -> Verdict:
    """The first that refuses decides, unless the owner holds the address already."""
    held = next((found for found in reasons if found.reason is Reason.HELD_BY_OWNER), None)
    if held is not None:
        return Verdict(given=True, decides=held, bucket=bucket)
    for found in reasons:
        if found.refuses is not None:
            return Verdict(given=False, decides=found, bucket=bucket)
    giving = next(found for found in reasons if found.gives)
    return Verdict(given=True, decides=giving, bucket=bucket)


# What can keep a pool from giving out anything new, in the order in which a decision asks.
POOL_REASONS: Final = (
    Reason.POOL_TERMINATING,
    Reason.POOL_DISABLED,
    Reason.POOL_SELECTORS,
)


class Outlook(NamedTuple):
    """What a pool would give an owner that asks for any address, or why none.

    ``address`` is the one that would be given, if it is not drawn; others may take it first.
    """

    pool: Pool
    found: Found
    address: Address | None = None


def outlook(
    facts: Facts,
    pool: Pool,
    owner: str,
    interface: str,
    now_ms: int,
    labels: Labels = (),
    requester: Requester = NOBODY,
) -> Outlook:
    """Tell what `owner` would get from `pool` if it asked now, without asking."""
    request = Allocate(((pool.name,),), owner, interface, labels=labels, requester=requester)
    leases = facts.leases_of(owner, interface)
    # Blocks are counted apart: who holds one is given a single address beside it.
    singles = (lease for lease in leases if not lease.is_block)
    held = next((lease for lease in singles if lease.pool_id == pool.pool_id), None)
    if held is not None:
        text = f"{held.owner} holds {held.text} from it (lease {held.lease_id})"
        found = Found(
            Reason.HELD_BY_OWNER, text, gives=True, pool=pool.name, lease=held.lease_id,
            owner=held.owner, since_ms=held.effective_at_ms, until_ms=held.expires_at_ms,
            position=held.position,
        )  # fmt: skip
        return Outlook(pool, found, held.address)
    for reason in POOL_REASONS:
        if refusal := pool_refusal(facts, pool, request, reason):
            return Outlook(pool, refusal)
    decision = decide_allocate(facts, request, Claim(), Placement(), now_ms)
    if isinstance(decision, Refusal):
        found = Found(Reason.EXHAUSTED, decision.message, decision.kind, pool=pool.name)
        return Outlook(pool, found)
    assert isinstance(decision, Draft), "it holds no such lease, so something is granted"
    address = next(
        Address(change.event.address)
        for change in decision.changes
        if isinstance(change.event, LeaseGranted)
    )
    if pool.spec.policy == "random":  # what is drawn here is not what will be
        text = "would give an address that is drawn at random"
        return Outlook(pool, Found(Reason.WOULD_GIVE, text, gives=True, pool=pool.name))
    text = f"would give {format_address(address)}"
    return Outlook(pool, Found(Reason.WOULD_GIVE, text, gives=True, pool=pool.name), address)
