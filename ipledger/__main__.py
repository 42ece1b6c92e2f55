"""Where the command `ipledger` begins. It must be fast, so it imports what it needs, when."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    arguments = sys.argv[1:]
    if arguments == ["--version"] and sys.stdout is not None:
        from ipledger import __version__

        try:
            sys.stdout.write(f"ipledger {__version__}\n")
            sys.stdout.flush()
        except OSError:
            sys.exit(1)
        return
    try:
        from ipledger.cli import run

        code = run(arguments)
    except KeyboardInterrupt:  # while we were still being imported
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
