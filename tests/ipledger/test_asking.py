"""Arguments of `allocate` that cannot be meant: each is refused with what could be."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import InvalidInput
from ipledger import operations


@pytest.mark.parametrize(
    ("given", "said", "hint"),
    [
        ({"ip": "10.0.0.5"}, "no argument 'ip'", ""),
        ({"ttl": "1h"}, "no argument 'ttl'", "ttl_s"),
        ({"effective_at": 5}, "no argument 'effective_at'", "effective_at_ms"),
        ({"nodes": "n1"}, "no argument 'nodes'", "node"),
        ({"count": "2"}, "count '2' is not a whole number", ""),
        ({"count": True}, "count True is not a whole number", ""),
        ({"prefix_length": "28"}, "prefix_length '28' is not a whole number", ""),
        ({"prefix_length": 28.5}, "prefix_length 28.5 is not a whole number", ""),
        ({"effective_at_ms": 1.5}, "effective_at_ms 1.5 is not a whole number", ""),
    ],
    ids=str,
)
def test_an_argument_that_is_none(given: dict[str, Any], said: str, hint: str) -> None:
    """An unknown name, or a number that is none: nothing is silently left out."""
    with pytest.raises(InvalidInput) as caught:
        operations.allocate("web", "me", **given)
    assert said in caught.value.message
    assert hint in caught.value.hint
