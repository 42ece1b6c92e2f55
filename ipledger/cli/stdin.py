"""Standard input as bytes, whatever the locale says, and no more of it than may be used."""

from __future__ import annotations

import sys

from engine.errors import InvalidInput


def read_stdin(bytes_max: int) -> bytes:
    """Read all of it, or one byte more than `bytes_max` of what is larger.

    Raises:
        InvalidInput: it is closed.
        OSError: it cannot be read.
    """
    if sys.stdin is None:
        raise InvalidInput("<stdin>: it is closed", "give a file, or pipe one in")
    content: bytes = sys.stdin.buffer.read(bytes_max + 1)
    return content
