"""What must be true of consumers and mirrors: nothing skipped, nothing of another history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine import events as ev
from engine.entry import RawEntry, Record
from ipledger.selection import Selection
from tests.simulation.cluster import Cluster
from tests.simulation.followers import ConsumerProcess, MirrorProcess
from tests.simulation.log import decoded, ends_inside, not_given_up


def check_prefixes(cluster: Cluster) -> list[str]:
    """What is wrong now with what the followers have, who may not have come to the end yet."""
    if cluster.loss is not None:
        return []  # some of them have what was lost, and were not told yet
    wrong = [] if cluster.promoted_at else list(_mirror_is_wrong(cluster.mirror))
    entries = cluster.world.server.entries
    for process in _by_journal(cluster.consumers):
        expected = _wanted(process.wanted, entries)
        got = list(dict.fromkeys(_journal(process)))
        if got != expected[: len(got)]:
            wrong.append(f"{process.name} was given {got[-1:]}, which does not come next")
        if process.is_exactly_once and len(got) != len(list(_journal(process))):
            wrong.append(f"{process.name} was given something twice")
    for process in cluster.consumers:
        wrong += _resumed_too_early(process)
    holders = cluster.cursors.holders()
    if len(holders) != len(set(holders)):
        wrong.append(f"who had lost its name has saved under it again: {holders}")
    return wrong


def check_followers(cluster: Cluster) -> list[str]:
    """What is wrong at the end: who is not told of any trouble has everything."""
    if cluster.deleted_at is not None:
        followers = (*cluster.consumers, cluster.mirror)
        return [f"{each.name} passed over a hole" for each in followers if each.is_through]
    wrong = list(_consumers_are_wrong(cluster))
    mirror = cluster.mirror
    if cluster.promoted_at is not None:
        if mirror.refused is None and mirror.stopped is None:
            wrong.append("a mirror went on copying into what is the space itself now")
    elif mirror.is_through:
        wrong += _mirror_is_wrong(mirror)
        if mirror.entries != mirror.source.entries:
            wrong.append("the mirror is at its end, and not what its source is")
    elif cluster.loss is None:
        wrong.append(f"the mirror stopped: {mirror.stopped or mirror.refused}")
    return wrong


def _consumers_are_wrong(cluster: Cluster) -> Iterator[str]:
    entries, loss = cluster.world.server.entries, cluster.loss
    there = set(entries)
    gone = set() if loss is None else loss.entries - there
    for process in _by_journal(cluster.consumers):
        got = list(dict.fromkeys(raw for raw in _journal(process) if raw not in gone))
        expected = _wanted(process.wanted, entries)
        if got != expected[: len(got)]:
            yield f"{process.name} was given {got}, and {expected} is what there was"
        if any(each.is_through for each in cluster.consumers if each.journal is process.journal):
            if got != expected:
                yield f"{process.name} was never given {expected[len(got) :]}"
        elif loss is None:
            yield f"{process.name} stopped: {process.stopped or process.refused}"
    for process in cluster.consumers:
        noted = process.noted
        if noted is None or not process.is_through or not gone:
            continue
        if process.is_exactly_once and noted.position and not gone.isdisjoint(_journal(process)):
            yield f"{process.name} went on, and has what was lost"
        remembered = process.disk.remembered
        if remembered is not None and not_given_up(remembered.anchors, entries):
            yield f"{process.name} went on, and had noted what was lost"


def _by_journal(consumers: Iterable[ConsumerProcess]) -> list[ConsumerProcess]:
    """One process of each journal: the last, since it is who may have come to the end."""
    return list({id(process.journal): process for process in consumers}.values())


def _journal(process: ConsumerProcess) -> Iterator[RawEntry]:
    return (raw for delivered in process.journal for raw in delivered.entries)


def _resumed_too_early(process: ConsumerProcess) -> Iterator[str]:
    """Where it began again is no less than what the server had said that it keeps."""
    for resumed, saved in process.resumed:
        if saved is not None and (resumed is None or resumed.position < saved.position):
            yield f"{process.name} began behind {resumed}, and the server had kept {saved}"


def _wanted(wanted: Selection, entries: Iterable[RawEntry]) -> list[RawEntry]:
    """The entries that pass the filters that the simulation uses, by hand."""
    names: dict[int, str] = {}
    found: list[RawEntry] = []
    for raw in entries:
        record = decoded(raw)
        if isinstance(record.event, ev.PoolCreated):
            names[record.position] = record.event.name
        by_type = not wanted.types or type(record.event).__name__ in wanted.types
        if by_type and (not wanted.pools or _pool(record, names) in wanted.pools):
            found.append(raw)
    return found


def _pool(record: Record, names: dict[int, str]) -> str | None:
    match record.event:
        case ev.PoolUpdated(pool=pool):
            return pool.name
        case ev.PoolCreated(name=name) | ev.PoolDeleted(name=name):
            return name
        case (
            ev.LeaseGranted(pool_id=pool_id) | ev.LeaseRenewed(pool_id=pool_id)
            | ev.LeaseEnded(pool_id=pool_id) | ev.LeaseObserved(pool_id=pool_id)
            | ev.ConflictReported(pool_id=pool_id)
        ):  # fmt: skip
            return names[pool_id]
        case _:
            return None


def _mirror_is_wrong(mirror: MirrorProcess) -> Iterator[str]:
    entries = mirror.entries
    if entries != mirror.source.entries[: len(entries)]:
        yield "the mirror has other bytes than its source"
    if ends_inside(entries):
        yield "the mirror ends inside a commit"
