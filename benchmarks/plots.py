"""The pictures of the report: the same figures give the same bytes."""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.targets import Figure, Saved, figures_of, named

_OURS: Final = "#0b5fa5"
_OTHERS: Final = ("#c2571a", "#8a8a00", "#8c3fa0", "#b3261e", "#2e7d32", "#6d6d6d", "#00838f")
_SIZE_INCHES: Final = (9.0, 4.8)


class Line(NamedTuple):
    """What is drawn under one name; what is ours is drawn thicker, a ceiling dashed."""

    name: str
    points: tuple[tuple[float, float], ...]
    ours: bool = False
    ceiling: bool = False


class Plot(NamedTuple):
    """A picture, and how its axes are to be read."""

    file: str
    title: str
    across: str
    up: str
    lines: tuple[Line, ...]
    log_across: bool = True
    log_up: bool = True


ByFill = dict[str, dict[int, Figure]]  # by name, by fill in percent


def installed() -> bool:
    """Whether there is something to draw with."""
    return importlib.util.find_spec("matplotlib") is not None


def fills(peers: Iterable[Figure]) -> ByFill:
    """What acquiring costs each peer, by fill in percent."""
    found: ByFill = {}
    for figure in peers:
        peer, _, what = figure["name"].partition(": ")
        if what.startswith("acquire at "):
            found.setdefault(peer, {})[figure["sizes"]["percent"]] = figure
    return found


def bare_writes(peers: Iterable[Figure]) -> ByFill:
    """What the bare writes cost in the same turns, by fill in percent."""
    found: ByFill = {}
    for figure in peers:
        bare, _, fill = figure["name"].partition(", beside ")
        if fill and "percent" in figure["sizes"]:
            found.setdefault(bare, {})[figure["sizes"]["percent"]] = figure
    return found


def _by_fill(by_fill: Mapping[int, Figure]) -> tuple[tuple[float, float], ...]:
    return tuple((percent, figure["p50_ms"]) for percent, figure in sorted(by_fill.items()))


def _fill_plot(reports: Sequence[Saved]) -> Plot:
    peers = figures_of(reports, "peers")
    lines = [
        *(Line(peer, _by_fill(found), peer == "ipledger") for peer, found in fills(peers).items()),
        *(Line(name, _by_fill(found), ceiling=True) for name, found in bare_writes(peers).items()),
    ]
    title = "One caller asks for the lowest free address of a prefix that is so full"
    return Plot("fill.svg", title, "taken, %", "median, ms", tuple(lines), log_across=False)


def _replay_plot(reports: Sequence[Saved]) -> Plot:
    def line(start: str, name: str, **how: bool) -> Line:
        found = named(figures_of(reports, "lengths"), start)
        points = tuple((each["sizes"]["events"], each["p50_ms"] / 1_000) for each in found)
        return Line(name, points, **how)

    lines = (
        line("the whole state, ", "ipledger: the whole state", ours=True),
        line("the free sets, ", "ipledger: the free sets", ours=True),
        line("XRANGE", "XRANGE and unpacking, nothing checked or kept", ceiling=True),
    )
    title = "A stream of so many events is read, checked and folded anew"
    return Plot("replay.svg", title, "events", "median, s", lines)


def _batch_plot(reports: Sequence[Saved]) -> Plot:
    def line(start: str, name: str, **how: bool) -> Line:
        found = named(figures_of(reports, "append"), start)
        return Line(name, tuple((each["items"], each["rate_per_s"]) for each in found), **how)

    lines = (
        line("RedisStream.append", "RedisStream.append", ours=True),
        line("append.lua", "append.lua by raw EVALSHA", ceiling=True),
        line("pipeline of XADD", "a pipeline of XADD, no condition", ceiling=True),
    )
    title = "Ready-made events reach the stream, so many in a round trip"
    return Plot("batch.svg", title, "events in a round trip", "events a second", lines)


def plots(reports: Sequence[Saved]) -> Iterable[Plot]:
    """All pictures for which there are figures."""
    for plot in (_fill_plot(reports), _batch_plot(reports), _replay_plot(reports)):
        lines = tuple(line for line in plot.lines if line.points)
        if lines:
            yield plot._replace(lines=lines)


def draw(plot: Plot) -> str:
    """The picture as SVG, without a date and with ids that do not change."""
    # The object-oriented interface: pyplot would choose a backend and keep every figure alive.
    settings = {"svg.hashsalt": "ipledger", "svg.fonttype": "none", "font.size": 9}
    matplotlib = importlib.import_module("matplotlib")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the reader's own settings are
        matplotlib.rcParams.update(settings)
        figure = importlib.import_module("matplotlib.figure").Figure(_SIZE_INCHES)
        axes = figure.add_subplot()
        _draw_lines(axes, plot.lines)
        axes.set_title(plot.title, loc="left")
        axes.set_xlabel(plot.across)
        axes.set_ylabel(plot.up)
        axes.set_xscale("log" if plot.log_across else "linear")
        axes.set_yscale("log" if plot.log_up else "linear")
        axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        into = io.StringIO()
        figure.savefig(
            into, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None}
        )
    return "".join(f"{line.rstrip()}\n" for line in into.getvalue().splitlines())


def _draw_lines(axes: Any, lines: Sequence[Line]) -> None:
    others = iter(_OTHERS)
    shades = iter((_OURS, "#5aa0d6"))
    dashes = iter(("--", ":", "-."))
    for line in lines:
        if line.ours:
            how: dict[str, Any] = {"color": next(shades), "linewidth": 2.6, "zorder": 3}
        elif line.ceiling:
            how = {"color": "#444444", "linewidth": 1.0, "linestyle": next(dashes)}
        else:
            how = {"color": next(others), "linewidth": 1.3}
        across, up = zip(*line.points, strict=True)
        marker = "" if line.ceiling else "o"
        axes.plot(across, up, label=line.name, marker=marker, markersize=3.5, **how)


def write(reports: Sequence[Saved], directory: Path) -> list[Plot]:
    """Draw all pictures into a directory; return what there is."""
    drawn = list(plots(reports))
    directory.mkdir(parents=True, exist_ok=True)
    for plot in drawn:
        (directory / plot.file).write_text(draw(plot), "utf-8")
    return drawn
