"""What may be typed as a name, an owner, a label: checked once, on the way in.

Names (space, pool, reservation) are plain ASCII so that they can stand in keys, file names and
URLs. Owners, labels and reasons are anything a person may write, normalised to NFC (Unicode
Standard Annex #15) and free of control characters, so that what is printed is what was meant.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from engine.errors import InvalidInput

DEFAULT_SPACE: Final = "default"  # made on first use; any other must have been created
NAME_LENGTH_MAX: Final = 253
TEXT_BYTES_MAX: Final = 512
INTERFACE_BYTES_MAX: Final = 64
LABELS_MAX: Final = 64
SELECTED_LABELS_MAX: Final = 1_024  # of a node or a namespace: looked at, and not kept

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,253}", re.ASCII)
_COMMAND_KEY: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
# Control characters, lone surrogates, and the two separators that break a line.
_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})

Labels = tuple[tuple[str, str], ...]


def _shown(text: object) -> str:
    """`text` for a message: escaped, and never longer than a line."""
    shown = repr(text)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def check_name(text: object, what: str) -> str:
    """Return `text` if it is a name of a space, pool or reservation.

    Raises:
        InvalidInput: naming `what` and the offending text.
    """
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        message = f"{what} {_shown(text)} is not a name"
        raise InvalidInput(
            message, f"use letters, digits, '.', '_', '-', at most {NAME_LENGTH_MAX} characters"
        )
    return text


def check_text(text: object, what: str, bytes_max: int = TEXT_BYTES_MAX) -> str:
    """Return `text` in NFC if it is printable text of bounded length, not empty.

    Raises:
        InvalidInput: naming `what`: not text, empty, too long, or with a control character.
    """
    if not isinstance(text, str):
        message = f"{what} must be text, not {_shown(text)}"
        raise InvalidInput(message, "put it in quotes")
    if not text.isascii():
        # Bounded before it is normalised: NFC of hostile text must not cost more than its answer.
        text = unicodedata.normalize("NFC", text[: bytes_max + 1])
    if not text or not text.strip():
        message = f"{what} is empty"
        raise InvalidInput(message, "give it a value or leave it out")
    if not text.isprintable():  # it may still be: no-break spaces, say, are not a matter for us
        for character in text[: bytes_max + 1]:
            if unicodedata.category(character) in _UNPRINTABLE:
                message = f"{what} {_shown(text)} has the control character U+{ord(character):04X}"
                raise InvalidInput(message, "remove it")
    if len(text.encode()) > bytes_max:
        message = f"{what} {_shown(text)} is longer than {bytes_max} bytes"
        raise InvalidInput(message, "shorten it")
    return text


def check_labels(labels: Mapping[str, str], what: str = "label", most: int = LABELS_MAX) -> Labels:
    """Return `labels` as pairs sorted by key.

    Raises:
        InvalidInput: a key or value is not printable text, or there are more than `most`.
    """
    if len(labels) > most:
        message = f"{len(labels)} {what}s are too many"
        raise InvalidInput(message, f"at most {most}")
    pairs: dict[str, str] = {}
    for key, value in labels.items():
        checked = check_text(key, f"{what} key")
        # A label may say just that it is there: an empty value is a value.
        pairs[checked] = check_text(value, f"{what} {_shown(key)}") if value != "" else ""
    return tuple(sorted(pairs.items()))


def check_interface(text: object) -> str:
    """Return `text` if it can name a network interface.

    Raises:
        InvalidInput: empty, too long, or with white space or control characters.
    """
    if type(text) is not str:
        return check_text(text, "interface", INTERFACE_BYTES_MAX)
    return _check_interface(text)


@lru_cache(maxsize=64)  # there are few, and each lease has one
def _check_interface(text: str) -> str:
    checked = check_text(text, "interface", INTERFACE_BYTES_MAX)
    if checked.split() != [checked]:
        message = f"interface {_shown(checked)} has white space in it"
        raise InvalidInput(message, "an interface is a name like eth0")
    return checked


def is_command_key(command_id: str) -> bool:
    """Whether `command_id` is of the form we make ourselves: 32 lower-case hex digits."""
    return _COMMAND_KEY.fullmatch(command_id) is not None
