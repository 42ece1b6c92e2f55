"""Reading what is in use: JSON lines or CSV, whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

from engine.errors import InvalidInput
from engine.names import check_interface, check_text
from engine.observation import Observation, User
from ipledger.held_texts import parse_held

_FIELDS: Final = ("owner", "address", "interface")
_HINT: Final = "each line is an address, with its owner and interface where they are known"
_NAME_BYTES_MAX: Final = 160


class Observed(NamedTuple):
    """An observation with what it is, in words, and how many lines told of it."""

    observation: Observation
    evidence: str
    lines: int


def observation(users: Iterable[Mapping[str, Any]], observed_at_ms: int) -> Observation:
    """An observation from mappings of ``address``, ``owner`` and ``interface``.

    A block counts as its first address: that is enough for the block's lease to be in use. Only
    the address must be there: without an owner, that it is in use is enough.

    Raises:
        InvalidInput: one cannot be understood; it is named by its number, from 1.
    """
    return Observation(_users(enumerate(users, 1)), observed_at_ms)


def read_observed(data: bytes, name: str, observed_at_ms: int) -> Observed:
    """The observation in a file: JSON lines if its first line is an object, else CSV.

    Raises:
        InvalidInput: a line is not as it must be; which one of which file.
    """
    try:
        return _read(data, name, observed_at_ms)
    except InvalidInput as error:
        raise InvalidInput(f"{_shown(name)}, {error.message}", error.hint) from None


def _read(data: bytes, name: str, observed_at_ms: int) -> Observed:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _bad(line, "it is not UTF-8") from None
    is_json = text.lstrip().startswith("{")
    told = list(_json_lines(text) if is_json else _csv_lines(text))
    found = Observation(_users(told), observed_at_ms)
    lines = "1 line" if len(told) == 1 else f"{len(told)} lines"
    evidence = f"{_shown(name)} ({lines}, SHA-256 {sha256(data).hexdigest()})"
    return Observed(found, evidence, len(told))


def _shown(name: str) -> str:
    """The name of a file as evidence can hold it: its end says more than its beginning."""
    shown = name if name.isprintable() else ascii(name)
    while len(shown.encode("utf-8", "replace")) > _NAME_BYTES_MAX:
        shown = "…" + shown[2:]
    return shown.encode("utf-8", "replace").decode()


def _users(told: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[User]:
    for line, fields in told:
        try:
            yield _user(fields)
        except InvalidInput as error:
            raise _bad(line, error.message) from None


def _user(fields: Mapping[str, Any]) -> User:
    unknown = [key for key in fields if key not in _FIELDS]
    if unknown:
        raise InvalidInput(f"{ascii(unknown[0])[:60]} is not one of {', '.join(_FIELDS)}", "")
    address, owner = fields.get("address"), fields.get("owner")
    if not isinstance(address, str):
        raise InvalidInput("it has no address", "")
    interface = fields.get("interface")
    held, _ = parse_held(address)  # that the first of a block is in use is enough
    return User(
        held,
        None if owner is None else check_text(owner, "owner"),
        None if interface is None else check_interface(interface),
    )


def _bad(line: int, why: str) -> InvalidInput:
    return InvalidInput(f"line {line}: {why}; nothing was done", _HINT)


def _json_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = _DECODER.decode(line)
        except (ValueError, RecursionError):
            raise _bad(number, "it is not a JSON object") from None
        if not isinstance(value, dict):
            raise _bad(number, "it is not a JSON object")
        yield number, value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object that says nothing twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        message = "a field is given twice"
        raise ValueError(message)
    return found


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once)


def _csv_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if text.strip() and not text.endswith("\n"):
        raise _bad(text.count("\n") + 1, "it has no end: the file may have been cut off")
    reader = csv.reader(text.split("\n"), strict=True)
    names: list[str] | None = None
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if names is None:
                names = _header(reader.line_num, cells)
                continue
            if len(cells) != len(names):
                raise _bad(reader.line_num, f"it has {len(cells)} fields, and not {len(names)}")
            told = zip(names, cells, strict=True)
            yield reader.line_num, {key: cell or None for key, cell in told}
    except csv.Error:
        raise _bad(reader.line_num, "it is not CSV") from None


def _header(line: int, cells: list[str]) -> list[str]:
    """The names of the columns; the address must be among them, and each once."""
    if "address" not in cells or len(set(cells)) != len(cells) or set(cells) - set(_FIELDS):
        raise _bad(line, "the header must name address, and may name owner and interface")
    return cells
