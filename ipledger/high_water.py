"""What this machine remembers of each space, so that history running backwards is noticed.

One small JSON file for each server and space, in a state directory that is no part of the
server's data: who restores a backup of the data must not restore this with it. It is locked while
it is changed, replaced as a whole, and written before an answer that rests on it is printed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from engine.entry import Anchor
from engine.errors import IntegrityError, Unavailable
from engine.reading import HighWater

FORMAT: Final = 1
# The newest entry and older ones at about doubling distances: enough to tell a lost tail from
# another history, in a file of a few hundred bytes.
ANCHORS_MAX: Final = 8


def merged(before: HighWater | None, space_id: bytes, generation: int, now: Anchor) -> HighWater:
    """What to remember after `now` was seen: it, and a few older anchors."""
    older = [] if before is None or before.space_id != space_id else list(before.anchors)
    kept: list[Anchor] = [now]
    for anchor in reversed(older):
        distance = now.position - anchor.position
        if distance <= 0:
            continue
        if len(kept) == 1 or distance >= 2 * (now.position - kept[-1].position):
            kept.append(anchor)
    return HighWater(space_id, generation, tuple(reversed(kept[:ANCHORS_MAX])))


class HighWaterFile:
    """The memory of one space on one server."""

    def __init__(self, directory: Path, endpoint: str, space: str) -> None:
        """Keep the memory of `space` at `endpoint` (without credentials) under `directory`."""
        name = sha256(endpoint.encode()).hexdigest()[:12]
        self.path = directory / f"{space}-{name}.json"
        self._endpoint = endpoint
        self._space = space

    def load(self) -> HighWater | None:
        """Return what is remembered, or None if nothing is.

        Raises:
            IntegrityError: the file is there but cannot be understood.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(self.path, error) from error
        try:
            return _from_json(json.loads(content.decode("utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            message = f"the state file {self.path} is damaged ({type(error).__name__})"
            hint = f"compare the stream with a backup; then `ipledger space forget {self._space}`"
            raise IntegrityError(message, hint) from error

    def advance(self, space_id: bytes, generation: int, anchor: Anchor) -> HighWater:
        """Remember `anchor` unless something newer is remembered already; return what now is.

        Raises:
            Unavailable: the state directory cannot be written.
            IntegrityError: the file is there but cannot be understood.
        """
        with self._locked():
            before = self.load()
            if (
                before is not None
                and before.space_id == space_id
                and before.position >= anchor.position
            ):
                return before
            after = merged(before, space_id, generation, anchor)
            self._write(after)
            return after

    def forget(self) -> bool:
        """Remember nothing; False if nothing was remembered."""
        with self._locked():
            try:
                self.path.unlink()
            except FileNotFoundError:
                return False
            except OSError as error:
                raise _unusable(self.path, error) from error
            return True

    def _write(self, after: HighWater) -> None:
        text = json.dumps(_to_json(after, self._space, self._endpoint), indent=1) + "\n"
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            temporary.write_text(text, "utf-8")
            temporary.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise _unusable(self.path, error) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = self.path.with_suffix(".lock").open("a")
        except OSError as error:
            raise _unusable(self.path, error) from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _unusable(path: Path, error: OSError) -> Unavailable:
    message = f"the state directory {path.parent} cannot be used: {error.strerror}"
    return Unavailable(message, "make it writable, or choose another with --state-dir")


def _to_json(high_water: HighWater, space: str, endpoint: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "space": space,
        "endpoint": endpoint,
        "space_id": high_water.space_id.hex(),
        "generation": high_water.generation,
        "anchors": [[a.ms, a.position, a.c.hex()] for a in high_water.anchors],
    }


def _from_json(data: dict[str, Any]) -> HighWater:
    if data["format"] != FORMAT:
        message = f"format {data['format']}"
        raise ValueError(message)
    anchors = tuple(Anchor(int(ms), int(at), bytes.fromhex(c)) for ms, at, c in data["anchors"])
    return HighWater(bytes.fromhex(data["space_id"]), int(data["generation"]), anchors)
