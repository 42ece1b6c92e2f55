"""What is, written as manifests, is read as what it was: each value, in each form of text."""

from __future__ import annotations

import json
from typing import Any, Final

import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.commands import PutPool, PutReservation
from engine.facts import Lease, Pool, Quarantine, Report, Reservation
from engine.model import PoolSpec, ReservationSpec
from ipledger.durations import format_duration, parse_duration
from ipledger.manifests import Parsed, Source, StatedLease, StatedQuarantine, parse
from ipledger.manifests.documents import (
    Document,
    lease_document,
    pool_document,
    quarantine_document,
    report_document,
    reservation_document,
    space_document,
)
from ipledger.manifests.yaml_out import document_text
from ipledger.manifests.yaml_text import read_documents
from tests.drawn import NAMES, SECONDS, TEXTS, leases, pool_specs, quarantines, reservation_specs
from tests.ipledger.test_manifest_schema import faults_of

_SCALARS: Final = TEXTS | st.just("") | st.integers(-(10**30), 10**30) | st.booleans()
_DATA: Final = st.dictionaries(
    TEXTS | st.text(st.just("\u00ad"), min_size=200, max_size=256),
    st.recursive(
        _SCALARS | st.lists(_SCALARS, max_size=3),
        lambda inner: (
            st.dictionaries(TEXTS, inner, max_size=3)
            | st.lists(st.dictionaries(TEXTS, inner, min_size=1, max_size=3), max_size=3)
        ),
        max_leaves=8,
    ),
    min_size=1,
)


def read_back(document: Document) -> Parsed:
    """What a document says when it is read: from YAML and from JSON alike, as the schema has it."""
    assert faults_of(document) == []
    text = document_text(document)
    read = parse([Source("export.yaml", text)])
    assert read == parse([Source("export.json", json.dumps(document))])
    assert not read.warnings
    return read


@given(_DATA)
def test_any_data_is_written_so_that_every_reader_takes_it_for_what_it_is(data: Any) -> None:
    """Ours, and one of YAML 1.1 that takes `no` for false and addresses for numbers."""
    text = document_text(data)
    assert read_documents(text) == [data]
    assert list(yaml.load_all(text, Loader=yaml.CSafeLoader)) == [data]
    assert all(line.isprintable() for line in text.split("\n"))


@given(name=NAMES, spec=pool_specs())
def test_a_pool_is_read_as_it_was(name: str, spec: PoolSpec) -> None:
    """Every member of its definition."""
    document = pool_document(Pool(7, name, spec, spec.effective()))
    assert read_back(document).objects == (PutPool(name, spec),)


@given(spec=pool_specs())
def test_a_terminating_pool_is_written_as_disabled(spec: PoolSpec) -> None:
    """That is as near as a definition comes: it gives out nothing new."""
    document = pool_document(Pool(7, "p", spec, spec.effective(), terminating=True))
    assert read_back(document).objects == (PutPool("p", spec._replace(disabled=True)),)


@given(name=NAMES, spec=reservation_specs())
def test_a_reservation_is_read_as_it_was(name: str, spec: ReservationSpec) -> None:
    """Every member of its definition."""
    document = reservation_document(Reservation(7, name, spec, 1, 2))
    assert read_back(document).objects == (PutReservation(name, spec),)


@given(pool=NAMES, lease=leases())
def test_a_lease_is_read_as_it_was(pool: str, lease: Lease) -> None:
    """Who holds what, since when, until when to the millisecond; also when it was renewed."""
    (stated,) = read_back(lease_document(lease, pool)).leases
    assert stated == StatedLease(
        pool, lease.address, lease.prefix_length, lease.owner, lease.interface, lease.uid,
        lease.labels, lease.cluster, lease.effective_at_ms, lease.ttl_s, lease.expires_at_ms, None,
    )  # fmt: skip


@given(lease=leases())
def test_the_end_of_a_lease_is_written_only_if_its_time_does_not_tell_it(lease: Lease) -> None:
    """As granted or imported, `since` and `ttl` tell it."""
    told = lease.ttl_s is None or lease.expires_at_ms == lease.effective_at_ms + lease.ttl_s * 1_000
    assert ("expires" in lease_document(lease, "p")["spec"]) is not told


@given(quarantines())
def test_a_quarantine_is_read_as_it_was(aside: Quarantine) -> None:
    """It ends when it would have ended."""
    (stated,) = read_back(quarantine_document(aside)).quarantines
    assert stated == StatedQuarantine(aside.ips, str(aside.reason), aside.ends_at_ms, None)


@given(lease=leases(), quarantine_s=st.none() | SECONDS)
def test_a_reported_conflict_is_written_as_a_quarantine_of_its_address(
    lease: Lease, quarantine_s: int | None
) -> None:
    """It begins when the lease ends, so it has a duration and no end."""
    document = report_document(lease, Report(9, quarantine_s, "arp"))
    (stated,) = read_back(document).quarantines
    assert (stated.for_s, stated.until_ms, stated.reason) == (quarantine_s, None, "arp")
    assert stated.ips.size == 1 << (len(lease.address) * 8 - lease.prefix_length)


@given(name=NAMES, level=st.integers(1, 9))
def test_a_space_is_read_as_it_was(name: str, level: int) -> None:
    """Its name and its format level."""
    assert read_back(space_document(name, level)).spaces == ((name, level),)


@given(st.just(0) | SECONDS)
def test_a_duration_is_read_as_it_was(seconds: int) -> None:
    """In its largest units."""
    assert parse_duration(format_duration(seconds), least=0) == seconds


def test_what_an_export_looks_like() -> None:
    """Fields in a fixed order, defaults left out, texts in quotes where a reader might err."""
    text = document_text({
        "kind": "Pool", "metadata": {"labels": {"no": "", "a b": "x/y"}},
        "spec": {"ips": ["10.0.0.1", "fd00::1"], "routes": [{"dst": "a", "gw": "b"}], "none": [],
                 "disable": True, "level": 2},
    })  # fmt: skip
    assert text == (
        '---\nkind: Pool\nmetadata:\n  labels:\n    "no": ""\n    "a b": x/y\nspec:\n'
        '  ips:\n  - "10.0.0.1"\n  - "fd00::1"\n  routes:\n  - dst: a\n    gw: b\n  none: []\n'
        "  disable: true\n  level: 2\n"
    )  # fmt: skip
