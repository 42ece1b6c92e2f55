"""JSON inside a text of a manifest into plain data, strictly; changes with what JSON we accept."""

from __future__ import annotations

import json
from typing import Any


def read_json(text: str) -> object:
    """Return what a JSON text says.

    Raises:
        ValueError: It is not JSON, is nested too deep, or has a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("a key is there twice")
    return mapping
