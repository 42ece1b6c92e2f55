"""A history answers as a naive oracle does that looks at every event, on both time axes.

`IPLEDGER_SIMULATED_EVENTS=1000000` runs it on a history of a million events.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest

from engine.addresses import Address, Subnet, family_of, to_int
from replay.history.queries import History, Span, Wanted
from replay.history.store import HistoryView
from tests.replay.oracle import Fact, Oracle, contains
from tests.replay.simulated import CLUSTERS, START_MS, Simulation

EVENTS: Final = int(os.environ.get("IPLEDGER_SIMULATED_EVENTS", "4000"))
QUESTIONS: Final = 10_000 if EVENTS > 10_000 else 2_000
# A list of a million facts is not looked at ten thousand times; those of one address are.
SCANS: Final = max(20, 400_000 // EVENTS)


class Told:
    """A history, its oracle, and questions drawn by chance."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.simulation = Simulation(seed)
        self.oracle = Oracle()
        self.view = HistoryView(directory / "history.sqlite")
        self.draw = Random(seed + 1)  # noqa: S311 - the same questions on every run
        assert self.view.load() is None
        pending = 0
        for commit in self.simulation.commits(EVENTS):
            self.oracle.tell(commit)
            self.view.apply_all(commit)
            pending += len(commit)
            # First bulk, then page by page: both ways of writing are asked about.
            if pending >= (EVENTS // 2 if self.simulation.position < EVENTS * 0.6 else 500):
                self.view.save(self.simulation.checkpoint())
                self.view.settle()
                pending = 0
        self.view.save(self.simulation.checkpoint())
        self.view.settle()
        self.positions = list(self.oracle.facts)
        self.by_address: dict[bytes, Oracle] = {}
        for position, fact in self.oracle.facts.items():
            for address in self._addresses(fact):
                mine = self.by_address.setdefault(address, Oracle())
                mine.facts[position] = fact

    def _addresses(self, fact: Fact) -> list[bytes]:
        event, width = fact.event, len(fact.event.address)
        first = int.from_bytes(event.address)
        count = 1 << (width * 8 - event.prefix_length)
        return [(first + i).to_bytes(width) for i in range(count)]

    def time(self, address: bytes = b"") -> int:
        """A time from just before everything to its end; often exactly that of an event there."""
        if self.draw.random() < 0.7:
            mine = self.by_address.get(address)
            fact = self.fact() if mine is None else self.draw.choice(list(mine.facts.values()))
            known = [fact.grant.ms, fact.grant.header.effective_at_ms]
            if fact.end is not None:
                known += [fact.end.ms, fact.end.header.effective_at_ms]
            exact = self.draw.choice([ms for ms in known if ms is not None])
            return exact + self.draw.choice((-1, 0, 0, 1))
        return self.draw.randint(START_MS - 1_000, self.simulation.ms)

    def known_at(self, address: bytes = b"") -> int | None:
        """A time of knowing, or that everything is known."""
        return None if self.draw.random() < 0.4 else self.time(address)

    def fact(self) -> Fact:
        """Any of the facts."""
        return self.oracle.facts[self.draw.choice(self.positions)]

    def address(self) -> Address:
        """An address that was held some time, or its neighbour, which may never have been."""
        address = self.draw.choice(self._addresses(self.fact()))
        return Address((int.from_bytes(address) + self.draw.choice((0, 0, 0, 1))).to_bytes(
            len(address)
        ))  # fmt: skip


@pytest.fixture(scope="module", params=[1, 2] if EVENTS <= 10_000 else [1])
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Told]:
    """A history by chance; the seed is the test's parameter."""
    told = Told(tmp_path_factory.mktemp("history"), request.param)
    yield told
    told.view.close()


def test_who_held_an_address_at_a_time(told: Told) -> None:
    """Thousands of times: the same lease, or nobody."""
    answers = set()
    nobody = Oracle()
    with told.view.reading() as history:
        for _ in range(QUESTIONS):
            address = told.address()
            at_ms, known_at_ms = told.time(address), told.known_at(address)
            expected = told.by_address.get(address, nobody).holder(address, at_ms, known_at_ms)
            found = history.holder(address, at_ms, known_at_ms)
            answer = None if found is None else found.lease_id
            assert answer == expected, (address.hex(), at_ms, known_at_ms)
            answers.add(answer is None)
    assert answers == {True, False}, "both answers were given"


