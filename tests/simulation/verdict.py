"""What must be true of a run at any moment, and of its end, whatever struck it.

The log is the truth that everything else is held to: what was acknowledged stands in it exactly
once, what was refused does not, every refusal was true of some state between call and answer, and
every view that is left is the fold of it. That is looked at when a run is over, once during it,
and before anything changes the history itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.commands import Claim, Sweep
from engine.decide import decide
from engine.draft import Nothing
from engine.entry import Record
from engine.errors import (
    HistoryDiverged,
    IntegrityError,
    MissingEntries,
    Refusal,
    Unavailable,
    UnknownOutcome,
)
from engine.events import LeaseEnded
from engine.placement import Placement
from engine.reading import HighWater
from ipledger.writing import Done, Held
from projections.digest import state_digest
from projections.state import LedgerState
from replay.audit import Options, audit
from tests.simulation.clients import Attempt, WriterProcess, was_starved
from tests.simulation.cluster import Cluster
from tests.simulation.log import anchors_of, commits, not_given_up
from tests.simulation.verdict_followers import check_followers, check_prefixes

_DECIDED: Final = (Done, Held, Refusal)
_AWAY: Final = (Unavailable, UnknownOutcome)
_TOLD: Final = (*_DECIDED, *_AWAY, HistoryDiverged, MissingEntries)
_LATER_MS: Final = 600_000  # when everything has come to rest, and every clock is right

_Steps = dict[tuple[bytes, int], list[Record]]


class Broken(AssertionError):
    """A promise was broken."""


class Verdict:
    """Holds one run to every promise."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._judged = 0  # attempts whose answers were found to be true
        self.checks = 0

    def check(self) -> None:
        """Hold everything to the promises as of now.

        Raises:
            Broken: one was broken.
        """
        cluster = self._cluster
        if cluster.deleted_at is not None or cluster.came_back:
            return  # what has a hole is read by nobody; of the other see `Cluster.came_back`
        self.checks += 1
        digest, standing = self._walk()
        found = audit(cluster.world.server, Options())
        if found.total:
            raise self._broken(f"the audit found {found.breaches[:3]}")
        if found.digest != digest:
            raise self._broken("the audit counts another state than a replay")
        self._acknowledged_once(standing)
        self._nobody_was_alarmed_in_vain()
        self._broken_if(check_prefixes(cluster))

    def check_end(self) -> None:
        """Hold a run that is over to every promise.

        Raises:
            Broken: one was broken.
        """
        cluster = self._cluster
        if cluster.came_back:
            cluster.world.happened["lost entry came back"] += 1
            return
        self._nobody_was_alarmed_in_vain()
        self._nobody_went_on_blindly()
        self._deletion_was_noticed()
        self.check()
        self._broken_if(check_followers(cluster))
        for process in cluster.writers:
            self._told_or_goes_on(process)
        cluster.world.schedule.now_ms += _LATER_MS
        going = [each for each in cluster.writers if not self._misses(each.remembered)]
        if going and cluster.deleted_at is None:
            self._goes_on(going[cluster.seed % len(going)])

    def _broken(self, says: str) -> Broken:
        return Broken(f"in turn {self._cluster.world.schedule.turns}: {says}")

    def _broken_if(self, says: Sequence[str]) -> None:
        if says:
            raise self._broken(says[0])

    # ------------------------------------------------------------------------ the log, front to end

    def _walk(self) -> tuple[str, _Steps]:
        """The digest of a replay and all commits; on the way, what rests on the states between."""
        cluster, state = self._cluster, LedgerState()
        open_ = [a for a in cluster.attempts[self._judged :] if self._must_be_true(a)]
        self._judged = len(cluster.attempts)
        knowing = self._who_knows_what()
        standing: _Steps = {}
        for records in commits(cluster.world.server):
            state.apply_all(records)
            header, position = records[0].header, records[-1].position
            key = header.command, header.step
            if key in standing:
                raise self._broken(f"command {key} was committed more than once")
            standing[key] = records
            if header.step:
                self._series_is_bounded(records, standing.get((header.command, 0)))
            for process in knowing.get(position, ()):
                self._knows(process, state)
            open_ = [a for a in open_ if not _explained(a, state, position)]
            for attempt in open_:
                if attempt.ended.position <= position:
                    raise self._broken(f"{attempt} was true of no state from call to answer")
        return state_digest(state), standing

    def _series_is_bounded(self, records: list[Record], first: list[Record] | None) -> None:
        """A later commit of a series ends nothing that was granted behind its first one."""
        begun = first[0].position if first else 0
        for record in records:
            event = record.event
            if isinstance(event, LeaseEnded) and event.lease > begun:
                raise self._broken(f"a series that began at {begun} ended lease {event.lease}")

    def _must_be_true(self, attempt: Attempt) -> bool:
        """Whether it says something of a state, and of a history that was not lost meanwhile."""
        loss = self._cluster.loss
        is_of_now = loss is None or attempt.began.turn > loss.turn
        return is_of_now and isinstance(attempt.outcome, (Held, Refusal))

    def _who_knows_what(self) -> dict[int, list[WriterProcess]]:
        """Who stands at which position of this history; who lost his place in it learns it soon."""
        there = anchors_of(self._cluster.world.server.entries)
        knowing: dict[int, list[WriterProcess]] = {}
        for process in self._cluster.writers:
            if process.writer is not None and process.writer.continuity.anchor in there:
                knowing.setdefault(process.writer.state.position, []).append(process)
        return knowing

    def _knows(self, process: WriterProcess, replayed: LedgerState) -> None:
        assert process.writer is not None, "who is alive was taken"
        if state_digest(process.writer.state) != state_digest(replayed):
            raise self._broken(f"{process.name} knows another state than a replay")

    def _nobody_was_alarmed_in_vain(self) -> None:
        """Nobody's time ran out for others, and nothing is called broken that is not."""
        cluster = self._cluster
        broken_in = cluster.deleted_at if cluster.loss is None else cluster.loss.turn
        for process in cluster.writers:
            if broken_in is None and process.stopped is not None:
                raise self._broken(f"{process.name} stopped without a reason: {process.stopped}")
        for attempt in cluster.attempts:
            if was_starved(attempt):
                raise self._broken(f"it was never the turn of {attempt}")
            reason = broken_in is not None and attempt.ended.turn >= broken_in
            if not isinstance(attempt.outcome, _TOLD if reason else (*_DECIDED, *_AWAY)):
                raise self._broken(f"there is no reason for {attempt}")

    def _acknowledged_once(self, standing: _Steps) -> None:
        """What was acknowledged stands as it was told; what was refused stands nowhere."""
        by_key: dict[tuple[bytes, int], list[Attempt]] = {}
        for attempt in self._cluster.attempts:
            by_key.setdefault((attempt.key, attempt.step), []).append(attempt)
        for key, attempts in by_key.items():
            stands = standing.get(key)
            for attempt in attempts:
                if isinstance(attempt.outcome, Done):
                    self._stands(attempt, list(attempt.outcome.records), stands)
            certain = key[0] not in self._cluster.world.early and all(
                isinstance(attempt.outcome, (Held, Refusal, Unavailable))
                and not self._may_be_lost(attempt)
                for attempt in attempts
            )
            if certain and stands:
                raise self._broken(f"{attempts} wrote nothing, and stands")

    def _stands(self, attempt: Attempt, told: list[Record], stands: list[Record] | None) -> None:
        if stands == told:
            return
        loss, last = self._cluster.loss, told[-1].position
        lost = loss is not None and self._may_be_lost(attempt) and last > loss.kept
        if not lost:
            raise self._broken(f"{attempt} is not in the stream; what stands is {stands}")
        process = next(p for p in self._cluster.writers if p.name == attempt.process)
        if process.remembered is None or process.remembered.position < last:
            raise self._broken(f"{attempt.process} answered before it had noted what it saw")

    def _may_be_lost(self, attempt: Attempt) -> bool:
        loss = self._cluster.loss
        return loss is not None and attempt.began.turn <= loss.turn

    # -------------------------------------------------------------------------- what was done to it

    def _nobody_went_on_blindly(self) -> None:
        """Who had seen what was lost is told just that: always while it lives, else until accepted.

        Who was killed meanwhile and begins anew after that takes up what was accepted.
        """
        cluster, loss = self._cluster, self._cluster.loss
        if loss is None:
            return
        # A request that was told twice may bring back just what was lost, to the byte.
        there = anchors_of(cluster.world.server.entries)
        missed = {name for name, anchor in loss.remembered.items() if anchor not in there}
        lives = {name: life for name, life in loss.lives.items() if name in missed}
        replaced = {
            name for name in missed
            if not_given_up([loss.remembered[name]], cluster.world.server.entries)
        }  # fmt: skip
        accepted = cluster.accepted_at or cluster.promoted_at
        for attempt in cluster.attempts:
            outcome, name = attempt.outcome, attempt.process
            if attempt.began.turn <= loss.turn:
                if isinstance(outcome, Done) and attempt.ended.turn > loss.turn:
                    lives.setdefault(name, attempt.life)  # its answer was on the way
                    if loss.kept < outcome.records[-1].position and not self._is_there(outcome):
                        lives[name] = attempt.life
                    elif name not in missed:
                        del lives[name]
                continue
            before = name in replaced or accepted is None or attempt.ended.turn < accepted
            knew = lives.get(name) == attempt.life or (name in missed and before)
            if knew and _decided_anew(attempt):
                raise self._broken(f"{attempt} rests on a history that lost entries")

    def _is_there(self, done: Done) -> bool:
        last = done.records[-1]
        return any(
            (raw.ms, raw.position) == (last.ms, last.position)
            for raw in self._cluster.world.server.entries
        )

    def _deletion_was_noticed(self) -> None:
        """After an entry was deleted nothing is answered any more, by anybody who asks."""
        cluster = self._cluster
        if cluster.deleted_at is None:
            return
        for attempt in cluster.attempts:
            if attempt.began.turn > cluster.deleted_at and _decided_anew(attempt):
                raise self._broken(f"{attempt} rests on a stream with a hole")

    # ------------------------------------------------------------------------------------- the end

    def _told_or_goes_on(self, process: WriterProcess) -> None:
        """Over a line that holds: what is wrong is told, and nothing else is."""
        cluster = self._cluster
        wrong = cluster.deleted_at is not None or self._misses(process.remembered)
        try:
            list(commits(cluster.world.server, process.remembered))
        except IntegrityError as error:
            if not wrong:
                raise self._broken(f"{process.name} is told without a reason: {error}") from error
        else:
            if wrong:
                raise self._broken(f"{process.name} would pass over what is missing")

    def _goes_on(self, process: WriterProcess) -> None:
        """When every line holds and every clock is right, whoever may go on does."""
        cluster = self._cluster
        outcome = process.ask_now(Sweep())
        if not isinstance(outcome, (Done, Held)):
            raise self._broken(f"all is well, and {process.name} is answered {outcome!r}")
        replayed = LedgerState()
        for records in commits(cluster.world.server):
            replayed.apply_all(records)
        self._knows(process, replayed)

    def _misses(self, remembered: HighWater | None) -> bool:
        """Whether something was seen that is not there, and that nobody gave up."""
        anchors = () if remembered is None else remembered.anchors
        return not_given_up(anchors, self._cluster.world.server.entries)


