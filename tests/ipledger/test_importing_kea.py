"""Kea's lease files: what its rows mean, which versions differ how, and what is refused."""

from __future__ import annotations

from typing import Final

import pytest

from engine.addresses import format_address
from engine.commands import Adopted
from engine.errors import InvalidInput
from ipledger.importing.found import Found
from ipledger.importing.kea import read_kea
from ipledger.manifests import Source

NOW_S: Final = 1_800_000_000
NOW_MS: Final = NOW_S * 1_000
OLD4: Final = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname"
HEAD4: Final = f"{OLD4},state,user_context,pool_id"
HEAD6: Final = (
    "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,"
    "fqdn_fwd,fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source,pool_id"
)
MAC: Final = "02:00:00:00:00:0a"
END: Final = NOW_S + 600


def row4(
    ip: str = "10.0.0.1", mac: str = MAC, client: str = "", life: int = 3600, expire: int = END,
    host: str = "", state: int | str = 0,
) -> str:  # fmt: skip
    """A row of a DHCPv4 file."""
    return f"{ip},{mac},{client},{life},{expire},7,0,0,{host},{state},,0"


def row6(ip: str = "fd00::1", kind: int = 0, length: int = 128, state: int = 0) -> str:
    """A row of a DHCPv6 file."""
    return f"{ip},00:01:AB,3600,{END},7,1800,{kind},42,{length},0,0,h.,{MAC},{state},,1,0,0"


def read4(*rows: str, head: str = HEAD4) -> Found:
    """Read a DHCPv4 file of these rows."""
    return read_kea([Source("kea.csv", "\n".join((head, *rows, "")))], 4, NOW_MS)


def read6(*rows: str) -> Found:
    """Read a DHCPv6 file of these rows."""
    return read_kea([Source("kea.csv", "\n".join((HEAD6, *rows, "")))], 6, NOW_MS)


def lease_of(found: Found) -> Adopted:
    """The one lease that was found."""
    (entry,) = found.leases
    return entry.lease


def test_a_row_is_a_lease() -> None:
    """It began when its client was last heard of, and ends when the row says."""
    found = read4(row4(host="web.example.org.", client=f"01:{MAC.upper()}"))
    assert found.leases[0].where == "kea.csv, line 2"
    lease = lease_of(found)
    assert format_address(lease.address) == "10.0.0.1"
    assert (lease.prefix_length, lease.interface, lease.pool) == (32, "eth0", None)
    assert lease.owner == f"client-id/01:{MAC}"
    assert lease.labels == (("hostname", "web.example.org"), ("mac", MAC), ("subnet_id", "7"))
    assert (lease.effective_at_ms, lease.ttl_s) == ((END - 3_600) * 1_000, 3_600)


def test_without_a_client_id_the_hardware_address_is_the_owner() -> None:
    """As for Kea itself; the state's column came with a later version."""
    found = read4(f"10.0.0.1,{MAC},,3600,{END},7,0,0,", head=OLD4)
    assert lease_of(found).owner == f"hwaddr/{MAC}"


def test_a_long_client_id_is_hashed() -> None:
    """Owners are bounded; what is longer is told by its hash."""
    found = read4(row4(client=":".join(["ab"] * 255)))
    assert lease_of(found).owner.startswith("client-id-sha256/")


def test_the_last_row_of_an_address_counts() -> None:
    """The file is a journal; also over several files, in their order."""
    rows = [row4(mac="02:00:00:00:00:01"), row4("10.0.0.2"), row4()]
    found = read4(*rows)
    assert [format_address(entry.lease.address) for entry in found.leases] == [
        "10.0.0.2", "10.0.0.1",
    ]  # fmt: skip
    assert found.leases[1].lease.owner == f"hwaddr/{MAC}"
    first, second = Source("a", f"{HEAD4}\n{row4()}\n"), Source("b", f"{HEAD4}\n{row4(life=0)}\n")
    assert read_kea([first, second], 4, NOW_MS) == Found(gone=1)
    assert len(read_kea([second, first], 4, NOW_MS).leases) == 1


@pytest.mark.parametrize("row", [row4(life=0), row4(state=2), row4(state=3)])
def test_what_is_gone_is_no_lease(row: str) -> None:
    """No lifetime left, expired and reclaimed, released; whatever stood before."""
    assert read4(row4(), row) == Found(gone=1)


