"""Logging for people who run this: few lines, on stderr, none for each event.

A logger of our own: structlog's global configuration belongs to the application that uses us.
Importing structlog takes longer than most commands, so it is imported with the first line.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any


@cache
def _logger() -> Any:
    import structlog

    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
    )


def warn(event: str, **values: object) -> None:
    """Log what somebody may have to act on."""
    _logger().warning(event, **values)


def info(event: str, **values: object) -> None:
    """Log what explains a pause or a change."""
    _logger().info(event, **values)
