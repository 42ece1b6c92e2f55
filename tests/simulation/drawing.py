"""What the writers of the simulation ask for: every command there is, on what each knows."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from engine.addresses import Address, RangeSet, from_int, to_int
from engine.commands import (
    Adopt,
    Adopted,
    Allocate,
    AllocateTogether,
    Apply,
    Command,
    Delete,
    PutBack,
    Raise,
    Reconcile,
    Release,
    Renew,
    SetAside,
    Sweep,
    Undo,
)
from engine.events import LEVEL
from engine.model import DEFAULT_INTERFACE
from engine.observation import Observation, User
from ipledger.reconciling import find_ended
from ipledger.writer import Writer
from projections.state import LedgerState
from tests.builders import make_allocate, make_delete, make_pool, make_reservation, text_of

POOLS: Final = (
    make_pool("a", "10.0.0.0/28"),
    make_pool("b", "10.0.1.0/28", cooldown_s=3, policy="sticky", sticky_s=60),
    make_pool("c", "10.0.2.0/26", ttl_s=2, policy="least-recently-used"),
    make_pool("e", "10.0.4.0/25", ttl_s=3, default=True),
)
_CHANGED: Final = (
    make_pool("a", "10.0.0.0/28", disabled=True),
    make_pool("b", "10.0.1.0/28", cooldown_s=1),
    make_pool("c", "10.0.2.0/26", ttl_s=1),
    make_pool("c", "10.0.2.0/26", policy="random", default=True),
    make_pool("d", "10.0.3.0/29", cooldown_s=2),
)
_GROUPS: Final = ("a", "b", "c", "e", "e", "e", "a,b", "b,c,a", "d,a")
_OWNERS: Final = 9
_LATE_MS: Final = 2_000

Draw = Callable[[Writer], Command]


def sweep(_writer: Writer) -> Command:
    """What a sweeper asks for, again and again."""
    return Sweep()


class Drawing:
    """Draws what a writer asks for, on what it knows."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._kinds: tuple[tuple[float, Callable[[Writer], Command | None]], ...] = (
            (0.38, self._allocate), (0.15, self._release), (0.14, self._renew), (0.04, self._sweep),
            (0.07, self._quarantine), (0.04, self._reservation), (0.06, self._configuration),
            (0.03, self._together), (0.03, self._adopt), (0.03, self._reconcile),
            (0.03, self._undo), (0.02, self._raise),
        )  # fmt: skip

    def __call__(self, writer: Writer) -> Command:
        """The next command.

        Raises:
            LedgerError: what it speaks of had to be looked up, and could not be.
        """
        drawn = self._random.random() * sum(share for share, _ in self._kinds)
        for share, kind in self._kinds:
            drawn -= share
            if drawn < 0:
                return kind(writer) or self._allocate(writer)
        return Sweep()

    def _allocate(self, writer: Writer) -> Allocate:
        choose = self._random.choice
        groups = choose(((choose(_GROUPS),), (choose(_GROUPS),), ("a", "c")))
        asked = make_allocate(
            *choose((groups, groups, groups, ("[ac]",))),
            prefix_length=choose((None, None, None, None, None, 31, 30)),
            owner=self._owner(),
            uid=choose((None, "u1", "u2", "u3")),
            interface=self._interface(),
            number=choose((1, 1, 1, 2)),
            labels=choose(((), (("app", "x"),))),
            effective_at_ms=self._late(writer.state),
        )
        return asked._replace(groups=()) if self._random.random() < 0.05 else asked

    def _together(self, writer: Writer) -> AllocateTogether:
        """All interfaces of a pod."""
        first = self._allocate(writer)._replace(number=1, groups=(("e",),))
        second = first._replace(interface="net1", groups=((self._random.choice("ace"),),))
        return AllocateTogether((first._replace(interface=DEFAULT_INTERFACE), second))

    def _release(self, writer: Writer) -> Release | None:
        lease = self._lease(writer.state)
        if lease is None:
            return None
        named = Release((lease,), effective_at_ms=self._late(writer.state))
        of_label = Release(labels=(("app", "x"),))
        return self._random.choice((named, named, Release(owner=self._owner()), of_label))

    def _renew(self, writer: Writer) -> Renew | None:
        """As its holder does: what ends next, as a rule."""
        lasting = [
            (lease.expires_at_ms, lease.lease_id) for lease in writer.state.leases()
            if lease.expires_at_ms is not None
        ]  # fmt: skip
        lease = min(lasting)[1] if lasting else self._lease(writer.state)
        if lease is None:
            return None
        return Renew(lease, self._random.choice((None, 1, 5)), may_shorten=True)

    def _sweep(self, _writer: Writer) -> Sweep:
        return Sweep()

    def _quarantine(self, writer: Writer) -> SetAside | PutBack:
        """Of any address, or of one that somebody holds."""
        held = [to_int(lease.address) for lease in writer.state.leases()]
        value = self._random.choice(held) if held and self._random.random() < 0.5 else self._value()
        ips = RangeSet(4, [(value, value)])
        return self._random.choice(
            (SetAside(ips, "arp", self._random.choice((None, 2))), PutBack(ips))
        )

    def _reservation(self, _writer: Writer) -> Apply | Delete:
        first = text_of(from_int(self._value(), 4))
        owner = self._random.choice((None, None, self._owner()))
        kept = make_reservation("r", first, for_s=self._random.choice((None, 2)), owner=owner)
        return self._random.choice(
            (Apply((kept,)), Delete(make_delete(reservations=("r",)).targets))
        )

    def _configuration(self, _writer: Writer) -> Apply | Delete:
        choose = self._random.choice
        changed = choose((*_CHANGED, *POOLS))
        name = choose(("d", "b", "c"))
        return choose(
            (Apply((changed,)), Apply((changed,), create_only=choose((True, False))),
             make_delete(name, cascade=choose((True, True, False))))
        )  # fmt: skip

    def _adopt(self, writer: Writer) -> Adopt:
        """Leases that another system had given out."""
        adopted = [
            Adopted(
                from_int(self._value(), 4), 32, self._owner(), self._interface(),
                ttl_s=self._random.choice((None, 3)), effective_at_ms=self._late(writer.state),
            )
            for _ in range(self._random.randint(1, 3))
        ]  # fmt: skip
        return Adopt(tuple(adopted), "elsewhere")

    def _reconcile(self, writer: Writer) -> Reconcile:
        """What was seen in the network: most of what is held, as of just before."""
        users = [
            User(lease.address, lease.owner, lease.interface) for lease in writer.state.leases()
            if self._random.random() < 0.8
        ]  # fmt: skip
        observed = Observation(users, writer.state.ms + self._random.randrange(500))
        return Reconcile(
            observed.id, "seen by the simulation", self._random.choice((None, 1, 2)), 0, (), (),
            (), self._random.random() < 0.7, observed,
        )  # fmt: skip

    def _undo(self, writer: Writer) -> Undo | None:
        """Take back the end of a lease, one of the last."""
        state = writer.state
        over = [lease for lease in range(2, state.position + 1) if state.has_ended(lease)]
        if not over:
            return None
        lease = self._random.choice(over[-8:])
        return Undo(lease, find_ended(writer.stream, state, lease))

    def _raise(self, _writer: Writer) -> Raise:
        return Raise(LEVEL)

    def _lease(self, state: LedgerState) -> int | None:
        leases: list[Any] = [lease.lease_id for lease in state.leases()]
        return self._random.choice(leases) if leases else None

    def _late(self, state: LedgerState) -> int | None:
        """When a fact was true that is told late; None for now, as a rule."""
        late_ms = self._random.randrange(_LATE_MS)
        return state.ms - late_ms if self._random.random() < 0.08 else None

    def _owner(self) -> str:
        return f"pod-{self._random.randrange(_OWNERS)}"

    def _interface(self) -> str:
        return self._random.choice((DEFAULT_INTERFACE, "net1"))

    def _value(self) -> int:
        """An address that has often been given out: pools begin with their lowest."""
        third = self._random.choice((0, 1, 2, 4))
        return to_int(Address(bytes([10, 0, third, 0]))) + self._random.randint(1, 7)
