"""A state that was kept in pages is the state: whatever is asked of it, and whatever comes next."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from engine.addresses import RangeSet, parse_address, to_int
from engine.commands import Renew, SetAside, Sweep
from engine.entry import Record
from engine.errors import ViewDamaged
from engine.wire import decode_entry
from projections.digest import state_digest
from projections.pages import PAGE_KEYS, Paged, keep_table, masks_of, pack_page, unpack_page
from projections.state import LedgerState
from tests.builders import (
    MemoryPages,
    TestLedger,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)


def set_of(host: int) -> RangeSet:
    """One address of the first pool."""
    value = to_int(parse_address(f"10.0.0.{host}"))
    return RangeSet(4, [(value, value)])


def random_ledger(seed: int, commands: int) -> TestLedger:
    """A random history with everything in it that a state can hold."""
    random = Random(seed)  # noqa: S311 - the same history on every run
    ledger = TestLedger(seed=seed)
    ledger.apply(
        make_pool("v4", "10.0.0.0/23", cooldown_s=5),
        make_pool("timed", "10.0.2.0/24", ttl_s=60, policy="least-recently-used"),
        make_pool("v6", "fd00::/64", cooldown_s=3, policy="sticky", sticky_s=40),
    )
    for number in range(commands):
        ledger.clock.now_ms += random.randrange(1_500)
        held = list(ledger.state.leases())
        match random.randrange(20):
            case 7:
                ledger.run(SetAside(set_of(random.randrange(1, 255)), "x", 30))
            case 0:
                name = f"r{random.randrange(3)}"
                if ledger.state.reservation(name):
                    ledger.run(make_delete(reservations=[name]))
                else:
                    ledger.apply(make_reservation(name, f"10.0.0.{random.randrange(1, 255)}"))
            case 1:
                ledger.run(Sweep())
            case 8 if held:
                ledger.run(Renew(random.choice(held).lease_id, 60))
            case 2 | 3 | 4 | 5 | 6 if held:
                ledger.run(make_release(random.choice(held).lease_id))
            case _:
                pool = random.choice(("v4", "timed", "v6"))
                ledger.run(make_allocate(pool, owner=f"o{random.randrange(400)}", uid=str(number)))
    return ledger


def history(seed: int, commands: int) -> list[Record]:
    """The records of a random history."""
    return [decode_entry(raw) for raw in random_ledger(seed, commands).stream.entries]


def answers(state: LedgerState) -> list[object]:
    """What a state says of everything."""
    pools = [(pool, state.counts(pool.pool_id)) for pool in state.pools()]
    held = [
        (state.lease_at(lease.address), state.leases_of(lease.owner)) for lease in state.leases()
    ]
    due = [lease.lease_id for lease in state.leases_due(state.ms + 30_000, 1_000)]
    ended = [lease_id for lease_id in range(1, state.position + 1) if state.has_ended(lease_id)]
    free = [state.lowest_free(pool.pool_id) for pool in state.pools()]
    orders = [list(islice(state.longest_idle(pool.pool_id), 400)) for pool in state.pools()]
    remembered = [state.remembered(f"o{number}", "eth0") for number in range(400)]
    return [pools, held, due, ended, free, orders, remembered, state_digest(state)]


@pytest.mark.parametrize("seed", range(6))
def test_a_state_that_is_kept_again_and_again_is_the_state(seed: int) -> None:
    """Each process reads what it needs, folds what came meanwhile, and keeps what changed."""
    random = Random(seed)  # noqa: S311 - the same on every run
    records = history(seed, 700)
    whole, kept, pages = LedgerState(), LedgerState(), MemoryPages()
    at = 0
    while at < len(records):
        upto = at + random.choice((1, 7, 60, 300))
        whole.apply_all(records[at:upto])
        kept.apply_all(records[at:upto])
        at = upto
        kept = pages.taken_up(kept)
        if random.random() < 0.2:
            assert answers(kept) == answers(whole)
    assert answers(kept) == answers(whole)


def test_reading_everything_gives_a_state_that_needs_no_pages() -> None:
    """A process that stays lets go of the file."""
    whole, pages = LedgerState(), MemoryPages()
    records = history(1, 500)
    whole.apply_all(records[:-50])
    kept = pages.taken_up(whole)
    kept.read_all()
    pages.stored.clear()
    whole.apply_all(records[-50:])
    kept.apply_all(records[-50:])
    assert answers(kept) == answers(whole)


def test_only_what_is_asked_for_is_read() -> None:
    """One allocation reads about a page of each table, however many there are."""
    state, pages = LedgerState(), MemoryPages()
    ledger = TestLedger()
    ledger.apply(make_pool("big", "10.0.0.0/16"))
    for number in range(40):
        ledger.run(make_allocate("big", owner=f"owner-{number}", number=50))
    state.apply_all(decode_entry(raw) for raw in ledger.stream.entries)
    ledger.take_up(pages)
    pages.read_of.clear()
    ledger.grant("big", owner="somebody-else")
    assert sum(pages.read_of.values()) <= 8, pages.read_of
    assert len(pages.stored) > 100, "there are far more"


def test_the_command_window_stays_within_its_bound() -> None:
    """A command that left the window is not found, whether or not its page was rewritten."""
    ledger, pages = TestLedger(), MemoryPages()
    ledger.apply(make_pool())
    done = ledger.done(make_allocate(owner="a"), "the first")
    ledger.take_up(pages)
    key = done.records[0].header.command
    assert ledger.state.commands.get(key) is not None
    later = done.records[0]._replace(position=done.records[0].position + 100_000)
    ledger.state.commands.fold(later.position, later.ms, bytes(16), 0, later.commit)
    assert ledger.state.commands.get(key) is None


class TestPages:
    """A page is what was written, where it was written, or an error."""

    def test_a_page_comes_back(self) -> None:
        """Arrays as tuples, and everything else as it was."""
        value = ((b"key", (1, None, "x", (2, 3))),)
        assert unpack_page("t", 7, pack_page("t", 7, value)) == value

    @pytest.mark.parametrize("bit", range(0, 8 * 30, 7))
    def test_a_flipped_bit_is_noticed(self, bit: int) -> None:
        """Whichever it is, in the check value or in what it covers."""
        data = bytearray(pack_page("t", 7, ("a" * 24,)))
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ViewDamaged, match="page 7 of t"):
            unpack_page("t", 7, bytes(data))

    @pytest.mark.parametrize("data", [None, b"", b"1234", "text", 5])
    def test_no_page_at_all_is_noticed(self, data: object) -> None:
        """A row that is missing or is something else."""
        with pytest.raises(ViewDamaged):
            unpack_page("t", 7, data)

    def test_a_page_in_another_ones_place_is_noticed(self) -> None:
        """The check value covers where a page belongs."""
        data = pack_page("t", 7, ())
        for table, number in (("u", 7), ("t", 8)):
            with pytest.raises(ViewDamaged):
                unpack_page(table, number, data)

    def test_a_table_grows_into_more_pages(self) -> None:
        """Pages stay small: a table that has outgrown its pages is cut anew."""
        pages = MemoryPages()
        table: Paged[int, int] = Paged(pages, "t", *keep_table(pages, "t", masks_of([1])))
        before = table.pages
        for number in range(20 * PAGE_KEYS):
            table[number] = number
        after, size = keep_table(pages, "t", table)
        assert size == 20 * PAGE_KEYS
        assert after > before
        again: Paged[int, int] = Paged(pages, "t", after, size)
        assert dict(again) == dict(table)
        assert len(again) == size
