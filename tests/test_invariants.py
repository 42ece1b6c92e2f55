"""The checker of histories finds what it is there to find."""

from __future__ import annotations

from typing import Final

import pytest

from engine import events as ev
from engine.entry import Record
from tests.builders import START_MS, TestLedger, make_pool, make_record, make_release
from tests.invariants import check_history, check_stream

_RAW: Final = bytes([10, 0, 0, 1])
_POOL: Final = ev.PoolCreated(
    "p", (bytes([10, 0, 0, 0]), 24), _RAW + bytes([10, 0, 0, 4]), bytes([10, 0, 0, 4]) * 2,
    None, (), False, False, (None, None, None, (), (), ()), 0, 60, None, None,
)  # fmt: skip
_GRANT: Final = ev.LeaseGranted(2, _RAW, 32, "eth0", 10, None, None, (), None, None)
_RESERVE: Final = ev.ReservationCreated("r", 4, _RAW * 2, 10, owned=False)
_ASIDE: Final = ev.Quarantined(4, _RAW * 2, 10, None)
_REPORT: Final = ev.ConflictReported(3, 2, _RAW, 32, "eth0", None)


def _end(how: int) -> ev.LeaseEnded:
    return ev.LeaseEnded(3, 2, _RAW, 32, "eth0", how)


def _at(seconds: int, event: ev.Event) -> tuple[int, ev.Event]:
    return seconds, event


# What follows the creation of a pool, by the words in which the checker must object.
FORGED: Final[dict[str, list[tuple[int, ev.Event]]]] = {
    "granted while it is held": [_at(0, _GRANT), _at(1, _GRANT)],
    "granted outside the pool": [_at(0, _GRANT._replace(address=bytes([10, 0, 0, 4])))],
    "granted while it is reserved": [_at(0, _RESERVE), _at(0, _GRANT)],
    "granted while it is quarantined": [_at(0, _ASIDE), _at(0, _GRANT)],
    "granted while it rests": [_at(0, _GRANT), _at(1, _end(0)), _at(60, _GRANT)],
    "granted from a closed pool": [_at(0, ev.PoolUpdated(2, _POOL._replace(disabled=True))),
                                   _at(0, _GRANT)],
    "what it supersedes has not ended": [_at(0, _GRANT), _at(1, _end(2)),
                                         _at(1, _GRANT._replace(supersedes=3))],
    "lease 3 is not active": [_at(0, _GRANT), _at(1, _end(0)), _at(1, _end(0))],
    "it is of another lease": [_at(0, _GRANT), _at(1, _end(0)._replace(interface="eth1"))],
    "lease 3 expires early": [_at(0, _GRANT), _at(9, _end(1))],
    "lease 3 is outside its pool": [
        _at(0, _GRANT), _at(0, ev.PoolUpdated(2, _POOL._replace(exclude_ips=_RAW * 2)))
    ],
    "a reservation expires early": [
        _at(0, _RESERVE), _at(9, ev.ReservationDeleted(3, "r", expired=True))
    ],
    "a quarantine expires early": [
        _at(0, _ASIDE), _at(9, ev.QuarantineEnded(3, 4, _RAW * 2, expired=True))
    ],
    "a reported address is not quarantined": [_at(0, _GRANT), _at(1, _REPORT), _at(2, _end(0))],
    "a quarantined address is held": [_at(0, _GRANT), _at(1, _ASIDE)],
    "an address is quarantined twice": [_at(0, _ASIDE), _at(1, _ASIDE)],
    "an address is in two pools": [_at(0, _POOL._replace(name="q"))],
    "two pools of one name": [_at(0, _POOL)],
    "time runs backwards": [_at(5, _GRANT), _at(4, _end(0))],
}  # fmt: skip


def _forge(events: list[tuple[int, ev.Event]]) -> list[Record]:
    """A history of commits of one event each, after a space and a pool."""
    history: list[tuple[int, ev.Event]] = [
        (0, ev.SpaceCreated(bytes(16), "default", 1)), (0, _POOL), *events
    ]  # fmt: skip
    return [
        make_record(
            position, event, START_MS + seconds * 1_000,
            owner=None if isinstance(event, ev.ReservationCreated) else "o",
        )
        for position, (seconds, event) in enumerate(history, 1)
    ]  # fmt: skip


@pytest.mark.parametrize(("said", "events"), FORGED.items(), ids=FORGED.keys())
def test_a_forged_history_is_found_out(said: str, events: list[tuple[int, ev.Event]]) -> None:
    """Each invariant is broken by nothing but the last event; up to there all is well."""
    check_history(_forge(events[:-1]))
    with pytest.raises(AssertionError, match=said):
        check_history(_forge(events))


def test_a_hole_and_a_repeated_command_are_found_out() -> None:
    """Positions without a gap, and each command once."""
    records = _forge([_at(0, _GRANT), _at(1, _end(0))])
    with pytest.raises(AssertionError, match="missing"):
        check_history([*records[:2], records[3]])
    records[3] = records[3]._replace(header=records[2].header)
    with pytest.raises(AssertionError, match="lands a second time"):
        check_history(records)


def test_a_digest_that_differs_is_found_out() -> None:
    """A live state is compared with what the history says."""
    ledger = TestLedger()
    ledger.apply(make_pool())
    before = ledger.digest()
    ledger.grant()
    ledger.done(make_release(owner="pod-1"))
    check_stream(ledger.stream, ledger.digest())
    with pytest.raises(AssertionError, match="differs from the replayed one"):
        check_stream(ledger.stream, before)
