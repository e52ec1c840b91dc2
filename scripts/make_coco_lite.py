"""Draws coco_lite: pictures in datasets/coco_lite, lists and card in data/coco_lite.

The same files on each run with the same Pillow. `python scripts/make_coco_lite.py --force` draws
the shipped ones anew.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.coco_lite.card import write_card  # noqa: E402
from scripts.coco_lite.dataset import write_lists, write_pictures  # noqa: E402
from utils.system.errors import UserError, run_command  # noqa: E402


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Draw the data set coco_lite.")
    parser.add_argument(
        "--pictures",
        type=Path,
        default=ROOT / "datasets" / "coco_lite",
        help="folder for train2014/ and val2014/ (default: %(default)s)",
    )
    parser.add_argument(
        "--lists",
        type=Path,
        default=ROOT / "data" / "coco_lite",
        help="folder for the lists and dataset.yaml (default: %(default)s)",
    )
    parser.add_argument("--force", action="store_true", help="write over files that are there")
    return parser.parse_args(words)


def make(pictures: Path, lists: Path, force: bool) -> None:
    """Draws and writes everything, then says how much.

    Raises:
        UserError: the data set is there and `force` is not set, or a file cannot be written.
    """
    card = lists / "dataset.yaml"
    if card.exists() and not force:
        raise UserError(f"{card}: is there already; --force draws the data set anew")
    names = {entry.path: found for entry, found in write_pictures(pictures)}
    write_lists(lists, names)
    write_card(lists)
    size = sum((pictures / path).stat().st_size for path in names)
    print(f"{len(names)} pictures, {size / 1e6:.1f} MB, in {pictures}; lists and card in {lists}")


def main() -> int:
    """Runs the command; the exit status."""
    arguments = parse_arguments()
    return run_command(lambda: make(arguments.pictures, arguments.lists, arguments.force))


if __name__ == "__main__":
    sys.exit(main())
