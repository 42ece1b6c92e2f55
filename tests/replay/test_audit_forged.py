"""Whatever is forged is found, at its place and under its name; and each rule is needed for it."""

from __future__ import annotations

from typing import Final

import fakeredis
import pytest

from engine import events as ev
from engine.entry import Anchor
from engine.errors import ContradictoryEvent, InvalidInput
from engine.facts import Counts
from engine.reading import HighWater
from engine.redis_stream import RedisStream, stream_key
from projections.commands import WINDOW_POSITIONS
from projections.state import LedgerState
from replay.audit import RULES, Audited, Options, audit, chain
from tests.builders import SPACE_ID, START_MS
from tests.replay.forger import WEB, Forger, granted, plain, raw
from tests.replay.forgeries import FORGERIES
from tests.replay.registry import Forge

# What no forged entry breaks: each has a test of its own below.
ELSEWHERE: Final = {"fields", "as-seen", "fold", "counts"}
FORGED: Final = [pytest.param(rule, forge, id=name) for name, (rule, forge) in FORGERIES.items()]


def audited(history: Forger, **options: object) -> Audited:
    """The audit of a history, without the state that is folded beside it."""
    return audit(history.stream, Options(**{"fold": False, **options}))  # type: ignore[arg-type]


def test_the_history_is_right() -> None:
    """Nothing is found before anything is forged; and its digest is that of a replay."""
    history = Forger()
    found = audit(history.stream, Options(count_every=1))
    assert (found.breaches, found.by_rule) == ((), {})
    assert (found.position, found.events, found.commits) == (15, 15, 14)
    assert found.digest is not None


@pytest.mark.parametrize(("rule", "forge"), FORGED)
def test_a_forgery_is_found(rule: str, forge: Forge) -> None:
    """By the one rule that it breaks, where it is; a replay beside the audit hides nothing."""
    history = Forger()
    position = forge(history)
    found = audited(history)
    assert set(found.by_rule) == {rule}, found.breaches
    assert found.breaches[0].position == position
    assert position in found.breaches[0].events
    assert rule in audit(history.stream).by_rule


@pytest.mark.parametrize(("rule", "forge"), FORGED)
def test_nothing_else_would_find_it(rule: str, forge: Forge) -> None:
    """Without its rule the forgery passes: that is what the rule is there for."""
    history = Forger()
    forge(history)
    assert not audited(history, muted=frozenset({rule})).by_rule


def test_every_rule_has_its_forgery() -> None:
    """No rule is there that nothing breaks."""
    assert {rule for rule, _ in FORGERIES.values()} | ELSEWHERE == set(RULES)


@pytest.mark.parametrize(
    ("forge", "behind"),
    [
        ("an address that is held", (7, 16)), ("an address that rests", (9, 16)),
        ("an address that is quarantined", (6, 16)), ("an address that is reserved", (4, 16)),
        ("an address outside the pool", (2, 16)), ("an address in use removed", (2, 7, 16)),
        ("a lease that was renewed since", (16, 17)), ("a second report", (12, 16)),
        ("two pools with one address", (3, 16)), ("a command that lands twice", (7, 16)),
        ("a pool that is terminating", (15, 16)),
        ("a tenure that begins in the one before", (16, 17)),
    ],
)  # fmt: skip
def test_a_breach_names_the_events_behind_it(forge: str, behind: tuple[int, ...]) -> None:
    """What was granted, released, defined or reported before stands beside the breach."""
    history = Forger()
    FORGERIES[forge][1](history)
    (breach,) = audited(history).breaches
    assert breach.events == behind
    assert breach.doubt is None


def test_all_breaches_are_found_and_some_are_kept() -> None:
    """The walk goes on; beyond the bound breaches are only counted."""
    history = Forger()
    history.write(granted(1, "z"))
    history.write(granted(3))
    history.write(history.ended(8))
    found = audited(history)
    assert [breach.rule for breach in found.breaches] == ["one-holder", "reserved", "live-release"]
    few = audited(history, breaches_max=1)
    assert (len(few.breaches), few.total) == (1, 3)
    assert few.by_rule == found.by_rule


