"""Whether every answer agrees with the log, which is the order in which things happened.

One pass over each log: what was acknowledged stands in it once, as it was told and where it can
have been written; what was answered without writing was true of a state between call and answer;
what failed stands nowhere; and everything that stands there was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from engine.commands import Allocate, Command, Release, Renew, Sweep, request_hash
from engine.draft import Nothing
from engine.entry import RawEntry, Record
from engine.errors import IntegrityError, Refusal
from engine.events import LeaseEnded, LeaseGranted, LeaseRenewed, SpaceCreated
from engine.reading import Continuity
from ipledger.operation import Operation
from ipledger.writing import Done, Held
from projections.state import LedgerState
from tests.answers import decisions
from tests.checker.bounds import Ends, Seen
from tests.checker.history import FOREVER_NS, Answered, Call, Failed

_IN_DOUBT: Final = frozenset({"unknown", "integrity"})  # it may stand, once
_SHOWN: Final = 5
_TOLD_MAX: Final = 400


class Broken(AssertionError):
    """Answers that the log contradicts, in words."""

    def __init__(self, problems: Sequence[str]) -> None:
        more = f"\n… and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        super().__init__("\n".join(problems[:_SHOWN]) + more)
        self.problems = problems


class Log(NamedTuple):
    """What a server had. Between these moments it was the one that answered.

    No answer that came before `since_ns` is from it, and none to a call after `until_ns`. One that
    is `torn` had more at its end than anybody can read: what may rest on that is not judged.
    """

    entries: Sequence[RawEntry]
    since_ns: int = 0
    until_ns: int = FOREVER_NS
    torn: bool = False


class Verdict(NamedTuple):
    """How much was held to the log, in numbers.

    `lost` are entries that a fault took away, `unjudged` are answers that rest on such as nobody
    can read any more.
    """

    calls: int
    acknowledged: int
    already_so: int
    refused: int
    unknown: int
    unavailable: int
    integrity: int
    entries: int
    lost: int
    unjudged: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{number:,} {name}" for name, number in self._asdict().items())


class _Asked(NamedTuple):
    """A call with its command; `known` is what the command is remembered by."""

    call: Call
    operation: Operation[object]
    known: tuple[bytes, bytes]

    def __str__(self) -> str:
        call = self.call
        told = f"{call.process}: {call.request} was told {call.outcome}"
        return told if len(told) <= _TOLD_MAX else f"{told[:_TOLD_MAX]}…"


class _Commit(NamedTuple):
    records: list[Record]

    @property
    def key(self) -> bytes:
        return self.records[0].header.command

    @property
    def first(self) -> int:
        return self.records[0].position

    @property
    def last(self) -> int:
        return self.records[-1].position


def check(calls: Sequence[Call], logs: Sequence[Log], seen: Iterable[Seen] = ()) -> Verdict:
    """Hold all calls to the logs, of which a later one goes on where an earlier one lost its end.

    Raises:
        Broken: something contradicts them.
    """
    asked = [_asked(call) for call in calls]
    watched = list(seen)
    problems: list[str] = []
    acknowledged: set[int] = set()
    unjudged: set[int] = set()
    wrong: dict[int, str] = {}
    right: set[int] = set()
    kept, before = 0, None
    for log in logs:
        if before is not None:
            kept = _kept(before.log, log)
        judge = _Judge(log, asked, watched, kept)
        judge.run()
        if before is not None:
            problems += _went_on(calls, before, judge, kept)
        before = judge
        problems += judge.problems
        acknowledged |= judge.acknowledged.keys()
        unjudged |= judge.unjudged
        wrong |= judge.wrong
        right |= judge.judged - judge.wrong.keys() - judge.unjudged
    # A call during which one server followed another may have been answered by either.
    problems += [why for at, why in wrong.items() if at not in right | unjudged]
    if problems:
        raise Broken(problems)
    return _counted(calls, len(acknowledged), len(unjudged - right), logs)


def _asked(call: Call) -> _Asked:
    operation = call.request.operation()
    return _Asked(call, operation, (operation.key, request_hash(operation.command)))


def _kept(before: Log, after: Log) -> int:
    """How many entries a log has in common with the one before it."""
    pairs = zip(before.entries, after.entries, strict=False)
    return next(
        (at for at, (one, other) in enumerate(pairs) if one != other),
        min(len(before.entries), len(after.entries)),
    )


def _went_on(calls: Sequence[Call], before: _Judge, after: _Judge, kept: int) -> Iterator[str]:
    """Who had seen what was lost is told so, and answered nothing that rests on what is left."""
    since_ns = after.log.since_ns
    seen = dict(before.told)
    asked: set[str] = set()
    told: set[str] = set()
    for call in calls:
        if call.began_ns < since_ns:
            seen[call.process] = max(seen.get(call.process, 0), call.seen)
    blind = {process for process, position in seen.items() if position > kept}
    for at, call in enumerate(calls):
        if call.process not in blind or call.began_ns < since_ns:
            continue
        asked.add(call.process)
        if isinstance(call.outcome, Failed) and call.outcome.kind == "integrity":
            told.add(call.process)
        elif after.acknowledged.get(at, kept + 1) <= kept:
            pass  # it was told again of a commit that still stands: that is as true as ever
        elif isinstance(call.outcome, Answered | Refusal):
            yield f"{call.process} had seen position {seen[call.process]} of {kept}, and went on"
    for process in sorted(asked - told):
        yield f"{process} had seen position {seen[process]} of {kept}, and was never told"


class _Judge:
    """One log, and the calls that were answered while it was the truth."""

    def __init__(self, log: Log, asked: list[_Asked], seen: list[Seen], kept: int) -> None:
        self.problems: list[str] = []
        self.wrong: dict[int, str] = {}
        self.acknowledged: dict[int, int] = {}  # by call, where its commit ends
        self.unjudged: set[int] = set()
        self.told: dict[str, int] = {}  # how far each process was told that the stream had come
        self.log = log
        self._asked = asked
        self.judged = {
            at
            for at, (call, *_) in enumerate(asked)
            if call.returned_ns >= log.since_ns and call.began_ns <= log.until_ns
        }
        self._by_key: dict[bytes, list[int]] = {}
        for at, one in enumerate(asked):
            self._by_key.setdefault(one.operation.key, []).append(at)
        self._reached = [(log.since_ns, kept)]
        self._not_yet: list[tuple[int, int]] = []
        for asked_ns, answered_ns, position in seen:
            if asked_ns >= log.since_ns and answered_ns <= log.until_ns:
                self._reached.append((answered_ns, position))
                self._not_yet.append((asked_ns, position + 1))

    def run(self) -> None:
        """Find everything that does not fit."""
        try:
            commits = list(_commits(self.log.entries))
        except IntegrityError as error:
            self.problems.append(f"the log cannot be read: {error}")
            return
        standing = self._owned(commits)
        pending = self._acknowledge(standing)
        self._attribute(standing)
        ends = Ends(self._reached, self._not_yet)
        for at in self.acknowledged:
            self._check_order(at, standing[self._asked[at].operation.key], ends)
        try:
            self._replay(commits, pending, ends)
        except IntegrityError as error:
            self.problems.append(f"the log cannot be folded: {error}")

    def _owned(self, commits: list[_Commit]) -> dict[bytes, _Commit]:
        """The commits by their commands' keys: each once, and asked for just so by somebody."""
        standing: dict[bytes, _Commit] = {}
        for commit in commits:
            if isinstance(commit.records[0].event, SpaceCreated):
                continue
            where = f"the commit at position {commit.first}"
            if commit.key in standing:
                first = standing[commit.key].first
                self.problems.append(f"{where} repeats the one at position {first}")
                continue
            standing[commit.key] = commit
            attempts = [self._asked[at] for at in self._by_key.get(commit.key, ())]
            known = commit.key, commit.records[0].commit.request_hash
            same = [one for one in attempts if one.known == known]
            if not same:
                self.problems.append(f"{where} was asked for by nobody")
            elif not all(_fits(same[0].operation.command, record) for record in commit.records):
                self.problems.append(f"{where} is not what was asked: {same[0]}")
        return standing

    def _acknowledge(self, standing: dict[bytes, _Commit]) -> list[int]:
        """Pair answers with commits; return the calls that were answered without writing."""
        pending = []
        for at in sorted(self.judged):
            call, operation, _ = self._asked[at]
            commit = standing.get(operation.key)
            if isinstance(call.outcome, Answered):
                if commit is not None and call.outcome.text in _readings(operation, commit):
                    self.acknowledged[at] = commit.last
                    self._reached.append((call.returned_ns, commit.last))
                    known = self.told.get(call.process, 0)
                    self.told[call.process] = max(known, commit.last)
                else:
                    pending.append(at)
            elif isinstance(call.outcome, Refusal):
                pending.append(at)
            elif call.outcome is not None and call.outcome.kind not in {*_IN_DOUBT, "unavailable"}:
                self._blame(at, "is no answer that the API promises")
        return pending

    def _attribute(self, standing: dict[bytes, _Commit]) -> None:
        """Find for each commit the calls that may have made it; when it cannot have stood yet."""
        for key, commit in standing.items():
            attempts = self._by_key.get(key, [])
            makers = [at for at in attempts if self._may_have_made(at, commit)]
            if makers:
                began_ns = min(self._asked[at].call.began_ns for at in makers)
                if began_ns >= self.log.since_ns:
                    self._not_yet.append((began_ns, commit.first))
            elif self.judged.issuperset(attempts):
                for at in attempts:
                    self._blame(at, f"stands at position {commit.first}")

    def _may_have_made(self, at: int, commit: _Commit) -> bool:
        call, operation, _ = self._asked[at]
        if isinstance(call.outcome, Answered):
            return call.outcome.text in _readings(operation, commit)
        if isinstance(call.outcome, Failed):
            return call.outcome.kind in _IN_DOUBT
        return call.outcome is None

    def _check_order(self, at: int, commit: _Commit, ends: Ends) -> None:
        """A call that returned before another began stands before it."""
        makers = self._by_key[commit.key]
        began_ns = min(self._asked[maker].call.began_ns for maker in makers)
        least, most = ends.least(began_ns), ends.most(self._asked[at].call.returned_ns)
        if not least < commit.first <= commit.last <= most:
            where = f"positions {commit.first} to {commit.last}"
            between = f"{least + 1} to {most}"
            self._blame(at, f"stands at {where}, but was made while {between} were written")

    def _replay(self, commits: list[_Commit], pending: list[int], ends: Ends) -> None:
        """Fold the log once; at each commit's end look at the calls that it may explain."""
        spans = {at: self._span(at, ends) for at in pending}
        coming = sorted(pending, key=lambda at: spans[at][0], reverse=True)
        state, open_ = LedgerState(), list[int]()
        for commit in commits:
            state.apply_all(commit.records)
            while coming and spans[coming[-1]][0] <= commit.last:
                open_.append(coming.pop())
            still = []
            for at in open_:
                if commit.last > spans[at][1]:
                    self._blame_untrue(at, spans[at])
                elif not _is_true(state, self._asked[at]):
                    still.append(at)
            open_ = still
        last = commits[-1].last if commits else 0
        for at in (*open_, *coming):
            if self.log.torn and spans[at][1] > last:
                self.unjudged.add(at)
            else:
                self._blame_untrue(at, spans[at])

    def _span(self, at: int, ends: Ends) -> tuple[int, int]:
        call = self._asked[at].call
        return ends.least(call.began_ns), ends.most(call.returned_ns)

    def _blame_untrue(self, at: int, span: tuple[int, int]) -> None:
        until = min(span[1], self.log.entries[-1].position)
        self._blame(
            at, f"was true of no state from position {span[0]} to {until}, and wrote nothing"
        )

    def _blame(self, at: int, why: str) -> None:
        self.wrong.setdefault(at, f"{self._asked[at]}: this {why}")


