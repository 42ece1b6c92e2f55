"""Files, directories and standard input into texts; changes with where manifests come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from engine.errors import InvalidInput

SOURCE_BYTES_MAX: Final = 64 * 1024 * 1024  # an export of 100,000 leases is half of it
SUFFIXES: Final = (".yaml", ".yml", ".json", ".jsonl")
STDIN: Final = "-"


class Source(NamedTuple):
    """A text with manifests in it; ``name`` is how messages speak of it."""

    name: str
    text: str


def read_sources(
    paths: Sequence[str], stdin: Callable[[int], bytes], bytes_max: int | None = None
) -> list[Source]:
    """Read what each path stands for.

    Args:
        paths: Files; directories, which stand for the manifests in them in the order of their
            names, not those of directories below; or ``-``.
        stdin: Called for ``-`` with `bytes_max`; of what is larger it may return a part.
        bytes_max: How large each of them may be.

    Raises:
        InvalidInput: A path cannot be read, is not UTF-8, is too large, or is a directory without
            manifests; the message begins with it.
    """
    bytes_max = SOURCE_BYTES_MAX if bytes_max is None else bytes_max
    sources: list[Source] = []
    for path in paths:
        if path == STDIN:
            sources.append(_read_stdin(stdin, bytes_max))
        elif _is_directory(Path(path)):
            sources += [_read_file(str(file), bytes_max) for file in _manifests_in(path)]
        else:
            sources.append(_read_file(path, bytes_max))
    return sources


def _manifests_in(directory: str) -> list[Path]:
    try:
        files = [file for file in Path(directory).iterdir() if _is_manifest(file)]
    except OSError as error:
        raise _unreadable(directory, error) from None
    if not files:
        why = f"the directory has no file *{', *'.join(SUFFIXES)}"
        raise InvalidInput(f"{directory}: {why}", "directories below it are not searched")
    return sorted(files)


def _is_manifest(file: Path) -> bool:
    # Hidden files are left out as by a shell's *.yaml: editors keep their locks under such names.
    named_so = file.name.endswith(SUFFIXES) and not file.name.startswith(".")
    return named_so and not _is_directory(file)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # opening it will say what is wrong
        return False


def _read_file(path: str, bytes_max: int) -> Source:
    try:
        with Path(path).open("rb") as file:
            content = file.read(bytes_max + 1)
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        raise _unreadable(path, error) from None
    return _source(path, content, bytes_max)


def _read_stdin(stdin: Callable[[int], bytes], bytes_max: int) -> Source:
    name = "<stdin>"
    try:
        content = stdin(bytes_max)
    except OSError as error:
        raise _unreadable(name, error) from None
    return _source(name, content, bytes_max)


def _source(name: str, content: bytes, bytes_max: int) -> Source:
    if len(content) > bytes_max:
        why = f"it is larger than {bytes_max // 1024**2} MiB"
        raise InvalidInput(f"{name}: {why}", "split it into several files")
    try:
        return Source(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        why = f"it is not UTF-8 text (byte {error.start + 1})"
        raise InvalidInput(f"{name}: {why}", "save it as UTF-8") from None


def _unreadable(name: str, error: OSError | ValueError) -> InvalidInput:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    hint = "give a file, a directory, or - for standard input"
    return InvalidInput(f"{name}: it cannot be read: {reason}", hint)
