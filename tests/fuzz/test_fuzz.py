"""Nothing that is kept, and nothing that a few seconds of chance make up, breaks a promise.

`python -m tests.fuzz` goes on for longer, by coverage. What it finds is put into the corpus with a
name that says what it is.
"""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from engine import addresses, wire
from engine.errors import AddressError, DamagedEntry, Unavailable
from ipledger.cli import root
from ipledger.manifests import documents, fields
from tests.fuzz import decoder
from tests.fuzz.running import CORPUS, TARGETS, Failure, corpus, failure_of, fuzz, opened
from tests.fuzz.target import Target
from tests.servers import bundled_program

ROOT: Final = Path(__file__).parents[2]
# So many inputs of each take two to four seconds; a planted defect is found within as many.
TRIED: Final = {"decoder": 4_000, "ranges": 8_000, "manifests": 12_000, "arguments": 400}
INPUT_KIB_MAX: Final = 16 * 1024  # of memory, for an input of some KiB


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """Each target, with the server that it needs."""
    if request.param == "arguments":
        try:
            bundled_program()
        except Unavailable as error:
            pytest.skip(f"no bundled server here: {error}")
    with opened(request.param) as found:
        yield found


def told(failure: Failure) -> str:
    """A failure for who reads the test's output: the input can be pasted into a file."""
    return f"{failure.says}\n\n{failure.data!r}"


def test_the_whole_corpus_is_taken(target: Target) -> None:
    """Each file by itself, so that one failure does not hide another."""
    failures = {
        name: told(failure)
        for name, data in corpus(target.name).items()
        if (failure := failure_of(target, data)) is not None
    }
    assert not failures, "\n".join(f"{name}: {says}" for name, says in failures.items())


def test_what_chance_makes_up_is_taken(target: Target) -> None:
    """The same inputs on every run: a change that breaks a promise fails at once, and always."""
    tried, failure = fuzz(target, 0, lambda tried: tried < TRIED[target.name])
    assert failure is None, f"input {tried}: {told(failure)}"


@pytest.mark.parametrize("of", ["decoder", "ranges", "manifests"])
def test_no_input_takes_much_memory(of: str) -> None:
    """However long it says that it is, and however often an alias repeats."""
    with opened(of) as target:
        _check_memory(target)


def _check_memory(target: Target) -> None:
    for name, data in corpus(target.name).items():
        target.check(data)  # what is made once, and kept, is made now
        tracemalloc.start()
        try:
            target.check(data)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < INPUT_KIB_MAX * 1024, name


@pytest.mark.parametrize("entry", ["10.{}.{}.1-10.{}.{}.9", "fd00:{}:{}::-fd00:{}:{}::ffff"])
def test_a_list_costs_by_its_entries(entry: str) -> None:
    """Eight times as many entries are eight times as many calls, not sixty-four times."""
    calls = [_calls_to_read(entry, number) for number in (200, 1_600)]
    assert calls[1] < 8.5 * calls[0]


