"""Makes the lists of a data set: `python scripts/prepare_data.py KIND --help`.

A list line is an image's path below the image folder and its 0/1 labels; a data set is a folder
with dataset.yaml and the lists train.txt, test.txt (the queries) and database.txt.

examples:
  python scripts/prepare_data.py folder my_images
  python scripts/prepare_data.py import coco HashNet/caffe/data/coco
  python scripts/prepare_data.py coco datasets/COCO2014/annotations
  python scripts/prepare_data.py voc2012 datasets/VOC2012
each ends with the commands that check the lists and train on them
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

import argparse
from pathlib import Path

from scripts.prepare import coco, folder, import_lists, voc2012
from utils.config.parser import Parser
from utils.system.errors import run_command

KINDS = {"folder": folder, "import": import_lists, "coco": coco, "voc2012": voc2012}


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line; `run` of the result is the source's function."""
    parser = Parser(description=__doc__)
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True)
    for name, source in KINDS.items():
        text = source.__doc__
        kind = kinds.add_parser(name, help=text.partition("\n")[0], description=text)
        source.add_arguments(kind)
        where = "folder of the lists and dataset.yaml (default: in data/)"
        kind.add_argument("--out", type=Path, help=where)
        kind.add_argument("--force", action="store_true", help="write over lists that are there")
        kind.set_defaults(run=source.run)
    return parser.parse_args(words)


def main() -> None:
    """Makes one data set's lists."""
    arguments = parse_arguments()
    arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
