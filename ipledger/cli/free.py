"""`free`: what a pool may still give out, as ranges or as aligned blocks."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from engine.errors import InvalidInput
from ipledger.cli.complete import complete_pool
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit, plain, table
from ipledger.cli.views import RANGES_MAX, must_exist, not_found

if TYPE_CHECKING:
    from engine.facts import Pool
    from projections.block_set import BlockSet


@verb(
    examples=(
        "ipledger free web",
        "ipledger free web --limit 1 -o json",
        "ipledger free web --prefix-length 28",
        "ipledger free web --blocks",
    )
)
@click.argument("pool", shell_complete=complete_pool)
@click.option("--limit", type=int, default=20, metavar="N", help="At most N ranges [20].")
@click.option(
    "--prefix-length", type=int, metavar="L", help="The aligned blocks of this length instead."
)
@click.option(
    "--blocks", "by_length", is_flag=True, help="How many free blocks there are of each length."
)
def free(
    settings: Settings, /, pool: str, limit: int, prefix_length: int | None, *, by_length: bool
) -> None:
    """List the free ranges of a pool, lowest first; or its free blocks.

    With --blocks it is told how fragmented the pool is: how much of what is free lies outside of
    its largest free block.
    """
    if by_length and prefix_length is not None:
        message = "--blocks is about all lengths: leave out --prefix-length"
        raise click.UsageError(message, click.get_current_context())
    if not 1 <= limit <= RANGES_MAX:
        message = f"--limit {limit} is not a number of ranges"
        raise InvalidInput(message, f"from 1 to {RANGES_MAX}")
    with settings.open() as ledger:
        must_exist(ledger)
        ledger.state.advance(ledger.writer.server_now_ms())
        found = ledger.state.pool(pool)
        if found is None:
            raise not_found("pool", pool)
        free_set = ledger.state.pool_table.free(found.pool_id)
        if by_length:
            data, human = _by_length(found, free_set)
        elif prefix_length is not None:
            data, human = _of_length(found, free_set, prefix_length, limit)
        else:
            data, human = _ranges(found, free_set, limit)
    emit(settings.output, data, human)


def _ranges(pool: Pool, free_set: BlockSet, limit: int) -> tuple[dict[str, Any], str]:
    from ipledger.views import free_range_view

    ranges = list(islice(free_set.free_ranges(limit=limit + 1), limit + 1))
    items = [free_range_view(first, last, pool) for first, last in ranges[:limit]]
    total = free_set.counts.free
    data = {"items": items, "pool": pool.name, "free": total, "truncated": len(ranges) > limit}
    rows = [(i["first"], i["last"], i["size"]) for i in items]
    human = table(["first", "last", "addresses"], rows)
    more = f"\n… more than {limit} ranges; see --limit" if len(ranges) > limit else ""
    return data, f"{human}\n{total} free in pool {plain(pool.name)}{more}"


def _of_length(
    pool: Pool, free_set: BlockSet, length: int, limit: int
) -> tuple[dict[str, Any], str]:
    from ipledger.block_views import blocks_of_length

    data = blocks_of_length(pool, free_set, length, limit)
    rows = [(i["block"], i["first"], i["last"], i["size"]) for i in data["items"]]
    human = table(["block", "first", "last", "addresses"], rows)
    more = f"\n… more than {limit} blocks; see --limit" if data["truncated"] else ""
    told = f"{data['blocks']} free blocks of /{length} in pool {plain(pool.name)}"
    return data, f"{human}\n{told}{more}"


def _by_length(pool: Pool, free_set: BlockSet) -> tuple[dict[str, Any], str]:
    from ipledger.block_views import blocks_by_length

    data = blocks_by_length(pool, free_set)
    rows = [
        (f"/{i['prefix_length']}", i["blocks"], i["lowest"], i["could_be_given"])
        for i in data["items"]
    ]
    human = table(["length", "free blocks", "lowest", "could be given"], rows)
    total, outside = data["free"], data["fragmentation"]["outside_largest"]
    told = f"{total} free in pool {plain(pool.name)}"
    if total:
        # Exact, and rounded down: what is hardly fragmented is not shown as not at all.
        tenths = outside * 1_000 // total
        told += f", {tenths // 10}.{tenths % 10} % outside of the largest free block"
    return data, f"{human}\n{told}"
