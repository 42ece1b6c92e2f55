"""Leases as few bytes, found by a hash of their owner: nothing of that shows."""

from __future__ import annotations

from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from engine.facts import Lease
from projections.lease_fields import packed, unpacked
from tests.builders import TestLedger, make_allocate, make_pool, make_release

_MAYBE = st.none() | st.integers(1, 2**45)
_TEXT = st.text(max_size=20)


@given(
    st.builds(
        Lease,
        lease_id=st.integers(1, 2**50),
        pool_id=st.integers(1, 2**50),
        address=st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16),
        prefix_length=st.integers(0, 128),
        owner=_TEXT,
        interface=_TEXT,
        uid=st.none() | _TEXT,
        labels=st.lists(st.tuples(_TEXT, _TEXT), max_size=3).map(tuple),
        cluster=st.none() | _TEXT,
        granted_at_ms=st.integers(0, 2**45),
        effective_at_ms=st.integers(0, 2**45),
        ttl_s=_MAYBE,
        expires_at_ms=_MAYBE,
        position=st.integers(1, 2**50),
    )
)
def test_a_lease_is_what_was_packed(lease: Lease) -> None:
    """Whatever it has or has not; also when its position is its own id, as before any renewal."""
    for each in (lease, lease._replace(position=lease.lease_id), _plain(lease)):
        assert unpacked(each.lease_id, packed(each)) == each


def _plain(lease: Lease) -> Lease:
    return lease._replace(
        uid=None, labels=(), cluster=None, ttl_s=None, expires_at_ms=None,
        effective_at_ms=lease.granted_at_ms, position=lease.lease_id,
    )  # fmt: skip


def _two_of_one_hash() -> tuple[str, str]:
    seen: dict[int, str] = {}
    for number in range(1_000_000):
        name = f"pod-{number}-{number * 2_654_435_761 % 2**32:x}"
        other = seen.setdefault(crc32(name.encode()), name)
        if other != name:
            return other, name
    raise AssertionError("two of a million names have one hash of 32 bits")


def test_owners_of_one_hash_are_told_apart() -> None:
    """Each has its own leases; what one of them releases is not the other's."""
    one, other = _two_of_one_hash()
    ledger = TestLedger()
    ledger.apply(make_pool())
    (mine,) = ledger.grant(owner=one)
    theirs = ledger.grant(owner=other, number=2)
    assert ledger.state.leases_of(one) == [mine]
    assert tuple(ledger.state.leases_of(other)) == theirs
    assert ledger.held(make_allocate(owner=one)) == (mine,)
    ledger.done(make_release(owner=one))
    assert ledger.state.leases_of(one) == []
    assert tuple(ledger.state.leases_of(other)) == theirs
    ledger.done(make_release(theirs[0].lease_id))
    assert tuple(ledger.state.leases_of(other)) == theirs[1:]
