"""Random questions of who held what, and whether a history answers them as the facts do."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from engine.addresses import Address, format_address, from_int
from replay.history.tenure import Tenure
from tests.simulation.oracle import Fact, Oracle
from tests.simulation.world import Simulation


class Question(NamedTuple):
    """Who held an address at a time, as far as was recorded by another; None is by now."""

    address: Address
    at_ms: int
    known_at_ms: int | None


def questions(world: Simulation, number: int, seed: int = 0) -> Iterator[Question]:
    """So many questions; half of the times are those at which something changed, or beside them."""
    random = Random(f"questions {seed}")  # noqa: S311 - the same ones on every run
    oracle = Oracle(world.facts)
    addresses = oracle.addresses
    begin_ms, end_ms = world.stream.entries[0].ms, world.now_ms
    for _ in range(number):
        address = random.choice(addresses)
        if random.random() < 0.03:  # one that was hardly ever held, or never
            address = from_int(0x0A000000 + random.randrange(1 << 21), 4)
        turns = [ms for fact in oracle.tenures(address) for ms in _turns(fact)] or [begin_ms]

        def some_time(turns: list[int] = turns) -> int:
            if random.random() < 0.5:
                return random.randint(begin_ms, end_ms)
            return random.choice(turns) + random.choice((-1, 0, 0, 1))

        known_at_ms = some_time() if random.random() < 0.6 else None
        yield Question(address, some_time(), known_at_ms)


def _turns(fact: Fact) -> Iterator[int]:
    yield fact.granted_ms
    yield fact.effective_from_ms
    if fact.ended_ms is not None and fact.effective_to_ms is not None:
        yield fact.ended_ms
        yield fact.effective_to_ms


def disagreement(question: Question, fact: Fact | None, tenure: Tenure | None) -> str | None:
    """What a history says otherwise than the facts; None if they agree."""
    expected = None if fact is None else _of_fact(fact, question.known_at_ms)
    found = None if tenure is None else _of_tenure(tenure)
    if expected == found:
        return None
    return (
        f"{format_address(question.address)} at {question.at_ms}, known at "
        f"{question.known_at_ms}: expected {expected}, found {found}"
    )


def _of_fact(fact: Fact, known_at_ms: int | None) -> tuple[object, ...]:
    is_known = fact.ended_ms is not None and (known_at_ms is None or fact.ended_ms <= known_at_ms)
    ended = (fact.effective_to_ms, fact.ended_ms, fact.ended_by) if is_known else None
    return (
        fact.lease, fact.address, fact.owner, fact.interface, fact.uid, fact.labels, fact.cluster,
        fact.pool, f"{fact.cluster}-agent", fact.effective_from_ms, fact.granted_ms, ended,
    )  # fmt: skip


def _of_tenure(tenure: Tenure) -> tuple[object, ...]:
    end = tenure.ending
    return (
        tenure.lease_id, tenure.address, tenure.owner, tenure.interface, tenure.uid, tenure.labels,
        tenure.cluster, tenure.pool, tenure.actor, tenure.from_ms, tenure.recorded_ms,
        None if end is None else (end.to_ms, end.recorded_ms, end.how),
    )  # fmt: skip
