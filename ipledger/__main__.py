"""Where the command `ipledger` begins. It must be fast, so it imports what it needs, when."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        from ipledger import __version__

        sys.stdout.write(f"ipledger {__version__}\n")
        return
    from ipledger.cli import run

    sys.exit(run(arguments))


if __name__ == "__main__":
    main()
