"""What every stream backend says of replicas where there is none; changes with `acknowledge`.

What real replicas make of it is in tests/faults/test_replicas.py.
"""

from __future__ import annotations

from typing import Final

import pytest

from engine.entry import ORIGIN
from engine.errors import HistoryDiverged
from engine.model import Durability
from engine.stream import Committed
from tests.contracts.stream import Workbench

WANTED: Final = Durability(1, fsync=False, ack_timeout_ms=50)


class ReplicaContract:
    """The contract of waiting for replicas. A subclass provides the fixture `bench`."""

    def test_without_a_replica_nothing_is_acknowledged(self, bench: Workbench) -> None:
        """What was committed stands, and is said to be on no replica; waiting has an end."""
        proposals = (bench.proposal("x"), bench.proposal("y"))
        reply = bench.stream.append(ORIGIN, 0, bench.now_ms, proposals, WANTED)
        assert reply.verdicts == (Committed(1), Committed(2))
        assert reply.acknowledged is not None
        assert reply.acknowledged.replicas == 0
        assert bench.stream.head().position == 2
        assert bench.stream.acknowledge(bench.end(), WANTED).replicas == 0
        assert bench.stream.acknowledge(bench.anchor(1), WANTED).replicas == 0
        assert bench.stream.head().position == 2

    def test_nothing_is_said_where_nothing_was_committed(self, bench: Workbench) -> None:
        """A connection that has not written has nothing that replicas could acknowledge."""
        first = bench.write("x")
        beaten = bench.proposal("y", reads="x")
        for proposals in ((), (beaten,)):
            reply = bench.stream.append(ORIGIN, 0, bench.now_ms, proposals, WANTED)
            assert (reply.status, reply.acknowledged) == ("ok", None)
        assert bench.append(bench.proposal("z"), after=first).acknowledged is None, "not asked for"

    def test_what_is_not_there_is_not_acknowledged(self, bench: Workbench) -> None:
        """An entry of another history, or one that nobody wrote, is divergence."""
        end = bench.write("x")
        for other in (end._replace(c=b"another"), end._replace(position=2), ORIGIN):
            with pytest.raises(HistoryDiverged):
                bench.stream.acknowledge(other, WANTED)
