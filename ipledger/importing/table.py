"""Leases from a plain CSV file; changes with its columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import Final

from engine.commands import Adopted
from engine.errors import InvalidInput
from engine.model import DEFAULT_INTERFACE
from engine.names import Labels, check_interface, check_labels, check_name, check_text
from ipledger.durations import parse_duration
from ipledger.held_texts import parse_held
from ipledger.importing.found import Found, FoundLease, Once, term_until
from ipledger.manifests.fields import inside
from ipledger.manifests.sources import Source
from ipledger.times import parse_time

COLUMNS: Final = (
    "address", "owner", "interface", "uid", "pool", "cluster", "since", "until", "ttl", "labels",
)  # fmt: skip
NEEDED: Final = ("address", "owner")


def read_table(sources: Sequence[Source], now_ms: int, cluster: str | None = None) -> Found:
    """Read files whose first line names their columns; empty cells are as good as none.

    Raises:
        InvalidInput: naming file, line and column.
    """
    leases: list[FoundLease] = []
    once = Once()
    for source in sources:
        for where, cells in _rows(source):
            with inside(f"{where}: "):
                lease = _lease(cells, now_ms, cluster)
            once.check(where, lease)
            leases.append(FoundLease(where, lease))
    return Found(leases=tuple(leases))


def _rows(source: Source) -> Iterator[tuple[str, dict[str, str]]]:
    name, text = source
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not any(cells):
                continue
            where = f"{name}, line {reader.line_num}"
            if header is None:
                header = _header(where, [cell.strip().lower() for cell in cells])
            elif len(cells) != len(header):
                message = f"{where}: {len(cells)} columns, not {len(header)}"
                raise InvalidInput(message, "put what holds a comma in double quotes")
            else:
                yield where, {key: cell.strip() for key, cell in zip(header, cells, strict=True)}
    except csv.Error as error:
        raise InvalidInput(f"{name}, line {reader.line_num}: {error}") from None
    if header is None:
        raise InvalidInput(f"{name}: it is empty", f"columns are {', '.join(COLUMNS)}")


def _header(where: str, header: list[str]) -> list[str]:
    hint = f"columns are {', '.join(COLUMNS)}"
    for column in header:
        if column not in COLUMNS:
            raise InvalidInput(f"{where}: the column {column[:60]!r} is not known", hint)
    for column in NEEDED:
        if column not in header:
            raise InvalidInput(f"{where}: the column {column} is missing", hint)
    if len(set(header)) != len(header):
        raise InvalidInput(f"{where}: a column is there twice", hint)
    return header


def _lease(cells: dict[str, str], now_ms: int, cluster: str | None) -> Adopted:
    def given(name: str) -> str | None:
        return cells.get(name) or None

    for name in NEEDED:
        if given(name) is None:
            raise InvalidInput(f"{name} is empty", "every lease has an address and an owner")
    with inside("address: "):
        address, prefix_length = parse_held(cells["address"])
    uid, pool = given("uid"), given("pool")
    since_ms, ttl_s = _term(given("since"), given("until"), given("ttl"), now_ms)
    said = given("cluster") or cluster
    return Adopted(
        address=address,
        prefix_length=prefix_length,
        owner=check_text(cells["owner"], "owner"),
        interface=check_interface(given("interface") or DEFAULT_INTERFACE),
        uid=None if uid is None else check_text(uid, "uid"),
        labels=_labels(given("labels") or ""),
        cluster=None if said is None else check_text(said, "cluster"),
        effective_at_ms=since_ms,
        ttl_s=ttl_s,
        pool=None if pool is None else check_name(pool, "pool"),
    )


def _term(
    since: str | None, until: str | None, ttl: str | None, now_ms: int
) -> tuple[int | None, int | None]:
    """Since when, if that is known, and for how long."""
    if until is not None and ttl is not None:
        raise InvalidInput("it has both until and ttl", "leave one of them empty")
    since_ms = None if since is None else _time("since", since)
    if ttl is not None:
        with inside("ttl: "):
            return since_ms, parse_duration(ttl)
    if until is None:
        return since_ms, None
    with inside("until: "):
        return term_until(_time("until", until), since_ms, now_ms)


def _time(name: str, text: str) -> int:
    """An absolute time: the file is read on another day than it was written on."""
    with inside(f"{name}: "):
        if text.startswith("-") or text == "now":
            message = f"{text[:60]!r} is relative to when it is read"
            raise InvalidInput(message, "write 2026-11-03T04:05:06Z")
        return parse_time(text, 0)


def _labels(text: str) -> Labels:
    """Labels from ``k=v;k=v``."""
    labels: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InvalidInput(f"label {part[:60]!r} is not KEY=VALUE", "write a=1;b=2")
        if key in labels:
            raise InvalidInput(f"label {key[:60]!r} is there twice", "a key has one value")
        labels[key] = value.strip()
    return check_labels(labels)
