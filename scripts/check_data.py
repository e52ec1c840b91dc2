"""Checks a data set before a training does: its lists, labels and every picture in them.

Says how many pictures, labels and classes there are, what the lists have in common, how many
training pairs are similar and what MAP a random ranking has; and finds missing, empty, truncated
and undecodable files, lines with a wrong number of labels, pictures without a label, pictures that
are listed twice or with contradictory labels, queries that are trained on, and files of the same
bytes. What passes, training accepts: both decode alike.

Exit status: 0 nothing is wrong; 1 something is; 2 the check could not be done.

step by step:
  1. python scripts/check_data.py --dataset coco --labels-only     (the lists alone: seconds)
  2. python scripts/check_data.py --dataset coco                   (every picture)
  3. mend or replace what it names; the report, a JSON file, holds all places
  4. again, until the status is 0

examples:
  python scripts/check_data.py --dataset coco_lite
  python scripts/check_data.py --dataset data/my_pictures --workers 8
  python scripts/check_data.py --dataset nuswide_81 --data-path /data/NUS-WIDE --accept no-label
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.data_sets.arguments import count, seed  # noqa: E402
from scripts.data_sets.check import check_data_set  # noqa: E402
from scripts.data_sets.check_report import as_json, tell_check  # noqa: E402
from scripts.data_sets.findings import PROBLEMS  # noqa: E402
from scripts.data_sets.writing import picture_folder  # noqa: E402
from utils.config.command_line import Parser  # noqa: E402
from utils.datasets.info import read_card  # noqa: E402
from utils.system.errors import run_command  # noqa: E402
from utils.system.files import replacing  # noqa: E402
from utils.system.runtime import start_paddle, usable_cores  # noqa: E402


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--dataset",
        required=True,
        help="a folder of data/ with a dataset.yaml, or the path of such a folder",
    )
    parser.add_argument(
        "--data-path", type=Path, help="folder of the pictures (default: the card's)"
    )
    parser.add_argument(
        "--list-path", type=Path, help="folder of the list files (default: the card's folder)"
    )
    parser.add_argument(
        "--labels-only", action="store_true", help="check the lists, open no picture"
    )
    parser.add_argument(
        "--accept",
        nargs="+",
        choices=PROBLEMS,
        default=[],
        metavar="KIND",
        help="findings that shall not count as wrong, such as no-label for NUS-WIDE, whose "
        f"released lists hold such pictures; kinds: {', '.join(PROBLEMS)}",
    )
    parser.add_argument(
        "--workers", type=count, default=usable_cores(), help="processes (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=seed, default=2000, help="of CIFAR-10's splits (default: %(default)s)"
    )
    parser.add_argument(
        "--report", type=Path, help="the report file (default: output/check_NAME.json)"
    )
    return parser.parse_args(words)


def main() -> int:
    """Checks, reports, and returns 1 where something is wrong."""
    arguments = parse_arguments()
    card = read_card(arguments.dataset)
    pictures = arguments.data_path or picture_folder(card)
    if card.kind == "cifar10":
        start_paddle()  # it reads the archive
    checked = check_data_set(
        card,
        pictures,
        arguments.list_path,
        arguments.workers,
        arguments.labels_only,
        arguments.seed,
    )
    file = arguments.report or Path("output", f"check_{card.name}.json")
    with replacing(file) as temporary:
        temporary.write_text(as_json(checked.report, arguments.accept), encoding="utf-8")
    print("\n".join(tell_check(checked, card.classes, arguments.accept)))
    wrong = checked.report.wrong(arguments.accept)
    print(f"{'wrong: ' + ', '.join(wrong) if wrong else 'nothing is wrong'}; report: {file}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
