"""Tenures of one owner that follow each other without a gap, told as one."""

from __future__ import annotations

from collections.abc import Iterable

from replay.history.tenure import Tenure


def merged(tenures: Iterable[Tenure]) -> list[Tenure]:
    """Join what the same owner and interface held of the same block, end to beginning.

    The tenures come in order of their beginning, and so do those that are returned. A joined one
    began as its first did and ended as its last did; ``leases`` names all of them. What may change
    in between (uid, labels, pool) is that of the last.
    """
    found: list[Tenure] = []
    last: dict[tuple[object, ...], int] = {}
    for tenure in tenures:
        block = (tenure.address, tenure.prefix_length, tenure.owner, tenure.interface)
        at = last.get(block)
        if at is not None and found[at].to_ms == tenure.from_ms:
            found[at] = _joined(found[at], tenure)
        else:
            last[block] = len(found)
            found.append(tenure)
    return found


def _joined(first: Tenure, then: Tenure) -> Tenure:
    renewals = None
    if first.renewals is not None and then.renewals is not None:
        renewals = first.renewals + then.renewals
    return then._replace(
        from_ms=first.from_ms,
        lease_id=first.lease_id,
        recorded_ms=first.recorded_ms,
        supersedes=first.supersedes,
        source=first.source,
        actor=first.actor,
        reason=first.reason,
        renewals=renewals,
        leases=(*first.leases, *then.leases),
    )
