"""What every test shares: how Hypothesis runs. Fixtures live beside the tests that use them."""

from __future__ import annotations

from hypothesis import settings

# The machine that runs the tests may be busy with the other worker: an example that is slow there
# says nothing about the code, and pytest-timeout still bounds the whole test. A failure prints the
# blob that reproduces it, so that a report from elsewhere can be run here.
settings.register_profile("ipledger", deadline=None, print_blob=True)
settings.load_profile("ipledger")
