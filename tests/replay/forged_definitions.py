"""What must not be defined or set aside: pools, reservations, quarantines that are forged."""

from __future__ import annotations

from typing import Any, Final

from engine import events as ev
from tests.replay.forger import DMZ, NO_SELECTORS, OLD, WEB, Forger, granted, plain, raw
from tests.replay.registry import Forge, Forgeries, write

MADE: Final = Forgeries()

# ------------------------------------------------------------------- reservations, quarantine


def _aside(number: int = 41, for_s: int | None = 30, lease: int | None = 11) -> Any:
    return plain(ev.Quarantined(4, raw(number, number), for_s, lease))


MADE.several("set-aside", {
    "an end without the quarantine that was reported": lambda history:
        history.write(history.ended(11)),
    "a quarantine for another time": lambda history:
        history.write(history.ended(11), _aside(for_s=31)) + 1,
    "a quarantine of another address": lambda history:
        history.write(history.ended(11), _aside(42)) + 1,
    "a quarantine that follows from nothing": write(_aside(45, lease=10)),
})  # fmt: skip
MADE.several("quarantine-once", {
    "what is quarantined already": write(_aside(4, lease=None)),
    "what somebody holds": write(_aside(40, lease=None)),
    "a range that somebody holds an address of": write(
        plain(ev.Quarantined(4, raw(39, 40, 70, 80), None, None))
    ),
})  # fmt: skip
MADE.several("quarantine-live", {
    "no quarantine": write(plain(ev.QuarantineEnded(5, 4, raw(4, 4), expired=False))),
    "more than is quarantined": write(plain(ev.QuarantineEnded(6, 4, raw(4, 5), expired=False))),
    "the other family": write(
        plain(ev.QuarantineEnded(6, 6, bytes(15) + b"\1" + bytes(15) + b"\1", expired=False))
    ),
})  # fmt: skip
_KEPT: Final = ev.ReservationCreated("kept", 4, raw(3, 3), 600, owned=False)
MADE.several("reservation-live", {
    "no reservation to delete": write(plain(ev.ReservationDeleted(3, "kept", expired=False))),
    "no reservation to change": write(plain(ev.ReservationUpdated(3, _KEPT._replace(name="n")))),
})  # fmt: skip
MADE.several("reservation-name", {"a reservation of a name that is taken": write(plain(_KEPT))})
MADE.several("reservation-facts", {
    "a reservation renamed": write(plain(ev.ReservationUpdated(4, _KEPT._replace(name="n")))),
    "a reservation of the other family": write(
        plain(ev.ReservationUpdated(4, _KEPT._replace(family=6, ips=bytes(32))))
    ),
    "a deletion under another name": write(plain(ev.ReservationDeleted(4, "own", expired=False))),
    "an owner that is not said": write(plain(_KEPT._replace(name="n"), owner="a")),
    "an owner that is not there": write(plain(_KEPT._replace(name="n", owned=True))),
})  # fmt: skip

# -------------------------------------------------------------------------------------- pools


def _new(**fields: Any) -> Forge:
    fresh = WEB._replace(name="new", ips=raw(90, 99), exclude_ips=b"")
    return write(plain(fresh._replace(**fields)))


def _changed(**fields: Any) -> Forge:
    return write(plain(ev.PoolUpdated(2, WEB._replace(**fields))))


def _route(first: bytes, length: int, gateway: bytes = raw(253)) -> tuple[bytes, int, bytes]:
    return first, length, gateway


_ROUTE: Final = _route(bytes([10, 9, 0, 0]), 16)


@MADE.one("pool-live", "a grant from a pool that is gone")
def _gone(history: Forger) -> int:
    history.write(history.ended(14))
    return history.write(granted(61, pool_id=13))


@MADE.one("pool-live", "a change of a pool that is gone")
def _change_gone(history: Forger) -> int:
    history.write(history.ended(14))
    return history.write(plain(ev.PoolUpdated(13, WEB._replace(name="n", ips=raw(70, 70)))))


