"""What every question of `history` shares: its times, checked, and the local history, asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import click

from engine.errors import InvalidInput
from ipledger.cli.settings import Command, Settings

if TYPE_CHECKING:
    from replay.history.queries import History, Span

Answer = TypeVar("Answer")

_ROWS = (
    ("--at", "at", "What was so then: RFC 3339, or relative such as -2h."),
    ("--from", "start", "What was so then or later."),
    ("--to", "end", "What was so before that time."),
    ("--known-at", "known_at", "As the ledger knew it then, without what it was told later [now]."),
)


def TIMES(command: Command) -> Command:  # noqa: N802 - a list of options, used as a decorator
    """Add the options that say which time is asked for, on both axes."""
    for name, variable, told in reversed(_ROWS):
        command = click.option(name, variable, metavar="TIME", help=told)(command)
    return command


class Times(NamedTuple):
    """Which time is asked for, as it was typed."""

    at: str | None
    start: str | None
    end: str | None
    known_at: str | None


class Asked(NamedTuple):
    """Which time was asked for, and the position that the answer is as of.

    ``is_moment`` tells whether one moment is meant (``--at``, or now), and not a span.
    """

    at_ms: int | None
    span: Span
    now_ms: int
    first_ms: int
    position: int

    @property
    def is_moment(self) -> bool:
        """Whether it makes sense to say why nobody held something."""
        return self.at_ms is not None or (self.span.from_ms is None and self.span.to_ms is None)

    @property
    def drawn(self) -> tuple[int | None, int]:
        """From when to when a timeline goes, where it is known before what is drawn."""
        end_ms = self.now_ms if self.span.to_ms is None else self.span.to_ms
        if self.at_ms is not None:
            return None, self.now_ms
        return self.span.from_ms, end_ms


def ask_history(
    settings: Settings, times: Times, query: Callable[[History, Asked], Answer]
) -> Answer:
    """Ask the local history, brought up to date; each time is checked against its first event.

    Raises:
        InvalidInput: a time is none, has no zone, lies in the future or before all that is known,
            or a range is reversed.
        LedgerError: the history cannot be had.
    """
    from ipledger.cli.progress import Progress
    from ipledger.histories import ask
    from ipledger.times import parse_time
    from replay.history.queries import Span

    at, start, end, _ = times
    if at is not None and (start is not None or end is not None):
        message = "--at is a moment, --from and --to are a range"
        raise InvalidInput(message, "leave one of them out")
    now_ms = time.time_ns() // 1_000_000

    def parsed(text: str | None) -> int | None:
        return None if text is None else parse_time(text, now_ms)

    at_ms, from_ms, to_ms, known_at_ms = map(parsed, times)
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        how = "is empty" if from_ms == to_ms else "is reversed"
        message = f"the range from {start} to {end} {how}"
        raise InvalidInput(message, "--from is the earlier time; --to itself is not in the range")

    def checked(told: History) -> Answer:
        latest_ms = max(now_ms, told.checkpoint.anchor.ms)  # the server's clock may be ahead
        names = [row[0] for row in _ROWS]
        found = (at_ms, from_ms, to_ms, known_at_ms)
        for name, text, ms in zip(names, times, found, strict=True):
            _check(told, name, text, ms, latest_ms)
        span = Span(from_ms, to_ms, known_at_ms)
        if at_ms is not None:
            span = Span.at(at_ms, known_at_ms)
        return query(told, Asked(at_ms, span, latest_ms, told.first_ms, told.position))

    with ExitStack() as stack:

        def progress(end_position: int) -> Callable[[int], None]:
            shown: list[Progress] = []

            def come_to(position: int) -> None:
                if not shown:
                    what = Progress("reading history", end_position, begin=position)
                    shown.append(stack.enter_context(what))
                shown[0](position)

            return come_to

        return ask(settings, checked, tell=_tell, progress=progress)


def _tell(what: str) -> None:
    click.echo(f"ipledger: {what}", err=True)


def _check(told: History, name: str, text: str | None, ms: int | None, latest_ms: int) -> None:
    from ipledger.times import format_ms

    if ms is None or not told.position:
        return
    if ms > latest_ms:
        message = f"{name} {text} lies in the future"
        raise InvalidInput(message, "history is what was; give a time that has passed")
    # What is true may be so since before the first event; what was told was told with one.
    earliest_ms = told.first_ms if name == "--known-at" else told.earliest_ms
    if name != "--from" and ms < earliest_ms:
        message = f"{name} {text} lies before all that the ledger knows"
        first = f"the first event is of {format_ms(told.first_ms)}"
        if earliest_ms < told.first_ms:
            first += f", and speaks of nothing before {format_ms(earliest_ms)}"
        raise InvalidInput(message, first)
