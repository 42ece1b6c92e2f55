"""Writes the pages of docs/reference/ from the code: `python -m docs.make_reference`.

A test fails when a page is not what the code says, and names this command.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from engine import errors, events, tags
from engine.entry import Header
from engine.wire import REGISTRY, EventType
from ipledger.cli.root import INTERRUPTED, USAGE, root
from ipledger.cli.settings import GlobalOption
from ipledger.cli.show import BROKEN_PIPE

HERE: Final = Path(__file__).parent / "reference"
SCHEMAS: Final = Path(__file__).parent / "schemas"
COMMAND: Final = "python -m docs.make_reference"
_NOTE: Final = f"<!-- Made from the code by `{COMMAND}`: edit the code, not this page. -->"


def walk(group: click.Group = root, path: tuple[str, ...] = ()) -> Iterator[
    tuple[tuple[str, ...], click.Command]
]:  # fmt: skip
    """Every command that does something, with the words that name it."""
    context = click.Context(group, info_name="ipledger")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        if isinstance(command, click.Group):
            yield from walk(command, (*path, name))
        else:
            yield (*path, name), command


def schema_name(path: tuple[str, ...]) -> str:
    """The file name of the schema of what a command prints with ``-o json``."""
    return f"{'-'.join(path)}.schema.json"


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _paragraphs(text: str) -> str:
    """A docstring as Markdown: single backquotes for literals, each paragraph on one line."""
    plain = inspect.cleandoc(text).replace("``", "`")
    return "\n\n".join(" ".join(part.split()) for part in plain.split("\n\n"))


# ------------------------------------------------------------------------------------------- cli


_CLI_INTRO: Final = """
What every command prints with `-o json` has a schema in [schemas](../schemas/); a test holds the
output to it. `-o yaml` is the same data, `-o jsonl` one line for each item. How a command ends is
told by its [exit code](errors.md).
"""
_GLOBAL_INTRO: Final = """
Before or behind the command; the last place wins. In parentheses: the environment variable that
says the same.
"""


def _options(command: click.Command, *, of_all: bool) -> str:
    rows: list[tuple[str, ...]] = []
    context = click.Context(command, info_name="")
    for option in command.get_params(context):
        if not isinstance(option, click.Option) or "--help" in option.opts:
            continue
        if isinstance(option, GlobalOption) == of_all:
            told = option.get_help_record(context)
            assert told is not None, option.name
            names, _, metavar = told[0].rpartition(" ")
            shown = f"`{names}` `{metavar}`" if names else f"`{told[0]}`"
            if names.endswith(","):  # "-f, --flag" has a blank, too, but no value
                shown = f"`{told[0]}`"
            rows.append((shown, told[1].removesuffix("  [required]")))
    return _table(("option", "meaning"), rows) if rows else ""


def _command(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    name = " ".join(("ipledger", *path))
    yield f"## {' '.join(path)}"
    context = click.Context(command, info_name=name)
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{name} {pieces}\n```"
    yield _paragraphs(command.help or "")
    if options := _options(command, of_all=False):
        yield options
    if command.epilog:
        lines = inspect.cleandoc(command.epilog.replace("\b", "")).strip().splitlines()
        shown = "\n".join(line.strip() for line in lines[1:])
        yield f"{lines[0]}\n\n```sh\n{shown}\n```"
    if (SCHEMAS / schema_name(path)).exists():
        yield f"With `-o json`: [{schema_name(path)}](../schemas/{schema_name(path)})"


def cli_page() -> str:
    """Every command and option."""
    parts = ["# Commands", _NOTE, _paragraphs(root.help or ""), _paragraphs(_CLI_INTRO)]
    parts += ["## Global options", _paragraphs(_GLOBAL_INTRO), _options(root, of_all=True)]
    for path, command in walk():
        parts += _command(path, command)
    return "\n\n".join(parts) + "\n"


# ---------------------------------------------------------------------------------------- events

# What a tag's kind letter stands for; `engine.tags` says more.
_LETTERS: Final = {
    "s": "the space",
    "h": "the restoration",
    "p": "pools",
    "r": "reservations",
    "n": "the pool's leases",
    "4": "the addresses",
    "l": "the lease",
    "o": "owner and interface",
    "c": "the command",
}
_PLAIN: Final[dict[str, object]] = {"int": 1, "str": "x", "bool": False, "bytes": bytes(4)}


_EVENTS_INTRO: Final = """
How an event becomes bytes is on the page about the [format](../format.md); what `follow` prints
for it is in [follow.schema.json](../schemas/follow.schema.json). Ranges are packed: first and last
addresses end to end.
"""
_UNKNOWN_TYPES: Final = f"""
From code {events.INFORMATIONAL_FROM} on they are informational: counted, checked, and passed over
by every fold. Any other unknown type or version stops the reader.
"""


def _field_table(cls: type[Any]) -> str:
    return _table(("field", "type"), [(f"`{name}`", f"`{kind}`") for name, kind in _fields(cls)])


def _fields(cls: type[Any]) -> list[tuple[str, str]]:
    """The fields of an event: name and type, as written in the code."""
    told = cls.__annotations__.items()
    return [(name, getattr(kind, "__forward_arg__", str(kind))) for name, kind in told]


def _sample(cls: type[Any]) -> Any:
    """Some event of a type, good enough to see which tags it writes."""
    values: list[object] = []
    for name, kind in _fields(cls):
        if name == "family":
            values.append(4)
        elif name == "prefix_length":
            values.append(32)
        elif name in {"ips", "exclude_ips"}:
            values.append(bytes(8))
        elif hasattr(events, kind):
            values.append(_sample(getattr(events, kind)))
        elif kind.endswith("None"):
            values.append(None)
        else:
            values.append(_PLAIN.get(kind, ()))
    return cls(*values)


def _written_tags(cls: type[Any]) -> str:
    written = tags.written_by(_sample(cls), events.Sealed(bytes(16), owner="x"), Header(bytes(16)))
    return ", ".join(dict.fromkeys(_LETTERS[tag[0]] for tag in written.split()))


def _event(cls: type[Any], row: EventType) -> Iterator[str]:
    yield f"## {cls.__name__}"
    told = f"Code {row.code}, version {row.version}, from format level {row.since_level} on."
    yield f"{_paragraphs(cls.__doc__ or '')}"
    yield f"{told} Writes the tags of: {_written_tags(cls)}."
    yield _field_table(cls)


def events_page() -> str:
    """Every type of event, as it is stored."""
    intro = (events.__doc__ or "").split("\n\n")[1]
    legend = inspect.cleandoc((tags.__doc__ or "").split("::")[1].split("\n\nA reader")[0])
    parts = ["# Events", _NOTE, _paragraphs(intro), _paragraphs(_EVENTS_INTRO)]
    parts += [
        f"Tags are what the conditional append compares:\n\n```text\n{legend}\n```",
        "Every event has a sealed part beside it:",
        _field_table(events.Sealed),
        _paragraphs((events.Sealed.__doc__ or "").split("\n\n", 1)[1]),
    ]
    for cls in REGISTRY.classes:
        parts += _event(cls, REGISTRY._by_class[cls])  # noqa: SLF001 - only this page asks
    parts += ["## Types that a reader does not know", _paragraphs(_UNKNOWN_TYPES)]
    return "\n\n".join(parts) + "\n"


# ---------------------------------------------------------------------------------------- errors

_MEANINGS: Final[dict[errors.Kind, str]] = {
    "unexpected": "something that should not happen, or output that cannot be written",
    "not_found": "what was named is not there",
    "exists": "what was to be created is there already",
    "conflict": "it contradicts what stands: an overlap, another holder, another request",
    "forbidden": "a rule or a reservation says no",
    "exhausted": "all IP addresses used out",
    "invalid": "the text, file or value cannot be understood or accepted",
    "unavailable": "the server cannot be used now; nothing was written",
    "integrity": "the stream is not what it must be: nothing is guessed, nothing was written",
    "unknown": "the reply was lost, or too few replicas have it: repeat it with its command id",
}


_ERRORS_INTRO: Final = """
An error goes to stderr, with what happened and what to do about it. With `-o json` it is one line,
`{"error": {"kind", "message", "hint"}}`: [error.schema.json](../schemas/error.schema.json).
"""


def errors_page() -> str:
    """Kinds, exit codes and the tree of exceptions."""
    doc = inspect.cleandoc(errors.__doc__ or "")
    title, _, body = doc.partition("\n\n::\n\n")
    tree, _, rest = body.partition("\n\n")
    codes = [("0", "", "done")]
    codes += [
        (str(code), f"`{kind}`", _MEANINGS[kind])
        for kind, code in sorted(errors.EXIT_CODES.items(), key=lambda entry: entry[1])
    ]
    codes.insert(2, (str(USAGE), "`usage`", "the command line cannot be understood"))
    codes += [
        (str(INTERRUPTED), "", "interrupted (Ctrl-C)"),
        (str(BROKEN_PIPE), "", "whoever read the output is gone, as in `| head -1`"),
    ]
    parts = ["# Errors", _NOTE, _paragraphs(_ERRORS_INTRO)]
    parts += ["## Exit codes and kinds", _table(("code", "kind", "means"), codes)]
    parts += ["## Exceptions of the Python API", _paragraphs(title)]
    parts += [f"```text\n{inspect.cleandoc(tree)}\n```", _paragraphs(rest)]
    for cls in _tree(errors.LedgerError):
        parts.append(f"### {cls.__name__}")
        parts.append(_paragraphs(cls.__doc__ or ""))
    return "\n\n".join(parts) + "\n"


def _tree(cls: type[errors.LedgerError]) -> Iterator[type[errors.LedgerError]]:
    yield cls
    for below in cls.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _tree(below)


PAGES: Final[dict[str, Callable[[], str]]] = {
    "cli.md": cli_page,
    "events.md": events_page,
    "errors.md": errors_page,
}


def main() -> None:
    """Write the pages."""
    HERE.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (HERE / name).write_text(make(), "utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")


if __name__ == "__main__":
    main()
