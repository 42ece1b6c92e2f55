"""The writer dies at every step of its work: what it did stands as a whole or not at all.

A crash is an exception that no part of the library handles, so that whatever the writer would
have done afterwards is never done; its `Ledger` is thrown away. A failing server, by contrast,
raises what a real one raises, and the writer tries again until its caller's time is up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import pytest

import ipledger
import ipledger.carrier
from engine.commands import command_key
from engine.endings import ENDS_MAX
from engine.entry import Anchor, RawEntry, Record
from engine.errors import Unavailable, UnknownOutcome
from engine.events import LeaseEnded, LeaseGranted
from engine.memory_stream import MemoryStream
from engine.model import LOCAL, Durability
from engine.stream import AppendReply, AppendsWhenFetched, Proposal
from ipledger import operations
from ipledger.ledger import Ledger
from tests.invariants import check_stream

ID: Final = "the command"
SPACE: Final = "crashes"
LEASES: Final = ENDS_MAX + 100

# Where the writer is when it happens: the server was not reached; the request was lost on its
# way; only the reply was.
Where = Literal["refused", "before delivery", "after delivery"]


class Crash(Exception):
    """The process is gone at this point."""


class FailingStream(AppendsWhenFetched):
    """A stream whose appends fail in turn as `fail` says, by their number.

    With `dies` a failure is the end of the process; with `stays_down` the server is gone after it.
    """

    def __init__(
        self, stream: MemoryStream, fail: Callable[[int], Where | None], *, dies: bool = False,
        stays_down: bool = False,
    ) -> None:  # fmt: skip
        self._stream = stream
        self._fail = fail
        self._dies = dies
        self._stays_down = stays_down
        self._is_down = False
        self._appends = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def append(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:  # fmt: skip
        """Append, unless it is the turn of a failure: of those that propose something."""
        if not proposals and not self._is_down:  # it only asks what is new; nothing can be lost
            return self._stream.append(after, voided, now_ms, proposals, wanted)
        where = "refused" if self._is_down else self._fail(self._appends)
        self._appends += 1
        if where is None:
            return self._stream.append(after, voided, now_ms, proposals, wanted)
        if where == "after delivery":
            self._stream.append(after, voided, now_ms, proposals, wanted)
        self._is_down = self._stays_down
        if self._dies:
            raise Crash(where)
        if where == "refused":
            raise Unavailable("the server is not there")
        raise UnknownOutcome("the reply was lost")

    def read(self, after_ms: int, after_position: int, entries_max: int) -> list[RawEntry]:
        """Read, unless the server is down."""
        if self._is_down:
            raise Unavailable("the server is not there")
        return self._stream.read(after_ms, after_position, entries_max)


# ------------------------------------------------------------------------- worlds to be interrupted


def server_clock() -> int:
    """The server's clock, which is right."""
    return time.time_ns() // 1_000_000


def copy_of(stream: MemoryStream) -> MemoryStream:
    """The same history, to be continued differently."""
    copied = MemoryStream(server_clock)
    copied.entries, copied.last_generated = list(stream.entries), stream.last_generated
    return copied


