"""Running targets: the kept corpus, seeded mutations, and of a failure the least that still fails.

Random mutations from a seed need nothing but this repository and give the same inputs everywhere.
`guided` does the same by coverage, and goes further.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from tests.fuzz.mutating import INPUT_BYTES_MAX
from tests.fuzz.target import Broken, Target

__all__ = ["INPUT_BYTES_MAX"]

CORPUS: Final = Path(__file__).parent / "corpus"
TARGETS: Final = ("decoder", "ranges", "manifests", "arguments")
_KEPT: Final = 0.05  # of what was drawn: changed again, so that changes add up
_SHRINKS_MAX: Final = 2_000


class Failure(NamedTuple):
    """An input of which something does not hold, and what."""

    data: bytes
    kind: str
    says: str

    @property
    def name(self) -> str:
        """A file name for it, until somebody gives it a better one."""
        return f"found-{sha256(self.data).hexdigest()[:12]}"


@contextmanager
def opened(name: str, url: str | None = None) -> Iterator[Target]:
    """A target by its name; with the server that it needs, if there is none at a URL yet."""
    if name == "arguments":
        from tests.fuzz import arguments

        with nullcontext(url) if url else arguments.server() as at, arguments.opened(at) as found:
            yield found
        return
    from tests.fuzz import decoder, manifests, ranges

    targets = {module.TARGET.name: module.TARGET for module in (decoder, ranges, manifests)}
    yield targets[name]


@contextmanager
def serving(name: str) -> Iterator[str | None]:
    """The URL of a server for a target that needs one, in whatever process it is fuzzed."""
    if name != "arguments":
        yield None
        return
    from tests.fuzz import arguments

    with arguments.server() as url:
        yield url


def corpus(name: str) -> dict[str, bytes]:
    """What is kept of a target's inputs, by file name."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / name).iterdir())}


def begins(target: Target) -> list[bytes]:
    """What mutations begin with: the corpus, and what the code itself makes."""
    return [*corpus(target.name).values(), *target.seeds()]


def failure_of(target: Target, data: bytes) -> Failure | None:
    """What does not hold of an input, if anything."""
    began_s = time.process_time()
    try:
        target.check(data)
    except Exception as error:  # noqa: BLE001 - whatever escapes is what is looked for
        return Failure(data, _kind_of(error), f"{type(error).__name__}: {error}")
    took_s = time.process_time() - began_s
    if took_s > target.cpu_s_max:
        return Failure(data, "slow", f"it took {took_s:.1f} s of CPU time")
    return None


def _kind_of(error: Exception) -> str:
    """What tells one failure from another while it shrinks: where it was raised, and as what."""
    if isinstance(error, Broken):
        return f"Broken: {str(error).partition(':')[0][:30]}"
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    where = "" if innermost is None else innermost.tb_frame.f_code.co_qualname
    return f"{type(error).__name__} in {where}"


def inputs(target: Target, seed: int) -> Iterator[bytes]:
    """Mutations without end; the same for the same seed and corpus."""
    random = Random(f"{target.name} {seed}")  # noqa: S311 - the same ones on every run
    pool = begins(target)
    while True:
        data = target.mutate(random.choice(pool), random)
        if random.random() < _KEPT:
            pool.append(data)
        yield data


def fuzz(
    target: Target, seed: int, goes_on: Callable[[int], bool], *, shrink: bool = True
) -> tuple[int, Failure | None]:
    """Try mutations while `goes_on` says so, told how many were tried; the first failure, small."""
    tried = 0
    for data in inputs(target, seed):
        if not goes_on(tried):
            break
        tried += 1
        if (failure := failure_of(target, data)) is not None:
            return tried, shrunk(target, failure) if shrink else failure
    return tried, None


def shrunk(target: Target, failure: Failure) -> Failure:
    """The same failure of as few bytes as cutting parts out leaves of it."""
    left, size = _SHRINKS_MAX, max(1, len(failure.data) // 2)
    while left > 0:
        at, smaller = 0, False
        while at < len(failure.data) and left > 0:
            data = failure.data[:at] + failure.data[at + size :]
            left -= 1
            found = failure_of(target, data)
            if found is not None and found.kind == failure.kind:
                failure, smaller = found, True
            else:
                at += size
        if size == 1 and not smaller:
            break
        size = size if smaller and size == 1 else max(1, size // 2)
    return failure
