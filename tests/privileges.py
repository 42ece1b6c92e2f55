"""Being nobody for a moment, so that what root may do is no reason to skip a test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

NOBODY: Final = 65_534


@contextmanager
def without_privileges(*paths: Path) -> Iterator[None]:
    """Go on as an unprivileged user who owns `paths` and may pass through what is above them."""
    if os.geteuid() != 0:
        yield
        return
    opened: list[tuple[Path, int]] = []
    for path in paths:
        os.chown(path, NOBODY, NOBODY)
        for above in path.parents:
            mode = above.stat().st_mode & 0o7777
            if mode & 0o011 != 0o011:  # the group stays that of root
                above.chmod(mode | 0o011)
                opened.append((above, mode))
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for above, mode in reversed(opened):
            above.chmod(mode)
