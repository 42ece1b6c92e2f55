"""The check of histories that tests use fails where it must; tests/replay holds the audit in it."""

from __future__ import annotations

import pytest

from tests.builders import TestLedger, make_pool, make_release
from tests.invariants import check_stream
from tests.replay.forger import Forger, granted


def test_a_digest_that_differs_is_found_out() -> None:
    """A live state is compared with what the history says."""
    ledger = TestLedger()
    ledger.apply(make_pool())
    before = ledger.digest()
    ledger.grant()
    ledger.done(make_release(owner="pod-1"))
    assert len(check_stream(ledger.stream, ledger.digest())) == ledger.stream.head().position
    with pytest.raises(AssertionError, match="differs from the replayed one"):
        check_stream(ledger.stream, before)


def test_a_breach_is_found_out() -> None:
    """Whatever the audit finds fails the test that asked."""
    history = Forger()
    check_stream(history.stream)
    history.write(granted(1, "somebody else"))
    with pytest.raises(AssertionError, match="one-holder"):
        check_stream(history.stream)
