"""What the added columns of CSV are called."""

from __future__ import annotations

from collections.abc import Sequence


def added_names(column: str, fields: Sequence[str]) -> list[str]:
    """The columns that are added for an address column, its status first."""
    return [f"{column}_{name}" for name in ("status", *fields)]
