"""`allocate -f`: what the replicas of workloads ask for, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.errors import EXIT_CODES, InvalidInput, LedgerError
from ipledger.cli.show import emit, error_json, plain, plain_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.facts import Lease
    from ipledger.cli.leases import Asked
    from ipledger.cli.settings import Settings
    from ipledger.manifests.choosing import Given
    from ipledger.wishes import Wish


def allocate_files(settings: Settings, paths: tuple[str, ...], asked: Asked) -> int:
    """What each replica asks for, each on its own; the exit code says if any was refused."""
    from ipledger.cli.leases import all_leases, lease_table, lease_views, read_labels
    from ipledger.wishes import as_held

    wishes = _wishes(settings, paths, asked)
    said = read_labels(asked["labels"])
    with settings.open() as ledger:
        wishes = [as_held(wish, ledger.state.leases_of, said) for wish in wishes]
        answers = ledger.run_all([wish.operation for wish in wishes])
        granted: list[Lease] = []
        refused: list[dict[str, Any]] = []
        codes: list[int] = []
        for wish, answer in zip(wishes, answers, strict=True):
            if isinstance(answer, LedgerError):
                told = error_json(answer.kind, answer.message, answer.hint)["error"]
                refused.append({"owner": wish.owner, "error": told})
                codes.append(EXIT_CODES[answer.kind])
            else:
                granted += all_leases(ledger, answer)
        leases = lease_views(ledger, granted)
    lines = [lease_table(leases)] if leases else []
    for entry in refused:
        error = entry["error"]
        lines.append(f"{entry['owner']}: refused: {plain(error['message'])}")
        lines += [f"hint: {error['hint']}"] if error["hint"] else []
    data = {"leases": leases, "refused": refused}
    emit(settings.output, data, plain_lines("\n".join(lines)), ["leases", "refused"])
    return _exit_code(codes)


def _exit_code(codes: Sequence[int]) -> int:
    """The exit code for those of all that was refused, in their order; 0 for none.

    What may have been written, or could not be decided at all, is told before any refusal.
    """
    exhausted = EXIT_CODES["exhausted"]
    failed = [code for code in codes if code >= EXIT_CODES["unavailable"]]
    if failed:
        return max(failed)
    return exhausted if exhausted in codes else next(iter(codes), 0)


def _wishes(settings: Settings, paths: tuple[str, ...], asked: Asked) -> list[Wish]:
    """What is asked for each replica of the files' workloads.

    Raises:
        InvalidInput: the files cannot be understood, or hold something else.
    """
    from ipledger.cli.leases import lease_options
    from ipledger.cli.manifest import read_files
    from ipledger.wishes import make_wishes

    given, options = _given(asked), lease_options(asked)
    parsed = read_files(paths, asked["namespace"])
    if parsed.objects or not parsed.workloads:
        hint = "use `ipledger apply -f` for pools and reservations"
        raise InvalidInput("allocate -f takes workloads only", hint)
    return make_wishes(parsed, given, **options, **settings.claims())


def _given(asked: Asked) -> Given:
    """What the options say besides the manifests.

    Raises:
        InvalidInput: one cannot be understood.
    """
    from ipledger.asking import read_families, read_groups
    from ipledger.cli.leases import read_labels
    from ipledger.manifests.choosing import Given

    interfaces = asked["interfaces"]
    if len(interfaces) > 1:
        message = "with -f, one --interface is being added, not several"
        raise InvalidInput(message, "leave it out for all that the manifest names")
    return Given(
        interface=interfaces[0] if interfaces else None,
        pools=read_groups(asked["default_pools"]),
        families=read_families([int(version) for version in asked["ip_versions"]]),
        namespace_labels=read_labels(asked["namespace_labels"], "--namespace-label"),
        node=asked["node"],
        node_labels=read_labels(asked["node_labels"], "--node-label"),
        network=asked["network"],
    )