MADE.several("pool-live", {
    "a deletion of what is no pool": write(plain(ev.PoolDeleted(4, "kept"))),
    "a pool deleted under another name": write(plain(ev.PoolDeleted(2, "dmz"))),
    "a second deletion": write(plain(ev.PoolDeleted(13, "old"))),
})  # fmt: skip
MADE.several("V6", {
    "a pool of a name that is taken": _new(name="dmz"),
    "a pool of the name of one that is terminating": _new(name="old"),
})  # fmt: skip
MADE.several("V7", {
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


MADE.several("V9", {
    "a pool renamed": _changed(name="n"),
    "a pool in another subnet": _moved(subnet=(bytes([10, 6, 0, 0]), 24)),
    "a pool of another IP version": _moved(subnet=(bytes(16), 64)),
})  # fmt: skip
MADE.several("V10", {
    "ips outside the subnet": _new(ips=raw(90, 99) + bytes([10, 0, 1, 1]) * 2),
    "excludeIPs outside the subnet": _new(exclude_ips=bytes([10, 0, 1, 1]) * 2),
    "more ranges than fit": _new(
        subnet=(bytes([10, 4, 0, 0]), 16), gateway=None, routes=(),
        ips=b"".join(bytes([10, 4, n >> 7, n * 2 & 255]) * 2 for n in range(1_501)),
    ),
    "a reservation of more ranges than fit": write(plain(_KEPT._replace(
        name="n", ips=b"".join(bytes([10, 4, n >> 7, n * 2 & 255]) * 2 for n in range(1_501)),
    ))),
})  # fmt: skip
MADE.several("V11", {
    "two pools with one address": _new(ips=raw(59, 59)),
    "a pool that grows into another": _changed(ips=raw(1, 41)),
    "an exclusion that ends": lambda history: history.write(
        plain(WEB._replace(name="new", ips=raw(5, 5), exclude_ips=b""))
    ) and history.write(plain(ev.PoolUpdated(2, WEB._replace(exclude_ips=b"")))),
})  # fmt: skip
MADE.several("V12", {"a gateway outside the subnet": _new(gateway=bytes([10, 0, 1, 1]))})
MADE.several("V13", {"a gateway that is given out": _new(gateway=raw(95))})
MADE.several("V14", {"a default route": _new(routes=(_route(bytes(4), 0),))})
MADE.several("V15", {
    "two routes to one place": _new(routes=(_ROUTE, _ROUTE)),
    "more routes than fit": _new(
        routes=tuple(_route(bytes([10, 9, n >> 8, n & 255]), 32) for n in range(257))
    ),
})  # fmt: skip
MADE.several("V17", {"a route by a stranger": _new(routes=((*_ROUTE[:2], bytes([10, 0, 1, 1])),))})


def _selecting(*selectors: Any) -> Forge:
    return _new(selectors=(*selectors, *NO_SELECTORS[len(selectors):]))  # fmt: skip


MADE.several("V18", {
    "a selector that says nothing": _selecting(((), ())),
    "a label key that is none": _selecting(None, ((("a b", "c"),), ())),
    "a label value that is none": _selecting(None, None, ((("a", "b c"),), ())),
    "an operator that is none": _selecting(((), (("a", "Is", ("b",)),))),
    "an operator without its values": _selecting(((), (("a", "In", ()),))),
    "an operator with values too many": _selecting(((), (("a", "Exists", ("b",)),))),
})  # fmt: skip
MADE.several("V20", {
    "an address in use removed": _changed(ips=raw(2, 19)),
    "an address in use excluded": _changed(exclude_ips=raw(1, 1, 5, 5)),
    "everything removed": write(plain(ev.PoolUpdated(3, DMZ._replace(ips=b"")))),
})  # fmt: skip
MADE.several("V23", {
    "a terminating pool changed": write(plain(ev.PoolUpdated(13, OLD._replace(cooldown_s=1)))),
})  # fmt: skip