def _commits(entries: Sequence[RawEntry]) -> Iterator[_Commit]:
    continuity, records = Continuity(), list[Record]()
    for raw in entries:
        records.append(continuity.admit(raw))
        if continuity.at_commit_end:
            yield _Commit(records)
            records = []


def _readings(operation: Operation[object], commit: _Commit) -> set[str]:
    """How an answer reads that tells of this commit: for the first time, or again."""
    records = tuple(commit.records)
    if records[0].commit.request_hash != request_hash(operation.command):
        return set()
    return {repr(operation.read(Done(records, repeated))) for repeated in (False, True)}


def _is_true(state: LedgerState, asked: _Asked) -> bool:
    """Whether a writer that knows just this state may answer so."""
    call, operation, _ = asked
    # Time makes a no into a yes, never the reverse: so these two stand for all in between.
    times = {max(ms, state.ms) for ms in (call.began_ms, call.returned_ms)}
    for decision in decisions(state, operation.command, operation.key, sorted(times)):
        says: Answered | Refusal | None = None
        if isinstance(decision, Refusal):
            says = decision
        elif isinstance(decision, Nothing):
            says = Answered(repr(operation.read(Held(decision.leases))))
        if says is not None and says == call.outcome:
            return True
    return False


def _fits(command: Command, record: Record) -> bool:
    """Whether an event that gives or takes was asked for, and of whom the command names."""
    event, owner = record.event, record.sealed.owner
    if isinstance(event, LeaseGranted):
        return isinstance(command, Allocate) and (
            (owner, event.interface) == (command.owner, command.interface)
        )
    if isinstance(event, LeaseRenewed):
        return isinstance(command, Renew) and event.lease == command.lease
    if isinstance(event, LeaseEnded) and isinstance(command, Release):
        return event.lease in command.leases or owner == command.owner
    if isinstance(event, LeaseEnded):
        return isinstance(command, Allocate | Sweep)  # what is past its time, or superseded
    return not isinstance(command, Renew)  # beside an end an address may be set aside


def _counted(
    calls: Sequence[Call], acknowledged: int, unjudged: int, logs: Sequence[Log]
) -> Verdict:
    outcomes = [call.outcome for call in calls]
    kinds = [one.kind if isinstance(one, Failed) else "" for one in outcomes]
    lost = sum(len(before.entries) - _kept(before, after) for before, after in pairwise(logs))
    return Verdict(
        len(calls),
        acknowledged,
        sum(isinstance(one, Answered) for one in outcomes) - acknowledged,
        sum(isinstance(one, Refusal) for one in outcomes),
        kinds.count("unknown") + outcomes.count(None),
        kinds.count("unavailable"),
        kinds.count("integrity"),
        len(logs[-1].entries),
        lost,
        unjudged,
    )
