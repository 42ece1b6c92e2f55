"""What must be true of every history: each rule with the name that a breach of it is given.

The names are for scripts and for conversations; they do not change. docs/guides/auditor.md lists
them all, and a test holds its table to this one.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Rule(NamedTuple):
    """One thing that must be true. ``about`` is the heading that it stands under."""

    name: str
    about: str
    says: str


_STREAM: Final = "the stream"
_COMMITS: Final = "commits"
_LEASES: Final = "leases"
_TROUBLE: Final = "reservations and quarantine"
_POOLS: Final = "pools"
_VIEWS: Final = "what is made of it"

_ALL: Final = (
    Rule("fields", _STREAM, "an entry has the fields e, s, t, c and no others"),
    Rule("shape", _STREAM, "every field can be read, in its bounds and its form (V1, V2, V4, V5, "
         "V16)"),
    Rule("known", _STREAM, "every event type and version is one that this release knows"),
    Rule("check-value", _STREAM, "the check value is that of the entry: nothing was altered"),
    Rule("tags", _STREAM, "the tags are those that the event implies"),
    Rule("space", _STREAM, "the first entry creates the space, and no other does"),
    Rule("gapless", _STREAM, "positions ascend without a hole, but for accepted restorations"),
    Rule("restoration", _STREAM, "a restoration fits what is before it, and says why"),
    Rule("monotonic-time", _STREAM, "time never runs backwards"),
    Rule("level", _STREAM, "what is written is allowed by the format level, which only rises"),
    Rule("as-seen", _STREAM, "what this machine has seen before still stands where it saw it"),
    Rule("commit-whole", _COMMITS, "every commit is whole, of one time, and of one command"),
    Rule("commit-size", _COMMITS, "a commit has at most 4,096 events and 1 MiB"),
    Rule("generation", _COMMITS, "a commit is of the generation that the history had then"),
    Rule("decided-at", _COMMITS, "a commit was decided on an earlier commit end that still stands"),
    Rule("command-once", _COMMITS, "no step of a command is committed twice in 100,000 positions"),
    Rule("command-id", _COMMITS, "a command id that is kept as text is that of the command's key"),
    Rule("cause", _COMMITS, "what led to an event stands before it"),
    Rule("effective-at", _COMMITS, "nothing is true from a time to come, or ends before it began"),
    Rule("names", _COMMITS, "names, owners and labels are printable, normalised and bounded"),
    Rule("one-holder", _LEASES, "no address is granted while somebody holds it"),
    Rule("one-tenure", _LEASES, "no tenure begins, in effect, before the one before it ended"),
    Rule("in-pool", _LEASES, "an address is granted only from a pool that has it in its ips"),
    Rule("excluded", _LEASES, "no address is granted that its pool excludes"),
    Rule("gateway", _LEASES, "no pool's gateway is granted"),
    Rule("reserved", _LEASES, "no reserved address is granted, unless to whom it is reserved for"),
    Rule("quarantined", _LEASES, "no quarantined address is granted"),
    Rule("cooling", _LEASES, "no address is granted while it rests, but to whom it rests from"),
    Rule("pool-open", _LEASES, "nothing is granted from a pool that is terminating or disabled, or "
         "imported into one that is terminating; its selectors are not checked: the labels that "
         "they look at are not in the stream"),
    Rule("supersede", _LEASES, "a lease is superseded by one grant of the same commit, to the same "
         "owner and interface, with another uid; or its last holder has its address again"),
    Rule("beside", _LEASES, "the leases that a grant names beside it are held then"),
    Rule("live-release", _LEASES, "only a lease that is held ends"),
    Rule("live-renew", _LEASES, "only a lease that is held is renewed"),
    Rule("live-report", _LEASES, "a conflict is reported once, on a lease that is held"),
    Rule("lease-facts", _LEASES, "what is said of a lease later is what was granted"),
    Rule("due-expiry", _LEASES, "a lease, a reservation or a quarantine expires when it is due, "
         "not earlier"),
    Rule("set-aside", _TROUBLE, "an address on which a conflict was reported is quarantined with "
         "the end of its lease, and as reported"),
    Rule("quarantine-once", _TROUBLE, "what is quarantined is neither held nor quarantined yet"),
    Rule("quarantine-live", _TROUBLE, "only what is quarantined is put back"),
    Rule("reservation-live", _TROUBLE, "only a reservation that stands is changed or deleted"),
    Rule("reservation-name", _TROUBLE, "two reservations never have one name"),
    Rule("reservation-facts", _TROUBLE, "a reservation keeps its name and its IP version, and says "
         "truly whether it has an owner"),
    Rule("pool-live", _POOLS, "only a pool that stands is spoken of: it goes with its last lease "
         "(V24)"),
    Rule("V6", _POOLS, "two pools never have one name"),
    Rule("V7", _POOLS, "the subnets of two pools are the same or disjoint"),
    Rule("V9", _POOLS, "name, IP version and subnet of a pool do not change (V8, V9)"),
    Rule("V10", _POOLS, "ips and excludeIPs lie in the subnet, in at most 1,500 ranges each"),
    Rule("V11", _POOLS, "no address is in the effective ranges of two pools"),
    Rule("V12", _POOLS, "the gateway is an address of the subnet"),
    Rule("V13", _POOLS, "the gateway is not in the effective ranges"),
    Rule("V14", _POOLS, "no route leads to the whole address space"),
    Rule("V15", _POOLS, "no two routes have one destination, and there are at most 256"),
    Rule("V17", _POOLS, "a route goes by an address of the subnet"),
    Rule("V18", _POOLS, "a selector says something, in label syntax"),
    Rule("V20", _POOLS, "no address in use is removed or excluded"),
    Rule("V23", _POOLS, "a terminating pool is not changed"),
    Rule("fold", _VIEWS, "every event can be folded into the state that decisions are made on"),
    Rule("counts", _VIEWS, "that state shows, and counts, what the audit does"),
)  # fmt: skip

RULES: Final[dict[str, Rule]] = {rule.name: rule for rule in _ALL}
