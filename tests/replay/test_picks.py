"""Replay explains a choice: the state at `decided_at` gives the very address that was granted."""

from __future__ import annotations

from random import Random

import pytest

from engine.commands import AllocateTogether, Apply, Command
from engine.errors import InvalidInput
from engine.events import LeaseGranted
from engine.model import POLICIES, Policy
from engine.wire import decode_entry, encode_commit, encode_entry
from replay.picks import Pick, explain_pick
from tests.builders import (
    TestLedger,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)


def grants(ledger: TestLedger) -> list[int]:
    """The ids of all leases that were ever granted."""
    records = map(decode_entry, ledger.stream.entries)
    return [r.position for r in records if isinstance(r.event, LeaseGranted)]


def explained(ledger: TestLedger, every: int = 1) -> list[Pick]:
    """Why each grant, or one of so many, has its address: each folds the stream anew."""
    return [explain_pick(ledger.stream, lease_id) for lease_id in grants(ledger)[::every]]


def lively(policy: Policy, seed: int, steps: int, **fields: object) -> TestLedger:
    """Batches of takes, releases and reservations by two writers, one of them late."""
    random = Random(seed)  # noqa: S311 - the same history on every run
    first = TestLedger(seed=seed)
    first.apply(make_pool("pool", "10.0.0.0/26", policy=policy, **fields))
    second = TestLedger(seed=seed + 1_000, beside=first)
    for step in range(steps):
        first.clock.now_ms += random.randrange(3_000)
        writer = random.choice((first, second))
        commands: list[Command] = []
        for _ in range(random.randrange(1, 9)):
            owner = f"o{random.randrange(40)}"
            match random.randrange(10):
                case 0 | 1 | 2:
                    commands.append(make_release(owner=owner))
                case 3:
                    both = make_allocate(owner=owner), make_allocate(owner=owner, interface="net1")
                    commands.append(AllocateTogether(both))
                case 4:
                    commands.append(make_allocate(owner=owner, number=random.randrange(1, 6)))
                case _:
                    commands.append(make_allocate(owner=owner, uid=str(random.randrange(3))))
        if step % 10 == 5:
            name = f"r{random.randrange(3)}"
            writer.run(make_delete(reservations=[name], ignore_not_found=True))
            writer.run(reserve_four(name, random.randrange(1, 60)))
        for _round in range(20):
            pending = [writer.call(command) for command in commands]
            if writer.step(pending):
                break
            commands = [call.command for call in pending if call.outcome is None]
    return first


def reserve_four(name: str, host: int) -> Command:
    """A reservation of four addresses."""
    return Apply((make_reservation(name, f"10.0.0.{host}-10.0.0.{host + 3}"),))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cooldown_s", [0, 20])
def test_a_seed_explains_its_grant(seed: int, cooldown_s: int) -> None:
    """Every grant with a seed, in any batch, also among what rests and what time has freed."""
    ledger = lively("random", seed, 50, cooldown_s=cooldown_s)
    picks = explained(ledger, every=2)
    drawn = [pick for pick in picks if pick.seed is not None]
    assert len(drawn) > 25
    assert all(pick.is_as_given for pick in drawn), [p for p in drawn if not p.is_as_given]
    assert {pick.policy for pick in picks} == {"random"}


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy != "random"])
def test_a_policy_explains_what_it_chose(policy: Policy) -> None:
    """One writer, one command at a time: whatever was not kept for a new incarnation."""
    ledger = TestLedger()
    ledger.apply(make_pool(policy=policy, cooldown_s=30, sticky_s=100))
    random = Random(2)  # noqa: S311 - the same history on every run
    for _step in range(120):
        ledger.clock.now_ms += 5_000
        owner = f"o{random.randrange(12)}"
        ledger.run(random.choice((make_release(owner=owner), make_allocate(owner=owner))))
    picks = explained(ledger)
    assert len(picks) > 20
    assert all(pick.is_as_given for pick in picks), [p for p in picks if not p.is_as_given]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_members_of_a_batch_pass_over_each_other(policy: Policy) -> None:
    """They were all decided on one state."""
    ledger = TestLedger()
    ledger.apply(make_pool(policy=policy))
    assert ledger.step([ledger.call(make_allocate(owner=f"o{n}")) for n in range(40)])
    picks = explained(ledger)
    assert len({pick.decided_at for pick in picks}) == 1
    assert all(pick.is_as_given for pick in picks)


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy != "random"])
def test_the_members_of_a_batch_pass_over_all_of_a_block(policy: Policy) -> None:
    """Over 10.0.0.4/30, that is: the fourth single address comes after it and not inside."""
    ledger = TestLedger()
    ledger.apply(make_pool(policy=policy))
    block = make_allocate(owner="block", prefix_length=30)
    singles = [make_allocate(owner=f"o{n}") for n in range(5)]
    assert ledger.step([ledger.call(command) for command in (block, *singles)])
    picks = [explain_pick(ledger.stream, lease_id) for lease_id in grants(ledger)[1:]]
    assert [pick.granted[-1] for pick in picks] == [1, 2, 3, 8, 9]
    assert [pick.given for pick in picks] == [pick.granted for pick in picks]


def test_a_grant_that_was_altered_is_not_explained() -> None:
    """Another address, or another seed, than what was drawn."""
    ledger = TestLedger()
    ledger.apply(make_pool(policy="random"))
    (lease,) = ledger.grant()
    raw = ledger.stream.entries[-1]
    record = decode_entry(raw)
    assert isinstance(record.event, LeaseGranted)
    other = (int.from_bytes(record.event.address) ^ 3).to_bytes(4)
    for change in ({"address": other}, {"seed": (record.event.seed or 0) ^ 1}):
        e, s, t = encode_entry(record.event._replace(**change), record.sealed, record.header)
        _, c = encode_commit(record.commit, e, s)
        ledger.stream.entries[-1] = raw._replace(e=e, s=s, t=t, c=c)
        assert not explain_pick(ledger.stream, lease.lease_id).is_as_given


def test_what_is_no_choice_is_told_apart() -> None:
    """Asked for by address, or no lease at all."""
    ledger = TestLedger()
    ledger.apply(make_pool())
    (lease,) = ledger.grant(ips=["10.0.0.9"])
    pick = explain_pick(ledger.stream, lease.lease_id)
    assert (pick.is_as_given, pick.given) == (False, bytes((10, 0, 0, 1)))
    for position in (0, 1, lease.lease_id + 1):
        with pytest.raises(InvalidInput, match="no lease was granted"):
            explain_pick(ledger.stream, position)
