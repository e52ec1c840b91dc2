"""Measures how fast the parts are, on this machine: `python scripts/benchmark.py PART --help`.

Each part prints a table, and as its last line one JSON object with the same figures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.benchmarks import encode, loss, retrieval, train  # noqa: E402
from utils.system.errors import run_command  # noqa: E402

PARTS = {"encode": encode, "train": train, "loss": loss, "retrieval": retrieval}


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line; `run` of the result is the part's function."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] + ".")
    parts = parser.add_subparsers(title="parts", metavar="PART", required=True)
    for name, part in PARTS.items():
        summary = part.__doc__.partition("\n")[0]
        part_parser = parts.add_parser(
            name,
            help=summary,
            description=part.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        part.add_arguments(part_parser)
        part_parser.set_defaults(run=part.run)
    return parser.parse_args(words)


def main() -> int | None:
    """Runs one part."""
    arguments = parse_arguments()
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
