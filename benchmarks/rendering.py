"""The report as Markdown: tables made from figures, and the few sentences that they need."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from benchmarks.plots import ByFill, Plot, bare_writes, fills
from benchmarks.targets import Figure, Saved, figures_of, named, only, verdicts

OURS: Final = "ipledger"
_HALF: Final = 50

_HEAD: Final = """\
# How fast, beside what

Made by `python -m benchmarks.report`. Every figure is a median of one run on one machine; no
machine is quiet all the time, and a disk decides most of it. So read ratios rather than rates: what
stands beside a figure was measured in turns with it, so that a slow moment slows both. A
**ceiling** is the least that the same durable write, or the same reading, takes without any of our
code around it.
"""
_QUICK: Final = """\
> This was a run with `--quick`, which only shows that everything works. **Its figures prove
> nothing.**
"""
_TARGETS: Final = """\
## Targets

What the project set itself, computed from the figures below. "Wanted" is what was hoped for beyond
the target. A target whose figure is missing is not met; it is not measured. What is held against a
durable write is the easier to meet the slower the disk: look at what an fsync took, below.
"""
_PEERS: Final = """\
## Beside what else there is

The same job for ipledger and for what a user would have otherwise: a /16 is filled one address at
a time, lowest first, each with its owner. All of them take turns in one run on one disk.
"""
_HELD_AGAINST: Final = (
    ("", "stored in", "survives a power cut", "history", "two processes at once", "large pools"),
    (
        OURS, "a Redis stream, another process", "yes", "all of it, checked",
        "right, on many machines, no lock", "a /8 or a v6 /64 costs what a /30 does",
    ),
    (
        "SQLite, table of free addresses", "a file", "yes", "none",
        "right, on one machine, one at a time", "a row for each free address: no /64",
    ),
    (
        "SQLite, lock and scan", "a file", "yes", "none",
        "right, on one machine, one at a time", "reads all that is taken",
    ),
    (
        "Redis, a document with WATCH", "the same server as ours", "yes", "none",
        "right, on many machines; the overtaken start anew", "reads and writes all that is taken",
    ),
    (
        "openwisp-ipam, Subnet.request_ip", "a file", "yes", "none",
        "**may get the same address**", "compares all that is taken with each candidate",
    ),
    (
        "netaddr or ipaddress in memory", "nothing", "**no**", "none",
        "**get the same addresses**", "netaddr: by the prefix; ipaddress: walks what is taken",
    ),
)  # fmt: skip
_UNLIKE: Final = """\
What is not like for like: ipledger writes history, remembers requests so that a repeated one lands
once, checks with every write that nothing was lost, and crosses to another process. SQLite does
none of that and has no round trip; a single program on a single machine that needs no history is
well served by a table of free addresses. "Lock and scan" is how NetBox and DIM use their database
servers, shown on SQLite. The document is go-ipam's pattern written in Python, not go-ipam itself.
openwisp-ipam is used as its documentation says, with Django's own settings for SQLite. Stores were
brought to a fill by the fastest way, where calls would have taken too long.
"""
_TOGETHER: Final = """\
### Sixteen callers at once

Threads of one process, each asking again when it is answered, or refused because another came
between. They share Python's lock, so that whoever computes much waits for himself. "Given out
twice" counts addresses that two callers held at the same time.
"""
_REPLAY: Final = """\
## Replay by the length of the stream

A replay reads every entry, checks it and folds it; nothing is sampled or skipped.
"""
_BATCH: Final = """\
## Appending by the size of a batch

Concurrent callers share a round trip and an fsync. Beside the bare script, and beside XADDs that
check nothing at all.
"""
_ALL: Final = """\
## All figures

Items are done in each sample; the rate is of the median. "Beside" is the share of the ceiling's
rate, or, where there is one item, how often the ceiling's time it takes.
"""


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, figures: bool = True
) -> Iterator[str]:
    """A Markdown table, names to the left and figures to the right."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(['---', *['---:' if figures else '---'] * (len(head) - 1)])}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def milliseconds(value: float) -> str:
    """A time with as many digits as it is worth."""
    return f"{value:.3f}" if value < 1 else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def share(value: float) -> str:
    """A part of a whole."""
    return f"{value * 100:.0f} %"


