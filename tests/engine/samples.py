"""One entry of every kind of event, with nothing optional and with everything; for all tests."""

from __future__ import annotations

from typing import Final, NamedTuple

from engine import events as ev
from engine.entry import Commit, Header, RawEntry
from engine.events import Event, Sealed
from engine.shapes import SECONDS_MAX, U64_MAX
from engine.wire import encode_commit, encode_entry

MS: Final = 1_700_000_000_123
POSITION: Final = 1_000

V4: Final = bytes((10, 3, 2, 1))
V6: Final = bytes.fromhex("fd00000000000000000000000000abcd")
SUBNET_4: Final = (bytes((10, 3, 0, 0)), 16)
SUBNET_6: Final = (bytes.fromhex("fd00" + "00" * 14), 64)


class Sample(NamedTuple):
    """An event with what goes with it."""

    event: Event
    sealed: Sealed
    header: Header


COMMIT: Final = Commit(
    nonce=bytes(range(8)),
    part=1,
    parts=3,
    generation=2,
    decided_at=990,
    request_hash=bytes(range(16, 32)),
)

_BARE: Final = (Sealed(salt=bytes(16)), Header(command=bytes(16)))
_RICH: Final = (
    Sealed(
        salt=bytes(range(16)),
        owner="cluster/namespace/pod-ü",
        uid="8c5b8a5e-1f0c-4a8e-9d2b-0f6f3c1f0001",
        labels=(("empty", ""), ("mac", "52:54:00:12:34:56"), ("node", "node-1")),
        actor="alice",
        reason="Ticket 17: 日本",
        command_id="my own id",
        text="the printer's",
    ),
    Header(
        command=bytes(range(100, 116)),
        step=3,
        cause=999,
        effective_at_ms=MS - 5_000,
        signature=b"\x00\xff" * 32,
    ),
)

_SELECTOR: Final = (
    (("app", "db"), ("tier", "1")),
    (("zone", "In", ("a", "b")), ("gpu", "DoesNotExist", ())),
)

_POOL_BARE: Final = ev.PoolCreated(
    name="p",
    subnet=SUBNET_4,
    ips=b"",
    exclude_ips=b"",
    gateway=None,
    routes=(),
    disabled=False,
    default=False,
    selectors=(None, None, None, (), (), ()),
    policy=0,
    cooldown_s=0,
    ttl_s=None,
    sticky_s=None,
)
_POOL_RICH: Final = ev.PoolCreated(
    name="pool-6.example_1",
    subnet=SUBNET_6,
    ips=SUBNET_6[0] + V6 + b"\xfd" + b"\xff" * 15 + b"\xfe" + b"\x00" * 15,
    exclude_ips=V6 + V6,
    gateway=V6,
    routes=((SUBNET_6[0], 64, V6), (bytes(16), 0, V6)),
    disabled=True,
    default=True,
    selectors=(_SELECTOR, (_SELECTOR[0], ()), ((), _SELECTOR[1]), ("ns",), ("n1", "n2"), ("m",)),
    policy=3,
    cooldown_s=300,
    ttl_s=3_600,
    sticky_s=86_400,
)
_RESERVATION_BARE: Final = ev.ReservationCreated("r", 4, V4 + V4, None, owned=False)
_RESERVATION_RICH: Final = ev.ReservationCreated(
    "reserved", 6, SUBNET_6[0] + V6, SECONDS_MAX, owned=True
)

# By event type: what is there when everything optional is absent, and when it is present.
_EVENTS: Final[tuple[tuple[Event, Event], ...]] = (
    (
        ev.SpaceCreated(bytes(16), "default", 1),
        ev.SpaceCreated(bytes(range(16)), "space.of_tenant-1", 2),
    ),
    (ev.HistoryRestored(1, 1, 1), ev.HistoryRestored(17, 999, 3)),
    (ev.LevelRaised(2), ev.LevelRaised(255)),
    (
        ev.DurabilitySet(0, fsync=False, ack_timeout_ms=0),
        ev.DurabilitySet(255, fsync=True, ack_timeout_ms=60_000),
    ),
    (_POOL_BARE, _POOL_RICH),
    (ev.PoolUpdated(1, _POOL_BARE), ev.PoolUpdated(U64_MAX, _POOL_RICH)),
    (ev.PoolDeleted(1, "p"), ev.PoolDeleted(1 << 40, "pool-6.example_1")),
    (_RESERVATION_BARE, _RESERVATION_RICH),
    (
        ev.ReservationUpdated(1, _RESERVATION_BARE),
        ev.ReservationUpdated(200, _RESERVATION_RICH),
    ),
    (
        ev.ReservationDeleted(1, "r", expired=False),
        ev.ReservationDeleted(200, "reserved", expired=True),
    ),
    (
        ev.LeaseGranted(1, V4, 32, "eth0", None, None, None, (), None, None),
        ev.LeaseGranted(
            300, SUBNET_6[0], 64, "net1", 60, "cluster-1", 17, (3, 70_000), U64_MAX, "netbox"
        ),
    ),
    (
        ev.LeaseRenewed(2, 1, V4, 32, "eth0", None),
        ev.LeaseRenewed(400, 300, SUBNET_6[0], 64, "net1", 60),
    ),
    (ev.LeaseEnded(2, 1, V4, 32, "eth0", 0), ev.LeaseEnded(400, 300, SUBNET_6[0], 64, "net1", 3)),
    (
        ev.ConflictReported(2, 1, V4, 32, "eth0", None),
        ev.ConflictReported(400, 300, V6, 128, "net1", 900),
    ),
    (
        ev.LeaseObserved(2, 1, V4, 32, "eth0", bytes(16), present=False),
        ev.LeaseObserved(400, 300, SUBNET_6[0], 64, "net1", bytes(range(200, 216)), present=True),
    ),
    (ev.Quarantined(4, V4 + V4, None, None), ev.Quarantined(6, SUBNET_6[0] + V6, 900, 400)),
    (
        ev.QuarantineEnded(2, 4, V4 + V4, expired=False),
        ev.QuarantineEnded(500, 6, SUBNET_6[0] + V6, expired=True),
    ),
)

SAMPLES: Final[dict[str, dict[str, Sample]]] = {
    type(bare).__name__: {"least": Sample(bare, *_BARE), "full": Sample(rich, *_RICH)}
    for bare, rich in _EVENTS
}
ALL: Final = [sample for pair in SAMPLES.values() for sample in pair.values()]
IDS: Final = [f"{name}-{which}" for name, pair in SAMPLES.items() for which in pair]


def raw_entry(sample: Sample, commit: Commit = COMMIT) -> RawEntry:
    """The entry of a sample, as the stream would store it."""
    e, s, t = encode_entry(*sample)
    return RawEntry(MS, POSITION, e, s, t, encode_commit(commit, e, s)[1])
