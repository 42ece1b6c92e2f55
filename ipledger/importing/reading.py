"""Which format a file is in, and its reader; changes with the formats that there are."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from engine.errors import InvalidInput
from engine.names import check_text
from ipledger.importing.found import Found
from ipledger.manifests.sources import Source

_Reader = Callable[[Sequence[Source], int, str | None], Found]


def _objects(sources: Sequence[Source], now_ms: int, cluster: str | None) -> Found:
    from ipledger.importing.documents import read_objects

    return read_objects(sources, now_ms, cluster)


def _kea4(sources: Sequence[Source], now_ms: int, cluster: str | None) -> Found:
    from ipledger.importing.kea import read_kea

    return read_kea(sources, 4, now_ms, cluster)


def _kea6(sources: Sequence[Source], now_ms: int, cluster: str | None) -> Found:
    from ipledger.importing.kea import read_kea

    return read_kea(sources, 6, now_ms, cluster)


def _table(sources: Sequence[Source], now_ms: int, cluster: str | None) -> Found:
    from ipledger.importing.table import read_table

    return read_table(sources, now_ms, cluster)


# Spiderpool's objects and our own manifests are told apart by what each of them says it is.
_READERS: Final[dict[str, _Reader]] = {
    "spiderpool": _objects,
    "kea4": _kea4,
    "kea6": _kea6,
    "csv": _table,
    "ipledger": _objects,
}
FORMATS: Final = tuple(_READERS)
_BEGINNING: Final = 65_536  # characters: the format shows in them
# The lease file of ISC's DHCP server: declarations in braces.
_DHCPD: Final = re.compile(
    r"^(?:lease [0-9.]+ \{|ia-(?:na|ta|pd) \"|server-duid \"|authoring-byte-order )", re.MULTILINE
)


def read_found(
    sources: Sequence[Source], form: str | None, now_ms: int, cluster: str | None = None
) -> tuple[str, Found]:
    """Read files that are all in one format, `form` or the one that they show; return which.

    Raises:
        InvalidInput: naming file and line, document or field.
    """
    if cluster is not None:
        cluster = check_text(cluster, "cluster")
    shown = {detect(source) for source in sources} if form is None else {form}
    if len(shown) != 1:
        message = f"the files are in different formats: {', '.join(sorted(shown))}"
        raise InvalidInput(message, "import them one after the other")
    (found,) = shown
    return found, _READERS[found](sources, now_ms, cluster)


def detect(source: Source) -> str:
    """The format that a file shows.

    Raises:
        InvalidInput: it is none of ours.
    """
    name, text = source
    beginning = text[:_BEGINNING].lstrip()
    header = [cell.strip().lower() for cell in beginning.split("\n", 1)[0].split(",")]
    if "address" in header:
        if "duid" in header:
            return "kea6"
        return "kea4" if "hwaddr" in header else "csv"
    if "apiVersion" in beginning:
        return "ipledger" if "ipledger/" in beginning else "spiderpool"
    if _DHCPD.search(beginning):
        message = f"{name}: it is a lease file of ISC's dhcpd, which is not read"
        hint = (
            "write its leases as CSV (address,owner,until), or import Kea's lease file once Kea "
            "serves these clients"
        )
        raise InvalidInput(message, hint)
    hint = f"say which with --format: {', '.join(FORMATS)}"
    raise InvalidInput(f"{name}: its format is not known", hint)
