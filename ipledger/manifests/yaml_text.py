"""YAML and JSON text into plain data, strictly; changes with what we accept of YAML.

Built on the parser's events instead of its loader: events have no depth, so that hostile nesting
cannot exhaust a stack, and every alias is counted at its full size before anybody walks it.

What a plain scalar means is decided here, by less than YAML 1.1 would: ``1:2:3:4:5:6:7:8`` is an
address and not a number to the base of sixty, ``no`` is a text, ``010`` is not eight.

This module imports PyYAML at its top, so it is imported where a text is read and not before.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any, Final, Protocol

import yaml

from engine.errors import InvalidInput

# What Kubernetes objects nest is below 30. The bound keeps whoever walks the data off its stack.
DEPTH_MAX: Final = 100
# Nodes, with long texts and aliases at their full weight: some 16 MiB of ordinary manifests.
WEIGHT_MAX: Final = 4_000_000
_CHARACTERS_PER_WEIGHT: Final = 16
_SHOWN_LENGTH: Final = 60

_CONSTANTS: Final[dict[str, bool | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,38})")
_FLOAT: Final = re.compile(r"[-+]?[0-9]{1,39}\.[0-9]{1,39}(?:[eE][-+]?[0-9]{1,3})?")

# The one tag that asks for nothing but what quotes would say.
_TEXT_TAG: Final = "tag:yaml.org,2002:str"

# Neither parser takes these, and the two say so in different terms. Lone surrogates are among them.
_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)

_SYNTAX_HINT: Final = "indent with spaces, and put a text that holds ': ' or ' #' in quotes"

# The parser in C is part of the wheels and ten times as fast; an installation may lack it.
_LOADER: Any = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader


def read_documents(text: str, weight_max: int | None = None) -> list[object]:
    """Return the documents of a text as dictionaries, lists, texts, numbers, booleans and None.

    An empty document is None. Keys are always texts. An aliased value is the same object in every
    place, so the data must not be changed. It has at most `weight_max` values; a long text counts
    as several, an alias as what it stands for.

    Raises:
        InvalidInput: The message begins with line and column.
    """
    if found := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        why = f"the control character U+{ord(found[0]):04X}"
        hint = "a manifest is UTF-8 text; write such a character as an escape in double quotes"
        raise InvalidInput(f"line {line}, column {column}: {why}", hint)
    builder = _Builder(weight_max)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _at(mark, error.problem or "this is not YAML", _SYNTAX_HINT) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The parser in Python lets through what its own conversions of escapes and numbers raise.
        raise InvalidInput(f"this is not YAML: {error}", _SYNTAX_HINT) from None
    return builder.documents


class _Mark(Protocol):
    """A place in a text, counted from 0; each of the two parsers has a class of its own for it."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


def _at(mark: _Mark | None, why: str, hint: str) -> InvalidInput:
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    return InvalidInput(f"{where}{why}", hint)


class _Open:
    """A mapping or list whose end has not come yet."""

    __slots__ = ("anchor", "height", "key", "value", "weight_before")

    def __init__(
        self, value: dict[str, object] | list[object], anchor: str | None, weight_before: int
    ) -> None:
        self.value = value
        self.anchor = anchor
        self.weight_before = weight_before
        self.height = 1  # levels from here down, itself included
        self.key: str | None = None  # of a mapping: the key whose value comes next


