"""The audit of a history: every rule, over everything that was ever written.

It reads the entries as they are stored and keeps books of its own. It goes on after a breach, as
far as it soundly can, and reports them all.
"""

from replay.audit.chain import Restoration
from replay.audit.findings import BREACHES_MAX, Breach
from replay.audit.rules import RULES, Rule
from replay.audit.walk import Audited, Options, audit

__all__ = [
    "BREACHES_MAX",
    "RULES",
    "Audited",
    "Breach",
    "Options",
    "Restoration",
    "Rule",
    "audit",
]
