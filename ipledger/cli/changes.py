"""What changed between two moments, for a person to read."""

from __future__ import annotations

from collections.abc import Iterator

from ipledger.change_views import HOW, KINDS
from ipledger.cli.leases import address_text
from ipledger.cli.show import Json, few, plain, table

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def difference_text(data: Json) -> str:
    """How many of each kind, then a line for each object and one for each field that changed."""
    return "\n".join(_lines(data))


def _lines(data: Json) -> Iterator[str]:
    begin, end = data["from"], data["to"]
    yield f"from position {begin['position']} ({begin['time'] or 'the beginning'})"
    yield f"to position   {end['position']} ({end['time'] or 'the beginning'})"
    yield f"{data['events']} events in between"
    yield ""
    rows = [(kind, *(data["summary"][kind][how] for how in HOW)) for kind in KINDS]
    yield table(["", *HOW], rows)
    if data["granted_and_ended"]:
        several = data["granted_and_ended"]
        leases = "1 lease was" if several == 1 else f"{several} leases were"
        yield f"{leases} granted and ended in between"
    for kind in KINDS:
        if data[kind]:
            yield ""
        for item in data[kind]:
            yield plain(f"{_SIGNS[item['change']]} {kind[:-1]} {_told(kind, item)}")
            for name in item["fields"]:
                yield f"    {name}: {_value(item['before'][name])} → {_value(item['after'][name])}"


def _told(kind: str, item: Json) -> str:
    """Which object it is."""
    shown = item["after"] or item["before"]
    if kind in {"pools", "reservations"}:
        return f"{shown['name']} ({item['id']})"
    if kind == "quarantines":
        return f"{item['id']}: {few(shown['ips'])}"
    ended = f", {item['ended_by']}" if item["ended_by"] else ""
    return f"{item['id']}: {address_text(shown)} of {shown['pool']}, {shown['owner']}{ended}"


def _value(value: object) -> str:
    return (few(value) if isinstance(value, list) else plain(value)) or "-"