class _Builder:
    """Documents from events, bounded in depth and weight."""

    def __init__(self, weight_max: int | None) -> None:
        self.documents: list[object] = []
        self._weight_max = WEIGHT_MAX if weight_max is None else weight_max
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[object, int, int]] = {}  # value, weight, height
        self._weight = 0

    def take(self, event: yaml.Event) -> None:
        """Take the next event of the stream.

        Raises:
            InvalidInput: Too deep or too much, a duplicate or complex key, a tag, a merge key, or
                an alias of nothing.
        """
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._start(event, {})
        elif isinstance(event, yaml.SequenceStartEvent):
            self._start(event, [])
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._anchors.clear()

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        text: str = event.value
        weight = 1 + len(text) // _CHARACTERS_PER_WEIGHT
        self._weigh(event, weight)
        _check_tag(event)
        value: object = text
        mapping = self._wanting_key()
        if mapping is not None:
            _check_key(event, mapping.value)
            mapping.key = text
        else:
            if event.implicit[0]:
                value = _resolve(text)
            self._place(value)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, weight, 0

    def _start(
        self, event: yaml.CollectionStartEvent, value: dict[str, object] | list[object]
    ) -> None:
        weight_before = self._weight
        self._weigh(event, 1)
        self._check_depth(event, 1)
        _check_tag(event)
        if self._wanting_key() is not None:
            raise _complex_key(event)
        self._place(value)
        self._open.append(_Open(value, event.anchor, weight_before))
        # Known only at its end: an alias of it before that would be a value that holds itself.
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)

    def _end(self) -> None:
        closed = self._open.pop()
        if self._open:
            self._open[-1].height = max(self._open[-1].height, closed.height + 1)
        if closed.anchor is not None:
            weight = self._weight - closed.weight_before
            self._anchors[closed.anchor] = closed.value, weight, closed.height

    def _alias(self, event: yaml.AliasEvent) -> None:
        if self._wanting_key() is not None:
            raise _complex_key(event)
        if event.anchor not in self._anchors:
            name = str(event.anchor)[:_SHOWN_LENGTH]
            why = f"the alias *{name} stands for nothing, or for what it is part of"
            raise _at(event.start_mark, why, f"put &{name} before the value, further up")
        value, weight, height = self._anchors[event.anchor]
        self._weigh(event, weight)
        self._check_depth(event, height)
        # An anchor stands in front of a value, so the alias is within an open mapping or list.
        self._open[-1].height = max(self._open[-1].height, height + 1)
        self._place(value)

    def _wanting_key(self) -> _Open | None:
        """The innermost open mapping if a key comes next in it."""
        if self._open and self._open[-1].key is None and isinstance(self._open[-1].value, dict):
            return self._open[-1]
        return None

    def _place(self, value: object) -> None:
        """Put a value where it belongs: on top, or into the innermost open list or mapping."""
        if not self._open:
            self.documents.append(value)
            return
        parent = self._open[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
        else:
            assert parent.key is not None, "a value has come where a key belongs"
            parent.value[parent.key] = value
            parent.key = None

    def _weigh(self, event: yaml.Event, weight: int) -> None:
        self._weight += weight
        if self._weight > self._weight_max:
            why = f"it holds more than {self._weight_max} values"
            hint = "split the file; if it is short, its aliases repeat each other: write them out"
            raise _at(event.start_mark, why, hint)

    def _check_depth(self, event: yaml.Event, height: int) -> None:
        if len(self._open) + height > DEPTH_MAX:
            why = f"it is nested more than {DEPTH_MAX} levels deep"
            raise _at(event.start_mark, why, "no manifest is")


def _check_tag(event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
    is_scalar = isinstance(event, yaml.ScalarEvent)
    if event.tag is not None and not (is_scalar and event.tag == _TEXT_TAG):
        why = f"the tag {event.tag[:_SHOWN_LENGTH]!r} is not accepted"
        raise _at(event.start_mark, why, "leave it out, and put a text in quotes")


def _check_key(event: yaml.ScalarEvent, mapping: Container[object]) -> None:
    if event.value in mapping:
        why = f"the key {event.value[:_SHOWN_LENGTH]!r} is there already"
        raise _at(event.start_mark, why, "give each key once")
    if event.value == "<<" and event.implicit[0]:
        why = "the merge key << is not accepted"
        raise _at(event.start_mark, why, "write the fields out, or alias a whole value")


def _complex_key(event: yaml.Event) -> InvalidInput:
    why = "a mapping, a list or an alias cannot be a key"
    return _at(event.start_mark, why, "write the key as a text")


def _resolve(text: str) -> object:
    """What a scalar without quotes means."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] in "-+0123456789":
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text
