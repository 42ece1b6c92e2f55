"""A history that is right, and a hand that writes on in it what must not be.

Whatever is forged is encoded anew, with check values and tags that agree: only what it says is
wrong. So only the one rule of the audit that it breaks can find it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final, NamedTuple

from engine import events as ev
from engine.entry import Commit, Header, RawEntry, Record
from engine.events import Event, Sealed
from engine.memory_stream import MemoryStream
from engine.wire import decode_entry, encode_commit, encode_entry
from tests.builders import SPACE_ID, START_MS

NO_SELECTORS: Final = (None, None, None, (), (), ())


def raw(*last: int) -> bytes:
    """Addresses of 10.0.0.0/24 end to end."""
    return b"".join(bytes([10, 0, 0, number]) for number in last)


WEB: Final = ev.PoolCreated(
    "web", (raw(0), 24), raw(1, 19), raw(5, 5), raw(254),
    ((bytes([10, 9, 0, 0]), 16, raw(253)),), disabled=False, default=False,
    selectors=NO_SELECTORS, policy=0, cooldown_s=60, ttl_s=None, sticky_s=None,
)  # fmt: skip
DMZ: Final = WEB._replace(name="dmz", ips=raw(40, 59), exclude_ips=b"", cooldown_s=0)
OLD: Final = WEB._replace(name="old", ips=raw(60, 69), exclude_ips=b"")


class Said(NamedTuple):
    """An event with what is sealed with it and what its header says beside the command."""

    event: Event
    sealed: dict[str, Any]
    cause: int | None = None
    effective_at_ms: int | None = None


def granted(number: int, owner: str = "x", pool_id: int = 2, **fields: Any) -> Said:
    """A grant of 10.0.0.`number` to an owner; the uid is sealed."""
    uid = fields.pop("uid", None)
    effective_at_ms = fields.pop("effective_at_ms", None)
    about: dict[str, Any] = {
        "address": raw(number), "prefix_length": 32, "interface": "eth0", "ttl_s": None,
        "cluster": None, "supersedes": None, "beside": (), "seed": None, "source": None,
    }  # fmt: skip
    event = ev.LeaseGranted(pool_id, **{**about, **fields})
    return Said(event, {"owner": owner, "uid": uid}, effective_at_ms=effective_at_ms)


def plain(event: Event, **sealed: Any) -> Said:
    """Any other event."""
    return Said(event, sealed)


class Forger:
    """A history in memory. `write` goes on with it; `rewrite` changes what was written.

    ::

        1  space                          8  10.0.0.6 to c, 1 min ttl, lease 8
        2  pool web: .1-.19 but .5        9  lease 8 is released: .6 rests until 69 s
        3  pool dmz: .40-.59, no rest    10  10.0.0.40 and .41 of dmz to d, leases 10 and 11,
        4  reservation of .3             11    in one commit
        5  reservation of .7 for a       12  a conflict on lease 11, for 30 s
        6  quarantine of .4, 1 h         13  pool old: .60-.69
        7  10.0.0.1 to a, 100 s ttl      14  10.0.0.60 of old to e
                                         15  pool old is terminating
    """

    def __init__(self) -> None:
        self.stream = MemoryStream(lambda: self.ms)
        self.ms = START_MS
        self.generation = 0
        self.write(plain(ev.SpaceCreated(SPACE_ID, "default", 1)))
        self.write(plain(WEB))
        self.write(plain(DMZ))
        self.write(plain(ev.ReservationCreated("kept", 4, raw(3, 3), 600, owned=False)))
        self.write(plain(ev.ReservationCreated("own", 4, raw(7, 7), None, owned=True), owner="a"))
        self.write(plain(ev.Quarantined(4, raw(4, 4), 3_600, None), text="answers ARP"))
        self.write(granted(1, "a", uid="u1", ttl_s=100))
        self.write(granted(6, "c", ttl_s=60))
        self.write(self.ended(8))
        self.write(granted(40, "d", 3), granted(41, "d", 3))
        self.write(self.reported(11))
        self.write(plain(OLD))
        self.write(granted(60, "e", 13))
        self.write(plain(ev.PoolDeleted(13, "old")))

    @property
    def last(self) -> int:
        """The last position."""
        return self.stream.last_generated[1]

    def write(self, *said: Said, wait_s: float = 1, **commit: Any) -> int:
        """One commit, right in its form unless `commit` says otherwise; its first position."""
        self.ms += int(wait_s * 1_000)
        first = self.last + 1
        command = commit.pop("command", sha256(str(first).encode()).digest()[:16])
        step = commit.pop("step", 0)
        about = {
            "nonce": first.to_bytes(8), "parts": len(said), "generation": self.generation,
            "decided_at": first - 1, "request_hash": bytes(16), **commit,
        }  # fmt: skip
        for part, (event, sealed, cause, effective_at_ms) in enumerate(said):
            header = Header(command, step, cause, effective_at_ms)
            self.put(event, Sealed(bytes(16), **sealed), header, Commit(**{"part": part, **about}))
        return first

    def put(
        self, event: Event, sealed: Sealed, header: Header, commit: Commit, position: int = 0
    ) -> None:
        """One entry behind the others, encoded as it should be."""
        e, s, t = encode_entry(event, sealed, header)
        c = encode_commit(commit, e, s)[1]
        self.stream.entries.append(RawEntry(self.ms, position or self.last + 1, e, s, t, c))
        self.stream.last_generated = self.stream.entries[-1][:2]

    def raw(self, position: int) -> RawEntry:
        """The entry at a position."""
        return next(raw for raw in self.stream.entries if raw.position == position)

    def record(self, position: int) -> Record:
        """The entry at a position, decoded."""
        return decode_entry(self.raw(position))

    def replace(self, position: int, **fields: Any) -> int:
        """Store other bytes at a position, whatever they are."""
        at = self.stream.entries.index(self.raw(position))
        self.stream.entries[at] = self.stream.entries[at]._replace(**fields)
        if at == len(self.stream.entries) - 1:
            self.stream.last_generated = self.stream.entries[at][:2]
        return position

    def rewrite(self, position: int, **parts: Any) -> int:
        """Let an entry say something else: parts of its record, encoded anew."""
        record = self.record(position)._replace(**parts)
        e, s, t = encode_entry(record.event, record.sealed, record.header)
        c = encode_commit(record.commit, e, s)[1]
        return self.replace(position, e=e, s=s, t=t, c=c, ms=record.ms)

    def drop(self, positions: Iterable[int]) -> None:
        """Entries vanish, and the stream knows of it no more than its last entry says."""
        gone = set(positions)
        self.stream.entries = [raw for raw in self.stream.entries if raw.position not in gone]
        self.stream.last_generated = self.stream.entries[-1][:2]

    # ------------------------------------------------------------------- what is said of a lease

    def _repeated(self, lease: int, **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        record = self.record(lease)
        event = record.event
        assert isinstance(event, ev.LeaseGranted), "that made a lease"
        facts = {name: getattr(event, name)
                 for name in ("pool_id", "address", "prefix_length", "interface")}  # fmt: skip
        sealed = {name: getattr(record.sealed, name) for name in ("owner", "uid", "labels")}
        of_event = {name: fields.pop(name) for name in tuple(fields) if name in facts}
        return {"lease": lease, **facts, **of_event}, {**sealed, **fields}

    def ended(
        self, lease: int, ended_by: int = 0, effective_at_ms: int | None = None, **fields: Any
    ) -> Said:
        """The end of a lease; `fields` are said otherwise than they were granted."""
        facts, sealed = self._repeated(lease, **fields)
        event = ev.LeaseEnded(**facts, ended_by=ended_by)
        return Said(event, sealed, effective_at_ms=effective_at_ms)

    def renewed(self, lease: int, **fields: Any) -> Said:
        """A renewal by ten minutes."""
        facts, sealed = self._repeated(lease, **fields)
        return Said(ev.LeaseRenewed(**facts, ttl_s=600), sealed)

    def reported(self, lease: int, **fields: Any) -> Said:
        """A conflict; its address is set aside for 30 seconds."""
        facts, sealed = self._repeated(lease, **fields)
        return Said(ev.ConflictReported(**facts, quarantine_s=30), sealed)

    def observed(
        self, lease: int, effective_at_ms: int | None = None, *, present: bool = False
    ) -> Said:
        """A lease that is missing in what was seen in use, or is back."""
        facts, sealed = self._repeated(lease)
        event = ev.LeaseObserved(**facts, observation=self.ms.to_bytes(16), present=present)
        return Said(event, sealed, effective_at_ms=effective_at_ms)
