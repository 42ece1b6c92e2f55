"""What a writer that knows a state may answer without writing: what refusals are held to.

The simulation and the history checker both look for a state between call and answer that gives
the answer that was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.commands import Claim, Command, request_hash
from engine.decide import decide
from engine.draft import Decision
from engine.errors import Refusal
from engine.placement import Placement
from projections.state import LedgerState


def decisions(
    state: LedgerState, command: Command, key: bytes, times_ms: Iterable[int]
) -> Iterator[Decision]:
    """What is decided of a command on a state, at each of these times of the server."""
    remembered = state.commands.get(key)
    if remembered is None:
        for now_ms in times_ms:
            yield decide(state, command, Claim(), Placement(), now_ms)
    elif remembered.request_hash != request_hash(command):
        message = "this command id was used for another request"
        hint = "repeat a command as it was, or give the new one an id of its own"
        yield Refusal("conflict", message, hint, "command-id", remembered.position)
