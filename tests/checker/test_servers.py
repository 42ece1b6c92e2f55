"""Real processes on a real server, and what happens to servers: every answer is held to the log.

Each test names what is promised when that happens, under `appendonly yes` and `appendfsync always`,
and shows that it did happen. Longer, and by other seeds: `python -m tests.checker --fault kill
--seconds 60`. A seed says what is asked and where a fault strikes; how processes meet is up to the
machine, so that a failure is rather likely to come again than certain.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.checker.checking import Broken
from tests.checker.faults import server_program
from tests.checker.running import Ran, run

# Where nobody should notice anything, a machine that is busy must not make a caller give up.
PATIENT_S: Final = (30.0,)


@pytest.fixture(scope="module")
def program() -> Path:
    """The server that is there."""
    return server_program()


def _run(program: Path, fault: str, **work: Any) -> Ran:
    """Run it, print what was held to what, and see that nobody met only errors."""
    ran = run(program, fault, **work)
    sys.stdout.write(f"{fault}: {ran}\n")
    verdict = ran.verdict
    assert verdict.acknowledged > 100, "there was no work"
    assert verdict.refused > 50, "nothing was refused"
    assert verdict.already_so > 20, "nothing was held already"
    return ran


def _nothing_was_lost(ran: Ran) -> None:
    assert (ran.verdict.integrity, ran.verdict.lost) == (0, 0)


def test_without_a_fault_every_answer_is_true(program: Path) -> None:
    """Processes that meet on small pools are told what the log says, refusals included."""
    ran = _run(program, "none", waits_s=PATIENT_S)
    verdict = ran.verdict
    assert (verdict.unknown, verdict.unavailable) == (0, 0)
    _nothing_was_lost(ran)


def test_a_server_that_is_killed_loses_nothing(program: Path) -> None:
    """After kill -9 and a new start, what was acknowledged stands once; others wait, or doubt."""
    ran = _run(program, "kill")
    assert ran.struck == {"killed": 4}
    _nothing_was_lost(ran)


def test_once_a_second_is_not_enough_for_a_process_that_is_killed(program: Path) -> None:
    """`appendfsync everysec`, kill -9: acknowledged entries may be lost, and then it is noticed.

    While the system is busy with its file, the server answers what it has not written yet, for up
    to two seconds. So nothing is promised but that all who saw what is gone stop as `integrity`.
    """
    ran = _run(program, "kill-everysec")
    assert ran.struck == {"killed": 1}


def test_a_server_that_keeps_nothing_is_killed(program: Path) -> None:
    """`appendonly no`, kill -9: the space is gone, and whoever saw it stops as `integrity`.

    That holds also when somebody who saw none of it has begun a space of the same name.
    """
    ran = _run(program, "kill-in-memory")
    assert ran.struck == {"entries lost": 1}
    assert ran.verdict.lost > 100
    assert ran.verdict.integrity


def test_a_writer_that_is_killed_leaves_no_half(program: Path) -> None:
    """Kill -9 of a process that writes: what it was not told of stands once, or not at all."""
    ran = _run(program, "kill-writers")
    assert ran.struck == {"writers killed": 4}
    assert ran.verdict.unknown
    _nothing_was_lost(ran)


def test_a_server_that_stands_still_leaves_callers_in_doubt(program: Path) -> None:
    """SIGSTOP for longer than the client's timeout: `unknown`, which stands once or not at all."""
    ran = _run(program, "stop")
    assert ran.struck == {"stopped": 2}
    assert ran.verdict.unknown
    _nothing_was_lost(ran)


def test_a_server_that_is_shut_down_loses_nothing(program: Path) -> None:
    """SHUTDOWN and a new start: what was acknowledged stands once, callers wait."""
    ran = _run(program, "restart")
    assert ran.struck == {"shut down": 3}
    _nothing_was_lost(ran)


def test_a_replica_with_everything_is_promoted(program: Path) -> None:
    """`replicaof no one` on a replica that has followed to the end: callers wait, no more."""
    ran = _run(program, "promote")
    assert ran.struck == {"promoted": 2}
    _nothing_was_lost(ran)


def test_a_replica_that_was_behind_is_promoted(program: Path) -> None:
    """Acknowledged entries are lost: all who saw them stop as `integrity`; nobody goes on silently.

    That holds also when somebody who saw none of it has written beyond where they had been. What
    was answered before the loss was true of the history that there was then.
    """
    ran = _run(program, "promote-behind")
    assert ran.struck == {"entries lost": 1}
    assert ran.verdict.lost > 50
    assert ran.verdict.integrity


def test_the_end_of_the_file_is_gone(program: Path) -> None:
    """As for a replica that was behind, when the append-only file lost some of its last bytes."""
    ran = _run(program, "truncate")
    assert ran.struck == {"entries lost": 1}
    assert ran.verdict.lost
    assert ran.verdict.integrity


def test_without_memory_nothing_is_written(program: Path) -> None:
    """`maxmemory` is reached under noeviction: no entry, no part of one; then work goes on."""
    ran = _run(program, "memory")
    assert ran.struck["out of memory"] >= 30
    _nothing_was_lost(ran)


def test_a_server_may_forget_its_scripts(program: Path) -> None:
    """SCRIPT FLUSH, again and again: they are sent again, and nobody notices."""
    ran = _run(program, "flush-scripts", waits_s=PATIENT_S)
    assert ran.struck["no such script"] >= 20
    verdict = ran.verdict
    assert (verdict.unknown, verdict.unavailable) == (0, 0)
    _nothing_was_lost(ran)


def test_connections_may_be_cut(program: Path) -> None:
    """CLIENT KILL of all, again and again: what was in flight lands once or not at all."""
    ran = _run(program, "kill-clients")
    assert ran.struck["connections cut"] >= 40
    _nothing_was_lost(ran)


def test_a_replica_in_place_of_the_primary(program: Path) -> None:
    """It is read-only and falls behind: no write, and no refusal either, is answered from it."""
    ran = _run(program, "replica-instead")
    assert ran.struck["read-only"] >= 100
    assert ran.verdict.unavailable
    _nothing_was_lost(ran)


@pytest.mark.parametrize(
    ("defect", "fault", "says"),
    [
        ("skip the tag check", "none", "is leased twice|contradicts|was true of no state"),
        ("refuse from a stale state", "none", "told Refusal|held="),
        ("say more than is written", "none", "told Answered"),
        ("answer before the commit", "kill-clients", "told Answered"),
    ],
)
def test_a_defect_is_found(program: Path, defect: str, fault: str, says: str) -> None:
    """What a process with a wrong script, or a hopeful writer, answers does not fit the log."""
    # Where nothing strikes, each caller is alone, so that no refusal is carried beside a write.
    threads, strikes = (1, 6) if fault == "none" else (6, 20)
    with pytest.raises(Broken, match=says):
        run(program, fault, strikes=strikes, defect=defect, threads=threads, deadline_s=3.0)
