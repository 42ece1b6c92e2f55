"""Which address a batch proposes next, held to a model that looks at each address in turn."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from engine.placement import Placement
from tests.builders import TestLedger, make_pool

_FREE_OF: Final = {1, 2, 3, 6, *range(9, 21)}

_STEPS: Final = st.lists(
    st.one_of(
        st.just(("propose", 0)),
        st.just(("propose", 0)),
        st.tuples(st.just("claim"), st.sampled_from(sorted(_FREE_OF))),
        st.just(("mark", 0)),
        st.just(("rewind", 0)),
    ),
    max_size=40,
)


class _Model:
    """The lowest free address from a cursor on, then from the beginning; all of it kept in sets."""

    def __init__(self, taken: set[int]) -> None:
        self.free: list[int] = sorted(_FREE_OF - taken)
        self.pending: list[int] = []
        self.cursor = 0
        self.marks: list[tuple[list[int], int]] = []

    def propose(self) -> int | None:
        open_ones = [value for value in self.free if value not in self.pending]
        if not open_ones:
            return None
        value: int = next((value for value in open_ones if value >= self.cursor), open_ones[0])
        self.pending.append(value)
        self.cursor = value + 1
        return value


@given(st.sets(st.sampled_from(sorted(_FREE_OF))), _STEPS)
def test_a_batch_proposes_what_the_model_does(
    taken: set[int], steps: list[tuple[str, int]]
) -> None:
    """Also behind what others claim, and after what was proposed is taken back."""
    ledger = TestLedger()
    ledger.apply(make_pool(ips=["10.0.0.1-10.0.0.3", "10.0.0.6", "10.0.0.9-10.0.0.20"]))
    if taken:
        ledger.grant(ips=[f"10.0.0.{n}" for n in taken], number=len(taken), owner="x")
    pool = ledger.state.pool("pool")
    assert pool is not None
    first = pool.spec.subnet.first
    placement, model = Placement(), _Model(taken)
    marks: list[int] = []
    for step, number in steps:
        if step == "propose":
            value = placement.propose(ledger.state, pool)
            assert (None if value is None else value - first) == model.propose()
        elif step == "claim":
            placement.claim(pool, first + number)
            model.pending.append(number)
        elif step == "mark":
            marks.append(placement.mark())
            model.marks.append((list(model.pending), model.cursor))
        elif marks:
            placement.rewind(marks.pop())
            model.pending, model.cursor = model.marks.pop()
