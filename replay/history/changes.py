"""Every change to a pool or a reservation, and which pools ever covered a block."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from engine.addresses import RangeSet, Subnet
from engine.model import PoolSpec
from replay.history.definitions import Kind, Spec, Version
from replay.history.queries import ALWAYS, History, Span


class Change(NamedTuple):
    """One change: what was defined before it and after it, whole; None is that there was nothing.

    ``what`` is ``created``, ``updated``, ``deleted`` or ``expired``.
    """

    what: str
    object_id: int
    position: int
    at_ms: int
    actor: str | None
    reason: str | None
    before: Spec | None
    after: Spec | None


def changes(history: History, kind: Kind, name: str, span: Span = ALWAYS) -> list[Change]:
    """Every change to what had that name, in the order of the stream; a name may be used again."""
    found: list[Change] = []
    before: Version | None = None
    for version in history.versions(kind, name=name):
        follows = (
            before is not None
            and before.object_id == version.object_id
            and before.ending is not None
            and before.ending.position == version.position
        )
        found.append(
            Change(
                "updated" if follows else "created", version.object_id, version.position,
                version.from_ms, version.actor, version.reason,
                before.spec if follows and before is not None else None, version.spec,
            )
        )  # fmt: skip
        ending = version.ending
        if ending is not None and ending.how != "updated":
            found.append(
                Change(ending.how, version.object_id, ending.position, ending.to_ms,
                       ending.actor, ending.reason, version.spec, None)
            )  # fmt: skip
        before = version
    found.sort(key=lambda change: change.position)
    return [change for change in found if _is_in(change.at_ms, span)]


def _is_in(at_ms: int, span: Span) -> bool:
    return (
        (span.from_ms is None or span.from_ms <= at_ms)
        and (span.to_ms is None or at_ms < span.to_ms)
        and (span.known_at_ms is None or at_ms <= span.known_at_ms)
    )


class Overlap(NamedTuple):
    """A pool had addresses of a block, from a position to a position (None: it still has)."""

    pool: str
    pool_id: int
    covered: RangeSet
    from_ms: int
    to_ms: int | None
    from_position: int
    to_position: int | None


def overlaps(history: History, block: Subnet, span: Span = ALWAYS) -> list[Overlap]:
    """Which pools could give out addresses of a block, when, and which addresses.

    Definitions of a pool that follow each other and have the same addresses of it are told as
    one. A pool that was deleted covers nothing, though its leases may last.
    """
    wanted = RangeSet(block.family, [(block.first, block.last)])
    found: list[Overlap] = []
    last: dict[int, int] = {}  # by pool: where its latest overlap stands
    for version in _known(history.versions("pool"), span.known_at_ms):
        spec = version.spec
        assert isinstance(spec, PoolSpec), "as its kind says"
        if spec.family != block.family:
            continue
        covered = spec.effective() & wanted
        if not covered:
            continue
        ending = version.ending
        to_ms, to_position = (None, None) if ending is None else (ending.to_ms, ending.position)
        at = last.get(version.object_id)
        if at is not None and found[at].covered == covered and (
            found[at].to_position == version.position
        ):  # fmt: skip
            found[at] = found[at]._replace(to_ms=to_ms, to_position=to_position)
            continue
        last[version.object_id] = len(found)
        found.append(
            Overlap(version.name, version.object_id, covered, version.from_ms, to_ms,
                    version.position, to_position)
        )  # fmt: skip
    return [overlap for overlap in found if _meets(overlap, span)]


def _known(versions: Iterable[Version], known_at_ms: int | None) -> Iterable[Version]:
    """Versions as they were known at a time: what came later had not happened."""
    if known_at_ms is None:
        yield from versions
        return
    for version in versions:
        if version.from_ms <= known_at_ms:
            is_known = version.to_ms is not None and version.to_ms <= known_at_ms
            yield version if is_known else version._replace(ending=None)


def _meets(overlap: Overlap, span: Span) -> bool:
    return (span.to_ms is None or overlap.from_ms < span.to_ms) and (
        span.from_ms is None or overlap.to_ms is None or overlap.to_ms > span.from_ms
    )
