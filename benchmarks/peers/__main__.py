"""ipledger beside what a user would have otherwise: `python -m benchmarks.peers [--quick]`."""

from benchmarks.harness import main
from benchmarks.peers.job import __doc__ as told
from benchmarks.peers.job import measure

if __name__ == "__main__":
    main(told or "", [measure])
