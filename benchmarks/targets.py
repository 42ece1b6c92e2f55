"""What was promised about speed, held against what was measured: met, or not, and why not.

A target names its figure. One whose figure is not there is "not measured", never "met".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

Saved = Mapping[str, Any]  # as `benchmarks.harness.Report.as_json` gives it
Figure = Mapping[str, Any]  # one of its figures
Read = Callable[[Sequence[Figure]], "float | None"]


class Target(NamedTuple):
    """A promise about a benchmark; `why` is what keeps it from being met, when it is not.

    Attributes:
        must: the bound that was set, or None where something was only hoped for.
        wanted: what was hoped for beyond it.
        at_most: whether the bounds are upper ones.
        show: how a figure of this kind is written.
    """

    what: str
    benchmark: str
    read: Read
    at_most: bool
    must: float | None
    wanted: float | None
    show: Callable[[float], str]
    why: str = ""


class Verdict(NamedTuple):
    """A target beside its figure, in words."""

    what: str
    must: str
    wanted: str
    measured: str
    met: str
    why: str


def named(figures: Iterable[Figure], start: str) -> list[Figure]:
    """The figures whose name begins so, in the order of the report."""
    return [figure for figure in figures if figure["name"].startswith(start)]


def figures_of(reports: Iterable[Saved], benchmark: str) -> list[Figure]:
    """The figures of one benchmark; none if it was not run."""
    return [each for report in reports if report["benchmark"] == benchmark
            for each in report["figures"]]  # fmt: skip


def only(figures: Iterable[Figure], name: str) -> Figure | None:
    """The figure of exactly this name."""
    return next((figure for figure in figures if figure["name"] == name), None)


def share(name: str) -> Read:
    """A figure's rate as a share of its ceiling's."""

    def read(figures: Sequence[Figure]) -> float | None:
        figure = only(figures, name)
        return None if figure is None else figure["of_ceiling"]

    return read


def times(name: str) -> Read:
    """How often a figure takes the time of its ceiling."""

    def read(figures: Sequence[Figure]) -> float | None:
        found = share(name)(figures)
        return None if not found else 1 / found

    return read


def rate(name: str) -> Read:
    """Items a second."""

    def read(figures: Sequence[Figure]) -> float | None:
        figure = only(figures, name)
        return None if figure is None else figure["rate_per_s"]

    return read


def worst(start: str, size: str) -> Read:
    """The largest of a size that is noted beside figures whose names begin so."""

    def read(figures: Sequence[Figure]) -> float | None:
        found = [each["sizes"][size] for each in named(figures, start) if size in each["sizes"]]
        return max(found, default=None)

    return read


def slowest_block(figures: Sequence[Figure]) -> float | None:
    """The worst /28 of a fragmented /8, in the time that one address takes."""
    found = [1 / each["of_ceiling"] for each in named(figures, "a /28 in a /8")]
    return max(found, default=None)


def large_of_small(figures: Sequence[Figure]) -> float | None:
    """The slow point queries of a large history, in the time of a small one's."""
    found = [each["p99_ms"] for each in named(figures, "who held X at T, of")]
    return found[-1] / found[0] if len(found) == 2 else None


def fastest_attribution(figures: Sequence[Figure]) -> float | None:
    """Records a second, with as many workers as there are."""
    found = [each["rate_per_s"] for each in named(figures, "CSV: attribute src,")]
    return max(found, default=None)


def _percent(value: float) -> str:
    return f"{value * 100:.0f} %"


def _ratio(value: float) -> str:
    return f"{value:.2f} ×"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _mebibytes(value: float) -> str:
    return f"{value / (1 << 20):.2f} MiB"


_CALLERS: Final = "256 asyncio tasks, asking again when answered"
_REPLAY_WHY: Final = (
    "Each event is checked as it is read: its types, its tags with their SHA-256, its check value. "
    "That costs about as much as folding it, and bare unpacking has none of it."
)

_CALLERS_WHY: Final = (
    "The client is the limit: with one interpreter, deciding, encoding, folding and answering a "
    "lease take two to three times what the script takes, and the server waits for half of the "
    "time. What is left is spread over some forty steps of half a microsecond."
)
_ONE_WHY: Final = (
    "The conditional script itself takes a fifth more than one that only writes; what is left of "
    "the difference is the client's own work, done once and in cold caches."
)

_FOLD_WHY: Final = (
    f"{_REPLAY_WHY} A lease is kept as packed bytes, in two thirds of the memory that it took "
    "before, and packing it costs the fold half a microsecond an event."
)