def test_a_declined_address_is_set_aside() -> None:
    """For as long as Kea would have, and not any more if that is over."""
    found = read4(row4(mac="", state=1), row4("10.0.0.2", mac="", state=1, expire=NOW_S))
    (aside,) = found.quarantines
    assert aside.ips.texts() == ["10.0.0.1"]
    assert (aside.until_ms, found.gone) == (END * 1_000, 1)


@pytest.mark.parametrize(
    ("expire", "since_ms"),
    [((END + 0xFFFFFFFF), END * 1_000), ((END + 0xFFFFFFFF) % (1 << 32), END * 1_000)],
)
def test_a_lease_without_an_end(expire: int, since_ms: int) -> None:
    """Its lifetime is 32 ones; older versions let the sum of the two run over."""
    found = read_kea(
        [Source("kea.csv", f"{HEAD4}\n{row4(life=0xFFFFFFFF, expire=expire)}\n")], 4, since_ms
    )
    lease = lease_of(found)
    assert (lease.effective_at_ms, lease.ttl_s) == (since_ms, None)


def test_a_client_that_was_heard_of_just_now() -> None:
    """Kea's clock may be ahead by some minutes: the end counts, and it began by now."""
    lease = lease_of(read4(row4(life=500)))
    assert lease.effective_at_ms == (END - 600) * 1_000 == NOW_MS
    assert lease.ttl_s == 600
    assert lease_of(read4(row4(life=100))).effective_at_ms == (END - 100) * 1_000


def test_escapes_are_resolved() -> None:
    """A comma in a host name would break the row; a name that cannot be a label is left out."""
    assert ("hostname", "a,b") in lease_of(read4(row4(host="a&#x2cb"))).labels
    found = read4(row4(host="a&#x0ab"))
    assert lease_of(found).labels == (("mac", MAC), ("subnet_id", "7"))
    assert "control character" in found.warnings[0]


def test_addresses_and_prefixes_of_a_client() -> None:
    """A DUID may hold several: its associations tell them apart."""
    found = read6(row6(), row6("fd01::", 2, 56), row6("fd00::2", 1))
    shown = [
        (format_address(e.lease.address), e.lease.prefix_length, e.lease.interface)
        for e in found.leases
    ]
    assert shown == [("fd00::1", 128, "na-42"), ("fd01::", 56, "pd-42"), ("fd00::2", 128, "ta-42")]
    assert {entry.lease.owner for entry in found.leases} == {"duid/00:01:ab"}
    assert ("hostname", "h") in found.leases[0].lease.labels


def test_a_row_that_was_being_written_is_left_out() -> None:
    """The file may be copied while Kea writes; only its last row may be torn."""
    text = f"{HEAD4}\n{row4()}\n10.0.0.2,02:00"
    found = read_kea([Source("kea.csv", text)], 4, NOW_MS)
    assert len(found.leases) == 1
    assert found.warnings == ("kea.csv, line 3: it is not whole and was left out",)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["10.0.0.1,1,2"], "line 2: 3 columns, not 12"),
        ([row4("10.0.0.300")], "line 2: '10.0.0.300'"),
        ([row4("fd00::1")], "IPv6, where IPv4 is wanted"),
        ([row4(mac="")], "hwaddr '' is not bytes in hex"),
        ([row4(mac="zz:00")], "hwaddr 'zz:00'"),
        ([row4(client="x")], "client_id 'x'"),
        ([row4(state=9)], "state 9 is not known"),
        ([row4(state="")], ""),
        ([row4(life=-1)], "valid_lifetime '-1'"),
        ([row4(expire=5)], "expire is before"),
        ([row4(expire=1 << 41)], "expire"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(rows: list[str], told: str) -> None:
    """With the line; an empty state is none of it, it is the default."""
    if not told:
        assert read4(*rows).leases
        return
    with pytest.raises(InvalidInput) as refused:
        read4(*rows)
    assert told in refused.value.message
    assert "kea.csv, line 2: " in refused.value.message


@pytest.mark.parametrize(
    "text", ["", "\n\n", "address,owner\n", "address,address,hwaddr,valid_lifetime,expire\n"]
)
def test_a_file_needs_its_header(text: str) -> None:
    """Its first line names the columns, each once."""
    with pytest.raises(InvalidInput):
        read_kea([Source("kea.csv", text)], 4, NOW_MS)


def test_rows_of_v6_that_cannot_be() -> None:
    """A prefix with host bits, a type that there is not."""
    for row in (row6("fd00::1", 2, 56), row6(kind=3), row6("10.0.0.1")):
        with pytest.raises(InvalidInput):
            read6(row)
