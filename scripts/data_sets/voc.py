"""Draws PASCAL VOC 2012's lists from its own annotations.

Takes the folder that holds Annotations/, ImageSets/Main/ and JPEGImages/ (VOCdevkit/VOC2012 of
VOCtrainval_11-May-2012.tar), or a folder above it. The pictures are those of
ImageSets/Main/trainval.txt, a picture's labels are the kinds of objects in its XML file. Queries
and training pictures are drawn (--seed); the database is all pictures but the queries and holds
the training pictures.

step by step:
  1. unpack the archive, with VOCdevkit/VOC2012 as datasets/VOC2012
  2. python scripts/prepare_data.py voc2012 datasets/VOC2012
  3. python scripts/check_data.py --dataset voc2012
  4. python main_single_gpu.py --bit 64 --dataset voc2012
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from scripts.data_sets.arguments import count, seed
from scripts.data_sets.draws import draw_split
from scripts.data_sets.report import next_steps, tell_lists
from scripts.data_sets.scan import bar
from scripts.data_sets.writing import (
    NewCard,
    chosen_rows,
    data_path_for_card,
    refuse_to_overwrite,
    write_data_set,
)
from utils.datasets.info import DATA_FOLDER, read_card
from utils.datasets.lists import read_lines
from utils.system.errors import UserError

PARTS = ("Annotations", "ImageSets/Main", "JPEGImages")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-command's flags."""
    parser.add_argument("folder", type=Path, help="VOC2012, or a folder above it")
    parser.add_argument(
        "--set",
        default="trainval",
        metavar="NAME",
        help="the file of ImageSets/Main that names the pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--no-difficult",
        action="store_true",
        help="leave out objects that are marked as difficult; pictures without others fall away",
    )
    parser.add_argument("--queries", type=count, default=2000, help="default: %(default)s")
    parser.add_argument("--train", type=count, default=4000, help="default: %(default)s")
    parser.add_argument("--seed", type=seed, default=0, help="of the draw (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder of the lists (default: data/voc2012)")
    parser.add_argument("--force", action="store_true", help="write over lists that are there")


def run(arguments: argparse.Namespace) -> None:
    """Reads, draws, writes, and says what was done."""
    folder = arguments.out or DATA_FOLDER / "voc2012"
    refuse_to_overwrite(folder, arguments.force)
    card = read_card("voc2012")
    root = find_root(arguments.folder)
    pictures, labels = read_voc(root, arguments.set, card.classes, arguments.no_difficult)
    print(f"{len(pictures):,} pictures of {arguments.set}.txt have a label")
    draw = draw_split(len(pictures), arguments.queries, arguments.train, "paper", arguments.seed)
    lists = chosen_rows(str(root), pictures, labels, draw)
    provenance = (
        f"PASCAL VOC 2012, ImageSets/Main/{arguments.set}.txt, drawn with seed {arguments.seed} by "
        "scripts/prepare_data.py voc2012."
    )
    data_path = data_path_for_card(root)
    new = NewCard("voc2012", card.num_class, card.topK, data_path, provenance, card.classes)
    write_data_set(folder, new, lists, arguments.force)
    print("\n".join(tell_lists(lists, card.classes)))
    print("\n".join(next_steps(folder, root)))


def find_root(folder: Path) -> Path:
    """The folder with VOC's three folders, at `folder` or below it.

    Raises:
        UserError: there is none.
    """
    for root in (folder, folder / "VOC2012", folder / "VOCdevkit" / "VOC2012"):
        if all((root / part).is_dir() for part in PARTS):
            return root
    raise UserError(f"{folder}: expected the folders {', '.join(PARTS)} in it, or in VOC2012 below")


def read_voc(
    root: Path, name: str, classes: Sequence[str], no_difficult: bool
) -> tuple[list[str], np.ndarray]:
    """The pictures that have a label.

    Args:
        root: the folder with Annotations/.
        name: the file of ImageSets/Main that names the pictures, without its ending.
        classes: VOC's 20 classes, in the order of the label columns.
        no_difficult: objects marked as difficult do not count.

    Returns:
        n paths below `root`, rising, and labels [n, 20] uint8 of 0 and 1.

    Raises:
        UserError: a file is missing or is not VOC's.
    """
    path = root / "ImageSets/Main" / f"{name}.txt"
    if not path.is_file():
        raise UserError(f"{path}: missing; --set names another file of ImageSets/Main")
    # `<class>_trainval.txt` has a second column; there each line still begins with the picture.
    numbers = sorted({line.split()[0] for line in read_lines(path) if line.strip()})
    pictures, rows = [], []
    for number in bar(numbers, len(numbers), "annotations"):
        row = _labels(root / "Annotations" / f"{number}.xml", classes, no_difficult)
        if row.any():
            pictures.append(f"JPEGImages/{number}.jpg")
            rows.append(row)
    if not rows:
        raise UserError(f"{path}: none of its {len(numbers)} pictures has a label")
    return pictures, np.stack(rows)


def _labels(path: Path, classes: Sequence[str], no_difficult: bool) -> np.ndarray:
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: not whole XML: {error}; unpack the archive anew") from error
    labels = np.zeros(len(classes), np.uint8)
    for item in root.iter("object"):
        name = (item.findtext("name") or "").strip()
        if name not in classes:
            raise UserError(f"{path}: an object is called {name!r}, which is no class of VOC")
        if not (no_difficult and (item.findtext("difficult") or "0").strip() == "1"):
            labels[classes.index(name)] = 1
    return labels
