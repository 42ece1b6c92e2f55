"""What must not become of an address: grants, renewals and ends that are forged."""

from __future__ import annotations

from typing import Any, Final

from engine import events as ev
from tests.replay.forger import DMZ, Forger, granted, plain, raw
from tests.replay.registry import Forge, Forgeries, just_before, write

MADE: Final = Forgeries()

# ------------------------------------------------------------------------------------- leases

MADE.several("one-holder", {
    "an address that is held": write(granted(1, "z")),
    "an address that its own holder has": write(granted(1, "a")),
    "an address twice in one commit": lambda history:
        history.write(granted(8), granted(8, "y")) + 1,
})  # fmt: skip


@MADE.one("one-tenure", "a tenure that begins in the one before")
def _overlapping(history: Forger) -> int:
    history.write(history.ended(10))
    return history.write(granted(40, "z", 3, effective_at_ms=history.ms - 1))


MADE.several("in-pool", {
    "an address outside the pool": write(granted(30)),
    "an address of another pool": write(granted(42)),
    "an address of the other family": write(granted(8, address=bytes(15) + b"\1",
                                                     prefix_length=128)),
})  # fmt: skip
MADE.several("excluded", {"an address that is excluded": write(granted(5))})
MADE.several("gateway", {"the gateway": write(granted(254))})
MADE.several("reserved", {
    "an address that is reserved": write(granted(3)),
    "an address that is reserved for another": write(granted(7)),
})  # fmt: skip
MADE.several("quarantined", {"an address that is quarantined": write(granted(4))})
MADE.several("cooling", {"an address that rests": write(granted(6), wait_s=just_before(69))})


@MADE.one("cooling", "the old address of a lease that another address succeeds")
def _cooling_successor(history: Forger) -> int:
    history.write(history.ended(7, 2), granted(8, "a", uid="u2", supersedes=7))
    return history.write(granted(1, "z"))


def _from_pool(**fields: Any) -> Forge:
    def forge(history: Forger) -> int:
        history.write(plain(ev.PoolUpdated(3, DMZ._replace(**fields))))
        return history.write(granted(42, pool_id=3))

    return forge


MADE.several("pool-open", {
    "a pool that is disabled": _from_pool(disabled=True),
    "a pool that is terminating": write(granted(61, pool_id=13)),
})  # fmt: skip


@MADE.one("pool-open", "a pool that is terminating, of an imported lease")
def _imported_into_terminating(history: Forger) -> int:
    history.write(plain(ev.LevelRaised(2)))
    history.write(plain(ev.PoolUpdated(3, DMZ._replace(disabled=True))))
    history.write(granted(42, pool_id=3, source="kea"))  # a pool that is disabled takes it
    return history.write(granted(61, pool_id=13, source="kea"))


@MADE.one("due-expiry", "an imported lease that ends before its time is over")
def _imported_ends_early(history: Forger) -> int:
    history.write(plain(ev.LevelRaised(2)))
    since_ms = history.ms - 1_000
    lease = history.write(granted(8, source="kea", ttl_s=10, effective_at_ms=since_ms), wait_s=0)
    return history.write(history.ended(lease, 1), wait_s=8.999)


@MADE.one("due-expiry", "a lease that is true since earlier and ends as if it were imported")
def _late_grant_ends_early(history: Forger) -> int:
    lease = history.write(granted(8, ttl_s=10, effective_at_ms=history.ms - 1_000), wait_s=0)
    return history.write(history.ended(lease, 1), wait_s=9)


def _superseding(**fields: Any) -> Forge:
    def forge(history: Forger) -> int:
        said = granted(1, **{"owner": "a", "uid": "u2", "supersedes": 7, **fields})
        return history.write(history.ended(7, 2), said) + 1

    return forge


MADE.several("supersede", {
    "a successor that is another owner's": _superseding(owner="z"),
    "a successor on another interface": _superseding(interface="eth1"),
    "a successor of the same incarnation": _superseding(uid="u1"),
    "a successor of no incarnation": _superseding(uid=None),
    "a lease that is superseded by none": lambda history: history.write(history.ended(7, 2)),
})  # fmt: skip


@MADE.one("supersede", "a successor of what was released")
def _after_release(history: Forger) -> int:
    said = granted(40, "d", 3, uid="u2", supersedes=10)
    return history.write(history.ended(10), said) + 1


@MADE.one("supersede", "two successors")
def _two_successors(history: Forger) -> int:
    said = [granted(number, "a", uid="u2", supersedes=7) for number in (1, 8)]
    return history.write(history.ended(7, 2), *said) + 2


MADE.several("beside", {"a lease beside that is not held": write(granted(8, beside=(8,)))})
MADE.several("live-release", {
    "a release of what has ended": lambda history: history.write(history.ended(8)),
    "a release twice in one commit": lambda history:
        history.write(history.ended(10), history.ended(10)) + 1,
    "a release of what never was": write(
        plain(ev.LeaseEnded(2, 2, raw(1), 32, "eth0", 0), owner="a")
    ),
})  # fmt: skip
MADE.several("live-renew", {
    "a renewal of what has ended": lambda history: history.write(history.renewed(8)),
})  # fmt: skip
MADE.several("live-report", {
    "a report on what has ended": lambda history: history.write(history.reported(8)),
    "a second report": lambda history: history.write(history.reported(11)),
})  # fmt: skip


def _released(**wrong: Any) -> Forge:
    return lambda history: history.write(history.ended(7, **wrong))


MADE.several("lease-facts", {
    f"a release that names another {name}": _released(**wrong)
    for name, wrong in dict[str, dict[str, Any]]({
        "pool": {"pool_id": 3}, "address": {"address": raw(9)}, "owner": {"owner": "z"},
        "interface": {"interface": "eth1"}, "uid": {"uid": "u2"},
        "label": {"labels": (("k", "v"),)},
    }).items()
})  # fmt: skip
MADE.several("lease-facts", {
    "a release of a block around it": lambda history:
        history.write(history.ended(10, prefix_length=29)),
    "a renewal by another owner": lambda history: history.write(history.renewed(7, owner="z")),
    "a report on another address": lambda history:
        history.write(history.reported(7, address=raw(9))),
})  # fmt: skip


@MADE.one("lease-facts", "a grant that was altered, check values and all")
def _altered_grant(history: Forger) -> int:
    history.rewrite(8, sealed=history.record(8).sealed._replace(owner="z"))
    return 9


MADE.several("due-expiry", {
    "a lease that expires early": lambda history:
        history.write(history.ended(7, 1), wait_s=just_before(107)),
    "a lease that expires and never would": lambda history: history.write(history.ended(10, 1)),
    "a reservation that expires early": write(
        plain(ev.ReservationDeleted(4, "kept", expired=True)), wait_s=just_before(604)
    ),
    "a reservation that expires and never would": write(
        plain(ev.ReservationDeleted(5, "own", expired=True), owner="a")
    ),
    "a quarantine that expires early": write(
        plain(ev.QuarantineEnded(6, 4, raw(4, 4), expired=True)), wait_s=just_before(3_606)
    ),
})  # fmt: skip


@MADE.one("due-expiry", "a lease that was renewed since")
def _renewed_since(history: Forger) -> int:
    history.write(history.renewed(7))
    return history.write(history.ended(7, 1), wait_s=599.999)
