"""The kinds of things that `get`, `describe` and `delete` speak of, under all their names."""

from __future__ import annotations

from collections.abc import Collection

import click

# The names that Spiderpool's users type for the same things are understood, too.
_NAMES = {
    "pools": ("pool", "ippool", "ippools", "spiderippool", "spiderippools", "sp"),
    "reservations": (
        "reservation", "reservedip", "reservedips", "spiderreservedip", "spiderreservedips", "sr",
    ),
    "leases": ("lease",),
    "quarantines": ("quarantine",),
    "spaces": ("space",),
}  # fmt: skip
KINDS = tuple(_NAMES)
_BY_NAME = {name: kind for kind, names in _NAMES.items() for name in (kind, *names)}


def find_kind(text: str, allowed: Collection[str] = KINDS) -> str:
    """The kind of that name, in the plural.

    Raises:
        UsageError: there is none, or it is not allowed here.
    """
    kind = _BY_NAME.get(text.lower(), "")
    if kind not in allowed:
        message = f"{text!r} is not one of {', '.join(allowed)}"
        raise click.UsageError(message, click.get_current_context(silent=True))
    return kind


def find_object(
    text: str, name: str | None, allowed: Collection[str] = KINDS
) -> tuple[str, str | None]:
    """A kind and a name, from two words or from one as we print it (``pool/web``).

    Raises:
        UsageError: there is no such kind, or two names are given.
    """
    kind, slash, behind = text.partition("/")
    if slash and name is not None:
        message = f"{text!r} has a name in it already: {name!r} is one too many"
        raise click.UsageError(message, click.get_current_context(silent=True))
    return find_kind(kind, allowed), behind if slash else name
