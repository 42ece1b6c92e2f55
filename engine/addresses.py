"""Addresses, subnets and sets of addresses: how they are written and what they are.

An address is its 4 or 16 raw bytes, everywhere: as a dictionary key, on the wire, in a digest. A
set of addresses is its ranges; nothing here ever costs by the number of addresses.

Reading is strict on purpose. A text that two programs could read differently (leading zeros,
IPv4-mapped addresses, a range written backwards) is refused by name instead of guessed at. Only
what cannot be misread is normalised: the case and compression of IPv6 addresses, and the order and
overlap of the entries of a list.
"""

from __future__ import annotations

import re
import reprlib
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, NewType, NoReturn

from engine import ranges as arithmetic
from engine.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from engine.ranges import Ranges

Family = Literal[4, 6]
Address = NewType("Address", bytes)

BITS: Final[dict[Family, int]] = {4: 32, 6: 128}

_V4_LENGTH: Final = 4
_FAMILIES: Final[dict[int, Family]] = {_V4_LENGTH: 4, 16: 6}
_MAPPED_PREFIX: Final = bytes(10) + b"\xff\xff"
_LEADING_ZEROS: Final = re.compile(r"(?=.*\b0[0-9])[0-9]+(\.[0-9]+){3}")

# The longest range that can be meant is two IPv6 addresses of 45 characters and a hyphen.
_ENTRY_LENGTH_MAX: Final = 100
_SHOWN_LENGTH: Final = 60


# ------------------------------------------------------------------------------ single addresses


def parse_address(text: str, family: Family | None = None) -> Address:
    """Read one address, written as people write it.

    Args:
        text: An IPv4 address, or an IPv6 address in any case and compression.
        family: The family it has to be of, if only one will do.

    Raises:
        AddressError: It is no address, is ambiguous, or is of the other family.
    """
    entry = _checked_text(text)
    address = _read_address(entry, entry)
    if family is not None:
        _require_family(entry, family_of(address), family)
    return address


def format_address(address: Address) -> str:
    """Return the one canonical text of an address: dotted decimal, or RFC 5952."""
    if len(address) == _V4_LENGTH:
        first, second, third, fourth = address
        return f"{first}.{second}.{third}.{fourth}"
    if address.startswith(_MAPPED_PREFIX):
        # Python writes these in hexadecimal up to 3.12 and dotted (as RFC 5952 advises) after.
        return f"::ffff:{format_address(Address(address[12:]))}"
    return str(IPv6Address(address))


def family_of(address: Address) -> Family:
    """Return the family of an address, which is a matter of its length."""
    try:
        return _FAMILIES[len(address)]
    except KeyError:
        raise ValueError(f"an address has 4 or 16 bytes, not {len(address)}") from None


def to_int(address: Address) -> int:
    """Return an address as a number, for arithmetic."""
    return int.from_bytes(address, "big")


