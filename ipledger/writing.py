"""One round of writing, without any I/O: plan a batch, and settle it with the stream's reply.

This is the whole protocol of a writer. Threads, sockets and clocks are in `ipledger.writer`; the
same code runs in a simulation with a seeded source of randomness and a clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from engine import tags
from engine.bulk import admit_rows
from engine.commands import Claim, Command, Delete, Reconcile, Release, request_hash
from engine.decide import decide
from engine.draft import Decision, Draft, Nothing
from engine.entry import COMMIT_BYTES_MAX, COMMIT_EVENTS_MAX, Commit, Header, Record
from engine.errors import LedgerError, Refusal
from engine.events import Event, LeaseGranted, Sealed
from engine.facts import Lease
from engine.placement import Placement
from engine.plain_grant import PlainPools
from engine.reading import Continuity
from engine.stream import AppendReply, Committed, NewEntry, Proposal
from engine.wire import UNCHECKED, encode_commit, encode_entry
from ipledger.lookout import Lookout
from projections.commands import Remembered
from projections.state import LedgerState

BATCH_PROPOSALS_MAX: Final = 512
BATCH_BYTES_MAX: Final = 1 << 20
_SEED_BYTES: Final = 8
_NONCE_BYTES: Final = 8
_SALT_BYTES: Final = 16
_BYTES_FOR_ONE: Final = _NONCE_BYTES + _SALT_BYTES  # as almost every proposal has one event


# A named tuple's own constructor is a function in Python: of a batch's time it took a tenth.
_new = tuple.__new__


class Done(NamedTuple):
    """The command was committed: these are its records."""

    records: tuple[Record, ...]
    repeated: bool = False


class Held(NamedTuple):
    """Nothing had to be written: it is so already."""

    leases: tuple[Lease, ...]


class Recall(NamedTuple):
    """The command was committed before: the answer is in the stream."""

    remembered: Remembered


Outcome = Done | Held | Refusal | LedgerError


class Call:
    """One command on its way. Whoever leads the writer sets `outcome`, once."""

    __slots__ = (
        "arrived_s", "claim", "command", "deadline_s", "first_round", "in_doubt", "key", "on_done",
        "outcome", "request", "step",
    )  # fmt: skip

    def __init__(
        self,
        command: Command,
        claim: Claim,
        key: bytes,
        *,
        arrived_s: float,
        deadline_s: float,
        on_done: Callable[[Call], None],
        step: int = 0,
    ) -> None:
        self.command = command
        self.claim = claim
        self.key = key
        self.step = step
        self.request = request_hash(command)
        self.arrived_s = arrived_s
        self.deadline_s = deadline_s
        self.on_done = on_done
        self.first_round: int | None = None  # the writer's, when the call was first planned
        self.in_doubt = False  # a proposal of it was sent and its reply was lost
        self.outcome: Outcome | None = None

    def settle(self, outcome: Outcome) -> None:
        """Answer the caller."""
        assert self.outcome is None, "a call is answered once"
        self.outcome = outcome
        self.on_done(self)


class _Bytes:
    """Random bytes, drawn for a batch at once: each draw is a call of the system."""

    def __init__(self, draw: Callable[[int], bytes], at_once: int = 0) -> None:
        self._draw = draw
        self._drawn = draw(at_once)
        self._used = 0

    def take(self, number: int) -> bytes:
        """So many bytes that were not taken before."""
        end = self._used + number
        if end > len(self._drawn):
            return self._draw(number)
        taken = self._drawn[self._used : end]
        self._used = end
        return taken


_Part = tuple[Event, Sealed, Header, Commit]  # a record that has no position and no time yet


class _Member(NamedTuple):
    """A call of the batch that proposes something, with what its records will consist of."""

    call: Call
    parts: tuple[_Part, ...]
    last_c: bytes


class Batch(NamedTuple):
    """What one call of the append script is to carry."""

    members: tuple[_Member, ...]
    proposals: tuple[Proposal, ...]
    waiting: tuple[Call, ...]  # decided to write nothing; true only of a fresh state
    left: tuple[Call, ...]  # for the next batch
    placement: Placement  # what it proposes,
    written: frozenset[str] | set[str]  # and the tags that it writes if all of it stands

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls of it, none of them answered yet."""
        return (*[member.call for member in self.members], *self.waiting, *self.left)


class Settled(NamedTuple):
    """What became of a batch; ``alone`` if nobody else wrote since its decisions' position."""

    answers: tuple[tuple[Call, Outcome | Recall], ...]
    again: tuple[Call, ...]
    alone: bool


def _selects(command: Command) -> bool:
    """Whether a command ends leases that it does not name one by one."""
    if isinstance(command, Release):
        return not command.leases
    return isinstance(command, Reconcile) or (isinstance(command, Delete) and command.cascade)