def _decided_anew(attempt: Attempt) -> bool:
    """Whether an answer rests on the state: one that is told again is as true as ever."""
    outcome = attempt.outcome
    told_again = isinstance(outcome, Done) and outcome.repeated
    return isinstance(outcome, _DECIDED) and not told_again


def _explained(attempt: Attempt, state: LedgerState, position: int) -> bool:
    """Whether the state at a position gives the answer that was given."""
    began, ended = attempt.began, attempt.ended
    if not began.position <= position <= ended.position:
        return False
    times = {began.server_ms, ended.server_ms, (began.server_ms + ended.server_ms) // 2}
    for now_ms in sorted({*times, state.ms}):
        decision = decide(state, attempt.command, Claim(), Placement(), now_ms)
        if isinstance(attempt.outcome, Refusal):
            if isinstance(decision, Refusal) and decision.kind == attempt.outcome.kind:
                return True
            remembered = state.commands.get(attempt.key, attempt.step)
            if remembered is not None and attempt.outcome.kind == "conflict":
                return True
        elif isinstance(decision, Nothing):
            assert isinstance(attempt.outcome, Held), "there are no others"
            same = [lease.lease_id for lease in decision.leases]
            if same == [lease.lease_id for lease in attempt.outcome.leases]:
                return True
    return False
