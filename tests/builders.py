"""What tests of deciding and folding are built from: definitions, commands, a ledger in memory.

`TestLedger` runs the writer's own protocol on `MemoryStream`: everything is real but the server,
the threads and the time. Several of them on one stream are several writers, each of which knows
what it has read and no more, so that a test can say exactly who was late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from ipaddress import ip_address
from random import Random
from typing import Any, ClassVar, Final

from engine import tags
from engine.addresses import Address, Subnet, from_int, parse_address, parse_subnet
from engine.commands import (
    Allocate,
    Apply,
    Claim,
    Command,
    Delete,
    PutPool,
    PutReservation,
    Release,
    Target,
)
from engine.decide import decide
from engine.draft import Decision
from engine.entry import ORIGIN, Commit, Header, Record
from engine.errors import Refusal
from engine.events import LEVEL, Event, LeaseEnded, LeaseGranted, Sealed, SpaceCreated
from engine.facts import Counts, Lease
from engine.memory_stream import MemoryStream
from engine.placement import Placement
from engine.pool_spec import read_pool_spec, read_reservation_spec
from engine.reading import Continuity, read_commits
from engine.stream import NewEntry, Proposal
from engine.wire import decode_entry, encode_commit, encode_entry
from ipledger.writing import Batch, Call, Done, Held, Outcome, Protocol, Recall
from projections.digest import state_digest
from projections.lease_fields import granted_lease
from projections.pages import pack_page, unpack_page
from projections.state import LedgerState

START_MS: Final = 1_700_000_000_000
SPACE_ID: Final = bytes(range(16))

# ------------------------------------------------------------------------------------ definitions


def make_pool(name: str = "pool", subnet: str = "10.0.0.0/24", **fields: object) -> PutPool:
    """A pool as a manifest would define it; without ``ips`` it has all but the outer addresses."""
    if "ips" not in fields:
        fields["ips"] = [all_but_the_ends(parse_subnet(subnet))]
    return PutPool(name, read_pool_spec(subnet=subnet, **fields))  # type: ignore[arg-type]


def make_reservation(name: str = "reserved", *ips: str, **fields: object) -> PutReservation:
    """A reservation as a manifest would define it."""
    return PutReservation(name, read_reservation_spec(ips=ips, **fields))  # type: ignore[arg-type]


def all_but_the_ends(subnet: Subnet) -> str:
    """The addresses of a subnet without its first and its last one, as a range in words."""
    first = text_of(from_int(subnet.first + 1, subnet.family))
    return f"{first}-{text_of(from_int(subnet.last - 1, subnet.family))}"


def address(text: str) -> Address:
    """An address from words."""
    return parse_address(text)


def text_of(raw: Address) -> str:
    """An address in words, by the standard library and not by what is tested."""
    return str(ip_address(bytes(raw)))


# --------------------------------------------------------------------------------------- commands


def make_allocate(
    *groups: str, owner: str = "pod-1", ips: Sequence[str] = (), **fields: object
) -> Allocate:
    """Ask for addresses: each group is a pool, or ``"a,b"`` for b if a is exhausted."""
    return Allocate(
        groups=tuple(tuple(group.split(",")) for group in groups or ("pool",)),
        owner=owner,
        addresses=tuple(parse_address(text) for text in ips),
        **fields,  # type: ignore[arg-type]
    )


def make_release(
    *leases: int, owner: str | None = None, interface: str | None = None,
    ip: str | None = None, labels: Mapping[str, str] | None = None,
) -> Release:  # fmt: skip
    """End leases by id, or an owner's: all, on an interface, at an address, with labels."""
    at = None if ip is None else parse_address(ip)
    return Release(leases, owner, interface, at, tuple(sorted((labels or {}).items())))


def make_delete(*pools: str, reservations: Sequence[str] = (), **fields: bool) -> Delete:
    """Delete pools, then reservations."""
    targets = [Target("pool", name) for name in pools]
    targets += [Target("reservation", name) for name in reservations]
    return Delete(tuple(targets), **fields)


# ---------------------------------------------------------------------------------------- records


def make_record(position: int, event: Event, ms: int = START_MS, **sealed: object) -> Record:
    """A record as a reader would hand it to a fold: one commit of one event."""
    commit = _lone_commit()
    header = Header(position.to_bytes(16))
    said = Sealed(bytes(16), **sealed)  # type: ignore[arg-type]
    return Record(position, ms, event, said, header, commit)


