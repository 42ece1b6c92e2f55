"""Leases from plain CSV: its columns, its times, and what is refused with its line."""

from __future__ import annotations

from typing import Final

import pytest

from engine.addresses import format_address
from engine.commands import Adopted
from engine.errors import InvalidInput
from ipledger.importing.found import term_until
from ipledger.importing.reading import FORMATS, detect, read_found
from ipledger.importing.table import read_table
from ipledger.manifests import Source

NOW_MS: Final = 1_800_000_000_500
SINCE: Final = "2027-01-15T07:00:00Z"
SINCE_MS: Final = 1_799_996_400_000


def read(*lines: str) -> list[Adopted]:
    """Read a file of these lines."""
    found = read_table([Source("l.csv", "\n".join((*lines, "")))], NOW_MS)
    return [entry.lease for entry in found.leases]


def test_every_column() -> None:
    """In any order and case, with white space around; empty cells are as good as none."""
    (full, bare) = read(
        "Owner, address,interface,uid,pool,cluster,since,ttl,labels",
        f'web,10.0.0.1,net1,u,a,c1,{SINCE},1h30m,"k=v; e=;note=a, b"',
        "db,fd00::/64,,,,,,,",
    )
    assert full == Adopted(
        full.address, 32, "web", "net1", "u", (("e", ""), ("k", "v"), ("note", "a, b")), "c1",
        SINCE_MS, 5_400, "a",
    )  # fmt: skip
    assert (format_address(bare.address), bare.prefix_length) == ("fd00::", 64)
    assert bare[2:] == ("db", "eth0", None, (), None, None, None, None)


def test_an_end_is_kept_to_the_millisecond() -> None:
    """Whole seconds are counted back from it; without a beginning, about now."""
    until_ms = NOW_MS + 90_250
    until = "2027-01-15T08:01:30.750Z"
    known, unknown = read("address,owner,since,until", f"10.0.0.1,a,{SINCE},{until}",
                          f"10.0.0.2,a,,{until}")  # fmt: skip
    for lease in (known, unknown):
        assert lease.effective_at_ms is not None
        assert lease.ttl_s is not None
        assert lease.effective_at_ms + lease.ttl_s * 1_000 == until_ms
    assert known.effective_at_ms is not None
    assert 0 <= known.effective_at_ms - SINCE_MS < 1_000
    assert unknown.effective_at_ms is not None
    assert 0 <= NOW_MS - unknown.effective_at_ms < 1_000
    assert term_until(NOW_MS - 5_000, None, NOW_MS) == (NOW_MS - 6_000, 1)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["address,owner,mac", "10.0.0.1,a,b"], "line 1: the column 'mac' is not known"),
        (["address", "10.0.0.1"], "line 1: the column owner is missing"),
        (["address,owner,owner", "10.0.0.1,a,b"], "line 1: a column is there twice"),
        (["address,owner", "10.0.0.1"], "line 2: 1 columns, not 2"),
        (["address,owner", "10.0.0.1,"], "line 2: owner is empty"),
        (["address,owner", "10.0.0.1/24,a"], "line 2: address: '10.0.0.1/24'"),
        (["address,owner", "10.0.0.1-10.0.0.2,a"], "line 2: address: "),
        (["address,owner", "", '10.0.0.1,"a'], "l.csv, line "),
        (["address,owner,labels", "10.0.0.1,a,k"], "line 2: label 'k' is not KEY=VALUE"),
        (["address,owner,labels", "10.0.0.1,a,k=1;k=2"], "line 2: label 'k' is there twice"),
        (["address,owner,since", "10.0.0.1,a,-2h"], "line 2: since: '-2h' is relative"),
        (["address,owner,since", "10.0.0.1,a,yesterday"], "line 2: since: "),
        (["address,owner,ttl", "10.0.0.1,a,60"], "line 2: ttl: "),
        (["address,owner,ttl,until", f"10.0.0.1,a,60s,{SINCE}"], "line 2: it has both"),
        (["address,owner,since,until", f"10.0.0.1,a,{SINCE},{SINCE}"], "line 2: until: it would"),
        (["address,owner", "10.0.0.1,a", "10.0.0.1,b"], "line 3: its address is there already"),
        (["address,owner,interface", "10.0.0.1,a,e 0"], "line 2: interface"),
        ([""], "l.csv: it is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(lines: list[str], told: str) -> None:
    """Nothing is guessed, and the message names file and line."""
    with pytest.raises(InvalidInput) as refused:
        read(*lines)
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("address,owner\n", "csv"), ("owner, Address\n", "csv"),
        ("address,hwaddr,client_id\n", "kea4"), ("address,duid\n", "kea6"),
        ("apiVersion: ipledger/v1\nkind: Pool\n", "ipledger"),
        ('{"apiVersion": "ipledger/v1"}', "ipledger"),
        ("apiVersion: v1\nkind: List\nitems: []\n", "spiderpool"),
    ],
)  # fmt: skip
def test_a_format_shows(text: str, form: str) -> None:
    """In the first line, or in what a document says it is."""
    assert detect(Source("f", text)) == form
    assert form in FORMATS


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# dhcpd\nlease 10.0.0.1 {\n  starts 1 2026/01/01;\n}\n", "ISC's dhcpd"),
        ('server-duid "\\000";\n', "ISC's dhcpd"), ("hello\n", "not known"), ("", "not known"),
    ],
)  # fmt: skip
def test_what_is_none_of_ours_is_refused(text: str, told: str) -> None:
    """With a hint of how to come all the same."""
    with pytest.raises(InvalidInput) as refused:
        detect(Source("f", text))
    assert told in refused.value.message
    assert refused.value.hint


def test_files_are_of_one_format() -> None:
    """Two journals of Kea are one; a table and a journal are not."""
    table, kea = Source("a", "address,owner\n"), Source("b", "address,hwaddr\n")
    with pytest.raises(InvalidInput, match="different formats: csv, kea4"):
        read_found([table, kea], None, NOW_MS)
    with pytest.raises(InvalidInput, match="control character"):
        read_found([table], None, NOW_MS, "a\nb")
    assert read_found([table], "csv", NOW_MS)[0] == "csv"
