"""What is really in use, as somebody saw it: who was seen at which address, and when.

An observation is a set of users. It is told from others by what was seen *and when*: a network in
which nothing changes gives the same list twice, and that is two observations; one list that is
given twice is one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from engine.addresses import Address, Family, family_of, to_int
from engine.spans import is_single, last_of
from engine.wire import pack


class User(NamedTuple):
    """Somebody seen at an address. Without an owner only the address was seen, as in an ARP table.

    The interface is None where whoever looked does not know it.
    """

    address: Address
    owner: str | None = None
    interface: str | None = None


class Observation:
    """All users that were seen at one time; immutable, and found by address and by owner."""

    def __init__(self, users: Iterable[User], observed_at_ms: int) -> None:
        """Take users in any order, any of them as often as they were seen."""
        self.observed_at_ms = observed_at_ms
        self.users: tuple[User, ...] = tuple(sorted(set(users), key=_order))
        self.id = _identity(self.users, observed_at_ms)
        self._at: dict[Address, list[User]] = {}
        self._of: dict[str, list[User]] = {}
        for user in self.users:
            self._at.setdefault(user.address, []).append(user)
            if user.owner is not None:
                self._of.setdefault(user.owner, []).append(user)
        self._values: dict[Family, list[int]] = {4: [], 6: []}
        self._addresses: dict[Family, list[Address]] = {4: [], 6: []}
        for address in self._at:  # in ascending order, as the users are
            self._values[family_of(address)].append(to_int(address))
            self._addresses[family_of(address)].append(address)

    @property
    def addresses(self) -> Iterable[Address]:
        """Every address at which somebody was seen, once."""
        return self._at.keys()

    def at(self, address: Address) -> list[User]:
        """Who was seen at an address."""
        return self._at.get(address, [])

    def of(self, owner: str) -> list[User]:
        """Where an owner was seen."""
        return self._of.get(owner, [])

    def within(self, address: Address, prefix_length: int) -> Iterator[User]:
        """Who was seen at an address or, with a prefix shorter than it, in the block it begins."""
        if is_single(address, prefix_length):
            yield from self.at(address)
            return
        family, first = family_of(address), to_int(address)
        values = self._values[family]
        begin = bisect_left(values, first)
        end = bisect_right(values, last_of(address, prefix_length))
        for at in self._addresses[family][begin:end]:
            yield from self._at[at]


def _order(user: User) -> tuple[int, bytes, str, str]:
    return len(user.address), user.address, user.owner or "", user.interface or ""


def _identity(users: tuple[User, ...], observed_at_ms: int) -> bytes:
    """128 bits of SHA-256 over what was seen and when: the same on every machine."""
    head = pack(("ipledger observation", 1, observed_at_ms))
    return sha256(head + b"".join(map(pack, users))).digest()[:16]


class Absence(NamedTuple):
    """What observations say of a lease that is held and was missing in one.

    Args:
        times: in how many observations it was missing since it was last seen or renewed.
        since_ms: when the first of them was made.
        last_ms: when the last one that speaks of it was made, or when it was renewed after that.
        observation: the last one that it was missing in.
        position: of the event that says so.
    """

    times: int
    since_ms: int
    last_ms: int
    observation: bytes
    position: int

    def seen(self, at_ms: int) -> Absence:
        """It was present, or renewed: what counts begins anew, and behind that time."""
        return self._replace(times=0, last_ms=max(self.last_ms, at_ms))


def missed(before: Absence | None, observation: bytes, at_ms: int, position: int) -> Absence:
    """The absence after one more observation, which is later than all before it."""
    if before is None or not before.times:
        return Absence(1, at_ms, at_ms, observation, position)
    return Absence(before.times + 1, before.since_ms, at_ms, observation, position)
