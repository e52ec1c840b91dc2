"""Makes the lists of a data set: `python scripts/prepare_data.py KIND --help`.

A list line is a picture's path below the picture folder and its 0/1 labels; a data set is a folder
with a card, dataset.yaml, and the lists train.txt, test.txt (the queries) and database.txt.

examples:
  python scripts/prepare_data.py folder my_pictures
  python scripts/prepare_data.py import coco HashNet/caffe/data/coco
  python scripts/prepare_data.py coco datasets/COCO2014/annotations --split paper
  python scripts/prepare_data.py voc2012 datasets/VOC2012
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.data_sets import coco, folder, released, voc  # noqa: E402
from utils.config.command_line import Parser  # noqa: E402
from utils.system.errors import run_command  # noqa: E402

KINDS = {"folder": folder, "import": released, "coco": coco, "voc2012": voc}


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line; `run` of the result is the kind's function."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = Parser(description=__doc__, formatter_class=layout, allow_abbrev=False)
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True)
    for name, kind in KINDS.items():
        kind_parser = kinds.add_parser(
            name,
            help=kind.__doc__.partition("\n")[0],
            description=kind.__doc__,
            formatter_class=layout,
            allow_abbrev=False,
        )
        kind.add_arguments(kind_parser)
        kind_parser.set_defaults(run=kind.run)
    return parser.parse_args(words)


def main() -> None:
    """Makes one data set's lists."""
    arguments = parse_arguments()
    arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
