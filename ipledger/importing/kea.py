"""Kea's lease files (memfile) as leases; changes with what Kea writes into them.

Such a file is a journal: each change of a lease is a row, and the last row of an address is what
is. Its header names the columns, which differ between Kea's versions. Kea quotes nothing; what
would break a row is written as ``&#x2c``.

Whose a lease is: a DHCPv6 client is its DUID, and each of its associations (IAID) is what an
interface is to us. A DHCPv4 client is its client identifier if it sent one, else its hardware
address, as Kea itself tells clients apart (RFC 2131, RFC 4361).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from engine.addresses import RangeSet, parse_address, parse_subnet, to_int
from engine.commands import Adopted
from engine.errors import InvalidInput
from engine.model import DEFAULT_INTERFACE
from engine.names import TEXT_BYTES_MAX, Labels, check_labels
from engine.shapes import SECONDS_MAX
from ipledger.importing.found import (
    CLOCKS_APART_MS,
    Found,
    FoundAside,
    FoundLease,
    term_until,
)
from ipledger.manifests.fields import inside
from ipledger.manifests.sources import Source

_NEEDED: Final = {
    4: ("address", "hwaddr", "valid_lifetime", "expire"),
    6: ("address", "duid", "valid_lifetime", "expire", "lease_type", "iaid", "prefix_len"),
}
_DECLINED: Final = 1
_GONE: Final = frozenset({2, 3})  # expired and reclaimed; released
_HELD: Final = frozenset({0, 4})  # 4: an address that its client made and registered (RFC 9686)
_INFINITE: Final = 0xFFFFFFFF  # Kea's "never expires"
_PREFIX: Final = 2  # the lease type of a delegated prefix
_KINDS: Final = {0: "na", 1: "ta", _PREFIX: "pd"}
_ESCAPED: Final = re.compile("&#x([0-9a-fA-F]{2})")
_HEX: Final = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2})*")
_NUMBER: Final = re.compile(r"[0-9]{1,20}")


class _Row(NamedTuple):
    where: str
    cells: dict[str, str]

    def text(self, name: str) -> str:
        return self.cells.get(name, "")

    def number(self, name: str, most: int, default: str = "") -> int:
        text = self.text(name) or default
        if not _NUMBER.fullmatch(text) or int(text) > most:
            message = f"{name} {text[:60]!r} is not a number from 0 to {most}"
            raise InvalidInput(message, "is this Kea's lease file?")
        return int(text)


def read_kea(
    sources: Sequence[Source], family: int, now_ms: int, cluster: str | None = None
) -> Found:
    """Read lease files of one family, in the order in which Kea wrote them.

    Raises:
        InvalidInput: naming file and line.
    """
    warnings: list[str] = []
    last: dict[str, _Row] = {}
    for source in sources:
        for row in _rows(source, family, warnings):
            key = f"{row.text('address')}/{row.text('prefix_len')}"
            last.pop(key, None)  # so that they stand in the order of their last rows
            last[key] = row
    leases: list[FoundLease] = []
    aside: list[FoundAside] = []
    gone = 0
    for row in last.values():
        with inside(f"{row.where}: "):
            state = row.number("state", 0xFFFFFFFF, "0")
            lifetime_s = row.number("valid_lifetime", 0xFFFFFFFF)
            if state in _GONE or not lifetime_s:
                gone += 1
            elif state == _DECLINED:
                found = _declined(row, lifetime_s)
                if found.until_ms is not None and found.until_ms <= now_ms:
                    gone += 1
                else:
                    aside.append(found)
            elif state in _HELD:
                leases.append(FoundLease(row.where, _lease(row, family, now_ms, cluster, warnings)))
            else:
                message = f"state {state} is not known"
                raise InvalidInput(message, "known are 0 to 4; leave the row out")
    return Found((), tuple(leases), tuple(aside), tuple(warnings), gone)


def _rows(source: Source, family: int, warnings: list[str]) -> Iterator[_Row]:
    name, text = source
    lines = text.split("\n")
    torn = len(lines) if lines[-1] else 0  # Kea ends every row: this one was being written
    reader = csv.reader(lines, quoting=csv.QUOTE_NONE)
    header: list[str] | None = None
    try:
        for number, cells in enumerate(reader, 1):
            if not cells:
                continue
            if header is None:
                header = _header(name, [cell.strip() for cell in cells], family)
            elif len(cells) == len(header):
                row = dict(zip(header, cells, strict=True))
                yield _Row(f"{name}, line {number}", row)
            elif number == torn:
                warnings.append(f"{name}, line {number}: it is not whole and was left out")
            else:
                message = f"{name}, line {number}: {len(cells)} columns, not {len(header)}"
                raise InvalidInput(message, "every row has the columns of the first line")
    except csv.Error as error:
        raise InvalidInput(f"{name}, line {reader.line_num}: {error}") from None
    if header is None:
        raise InvalidInput(f"{name}: it is empty", "the first line of a lease file is its header")


def _header(name: str, header: list[str], family: int) -> list[str]:
    missing = [column for column in _NEEDED[family] if column not in header]
    if missing:
        message = f"{name}, line 1: the column {missing[0]} is missing"
        raise InvalidInput(message, f"a DHCPv{family} lease file of Kea has it")
    if len(set(header)) != len(header):
        raise InvalidInput(f"{name}, line 1: a column is there twice", "remove one")
    return header


def _declined(row: _Row, lifetime_s: int) -> FoundAside:
    """An address on which a client has found somebody else."""
    address = parse_address(row.text("address"))
    value = to_int(address)
    expire_s = row.number("expire", 1 << 40)
    return FoundAside(
        row.where,
        RangeSet(4 if len(address) == 4 else 6, [(value, value)]),
        "declined by a DHCP client",
        None if lifetime_s == _INFINITE else expire_s * 1_000,
    )


def _lease(
    row: _Row, family: int, now_ms: int, cluster: str | None, warnings: list[str]
) -> Adopted:
    if family == 6 and row.number("lease_type", 2) == _PREFIX:
        block = parse_subnet(f"{row.text('address')}/{row.number('prefix_len', 128)}")
        address, prefix_length = parse_address(row.text("address"), 6), int(block.prefix_length)
    else:
        address = parse_address(row.text("address"), 4 if family == 4 else 6)
        prefix_length = len(address) * 8
    if family == 4:
        owner, interface = _client(row), DEFAULT_INTERFACE
    else:
        owner = _owner("duid", _hex(row, "duid"))
        interface = f"{_KINDS[row.number('lease_type', 2)]}-{row.number('iaid', 0xFFFFFFFF)}"
    since_ms, ttl_s = _term(row, now_ms)
    return Adopted(
        address, prefix_length, owner, interface,
        labels=_labels(row, warnings), cluster=cluster, effective_at_ms=since_ms, ttl_s=ttl_s,
    )  # fmt: skip


def _term(row: _Row, now_ms: int) -> tuple[int | None, int | None]:
    """Since when, which is when the client was last heard of, and for how long."""
    lifetime_s = row.number("valid_lifetime", 0xFFFFFFFF)
    heard_s = row.number("expire", 1 << 40) - lifetime_s
    if lifetime_s == _INFINITE or lifetime_s > SECONDS_MAX:
        heard_ms = heard_s % (1 << 32) * 1_000  # older versions of Kea let the sum run over
        return (heard_ms if 0 < heard_ms <= now_ms else None), None
    if heard_s < 0:
        raise InvalidInput("expire is before valid_lifetime has passed since 1970")
    if now_ms < heard_s * 1_000 <= now_ms + CLOCKS_APART_MS:
        return term_until((heard_s + lifetime_s) * 1_000, None, now_ms)
    return heard_s * 1_000, lifetime_s


def _client(row: _Row) -> str:
    """The client of a DHCPv4 lease."""
    if row.text("client_id"):
        return _owner("client-id", _hex(row, "client_id"))
    return _owner("hwaddr", _hex(row, "hwaddr"))


def _owner(kind: str, digits: str) -> str:
    """A client in one spelling: its kind, then bytes in lower-case hex, joined by colons."""
    owner = f"{kind}/{digits}"
    if len(owner) <= TEXT_BYTES_MAX:
        return owner
    return f"{kind}-sha256/{sha256(bytes.fromhex(digits.replace(':', ''))).hexdigest()}"


def _hex(row: _Row, name: str) -> str:
    text = row.text(name).lower()
    if not _HEX.fullmatch(text):
        message = f"{name} {text[:60]!r} is not bytes in hex, joined by colons"
        raise InvalidInput(message, "without it nobody can say whose the lease is")
    return text


def _labels(row: _Row, warnings: list[str]) -> Labels:
    """The host name, the hardware address and Kea's subnet, where they are known."""
    mac, subnet_id = row.text("hwaddr").lower(), row.text("subnet_id")
    given = {"mac": mac} if _HEX.fullmatch(mac) else {}
    if _NUMBER.fullmatch(subnet_id):
        given["subnet_id"] = subnet_id
    hostname = row.text("hostname")
    if "&#x" in hostname:
        hostname = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), hostname)
    if hostname := hostname.removesuffix("."):
        try:
            return check_labels({**given, "hostname": hostname})
        except InvalidInput as error:
            # A client may call itself anything; whose the lease is does not hang on it.
            warnings.append(f"{row.where}: {error.message}; it was left out")
    return tuple(sorted(given.items()))
