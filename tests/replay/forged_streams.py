"""What must not be in any stream: bytes, order, commits and commands that are forged."""

from __future__ import annotations

from typing import Any, Final, Literal
from zlib import crc32

from engine import events as ev
from engine.entry import Header
from engine.events import Sealed
from engine.wire import pack
from tests.replay.forger import WEB, Forger, granted, plain, raw
from tests.replay.registry import Forge, Forgeries, write

MADE: Final = Forgeries()

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


def _respelled(history: Forger, field: Literal["e", "s"]) -> int:
    """The same array, its length in three bytes instead of one."""
    whole: bytes = getattr(history.raw(14), field)
    count = whole[0] & 15 if whole[0] < 0xA0 else int.from_bytes(whole[1:3])
    rest = whole[1:] if whole[0] < 0xA0 else whole[3:]
    return _with(field, b"\xdd" + count.to_bytes(4) + rest)(history)


def _unknown_type(history: Forger) -> int:
    header = Header(bytes(16))
    return _with("e", pack((99, 1, *header)))(history)


MADE.several("shape", {
    "an event that is no msgpack": _with("e", b"\xc1"),
    "an event of a wrong shape": _with("e", pack((30, 1, *Header(bytes(16)), 2))),
    "a sealed part that is no msgpack": _with("s", b"\xc1"),
    "a sealed part of a wrong shape": _with("s", pack((bytes(15),))),
    "a commit field that is no msgpack": lambda history: history.replace(14, c=b"\xc1" * 20),
    "an event in more bytes than it takes": lambda history: _respelled(history, "e"),
    "a sealed part in more bytes than it takes": lambda history: _respelled(history, "s"),
    "a commit field that is too short": lambda history: history.replace(14, c=pack((1, 2))),
})  # fmt: skip
MADE.several(
    "known",
    {
        "an event type that is unknown": _unknown_type,
        "a version that is unknown": _with("e", pack((30, 2, *Header(bytes(16)), 2))),
    },
)


@MADE.one("check-value", "an altered event")
def _altered_event(history: Forger) -> int:
    entry = history.raw(7)
    ttl = entry.e.rindex(bytes([100]))
    return history.replace(7, e=entry.e[:ttl] + bytes([99]) + entry.e[ttl + 1 :])


@MADE.one("check-value", "an altered sealed part")
def _altered_sealed(history: Forger) -> int:
    return history.replace(6, s=history.raw(6).s.replace(b"ARP", b"NDP"))


@MADE.one("check-value", "an altered commit")
def _altered_commit(history: Forger) -> int:
    entry = history.raw(15)
    return history.replace(15, c=entry.c.replace(bytes(16), b"\1" + bytes(15)))


@MADE.one("tags", "altered tags")
def _altered_tags(history: Forger) -> int:
    return history.replace(7, t=history.raw(7).t.replace(b"40a000001", b"40a000002"))


@MADE.one("tags", "an owner exchanged under the old tags")
def _exchanged_owner(history: Forger) -> int:
    tags = history.raw(14).t
    record = history.record(14)
    history.rewrite(14, sealed=record.sealed._replace(owner="somebody"))
    return history.replace(14, t=tags)


# --------------------------------------------------------------------------- one after the other


@MADE.one("gapless", "a hole")
def _hole(history: Forger) -> int:
    history.drop([5])
    return 5


@MADE.one("gapless", "the beginning trimmed away")
def _trimmed(history: Forger) -> int:
    history.drop(range(1, 4))
    return 1


@MADE.one("gapless", "the end deleted")
def _end_deleted(history: Forger) -> int:
    head = history.stream.last_generated
    history.drop([15])
    history.stream.last_generated = head
    return 15


@MADE.one("gapless", "a position that stands twice")
def _twice(history: Forger) -> int:
    history.ms += 1_000
    history.put(*history.record(14)[2:], position=14)
    return 14


@MADE.one("gapless", "the last position once more")
def _last_twice(history: Forger) -> int:
    history.ms += 1_000
    history.put(*history.record(14)[2:], position=15)
    return 15


@MADE.one("space", "a second space")
def _second_space(history: Forger) -> int:
    return history.write(plain(ev.SpaceCreated(bytes(16), "default", 1)))


@MADE.one("space", "a stream that does not begin with its space")
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


MADE.several("restoration", {
    "a restoration that keeps too little": _restore(12, 20),
    "a restoration that voids what stands": _restore(14, 15),
    "a restoration of a later generation": _restore(15, 20, generation=2),
    "a restoration at another place": _restore(15, 20, at=23),
    "a restoration without a reason": _restore(15, 20, reason=None),
})  # fmt: skip


@MADE.one("monotonic-time", "time that runs backwards")
def _backwards(history: Forger) -> int:
    return history.replace(12, ms=history.raw(11).ms - 1)