def _about(saved: Mapping[str, Any]) -> Iterator[str]:
    told = saved["reports"][0]
    fsync = sorted(report["fsync_us"] for report in saved["reports"])
    versions = ", ".join(f"{name} {version}" for name, version in saved["versions"].items())
    yield "## On what"
    yield ""
    yield from table(
        ("", ""),
        (
            ("machine", told["machine"]),
            ("server", told["server"]),
            ("durability", told["durability"]),
            ("disk", f"one fsync takes {fsync[0]:,} to {fsync[-1]:,} µs (median by benchmark)"),
            ("libraries", versions),
            ("commit", told["commit"] or "none"),
            ("day", saved["day"]),
        ),
        figures=False,
    )


def _targets(saved: Mapping[str, Any]) -> Iterator[str]:
    yield _TARGETS
    judged = verdicts(saved["reports"])
    quick = saved["reports"][0]["quick"]
    head = ("what", "target", "wanted", "measured", "met")
    rows = ((v.what, v.must, v.wanted, v.measured, "(quick)" if quick else v.met) for v in judged)
    yield from table(head, rows)
    missed = [verdict for verdict in judged if verdict.why]
    if missed and not quick:
        yield "Why not:"
        yield ""
        yield from (f"- {verdict.what}: {verdict.why}" for verdict in missed)
        yield ""


def _picture(drawn: Mapping[str, Plot], file: str) -> Iterator[str]:
    if file in drawn:
        yield f"![{drawn[file].title}](report/{file})"
        yield ""


def _peers(peers: Sequence[Figure], drawn: Mapping[str, Plot]) -> Iterator[str]:
    by_peer = fills(peers)
    if OURS not in by_peer:
        return
    yield _PEERS
    yield from table(_HELD_AGAINST[0], _HELD_AGAINST[1:], figures=False)
    yield _UNLIKE
    missing = next((each["note"] for each in peers if each["note"]), "")
    if missing:
        yield f"{missing[0].upper()}{missing[1:]}."
        yield ""
    yield from _picture(drawn, "fill.svg")
    yield "One caller acquires an address; median in ms by how much of the prefix is taken:"
    yield ""
    percents = sorted(by_peer[OURS])
    yield from table(
        ("", *(f"{percent} %" for percent in percents), "p99 at the last"),
        (
            (
                name,
                *(milliseconds(by_fill[percent]["p50_ms"]) for percent in percents),
                milliseconds(by_fill[percents[-1]]["p99_ms"]),
            )
            for name, by_fill in (*by_peer.items(), *bare_writes(peers).items())
        ),
    )
    yield from _faster(by_peer, percents)
    yield from _whole(peers, by_peer)
    yield from _together(peers)


def _faster(by_peer: ByFill, percents: Sequence[int]) -> Iterator[str]:
    """Who is faster than we are, said before anybody has to look for it."""
    for percent in (percents[0], percents[-1]):
        ours_ms = by_peer[OURS][percent]["p50_ms"]
        others = [
            (peer, ours_ms / by_fill[percent]["p50_ms"])
            for peer, by_fill in by_peer.items()
            if peer != OURS
        ]
        quicker = [f"{peer} ({ratio:.1f} ×)" for peer, ratio in others if ratio > 1]
        slower = [f"{peer} ({1 / ratio:.1f} ×)" for peer, ratio in others if ratio <= 1]
        said = [f"faster than ipledger: {', '.join(quicker) or 'none'}"]
        said += [f"slower: {', '.join(slower) or 'none'}"]
        yield f"For one caller at {percent} %, {'; '.join(said)}."
        yield ""


def _whole(peers: Sequence[Figure], by_peer: ByFill) -> Iterator[str]:
    yield "The whole prefix, and an address that is acquired and given back at half fill:"
    yield ""
    rows = []
    for peer, by_fill in by_peer.items():
        filled = only(peers, f"{peer}: fill, one address at a time")
        if filled is not None:
            each_ms = filled["p50_ms"] / filled["items"]
            said = _seconds(each_ms * _addresses(by_fill) / 1_000)
        else:
            said = f"about {_seconds(_estimated_s(by_fill))} (estimated)"
        pair = only(peers, f"{peer}: acquire and release at {_HALF} %")
        rows.append((peer, said, *((milliseconds(pair[p]) for p in ("p50_ms", "p99_ms"))
                                   if pair else ("–", "–"))))  # fmt: skip
    yield from table(("", "to fill it", "a pair, ms", "p99"), rows)
    yield (
        "Measured means: filled by calls, one after the other, to the last share. Estimated means: "
        "the area under the medians above."
    )
    yield ""


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 10 else f"{value:.1f} s"


