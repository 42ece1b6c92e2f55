"""What callers did and were told, written down around each call, and read again.

A call is noted before it is made and its answer after it came, each with the time of the one clock
that all processes of a machine share; so a caller that dies leaves a call without an answer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TextIO

import ipledger
from engine.errors import Refusal
from ipledger import operations
from ipledger.operation import Operation

FOREVER_NS: Final = 1 << 63


class Request(NamedTuple):
    """A method of the public API and what it is called with, in what JSON can hold."""

    method: str
    args: list[Any]
    options: dict[str, Any]

    @property
    def values(self) -> list[Any]:
        """The positional arguments, with the definitions that `apply` takes."""
        return [_value(arg) for arg in self.args]

    def operation(self) -> Operation[Any]:
        """The command that the method makes, and the way to read its answer."""
        made: Operation[Any] = getattr(operations, self.method)(*self.values, **self.options)
        return made


def _value(arg: Any) -> Any:
    if not isinstance(arg, dict):
        return arg
    fields = dict(arg)
    kind, name = fields.pop("kind"), fields.pop("name")
    if fields.pop("target", False):
        return ipledger.Target(kind, name)
    return getattr(ipledger, kind)(name, **fields)


class Answered(NamedTuple):
    """It was done, or was so already: the answer as Python prints it, to its last field."""

    text: str


class Failed(NamedTuple):
    """An error of this kind; `died` if it was none that the API promises."""

    kind: str
    message: str


class Call(NamedTuple):
    """A call as its caller saw it. Without an outcome it never returned."""

    process: str
    request: Request
    seen: int  # the position that the process had seen before it
    began_ns: int
    began_ms: int
    returned_ns: int = FOREVER_NS
    returned_ms: int = 0
    outcome: Answered | Refusal | Failed | None = None


class Recorder:
    """Calls a ledger, and notes what it is told; one for each thread."""

    def __init__(self, path: Path, process: str, ledger: ipledger.Ledger) -> None:
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._process = process
        self._ledger = ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._file.close()

    def call(self, request: Request) -> tuple[Any, Answered | Refusal | Failed]:
        """Call; return the answer, and what was noted of it."""
        seen = self._ledger.position
        began = time.monotonic_ns(), _now_ms()
        self._note("call", self._process, *request, seen, *began)
        answer: Any = None
        outcome: Answered | Refusal | Failed
        try:
            answer = getattr(self._ledger, request.method)(*request.values, **request.options)
            outcome = Answered(repr(answer))
        except ipledger.Refused as error:
            outcome = error.refusal
        except ipledger.LedgerError as error:
            outcome = Failed(error.kind, f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - whatever escapes is what is looked for
            outcome = Failed("died", repr(error))
        returned = time.monotonic_ns(), _now_ms()
        self._note("return", *returned, type(outcome).__name__, *outcome)
        return answer, outcome

    def _note(self, *what: Any) -> None:
        self._file.write(json.dumps(what) + "\n")
        self._file.flush()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def load(directory: Path) -> list[Call]:
    """All that was noted in a directory."""
    return [call for path in sorted(directory.glob("*.calls")) for call in _load(path)]


def _load(path: Path) -> Iterator[Call]:
    call: Call | None = None
    for line in path.read_text("utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            break  # whoever wrote it was killed
        what, *told = json.loads(line)
        if what == "call":
            process, method, args, options, seen, began_ns, began_ms = told
            call = Call(process, Request(method, args, options), seen, began_ns, began_ms)
            continue
        assert call is not None, "a call was noted before its return"
        returned_ns, returned_ms, name, *fields = told
        made = {"Answered": Answered, "Refusal": Refusal, "Failed": Failed}[name]
        yield call._replace(returned_ns=returned_ns, returned_ms=returned_ms, outcome=made(*fields))
        call = None
    if call is not None:
        yield call