@pytest.fixture(scope="module")
def prepared() -> MemoryStream:
    """Leases that are held, reported, and past their time; something quarantined."""
    stream = MemoryStream(lambda: server_clock() - 60_000)
    ledger = Ledger(stream, SPACE)
    ledger.create_space()
    ledger.apply(
        ipledger.pool("p", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.50"]),
        ipledger.pool("q", subnet="10.1.0.0/24", ips=["10.1.0.1-10.1.0.9"], cooldown_s=5),
    )
    ledger.allocate("p", "old", uid="first", count=2)
    ledger.allocate("p", "timed", ttl_s=900)
    reported = ledger.allocate("p", "reported").granted[0]
    ledger.quarantine(reported.text, reason="something answers")
    ledger.quarantine("10.1.0.8-10.1.0.9", reason="something answers")
    for number in range(3):
        ledger.allocate("p", f"late-{number}", ttl_s=1)
    return stream


@pytest.fixture(scope="module")
def prepared_series() -> MemoryStream:
    """More leases of one label than a commit may end."""
    stream = MemoryStream(server_clock)
    ledger = Ledger(stream, SPACE)
    ledger.create_space()
    ledger.apply(ipledger.pool("p", subnet="10.0.0.0/16", ips=["10.0.0.1-10.0.8.255"]))
    ledger.allocate("p", "bystander")
    for at in range(0, LEASES, 700):
        ledger.allocate("p", f"o-{at}", count=700, labels={"node": "n7"})
    return stream


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer pauses before it tries again, but not for long."""
    monkeypatch.setattr(ipledger.carrier, "_PAUSE_FIRST_S", 0.001)


Do = Callable[[Ledger], Any]
COMMANDS: Final[dict[str, Do]] = {
    "allocate": lambda ledger: ledger.allocate("p", "new", command_id=ID),
    "several": lambda ledger: ledger.allocate("p", "old", count=5, command_id=ID),
    "interfaces": lambda ledger: ledger.allocate(
        ["p", "q"], "new", interface=["eth0", "eth1"], command_id=ID
    ),
    "supersede": lambda ledger: ledger.allocate("p", "old", uid="second", command_id=ID),
    "take over": lambda ledger: ledger.allocate("p", "new", count=46, command_id=ID),
    "release": lambda ledger: ledger.release(owner="old", command_id=ID),
    "release reported": lambda ledger: ledger.release(owner="reported", command_id=ID),
    "renew": lambda ledger: ledger.renew(6, ttl_s=999, command_id=ID),
    "quarantine": lambda ledger: ledger.quarantine(
        "10.0.0.1-10.0.0.3", "10.0.0.5-10.0.0.20", reason="something answers", command_id=ID
    ),
    "unquarantine": lambda ledger: ledger.unquarantine("10.1.0.9", command_id=ID),
    "apply": lambda ledger: ledger.apply(
        ipledger.pool("p", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.99"]),
        ipledger.pool("r", subnet="10.2.0.0/24", ips=["10.2.0.1"]),
        ipledger.reservation("kept", ips=["10.2.0.1"]),
        command_id=ID,
    ),
    "delete": lambda ledger: ledger.delete(ipledger.Target("pool", "p"), command_id=ID),
    "cascade": lambda ledger: ledger.delete(
        ipledger.Target("pool", "p"), cascade=True, command_id=ID
    ),
    "sweep": lambda ledger: ledger.sweep(command_id=ID),
}
each_command = pytest.mark.parametrize("do", COMMANDS.values(), ids=COMMANDS.keys())


def opened(stream: MemoryStream, *fails: Where | None, **how: bool) -> Ledger:
    """A fresh process, whose first appends fail in turn."""
    failing = FailingStream(stream, lambda at: fails[at] if at < len(fails) else None, **how)
    return Ledger(failing, SPACE)


def mine(records: Sequence[Record]) -> list[Record]:
    """What was written under the command id, commit after commit."""
    key, _ = command_key(ID)
    return [record for record in records if record.header.command == key]


def steps(records: Sequence[Record]) -> list[int]:
    """The steps of the command that were committed, once for each commit."""
    return [record.header.step for record in mine(records) if record.commit.part == 0]


def gist(answer: Any) -> Any:
    """What two answers to one command on the same history have in common."""
    if isinstance(answer, ipledger.Allocated):
        return [(lease.lease_id, lease.text) for lease in answer.granted], answer.held
    if isinstance(answer, ipledger.Released):
        return answer.leases
    return type(answer) if isinstance(answer, int) else answer


def check_repeated(stream: MemoryStream, do: Do, expected: Any) -> None:
    """Repeated twice by fresh processes: one commit, one answer, and every invariant."""
    answers = []
    for _process in range(2):
        ledger = opened(stream)
        answers.append(do(ledger))
        records = check_stream(stream, ledger.digest())
        assert steps(records) == [0]
    assert gist(answers[0]) == expected
    assert gist(answers[1]) == expected
    if isinstance(answers[0], ipledger.Allocated):
        assert answers[0].granted == answers[1].granted
    if isinstance(answers[0], int):
        assert answers[0] == answers[1], "until when it lasts is what the first one said"


# ------------------------------------------------------------------------------------- one commit


@each_command
@pytest.mark.parametrize("where", ["before delivery", "after delivery"])
def test_a_process_dies(prepared: MemoryStream, do: Do, where: Where) -> None:
    """The commit is there whole or not at all; repeated, the command stands once."""
    expected_stream, stream = copy_of(prepared), copy_of(prepared)
    expected = gist(do(opened(expected_stream)))
    whole = len(expected_stream.entries) - len(prepared.entries)
    with pytest.raises(Crash):
        do(opened(stream, where, dies=True))
    written = len(stream.entries) - len(prepared.entries)
    assert written == (whole if where == "after delivery" else 0)
    check_stream(stream)
    check_repeated(stream, do, expected)


@each_command
@pytest.mark.parametrize(
    "fails",
    [
        ("refused",),
        ("before delivery",),
        ("after delivery",),
        ("before delivery", "refused", "before delivery", "after delivery"),
        ("refused", "refused", "refused", "after delivery"),
    ],
    ids="-".join,
)
def test_a_server_fails_for_a_while(
    prepared: MemoryStream, do: Do, fails: tuple[Where, ...]
) -> None:
    """The caller notices nothing: it is answered as if all had gone well, and it stands once."""
    expected, stream = gist(do(opened(copy_of(prepared)))), copy_of(prepared)
    ledger = opened(stream, *fails)
    assert gist(do(ledger)) == expected
    check_stream(stream, ledger.digest())
    check_repeated(stream, do, expected)


@each_command
@pytest.mark.parametrize("where", ["refused", "before delivery", "after delivery"])
def test_a_server_fails_and_stays_away(prepared: MemoryStream, do: Do, where: Where) -> None:
    """The caller's time runs out: certain if it can be, else `unknown` with the command id."""
    expected, stream = gist(do(opened(copy_of(prepared)))), copy_of(prepared)
    ledger = opened(stream, where, stays_down=True)
    ledger.timeout_s = 0.01
    with pytest.raises(Unavailable if where == "refused" else UnknownOutcome) as caught:
        do(ledger)
    if isinstance(caught.value, UnknownOutcome):
        assert caught.value.command_id == ID
    assert (len(stream.entries) > len(prepared.entries)) == (where == "after delivery")
    check_repeated(stream, do, expected)


# --------------------------------------------------------------------------------------- a series


def release_node(ledger: Ledger) -> ipledger.Released:
    """End everything that carries the label, in as many commits as that takes."""
    return ledger.release(labels={"node": "n7"}, command_id=ID)


def cascade(ledger: Ledger) -> tuple[ipledger.Applied, ...]:
    """Delete the pool and revoke its leases, in as many commits as that takes."""
    return ledger.delete(ipledger.Target("pool", "p"), cascade=True, command_id=ID)


@pytest.mark.parametrize("do", [release_node, cascade], ids=["release", "cascade"])
@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("where", ["before delivery", "after delivery"])
def test_a_series_is_interrupted(
    prepared_series: MemoryStream, do: Do, at: int, where: Where
) -> None:
    """Repeated with its id it goes on where it stopped: nothing is left, nothing ended twice."""
    stream = copy_of(prepared_series)
    with pytest.raises(Crash):
        do(opened(stream, *[None] * at, where, dies=True))
    ledger = opened(stream)
    answer = do(ledger)
    records = check_stream(stream, ledger.digest())
    assert steps(records) == [0, 1]
    granted = {r.position for r in records if isinstance(r.event, LeaseGranted)}
    ended = [r.event.lease for r in records if isinstance(r.event, LeaseEnded)]
    assert len(ended) == len(set(ended)), "a lease ended twice"
    left = granted - set(ended)
    if isinstance(answer, ipledger.Released):
        assert answer.leases == tuple(ended), "the answer is that of all its commits"
        assert [lease.owner for lease in ledger.state.leases()] == ["bystander"]
        assert [lease.lease_id for lease in ledger.state.leases()] == list(left)
    else:
        assert left == set()
        assert list(ledger.state.pools()) == []
    assert do(opened(stream)) == answer, "and again: nothing more happens"
    assert len(check_stream(stream)) == len(records)


@pytest.mark.parametrize("number", [1_500, ENDS_MAX - 1])
def test_a_cascade_that_ends_with_its_first_commit(number: int) -> None:
    """As many leases as one commit may end: the pool is gone, and that is no refusal."""
    stream = MemoryStream(server_clock)
    ledger = Ledger(stream, SPACE)
    ledger.create_space()
    ledger.apply(ipledger.pool("p", subnet="10.0.0.0/16", ips=["10.0.0.1-10.0.255.0"]))
    ledger.allocate("p", "many", count=number)
    assert [applied.did for applied in cascade(ledger)] == ["deleted"]
    assert list(ledger.state.leases()) == []


def test_a_series_that_is_repeated_when_it_is_long_done_touches_nothing_new() -> None:
    """Cascade, re-create, repeat: the new pool stands. Release by label, likewise."""
    ledger = Ledger(MemoryStream(lambda: time.time_ns() // 1_000_000))
    made = ipledger.pool("p", subnet="10.0.0.0/16", ips=["10.0.0.1-10.0.40.0"])
    target = ipledger.Target("pool", "p")
    for command_id in ("release it", "cascade it"):
        ledger.apply(made)
        wanted = [
            operations.allocate("p", f"{command_id}-{number}", labels={"node": "n"})
            for number in range(2_000)
        ]
        ledger.run_all(wanted)

        def end(command_id: str = command_id) -> None:
            if command_id == "release it":
                ledger.release(labels={"node": "n"}, command_id=command_id)
            else:
                ledger.delete(target, cascade=True, command_id=command_id)

        end()
        assert not len(ledger.state.lease_table)
        ledger.apply(made)
        ledger.allocate("p", "somebody new", labels={"node": "n"})
        end()
        assert [lease.owner for lease in ledger.state.leases()] == ["somebody new"]
        ledger.release(owner="somebody new")
