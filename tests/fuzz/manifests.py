"""Files that people give us: manifests, other systems' leases, flow records, observations, digests.

The first line of an input says how it is read; the rest are the bytes of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any, Final

from engine.commands import Apply, PutPool, PutReservation
from engine.errors import InvalidInput, Refusal
from engine.facts import Pool, Reservation
from ipledger.importing import FORMATS, make_plan, read_found
from ipledger.manifests import Parsed, Source, parse, read_sources
from ipledger.manifests.documents import pool_document, reservation_document
from ipledger.manifests.yaml_out import document_text
from ipledger.observed import read_observed
from replay.attribution import (
    FIELDS_USUAL,
    Answers,
    Block,
    Columns,
    CsvJoin,
    Join,
    JsonJoin,
    Known,
    Members,
    Tally,
    blocks_of,
    csv_rendering,
    cut_csv,
    cut_lines,
    json_rendering,
    time_reader,
)
from replay.digests import LINE_BYTES_MAX, read_digests
from replay.history.lookup import TenureSpan
from tests.builders import START_MS, TestLedger, make_pool
from tests.fuzz.mutating import INPUT_BYTES_MAX, changed
from tests.fuzz.target import Target, require

_NAME: Final = "<stdin>"
_MESSAGE_MAX: Final = 2_000
_EXPORTED_MAX: Final = 4


# ------------------------------------------------------------------------------------------ readers


def _read_manifests(data: bytes) -> None:
    parsed = _parsed(data)
    for wanted in parsed.objects[:_EXPORTED_MAX]:
        _check_export(wanted)
    if parsed.objects:
        ledger = TestLedger()
        outcome = ledger.run(Apply(parsed.objects))
        if isinstance(outcome, Refusal):
            _check_told(outcome.message, outcome.hint)
        require(ledger.replayed().position == ledger.state.position, "it cannot be replayed")


def _parsed(data: bytes) -> Parsed:
    (source,) = read_sources(["-"], lambda _most: data)
    try:
        parsed = parse([source])
    except InvalidInput as error:
        require(error.message.startswith(_NAME), f"the message does not name the file: {error}")
        raise
    for warning in parsed.warnings:
        _check_told(warning, "")
    return parsed


def _check_export(wanted: PutPool | PutReservation) -> None:
    """What was read is written, and read as the same again: from YAML and from JSON."""
    if isinstance(wanted, PutPool):
        effective = wanted.spec.ips.subtract(wanted.spec.exclude_ips)
        document = pool_document(Pool(1, wanted.name, wanted.spec, effective))
    else:
        document = reservation_document(Reservation(1, wanted.name, wanted.spec, 0, 0))
    for text in (document_text(document), json.dumps(document)):
        again = parse([Source("export", text)]).objects
        require(again == (wanted,), f"{wanted} is exported as {text!r} and read as {again}")
    require(document_text(document).replace("\n", "").isprintable(), "an export cannot be shown")


def _read_import(data: bytes) -> None:
    """In the format that it shows, and in each of the others: no reader trusts the choice."""
    sources = read_sources(["-"], lambda _most: data)
    refused: InvalidInput | None = None
    for form in (None, *FORMATS):
        try:
            _, found = read_found(sources, form, START_MS)
        except InvalidInput as error:
            _check_told(error.message, error.hint)
            refused = refused or error
            continue
        for warning in found.warnings:
            _check_told(warning, "")
        plan = make_plan(_standing().state, found, START_MS)
        planned = plan.covered, plan.leases, plan.held, plan.past, plan.refused
        require(sum(map(len, planned)) == len(found.leases), "a lease is in no part of the plan")
        for entry in plan.refused:
            _check_told(entry.refusal.message, entry.refusal.hint)
    if refused is not None:
        raise refused


@cache
def _standing() -> TestLedger:
    """A space that is only looked at."""
    ledger = TestLedger()
    ledger.apply(make_pool("web", "10.0.0.0/24"), make_pool("six", "fd00::/64", ttl_s=60))
    ledger.grant("web", owner="a", labels=(("app", "web"),))
    return ledger


def _read_observation(data: bytes) -> None:
    observed = read_observed(data, "seen", START_MS)
    require(observed.evidence.isprintable(), "the evidence cannot be shown")
    again = read_observed(data, "seen", START_MS)
    same = again.observation.id == observed.observation.id
    require(same, "the same file is another observation")


def _read_digest_file(data: bytes) -> None:
    lines = data.splitlines(keepends=True)
    read_digests(line[:LINE_BYTES_MAX] for line in lines)


# --------------------------------------------------------------------------------------- flow files


class _Spans:
    """Who held what; see `TenureLookup`."""

    def tenures_at(self, address: bytes) -> list[TenureSpan]:
        """One holder of 10.0.0.1, whose name needs quotes."""
        if address != bytes((10, 0, 0, 1)):
            return []
        labels = (("app", 'we"b'),)
        return [TenureSpan(100, None, 'žluť,";\u2028', 3, labels, "front", "eth0", None)]


_KNOWN: Final = Known(100, 10**18, 9)


def _csv_join() -> Join:
    answers = Answers(_Spans(), _KNOWN, csv_rendering(FIELDS_USUAL, ","))
    return CsvJoin(Columns(",", 3, 0, (1, 2)), time_reader("auto"), answers, set_aside=False)


def _json_join() -> Join:
    answers = Answers(_Spans(), _KNOWN, json_rendering(FIELDS_USUAL))
    return JsonJoin(Members("t", ("a", "n.b")), time_reader("auto"), answers, set_aside=False)


def _join_flows(make: Callable[[], Join], cut: Callable[[Any], Any]) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        """However it comes in pieces, the same comes out, and no record is lost."""
        outcomes = []
        for size in (max(1, len(data)), 7):
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            blocks = list(blocks_of(pieces, cut))
            require(b"".join(map(bytes, blocks)) == data, "cutting into blocks lost something")
            outcomes.append(_joined(make(), blocks))
        require(outcomes[0] == outcomes[1], f"pieces matter: {outcomes}")

    return read


def _joined(join: Join, blocks: list[Block]) -> tuple[object, ...]:
    tally = Tally(2)
    output = b""
    for block in blocks:
        done = join(block)
        output += done.output
        tally.add(done.tally)
    faults = {cause: (fault.count, list(fault.first)) for cause, fault in tally.faults.items()}
    return output, tally.records, tally.broken, faults


READERS: Final[dict[bytes, Callable[[bytes], None]]] = {
    b"manifests": _read_manifests,
    b"import": _read_import,
    b"observed": _read_observation,
    b"digests": _read_digest_file,
    b"flows csv": _join_flows(_csv_join, cut_csv(",")),
    b"flows jsonl": _join_flows(_json_join, cut_lines),
}


# ---------------------------------------------------------------------------------- what must hold


def check(data: bytes) -> None:
    """It is read, or refused by name; nothing else comes of it."""
    how, _, content = data.partition(b"\n")
    try:
        READERS.get(how, _read_manifests)(content)
    except InvalidInput as error:
        require(error.kind == "invalid", "an error has no kind")
        _check_told(error.message, error.hint)


def _check_told(message: str, hint: str) -> None:
    require(message, "there is no message")
    require(len(message) + len(hint) < _MESSAGE_MAX, f"a message has no bound: {message[:200]}…")


# --------------------------------------------------------------------------------------- mutations

# What stands between marks of YAML, JSON or CSV.
_VALUE: Final = re.compile(rb"[^\s\[\]{},:\"']+(?::[0-9a-fA-F:]+[^\s\[\]{},\"']*)?")
_WORDS: Final = (
    b"apiVersion: ipledger/v1\n", b"apiVersion: spiderpool.spidernet.io/v2beta1\n",
    b"kind: Pool\n", b"kind: List\n", b"items:\n", b"metadata:\n", b"spec:\n", b"  name: a\n",
    b"  subnet: ", b"ips:", b"  ips: [10.0.0.1-10.0.0.9]\n", b"  excludeIPs: [10.0.0.3]\n",
    b"  gateway: 10.0.0.1\n", b"  routes: [{dst: 10.9.0.0/16, gw: 10.0.0.1}]\n", b"  ttl: 1h\n",
    b"  cooldown: 0s\n", b"  labels: {a: b}\n", b"  podAffinity: {matchLabels: {a: b}}\n",
    b"---\n", b"...\n", b"&a ", b"*a", b"<<: *a\n", b"? ", b"!!binary ",
    b"!!python/object:os.system ", b"!!float ", b"!!str ", b"1:2:3:4:5:6:7:8", b"190:20:30",
    b"0o17", b"017", b"0x1f", b"1e400", b"-.inf", b".nan", b"no", b"null", b"~",
    b"2026-11-03T04:05:06Z", b"2026-11-03 04:05:06 +5", b"9999999999d", b'"\\x00"', b'"\\ud800"',
    b'"\\U00110000"', b"%YAML 1.1\n", b"[" * 120, b"{a: " * 60, b"\t", b"# c\n", b"|\n", b">-\n",
    b"Deployment", b"replicas: ", b'"ipam.spidernet.io/ippool": \'{"ipv4": ["a"]}\'', b"Pod",
    b"status: {allocatedIPs: '{}'}", b"SpiderEndpoint", b"address,owner", b"a=1;b=2", b"&#x2c",
    b"4294967295", b"255", b"9223372036854775807", b"999999999999999999999999",
    b'{"t": 1, "a": ""}', b"10.0.0.1", b"fd00::1", b"fd00::/64", b'""', b'"\n"', b"\r\n",
    b"\xef\xbb\xbf", b"\x85",
)  # fmt: skip


def mutate(data: bytes, random: Random) -> bytes:
    """Mostly the content; seldom how it is read."""
    how, _, content = data.partition(b"\n")
    if random.randrange(20) == 0:
        how = random.choice(list(READERS))
    return b"%s\n%s" % (how, changed_content(content, random))


def changed_content(content: bytes, random: Random) -> bytes:
    """A file with a value replaced, where it has values; or just other bytes."""
    values = list(_VALUE.finditer(content))
    if not values or random.randrange(3) == 0:
        return changed(content, random, _WORDS)
    for found in sorted(random.sample(values, min(len(values), random.choice((1, 1, 2)))),
                        key=lambda found: -found.start()):  # fmt: skip
        put = random.choice((*_WORDS, random.choice(values)[0]))
        content = content[: found.start()] + put.strip() + content[found.end() :]
    return content[:INPUT_BYTES_MAX]


TARGET: Final = Target("manifests", check, mutate)
