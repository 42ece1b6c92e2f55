"""What can stand between an owner and an address, as plain questions about facts.

Deciding asks them to refuse, explaining asks them to tell: so the two cannot drift apart.
"""

from __future__ import annotations

from engine.addresses import Address, family_of, to_int
from engine.facts import Facts, Lease, Pool, Reservation


def reservation_against(facts: Facts, owner: str, address: Address) -> Reservation | None:
    """A reservation that keeps an address from this owner, if there is one."""
    for reservation in facts.reserved_by(address):
        if reservation.spec.owner != owner:
            return reservation
    return None


def is_set_aside(facts: Facts, address: Address, held: Lease | None = None) -> bool:
    """Whether something else answers on an address, or was reported to on its lease `held`."""
    if held is not None and facts.conflict_on(held.lease_id) is not None:
        return True
    return to_int(address) in facts.quarantined(family_of(address))


def rests_until_ms(facts: Facts, pool: Pool, address: Address) -> int:
    """The first millisecond at which an address has rested; 0 if it does not rest."""
    return facts.resting(pool.pool_id, to_int(address)) or 0


def may_make_room(facts: Facts, pool: Pool, lease: Lease, owner: str, now_ms: int) -> bool:
    """Whether the command that gives a lease's address to `owner` may end that lease first.

    It is past its time, and its address need not rest first, nor is it set aside at its end.
    """
    ends_ms = lease.expires_at_ms
    return (
        ends_ms is not None
        and ends_ms <= now_ms
        and not pool.spec.cooldown_s
        and facts.conflict_on(lease.lease_id) is None
        and reservation_against(facts, owner, lease.address) is None
    )