class _Sent:
    """What a batch that was sent writes. No script will compare it with what is decided behind.

    So ranges of addresses are compared here as the script does, by their overlap.
    """

    def __init__(self, written: frozenset[str] | set[str]) -> None:
        self._written = written
        self._ranges = [_ends(tag) for tag in written if tag[0] in "46" and "-" in tag]

    def meets(self, reads: Sequence[str]) -> bool:
        """Whether one of these tags is written."""
        if not self._written.isdisjoint(reads):
            return True
        for read in reads:
            among: Iterable[tuple[str, str]]
            if "-" in read:
                among = (_ends(tag) for tag in self._written if tag[0] in "46")
            elif self._ranges and read[0] in "46":
                among = self._ranges
            else:
                continue
            first, last = _ends(read)
            if any(len(low) == len(first) and low <= last and first <= high for low, high in among):
                return True
        return False


def _ends(tag: str) -> tuple[str, str]:
    """The first and the last address of a tag, both of it if it is a single one."""
    first, _, last = tag.partition("-")
    return first, last or first


class Protocol:
    """A writer's state and its two pure steps."""

    def __init__(
        self,
        state: LedgerState,
        continuity: Continuity,
        randomness: Callable[[int], bytes],
        *,
        lane: float = 0.0,
    ) -> None:
        """Write on top of `state`, which is as of `continuity.anchor`."""
        self.state = state
        self.continuity = continuity
        self._randomness = randomness
        self._lookout = Lookout(lane)
        self._rounds = 0  # settled so far
        self._plain_pools: PlainPools = {}

    def plan(
        self, calls: Sequence[Call], now_ms: int = 0, behind: Batch | None = None
    ) -> tuple[Batch, list[tuple[Call, Outcome | Recall]]]:
        """Decide the calls, in order, on the state as it is; `now_ms` is the server's time.

        Also returned are answers that need no fresh state: committed commands are for ever.
        `behind` is a batch that was sent and is not settled. Nothing is decided that touches what
        it does, so that what is planned holds when it has been settled and nobody else wrote.
        """
        random = _Bytes(self._randomness, _SEED_BYTES + len(calls) * _BYTES_FOR_ONE)
        seed = int.from_bytes(random.take(_SEED_BYTES))
        skips = self._lookout.skip_ahead(self.state)
        sent = None if behind is None else behind.placement
        placement = Placement(skips, seed, sent, self._plain_pools)
        answers: list[tuple[Call, Outcome | Recall]] = []
        members: list[_Member] = []
        proposals: list[Proposal] = []
        waiting: list[Call] = []
        left: list[Call] = []
        before = None if behind is None else _Sent(behind.written)
        written: set[str] = set()
        fresh_from = self._rounds + (behind is not None)
        size = 0
        for at, call in enumerate(calls):
            if len(members) >= BATCH_PROPOSALS_MAX:
                left += calls[at:]
                break
            if known := self._known(call):
                answers.append((call, known))
                continue
            if _selects(call.command) and not self._knows_enough(call, fresh_from):
                waiting.append(call)
                continue
            mark = placement.mark()
            decision = self._decide(call, placement, now_ms)
            if not isinstance(decision, Draft):
                placement.rewind(mark)
                waiting.append(call)
                continue
            reads = (*decision.reads, tags.command(call.key, call.step))
            if not written.isdisjoint(reads) or (before is not None and before.meets(reads)):
                placement.rewind(mark)  # it builds on what is only proposed: not in this batch
                left.append(call)
                continue
            built = self._build(call, decision, reads, random)
            if isinstance(built, Refusal):
                placement.rewind(mark)
                waiting.append(call)
                continue
            member, proposal, length = built
            if members and size + length > BATCH_BYTES_MAX:
                placement.rewind(mark)
                left += calls[at:]
                break
            members.append(member)
            proposals.append(proposal)
            size += length
            for entry in proposal.entries:
                written.update(entry.t.decode().split())
        return (
            Batch(
                tuple(members), tuple(proposals), tuple(waiting), tuple(left), placement, written
            ),
            answers,
        )

    def _decide(self, call: Call, placement: Placement, now_ms: int) -> Decision | LedgerError:
        """What is decided of a call. What a decision stumbles over is its caller's alone.

        Deciding changes nothing, so whoever else is in the batch need not hear of it.
        """
        try:
            return decide(self.state, call.command, call.claim, placement, now_ms)
        except LedgerError:
            raise  # it is about the state: the writer must know
        except Exception as error:  # noqa: BLE001 - a bug, or a command of wrong types
            message = f"the command could not be decided: {type(error).__name__}: {error}"
            return LedgerError(message, "nothing was written; please report it")

    def _knows_enough(self, call: Call, fresh_from: int) -> bool:
        """Whether the state is new enough to say which leases the command speaks of.

        What an owner or a label holds is found in the state and not named by the command. So the
        state must be at least as new as the call, or a lease granted just before would be left:
        a batch that was sent behind it must have been settled.
        """
        if call.first_round is None:
            call.first_round = fresh_from
        return self._rounds > call.first_round

    def _known(self, call: Call) -> Recall | Refusal | None:
        """What is remembered of a command with this id."""
        remembered = self.state.commands.get(call.key, call.step)
        if remembered is None:
            return None
        if remembered.request_hash != call.request:
            message = "this command id was used for another request"
            hint = "repeat a command as it was, or give the new one an id of its own"
            return Refusal("conflict", message, hint, "command-id", remembered.position)
        return Recall(remembered)

    def _build(
        self, call: Call, draft: Draft, reads: tuple[str, ...], random: _Bytes
    ) -> tuple[_Member, Proposal, int] | Refusal:
        """The bytes of a draft, and the records that they will be read back as."""
        parts = len(draft.changes)
        nonce = random.take(_NONCE_BYTES)
        generation = self.continuity.generation
        decided_at = self.continuity.anchor.position
        entries: list[NewEntry] = []
        made: list[_Part] = []
        size = 0
        c = b""
        for part, change in enumerate(draft.changes):
            event, sealed, cause, effective_at_ms = change
            sealed = _new(Sealed, (random.take(_SALT_BYTES), *sealed[1:]))
            header = _new(Header, (call.key, call.step, cause, effective_at_ms, None))
            try:
                e, s, t = encode_entry(event, sealed, header)
            except ValueError as error:
                return Refusal("invalid", f"too large for an event: {error}", "split it")
            facts = (nonce, part, parts, generation, decided_at, call.request, UNCHECKED)
            commit, c = encode_commit(_new(Commit, facts), e, s)
            size += len(e) + len(s) + len(t) + len(c)
            entries.append(_new(NewEntry, (e, s, t, c)))
            made.append((event, sealed, header, commit))
        if parts > COMMIT_EVENTS_MAX or size > COMMIT_BYTES_MAX:
            message = f"{parts} events of {size} bytes are more than one commit holds"
            hint = f"at most {COMMIT_EVENTS_MAX} events and {COMMIT_BYTES_MAX} bytes: split it"
            return Refusal("invalid", message, hint)
        proposal = _new(Proposal, (" ".join(reads), tuple(entries), draft.not_before_ms, 0))
        return _new(_Member, (call, tuple(made), c)), proposal, size

    def settle(self, batch: Batch, reply: AppendReply) -> Settled:
        """Fold what the stream answered (status ok), and answer what can be answered.

        Raises:
            IntegrityError: the tail is not what must come next.
        """
        self._rounds += 1
        tail = admit_rows(self.continuity, reply.tail)
        self.state.apply_rows(tail)
        answers: list[tuple[Call, Outcome | Recall]] = []
        again: list[Call] = []
        beaten: list[int] = []
        for member, verdict in zip(batch.members, reply.verdicts, strict=True):
            if isinstance(verdict, Committed):
                answers.append((member.call, self._commit(member, verdict, reply.ms)))
            else:
                again.append(member.call)
                beaten += [
                    event.pool_id for event, *_ in member.parts if isinstance(event, LeaseGranted)
                ]
        self._lookout.observe(tail, beaten)
        for call in batch.waiting:
            answer = self._answer_now(call, reply.ms)
            if answer is None:
                again.append(call)
            else:
                answers.append((call, answer))
        return Settled(tuple(answers), (*again, *batch.left), alone=not reply.tail)

    def _commit(self, member: _Member, verdict: Committed, ms: int) -> Done:
        records = tuple(
            [
                _new(Record, (position, ms, *part))
                for position, part in enumerate(member.parts, verdict.position)
            ]
        )
        self.state.apply_all(records)
        self.continuity.advance(records[-1], member.last_c)
        return Done(records)

    def _answer_now(self, call: Call, now_ms: int) -> Outcome | Recall | None:
        """The answer that writes nothing, from a state that is fresh; None if it now writes."""
        if known := self._known(call):
            return known
        decision = self._decide(call, Placement(), now_ms)
        if isinstance(decision, LedgerError):
            return decision
        if isinstance(decision, Nothing):
            return Held(decision.leases)
        if isinstance(decision, Refusal):
            return decision
        built = self._build(call, decision, decision.reads, _Bytes(self._randomness))
        return built if isinstance(built, Refusal) else None
