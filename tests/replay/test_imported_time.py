"""How long an imported lease lasts: the state, its rebuild, the history and the audit agree."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.addresses import from_int
from engine.bulk import read_rows
from engine.commands import Adopt, Adopted, Renew
from engine.lasting import ends_ms
from engine.reading import Continuity
from projections.digest import state_digest
from projections.state import LedgerState
from replay.audit import Options, audit
from replay.history.catching_up import catch_up
from replay.history.store import HistoryView
from replay.rebuild import rebuild
from tests.builders import TestLedger, granted, make_allocate, make_pool

FIRST: Final = 0x0A000001


class Told(NamedTuple):
    """A lease: imported or granted here, since how many seconds, for how long, renewed for how."""

    imported: bool
    ago_s: int | None
    ttl_s: int | None
    renewed_s: int | None


TOLD: Final = st.builds(
    Told, st.booleans(), st.none() | st.integers(0, 50), st.none() | st.integers(51, 200),
    st.none() | st.integers(1, 100),
)  # fmt: skip


def lay_out(leases: list[Told]) -> tuple[TestLedger, dict[int, int | None]]:
    """A ledger with these leases, one a second, and when each of them is to end."""
    ledger = TestLedger()
    ledger.apply(make_pool("a"))
    ledger.clock.now_ms += 100_000
    expected: dict[int, int | None] = {}
    for number, told in enumerate(leases):
        now_ms = ledger.clock.now_ms = ledger.clock.now_ms + 1_000
        since_ms = None if told.ago_s is None else now_ms - told.ago_s * 1_000
        address, owner = from_int(FIRST + number, 4), f"pod-{number}"
        if told.imported:
            lease = Adopted(address, 32, owner, effective_at_ms=since_ms, ttl_s=told.ttl_s)
            (made,) = granted(ledger.done(Adopt((lease,), "kea")))
        else:
            command = make_allocate("a", owner=owner, effective_at_ms=since_ms, ttl_s=told.ttl_s)
            (made,) = granted(ledger.done(command._replace(addresses=(address,))))
        counted_ms = since_ms if told.imported and since_ms is not None else now_ms
        ends = None if told.ttl_s is None else counted_ms + told.ttl_s * 1_000
        if told.renewed_s is not None and ends is not None:
            ledger.done(Renew(made.lease_id, told.renewed_s, may_shorten=True))
            ends = now_ms + told.renewed_s * 1_000
        expected[made.lease_id] = ends
    return ledger, expected


@settings(max_examples=60)
@given(st.lists(TOLD, min_size=1, max_size=12))
def test_all_agree_on_when_a_lease_ends(leases: list[Told]) -> None:
    """Live, rebuilt event by event or in rows, in the history, and to the audit."""
    ledger, expected = lay_out(leases)
    shown = {lease.lease_id: lease.expires_at_ms for lease in ledger.state.leases()}
    assert shown == expected
    rebuilt = rebuild(ledger.stream).state
    assert state_digest(rebuilt) == state_digest(ledger.state)
    in_rows = LedgerState()
    for items in read_rows(ledger.stream, Continuity()):
        in_rows.apply_rows(items)
    assert state_digest(in_rows) == state_digest(ledger.state)
    found = audit(ledger.stream, Options(count_every=1))
    assert not found.total, found.breaches
    with tempfile.TemporaryDirectory() as directory:
        view = HistoryView(Path(directory) / "history.sqlite")
        catch_up(view, ledger.stream)
        with view.reading() as history:
            for lease in ledger.state.leases():
                (tenure,) = history.tenures(history.of_owner(lease.owner))
                assert tenure.expires_ms == lease.expires_at_ms
                assert tenure.from_ms == lease.effective_at_ms
        view.close()


@pytest.mark.parametrize(
    ("effective_at_ms", "ttl_s", "source", "ends"),
    [
        (None, None, None, None), (5, None, "kea", None), (None, 2, None, 2_100),
        (5, 2, None, 2_100), (None, 2, "kea", 2_100), (5, 2, "kea", 2_005),
    ],
)  # fmt: skip
def test_the_rule(
    effective_at_ms: int | None, ttl_s: int | None, source: str | None, ends: int | None
) -> None:
    """Counted from when it was recorded, and from since when it is so if it is from elsewhere."""
    assert ends_ms(100, effective_at_ms, ttl_s, source) == ends
