"""Flow files: read in pieces, packed or not; what is written is there whole, or not at all."""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, cast

from engine.errors import InvalidInput, Refusal, Refused

CHUNK_BYTES: Final = 1 << 20

_GZIP: Final = b"\x1f\x8b"
# Flow files are packed once and read once: the least effort already makes them a tenth.
_GZIP_LEVEL: Final = 1


class FlowFile:
    """A flow file that is read once, from its beginning; ``-`` is standard input.

    A file that begins like gzip is unpacked, whatever it is called.
    """

    def __init__(self, name: str) -> None:
        """Open it.

        Raises:
            Refused: ``not_found``.
            InvalidInput: it is no file, or may not be read.
        """
        self.name = name
        self.shown = "standard input" if name == "-" else name
        self._raw = self._open()
        status = os.fstat(self._raw.fileno()) if _has_number(self._raw) else None
        is_regular = status is not None and name != "-"
        self.size = status.st_size if is_regular and status is not None else None
        self._pieces = self._read()
        try:
            self.beginning = next(self._pieces, b"")
        except BaseException:
            self.close()
            raise

    def read_bytes(self) -> int:
        """How much of the file as it lies on disk has been read."""
        return self._raw.tell() if self.size is not None else 0

    def chunks(self) -> Iterator[bytes]:
        """The pieces, `beginning` first.

        Raises:
            InvalidInput: it breaks off, is damaged, or cannot be read.
        """
        yield self.beginning
        yield from self._pieces

    def close(self) -> None:
        """Let go of it; standard input is not ours to close."""
        if self.name != "-":
            self._raw.close()

    def _open(self) -> BufferedReader:
        if self.name == "-":
            return cast("BufferedReader", sys.stdin.buffer)
        path = Path(self.name)
        try:
            return path.open("rb")
        except FileNotFoundError:
            raise Refused(Refusal("not_found", f"{self.name}: there is no such file")) from None
        except OSError as error:
            raise InvalidInput(f"{self.name}: {error.strerror}") from None

    def _read(self) -> Iterator[bytes]:
        try:
            first = _piece(self._raw)
            if first.startswith(_GZIP):
                packed = cast("BinaryIO", _Continued(first, self._raw))
                with gzip.GzipFile(fileobj=packed) as plain:
                    while piece := plain.read(CHUNK_BYTES):
                        yield piece
                return
            while first:
                yield first
                first = _piece(self._raw)
        except EOFError:
            message = f"{self.shown}: the gzip file breaks off"
            raise InvalidInput(message, "it was cut short; get the whole of it") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            message = f"{self.shown}: the gzip file is damaged: {error}"
            raise InvalidInput(message, "get it again from where it came") from None
        except OSError as error:
            raise InvalidInput(f"{self.shown}: {error.strerror}") from None


class _Continued:
    """What was read already, then the rest: gzip wants to see its beginning again."""

    def __init__(self, first: bytes, rest: BufferedReader) -> None:
        self._first = first
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes."""
        if not self._first:
            return self._rest.read1(size)
        taken = self._first if size < 0 else self._first[:size]
        self._first = self._first[len(taken) :]
        return taken

    def seekable(self) -> bool:
        """It is a stream."""
        return False


def _piece(file: BufferedReader) -> bytes:
    """The next bytes: as many as a piece has, or fewer at the end.

    One system call at a time, since a signal that comes between two calls of one long read would
    wait for the second to return.
    """
    parts: list[bytes] = []
    missing = CHUNK_BYTES
    while missing and (part := file.read1(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _has_number(file: BufferedReader) -> bool:
    try:
        file.fileno()
    except (OSError, AttributeError):
        return False
    return True


def packed(data: bytes) -> bytes:
    """A gzip file of its own; several, one after the other, are one again."""
    return gzip.compress(data, _GZIP_LEVEL, mtime=0) if data else b""


class Replacement:
    """A file that is there whole, or as it was before: written beside, and renamed at the end."""

    def __init__(self, name: str) -> None:
        """Begin it.

        Raises:
            InvalidInput: nothing can be written there.
        """
        self.path = Path(name)
        if self.path.is_dir():
            raise InvalidInput(f"{name}: is a directory", "name a file")
        try:
            number, beside = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}-")
        except OSError as error:
            raise InvalidInput(f"{name}: {error.strerror}", "it cannot be written") from None
        self._beside = Path(beside)
        self._file = os.fdopen(number, "wb")

    def write(self, data: bytes) -> None:
        """Write more.

        Raises:
            InvalidInput: there is no room for it.
        """
        try:
            self._file.write(data)
        except OSError as error:
            raise InvalidInput(f"{self.path}: {error.strerror}") from None

    def keep(self) -> None:
        """Put it in its place, with the rights that a new file has, or those of the old one."""
        try:
            self._file.flush()
            os.fsync(self._file)
            mode = self.path.stat().st_mode & 0o777 if self.path.exists() else 0o666 & ~_umask()
            os.fchmod(self._file.fileno(), mode)
            self._file.close()
            self._beside.replace(self.path)
        except OSError as error:
            raise InvalidInput(f"{self.path}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove what was not kept."""
        with suppress(OSError):
            self._file.close()
        self._beside.unlink(missing_ok=True)


def _umask() -> int:
    """The rights that new files do not get; there is no way to look without setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
