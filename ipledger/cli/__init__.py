"""The command line. Each verb lives in a module of its own that is imported when it is used."""

from __future__ import annotations

from ipledger.cli.root import run

__all__ = ["run"]
