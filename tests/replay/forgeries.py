"""Everything that must not be in a history, each forged so that one rule alone is broken.

Each function is given the history of `Forger`, forges, and returns the position of the breach.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal
from zlib import crc32

from engine import events as ev
from engine.entry import Header
from engine.events import Sealed
from engine.wire import pack
from tests.replay.forger import DMZ, NO_SELECTORS, OLD, WEB, Forger, granted, plain, raw

Forge = Callable[[Forger], int]
FORGERIES: Final[dict[str, tuple[str, Forge]]] = {}


def just_before(at_s: int) -> float:
    """How long to wait behind the history, so that it is a millisecond early."""
    return at_s - 14 - 0.001


def forgery(rule: str, name: str) -> Callable[[Forge], Forge]:
    """Enter a forgery under its name, with the rule that it breaks."""

    def enter(forge: Forge) -> Forge:
        assert name not in FORGERIES, name
        FORGERIES[name] = (rule, forge)
        return forge

    return enter


def _enter(rule: str, forgeries: dict[str, Forge]) -> None:
    for name, forge in forgeries.items():
        forgery(rule, name)(forge)


def _write(*said: Any, **commit: Any) -> Forge:
    return lambda history: history.write(*said, **commit)


# -------------------------------------------------------------------------- the bytes themselves


def _checked(c: bytes, e: bytes, s: bytes) -> bytes:
    """The commit field with the check value that is right for these bytes."""
    return c[:-8] + (crc32(e, crc32(c[:-8])) << 32 | crc32(s)).to_bytes(8)


def _with(field: Literal["e", "s"], value: bytes) -> Forge:
    def forge(history: Forger) -> int:
        entry = history.raw(14)
        parts = {"e": entry.e, "s": entry.s, field: value}
        return history.replace(14, **parts, c=_checked(entry.c, **parts))

    return forge


def _unknown_type(history: Forger) -> int:
    header = Header(bytes(16))
    return _with("e", pack((99, 1, *header)))(history)


_enter("shape", {
    "an event that is no msgpack": _with("e", b"\xc1"),
    "an event of a wrong shape": _with("e", pack((30, 1, *Header(bytes(16)), 2))),
    "a sealed part that is no msgpack": _with("s", b"\xc1"),
    "a sealed part of a wrong shape": _with("s", pack((bytes(15),))),
    "a commit field that is no msgpack": lambda history: history.replace(14, c=b"\xc1" * 20),
    "a commit field that is too short": lambda history: history.replace(14, c=pack((1, 2))),
})  # fmt: skip
_enter(
    "known",
    {
        "an event type that is unknown": _unknown_type,
        "a version that is unknown": _with("e", pack((30, 2, *Header(bytes(16)), 2))),
    },
)


@forgery("check-value", "an altered event")
def _altered_event(history: Forger) -> int:
    entry = history.raw(7)
    ttl = entry.e.rindex(bytes([100]))
    return history.replace(7, e=entry.e[:ttl] + bytes([99]) + entry.e[ttl + 1 :])


@forgery("check-value", "an altered sealed part")
def _altered_sealed(history: Forger) -> int:
    return history.replace(6, s=history.raw(6).s.replace(b"ARP", b"NDP"))


@forgery("check-value", "an altered commit")
def _altered_commit(history: Forger) -> int:
    entry = history.raw(15)
    return history.replace(15, c=entry.c.replace(bytes(16), b"\1" + bytes(15)))


@forgery("tags", "altered tags")
def _altered_tags(history: Forger) -> int:
    return history.replace(7, t=history.raw(7).t.replace(b"40a000001", b"40a000002"))


@forgery("tags", "an owner exchanged under the old tags")
def _exchanged_owner(history: Forger) -> int:
    tags = history.raw(14).t
    record = history.record(14)
    history.rewrite(14, sealed=record.sealed._replace(owner="somebody"))
    return history.replace(14, t=tags)


# --------------------------------------------------------------------------- one after the other


@forgery("gapless", "a hole")
def _hole(history: Forger) -> int:
    history.drop([5])
    return 5


@forgery("gapless", "the beginning trimmed away")
def _trimmed(history: Forger) -> int:
    history.drop(range(1, 4))
    return 1


@forgery("gapless", "the end deleted")
def _end_deleted(history: Forger) -> int:
    head = history.stream.last_generated
    history.drop([15])
    history.stream.last_generated = head
    return 15


@forgery("gapless", "a position that stands twice")
def _twice(history: Forger) -> int:
    history.ms += 1_000
    history.put(*history.record(14)[2:], position=14)
    return 14


@forgery("space", "a second space")
def _second_space(history: Forger) -> int:
    return history.write(plain(ev.SpaceCreated(bytes(16), "default", 1)))


@forgery("space", "a stream that does not begin with its space")
def _no_space(history: Forger) -> int:
    # Of another level than the first: what comes later is then of none, and may be of any.
    return history.rewrite(1, event=ev.ReservationCreated("r", 4, raw(99, 99), None, owned=False))


def _restore(
    kept: int, void_through: int, generation: int = 1, at: int = 0, reason: str | None = "why"
) -> Forge:
    def forge(history: Forger) -> int:
        history.generation = generation
        history.ms += 1_000
        event = ev.HistoryRestored(kept, void_through, generation)
        commit = history.record(7).commit._replace(
            generation=generation, decided_at=min(kept, 15), nonce=b"restored"
        )
        sealed = Sealed(bytes(16), actor="me", reason=reason)
        history.put(event, sealed, Header(b"x" * 16), commit, position=at or void_through + 1)
        return history.last

    return forge


_enter("restoration", {
    "a restoration that keeps too little": _restore(12, 20),
    "a restoration that voids what stands": _restore(14, 15),
    "a restoration of a later generation": _restore(15, 20, generation=2),
    "a restoration at another place": _restore(15, 20, at=23),
    "a restoration without a reason": _restore(15, 20, reason=None),
})  # fmt: skip


@forgery("monotonic-time", "time that runs backwards")
def _backwards(history: Forger) -> int:
    return history.replace(12, ms=history.raw(11).ms - 1)


@forgery("level", "a level of the future")
def _level(history: Forger) -> int:
    return history.write(plain(ev.LevelRaised(2)))


@forgery("level", "a space of a level of the future")
def _space_level(history: Forger) -> int:
    event = history.record(1).event
    assert isinstance(event, ev.SpaceCreated)
    return history.rewrite(1, event=event._replace(level=2))


_enter("level", {"a block": _write(granted(8, prefix_length=30))})


# ------------------------------------------------------------------------------------ commits


@forgery("commit-whole", "a commit that is cut short at the end")
def _cut_short(history: Forger) -> int:
    first = history.write(granted(8), granted(9))
    history.drop([first + 1])
    return first


@forgery("commit-whole", "a commit that is cut short in the middle")
def _cut_inside(history: Forger) -> int:
    history.write(granted(8), parts=2)
    return history.write(granted(9), decided_at=15)


@forgery("commit-whole", "a part without what is before it")
def _without_beginning(history: Forger) -> int:
    return history.write(granted(8), part=1, parts=2, decided_at=14)


@forgery("commit-whole", "a commit of two nonces")
def _two_nonces(history: Forger) -> int:
    commit = history.record(11).commit
    return history.rewrite(11, commit=commit._replace(nonce=bytes(8)))


@forgery("commit-whole", "a commit of two times")
def _two_times(history: Forger) -> int:
    return history.replace(11, ms=history.raw(11).ms + 1)


@forgery("commit-whole", "a commit of two commands")
def _two_commands(history: Forger) -> int:
    return history.rewrite(11, header=Header(b"y" * 16))


@forgery("commit-size", "a commit of more than a megabyte")
def _large(history: Forger) -> int:
    labels = tuple((f"{number:0512}", "v" * 512) for number in range(64))
    said = [
        plain(ev.ReservationCreated(f"r{number}", 4, raw(99, 99), None, owned=False), labels=labels)
        for number in range(16)
    ]
    return history.write(*said) + 15


_enter("generation", {"a commit of another generation": _write(granted(8), generation=1)})
_enter("decided-at", {
    "a commit that was decided on itself": _write(granted(8), decided_at=16),
    "a commit that was decided inside of another": _write(granted(8), decided_at=10),
})  # fmt: skip


@forgery("decided-at", "two entries swapped")
def _swapped(history: Forger) -> int:
    former, latter = history.raw(4), history.raw(5)
    history.replace(4, **dict(zip("estc", latter[2:], strict=True)))
    history.replace(5, **dict(zip("estc", former[2:], strict=True)))
    return 4


@forgery("decided-at", "a commit that was decided on what is void")
def _on_void(history: Forger) -> int:
    _restore(15, 20)(history)
    return history.write(granted(8), decided_at=18)


@forgery("command-once", "a command that lands twice")
def _again(history: Forger) -> int:
    return history.write(granted(8), command=history.record(7).header.command)


@forgery("command-id", "a command id that is another's")
def _command_id(history: Forger) -> int:
    said = granted(8)
    said.sealed["command_id"] = "nightly"
    return history.write(said)


_enter("cause", {"a cause that comes later": _write(granted(8)._replace(cause=17))})


@forgery("effective-at", "something that will be true")
def _will_be(history: Forger) -> int:
    return history.write(granted(8, effective_at_ms=history.ms + 1_001))


@forgery("effective-at", "an end before the beginning")
def _before_it_began(history: Forger) -> int:
    began_ms = history.raw(10).ms
    return history.write(history.ended(10, effective_at_ms=began_ms - 1))


def _sealed(**fields: Any) -> Forge:
    def forge(history: Forger) -> int:
        said = granted(8)
        said.sealed.update(fields)
        return history.write(said)

    return forge


_enter("names", {
    "a pool whose name is none": _write(
        plain(WEB._replace(name="a b", ips=raw(90, 91), exclude_ips=b""))
    ),
    "an owner with a control character": _sealed(owner="x\ny"),
    "an owner that is not normalised": _sealed(owner="e\u0301"),
    "an owner that is missing": _sealed(owner=None),
    "an actor who is too long": _sealed(actor="x" * 513),
    "labels without end": _sealed(labels=tuple((f"{number:03}", "") for number in range(65))),
    "a label of blanks": _sealed(labels=((" ", "x"),)),
    "an interface in two words": _write(granted(8, interface="eth 0")),
    "a cluster without a name": _write(granted(8, cluster="")),
})  # fmt: skip

# ------------------------------------------------------------------------------------- leases

_enter("one-holder", {
    "an address that is held": _write(granted(1, "z")),
    "an address that its own holder has": _write(granted(1, "a")),
    "an address twice in one commit": lambda history:
        history.write(granted(8), granted(8, "y")) + 1,
})  # fmt: skip


@forgery("one-tenure", "a tenure that begins in the one before")
def _overlapping(history: Forger) -> int:
    history.write(history.ended(10))
    return history.write(granted(40, "z", 3, effective_at_ms=history.ms - 1))


_enter("in-pool", {
    "an address outside the pool": _write(granted(30)),
    "an address of another pool": _write(granted(42)),
    "an address of the other family": _write(granted(8, address=bytes(15) + b"\1",
                                                     prefix_length=128)),
})  # fmt: skip
_enter("excluded", {"an address that is excluded": _write(granted(5))})
_enter("gateway", {"the gateway": _write(granted(254))})
_enter("reserved", {
    "an address that is reserved": _write(granted(3)),
    "an address that is reserved for another": _write(granted(7)),
})  # fmt: skip
_enter("quarantined", {"an address that is quarantined": _write(granted(4))})
_enter("cooling", {"an address that rests": _write(granted(6), wait_s=just_before(69))})


@forgery("cooling", "the old address of a lease that another address succeeds")
def _cooling_successor(history: Forger) -> int:
    history.write(history.ended(7, 2), granted(8, "a", uid="u2", supersedes=7))
    return history.write(granted(1, "z"))


def _from_pool(**fields: Any) -> Forge:
    def forge(history: Forger) -> int:
        history.write(plain(ev.PoolUpdated(3, DMZ._replace(**fields))))
        return history.write(granted(42, pool_id=3))

    return forge


_enter("pool-open", {
    "a pool that is disabled": _from_pool(disabled=True),
    "a pool with selectors": _from_pool(selectors=(*NO_SELECTORS[:4], ("node-1",), ())),
    "a pool that is terminating": _write(granted(61, pool_id=13)),
})  # fmt: skip


def _superseding(**fields: Any) -> Forge:
    def forge(history: Forger) -> int:
        said = granted(1, **{"owner": "a", "uid": "u2", "supersedes": 7, **fields})
        return history.write(history.ended(7, 2), said) + 1

    return forge


_enter("supersede", {
    "a successor that is another owner's": _superseding(owner="z"),
    "a successor on another interface": _superseding(interface="eth1"),
    "a successor of the same incarnation": _superseding(uid="u1"),
    "a successor of no incarnation": _superseding(uid=None),
    "a lease that is superseded by none": lambda history: history.write(history.ended(7, 2)),
})  # fmt: skip


@forgery("supersede", "a successor of what was released")
def _after_release(history: Forger) -> int:
    said = granted(40, "d", 3, uid="u2", supersedes=10)
    return history.write(history.ended(10), said) + 1


@forgery("supersede", "two successors")
def _two_successors(history: Forger) -> int:
    said = [granted(number, "a", uid="u2", supersedes=7) for number in (1, 8)]
    return history.write(history.ended(7, 2), *said) + 2


_enter("beside", {"a lease beside that is not held": _write(granted(8, beside=(8,)))})
_enter("live-release", {
    "a release of what has ended": lambda history: history.write(history.ended(8)),
    "a release twice in one commit": lambda history:
        history.write(history.ended(10), history.ended(10)) + 1,
    "a release of what never was": _write(
        plain(ev.LeaseEnded(2, 2, raw(1), 32, "eth0", 0), owner="a")
    ),
})  # fmt: skip
_enter("live-renew", {
    "a renewal of what has ended": lambda history: history.write(history.renewed(8)),
})  # fmt: skip
_enter("live-report", {
    "a report on what has ended": lambda history: history.write(history.reported(8)),
    "a second report": lambda history: history.write(history.reported(11)),
})  # fmt: skip


def _released(**wrong: Any) -> Forge:
    return lambda history: history.write(history.ended(7, **wrong))


_enter("lease-facts", {
    f"a release that names another {name}": _released(**wrong)
    for name, wrong in dict[str, dict[str, Any]]({
        "pool": {"pool_id": 3}, "address": {"address": raw(9)}, "owner": {"owner": "z"},
        "interface": {"interface": "eth1"}, "uid": {"uid": "u2"},
        "label": {"labels": (("k", "v"),)},
    }).items()
})  # fmt: skip
_enter("lease-facts", {
    "a release of a block around it": lambda history:
        history.write(history.ended(10, prefix_length=29)),
    "a renewal by another owner": lambda history: history.write(history.renewed(7, owner="z")),
    "a report on another address": lambda history:
        history.write(history.reported(7, address=raw(9))),
})  # fmt: skip


@forgery("lease-facts", "a grant that was altered, check values and all")
def _altered_grant(history: Forger) -> int:
    history.rewrite(8, sealed=history.record(8).sealed._replace(owner="z"))
    return 9


_enter("due-expiry", {
    "a lease that expires early": lambda history:
        history.write(history.ended(7, 1), wait_s=just_before(107)),
    "a lease that expires and never would": lambda history: history.write(history.ended(10, 1)),
    "a reservation that expires early": _write(
        plain(ev.ReservationDeleted(4, "kept", expired=True)), wait_s=just_before(604)
    ),
    "a reservation that expires and never would": _write(
        plain(ev.ReservationDeleted(5, "own", expired=True), owner="a")
    ),
    "a quarantine that expires early": _write(
        plain(ev.QuarantineEnded(6, 4, raw(4, 4), expired=True)), wait_s=just_before(3_606)
    ),
})  # fmt: skip


@forgery("due-expiry", "a lease that was renewed since")
def _renewed_since(history: Forger) -> int:
    history.write(history.renewed(7))
    return history.write(history.ended(7, 1), wait_s=599.999)


# ------------------------------------------------------------------- reservations, quarantine


def _aside(number: int = 41, for_s: int | None = 30, lease: int | None = 11) -> Any:
    return plain(ev.Quarantined(4, raw(number, number), for_s, lease))


_enter("set-aside", {
    "an end without the quarantine that was reported": lambda history:
        history.write(history.ended(11)),
    "a quarantine for another time": lambda history:
        history.write(history.ended(11), _aside(for_s=31)) + 1,
    "a quarantine of another address": lambda history:
        history.write(history.ended(11), _aside(42)) + 1,
    "a quarantine that follows from nothing": _write(_aside(45, lease=10)),
})  # fmt: skip
_enter("quarantine-once", {
    "what is quarantined already": _write(_aside(4, lease=None)),
    "what somebody holds": _write(_aside(40, lease=None)),
    "a range that somebody holds an address of": _write(
        plain(ev.Quarantined(4, raw(39, 40, 70, 80), None, None))
    ),
})  # fmt: skip
_enter("quarantine-live", {
    "no quarantine": _write(plain(ev.QuarantineEnded(5, 4, raw(4, 4), expired=False))),
    "more than is quarantined": _write(plain(ev.QuarantineEnded(6, 4, raw(4, 5), expired=False))),
    "the other family": _write(
        plain(ev.QuarantineEnded(6, 6, bytes(15) + b"\1" + bytes(15) + b"\1", expired=False))
    ),
})  # fmt: skip
_KEPT: Final = ev.ReservationCreated("kept", 4, raw(3, 3), 600, owned=False)
_enter("reservation-live", {
    "no reservation to delete": _write(plain(ev.ReservationDeleted(3, "kept", expired=False))),
    "no reservation to change": _write(plain(ev.ReservationUpdated(3, _KEPT._replace(name="n")))),
})  # fmt: skip
_enter("reservation-name", {"a reservation of a name that is taken": _write(plain(_KEPT))})
_enter("reservation-facts", {
    "a reservation renamed": _write(plain(ev.ReservationUpdated(4, _KEPT._replace(name="n")))),
    "a reservation of the other family": _write(
        plain(ev.ReservationUpdated(4, _KEPT._replace(family=6, ips=bytes(32))))
    ),
    "a deletion under another name": _write(plain(ev.ReservationDeleted(4, "own", expired=False))),
    "an owner that is not said": _write(plain(_KEPT._replace(name="n"), owner="a")),
    "an owner that is not there": _write(plain(_KEPT._replace(name="n", owned=True))),
})  # fmt: skip

# -------------------------------------------------------------------------------------- pools


def _new(**fields: Any) -> Forge:
    fresh = WEB._replace(name="new", ips=raw(90, 99), exclude_ips=b"")
    return _write(plain(fresh._replace(**fields)))


def _changed(**fields: Any) -> Forge:
    return _write(plain(ev.PoolUpdated(2, WEB._replace(**fields))))


def _route(first: bytes, length: int, gateway: bytes = raw(253)) -> tuple[bytes, int, bytes]:
    return first, length, gateway


_ROUTE: Final = _route(bytes([10, 9, 0, 0]), 16)


@forgery("pool-live", "a grant from a pool that is gone")
def _gone(history: Forger) -> int:
    history.write(history.ended(14))
    return history.write(granted(61, pool_id=13))


@forgery("pool-live", "a change of a pool that is gone")
def _change_gone(history: Forger) -> int:
    history.write(history.ended(14))
    return history.write(plain(ev.PoolUpdated(13, WEB._replace(name="n", ips=raw(70, 70)))))


_enter("pool-live", {
    "a deletion of what is no pool": _write(plain(ev.PoolDeleted(4, "kept"))),
    "a pool deleted under another name": _write(plain(ev.PoolDeleted(2, "dmz"))),
    "a second deletion": _write(plain(ev.PoolDeleted(13, "old"))),
})  # fmt: skip
_enter("V6", {
    "a pool of a name that is taken": _new(name="dmz"),
    "a pool of the name of one that is terminating": _new(name="old"),
})  # fmt: skip
_enter("V7", {
    "a subnet within another": _new(subnet=(raw(128), 25), ips=raw(200, 209), gateway=None,
                                    routes=()),
    "a subnet around another": _new(subnet=(bytes([10, 0, 0, 0]), 8), ips=raw(200, 209)),
})  # fmt: skip


def _moved(**fields: Any) -> Forge:
    """A pool that is alone in its subnet, changed."""
    alone = WEB._replace(name="alone", subnet=(bytes([10, 5, 0, 0]), 24), ips=b"", exclude_ips=b"",
                         gateway=None, routes=())  # fmt: skip

    def forge(history: Forger) -> int:
        pool_id = history.write(plain(alone))
        return history.write(plain(ev.PoolUpdated(pool_id, alone._replace(**fields))))

    return forge


_enter("V9", {
    "a pool renamed": _changed(name="n"),
    "a pool in another subnet": _moved(subnet=(bytes([10, 6, 0, 0]), 24)),
    "a pool of another IP version": _moved(subnet=(bytes(16), 64)),
})  # fmt: skip
_enter("V10", {
    "ips outside the subnet": _new(ips=raw(90, 99) + bytes([10, 0, 1, 1]) * 2),
    "excludeIPs outside the subnet": _new(exclude_ips=bytes([10, 0, 1, 1]) * 2),
    "more ranges than fit": _new(
        subnet=(bytes([10, 4, 0, 0]), 16), gateway=None, routes=(),
        ips=b"".join(bytes([10, 4, n >> 7, n * 2 & 255]) * 2 for n in range(1_501)),
    ),
    "a reservation of more ranges than fit": _write(plain(_KEPT._replace(
        name="n", ips=b"".join(bytes([10, 4, n >> 7, n * 2 & 255]) * 2 for n in range(1_501)),
    ))),
})  # fmt: skip
_enter("V11", {
    "two pools with one address": _new(ips=raw(59, 59)),
    "a pool that grows into another": _changed(ips=raw(1, 41)),
    "an exclusion that ends": lambda history: history.write(
        plain(WEB._replace(name="new", ips=raw(5, 5), exclude_ips=b""))
    ) and history.write(plain(ev.PoolUpdated(2, WEB._replace(exclude_ips=b"")))),
})  # fmt: skip
_enter("V12", {"a gateway outside the subnet": _new(gateway=bytes([10, 0, 1, 1]))})
_enter("V13", {"a gateway that is given out": _new(gateway=raw(95))})
_enter("V14", {"a default route": _new(routes=(_route(bytes(4), 0),))})
_enter("V15", {
    "two routes to one place": _new(routes=(_ROUTE, _ROUTE)),
    "more routes than fit": _new(
        routes=tuple(_route(bytes([10, 9, n >> 8, n & 255]), 32) for n in range(257))
    ),
})  # fmt: skip
_enter("V17", {"a route by a stranger": _new(routes=((*_ROUTE[:2], bytes([10, 0, 1, 1])),))})


def _selecting(*selectors: Any) -> Forge:
    return _new(selectors=(*selectors, *NO_SELECTORS[len(selectors):]))  # fmt: skip


_enter("V18", {
    "a selector that says nothing": _selecting(((), ())),
    "a label key that is none": _selecting(None, ((("a b", "c"),), ())),
    "a label value that is none": _selecting(None, None, ((("a", "b c"),), ())),
    "an operator that is none": _selecting(((), (("a", "Is", ("b",)),))),
    "an operator without its values": _selecting(((), (("a", "In", ()),))),
    "an operator with values too many": _selecting(((), (("a", "Exists", ("b",)),))),
})  # fmt: skip
_enter("V20", {
    "an address in use removed": _changed(ips=raw(2, 19)),
    "an address in use excluded": _changed(exclude_ips=raw(1, 1, 5, 5)),
    "everything removed": _write(plain(ev.PoolUpdated(3, DMZ._replace(ips=b"")))),
})  # fmt: skip
_enter("V23", {
    "a terminating pool changed": _write(plain(ev.PoolUpdated(13, OLD._replace(cooldown_s=1)))),
})  # fmt: skip
