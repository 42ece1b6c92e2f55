"""Printing: the same data as a table, JSON, YAML or JSON lines; nothing moves a cursor."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

Json = Mapping[str, Any]


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
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns aligned by spaces, headings in capitals."""
    lines = [[heading.upper() for heading in headings]]
    lines += [[plain(cell) or "-" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def fields(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values, one a line, values aligned."""
    listed = [(name, plain(value) or "-") for name, value in pairs]
    width = max((len(name) for name, _ in listed), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in listed)


def emit(output: str, data: Json, human: str, items: str = "items") -> None:
    """Print `data` in the form asked for; `human` is the table, `items` names the list in it."""
    if output == "json":
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    elif output == "jsonl":
        for item in data.get(items, [data]):
            click.echo(json_line(item))
    elif output == "yaml":
        import yaml

        dumped: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        click.echo(dumped, nl=False)
    elif human:
        click.echo(human)


def json_line(item: Any) -> str:
    """One line of JSON."""
    return json.dumps(item, separators=(",", ":"), ensure_ascii=False)


def error_json(kind: str, message: str, hint: str) -> Json:
    """The shape of every error in JSON."""
    return {"error": {"kind": kind, "message": message, "hint": hint}}


def error_text(kind: str, message: str, hint: str, output: str) -> str:
    """An error for stderr, in the form asked for."""
    if output in {"json", "jsonl"}:
        return json_line(error_json(kind, message, hint))
    told = f"error ({kind}): {plain(message)}"
    return f"{told}\nhint: {plain(hint)}" if hint else told
