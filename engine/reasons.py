"""Every rule that can speak about an address: its name, its words, and the function that finds it.

What decisions refuse by is asked of the same functions that they ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final, Literal, NamedTuple

from engine.addresses import Address, RangeSet, family_of, to_int
from engine.commands import Allocate, Claim
from engine.errors import Kind
from engine.facts import Facts, Lease, Pool
from engine.granting import Granting, cannot_give_out, covers
from engine.model import Selectors
from engine.obstacles import is_set_aside, may_make_room, reservation_against, rests_until_ms
from engine.placement import Placement

Bucket = Literal["leased", "quarantined", "cooling", "reserved", "free"]

# Nobody is called so: who asks as nobody in particular is kept out by every reservation.
ANYBODY: Final = ""


class Reason(Enum):
    """Everything that can be said about an address. The value is its name in JSON, and stable.

    They stand in the order in which a decision asks: the first that refuses decides.
    """

    EXCLUDED = "excluded"
    OUTSIDE_IPS = "outside_ips"
    IN_NO_POOL = "in_no_pool"
    IN_POOL = "in_pool"
    GATEWAY = "gateway"
    HELD_BY_OWNER = "held_by_owner"
    OWNER_HOLDS_ANOTHER = "owner_holds_another"
    POOL_TERMINATING = "pool_terminating"
    POOL_DISABLED = "pool_disabled"
    POOL_SELECTORS = "pool_selectors"
    LEASED = "leased"
    LEASE_OVERDUE = "lease_overdue"
    CONFLICT_REPORTED = "conflict_reported"
    MISSING = "missing"
    QUARANTINED = "quarantined"
    COOLING = "cooling"
    RESERVED = "reserved"
    RESERVED_FOR_OWNER = "reserved_for_owner"
    FREE = "free"
    # Of a pool, when an owner asks for any of its addresses.
    EXHAUSTED = "exhausted"
    WOULD_GIVE = "would_give"


class Found(NamedTuple):
    """One rule that speaks about an address.

    ``refuses`` is the kind of refusal that it leads to; ``gives`` tells that the address is given
    because of it, if nothing refuses. ``name`` is the reservation's or the number of the
    quarantine, ``why`` what was said when it was made. ``position`` is the event that it rests on.
    """

    reason: Reason
    text: str
    refuses: Kind | None = None
    gives: bool = False
    pool: str | None = None
    lease: int | None = None
    owner: str | None = None
    name: str | None = None
    why: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    position: int | None = None


class Asked(NamedTuple):
    """An address that is asked about and when; ``pool`` gives it out, if one does.

    ``request`` is the command that would ask for it, by `ANYBODY` if no owner is named.
    """

    facts: Facts
    address: Address
    request: Allocate
    now_ms: int
    pool: Pool | None
    lease: Lease | None

    @property
    def asker(self) -> str:
        """Whom the decision would be about."""
        return self.request.owner


def bucket_of(asked: Asked) -> Bucket | None:
    """The first of the buckets that applies."""
    facts, address, pool = asked.facts, asked.address, asked.pool
    if pool is None:
        return None
    if asked.lease is not None:
        return "leased"
    if is_set_aside(facts, address):
        return "quarantined"
    if rests_until_ms(facts, pool, address) > asked.now_ms:
        return "cooling"
    return "reserved" if facts.reserved_by(address) else "free"


# ----------------------------------------------------------------------------- where it stands


def _excluded(asked: Asked) -> Iterator[Found]:
    for pool in asked.facts.pools():
        if covers(pool.spec.exclude_ips, asked.address) and covers(pool.spec.ips, asked.address):
            entry = _range_text(pool.spec.exclude_ips, asked.address)
            text = f"pool {pool.name} excludes {entry}"
            yield _of_pool(asked, Reason.EXCLUDED, pool, text)


def _outside_ips(asked: Asked) -> Iterator[Found]:
    for pool in asked.facts.pools():
        if asked.address in pool.spec.subnet and not covers(pool.spec.ips, asked.address):
            text = f"in the subnet {pool.spec.subnet} of pool {pool.name}, but not among its ips"
            yield _of_pool(asked, Reason.OUTSIDE_IPS, pool, text)


def _of_pool(asked: Asked, reason: Reason, pool: Pool, text: str) -> Found:
    refuses: Kind | None = "invalid" if asked.pool is None else None
    return Found(reason, text, refuses, pool=pool.name, position=pool.pool_id)


def _in_no_pool(asked: Asked) -> Iterator[Found]:
    if not any(asked.address in pool.spec.subnet for pool in asked.facts.pools()):
        yield Found(Reason.IN_NO_POOL, "in no pool of this space", "invalid")


def _in_pool(asked: Asked) -> Iterator[Found]:
    pool = asked.pool
    if pool is not None:
        text = f"one of pool {pool.name}: {_range_text(pool.spec.ips, asked.address)} of its ips"
        yield Found(Reason.IN_POOL, text, pool=pool.name, position=pool.pool_id)


def _gateway(asked: Asked) -> Iterator[Found]:
    for pool in asked.facts.pools():
        if pool.spec.gateway == asked.address:
            text = f"the gateway of pool {pool.name}"
            yield Found(Reason.GATEWAY, text, pool=pool.name, position=pool.pool_id)


def _range_text(ranges: RangeSet, address: Address) -> str:
    """The range of a set that an address lies in, in words."""
    value = to_int(address)
    found = next(part for part in ranges.ranges if part[0] <= value <= part[1])
    return RangeSet.of_sorted(ranges.family, (found,)).texts()[0]


# ---------------------------------------------------------------------------- what the owner has


def _held_by_owner(asked: Asked) -> Iterator[Found]:
    lease = asked.lease
    # Blocks are counted apart: who holds one does not hold the single addresses inside.
    if lease is None or lease.is_block:
        return
    if (lease.owner, lease.interface) == (asked.asker, asked.request.interface):
        text = f"{lease.owner} holds it on {lease.interface} (lease {lease.lease_id})"
        yield _of_lease(Reason.HELD_BY_OWNER, lease, text, gives=True)


def _owner_holds_another(asked: Asked) -> Iterator[Found]:
    if asked.pool is None:
        return
    leases = asked.facts.leases_of(asked.asker, asked.request.interface)
    # Who holds a block may have a single address beside it.
    held = [
        lease for lease in leases
        if lease.pool_id == asked.pool.pool_id and not lease.is_block
    ]  # fmt: skip
    if held and asked.lease not in held:
        lease = held[0]
        text = (
            f"{lease.owner} holds {lease.text} from pool {asked.pool.name} on {lease.interface} "
            f"(lease {lease.lease_id}), and would have to release it first"
        )
        yield _of_lease(Reason.OWNER_HOLDS_ANOTHER, lease, text, "conflict")


def _of_lease(
    reason: Reason, lease: Lease, text: str, refuses: Kind | None = None, *, gives: bool = False
) -> Found:
    return Found(
        reason, text, refuses, gives, lease=lease.lease_id, owner=lease.owner,
        since_ms=lease.effective_at_ms, until_ms=lease.expires_at_ms, position=lease.position,
    )  # fmt: skip


# ------------------------------------------------------------------------------ what the pool says


def _terminating(asked: Asked) -> Iterator[Found]:
    yield from _pool_refuses(asked, Reason.POOL_TERMINATING)


def _disabled(asked: Asked) -> Iterator[Found]:
    yield from _pool_refuses(asked, Reason.POOL_DISABLED)


def _selectors(asked: Asked) -> Iterator[Found]:
    yield from _pool_refuses(asked, Reason.POOL_SELECTORS)


def _pool_refuses(asked: Asked, reason: Reason) -> Iterator[Found]:
    if asked.pool is not None:
        found = pool_refusal(asked.facts, asked.pool, asked.request, reason)
        if found is not None:
            yield found


def pool_refusal(facts: Facts, pool: Pool, request: Allocate, reason: Reason) -> Found | None:
    """What a decision would say if this one trait of a pool were all that is wrong with it."""
    spec = pool.spec
    plain = spec._replace(disabled=False, selectors=Selectors())
    alone = {
        Reason.POOL_TERMINATING: pool._replace(spec=plain),
        Reason.POOL_DISABLED: pool._replace(
            spec=plain._replace(disabled=spec.disabled), terminating=False
        ),
        Reason.POOL_SELECTORS: pool._replace(
            spec=plain._replace(selectors=spec.selectors), terminating=False
        ),
    }[reason]
    refusal = cannot_give_out(Granting(facts, request, Claim(), Placement(), 0), alone)
    if refusal is None:
        return None
    return Found(
        reason, refusal.message, refusal.kind, pool=pool.name, position=pool.pool_id
    )  # fmt: skip


# -------------------------------------------------------------------------------- who has it


def _leased(asked: Asked) -> Iterator[Found]:
    lease, pool = asked.lease, asked.pool
    if lease is None or pool is None:
        return
    block = f"in the block {lease.text} " if lease.is_block else ""
    text = f"leased {block}to {lease.owner} on {lease.interface} (lease {lease.lease_id})"
    room = may_make_room(asked.facts, pool, lease, asked.asker, asked.now_ms)
    found = _of_lease(Reason.LEASED, lease, text, None if room else "conflict")
    yield found._replace(pool=pool.name)


def _lease_overdue(asked: Asked) -> Iterator[Found]:
    lease, pool = asked.lease, asked.pool
    if lease is None or pool is None:
        return
    if lease.expires_at_ms is None or lease.expires_at_ms > asked.now_ms:
        return
    room = may_make_room(asked.facts, pool, lease, asked.asker, asked.now_ms)
    then = "who asks for it ends it" if room else "it ends with the next sweep"
    text = f"lease {lease.lease_id} is past its time: {then}"
    yield _of_lease(Reason.LEASE_OVERDUE, lease, text, gives=room)


def _conflict_reported(asked: Asked) -> Iterator[Found]:
    lease = asked.lease
    report = None if lease is None else asked.facts.conflict_on(lease.lease_id)
    if lease is not None and report is not None:
        text = f"something else answers on it: quarantined when lease {lease.lease_id} ends"
        yield Found(
            Reason.CONFLICT_REPORTED, text, lease=lease.lease_id, why=report.reason,
            position=report.position,
        )  # fmt: skip


def _missing(asked: Asked) -> Iterator[Found]:
    lease = asked.lease
    absence = None if lease is None else asked.facts.absence_of(lease.lease_id)
    if lease is not None and absence is not None and absence.times:
        number = "one observation" if absence.times == 1 else f"{absence.times} observations"
        yield Found(
            Reason.MISSING, f"not found in use in {number}", lease=lease.lease_id,
            since_ms=absence.since_ms, position=absence.position,
        )  # fmt: skip


def _quarantined(asked: Asked) -> Iterator[Found]:
    if not is_set_aside(asked.facts, asked.address):
        return
    family, value = family_of(asked.address), to_int(asked.address)
    aside = next(
        q for q in asked.facts.quarantines() if q.ips.family == family and value in q.ips
    )  # fmt: skip
    after = "" if aside.lease is None else f" after lease {aside.lease}"
    yield Found(
        Reason.QUARANTINED, f"quarantined{_overdue(asked, aside.ends_at_ms)}{after}", "forbidden",
        lease=aside.lease, name=str(aside.quarantine_id), why=aside.reason,
        since_ms=aside.created_at_ms, until_ms=aside.ends_at_ms, position=aside.quarantine_id,
    )  # fmt: skip


def _cooling(asked: Asked) -> Iterator[Found]:
    if asked.pool is None:
        return
    ready_ms = rests_until_ms(asked.facts, asked.pool, asked.address)
    if ready_ms > asked.now_ms:
        last = asked.facts.last_tenure(asked.address)
        ended_ms, lease = (None, None) if last is None else last
        after = "" if lease is None else f" after lease {lease}"
        yield Found(
            Reason.COOLING, f"rests for {(ready_ms - asked.now_ms) / 1000:.0f} s more{after}",
            "conflict", pool=asked.pool.name, lease=lease, since_ms=ended_ms, until_ms=ready_ms,
        )  # fmt: skip


def _reserved(asked: Asked) -> Iterator[Found]:
    against = reservation_against(asked.facts, asked.asker, asked.address)
    for held in asked.facts.reserved_by(asked.address):
        spec = held.spec
        if against is None or spec.owner == asked.asker:
            continue
        whom = "nobody" if spec.owner is None else spec.owner
        text = f"reserved by {held.name} for {whom}{_overdue(asked, held.ends_at_ms)}"
        yield Found(
            Reason.RESERVED, text, "forbidden", owner=spec.owner, name=held.name, why=spec.reason,
            since_ms=held.created_at_ms, until_ms=held.ends_at_ms, position=held.reservation_id,
        )  # fmt: skip


def _reserved_for_owner(asked: Asked) -> Iterator[Found]:
    for held in asked.facts.reserved_by(asked.address):
        if held.spec.owner == asked.asker:
            text = f"kept for {held.spec.owner} by {held.name}"
            yield Found(
                Reason.RESERVED_FOR_OWNER, f"{text}{_overdue(asked, held.ends_at_ms)}", gives=True,
                owner=held.spec.owner, name=held.name, why=held.spec.reason,
                since_ms=held.created_at_ms, until_ms=held.ends_at_ms,
                position=held.reservation_id,
            )  # fmt: skip


def _overdue(asked: Asked, ends_at_ms: int | None) -> str:
    if ends_at_ms is None or ends_at_ms > asked.now_ms:
        return ""
    return " (past its time: it ends with the next sweep)"


def _free(asked: Asked) -> Iterator[Found]:
    if asked.pool is not None and bucket_of(asked) == "free":
        text = f"free in pool {asked.pool.name}"
        yield Found(Reason.FREE, text, gives=True, pool=asked.pool.name)


FINDERS: Final[dict[Reason, Callable[[Asked], Iterator[Found]]]] = {
    Reason.EXCLUDED: _excluded,
    Reason.OUTSIDE_IPS: _outside_ips,
    Reason.IN_NO_POOL: _in_no_pool,
    Reason.IN_POOL: _in_pool,
    Reason.GATEWAY: _gateway,
    Reason.HELD_BY_OWNER: _held_by_owner,
    Reason.OWNER_HOLDS_ANOTHER: _owner_holds_another,
    Reason.POOL_TERMINATING: _terminating,
    Reason.POOL_DISABLED: _disabled,
    Reason.POOL_SELECTORS: _selectors,
    Reason.LEASED: _leased,
    Reason.LEASE_OVERDUE: _lease_overdue,
    Reason.CONFLICT_REPORTED: _conflict_reported,
    Reason.MISSING: _missing,
    Reason.QUARANTINED: _quarantined,
    Reason.COOLING: _cooling,
    Reason.RESERVED: _reserved,
    Reason.RESERVED_FOR_OWNER: _reserved_for_owner,
    Reason.FREE: _free,
}
