"""Work shared among processes: in order, bounded, and never waited for in vain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest

from engine.errors import InvalidInput, LedgerError
from ipledger.farm import Farm


def doubling() -> Callable[[int], int]:
    """Prepare work that tells nothing about its order: later pieces are done sooner."""
    return _double


def _double(number: int) -> int:
    time.sleep(0.002 if number % 3 else 0.0)
    return 2 * number


def failing(how: str) -> Callable[[int], int]:
    """Prepare work that fails at the fifth piece."""
    return partial(_fail, how)


def _fail(how: str, number: int) -> int:
    if number == 5:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "refused":
            raise InvalidInput("no", "do this")
        raise RuntimeError("a bug")
    return number


def unprepared() -> Callable[[int], int]:
    """Prepare nothing: it cannot be opened."""
    raise InvalidInput("the history is gone", "again")


def test_results_come_in_order_and_few_are_out_at_once() -> None:
    """Of many pieces only some are taken from the source before the first result is used."""
    taken = 0

    def pieces() -> Iterator[int]:
        nonlocal taken
        for number in range(200):
            taken = number + 1
            yield number

    with Farm[int, int](doubling, 2) as farm:
        for done, result in enumerate(farm.results(pieces())):
            assert result == 2 * done
            assert taken - done <= 5
        assert done == 199
        assert farm.in_flight_most <= 4


def test_no_pieces_no_results() -> None:
    """Nothing is waited for."""
    with Farm[int, int](doubling, 2) as farm:
        assert list(farm.results([])) == []


@pytest.mark.parametrize(
    ("how", "kind", "told"),
    [
        ("killed", "unexpected", "ended with code -9"),
        ("refused", "invalid", "no"),
        ("bug", "unexpected", "RuntimeError: a bug"),
    ],
)
def test_a_worker_that_fails_is_an_error_and_no_wait(how: str, kind: str, told: str) -> None:
    """Killed, refused or broken: what was done before it is delivered, then it is told."""
    got: list[int] = []
    with (
        Farm[int, int](partial(failing, how), 2) as farm,
        pytest.raises(LedgerError, match=told) as caught,
    ):
        got.extend(farm.results(range(50)))
    assert caught.value.kind == kind
    assert got == list(range(len(got)))
    assert len(got) <= 5


def test_work_that_cannot_be_prepared_is_told() -> None:
    """The first piece brings the reason."""
    with Farm[int, int](unprepared, 2) as farm, pytest.raises(LedgerError, match="is gone"):
        list(farm.results(range(9)))


def test_leaving_early_ends_the_workers() -> None:
    """Also in the middle of their work."""
    with Farm[int, int](doubling, 2) as farm, closing(farm.results(range(10_000))) as results:
        assert next(results) == 0
        ids = farm.process_ids
    for process_id in ids:
        with pytest.raises(ProcessLookupError):
            os.kill(process_id, 0)


def test_workers_do_not_outlive_who_started_them() -> None:
    """Killed without a chance to clean up: their pipes end, and so do they."""
    program = (
        "import sys, time\n"
        "from ipledger.farm import Farm\n"
        "from tests.ipledger.test_farm import doubling\n"
        "if __name__ == '__main__':\n"
        "    farm = Farm(doubling, 2)\n"
        "    results = farm.results(range(9)); next(results)\n"
        "    print(*farm.process_ids, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        ids = [int(word) for word in started.stdout.readline().split()]
        started.kill()
    assert len(ids) == 2
    deadline_s = time.monotonic() + 20
    while any(map(_runs, ids)):
        assert time.monotonic() < deadline_s, "a worker is still there"
        time.sleep(0.02)


def _runs(process_id: int) -> bool:
    """Whether it runs; one that ended and was not yet buried does not."""
    try:
        with open(f"/proc/{process_id}/stat") as file:  # noqa: PTH123 - the shortest way
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