def _addresses(by_fill: Mapping[int, Figure]) -> int:
    """How many addresses are taken at the last fill."""
    taken: int = by_fill[max(by_fill)]["sizes"]["taken"]
    return taken


def _estimated_s(by_fill: Mapping[int, Figure]) -> float:
    """The area under the medians, between the fills that were measured."""
    points: list[tuple[int, float]] = [
        (each["sizes"]["taken"], each["p50_ms"]) for _, each in sorted(by_fill.items())
    ]
    return sum(
        (later - taken) * (before_ms + after_ms) / 2_000
        for (taken, before_ms), (later, after_ms) in itertools.pairwise(points)
    )


def _together(peers: Sequence[Figure]) -> Iterator[str]:
    found = [each for each in peers if "given_out_twice" in each["sizes"]]
    if not found:
        return
    yield _TOGETHER
    rows = []
    for figure in found:
        waits = only(peers, f"{figure['name']}, what one waits")
        assert waits is not None, "each crowd has a figure of how long one of it waits"
        sizes = figure["sizes"]
        rows.append((
            figure["name"], f"{figure['rate_per_s']:,.0f}", milliseconds(waits["p50_ms"]),
            milliseconds(waits["p99_ms"]), f"{sizes['asked_again']:,}",
            f"{sizes['given_out_twice']:,}",
        ))  # fmt: skip
    head = ("", "addresses/s", "one waits, ms", "p99", "asked again", "given out twice")
    yield from table(head, rows)


def _lengths(reports: Sequence[Saved], drawn: Mapping[str, Plot]) -> Iterator[str]:
    whole = list(named(figures_of(reports, "lengths"), "the whole state"))
    if not whole:
        return
    yield _REPLAY
    yield from _picture(drawn, "replay.svg")
    free = {each["items"]: each for each in named(figures_of(reports, "lengths"), "the free sets")}
    yield from table(
        ("events", "the whole state, s", "of the ceiling", "the free sets, s", "of the ceiling"),
        (
            (
                f"{each['items']:,}",
                f"{each['p50_ms'] / 1_000:.3f}", share(each["of_ceiling"]),
                f"{free[each['items']]['p50_ms'] / 1_000:.3f}",
                share(free[each["items"]]["of_ceiling"]),
            )
            for each in whole
        ),
    )  # fmt: skip


def _batches(drawn: Mapping[str, Plot]) -> Iterator[str]:
    if "batch.svg" in drawn:
        yield _BATCH
        yield from _picture(drawn, "batch.svg")


def _beside(figure: Figure) -> str:
    if figure["of_ceiling"] is None:
        return ""
    if figure["items"] == 1:
        return f"{1 / figure['of_ceiling']:.2f} × the time of: {figure['ceiling']}"
    return f"{share(figure['of_ceiling'])} of: {figure['ceiling']}"


def _said(figure: Figure) -> str:
    said = [f"{what.replace('_', ' ')}: {size:,}" for what, size in figure["sizes"].items()]
    return "; ".join([*said, *([figure["note"]] if figure["note"] else [])])


def _everything(saved: Mapping[str, Any]) -> Iterator[str]:
    yield _ALL
    head = ("", "items", "samples", "rate/s", "p50 ms", "p99 ms", "beside", "sizes")
    for report in saved["reports"]:
        yield f"### {report['benchmark']}"
        yield ""
        yield from table(
            head,
            (
                (
                    figure["name"].replace("|", "\\|"),
                    f"{figure['items']:,}", f"{figure['samples']:,}",
                    f"{figure['rate_per_s']:,.0f}",
                    milliseconds(figure["p50_ms"]), milliseconds(figure["p99_ms"]),
                    _beside(figure), _said(figure),
                )
                for figure in report["figures"]
            ),
        )  # fmt: skip


def render(saved: Mapping[str, Any], drawn: Sequence[Plot]) -> str:
    """The whole report; `drawn` are the pictures that lie beside it."""
    reports = saved["reports"]
    pictures = {plot.file: plot for plot in drawn}
    lines = [_HEAD]
    if saved["reports"][0]["quick"]:
        lines.append(_QUICK)
    if not drawn:
        lines += ["There are no pictures: `pip install '.[bench]'` brings what draws them.", ""]
    lines += _targets(saved)
    lines += _about(saved)
    lines += _peers(figures_of(reports, "peers"), pictures)
    lines += _batches(pictures)
    lines += _lengths(reports, pictures)
    lines += _everything(saved)
    return "\n".join(lines).rstrip() + "\n"