def from_int(value: int, family: Family) -> Address:
    """Return the address that is this number in its family."""
    return Address(value.to_bytes(BITS[family] // 8, "big"))


# --------------------------------------------------------------------------------------- subnets


class Subnet(NamedTuple):
    """A block of addresses that share a prefix; ``first`` is the number of its lowest address."""

    family: Family
    first: int
    # Were this a plain int, mypy would take ``address in subnet`` for a search among the fields.
    prefix_length: int | Any

    @property
    def last(self) -> int:
        """The number of its highest address."""
        return self.first + self.size - 1

    @property
    def size(self) -> int:
        """How many addresses it has, network and broadcast address included."""
        return 1 << (BITS[self.family] - self.prefix_length)

    def __str__(self) -> str:
        return f"{format_address(from_int(self.first, self.family))}/{self.prefix_length}"

    def __contains__(self, address: object) -> bool:
        # A number has no family, so it cannot be asked for here; `RangeSet` is where numbers go.
        assert isinstance(address, bytes), "a subnet contains addresses, not numbers"
        address = Address(address)
        return family_of(address) == self.family and self.first <= to_int(address) <= self.last

    def overlaps(self, other: Subnet) -> bool:
        """Tell whether one of the two lies within the other. Families never overlap."""
        return self.family == other.family and (
            self.first <= other.last and other.first <= self.last
        )


def parse_subnet(text: str) -> Subnet:
    """Read a subnet, which has to be written in its canonical form (rules V4 and V5).

    Raises:
        AddressError: It is no subnet, has bits set after its prefix, or is written otherwise
            than it would be printed; then the message says what to write instead.
    """
    entry = _checked_text(text)
    address_text, slash, length_text = entry.partition("/")
    if not slash:
        raise AddressError(entry, "not a subnet", "write it as ADDRESS/PREFIX-LENGTH")
    address = _read_address(address_text, entry)
    family = family_of(address)
    bits = BITS[family]
    # int() alone would also take signs, underscores and the digits of other scripts.
    if not (length_text.isascii() and length_text.isdigit()) or int(length_text) > bits:
        why = f"the prefix length of an IPv{family} subnet is a number from 0 to {bits}"
        raise AddressError(entry, why)
    host_bits = bits - int(length_text)
    subnet = Subnet(family, to_int(address) >> host_bits << host_bits, int(length_text))
    if entry != str(subnet):
        raise AddressError(entry, f"not the canonical form of a subnet; change it to {subnet}")
    return subnet


# ------------------------------------------------------------------------------ sets of addresses


class RangeSet:
    """A set of addresses of one family, kept as ranges in normal form (see `engine.ranges`).

    It is immutable and hashable, and sets of the same addresses are equal. Addresses are numbers
    here. Sets of different families cannot be combined.
    """

    __slots__ = ("family", "ranges")

    family: Family
    ranges: Ranges

    def __init__(self, family: Family, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """Make a set from any ranges: in any order, overlapping, repeated.

        Raises:
            ValueError: A range is reversed or leaves the address space. Texts are checked by
                `parse`, so this is a programming error.
        """
        self._fill(family, arithmetic.normalise(ranges))

    @classmethod
    def of_sorted(cls, family: Family, ranges: Ranges) -> RangeSet:
        """Make a set from ranges known to be in normal form."""
        assert arithmetic.is_normal(ranges), "the ranges are not sorted, disjoint and joined"
        made = cls.__new__(cls)
        made._fill(family, ranges)  # noqa: SLF001 - the same class
        return made

    @classmethod
    def parse(
        cls,
        entries: Sequence[str],
        family: Family | None = None,
        *,
        subnet: Subnet | None = None,
        allow_cidr: bool = False,
    ) -> RangeSet:
        """Read a list of addresses ``a``, ranges ``a-b`` and, where allowed, subnets ``a/n``.

        Entries may come in any order, repeat and overlap. The family is the one asked for, or
        the subnet's, or else that of the first entry.

        Raises:
            AddressError: An entry is refused; the error names it.
            ValueError: The family is contradictory, or unknown because there are no entries.
        """
        if isinstance(entries, str):
            # A text is a sequence of texts too, and would be refused letter by letter.
            raise AddressError(_shown(entries), "a list is wanted here, not a single text")
        if subnet is not None:
            if family not in {None, subnet.family}:
                raise ValueError(f"subnet {subnet} cannot hold addresses of IPv{family}")
            family = subnet.family
        ranges = []
        for entry in entries:
            found, low, high = _read_entry(entry, allow_cidr=allow_cidr)
            family = family or found
            _require_family(entry, found, family)
            if subnet is not None and not subnet.first <= low <= high <= subnet.last:
                raise AddressError(entry, f"not inside the subnet {subnet}")
            ranges.append((low, high))
        if family is None:
            raise ValueError("without entries, the family of the set has to be given")
        return cls(family, ranges)

    def union(self, other: RangeSet) -> RangeSet:
        """Return what is in either set."""
        return self._combine(arithmetic.union, other)

    def subtract(self, other: RangeSet) -> RangeSet:
        """Return what is in this set and not in the other."""
        return self._combine(arithmetic.difference, other)

    def intersect(self, other: RangeSet) -> RangeSet:
        """Return what is in both sets."""
        return self._combine(arithmetic.intersection, other)

    __or__ = union
    __sub__ = subtract
    __and__ = intersect

    def contains_set(self, other: RangeSet) -> bool:
        """Tell whether all of the other set is in this one."""
        self._require_same_family(other)
        return arithmetic.covers(self.ranges, other.ranges)

    def overlaps(self, other: RangeSet) -> bool:
        """Tell whether the two sets have any address in common."""
        self._require_same_family(other)
        return arithmetic.overlap(self.ranges, other.ranges)

    def index_of(self, value: int) -> int:
        """Return which of the ranges holds this address, or -1."""
        return arithmetic.index_of(self.ranges, value)

    @property
    def size(self) -> int:
        """How many addresses it holds, exactly (``len`` counts ranges, and cannot go so far)."""
        return sum(high - low + 1 for low, high in self.ranges)

    @property
    def is_empty(self) -> bool:
        """Whether it holds no address."""
        return not self.ranges

    def texts(self) -> list[str]:
        """Return the canonical text of each range: ``a``, or ``a-b``."""
        texts = []
        for low, high in self.ranges:
            first = format_address(from_int(low, self.family))
            last = format_address(from_int(high, self.family))
            texts.append(first if low == high else f"{first}-{last}")
        return texts

    def __contains__(self, value: int) -> bool:
        return self.index_of(value) >= 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.ranges)

    def __len__(self) -> int:
        return len(self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RangeSet):
            return NotImplemented
        return self.family == other.family and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash((self.family, self.ranges))

    def __repr__(self) -> str:
        return f"RangeSet({self.family}, {self.texts()})"

    def __reduce__(self) -> tuple[object, ...]:
        # The default way to copy and pickle would set the attributes, which is forbidden.
        return RangeSet.of_sorted, (self.family, self.ranges)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a RangeSet does not change: {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a RangeSet does not change: {name} cannot be deleted")

    def _fill(self, family: Family, ranges: Ranges) -> None:
        if family not in BITS:
            raise ValueError(f"there is no IP version {family}")
        if ranges and not 0 <= ranges[0][0] <= ranges[-1][1] < 1 << BITS[family]:
            raise ValueError(f"the ranges leave the IPv{family} address space")
        object.__setattr__(self, "family", family)
        object.__setattr__(self, "ranges", ranges)

    def _combine(self, operation: Callable[[Ranges, Ranges], Ranges], other: RangeSet) -> RangeSet:
        self._require_same_family(other)
        return RangeSet.of_sorted(self.family, operation(self.ranges, other.ranges))

    def _require_same_family(self, other: RangeSet) -> None:
        if self.family != other.family:
            raise ValueError(f"sets of IPv{self.family} and IPv{other.family} cannot be combined")


# --------------------------------------------------------------------------------- reading texts


def _read_entry(entry: str, *, allow_cidr: bool) -> tuple[Family, int, int]:
    """Read one entry of a list as a family and a range."""
    entry = _checked_text(entry)
    if "/" in entry:
        if not allow_cidr:
            raise AddressError(entry, "a subnet is not accepted here", "write a range FIRST-LAST")
        subnet = parse_subnet(entry)
        return subnet.family, subnet.first, subnet.last
    if entry.count("-") > 1:
        raise AddressError(entry, "a range has two ends, FIRST-LAST")
    ends = [_read_address(part, entry) for part in entry.split("-")]
    first, last = ends[0], ends[-1]
    if family_of(first) != family_of(last):
        raise AddressError(entry, "a range cannot reach from one IP version to the other")
    if first > last:
        hint = f"write {format_address(last)}-{format_address(first)}"
        raise AddressError(entry, "the range is reversed", hint)
    return family_of(first), to_int(first), to_int(last)


def _read_address(part: str, entry: str) -> Address:
    """Read an address that is all or part of an entry; an error names the whole entry."""
    named = "this" if part == entry else repr(part)
    if not part:
        raise AddressError(entry, "an address is missing")
    if "%" in part:
        # A scope names an interface of one machine, and means nothing to all the others.
        raise AddressError(entry, "a scope id is not part of an address", "leave out the % part")
    try:
        address = Address((IPv6Address if ":" in part else IPv4Address)(part).packed)
    except AddressValueError:
        if _LEADING_ZEROS.fullmatch(part):
            why = f"{named} has leading zeros, which some read as octal"
        else:
            why = f"{named} is not an IP address"
        raise AddressError(entry, why) from None
    if address.startswith(_MAPPED_PREFIX):
        dotted = format_address(Address(address[12:]))
        raise AddressError(entry, "an IPv4-mapped address is not accepted", f"write {dotted}")
    return address


def _checked_text(entry: object) -> str:
    """Return an entry that is a text of plausible length without white space."""
    if not isinstance(entry, str):
        why = f"an address must be a text in quotes, not of type {type(entry).__name__}"
        raise AddressError(_shown(entry), why, "unquoted, YAML reads some addresses as numbers")
    if not entry:
        raise AddressError(entry, "an address is missing")
    if len(entry) > _ENTRY_LENGTH_MAX:
        why = f"{len(entry)} characters are too many for an address or a range"
        raise AddressError(_shown(entry), why)
    if any(character.isspace() for character in entry):
        raise AddressError(entry, "white space is not part of an address or a range")
    return entry


def _shown(entry: object) -> str:
    """Return an entry as a message shows it: never long, and never costly to make."""
    if not isinstance(entry, str):
        try:
            entry = reprlib.repr(entry)
        except ValueError:
            # Python will not write out an integer of more than some thousand digits.
            entry = f"<{type(entry).__name__}>"
    return entry if len(entry) <= _ENTRY_LENGTH_MAX else f"{entry[:_SHOWN_LENGTH]}..."


def _require_family(entry: str, found: Family, wanted: Family) -> None:
    if found != wanted:
        raise AddressError(entry, f"this is IPv{found}, where IPv{wanted} is wanted")
