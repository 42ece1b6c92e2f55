"""Wrong histories, made by hand out of an honest one: the checker finds each of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

import ipledger
from engine.entry import RawEntry
from engine.errors import Refusal
from engine.memory_stream import MemoryStream
from tests.checker.bounds import Seen
from tests.checker.checking import Broken, Log, Verdict, check
from tests.checker.history import Answered, Call, Failed, Recorder, Request, load

_POOL: Final = {
    "kind": "pool", "name": "p", "subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.2"],
}  # fmt: skip
_LATER_NS: Final = 1 << 61


class History:
    """A log, what callers were told, and ways to spoil either."""

    def __init__(self, directory: Path) -> None:
        """Two addresses are given out; the third is refused, one released, the refused served."""
        self.stream = MemoryStream(lambda: time.time_ns() // 1_000_000)
        self.ledger = ipledger.Ledger(self.stream)
        self._directory = directory
        self._number = 0
        self.seen: list[Seen] = []
        self.calls: list[Call] = []
        self.ask("made", "apply", _POOL)
        self.ask("a", "allocate", "p", owner="a")
        self.ask("b", "allocate", "p", owner="b")
        self.ask("again", "allocate", "p", owner="a")
        self.ask("refused", "allocate", "p", owner="c")
        self.ask("released", "release", 3)
        self.ask("c", "allocate", "p", owner="c")
        self.ask("renewed", "renew", 6)

    def ask(
        self, process: str, method: str, *args: Any, command_id: str = "", **options: Any
    ) -> None:
        """Call as a process does, and take down what it is told."""
        self._number += 1
        path = self._directory / f"{self._number}.calls"
        options["command_id"] = command_id or f"{process} {self._number}"
        with Recorder(path, process, self.ledger) as recorder:
            recorder.call(Request(method, list(args), options))
        self.calls = sorted(load(self._directory), key=lambda call: call.began_ns)

    def at(self, process: str) -> int:
        """Which call a process made."""
        return next(at for at, call in enumerate(self.calls) if call.process == process)

    def change(self, process: str, **fields: Any) -> None:
        """Let a call have been otherwise."""
        at = self.at(process)
        self.calls[at] = self.calls[at]._replace(**fields)

    @property
    def entries(self) -> list[RawEntry]:
        """The log."""
        return self.stream.entries

    def check(self) -> Verdict:
        """What the checker says of it."""
        return check(self.calls, [Log(self.entries)], self.seen)


@pytest.fixture
def history(tmp_path: Path) -> History:
    """An honest one."""
    return History(tmp_path)


def test_an_honest_history_is_sound(history: History) -> None:
    """Every call is counted as what it was told."""
    verdict = history.check()
    assert verdict == Verdict(
        calls=8, acknowledged=5, already_so=2, refused=1, unknown=0, unavailable=0, integrity=0,
        entries=6, lost=0,
    )  # fmt: skip


@pytest.mark.parametrize("outcome", [None, Failed("unknown", ""), Failed("integrity", "")])
def test_what_is_in_doubt_may_stand_or_not(history: History, outcome: Failed | None) -> None:
    """A call that never returned, or whose outcome is unknown, is right either way."""
    history.change("c", outcome=outcome)
    history.check()
    history.calls[history.at("renewed")] = history.calls[history.at("c")]._replace(
        request=Request("allocate", ["p"], {"owner": "z", "command_id": "not there"})
    )
    assert history.check().calls == 8


def _acknowledged_and_not_there(history: History) -> None:
    del history.entries[-1]  # the commit that `c` was told of


def _there_and_nobodys(history: History) -> None:
    del history.calls[history.at("c")]


def _there_and_asked_otherwise(history: History) -> None:
    request = history.calls[history.at("c")].request
    history.change("c", request=request._replace(options={**request.options, "owner": "d"}))


def _told_otherwise(history: History) -> None:
    outcome = history.calls[history.at("c")].outcome
    assert isinstance(outcome, Answered)
    history.change("c", outcome=Answered(outcome.text.replace("10.0.0.", "10.0.1.")))
    history.change("b", outcome=Answered("Allocated(granted=(), held=(9,), repeated=False)"))


def _unavailable_and_there(history: History) -> None:
    history.change("c", outcome=Failed("unavailable", ""))


def _refused_and_there(history: History) -> None:
    history.change("c", outcome=history.calls[history.at("refused")].outcome)


def _committed_again(history: History) -> None:
    """The entries of a commit stand there once more, behind it."""
    history.ask("d", "release", owner="b", command_id="first")
    history.ask("d", "allocate", "p", owner="b", command_id="second")
    history.ledger.state.commands._by_key.clear()
    history.ask("d", "release", owner="b", command_id="first")


def _unknown_and_twice(history: History) -> None:
    _committed_again(history)
    history.calls = [
        call._replace(outcome=Failed("unknown", "")) if call.process == "d" else call
        for call in history.calls
    ]


def _refused_from_an_old_state(history: History) -> None:
    """When it began, the release had returned that made room."""
    released = history.calls[history.at("released")].returned_ns
    history.change("refused", began_ns=released + 1, returned_ns=_LATER_NS)


def _held_from_an_old_state(history: History) -> None:
    """When it began, the lease had been released."""
    released = history.calls[history.at("released")].returned_ns
    history.change("again", began_ns=released + 1, returned_ns=_LATER_NS)


def _refused_from_a_state_to_come(history: History) -> None:
    """When it returned, nobody had asked yet for what it was refused for."""
    asked = history.calls[history.at("b")].began_ns
    history.change("refused", began_ns=asked - 2, returned_ns=asked - 1)


def _old_by_what_was_watched(history: History) -> None:
    """No call had returned, but somebody had seen where the stream ended."""
    history.change("released", returned_ns=_LATER_NS)
    history.change("c", began_ns=_LATER_NS - 2, returned_ns=_LATER_NS)
    history.change("renewed", returned_ns=_LATER_NS)
    began = history.calls[history.at("released")].began_ns
    history.seen.append(Seen(began + 1, began + 2, 5))
    history.change("refused", began_ns=began + 3, returned_ns=_LATER_NS)


def _out_of_order(history: History) -> None:
    """`c` had returned before `b`, whose entry stands before its own, began."""
    history.change("b", began_ns=_LATER_NS, returned_ns=_LATER_NS + 1)


def _written_before_it_was_seen(history: History) -> None:
    """Somebody saw a stream that ended before an entry, after it had been acknowledged."""
    last = max(call.returned_ns for call in history.calls)
    history.seen.append(Seen(last + 1, last + 2, 4))


def _no_answer_of_the_api(history: History) -> None:
    history.change("refused", outcome=Failed("died", "KeyError()"))


def _a_hole(history: History) -> None:
    del history.entries[3]


_PLANTED: Final[dict[Callable[[History], None], str]] = {
    _acknowledged_and_not_there: "was true of no state",
    _there_and_nobodys: "asked for by nobody",
    _there_and_asked_otherwise: "asked for by nobody",
    _told_otherwise: "this stands at position",
    _unavailable_and_there: "this stands at position 6",
    _refused_and_there: "this stands at position 6",
    _committed_again: "repeats the one at position 7",
    _unknown_and_twice: "repeats the one at position 7",
    _refused_from_an_old_state: "was true of no state from position 5",
    _held_from_an_old_state: "was true of no state from position 5",
    _refused_from_a_state_to_come: "was true of no state from position 3 to 3",
    _old_by_what_was_watched: "was true of no state from position 5",
    _out_of_order: "this stands at positions 4 to 4",
    _written_before_it_was_seen: "this stands at positions",
    _no_answer_of_the_api: "no answer that the API promises",
    _a_hole: "the log cannot be read",
}


@pytest.mark.parametrize(("spoil", "says"), _PLANTED.items())
def test_a_wrong_history_is_found(
    history: History, spoil: Callable[[History], None], says: str
) -> None:
    """Whatever contradicts the log, and says which."""
    spoil(history)
    with pytest.raises(Broken, match=says):
        history.check()


def test_an_answer_to_a_repeated_command_is_its_first_one(history: History) -> None:
    """The same command again is told of the same entries; another under its id is refused."""
    first = history.calls[history.at("a")].request.options["command_id"]
    history.ask("repeats", "allocate", "p", owner="a", command_id=first)
    history.ask("reuses", "allocate", "p", owner="another", command_id=first)
    outcome = history.calls[history.at("reuses")].outcome
    assert isinstance(outcome, Refusal)
    assert outcome.kind == "conflict"
    verdict = history.check()
    assert (verdict.acknowledged, verdict.refused) == (6, 2)
    # It was the commit of `a` that is told, and not one that anybody made when it was repeated.
    history.change("a", outcome=Failed("unavailable", ""))
    with pytest.raises(Broken):
        history.check()


def _after_a_loss(history: History, *outcomes: Answered | Refusal | Failed) -> Verdict:
    """The last entry, which `c` was told of, is lost; then `c` asks again."""
    history.calls = [call for call in history.calls if call.process != "renewed"]
    last = max(history.calls, key=lambda call: call.returned_ns)
    lost_ns = last.returned_ns + 1
    logs = [Log(history.entries, 0, lost_ns), Log(history.entries[:-1], lost_ns + 1)]
    later = [
        Call(
            "c", Request("renew", [4], {"command_id": f"later {at_ns}"}), 6,
            at_ns, last.began_ms, at_ns + 1, last.returned_ms, outcome,
        )
        for at_ns, outcome in enumerate(outcomes, lost_ns + 10)
    ]  # fmt: skip
    return check(history.calls + later, logs)


def test_who_saw_what_was_lost_must_stop(history: History) -> None:
    """An answer that rests on what is left is no answer to somebody who has seen more."""
    told = Failed("integrity", "")
    assert _after_a_loss(history, told, told).lost == 1
    with pytest.raises(Broken, match="and was never told"):
        _after_a_loss(history, Failed("unavailable", ""))
    with pytest.raises(Broken, match="and went on"):
        _after_a_loss(history, told, Answered("None"))


def test_what_rests_on_what_nobody_can_read_is_not_judged(history: History) -> None:
    """Of a log whose end is gone, it is not; what was answered before that end is held to it."""
    lost_ns = max(call.returned_ns for call in history.calls) + 1
    left = history.entries[:-1]
    logs = [Log(left, 0, lost_ns, torn=True), Log(left, lost_ns + 1)]
    verdict = check(history.calls, logs)
    assert (verdict.acknowledged, verdict.unjudged) == (4, 2)
    history.change("refused", outcome=Refusal("not_found", "no pool p", "", "p"))
    asked = history.calls[history.at("released")].began_ns
    history.seen.append(Seen(asked - 2, asked - 1, 4))  # it was refused before that was lost
    with pytest.raises(Broken, match="was true of no state"):
        check(history.calls, logs, history.seen)
