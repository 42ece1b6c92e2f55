"""The hash that tells one request from another: the same for ever, and different for what differs.

It is in the stream: a command that an older release has committed must be known when it is
repeated.
"""

from __future__ import annotations

from typing import Final

import pytest

from engine.addresses import parse_address
from engine.commands import Allocate, AllocateTogether, Requester, request_hash

ASKED: Final = Allocate(
    groups=(("web", "spare"), ("v6",)),
    owner="c1/default/web-0",
    uid="u",
    addresses=(parse_address("10.0.0.5"),),
    number=2,
    ttl_s=3600,
    labels=(("a", "b"),),
    cluster="c1",
    effective_at_ms=5,
)
HASH: Final = "bfee5e49ca828395ff6370b2896f87de"
HASH_TOGETHER: Final = "6ba1fd84d1242a1c46d8c89bd9d026f1"


def test_a_request_is_known_as_the_first_release_wrote_it() -> None:
    """Members that a command has got since do not change the hash while they are not used."""
    assert request_hash(ASKED).hex() == HASH
    both = AllocateTogether((ASKED, ASKED._replace(interface="net1")))
    assert request_hash(both).hex() == HASH_TOGETHER


@pytest.mark.parametrize(
    "other",
    [
        ASKED._replace(prefix_length=28),
        ASKED._replace(requester=Requester(node="n1")),
        ASKED._replace(families=(4,)),
    ],
)
def test_what_was_added_tells_requests_apart(other: Allocate) -> None:
    """A block is not a single address, another node not the same."""
    assert request_hash(other) != request_hash(ASKED)