def test_what_is_just_in_time_is_right() -> None:
    """At the very millisecond at which it may be."""
    history = Forger()

    def wait_until(at_s: int) -> float:
        return at_s - (history.ms - START_MS) / 1_000

    began_ms = history.raw(10).ms
    history.write(history.ended(10, effective_at_ms=began_ms))  # a tenure of no time
    history.write(granted(40, "z", 3, effective_at_ms=began_ms))  # from its very end
    history.write(granted(42, "z", 3, effective_at_ms=history.ms + 1_000))  # since just now
    history.write(granted(6, "z"), wait_s=wait_until(69))
    history.write(history.ended(7, 1), wait_s=wait_until(107))
    kept = plain(ev.ReservationDeleted(4, "kept", expired=True))
    history.write(kept, wait_s=wait_until(604))
    aside = plain(ev.QuarantineEnded(6, 4, raw(4, 4), expired=True))
    history.write(aside, wait_s=wait_until(3_606))
    assert not audit(history.stream, Options(count_every=1)).breaches
    history.write(granted(1, "z"), wait_s=0)  # .1 has rested since 167 s
    history.write(granted(3, "z"), granted(4, "z"), wait_s=0)
    assert not audit(history.stream, Options(count_every=1)).breaches


def test_what_just_fits_is_right() -> None:
    """As many ranges, routes, labels and bytes as there may be; and what is one's own."""
    history = Forger()
    ranges = b"".join(bytes([10, 4, n >> 7, n * 2 & 255]) * 2 for n in range(1_500))
    routes = tuple((bytes([10, 9, n >> 8, n & 255]), 32, raw(253)) for n in range(256))
    fresh = WEB._replace(name="n" * 253, ips=raw(90, 99), exclude_ips=b"", routes=routes)
    spread = WEB._replace(name="s", subnet=(bytes([10, 4, 0, 0]), 16), ips=ranges, exclude_ips=b"",
                          gateway=None, routes=())  # fmt: skip
    key = f"{'p' * 253}/{'k' * 63}"
    valid = ((key, ""), ("k", "v")), ((key, "In", ("v",)), ("k", "DoesNotExist", ()))
    selecting = WEB._replace(
        name="select", subnet=(bytes([10, 5, 0, 0]), 24), ips=b"", exclude_ips=b"",
        gateway=bytes([10, 5, 0, 0]), selectors=(valid, (valid[0], ()), ((), valid[1]), (), (), ()),
        routes=tuple((bytes([10, n, 0, 0]), 16, bytes([10, 5, 0, n])) for n in (0, 255)),
    )  # fmt: skip
    for definition in (fresh, spread, selecting):
        history.write(plain(definition))
    history.write(plain(ev.ReservationCreated("many", 4, ranges, None, owned=False)))
    labels = tuple((f"{number:02}", "v" * 512) for number in range(64))
    said = granted(8, "o" * 512, interface="i" * 64)
    said.sealed["labels"] = labels
    history.write(said)
    history.write(granted(7, "a"))  # which a reservation keeps for a
    assert not audit(history.stream, Options(count_every=1)).breaches


