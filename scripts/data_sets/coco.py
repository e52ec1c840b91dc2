"""Draws COCO's lists from COCO's own annotation files.

Takes instances_train2014.json and instances_val2014.json, or the folder that holds them
(annotations_trainval2014.zip of https://cocodataset.org/#download). Of the 122,218 pictures with
a label, 5,000 become queries and 10,000 are trained on:

  --split paper          as the text of the paper has it: the database is all pictures but the
                         queries (117,218) and holds the training pictures
  --split released-like  as in the lists released with HashNet's code, from which the published
                         numbers come: the database is all pictures but the training ones
                         (112,218) and holds the queries, each of which finds itself

The draw is this project's (--seed): the released lists themselves come from `import coco`.

step by step:
  1. unpack annotations_trainval2014.zip, train2014.zip and val2014.zip into datasets/COCO2014
  2. python scripts/prepare_data.py coco datasets/COCO2014/annotations
  3. python scripts/check_data.py --dataset coco_paper
  4. python main_single_gpu.py --bit 64 --dataset coco_paper
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from scripts.data_sets import coco_annotations
from scripts.data_sets.arguments import count, seed
from scripts.data_sets.draws import PROTOCOLS, draw_split
from scripts.data_sets.report import next_steps, tell_lists
from scripts.data_sets.scan import bar
from scripts.data_sets.writing import (
    NewCard,
    chosen_rows,
    refuse_to_overwrite,
    write_data_set,
)
from utils.datasets.info import DATA_FOLDER, read_card
from utils.system.errors import UserError
from utils.system.files import sha256_of_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-command's flags."""
    parser.add_argument(
        "annotations", type=Path, nargs="+", help="the two files, or the folder that holds them"
    )
    parser.add_argument(
        "--split", choices=PROTOCOLS, default="paper", help="the protocol (default: %(default)s)"
    )
    parser.add_argument("--queries", type=count, default=5000, help="default: %(default)s")
    parser.add_argument("--train", type=count, default=10_000, help="default: %(default)s")
    parser.add_argument("--seed", type=seed, default=0, help="of the draw (default: %(default)s)")
    parser.add_argument(
        "--any-count",
        action="store_true",
        help="take annotation files of which not 122,218 pictures have a label",
    )
    parser.add_argument(
        "--out", type=Path, help="folder of lists and card (default: data/coco_SPLIT)"
    )
    parser.add_argument("--force", action="store_true", help="write over lists that are there")


def run(arguments: argparse.Namespace) -> None:
    """Reads, draws, writes, and says what was done."""
    name = f"coco_{arguments.split.replace('-', '_')}"
    folder = arguments.out or DATA_FOLDER / name
    refuse_to_overwrite(folder, arguments.force)
    files = coco_annotations.find_files(arguments.annotations)
    coco = read_card("coco")
    parts = [
        coco_annotations.read_annotations(path, coco.classes)
        for path in bar(files, len(files), "annotation files")
    ]
    pictures = [picture for part in parts for picture in part[0]]
    labels = np.concatenate([part[1] for part in parts])
    pictures, labels = _labelled(pictures, labels, arguments.any_count)
    draw = draw_split(
        len(pictures), arguments.queries, arguments.train, arguments.split, arguments.seed
    )
    lists = chosen_rows(" and ".join(map(str, files)), pictures, labels, draw)
    sums = ", ".join(f"{path.name} (SHA-256 {sha256_of_file(path)})" for path in files)
    provenance = (
        f"MS COCO 2014 (https://cocodataset.org), protocol '{arguments.split}', drawn with seed "
        f"{arguments.seed} by scripts/prepare_data.py coco from {sums}. These are not the lists "
        "released with HashNet's code."
    )
    card = NewCard(name, coco.num_class, coco.topK, coco.data_path, provenance, coco.classes)
    write_data_set(folder, card, lists, arguments.force)
    print("\n".join(tell_lists(lists, coco.classes)))
    print("\n".join(next_steps(folder)))


def _labelled(
    pictures: list[str], labels: np.ndarray, any_count: bool
) -> tuple[list[str], np.ndarray]:
    """The pictures with a label, by path: the draw does not depend on the files' order."""
    if len(set(pictures)) < len(pictures):
        raise UserError("the annotation files have pictures in common; name each file once")
    order = [
        row for row in sorted(range(len(pictures)), key=pictures.__getitem__) if labels[row].any()
    ]
    print(f"{len(pictures):,} pictures, {len(order):,} with a label")
    if len(order) != coco_annotations.LABELLED and not any_count:
        raise UserError(
            f"{len(order):,} pictures have a label; {coco_annotations.LABELLED:,} have in "
            "COCO 2014's train and val files together; --any-count takes these"
        )
    return [pictures[row] for row in order], labels[order]
