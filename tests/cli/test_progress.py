"""Long work says how far it has come, on stderr; short work says nothing."""

from __future__ import annotations

import io

import pytest

from ipledger.cli.progress import Progress


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        """As a terminal does."""
        return True


class Closed(io.StringIO):
    """A stream that nobody reads any more."""

    def write(self, text: str) -> int:
        """Fail as a closed pipe does."""
        raise BrokenPipeError(text)


def test_short_work_says_nothing() -> None:
    """Within a second a terminal stays as it is, and within ten a log does."""
    for out, quiet_s in ((Terminal(), 0.9), (io.StringIO(), 9.9)):
        clock = Clock()
        with Progress("replaying", 1_000, out=out, clock_s=clock) as progress:
            clock.now_s += quiet_s
            progress(900)
        assert out.getvalue() == ""


def test_a_terminal_has_one_line_that_is_wiped_at_the_end() -> None:
    """Drawn again from its margin, never longer than what wipes it."""
    out, clock = Terminal(), Clock()
    with Progress("replaying", 1_000, out=out, clock_s=clock) as progress:
        clock.now_s += 2
        progress(400)
        first = "replaying: 400 of 1,000 events (40 %), 200/s, 3 s left"
        assert out.getvalue() == f"\r{first}"
        clock.now_s += 0.1
        progress(420)
        assert out.getvalue() == f"\r{first}", "not more often than it can be read"
        clock.now_s += 0.2
        progress(999)
    assert "\n" not in out.getvalue()
    drawn = out.getvalue().split("\r")
    assert drawn[-1] == ""
    assert drawn[-2].strip() == ""
    assert len(drawn[-2]) >= len(drawn[-3].rstrip())


def test_a_narrow_terminal_is_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that wraps could not be drawn again."""
    monkeypatch.setenv("COLUMNS", "20")
    out, clock = Terminal(), Clock()
    with Progress("replaying", 1_000, out=out, clock_s=clock) as progress:
        clock.now_s += 2
        progress(400)
    assert max(map(len, out.getvalue().split("\r"))) == 19


def test_a_log_has_a_line_every_ten_seconds() -> None:
    """Whole lines, in plain text."""
    out, clock = io.StringIO(), Clock()
    with Progress("rebuilding", 1_000, out=out, clock_s=clock, begin=500) as progress:
        for _ in range(25):
            clock.now_s += 1
            progress(600)
    assert out.getvalue().splitlines() == [
        "ipledger: rebuilding: 600 of 1,000 events (60 %), 10/s, 40 s left",
        "ipledger: rebuilding: 600 of 1,000 events (60 %), 5/s, 1 min 20 s left",
    ]


def test_work_of_unknown_size_has_a_rate_only() -> None:
    """No percentage and no time left are made up."""
    out, clock = Terminal(), Clock()
    with Progress("attributing", unit="records", out=out, clock_s=clock) as progress:
        clock.now_s += 2
        progress(3_000_000)
    assert "attributing: 3,000,000 records, 1,500,000/s" in out.getvalue()


def test_a_reader_that_went_away_does_not_end_the_work() -> None:
    """Progress is beside the point of the work."""
    clock = Clock()
    with Progress("replaying", 10, out=Closed(), clock_s=clock) as progress:
        clock.now_s += 20
        progress(5)
        clock.now_s += 20
        progress(6)


@pytest.mark.parametrize(
    ("done", "spent_s", "told"),
    [(0, 5, "0 of 100 events (0 %)"), (1, 3_600, "99 h 0 min left"), (150, 5, "(100 %)")],
)
def test_odd_figures(done: int, spent_s: int, told: str) -> None:
    """Nothing done yet, very slow work, and more done than was expected."""
    progress = Progress("x", 100, out=io.StringIO(), clock_s=lambda: 0.0)
    assert told in progress.line(done, float(spent_s))