def test_a_command_may_come_again_when_its_window_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window is that of the writers: in it a command is once, behind it it is forgotten."""
    assert chain.WINDOW_POSITIONS == WINDOW_POSITIONS
    monkeypatch.setattr(chain, "WINDOW_POSITIONS", 4)
    for position, breaches in ((10, 0), (12, 1), (13, 1)):
        history = Forger()
        history.write(granted(8), command=history.record(position).header.command)
        assert audited(history).by_rule.get("command-once", 0) == breaches
    history = Forger()
    command = history.record(13).header.command
    history.write(granted(8), granted(9))  # the window ends with the latter of the two
    history.write(granted(10), command=command)
    assert "command-once" not in audited(history).by_rule


# --------------------------------------------------------------------------- what is missing


def test_what_nobody_can_see_is_not_judged() -> None:
    """What speaks of an event that is missing or unreadable is no breach of its own."""
    for forge in (
        lambda history: history.drop([8, 13]),
        lambda history: [history.replace(at, e=b"\xc1") for at in (8, 13)],
    ):
        history = Forger()
        forge(history)
        found = audited(history, muted=frozenset({"check-value"}))
        assert {breach.position for breach in found.breaches} == {8, 13}


def test_what_may_follow_from_a_hole_is_marked() -> None:
    """A release that is missing makes the next grant a breach; it is told what it may be due to."""
    history = Forger()
    history.write(history.ended(10))
    history.write(granted(40, "z", 3))
    history.drop([16])
    hole, second = audited(history).breaches
    assert (hole.rule, hole.position, hole.doubt) == ("gapless", 16, None)
    assert (second.rule, second.position, second.doubt) == ("one-holder", 17, 16)


def test_a_restoration_that_fits_is_no_breach() -> None:
    """It is listed, with who accepted it and why: whether that was right no stream can tell."""
    history = Forger()
    FORGERIES["a commit that was decided on what is void"][1](history)
    history.drop([22])
    history.write(granted(8))
    found = audit(history.stream)
    assert not found.by_rule
    (restoration,) = found.restorations
    assert restoration[2:] == (15, 20, "me", "why")
    assert (found.position, found.events, found.generation) == (22, 17, 1)


def test_an_entry_of_another_program_is_passed() -> None:
    """It is told, with or without a position, and what stands behind it is still audited."""
    history = Forger()
    ids = {7: f"{history.raw(7).ms}-7", 9: f"{history.raw(9).ms}-0"}
    client = fakeredis.FakeRedis()
    key = stream_key("default")
    for entry in history.stream.entries:
        fields = {"e": entry.e, "s": entry.s, "t": entry.t, "c": entry.c}
        if entry.position in ids:
            client.xadd(key, {"hello": "world"}, id=ids[entry.position])
        if entry.position != 7:
            client.xadd(key, fields, id=entry.entry_id)  # type: ignore[arg-type]
    found = audit(RedisStream(client, "default"), Options(fold=False))
    assert [(breach.rule, breach.position) for breach in found.breaches] == [
        ("fields", 7), ("fields", 0)
    ]  # fmt: skip
    assert (found.position, found.events) == (15, 16)
    muted = Options(fold=False, muted=frozenset({"fields"}))
    assert not audit(RedisStream(client, "default"), muted).by_rule


# -------------------------------------------------------------------------- what was seen before


def _seen(history: Forger, *positions: int) -> HighWater:
    raws = [history.raw(position) for position in positions]
    return HighWater(SPACE_ID, 0, tuple(Anchor(r.ms, r.position, r.c) for r in raws))


def test_what_was_seen_before_is_compared() -> None:
    """An entry that was exchanged, a history that is shorter, another space."""
    history = Forger()
    remembered = _seen(history, 7, 15)
    assert not audited(history, remembered=remembered).by_rule
    history.rewrite(7, sealed=history.record(7).sealed._replace(actor="somebody"))
    (breach,) = audited(history, remembered=remembered).breaches
    assert (breach.rule, breach.position) == ("as-seen", 7)
    assert not audited(history).by_rule
    history.drop([14, 15])
    found = audited(history, remembered=remembered)
    assert [breach.position for breach in found.breaches] == [7, 13]
    history = Forger()
    history.drop([7])
    assert audited(history, remembered=remembered).by_rule == {"gapless": 1}
    (breach,) = audited(Forger(), remembered=remembered._replace(space_id=bytes(16))).breaches
    assert (breach.rule, breach.position) == ("as-seen", 1)


def test_what_is_void_was_seen_and_is_not_there() -> None:
    """A machine that has seen what was given up says so."""
    history = Forger()
    remembered = _seen(history, 14, 15)
    history.drop([14, 15])
    FORGERIES["a restoration without a reason"][1](history)
    event = ev.HistoryRestored(13, 20, 1)
    record = history.record(21)
    history.rewrite(21, event=event, sealed=record.sealed._replace(reason="why"),
                    commit=record.commit._replace(decided_at=13))  # fmt: skip
    found = audited(history, remembered=remembered)
    assert [(breach.rule, breach.position) for breach in found.breaches] == [("as-seen", 21)]


# -------------------------------------------------------------------------- what is folded beside


def test_an_event_that_cannot_be_folded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the audit has found nothing, it is the fold that is wrong, or the audit."""

    def refuse(_state: LedgerState, _records: object) -> None:
        raise ContradictoryEvent("no", "", 2)

    monkeypatch.setattr(LedgerState, "apply_all", refuse)
    found = audit(Forger().stream)
    assert found.by_rule == {"fold": 1}
    assert found.digest is None


