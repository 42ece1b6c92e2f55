"""Blocks in the auditor's own books: what is forged about one is found, under its rule alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from engine import events as ev
from engine.errors import ContradictoryEvent
from engine.reading import Continuity, read_commits
from projections.state import LedgerState
from replay.audit import Options, audit
from tests.replay.forger import DMZ, Forger, Said, granted, plain, raw

Forge = Callable[[Forger], int]


def begun() -> Forger:
    """The history of `Forger`, raised to level 2, with 10.0.0.48/29 of dmz leased as number 17."""
    history = Forger()
    history.write(plain(ev.LevelRaised(2)))
    history.write(granted(48, "b", 3, prefix_length=29))
    return history


def _then(*said: Said) -> Forge:
    return lambda history: history.write(*said)


def _after_release(history: Forger) -> int:
    history.write(history.ended(17))
    return history.write(granted(48, "x", 3, prefix_length=29, effective_at_ms=history.ms - 1))


def _single_after_release(history: Forger) -> int:
    history.write(history.ended(17))
    return history.write(granted(50, "x", 3, effective_at_ms=history.ms - 1))


def _rested(number: int, **fields: Any) -> Forge:
    """.16/31 of web rests for 60 s after its lease."""

    def forge(history: Forger) -> int:
        lease = history.write(granted(16, "b", prefix_length=31))
        history.write(history.ended(lease))
        return history.write(granted(number, "b", **fields))

    return forge


def _with_excluded(history: Forger) -> int:
    history.write(plain(ev.QuarantineEnded(6, 4, raw(4, 4), expired=False)))
    return history.write(granted(4, "a", prefix_length=31))


def _part_of_quarantine(history: Forger) -> int:
    history.write(history.reported(17))
    history.write(history.ended(17), plain(ev.Quarantined(4, raw(48, 48), 30, 17)))
    return history.last


FORGED: Final[dict[str, tuple[str, Forge]]] = {
    "a block over a held address": ("one-holder", _then(granted(40, "x", 3, prefix_length=29))),
    "a block over a held block": ("one-holder", _then(granted(48, "x", 3, prefix_length=29))),
    "a block in a held block": ("one-holder", _then(granted(52, "x", 3, prefix_length=30))),
    "an address in a held block": ("one-holder", _then(granted(50, "x", 3))),
    "a block that began too early": ("one-tenure", _after_release),
    "an address that began in the tenure of a block": ("one-tenure", _single_after_release),
    "a block that is partly in no pool": ("in-pool", _then(granted(16, "x", prefix_length=29))),
    "a block with an excluded address": ("excluded", _with_excluded),
    "a block with a reserved address": ("reserved", _then(granted(2, "x", prefix_length=31))),
    "a block with the gateway": ("gateway", _then(granted(252, "x", prefix_length=30))),
    "a block over an address that rests": ("cooling", _then(granted(6, "a", prefix_length=31))),
    "a block that rests": ("cooling", _rested(16, prefix_length=31)),
    "an address in a block that rests": ("cooling", _rested(17)),
    "a pool that loses a part of a block": (
        "V20", _then(plain(ev.PoolUpdated(3, DMZ._replace(ips=raw(40, 50)))))
    ),
    "a part of a block quarantined": (
        "quarantine-once", _then(plain(ev.Quarantined(4, raw(50, 50), None, None)))
    ),
    "less set aside than a block": ("set-aside", _part_of_quarantine),
    "the end of another length": (
        "lease-facts", lambda history: history.write(history.ended(17, prefix_length=30))
    ),
}  # fmt: skip


def test_the_history_is_right() -> None:
    """Blocks are granted, renewed, reported, superseded, released and granted again."""
    history = begun()
    history.write(history.renewed(17))
    history.write(history.ended(17, 2), granted(48, "b", 3, prefix_length=29, uid="u2",
                                                supersedes=17))  # fmt: skip
    lease = history.last
    history.write(history.reported(lease))
    history.write(history.ended(lease), plain(ev.Quarantined(4, raw(48, 55), 30, lease)))
    first = history.write(granted(16, "b", prefix_length=31, uid="u1"))
    history.write(history.ended(first))  # it rests, and its last holder has it again
    history.write(granted(16, "b", prefix_length=31, supersedes=first))
    found = audit(history.stream, Options(count_every=1))
    assert not found.breaches
    assert found.digest is not None


@pytest.mark.parametrize(("rule", "forge"), FORGED.values(), ids=FORGED.keys())
def test_a_forgery_is_found(rule: str, forge: Forge) -> None:
    """By the one rule that it breaks, where it is; nothing else would find it."""
    history = begun()
    position = forge(history)
    found = audit(history.stream, Options(fold=False))
    assert set(found.by_rule) == {rule}, found.breaches
    assert found.breaches[0].position == position
    assert rule in audit(history.stream).by_rule
    assert not audit(history.stream, Options(fold=False, muted=frozenset({rule}))).by_rule


FOLDED = [name for name, (rule, _) in FORGED.items() if rule in {
    "one-holder", "in-pool", "excluded", "quarantined", "cooling", "lease-facts"
}]  # fmt: skip


@pytest.mark.parametrize("name", FOLDED)
def test_a_fold_refuses_what_cannot_be(name: str) -> None:
    """The state that decisions are made on takes no block that overlaps anything."""
    history = begun()
    FORGED[name][1](history)
    state = LedgerState()
    records = [record for commit in read_commits(history.stream, Continuity()) for record in commit]
    with pytest.raises(ContradictoryEvent):
        state.apply_all(records)