def _calls_to_read(entry: str, number: int) -> int:
    """How many functions are called to read, combine and write a list: no clock is asked."""
    entries = [entry.format(*divmod(n, 200), *divmod(n, 200)) for n in range(number)]
    calls = 0

    def count(_frame: object, _event: str, _argument: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        read = addresses.RangeSet.parse(entries)
        texts = ((read - addresses.RangeSet.parse(entries[::2])) | read).texts()
    finally:
        sys.setprofile(None)
    assert len(texts) == number
    return calls


def test_the_corpus_is_small() -> None:
    """Who reads it sees what each file is about; and every target has one."""
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    for name in TARGETS:
        for file, data in corpus(name).items():
            assert len(data) <= 2_048, f"{name}/{file}"


def test_every_kind_of_event_is_read_and_shown() -> None:
    """The decoder's beginnings are good entries still: chance goes on from there."""
    for data in decoder.seeds():
        for raw in decoder.entries_of(data):
            assert wire.decode_entry(raw).position == raw.position


# --- Defects put in by hand, each of which must be found ------------------------------------------

Plant = Callable[[pytest.MonkeyPatch], None]


def _take_trailing_bytes(patch: pytest.MonkeyPatch) -> None:
    """The decoder reads the first value of a field, and whatever follows it is ignored."""
    unpack = wire._unpack

    def lenient(data: bytes, bytes_max: int, field: str, position: int) -> tuple[Any, ...]:
        for end in range(len(data), max(0, len(data) - 3), -1):
            try:
                return unpack(data[:end], bytes_max, field, position)
            except DamagedEntry:
                continue
        return unpack(data, bytes_max, field, position)

    patch.setattr(wire, "_unpack", lenient)


def _let_a_wrong_header_escape(patch: pytest.MonkeyPatch) -> None:
    """A header is not looked at before it is used."""
    patch.setattr(wire, "_header_well_formed", lambda header: len(header.command) == 16)


def _swap_the_ends_of_a_range(patch: pytest.MonkeyPatch) -> None:
    """A reversed range is read as if it had been written the right way round."""
    read_entry = addresses._read_entry

    def obliging(entry: str, *, allow_cidr: bool) -> tuple[Any, int, int]:
        first, dash, last = entry.partition("-")
        try:
            return read_entry(entry, allow_cidr=allow_cidr)
        except AddressError:
            return read_entry(f"{last}{dash}{first}", allow_cidr=allow_cidr)

    patch.setattr(addresses, "_read_entry", obliging)


def _leave_out_the_last_address(patch: pytest.MonkeyPatch) -> None:
    """The end of a range is taken for what comes after it."""
    read_entry = addresses._read_entry

    def half_open(entry: str, *, allow_cidr: bool) -> tuple[Any, int, int]:
        family, first, last = read_entry(entry, allow_cidr=allow_cidr)
        return family, first, max(first, last - 1)

    patch.setattr(addresses, "_read_entry", half_open)


def _let_a_key_error_escape(patch: pytest.MonkeyPatch) -> None:
    """A field that must be there is taken for granted."""

    def trusting(self: fields.Fields, name: str, _hint: str) -> str:
        text: str = self.values[name]
        return text

    patch.setattr(fields.Fields, "required_text", trusting)


def _lose_a_duration(patch: pytest.MonkeyPatch) -> None:
    """An export leaves out how long leases are given for."""
    patch.setattr(documents, "_duration", lambda _seconds: None)


def _dump_a_traceback(patch: pytest.MonkeyPatch) -> None:
    """A command divides by what somebody typed."""
    parse_address = addresses.parse_address

    def fragile(text: str, family: Any = None) -> addresses.Address:
        assert ":" not in text, "nobody has IPv6"
        return parse_address(text, family)

    patch.setattr(addresses, "parse_address", fragile)


def _print_what_was_typed(patch: pytest.MonkeyPatch) -> None:
    """An error is printed as it is, control characters and all."""

    def careless(kind: str, message: str, hint: str, _output: str) -> str:
        return f"error ({kind}): {message}\nhint: {hint}"

    patch.setattr(root, "error_text", careless)


DEFECTS: Final[dict[str, tuple[Plant, ...]]] = {
    "decoder": (_take_trailing_bytes, _let_a_wrong_header_escape),
    "ranges": (_swap_the_ends_of_a_range, _leave_out_the_last_address),
    "manifests": (_let_a_key_error_escape, _lose_a_duration),
    "arguments": (_dump_a_traceback, _print_what_was_typed),
}


def test_defects_put_in_by_hand_are_found(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """By chance alone, without the corpus' help of knowing where to look."""
    for plant in DEFECTS[target.name]:
        with monkeypatch.context() as patch:
            plant(patch)
            _, failure = fuzz(target, 1, lambda tried: tried < TRIED[target.name], shrink=False)
        assert failure is not None, plant.__doc__


def test_the_long_form_runs() -> None:
    """Without Atheris, which is not among what the tests need; and it says what it did."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--target", "ranges", "--seconds", "1", "--plain"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith("ranges: ")
    assert "in 1 s, seeded, seed 0" in done.stdout
