"""What can be asked for. A command is a plain value: it can be hashed, repeated and recorded."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

from engine.addresses import Address, Family, RangeSet
from engine.model import DEFAULT_INTERFACE, Durability, EndedBy, PoolSpec, ReservationSpec
from engine.names import Labels, check_text, is_command_key
from engine.observation import Observation
from engine.spans import is_single, last_of, span_of, span_text
from engine.wire import pack


class PutPool(NamedTuple):
    """This pool shall be defined so."""

    name: str
    spec: PoolSpec


class PutReservation(NamedTuple):
    """This reservation shall be defined so."""

    name: str
    spec: ReservationSpec


class Apply(NamedTuple):
    """All these definitions shall hold, or none is changed.

    With ``create_only`` an object that exists already is refused as `exists`.
    """

    objects: tuple[PutPool | PutReservation, ...]
    create_only: bool = False


class Target(NamedTuple):
    """An object named for deletion."""

    kind: Literal["pool", "reservation"]
    name: str


class Delete(NamedTuple):
    """These objects shall be no more; with ``cascade`` the leases of pools are revoked, too.

    ``before`` bounds the later commits of a series to what was there before its first one.
    """

    targets: tuple[Target, ...]
    ignore_not_found: bool = False
    cascade: bool = False
    before: int | None = None


class Requester(NamedTuple):
    """For whom an address is asked, as far as the selectors of pools look at it.

    The labels of the pod are those of the lease. What is unknown matches no selector.
    """

    namespace: str | None = None
    namespace_labels: Labels = ()
    node: str | None = None
    node_labels: Labels = ()
    network: str | None = None


class Allocate(NamedTuple):
    """The owner shall hold ``number`` addresses from each group of pools.

    A group is a list of pools in order of preference: the next is used when one is exhausted.
    Several groups are granted together or not at all. ``addresses`` asks for specific ones. With
    ``prefix_length``, aligned blocks of that length are meant instead of single addresses.
    Without any group the default pools are meant, of each of ``families`` or of those there are.
    """

    groups: tuple[tuple[str, ...], ...]
    owner: str
    interface: str = DEFAULT_INTERFACE
    uid: str | None = None
    addresses: tuple[Address, ...] = ()
    number: int = 1
    ttl_s: int | None = None
    labels: Labels = ()
    cluster: str | None = None
    effective_at_ms: int | None = None
    prefix_length: int | None = None
    requester: Requester = Requester()
    families: tuple[Family, ...] = ()


class AllocateTogether(NamedTuple):
    """All of these are granted in one commit, or none: several interfaces of a pod, say."""

    requests: tuple[Allocate, ...]


class Release(NamedTuple):
    """These leases shall end: by id, or all of an owner's (on one interface), or one address.

    An address needs its owner beside it. ``before`` bounds the later commits of a series to what
    was granted before its first one. Labels narrow down what an owner holds; alone they
    select among all leases.
    """

    leases: tuple[int, ...] = ()
    owner: str | None = None
    interface: str | None = None
    address: Address | None = None
    labels: Labels = ()
    effective_at_ms: int | None = None
    before: int | None = None


class Renew(NamedTuple):
    """This lease shall last ``ttl_s`` more seconds from now, or as long as it was given before.

    It never ends earlier by that, unless ``may_shorten`` says so.
    """

    lease: int
    ttl_s: int | None = None
    may_shorten: bool = False


class Sweep(NamedTuple):
    """Whatever is due shall end: leases, reservations and quarantines past their time."""


class SetAside(NamedTuple):
    """Something else answers on these addresses: nobody shall get them, for a while or longer.

    An address that is leased is set aside when its lease ends.
    """

    ips: RangeSet
    reason: str
    for_s: int | None = None


class PutBack(NamedTuple):
    """These addresses are quarantined no more."""

    ips: RangeSet


class Adopted(NamedTuple):
    """A lease as it stands elsewhere. ``effective_at_ms`` is since when, as far as is known.

    It lasts ``ttl_s`` from then (None: until it is released), whatever its pool says of leases.
    """

    address: Address
    prefix_length: int
    owner: str
    interface: str = DEFAULT_INTERFACE
    uid: str | None = None
    labels: Labels = ()
    cluster: str | None = None
    effective_at_ms: int | None = None
    ttl_s: int | None = None
    pool: str | None = None

    @property
    def is_block(self) -> bool:
        """Whether it holds more than one address."""
        return not is_single(self.address, self.prefix_length)

    @property
    def last(self) -> int:
        """The last address of it, as a number."""
        return last_of(self.address, self.prefix_length)

    @property
    def span(self) -> RangeSet:
        """All that it holds."""
        return span_of(self.address, self.prefix_length)

    @property
    def text(self) -> str:
        """The address, and its prefix length when it is a block."""
        return span_text(self.address, self.prefix_length)


class Adopt(NamedTuple):
    """Leases that stand elsewhere shall go on here, those that can; ``source`` says where from.

    What is held just so already is left as it is, and what is past its end is left out.
    """

    leases: tuple[Adopted, ...]
    source: str


class Raise(NamedTuple):
    """The space shall have this format level: older releases stop reading it then."""

    level: int


class SetDurability(NamedTuple):
    """From now on the space shall promise this of an answer."""

    durability: Durability


class Reconcile(NamedTuple):
    """Leases that were missing in an observation shall be told so, and end if that is enough.

    Only leases of these pools, clusters and labels are expected in it; of all where none is named.
    With ``release_after``, a lease ends that was missing in so many observations, this the last of
    them, and over at least ``grace_s``. ``evidence`` says in words what the observation is. The
    observation itself comes last: its id stands for it in the hash of the request.
    """

    observation: bytes
    evidence: str
    release_after: int | None
    grace_s: int
    pools: tuple[str, ...]
    clusters: tuple[str, ...]
    labels: Labels
    accept_many_missing: bool
    observed: Observation


class EndedLease(NamedTuple):
    """A lease as it was granted, and how and at which position it ended."""

    pool_id: int
    address: Address
    prefix_length: int
    owner: str
    interface: str
    uid: str | None
    labels: Labels
    cluster: str | None
    ttl_s: int | None
    position: int
    ended_by: EndedBy

    @property
    def span(self) -> RangeSet:
        """All that it held."""
        return span_of(self.address, self.prefix_length)

    @property
    def text(self) -> str:
        """The address, and its prefix length when it is a block."""
        return span_text(self.address, self.prefix_length)


class Undo(NamedTuple):
    """The lease that has ended shall be its owner's again, under a new number.

    ``ended`` is what the stream says of it, and no part of the request; None if nothing.
    """

    lease: int
    ended: EndedLease | None


Command = (
    Apply
    | Delete
    | Allocate
    | AllocateTogether
    | Release
    | Renew
    | Sweep
    | SetAside
    | PutBack
    | Adopt
    | Raise
    | SetDurability
    | Reconcile
    | Undo
)


class Claim(NamedTuple):
    """Who says so and why. ``command_id`` is kept when the caller chose it, as text.

    The actor is a claim of the caller: nobody has verified it.
    """

    actor: str | None = None
    reason: str | None = None
    command_id: str | None = None


# What is plain already, and most of what a request consists of.
_PLAIN: Final = frozenset({str, bytes, bool, type(None)})
# Members that a command has got since: left out of its hash while none of them is used, so that
# a command that an older release has committed is still known.
_ADDED: Final[dict[type[Any], int]] = {Allocate: Allocate._fields.index("prefix_length")}
_ADDED_DEFAULTS: Final[dict[type[Any], tuple[Any, ...]]] = {
    kind: tuple(kind._field_defaults[name] for name in kind._fields[first:])
    for kind, first in _ADDED.items()
}


# Their last member was found for the request and is no part of it.
_FOUND: Final = frozenset({Reconcile, Undo})


def _plain(value: Any) -> Any:
    """`value` in lists, numbers, texts and bytes only, the same on every machine."""
    if isinstance(value, tuple):
        if type(value) in _FOUND:
            return [type(value).__name__, *map(_plain, value[:-1])]
        added = _ADDED.get(type(value))
        if added is not None and value[added:] == _ADDED_DEFAULTS[type(value)]:
            name, value = type(value).__name__, value[:added]
            # Of an `Allocate`, whose groups, addresses and labels have no numbers in them.
            return [name, *[str(m) if type(m) is int else m for m in value]]
        fields = [m if type(m) in _PLAIN else _plain(m) for m in value]
        # Two commands of the same fields are different requests.
        return fields if type(value) is tuple else [type(value).__name__, *fields]
    if isinstance(value, RangeSet):
        return [value.family, [[str(first), str(last)] for first, last in value.ranges]]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # addresses exceed what msgpack calls an integer
    return value


def request_hash(command: Command) -> bytes:
    """128 bits that tell this request from any other; who asks and why is not part of it."""
    return sha256(pack(_plain(command))).digest()[:16]


def command_key(command_id: str) -> tuple[bytes, str | None]:
    """Return the 16-byte key of a command id, and the id itself if it must be kept as text.

    An id of 32 lower-case hex digits, as we make them, is its own key; any other is hashed.

    Raises:
        InvalidInput: the id is empty, too long, or has control characters.
    """
    checked = check_text(command_id, "command id")
    if is_command_key(checked):
        return bytes.fromhex(checked), None
    return sha256(checked.encode()).digest()[:16], checked
