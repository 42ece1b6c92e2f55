"""What is fuzzed: a target takes any bytes, and says when what is promised does not hold."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple


class Broken(AssertionError):
    """What is promised of every input does not hold of this one."""


def require(holds: object, says: str) -> None:
    """Fail unless it holds; not an assertion, so that `python -O` checks it, too."""
    if not holds:
        raise Broken(says)


class Target(NamedTuple):
    """Something that takes any bytes.

    ``check`` returns if everything that is promised holds. Whatever it raises is a finding: a
    `Broken` says what does not hold, and any other exception is one that escaped. ``mutate`` makes
    inputs that come further than random bytes do. ``seeds`` are what it begins with beside the kept
    corpus: what has to fit the code that made it.
    """

    name: str
    check: Callable[[bytes], None]
    mutate: Callable[[bytes, Random], bytes]
    seeds: Callable[[], list[bytes]] = list
    cpu_s_max: float = 2.0  # for one input of at most some KiB: what takes longer has no bound