def _lone_commit() -> Commit:
    return Commit(
        nonce=bytes(8), part=0, parts=1, generation=0, decided_at=0, request_hash=bytes(16)
    )


# ----------------------------------------------------------------------------------------- ledger


class MemoryPages:
    """Where a state is kept, as a file would keep it; ``read_of`` counts the pages by table."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, int], bytes] = {}
        self.read_of: Counter[str] = Counter()

    def put(self, table: str, number: int, value: object) -> None:
        """See `projections.pages.PageSink`."""
        self.stored[table, number] = pack_page(table, number, value)

    def drop(self, table: str, number: int) -> None:
        """See `projections.pages.PageSink`."""
        self.stored.pop((table, number), None)

    def read(self, table: str, number: int) -> Any:
        """See `projections.pages.PageSource`."""
        self.read_of[table] += 1
        return unpack_page(table, number, self.stored.get((table, number)))

    def taken_up(self, state: LedgerState) -> LedgerState:
        """The state after it was kept, and read from what was kept."""
        self.put("about", 0, state.keep(self))
        return LedgerState.kept(self, self.read("about", 0))


class Clock:
    """The time of a test, in milliseconds: it moves when the test says so."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ms


class TestLedger:
    """A space in this process, and one writer of it.

    Every answer comes through `Protocol.plan`, an append and `Protocol.settle`. Nothing is
    random: bytes that must differ are drawn from `seed`.
    """

    __test__: ClassVar[bool] = False  # its name says that it is for tests, not that it is one

    def __init__(
        self, *, seed: int = 0, beside: TestLedger | None = None, lane: float = 0,
        level: int = LEVEL,
    ) -> None:  # fmt: skip
        """Begin a space of a format level, or write to one beside another, of another `seed`."""
        self.clock: Clock = Clock() if beside is None else beside.clock
        self.stream: MemoryStream = MemoryStream(self.clock) if beside is None else beside.stream
        self.state = LedgerState()
        self.continuity = Continuity()
        self._random = Random(f"writer {seed}")  # noqa: S311 - the same bytes on every run
        self.protocol = Protocol(self.state, self.continuity, self._random.randbytes, lane=lane)
        if beside is None:
            self._create_space(level)
        self.refresh()

    # ------------------------------------------------------------------------- asking for things

    def run(
        self, command: Command, command_id: str | None = None, claim: Claim | None = None
    ) -> Outcome:
        """Carry out one command and return its answer, whatever it is."""
        call = self.call(command, command_id, claim)
        for _round in range(100):
            if self.step([call]):
                assert call.outcome is not None, "a call that is not carried again is answered"
                return call.outcome
        raise AssertionError("the command was not answered in 100 rounds")

    def done(self, command: Command, command_id: str | None = None) -> Done:
        """Carry out a command that must be committed."""
        outcome = self.run(command, command_id)
        assert isinstance(outcome, Done), outcome
        return outcome

    def held(self, command: Command) -> tuple[Lease, ...]:
        """Carry out a command that must find everything as it is asked for."""
        outcome = self.run(command)
        assert isinstance(outcome, Held), outcome
        return outcome.leases

    def refused(self, command: Command, command_id: str | None = None) -> Refusal:
        """Carry out a command that must be refused; nothing may be written for it."""
        before = self.stream.head()
        outcome = self.run(command, command_id)
        assert isinstance(outcome, Refusal), outcome
        assert self.stream.head() == before, "a refusal writes nothing"
        return outcome

    def apply(self, *objects: PutPool | PutReservation) -> Done:
        """Define pools and reservations, which must change something."""
        return self.done(Apply(objects))

    def grant(self, *groups: str, **fields: object) -> tuple[Lease, ...]:
        """Allocate as `make_allocate` says; return the leases that were granted, in order."""
        done = self.done(make_allocate(*groups, **fields))  # type: ignore[arg-type]
        return granted(done)

    def take(self, *groups: str, **fields: object) -> list[str]:
        """Allocate as `make_allocate` says; return the addresses that were granted, in words."""
        return [lease.text for lease in self.grant(*groups, **fields)]

    def decide(self, command: Command, placement: Placement | None = None) -> Decision:
        """What is decided on the state as it is known here, without writing anything."""
        return decide(self.state, command, Claim(), placement or Placement())

    # --------------------------------------------------------------------- the protocol by hand

    def call(
        self,
        command: Command,
        command_id: str | None = None,
        claim: Claim | None = None,
        on_done: Callable[[Call], None] = lambda _call: None,
    ) -> Call:
        """A call that has just arrived; without an id it has one of its own."""
        if command_id is None:
            key = self._random.randbytes(16)
        else:
            key = sha256(command_id.encode()).digest()[:16]
        asked = claim or Claim()
        return Call(command, asked, key, arrived_s=0.0, deadline_s=1e9, on_done=on_done)

    def plan(self, *calls: Call) -> Batch:
        """Decide calls on the state as it is known here; answer what needs no fresh state."""
        batch, answers = self.protocol.plan(calls, self.clock.now_ms)
        self._answer(answers)
        return batch

    def append(self, batch: Batch) -> tuple[Call, ...]:
        """Append a batch now and settle it; return the calls that must be carried again."""
        reply = self.stream.append(
            self.continuity.anchor, self.continuity.voided, self.clock.now_ms, batch.proposals
        )
        if reply.status == "behind":
            self.refresh()
            return (*(member.call for member in batch.members), *batch.waiting, *batch.left)
        assert reply.status == "ok", reply
        settled = self.protocol.settle(batch, reply)
        self._answer(settled.answers)
        return settled.again

    def step(self, calls: Sequence[Call]) -> bool:
        """One round trip for calls; whether all of them are answered."""
        again = self.append(self.plan(*calls))
        return not again and all(call.outcome is not None for call in calls)

    def refresh(self) -> None:
        """Read what others wrote."""
        for records in read_commits(self.stream, self.continuity):
            self.state.apply_all(records)

    def take_up(self, pages: MemoryPages) -> None:
        """Go on from what a later process would read of the state, kept in `pages`."""
        self.state = pages.taken_up(self.state)
        self.protocol = Protocol(self.state, self.continuity, self._random.randbytes)

    # -------------------------------------------------------------------------------- what there is

    def counts(self, pool: str = "pool") -> Counts:
        """The buckets of a pool."""
        found = self.state.pool(pool)
        assert found is not None, pool
        return self.state.counts(found.pool_id)

    def digest(self) -> str:
        """The digest of what this writer knows."""
        return state_digest(self.state)

    def replayed(self) -> LedgerState:
        """The state folded anew from the stream, by readers that check every entry."""
        state = LedgerState()
        for records in read_commits(self.stream, Continuity()):
            state.apply_all(records)
        return state

    def written(self, since: int = 0) -> list[set[str]]:
        """The tags that each entry behind a position wrote, without its command's."""
        found = (entry.t.decode().split() for entry in self.stream.entries[since:])
        return [{tag for tag in written if tag[0] != "c"} for written in found]

    def _answer(self, answers: Sequence[tuple[Call, Outcome | Recall]]) -> None:
        for call, outcome in answers:
            if isinstance(outcome, Recall):
                call.settle(Done(self._recalled(outcome), repeated=True))
            else:
                call.settle(outcome)

    def _recalled(self, recall: Recall) -> tuple[Record, ...]:
        position, _ms, parts, _hash = recall.remembered
        return tuple(map(decode_entry, self.stream.entries[position - 1 : position - 1 + parts]))

    def _create_space(self, level: int) -> None:
        proposal = space_created("default", level)
        reply = self.stream.append(ORIGIN, 0, self.clock.now_ms, [proposal])
        assert reply.status == "ok", reply


def space_created(name: str, level: int, space_id: bytes = SPACE_ID) -> Proposal:
    """The beginning of a space, as a writer of the release that brought `level` wrote it."""
    event = SpaceCreated(space_id, name, level)
    e, s, t = encode_entry(event, Sealed(bytes(16)), Header(bytes(16)))
    _, c = encode_commit(_lone_commit(), e, s)
    return Proposal(tags.SPACE, (NewEntry(e, s, t, c),))


def granted(done: Done) -> tuple[Lease, ...]:
    """The leases that a commit granted, in their order."""
    return tuple(
        granted_lease(record, record.event)
        for record in done.records
        if isinstance(record.event, LeaseGranted)
    )


def ended(done: Done) -> tuple[int, ...]:
    """The ids of the leases that a commit ended, in their order."""
    return tuple(r.event.lease for r in done.records if isinstance(r.event, LeaseEnded))