@pytest.mark.parametrize(
    "fault", ["counts", "pools", "leases", "reservations", "quarantines", "sum"]
)
def test_a_state_that_differs_is_told(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of it is not what the audit has counted itself."""
    if fault in {"counts", "sum"}:
        right = LedgerState.counts

        def wrong(state: LedgerState, pool_id: int) -> Counts:
            counts = right(state, pool_id)
            return counts._replace(free=counts.free + 1, total=counts.total + (fault == "counts"))

        monkeypatch.setattr(LedgerState, "counts", wrong)
    else:
        monkeypatch.setattr(LedgerState, fault, lambda _state: iter(()))
    history = Forger()
    assert set(audit(history.stream).by_rule) == {"counts"}
    often = audit(history.stream, Options(count_every=5))
    assert often.total > audit(history.stream).total


def test_a_type_of_a_later_level_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A type that a format level brings is written only after the level was raised."""
    monkeypatch.setitem(chain.SINCE_LEVEL, ev.QuarantineEnded, 2)
    history = Forger()
    assert not audited(history).by_rule
    history.write(plain(ev.QuarantineEnded(6, 4, raw(4, 4), expired=False)))
    assert audited(history).by_rule == {"level": 1}


# ------------------------------------------------------------------------------------ the bounds


@pytest.mark.parametrize(("position", "said"), [
    (0, "before the first"), (16, "beyond the end"), (10, "inside a commit"),
])  # fmt: skip
def test_an_end_that_is_none_is_refused(position: int, said: str) -> None:
    """Before anything is read; inside a commit the nearest ends are named."""
    with pytest.raises(InvalidInput, match=said) as caught:
        audited(Forger(), to_position=position)
    if position == 10:
        assert caught.value.hint == "the nearest commit ends are 9 and 11"


def test_an_audit_ends_where_it_is_told() -> None:
    """At a position or a time; what is forged behind it is not its business."""
    history = Forger()
    until_ms = history.ms
    history.write(granted(1, "z"))
    assert audited(history).total == 1
    assert [audited(history, to_position=at).position for at in (1, 15, 16)] == [1, 15, 16]
    found = audited(history, to_ms=until_ms)
    assert (found.position, found.total, found.ms) == (15, 0, until_ms)
    assert audited(history, to_ms=until_ms + 1_000).total == 1
    with pytest.raises(InvalidInput, match="no event by that time"):
        audited(history, to_ms=0)


def test_an_end_that_is_missing_or_void() -> None:
    """A position that was deleted is a hole; one that a restoration voided is no end at all."""
    history = Forger()
    history.drop([14])
    found = audited(history, to_position=14)
    assert [(breach.rule, breach.position) for breach in found.breaches] == [("gapless", 14)]
    history = Forger()
    FORGERIES["a commit that was decided on what is void"][1](history)
    with pytest.raises(InvalidInput, match="void"):
        audited(history, to_position=18)


def test_nothing_is_found_in_nothing() -> None:
    """A stream without entries has no breach; one that was seen before has."""
    history = Forger()
    remembered = _seen(history, 15)
    history.stream.entries, history.stream.last_generated = [], (0, 0)
    assert audited(history).total == 0
    assert audited(history, remembered=remembered).by_rule == {"as-seen": 1}


def test_progress_is_told_page_by_page() -> None:
    """How far the walk has come."""
    told: list[int] = []
    audit(Forger().stream, on_progress=told.append)
    assert told == [15]


def test_a_wide_pool_costs_what_a_narrow_one_does() -> None:
    """A whole /64 and a /8 are ranges, never lists; leases far apart in them are found."""
    history = Forger()
    wide = WEB._replace(name="six", subnet=(bytes([0xFD]) + bytes(15), 8), gateway=None, routes=(),
                        ips=bytes([0xFD]) + bytes(15) + bytes([0xFD]) + b"\xff" * 15,
                        exclude_ips=b"")  # fmt: skip
    pool_id = history.write(plain(wide))
    ends = (bytes([0xFD]) + bytes(15), bytes([0xFD]) + b"\xff" * 15)
    for number, address in enumerate(ends):
        history.write(granted(0, f"w{number}", pool_id, address=address, prefix_length=128))
    assert not audit(history.stream, Options(count_every=1)).by_rule
    history.write(plain(ev.PoolUpdated(pool_id, wide._replace(exclude_ips=ends[1] * 2))))
    assert audited(history).by_rule == {"V20": 1}