def _ask(
    told: Told, history: History, wanted: Wanted, meant: object
) -> list[tuple[int, int | None]]:
    """Ask both, compare, and return what they said."""
    first_ms, second_ms = sorted((told.time(), told.time() + 1))
    known_at_ms = told.known_at()
    span = Span(first_ms, max(second_ms, first_ms + 1), known_at_ms)
    assert callable(meant)
    assert span.from_ms is not None
    assert span.to_ms is not None
    expected = told.oracle.held(meant, span.from_ms, span.to_ms, known_at_ms)
    found = [(t.lease_id, t.to_ms) for t in history.tenures(wanted, span, -1)]
    assert found == expected, span
    return found


def test_who_held_anything_of_a_block_in_a_range(told: Told) -> None:
    """Of an address, and of blocks of any size; also what contains the block."""
    sizes = set()
    with told.view.reading() as history:
        for _ in range(SCANS):
            address = told.address()
            bits = len(address) * 8
            length = told.draw.choice((bits, bits, bits - 4, bits - 6, bits - 8, bits - 16, 0))
            first = to_int(address) >> (bits - length) << (bits - length)
            block = Subnet(family_of(address), first, length)

            def meant(fact: Fact, block: Subnet = block) -> bool:
                held = Subnet(
                    family_of(Address(fact.event.address)),
                    int.from_bytes(fact.event.address), fact.event.prefix_length,
                )  # fmt: skip
                return block.overlaps(held)

            sizes.add(len(_ask(told, history, history.of_block(block), meant)))
            if length == bits:

                def here(fact: Fact, address: bytes = address) -> bool:
                    return contains(fact.event, address)

                _ask(told, history, history.of_address(address), here)
    assert len(sizes) > 5, "answers of many sizes"


def test_what_an_owner_a_label_or_an_actor_had(told: Told) -> None:
    """The same tenures, whatever they are found by."""
    with told.view.reading() as history:
        for _ in range(SCANS):
            owner = told.fact().grant.sealed.owner
            assert owner is not None
            _ask(told, history, history.of_owner(owner),
                 lambda fact, owner=owner: fact.grant.sealed.owner == owner)  # fmt: skip
            pair = told.draw.choice(told.fact().grant.sealed.labels)
            _ask(told, history, history.of_label(*pair),
                 lambda fact, pair=pair: pair in fact.grant.sealed.labels)  # fmt: skip
            actor = f"{told.draw.choice(CLUSTERS)}-cni"
            _ask(told, history, history.of_actor(actor),
                 lambda fact, actor=actor: fact.grant.sealed.actor == actor)  # fmt: skip


def test_first_and_last_seen(told: Told) -> None:
    """Over all of history, as it was known."""
    with told.view.reading() as history:
        for _ in range(200):
            address = told.address()
            known_at_ms = told.known_at(address)
            mine = told.by_address.get(address, Oracle()).known(known_at_ms)
            seen = history.seen(history.of_address(address), known_at_ms)
            assert seen.first_ms == min((begun for _, begun, _ in mine), default=None)
            ends = [ended for _, _, ended in mine]
            lasts = None if not ends or None in ends else max(e for e in ends if e is not None)
            assert seen.last_ms == lasts


def test_the_whole_life_of_an_address_for_attribution(told: Told) -> None:
    """`tenures_at`: all of it, on the effective axis, as it is known now."""
    for _ in range(200):
        address = told.address()
        mine = told.by_address.get(address, Oracle()).known(None)
        expected = sorted((begun, fact.grant.position, ended) for fact, begun, ended in mine)
        found = told.view.tenures_at(address)
        assert [(t.from_ms, t.lease_id, t.to_ms) for t in found] == expected
        for span in found:
            grant = told.oracle.facts[span.lease_id].grant
            assert (span.owner, span.labels) == (grant.sealed.owner, grant.sealed.labels)
            assert span.pool.startswith("pool-")


def test_a_rebuilt_history_is_the_same(told: Told, tmp_path: Path) -> None:
    """In one go, or page by page: the same digest. The same simulation draws the same events."""
    again = HistoryView(tmp_path / "again.sqlite")
    simulation = Simulation(told.simulation.seed)
    for commit in simulation.commits(EVENTS):
        again.apply_all(commit)
    again.save(simulation.checkpoint())
    assert again.digest() == told.view.digest()
    again.close()
