"""What is known of a pool's preferences goes with the pool."""

from __future__ import annotations

import pytest

from engine.model import Policy
from tests.builders import (
    MemoryPages,
    TestLedger,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
)


@pytest.mark.parametrize("policy", ["least-recently-used", "sticky"])
@pytest.mark.parametrize("cascade", [True, False])
def test_a_pool_that_goes_with_its_last_lease_is_forgotten(
    policy: Policy, *, cascade: bool
) -> None:
    """Also if somebody asked what it prefers while it was terminating; and it can be kept then."""
    ledger = TestLedger()
    ledger.apply(make_pool(policy=policy))
    (lease,) = ledger.grant()
    ledger.take_up(MemoryPages())
    ledger.state.read_all()
    pool_id = lease.pool_id
    ledger.done(make_delete("pool", cascade=cascade))
    if not cascade:
        assert list(ledger.state.longest_idle(pool_id))
        ledger.done(make_release(lease.lease_id))
    assert not ledger.state.preferences.watched
    ledger.state.read_all()
    ledger.take_up(MemoryPages())
    assert ledger.refused(make_allocate()).kind == "not_found"
