"""Printing: the same data as a table, JSON, YAML or JSON lines; nothing moves a cursor."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from engine.errors import LedgerError, Unavailable

Json = Mapping[str, Any]

# What a shell reports of a program that a closed pipe ended: 128 + SIGPIPE.
BROKEN_PIPE = 141
_FEW = 3


def plain(value: object) -> str:
    """One table cell: control characters escaped, lists joined, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return plain(",".join(f"{key}={entry}" for key, entry in value.items()))
    if isinstance(value, list | tuple):
        return ",".join(plain(entry) for entry in value)
    text = str(value)
    if text.isprintable():
        return text
    # Only what is not printable is escaped: the rest of a name stays readable.
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def few(values: Sequence[object]) -> str:
    """The first of many values, and how many there are: a table stays one screen wide."""
    shown = plain(list(values[:_FEW]))
    return shown if len(values) <= _FEW else f"{shown},… ({len(values)})"


def width_of(text: str) -> int:
    """How many columns a terminal gives to printable text."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(character) else 2 if east_asian_width(character) in {"W", "F"} else 1
        for character in text
    )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - width_of(text))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns aligned by spaces, headings in capitals."""
    lines = [[heading.upper() for heading in headings]]
    lines += [[plain(cell) or "-" for cell in row] for row in rows]
    widths = [max(map(width_of, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "   ".join(map(_padded, line, widths)).rstrip() for line in lines
    )  # fmt: skip


def fields(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values, one a line, values aligned."""
    listed = [(name, plain(value) or "-") for name, value in pairs]
    width = max((len(name) for name, _ in listed), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in listed)


def write(text: str, *, newline: bool = True) -> None:
    """Print to stdout.

    Raises:
        Exit: nobody reads it any more.
        LedgerError: it cannot be written.
    """
    try:
        click.echo(text, nl=newline)
    except BrokenPipeError:
        # Nothing more may be flushed to it when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(BROKEN_PIPE) from None
    except OSError as error:
        message = f"the output cannot be written: {error.strerror}"
        raise LedgerError(message, "the command itself has been carried out") from None


def emit(output: str, data: Json, human: str, items: Sequence[str] = ("items",)) -> None:
    """Print `data` in the form asked for; `human` is the table, `items` name the lists in it."""
    if output == "json":
        write(_visible(json.dumps(data, indent=2, ensure_ascii=False)))
    elif output == "jsonl":
        listed = [entry for name in items if name in data for entry in data[name]]
        lines = listed if any(name in data for name in items) else [data]
        if lines:
            write("\n".join(map(json_line, lines)))
    elif output == "yaml":
        write(yaml_text(data), newline=False)
    elif human:
        write(human)


def json_line(item: Json) -> str:
    """One line of JSON."""
    return _visible(json.dumps(item, separators=(",", ":"), ensure_ascii=False))


def _visible(text: str) -> str:
    """JSON text with whatever a terminal would act upon escaped; it means the same."""
    if text.isascii() and "\x7f" not in text:
        return text
    return "\n".join(
        line if line.isprintable() else "".join(map(_json_escaped, line))
        for line in text.split("\n")
    )


def _json_escaped(character: str) -> str:
    if character.isprintable():
        return character
    escaped = json.dumps(character)[1:-1]
    return escaped if escaped != character else f"\\u{ord(character):04x}"


def yaml_text(data: Json) -> str:
    """A YAML document, in plain values."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = ""
    for allow_unicode in (True, False):
        text = yaml.dump(dict(data), Dumper=dumper, sort_keys=False, allow_unicode=allow_unicode)
        if all(line.isprintable() for line in text.split("\n")):
            break
    return text


def error_json(kind: str, message: str, hint: str) -> Json:
    """The shape of every error in JSON."""
    return {"error": {"kind": kind, "message": message, "hint": hint}}


def error_text(kind: str, message: str, hint: str, output: str) -> str:
    """An error for stderr, in the form asked for."""
    if output in {"json", "jsonl"}:
        return json_line(error_json(kind, message, hint))
    told = f"error ({kind}): {plain(message)}"
    # A hint may have lines: those that a server wrote to its log. A message is one line.
    return f"{told}\nhint: {plain_lines(hint)}" if hint else told


def plain_lines(text: str) -> str:
    """Several lines, each free of control characters."""
    return "\n".join(plain(line) for line in text.split("\n"))


def tell_away(error: Unavailable | None) -> None:
    """Tell on stderr that the server is away, and why; or, with None, that it is back."""
    if error is None:
        click.echo("ipledger: the server is back", err=True)
    else:
        click.echo(f"ipledger: {plain(error.message)}; waiting for it", err=True)
