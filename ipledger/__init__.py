"""IP address allocation whose only truth is an append-only event stream in Redis.

    >>> import ipledger
    >>> ledger = ipledger.connect()                                     # doctest: +SKIP
    >>> ledger.apply(ipledger.pool("demo", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.9"]))
    ...                                                                 # doctest: +SKIP
    >>> ledger.allocate("demo", owner="c1/default/web-0").granted[0].text   # doctest: +SKIP
    '10.0.0.1'

Names are loaded when they are first used, so that the command line starts fast.
"""

from __future__ import annotations

__version__ = "0.1.0"

# What a type checker takes for typing.TYPE_CHECKING. Importing typing would take a third of the
# time of `ipledger --version`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.commands import PutPool, PutReservation, Target
    from engine.errors import (
        IntegrityError,
        InvalidInput,
        LedgerError,
        Refusal,
        Refused,
        Unavailable,
        UnknownOutcome,
    )
    from engine.facts import Counts, Lease, Pool, Reservation
    from engine.observation import Observation
    from ipledger.aio import AsyncLedger
    from ipledger.aio_consumer import AsyncConsumer
    from ipledger.consumer import Consumer
    from ipledger.consuming import Delivery, StreamEvent
    from ipledger.cursors import Cursor
    from ipledger.definitions import pool, reservation
    from ipledger.ledger import Ledger, connect
    from ipledger.observed import observation
    from ipledger.operation import Allocated, Applied, Released
    from ipledger.reconciling import Reconciled, Undone

_HOMES = {
    "Allocated": "ipledger.operation",
    "Applied": "ipledger.operation",
    "AsyncConsumer": "ipledger.aio_consumer",
    "AsyncLedger": "ipledger.aio",
    "Consumer": "ipledger.consumer",
    "Counts": "engine.facts",
    "Cursor": "ipledger.cursors",
    "Delivery": "ipledger.consuming",
    "IntegrityError": "engine.errors",
    "InvalidInput": "engine.errors",
    "Lease": "engine.facts",
    "Ledger": "ipledger.ledger",
    "LedgerError": "engine.errors",
    "Observation": "engine.observation",
    "Pool": "engine.facts",
    "PutPool": "engine.commands",
    "PutReservation": "engine.commands",
    "Reconciled": "ipledger.reconciling",
    "Refusal": "engine.errors",
    "Refused": "engine.errors",
    "Released": "ipledger.operation",
    "Reservation": "engine.facts",
    "StreamEvent": "ipledger.consuming",
    "Target": "engine.commands",
    "Unavailable": "engine.errors",
    "Undone": "ipledger.reconciling",
    "UnknownOutcome": "engine.errors",
    "connect": "ipledger.ledger",
    "observation": "ipledger.observed",
    "pool": "ipledger.definitions",
    "reservation": "ipledger.definitions",
}

__all__ = [
    "Allocated",
    "Applied",
    "AsyncConsumer",
    "AsyncLedger",
    "Consumer",
    "Counts",
    "Cursor",
    "Delivery",
    "IntegrityError",
    "InvalidInput",
    "Lease",
    "Ledger",
    "LedgerError",
    "Observation",
    "Pool",
    "PutPool",
    "PutReservation",
    "Reconciled",
    "Refusal",
    "Refused",
    "Released",
    "Reservation",
    "StreamEvent",
    "Target",
    "Unavailable",
    "Undone",
    "UnknownOutcome",
    "connect",
    "observation",
    "pool",
    "reservation",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module 'ipledger' has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
