"""`attribute`: a file of flow records joined with who held their addresses at their time."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

import click

from engine.errors import InvalidInput, LedgerError
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import BROKEN_PIPE, emit, fields, json_line, plain, table, yaml_text

if TYPE_CHECKING:
    from ipledger.attributing import Asked, Pinned
    from ipledger.flows import FlowFile, Replacement
    from replay.attribution import Known, Tally

_TIME_FORMATS = ("auto", "rfc3339", "s", "ms", "us", "ns")
_FIELDS = ("owner", "interface", "lease", "labels", "pool", "cluster")
_USUAL = "owner,lease,labels,pool"
_TABS = ("tab", "\\t", "\t")
_WORKERS_MAX = 64
_JSON_NAMES = (".jsonl", ".ndjson", ".json")


class _Options(TypedDict):
    """The options as they were typed."""

    time_column: str
    address_columns: tuple[str, ...]
    time_format: str
    assume_utc: bool
    form: str | None
    delimiter: str | None
    no_header: bool
    added: str
    into: str | None
    rejects: str | None
    strict: bool
    known_at: str | None
    workers: int | None


@verb(
    examples=(
        "ipledger attribute flows.csv --time-column time --address-column src",
        "ipledger attribute f.jsonl.gz --time-column ts --address-column src --into f2.jsonl.gz",
        "zcat flows.csv.gz | ipledger attribute - --time-column 1 --address-column 4 --no-header",
    )
)
@click.argument("flows")
@click.option("--time-column", required=True, metavar="COLUMN", help="Says when it was.")
@click.option("--address-column", "address_columns", required=True, multiple=True,
              metavar="COLUMN", help="Holds an address to attribute; repeatable.")  # fmt: skip
@click.option("--time-format", type=click.Choice(_TIME_FORMATS), default="auto",
              help="RFC 3339, or a number of s, ms, us or ns since 1970 [auto].")  # fmt: skip
@click.option("--assume-utc", is_flag=True, help="Times without a zone are in UTC.")
@click.option("--format", "form", type=click.Choice(("csv", "jsonl")),
              help="What FLOWS is [by its name, else by its first character].")  # fmt: skip
@click.option("--delimiter", metavar="CHARACTER", help="Between fields of CSV, or `tab` [,].")
@click.option("--no-header", is_flag=True, help="CSV without one: columns are numbers from 1.")
@click.option("--add", "added", default=_USUAL, metavar="FIELD,…",
              help=f"What to add, of {', '.join(_FIELDS)} [{_USUAL}].")  # fmt: skip
@click.option("--into", metavar="FILE", help="Write there [stdout]; packed if it ends in .gz.")
@click.option("--rejects", metavar="FILE", help="Write broken records there, as they are.")
@click.option("--strict", is_flag=True, help="Broken records are an error (exit code 6).")
@click.option("--known-at", metavar="TIME", help="As the ledger knew it then [now].")
@click.option("--workers", type=int, metavar="N", help="Processes that share the work [cores].")
def attribute(settings: Settings, /, flows: str, **options: Unpack[_Options]) -> None:
    """Add to flow records who held their addresses then.

    FLOWS is CSV with a header or JSON lines, in any order, packed with gzip or not; `-` is
    standard input. Each address gets a status: held, unheld, unknown (the history does not reach
    that time), none (no address there) or broken (cannot be read).
    """
    from ipledger.flows import FlowFile

    with closing(FlowFile(flows)) as file:
        asked = _asked(file, options)
        run = _Run(settings, file, asked, options)
        tally = run.carry_out()
    if options["strict"] and tally.broken:
        message = f"{tally.broken} of {tally.records} records are broken"
        raise InvalidInput(message, "--rejects FILE writes them aside")


def _asked(file: FlowFile, options: _Options) -> Asked:
    """What is asked, checked.

    Raises:
        InvalidInput: an option is none of those there are, or does not fit the file.
    """
    from ipledger.attributing import Asked

    added = tuple(name for name in options["added"].split(",") if name)
    for name in added:
        if name not in _FIELDS or added.count(name) > 1:
            message = f"--add {options['added']}: {name!r} is no field, or is there twice"
            raise InvalidInput(message, f"choose of {', '.join(_FIELDS)}")
    form = options["form"] or _form_of(file)
    if form == "jsonl" and (options["delimiter"] or options["no_header"]):
        message = f"--delimiter and --no-header are of CSV, and {file.shown} is JSON lines"
        raise InvalidInput(message, "if it is not: --format csv")
    return Asked(
        form,
        options["time_column"],
        options["address_columns"],
        options["time_format"],
        options["assume_utc"],
        _delimiter(options["delimiter"], file),
        not options["no_header"],
        added,
        options["rejects"] is not None,
        (options["into"] or "").endswith(".gz"),
    )


def _form_of(file: FlowFile) -> str:
    """What a file is, if nobody says."""
    name = file.name.removesuffix(".gz").lower()
    begins = file.beginning.lstrip()[:1]
    if name.endswith(_JSON_NAMES) and begins == b"[":
        message = f"{file.shown}: one JSON array, and not one record a line"
        raise InvalidInput(message, "`jq -c '.[]'` makes lines of it")
    return "jsonl" if name.endswith(_JSON_NAMES) or begins == b"{" else "csv"


def _delimiter(text: str | None, file: FlowFile) -> str:
    if text is None:
        return "\t" if file.name.removesuffix(".gz").lower().endswith(".tsv") else ","
    if text in _TABS:
        return "\t"
    if len(text) != 1 or not text.isascii() or not text.isprintable() or text == '"':
        raise InvalidInput(f"--delimiter {text!r} is not one character", 'such as ";", or tab')
    return text


class _Run(NamedTuple):
    """One file on its way from its beginning to its end."""

    settings: Settings
    file: FlowFile
    asked: Asked
    options: _Options

    def carry_out(self) -> Tally:
        """Attribute everything, keep what was written, and tell what came of it."""
        from ipledger.attributing import attributed, check_columns, open_records
        from ipledger.cli.progress import Progress
        from ipledger.farm import usable_cores
        from ipledger.flows import Replacement
        from replay.attribution import Tally

        options = self.options
        workers = usable_cores() if options["workers"] is None else options["workers"]
        if not 1 <= workers <= _WORKERS_MAX:
            raise InvalidInput(f"--workers {workers}", f"from 1 to {_WORKERS_MAX}")
        opened = open_records(self.asked, self.file)
        tally = Tally(len(self.asked.address_columns))
        tally.lines = opened.lines
        with ExitStack() as stack:
            into, rejects = (
                None if name is None else stack.enter_context(Replacement(name))
                for name in (options["into"], options["rejects"])
            )
            pinned = _pinned(self.settings, options["known_at"])
            began_s = time.monotonic()
            _write(into, opened.header, pack=self.asked.pack)
            if rejects is not None:
                rejects.write(opened.header_as_read)
            blocks = stack.enter_context(
                closing(attributed(self.asked, opened, *pinned, workers))
            )  # fmt: skip
            progress = stack.enter_context(
                Progress("attributing", self.file.size, unit="bytes")
            )  # fmt: skip
            for joined in blocks:
                _write(into, joined.output)
                if rejects is not None:
                    rejects.write(joined.rejected)
                tally.add(joined.tally)
                progress(self.file.read_bytes())
            took_s = time.monotonic() - began_s
            check_columns(self.asked, tally)
            if not (options["strict"] and tally.broken):
                for written in (into, rejects):
                    if written is not None:
                        written.keep()
        self._tell(tally, pinned.known, took_s)
        return tally

    def _tell(self, tally: Tally, known: Known, took_s: float) -> None:
        """Tell what came of it: on stdout if that is free, else on stderr."""
        data = _summary(self.file.shown, self.asked, tally, known, took_s)
        output = self.settings.output
        if self.options["into"] is not None:
            emit(output, data, _human(data), items=())
        elif output == "table":
            click.echo(_human(data), err=True)
        else:
            text = yaml_text(data) if output == "yaml" else json_line(data)
            click.echo(text, err=True, nl=output != "yaml")


def _write(into: Replacement | None, data: bytes, *, pack: bool = False) -> None:
    """Write to the file, or to stdout.

    Raises:
        Exit: nobody reads it any more.
        LedgerError: it cannot be written.
    """
    from ipledger.flows import packed

    data = packed(data) if pack else data
    if into is not None:
        into.write(data)
        return
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Nothing more may be flushed to it when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(BROKEN_PIPE) from None
    except OSError as error:
        raise LedgerError(f"the output cannot be written: {error.strerror}") from None


def _pinned(settings: Settings, known_at: str | None) -> Pinned:
    """The history brought up to date, and what it knows from then on.

    Raises:
        InvalidInput: the time is none, or lies in the future.
        LedgerError: the history cannot be had.
    """
    from ipledger.attributing import Reached, pinned
    from ipledger.cli.history_asking import Times, ask_history

    # Before the history is read: what is recorded later than this may not be in it.
    reached = Reached.now(settings)
    times = Times(None, None, None, known_at)
    return ask_history(settings, times, lambda told, asked: pinned(reached, told, asked.span))


def _summary(shown: str, asked: Asked, tally: Tally, known: Known, took_s: float) -> dict[str, Any]:
    """What came of it, as plain values."""
    from ipledger.times import format_ms
    from replay.attribution import CAUSES, STATUSES

    return {
        "flows": shown,
        "position": known.position,
        "known_from": format_ms(known.from_ms) if known.position else None,
        "known_until": format_ms(known.until_ms) if known.position else None,
        "records": tally.records,
        "broken": tally.broken,
        "rejected": tally.rejected,
        "left_out": tally.left_out,
        "columns": [
            {"column": name, **dict(zip(STATUSES, counts, strict=True))}
            for name, counts in zip(asked.address_columns, tally.answers, strict=True)
        ],
        "faults": [
            {
                "cause": cause,
                "meaning": CAUSES[cause],
                "count": fault.count,
                "first": [{"line": line, "told": told} for line, told in fault.first],
            }
            for cause, fault in sorted(tally.faults.items())
        ],
        "seconds": round(took_s, 3),
        "records_per_s": round(tally.records / took_s) if took_s > 0 else 0,
    }


def _human(data: dict[str, Any]) -> str:
    """The summary for a person; what was wrong stands behind it."""
    headings = list(data["columns"][0])
    lines = [table(headings, [list(column.values()) for column in data["columns"]])]
    shown = [("records", f"{data['records']:,}")]
    if data["broken"]:
        where = f"; {data['rejected']:,} written aside" if data["rejected"] else ""
        where += f"; {data['left_out']:,} left out" if data["left_out"] else ""
        shown.append(("broken", f"{data['broken']:,}{where}"))
    shown.append(("rate", f"{data['records_per_s']:,} records/s"))
    shown.append(("history", f"{data['known_from']} to {data['known_until']}"))
    lines.append(fields(shown))
    for fault in data["faults"]:
        lines.append(f"{fault['count']:,} × {fault['meaning']}:")
        lines += [f"  line {one['line']}: {plain(one['told'])}" for one in fault["first"]]
    lines.append(f"as of position {data['position']}")
    return "\n".join(lines)
