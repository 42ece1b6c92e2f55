"""Definitions for the Python API: a pool or a reservation from texts, ready to apply."""

from __future__ import annotations

from typing import Any

from engine.commands import PutPool, PutReservation
from engine.names import check_name
from engine.pool_spec import read_pool_spec, read_reservation_spec


def pool(name: str, **fields: Any) -> PutPool:
    """Define a pool; `fields` are those of `engine.pool_spec.read_pool_spec`.

    Raises:
        InvalidInput: the name or a field is not acceptable.
    """
    return PutPool(check_name(name, "pool"), read_pool_spec(**fields))


def reservation(name: str, **fields: Any) -> PutReservation:
    """Define a reservation; `fields` are those of `engine.pool_spec.read_reservation_spec`.

    Raises:
        InvalidInput: the name or a field is not acceptable.
    """
    return PutReservation(check_name(name, "reservation"), read_reservation_spec(**fields))
