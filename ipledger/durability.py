"""What a space promises of its answers, as people say it; changes with the words for that."""

from __future__ import annotations

from typing import Final

from engine.commands import SetDurability
from engine.errors import InvalidInput
from engine.model import LOCAL, Durability
from engine.shapes import REPLICAS_MAX
from ipledger.operation import Operation, make_claim
from ipledger.writing import Done, Held

MODES: Final = ("local", "replicated")
ACK_TIMEOUT_S: Final = 1.0
FSYNC_TIMEOUT_S: Final = 3.0  # a replica tells of its disk once a second, if it is not heard before
# A client gives a reply up after 5 s (`ipledger.servers`): an answer must be there before that.
ACK_TIMEOUT_S_MAX: Final = 4.0


def read_durability(
    mode: str,
    *,
    replicas: int | None = None,
    ack_timeout_s: float | None = None,
    fsync: bool = False,
) -> Durability:
    """``local``; or ``replicated``: on so many replicas (1) in a time (1 s; on disk, 3 s).

    Raises:
        InvalidInput: there is no such mode, a number is out of bounds, or says nothing.
    """
    if mode == "local":
        if replicas is not None or ack_timeout_s is not None or fsync:
            hint = "leave out how many replicas and how long, or say replicated"
            raise InvalidInput("local durability waits for no replica", hint)
        return LOCAL
    if mode != "replicated":
        raise InvalidInput(f"{mode!r} is no durability", f"one of {', '.join(MODES)}")
    number = 1 if replicas is None else replicas
    if type(number) is not int or not 1 <= number <= REPLICAS_MAX:
        raise InvalidInput(f"{number!r} is no number of replicas", f"from 1 to {REPLICAS_MAX}")
    usual_s = FSYNC_TIMEOUT_S if fsync else ACK_TIMEOUT_S
    wait_s = usual_s if ack_timeout_s is None else ack_timeout_s
    if not 0.001 <= wait_s <= ACK_TIMEOUT_S_MAX:
        hint = f"from 1ms to {ACK_TIMEOUT_S_MAX:.0f}s"
        raise InvalidInput(f"{wait_s} s is no time to wait for replicas", hint)
    return Durability(number, fsync, round(wait_s * 1_000))


def set_durability(
    mode: str,
    *,
    replicas: int | None = None,
    ack_timeout_s: float | None = None,
    fsync: bool = False,
    command_id: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    timeout_s: float | None = None,
) -> Operation[bool]:
    """Set what the space promises of its answers; False if it promises just that already.

    ``local``: what the server that is written to keeps, as it is set up. ``replicated``: an answer
    waits until `replicas` (1) have what it rests on, at most `ack_timeout_s` (1.0); with too few
    it is `UnknownOutcome`, and what was written stands. With `fsync` they have it on disk, and so
    has the server (3.0): that needs Redis 7.2 or Valkey, and ``appendonly yes`` on all of them.

    Raises:
        InvalidInput: there is no such durability.
    """
    wanted = read_durability(mode, replicas=replicas, ack_timeout_s=ack_timeout_s, fsync=fsync)
    return promising(wanted, command_id=command_id, actor=actor, reason=reason, timeout_s=timeout_s)


def promising(
    wanted: Durability,
    *,
    command_id: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    timeout_s: float | None = None,
) -> Operation[bool]:
    """As `set_durability`, of one that was read before."""

    def read(outcome: Done | Held) -> bool:
        return isinstance(outcome, Done)

    key, claim = make_claim(command_id, actor, reason)
    return Operation(SetDurability(wanted), claim, key, timeout_s, read)
