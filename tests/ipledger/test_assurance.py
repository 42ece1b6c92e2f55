"""In a space whose durability is replicated, an answer waits until replicas have what it rests on.

The stream is in memory, where a number says how many replicas have everything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

import pytest

import ipledger
from engine.entry import Anchor
from engine.errors import HistoryDiverged, InvalidInput, Refused, Unavailable, UnknownOutcome
from engine.memory_stream import MemoryStream
from engine.model import LOCAL, Durability
from engine.stream import Acknowledged, AppendReply, Proposal
from ipledger import operations
from ipledger.durability import ACK_TIMEOUT_S_MAX, read_durability
from ipledger.ledger import Ledger
from ipledger.servers import SOCKET_TIMEOUT_S
from projections.digest import state_digest

POOL: Final = ipledger.pool("p", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.9"])


class Replicated(MemoryStream):
    """A stream that counts how often somebody waited for replicas beside an append."""

    waited = 0
    is_away = False
    on_disk: int | None = None  # on how many replicas' disks everything is; None: on all

    def append(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:  # fmt: skip
        """See `engine.stream.Stream.append`."""
        reply = super().append(after, voided, now_ms, proposals, wanted)
        if wanted.fsync and reply.acknowledged is not None and self.on_disk is not None:
            return reply._replace(acknowledged=Acknowledged(self.on_disk))
        return reply

    def acknowledge(self, through: Anchor, wanted: Durability) -> Acknowledged:
        """See `engine.stream.Stream.acknowledge`."""
        self.waited += 1
        if self.is_away:
            raise Unavailable("the server is away")
        told = super().acknowledge(through, wanted)
        return told if self.on_disk is None or not wanted.fsync else Acknowledged(self.on_disk)


@pytest.fixture
def stream() -> Replicated:
    """A stream with one replica."""
    stream = Replicated(lambda: time.time_ns() // 1_000_000)
    stream.replicas = 1
    return stream


@pytest.fixture
def ledger(stream: Replicated) -> Iterator[Ledger]:
    """A space whose answers wait for one replica."""
    with Ledger(stream, timeout_s=5.0) as opened:
        opened.apply(POOL)
        assert opened.set_durability("replicated")
        yield opened


def test_an_answer_that_enough_replicas_have_is_given(stream: Replicated, ledger: Ledger) -> None:
    """What was waited for with an append is not waited for again, whoever asks."""
    waited = stream.waited
    lease = ledger.allocate("p", owner="a").granted[0]
    assert ledger.allocate("p", owner="a").held == (lease.lease_id,)
    assert ledger.release(lease.lease_id).leases == (lease.lease_id,)
    assert stream.waited == waited


def test_with_too_few_the_answer_is_unknown_and_the_event_stands(
    stream: Replicated, ledger: Ledger
) -> None:
    """It says how many, and with which command id to repeat; the others in the batch are told."""
    stream.replicas = 0
    waited = stream.waited
    with pytest.raises(UnknownOutcome, match="0 of 1 replicas acknowledged it") as told:
        ledger.allocate("p", owner="a", command_id="ticket 1")
    assert told.value.command_id == "ticket 1"
    assert "--command-id ticket 1" in told.value.hint
    assert stream.waited == waited, "it was waited for with the append"
    assert [lease.owner for lease in ledger.state.leases()] == ["a"]
    answers = ledger.run_all([operations.allocate("p", f"o-{n}") for n in range(3)])
    assert [type(answer) for answer in answers] == [UnknownOutcome] * 3


def test_a_repeated_command_waits_again(stream: Replicated, ledger: Ledger) -> None:
    """It is answered as the first time when replicas have it, and not before."""
    stream.replicas = 0
    for _ in range(2):
        with pytest.raises(UnknownOutcome):
            ledger.allocate("p", owner="a", command_id="ticket 1")
    with Ledger(stream, timeout_s=5.0) as other, pytest.raises(UnknownOutcome):
        other.allocate("p", owner="a", command_id="ticket 1")
    stream.replicas = 1
    answer = ledger.allocate("p", owner="a", command_id="ticket 1")
    assert answer.repeated
    assert [lease.owner for lease in answer.granted] == ["a"]
    assert len(list(ledger.state.leases())) == 1


def test_that_it_is_so_already_waits_too(stream: Replicated, ledger: Ledger) -> None:
    """That somebody holds it is a promise, also when somebody else wrote what it rests on."""
    with Ledger(stream, timeout_s=5.0) as other:
        held = other.allocate("p", owner="a").granted[0].lease_id
    stream.replicas = 0
    with pytest.raises(UnknownOutcome):
        ledger.allocate("p", owner="a")
    stream.replicas = 1
    assert ledger.allocate("p", owner="a").held == (held,)


def test_a_refusal_waits_for_nothing(stream: Replicated, ledger: Ledger) -> None:
    """It promises nothing, so it is a refusal as ever, and nobody has waited for it."""
    stream.replicas = 0
    waited = stream.waited
    with pytest.raises(UnknownOutcome):
        ledger.allocate("p", owner="a", command_id="ticket 1")
    with pytest.raises(Refused) as refused:
        ledger.allocate("nowhere", owner="b")
    assert refused.value.kind == "not_found"
    with pytest.raises(Refused) as another:
        ledger.allocate("p", owner="b", command_id="ticket 1")
    assert another.value.kind == "conflict"
    assert stream.waited == waited


def test_whoever_writes_learns_of_it_from_the_stream(stream: Replicated) -> None:
    """A writer that has not read of the promise yet keeps it from its next answer on."""
    with Ledger(stream, timeout_s=5.0) as one, Ledger(stream, timeout_s=5.0) as other:
        one.apply(POOL)
        other.refresh()
        one.set_durability("replicated")
        stream.replicas = 0
        assert other.state.durability == LOCAL, "it has not read of it"
        with pytest.raises(UnknownOutcome, match="0 of 1"):
            other.allocate("p", owner="a")
        assert other.state.durability == Durability(1, False, 1_000)


def test_a_promise_of_more_is_not_kept_by_what_was_waited_for_before(
    stream: Replicated, ledger: Ledger
) -> None:
    """One replica had everything; when two are wanted, that is too few."""
    ledger.allocate("p", owner="a")
    with pytest.raises(UnknownOutcome, match="1 of 2 replicas"):
        ledger.set_durability("replicated", replicas=2)
    assert ledger.state.durability.replicas == 2
    with pytest.raises(UnknownOutcome):
        ledger.allocate("p", owner="a")
    stream.replicas = 2
    assert not ledger.set_durability("replicated", replicas=2), "it is so already"
    assert ledger.allocate("p", owner="a").held


def test_what_is_known_of_one_promise_is_nothing_of_another(
    stream: Replicated, ledger: Ledger
) -> None:
    """One replica has everything up to here; whether two have it must be asked."""
    ledger.allocate("p", owner="a")
    assert ledger.writer.shortfall() is None
    assert ledger.writer.shortfall(Durability(2, False, 50)) is not None
    assert ledger.writer.shortfall() is None
    stream.on_disk = 0
    assert ledger.writer.shortfall(Durability(1, True, 50)) is not None


def test_what_was_waited_for_is_held_to_the_promise_of_then(
    stream: Replicated, ledger: Ledger
) -> None:
    """What was waited for in memory is not on disk, which somebody else has promised meanwhile."""
    with Ledger(stream, timeout_s=5.0) as other:
        other.set_durability("replicated", fsync=True)
    stream.on_disk = 0
    with pytest.raises(UnknownOutcome, match="on disk"):
        ledger.allocate("p", owner="a")


def test_local_again_waits_for_nobody(stream: Replicated, ledger: Ledger) -> None:
    """The way out when no replica is left: an event, whose own answer waits for none."""
    stream.replicas = 0
    assert ledger.set_durability("local")
    waited = stream.waited
    assert ledger.allocate("p", owner="a").granted
    assert stream.waited == waited


def test_a_server_that_is_away_acknowledges_nothing(stream: Replicated, ledger: Ledger) -> None:
    """Whoever cannot ask cannot promise: it is unknown, and says why."""
    stream.replicas = 0
    with pytest.raises(UnknownOutcome):
        ledger.allocate("p", owner="a", command_id="ticket 1")
    stream.is_away = True
    with pytest.raises(UnknownOutcome, match="the server is away"):
        ledger.allocate("p", owner="a", command_id="ticket 1")


def test_another_history_acknowledges_nothing(stream: Replicated, ledger: Ledger) -> None:
    """What replicas have is of no use if the entry that the answer rests on is not there."""
    stream.replicas = 0
    with pytest.raises(UnknownOutcome):
        ledger.allocate("p", owner="a", command_id="ticket 1")
    stream.replicas = 1
    lost = stream.entries.pop()
    stream.last_generated = (lost.ms, lost.position - 1)
    with pytest.raises(HistoryDiverged):
        ledger.allocate("p", owner="a", command_id="ticket 1")


def test_a_space_is_made_with_its_promise(stream: Replicated) -> None:
    """In one commit, so that there is no moment in which less is promised."""
    with Ledger(stream, "blue", timeout_s=5.0) as ledger:
        assert ledger.create_space(promises=Durability(1, True, 250))
        assert ledger.position == 2
        assert ledger.state.durability == Durability(1, True, 250)
    stream.replicas = 0
    fresh = Replicated(lambda: time.time_ns() // 1_000_000)
    with (
        Ledger(fresh, "red", timeout_s=5.0) as ledger,
        pytest.raises(UnknownOutcome, match="0 of 1"),
    ):
        ledger.create_space(promises=Durability(1, False, 250))
    with Ledger(fresh, "red", timeout_s=5.0) as ledger:
        assert ledger.position == 2, "it stands"


def test_the_promise_is_part_of_what_is(ledger: Ledger) -> None:
    """Two states that promise differently have different digests; local, as ever, has none."""
    replicated = state_digest(ledger.state)
    ledger.state.durability = LOCAL
    assert state_digest(ledger.state) != replicated


def test_an_old_space_cannot_say_so_yet(stream: Replicated) -> None:
    """Below level 3 it is refused, with how to get there; local it is already."""
    with Ledger(stream, timeout_s=5.0) as ledger:
        ledger.apply(POOL)
        assert ledger.state.space is not None
        ledger.state.space = ledger.state.space._replace(level=2)
        assert not ledger.set_durability("local")
        with pytest.raises(Refused) as refused:
            ledger.set_durability("replicated")
    assert (refused.value.kind, refused.value.refusal.about) == ("forbidden", "level")
    assert "space raise" in refused.value.hint


@pytest.mark.parametrize(
    ("mode", "options"),
    [("local", {"replicas": 1}), ("local", {"fsync": True}), ("local", {"ack_timeout_s": 1.0}),
     ("eventual", {}), ("replicated", {"replicas": 0}), ("replicated", {"replicas": 256}),
     ("replicated", {"replicas": True}), ("replicated", {"ack_timeout_s": 0.0}),
     ("replicated", {"ack_timeout_s": 4.1}), ("replicated", {"ack_timeout_s": float("nan")})],
)  # fmt: skip
def test_promises_that_cannot_be(mode: str, options: dict[str, object]) -> None:
    """Each is refused before anything is written."""
    with pytest.raises(InvalidInput):
        read_durability(mode, **options)  # type: ignore[arg-type]


def test_the_wait_ends_before_a_client_gives_up() -> None:
    """A reply that says "too few" must still be listened for."""
    assert ACK_TIMEOUT_S_MAX <= SOCKET_TIMEOUT_S - 1
