"""Reading the fields of a mapping by name and type; changes with how a wrong field is reported."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from engine.errors import InvalidInput
from engine.names import LABELS_MAX, Labels, check_labels, check_text
from ipledger.durations import parse_duration

_T = TypeVar("_T")
_SHOWN_LENGTH: Final = 60
_IN_QUOTES: Final = "put it in quotes"


@contextmanager
def inside(prefix: str) -> Iterator[None]:
    """Put a prefix (a file, a field) in front of what an error of the block says."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"{prefix}{error.message}", error.hint) from None


def shown(value: object) -> str:
    """Return a value as a message shows it: escaped, and never longer than a line."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and len(value) > _SHOWN_LENGTH:
        return f"{value[:_SHOWN_LENGTH]!r}…"
    return repr(value)


def nearest(name: str, known: Collection[str]) -> str:
    """Return the hint for a name that is not known: the nearest one that is, or all of them."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


class Fields:
    """The fields of one mapping, each read by its type. Null is as good as absent, as in JSON."""

    __slots__ = ("path", "values")

    def __init__(self, value: object, path: str = "", known: Collection[str] | None = None) -> None:
        """Take the mapping at `path`; with `known`, any other field is refused.

        Raises:
            InvalidInput: It is no mapping, or has a field that is not known.
        """
        self.path = path
        if not isinstance(value, dict):
            why = self._here(f"must be a mapping, not {shown(value)}")
            raise InvalidInput(why, "write FIELD: VALUE lines")
        self.values: dict[str, Any] = value
        if known is not None:
            for name in value:
                if name not in known:
                    why = self._here(f"unknown field {shown(name)}")
                    raise InvalidInput(why, nearest(name, known))

    def at(self, name: str) -> str:
        """The full name of a field."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(name) is not None

    def text(self, name: str) -> str | None:
        """A text as it is, or None."""
        return self._typed(name, str, "text", _IN_QUOTES)

    def required_text(self, name: str, hint: str) -> str:
        """A text that has to be there; the hint says what to write."""
        value = self.text(name)
        if value is None:
            raise InvalidInput(f"{self.at(name)} is missing", hint)
        return value

    def integer(self, name: str) -> int | None:
        """A whole number, or None."""
        return self._typed(name, int, "a whole number", "write it without quotes")

    def flag(self, name: str) -> bool:
        """True or false; false if it is absent."""
        return self._typed(name, bool, "true or false", "write true or false") or False

    def duration(self, name: str, *, least: int = 1) -> int | None:
        """A duration in seconds, or None."""
        if not self.has(name):
            return None
        with inside(f"{self.at(name)}: "):
            return parse_duration(self.values[name], least=least)

    def items(self, name: str) -> list[tuple[str, object]]:
        """The items of a list, each with its full name; none if it is absent."""
        items = self._typed(
            name, list, "a list", "write each item on a line of its own, after '- '"
        )
        return [(f"{self.at(name)}[{index}]", item) for index, item in enumerate(items or ())]

    def texts(self, name: str) -> list[str]:
        """A list of texts; empty if it is absent."""
        texts: list[str] = []
        for where, item in self.items(name):
            if not isinstance(item, str):
                raise InvalidInput(f"{where}: must be text, not {shown(item)}", _IN_QUOTES)
            texts.append(item)
        return texts

    def printable_texts(self, name: str) -> tuple[str, ...]:
        """A list of printable texts of bounded length; empty if it is absent."""
        return tuple(
            check_text(text, f"{self.at(name)}[{index}]")
            for index, text in enumerate(self.texts(name))
        )

    def child(self, name: str, known: Collection[str] | None = None) -> Fields | None:
        """The fields of a mapping within this one, or None."""
        return Fields(self.values[name], self.at(name), known) if self.has(name) else None

    def labels(self, name: str, most: int = LABELS_MAX) -> Labels:
        """A mapping of texts to texts; empty if it is absent."""
        mapping = self._typed(name, dict, "a mapping", "write KEY: VALUE lines below it")
        with inside(f"{self.at(name)}: "):
            return check_labels(mapping or {}, most=most)

    def _here(self, why: str) -> str:
        return f"{self.path}: {why}" if self.path else why

    def _typed(self, name: str, wanted: type[_T], in_words: str, hint: str) -> _T | None:
        value = self.values.get(name)
        # Not isinstance: to Python, true is an integer.
        if value is None or type(value) is wanted:
            return value
        raise InvalidInput(f"{self.at(name)}: must be {in_words}, not {shown(value)}", hint)
