"""Patterns of pool names: ``*``, ``?`` and ``[…]`` as in file names, where case matters."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Final

from engine.errors import InvalidInput
from engine.names import NAME_LENGTH_MAX, check_name

_WILD: Final = frozenset("*?[")
# The characters of names, wildcards, and classes that are closed, not empty and perhaps negated.
_PATTERN: Final = re.compile(r"(?:[A-Za-z0-9._*?-]|\[[!^]?[A-Za-z0-9._-]+\])+", re.ASCII)


def is_pattern(text: str) -> bool:
    """Whether `text` stands for several names: no name has a wildcard in it."""
    return not _WILD.isdisjoint(text)


def check_pool(text: object, what: str = "pool") -> str:
    """Return `text` if it can name a pool, or is a pattern of such names.

    Raises:
        InvalidInput: naming `what` and the offending text.
    """
    if not isinstance(text, str) or not is_pattern(text):
        return check_name(text, what)
    if len(text) > NAME_LENGTH_MAX or not _PATTERN.fullmatch(text):
        shown = repr(text) if len(text) <= 60 else f"{text[:60]!r}…"
        hint = "letters, digits, '.', '_', '-', and of wildcards '*', '?' and '[a-c]'"
        raise InvalidInput(f"{what} {shown} is not a pattern of names", hint)
    return text


def matches(pattern: str, name: str) -> bool:
    """Whether a name is one that `pattern` stands for. ``[^a]`` is ``[!a]``, as in Go."""
    return fnmatchcase(name, pattern.replace("[^", "[!"))