@MADE.one("level", "a level of the future")
def _level(history: Forger) -> int:
    return history.write(plain(ev.LevelRaised(ev.LEVEL + 1)))


@MADE.one("level", "durability that is set before its level")
def _durability(history: Forger) -> int:
    return history.write(plain(ev.DurabilitySet(1, fsync=False, ack_timeout_ms=1_000)))


@MADE.one("level", "a space of a level of the future")
def _space_level(history: Forger) -> int:
    event = history.record(1).event
    assert isinstance(event, ev.SpaceCreated)
    return history.rewrite(1, event=event._replace(level=ev.LEVEL + 1))


MADE.several("level", {
    "a block": write(granted(8, prefix_length=30)),
    "an imported lease": write(granted(8, source="kea")),
})  # fmt: skip


# ------------------------------------------------------------------------------------ commits


@MADE.one("commit-whole", "a commit that is cut short at the end")
def _cut_short(history: Forger) -> int:
    first = history.write(granted(8), granted(9))
    history.drop([first + 1])
    return first


@MADE.one("commit-whole", "a commit that is cut short in the middle")
def _cut_inside(history: Forger) -> int:
    history.write(granted(8), parts=2)
    return history.write(granted(9), decided_at=15)


@MADE.one("commit-whole", "a part without what is before it")
def _without_beginning(history: Forger) -> int:
    return history.write(granted(8), part=1, parts=2, decided_at=14)


@MADE.one("commit-whole", "a commit of two nonces")
def _two_nonces(history: Forger) -> int:
    commit = history.record(11).commit
    return history.rewrite(11, commit=commit._replace(nonce=bytes(8)))


@MADE.one("commit-whole", "a commit of two times")
def _two_times(history: Forger) -> int:
    return history.replace(11, ms=history.raw(11).ms + 1)


@MADE.one("commit-whole", "a commit of two commands")
def _two_commands(history: Forger) -> int:
    return history.rewrite(11, header=Header(b"y" * 16))


@MADE.one("commit-size", "a commit of more than a megabyte")
def _large(history: Forger) -> int:
    labels = tuple((f"{number:0512}", "v" * 512) for number in range(64))
    said = [
        plain(ev.ReservationCreated(f"r{number}", 4, raw(99, 99), None, owned=False), labels=labels)
        for number in range(16)
    ]
    return history.write(*said) + 15


MADE.several("generation", {"a commit of another generation": write(granted(8), generation=1)})
MADE.several("decided-at", {
    "a commit that was decided on itself": write(granted(8), decided_at=16),
    "a commit that was decided inside of another": write(granted(8), decided_at=10),
})  # fmt: skip


@MADE.one("decided-at", "two entries swapped")
def _swapped(history: Forger) -> int:
    former, latter = history.raw(4), history.raw(5)
    history.replace(4, **dict(zip("estc", latter[2:], strict=True)))
    history.replace(5, **dict(zip("estc", former[2:], strict=True)))
    return 4


@MADE.one("decided-at", "a commit that was decided on what is void")
def _on_void(history: Forger) -> int:
    _restore(15, 20)(history)
    return history.write(granted(8), decided_at=18)


@MADE.one("command-once", "a command that lands twice")
def _again(history: Forger) -> int:
    return history.write(granted(8), command=history.record(7).header.command)


@MADE.one("command-id", "a command id that is another's")
def _command_id(history: Forger) -> int:
    said = granted(8)
    said.sealed["command_id"] = "nightly"
    return history.write(said)


MADE.several("cause", {
    "a cause that comes later": write(granted(8)._replace(cause=17)),
    "a cause of itself": write(granted(8)._replace(cause=16)),
})  # fmt: skip


@MADE.one("effective-at", "something that will be true")
def _will_be(history: Forger) -> int:
    return history.write(granted(8, effective_at_ms=history.ms + 1_001))


@MADE.one("effective-at", "an end before the beginning")
def _before_it_began(history: Forger) -> int:
    began_ms = history.raw(10).ms
    return history.write(history.ended(10, effective_at_ms=began_ms - 1))


def _sealed(**fields: Any) -> Forge:
    def forge(history: Forger) -> int:
        said = granted(8)
        said.sealed.update(fields)
        return history.write(said)

    return forge


MADE.several("names", {
    "a pool whose name is none": write(
        plain(WEB._replace(name="a b", ips=raw(90, 91), exclude_ips=b""))
    ),
    "an owner with a control character": _sealed(owner="x\ny"),
    "an owner that is not normalised": _sealed(owner="e\u0301"),
    "an owner that is missing": _sealed(owner=None),
    "an actor who is too long": _sealed(actor="x" * 513),
    "labels without end": _sealed(labels=tuple((f"{number:03}", "") for number in range(65))),
    "a label of blanks": _sealed(labels=((" ", "x"),)),
    "an interface in two words": write(granted(8, interface="eth 0")),
    "a cluster without a name": write(granted(8, cluster="")),
})  # fmt: skip
