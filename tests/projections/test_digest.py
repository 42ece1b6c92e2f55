"""The digest is a function of the events, and of nothing else on the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from engine import events as ev
from engine.addresses import Address
from engine.decide_config import pool_event, reservation_event
from engine.entry import Record
from engine.model import Expression, Selector, Selectors
from projections.digest import DIGEST_VERSION, state_digest
from projections.state import LedgerState
from tests.builders import address, make_pool, make_record, make_reservation

ROOT: Final = Path(__file__).resolve().parents[2]

# Changing this means that digests which auditors have written down no longer compare: it takes
# another DIGEST_VERSION and a line under Format in the changelog.
GOLDEN: Final = (1, "4bab73633c8cc8840979a859797ace02c53075f3b591ce39c9deb45537067bed")


def grant(pool_id: int, raw: Address) -> ev.LeaseGranted:
    """A grant of one address for an hour."""
    return ev.LeaseGranted(
        pool_id, raw, len(raw) * 8, "eth0", ttl_s=3_600, cluster="c1", supersedes=None,
        beside=(), seed=None, source=None,
    )  # fmt: skip


def history() -> list[Record]:
    """A fixed list of events in which everything occurs that a digest speaks of."""
    selectors = Selectors(
        Selector((("app", "web"),), (Expression("tier", "In", ("a", "b")),)), node_names=("n1",)
    )
    full = make_pool(
        "full", "10.0.0.0/24", exclude_ips=["10.0.0.9"], gateway="10.0.0.255", default=True,
        routes=[("10.9.0.0/16", "10.0.0.2")], ttl_s=60, cooldown_s=5, sticky_s=7, policy="random",
        labels={"zone": "é", "a": ""}, selectors=selectors,
    ).spec  # fmt: skip
    six = make_pool("six", "fd00::/64").spec
    leaving = make_pool("leaving", "10.1.0.0/24").spec
    kept = make_reservation("r", "10.0.0.20-10.0.0.29", for_s=60, owner="x", reason="ünder").spec
    events: list[tuple[ev.Event, dict[str, object]]] = [
        (ev.SpaceCreated(bytes(range(16)), "default", 1), {}),
        (pool_event("full", full), {"labels": full.labels}),
        (pool_event("six", six), {}),
        (pool_event("leaving", leaving), {}),
        (reservation_event("r", kept), {"owner": "x", "text": "ünder"}),
        (reservation_event("gone", kept), {"owner": "x"}),
        (ev.ReservationDeleted(6, "gone", expired=False), {}),
        (grant(2, address("10.0.0.1")), {"owner": "pod-1", "uid": "u1", "labels": (("k", "v"),)}),
        (grant(3, address("fd00::1")), {"owner": "pod-1"}),
        (grant(4, address("10.1.0.1")), {"owner": "pod-2"}),
        (ev.LeaseEnded(9, 3, address("fd00::1"), 128, "eth0", 0), {"owner": "pod-1"}),
        (ev.PoolDeleted(4, "leaving"), {}),
        (ev.Informational(200, 1, ()), {}),
        (grant(3, address("fd00::2")), {"owner": "pöd-3"}),
    ]
    return [
        make_record(at, event, 1_700_000_000_000 + at, **sealed)
        for at, (event, sealed) in enumerate(events, start=1)
    ]


def digest_of(records: list[Record]) -> str:
    """The digest of the state that records make."""
    state = LedgerState()
    state.apply_all(records)
    return state_digest(state)


def test_the_golden_digest() -> None:
    """A fixed history has a fixed digest, for ever."""
    assert (DIGEST_VERSION, digest_of(history())) == GOLDEN


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_the_hash_seed_does_not_matter(seed: str) -> None:
    """Another process, in which sets and dictionaries lie differently, has the same digest."""
    program = "from tests.projections.test_digest import *; print(digest_of(history()))"
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.strip() == digest_of(history())


def test_the_order_of_insertion_does_not_matter() -> None:
    """The same facts under the same ids, entered in another order, have the same digest."""
    records = history()
    space, pools, others, last = records[:1], records[1:4], records[4:-1], records[-1:]
    assert digest_of(space + pools[::-1] + others + last) == digest_of(records)
    swapped = [others[0], others[3], others[4], others[1], *others[2:3], *others[5:]]
    assert digest_of(space + pools + swapped + last) == digest_of(records)


@pytest.mark.parametrize("at", range(14))
def test_every_event_that_counts_is_seen(at: int) -> None:
    """Cut off at any commit, a history has another digest: no two states look alike."""
    records = history()
    digests = {digest_of(records[:length]) for length in range(at, len(records) + 1)}
    assert len(digests) == len(records) + 1 - at


@pytest.mark.parametrize(
    ("position", "sealed"),
    [
        (8, {"owner": "pod-9"}),
        (8, {"uid": "u2"}),
        (8, {"labels": (("k", "w"),)}),
        (2, {"labels": ()}),
        (5, {"owner": "y"}),
        (5, {"text": "over"}),
    ],
    ids=str,
)
def test_what_is_sealed_counts(position: int, sealed: dict[str, object]) -> None:
    """Owners, incarnations, labels and reasons are part of the state."""
    records = history()
    record = records[position - 1]
    changed = record._replace(sealed=record.sealed._replace(**sealed))  # type: ignore[arg-type]
    assert digest_of([*records[: position - 1], changed, *records[position:]]) != digest_of(records)


def test_who_did_it_and_how_it_is_stored_do_not_count() -> None:
    """Actor, reason, command id, salt, nonce: of the change, not of the state."""
    records = [
        record._replace(
            sealed=record.sealed._replace(
                salt=b"x" * 16, actor="ann", reason="because", command_id="id"
            ),
            commit=record.commit._replace(nonce=b"y" * 8, request_hash=b"z" * 16),
        )
        for record in history()
    ]
    assert digest_of(records) == digest_of(history())
