"""Everything that must not be in a history, each forged so that one rule alone is broken."""

from __future__ import annotations

from typing import Final

from tests.replay import forged_definitions, forged_leases, forged_streams
from tests.replay.registry import Forgeries

FORGERIES: Final = Forgeries(
    {**forged_streams.MADE, **forged_leases.MADE, **forged_definitions.MADE}
)
