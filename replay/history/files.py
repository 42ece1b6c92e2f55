"""Where a history's file lies, and how one takes the place of another under its readers' eyes.

The name that others know is a link to a file with a name of its own. SQLite keeps a write-ahead
log beside a database under the database's name, and would replay the log of the old one into a
new one of that name; so a rebuilt history gets a name that nothing else ever had, and the link
is moved. Who has the old file open reads on in it.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.errors import Unavailable

if TYPE_CHECKING:
    from io import TextIOWrapper

_BUILDING: Final = "building"
_SWITCH: Final = "switch"
COLLECTED: Final = ".collected"
_LOCKS: Final = (f".{_BUILDING}.lock", f".{_SWITCH}.lock")


class HistoryFiles:
    """The files of one history."""

    def __init__(self, path: Path) -> None:
        """`path` is the name that others know; its directory is made when it is needed."""
        self.path = path

    def target(self) -> Path | None:
        """The file that the name stands for now, or None if there is none."""
        if not self.path.exists():  # also a link that leads nowhere
            return None
        return Path(os.path.realpath(self.path))

    def stands_for(self, file: Path | None) -> bool:
        """Whether the name still stands for a file; one call of the system."""
        try:
            return file is not None and self.path.readlink().name == file.name
        except OSError:
            return file == self.path

    @contextmanager
    def opening(self) -> Iterator[None]:
        """While a file is looked up and opened: no other takes its place meanwhile."""
        with self._locked(_SWITCH, fcntl.LOCK_SH):
            yield

    def begin_building(self) -> tuple[Path, TextIOWrapper]:
        """A file of a name that no history ever had, and a handle to close when it is done with.

        Several may build at once, so that nobody waits for one that is stopped or stuck. What
        broken-off builds left behind is swept away by the first who builds alone.

        Raises:
            Unavailable: the directory cannot be written.
        """
        handle = self._open_lock(_BUILDING)
        try:
            with suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._sweep()
            fcntl.flock(handle, fcntl.LOCK_SH)
            made, name = tempfile.mkstemp(prefix=f"{self.path.name}.", dir=self.path.parent)
            os.close(made)
        except OSError as error:
            handle.close()
            raise unusable(self.path, error) from error
        return Path(name), handle

    def switch(self, to: Path, instead_of: Path | None) -> bool:
        """Let the name stand for the file `to`, and delete the one that it stood for.

        Nothing is done, and False is returned, if that is not `instead_of` any more.

        Raises:
            Unavailable: the directory cannot be written.
        """
        link = to.with_name(f"{to.name}.link")
        with self._locked(_SWITCH, fcntl.LOCK_EX):
            before = self.target()
            if before != instead_of:
                return False
            try:
                # Relative, so that a directory of views can be moved.
                link.symlink_to(to.name)
                link.replace(self.path)
            except OSError as error:
                raise unusable(self.path, error) from error
            if before is not None and before != self.path.absolute():
                remove(before)
        return True

    def _sweep(self) -> None:
        """Delete what is neither in use nor a lock, while nobody builds."""
        target = self.target()
        for found in self.path.parent.glob(f"{self.path.name}.*"):
            is_kept = target is not None and found.name.startswith(target.name)
            if not is_kept and not found.name.endswith(_LOCKS):
                with suppress(OSError):
                    found.unlink()

    @contextmanager
    def _locked(self, what: str, how: int) -> Iterator[None]:
        with self._open_lock(what) as handle:
            fcntl.flock(handle, how)
            yield

    def _open_lock(self, what: str) -> TextIOWrapper:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self.path.with_name(f"{self.path.name}.{what}.lock").open("a")
        except OSError as error:
            raise unusable(self.path, error) from error


def remove(file: Path) -> None:
    """Delete a database with all that belongs to it; whoever has it open reads on."""
    for suffix in ("", "-wal", "-shm", COLLECTED):
        with suppress(OSError):
            file.with_name(file.name + suffix).unlink()


def unusable(path: Path, error: Exception) -> Unavailable:
    """The file, or its directory, cannot be used."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    hint = "check the disk and the rights of its directory; --data-dir chooses another"
    return Unavailable(f"the history {path} cannot be used: {said}", hint)
