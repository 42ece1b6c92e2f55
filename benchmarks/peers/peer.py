"""What every peer is asked to do, and the addresses that all of them give out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from ipaddress import IPv4Network
from typing import Any, Final, NamedTuple

# Lowest first, as all of the peers choose: what is taken is the first so many hosts.
WIDE: Final = IPv4Network("10.0.0.0/16")
QUICK: Final = IPv4Network("10.0.0.0/25")


class Job(NamedTuple):
    """The prefix that is filled, and its first and last address that may be given out."""

    prefix: IPv4Network

    @property
    def first(self) -> int:
        """The first host, as a number."""
        return int(self.prefix.network_address) + 1

    @property
    def last(self) -> int:
        """The last host, as a number."""
        return int(self.prefix.broadcast_address) - 1

    @property
    def size(self) -> int:
        """How many addresses there are to give out."""
        return self.last - self.first + 1


class Held(NamedTuple):
    """An address that was given out, and what the peer wants to see when it is given back."""

    address: int
    handle: Any


class ConflictError(Exception):
    """The peer gave up because of somebody else's call: whoever asked has to ask again."""


class Peer(ABC):
    """One way of giving out addresses, with a store of its own.

    Attributes:
        name: what the figures are called.
        ceiling: the figure that one durable write to the same kind of store is.
        asked_at_half: whether sixteen callers are let loose on it at half fill, too; one where
            a single call takes seconds there is asked only when it is nearly empty.
        flat: whether a call costs about the same at any fill, so that the whole prefix can be
            filled by calls; with the others that would take from minutes to days.
        needs: the module that has to be installed, of the extra `bench`.
    """

    name: str
    ceiling: str | None = None
    asked_at_half: bool = True
    flat: bool = False
    needs: str | None = None

    @abstractmethod
    def acquire(self, owner: str) -> Held:
        """Give the owner the lowest free address.

        Raises:
            ConflictError: another call came between.
        """

    @abstractmethod
    def release(self, held: Held) -> None:
        """Take the address back."""

    @abstractmethod
    def fill_to(self, taken: int) -> None:
        """Bring the store to where so many addresses are taken, the lowest, by the fastest way."""

    def leave(self) -> None:  # noqa: B027 - most have nothing to end
        """End what the calling thread opened."""

    def close(self) -> None:  # noqa: B027 - as above
        """End the rest."""


def filler(index: int) -> str:
    """Who holds an address that was taken before anything was measured."""
    return f"cluster-1/default/filler-{index}"