TARGETS: Final = (
    Target(
        "256 callers of one process, of the bare append script at the same batch size",
        "allocate", share(_CALLERS), at_most=False, must=0.35, wanted=0.60, show=_percent,
        why=_CALLERS_WHY,
    ),
    Target(
        "leases a second for those 256 callers",
        "allocate", rate(_CALLERS), at_most=False, must=None, wanted=50_000, show=_count,
    ),
    Target(
        "one caller alone, in the time of a bare EVALSHA that writes the same bytes",
        "allocate", times("one caller: ledger.allocate"),
        at_most=True, must=1.5, wanted=None, show=_ratio, why=_ONE_WHY,
    ),
    Target(
        "four processes on one pool, of one process at the same batch size",
        "contention", share("four processes on one pool"),
        at_most=False, must=0.45, wanted=None, show=_percent,
    ),
    Target(
        "the slowest of the four processes, in the time of the fastest",
        "contention", worst("four processes", "slowest_of_fastest"),
        at_most=True, must=2, wanted=None, show=_ratio,
    ),
    Target(
        "refusals that the four processes got",
        "contention", worst("four processes", "refused"),
        at_most=True, must=0, wanted=None, show=_count,
    ),
    Target(
        "bytes of memory for a live lease, of 1,000,000",
        "memory", worst("", "bytes_a_lease"),
        at_most=True, must=400, wanted=200, show=_count,
    ),
    Target(
        "memory for the free set of a full /8",
        "memory", worst("", "free_set_bytes"),
        at_most=True, must=4 << 20, wanted=None, show=_mebibytes,
    ),
    Target(
        "replay to the free sets, of XRANGE and unpacking alone (34 % before)",
        "replay", share("the free sets: read, decode, check, fold"),
        at_most=False, must=0.34, wanted=0.40, show=_percent, why=_REPLAY_WHY,
    ),
    Target(
        "replay to the whole state, of XRANGE and unpacking alone (15 % before)",
        "replay", share("the whole state: read, decode, check, fold"),
        at_most=False, must=0.15, wanted=0.20, show=_percent, why=_FOLD_WHY,
    ),
    Target(
        "allocate, release and renew at any fill of any pool: slowest in the time of the fastest",
        "life", worst("", "slowest_of_fastest_median"),
        at_most=True, must=1.5, wanted=None, show=_ratio,
    ),
    Target(
        "a /28 in a fragmented /8, in the time of a single address",
        "blocks", slowest_block, at_most=True, must=3, wanted=None, show=_ratio,
    ),
    Target(
        "`ipledger allocate` on 1,000,000 events, in its time on 1,000",
        "cold", times("ipledger allocate, long stream"),
        at_most=True, must=3, wanted=None, show=_ratio,
    ),
    Target(
        "`ipledger --version`, in the time of `python -c pass`",
        "startup", times("ipledger --version"),
        at_most=True, must=3, wanted=None, show=_ratio,
    ),
    Target(
        "`ipledger get pools`, in the time of importing redis-py",
        "startup", times("ipledger get pools, server running"),
        at_most=True, must=2, wanted=None, show=_ratio,
    ),
    Target(
        "who held an address, p99 of 10,000,000 tenures in that of 100,000",
        "history", large_of_small, at_most=True, must=3, wanted=None, show=_ratio,
    ),
    Target(
        "flow records attributed in a second",
        "attribute", fastest_attribution, at_most=False, must=300_000, wanted=500_000, show=_count,
    ),
)  # fmt: skip


def judge(target: Target, figures: Sequence[Figure]) -> Verdict:
    """Hold one target against the figures of its benchmark."""
    measured = target.read(figures)
    sign = "≤" if target.at_most else "≥"
    must, wanted = (
        "–" if bound is None else f"{sign} {target.show(bound)}"
        for bound in (target.must, target.wanted)
    )
    if measured is None:
        return Verdict(target.what, must, wanted, "not measured", "–", "")

    def holds(bound: float) -> bool:
        return measured <= bound if target.at_most else measured >= bound

    met, why = "yes", ""
    if target.must is not None and not holds(target.must):
        met, why = "**no**", target.why or "No reason is on record."
    elif target.wanted is not None:
        hoped = "as hoped" if holds(target.wanted) else "less than hoped"
        met = hoped if target.must is None else f"yes, {hoped}"
    return Verdict(target.what, must, wanted, target.show(measured), met, why)


def verdicts(reports: Sequence[Saved]) -> list[Verdict]:
    """Hold every target against the figures, in the order of the issue that set them."""
    return [judge(target, figures_of(reports, target.benchmark)) for target in TARGETS]
