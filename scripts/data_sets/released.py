"""Imports lists of other repositories, such as those released with HashNet's code.

Lines are a path and 0/1 labels there too, but the paths begin in many ways, such as
`/home/someone/dataset/coco/val2014/…`, `./data/coco/val2014/…` or `./data/nuswide_81/images/…`.
What stands before the picture folder is cut off, rows and labels are checked, and the lists are
written beside the data set's card. SOURCE is a folder with train.txt, test.txt and database.txt;
a list may also be in pieces, as in HashNet's Caffe folders: test/test0.txt … test/test7.txt.
--train-list, --test-list and --database-list name files that lie elsewhere.

step by step, for COCO:
  1. git clone https://github.com/thuml/HashNet
  2. python scripts/prepare_data.py import coco HashNet/caffe/data/coco
  3. train2014/ and val2014/ of COCO in datasets/COCO2014
  4. python scripts/check_data.py --dataset coco
  5. python main_single_gpu.py --bit 64 --dataset coco

further examples:
  python scripts/prepare_data.py import nuswide_81 HashNet/caffe/data/nuswide_81
  python scripts/prepare_data.py import imagenet HashNet/caffe/data/imagenet
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from scripts.data_sets.report import next_steps, tell_lists
from scripts.data_sets.rows import Rows, read_rows
from scripts.data_sets.writing import (
    NewCard,
    refuse_to_overwrite,
    write_data_set,
)
from utils.datasets.info import SPLITS, read_card
from utils.system.errors import UserError

KEEP_FROM = {
    "coco": ("train2014", "val2014"),
    "imagenet": ("image", "val_image"),
    "nuswide_81": ("images",),
}
"""Folder names in the released lists at which the path below the picture folder begins."""

RELEASED_ROWS = {
    "coco": {"train": 10_000, "test": 5_000, "database": 112_218},
    "imagenet": {"train": 13_000, "test": 5_000},
}
"""Rows of the released lists, as far as they are known for sure."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-command's flags."""
    parser.add_argument(
        "dataset", help="a folder of data/ with a card, or the path of such a folder"
    )
    parser.add_argument("source", type=Path, nargs="?", help="folder of the lists to import")
    for split in SPLITS:
        parser.add_argument(
            f"--{split}-list",
            type=Path,
            nargs="+",
            metavar="FILE",
            help=f"the {split} list, if it is not in SOURCE; several files are put together",
        )
    parser.add_argument(
        "--keep-from",
        nargs="+",
        metavar="NAME",
        help="cut paths before the last folder of one of these names (default: by data set; where "
        "no path has one, the folder that all paths have in common is cut off)",
    )
    parser.add_argument(
        "--any-count",
        action="store_true",
        help="take lists of other lengths than the released ones",
    )
    parser.add_argument("--out", type=Path, help="folder of the lists (default: the card's)")
    parser.add_argument("--force", action="store_true", help="write over lists that are there")


def run(arguments: argparse.Namespace) -> None:
    """Reads, cuts, checks, writes, and says what was done."""
    card = read_card(arguments.dataset)
    if card.kind != "list":
        raise UserError(f"{arguments.dataset}: this data set has no lists, it has an archive")
    folder = arguments.out or card.folder
    refuse_to_overwrite(folder, arguments.force)
    read = {}
    for split in SPLITS:
        given = getattr(arguments, f"{split}_list")
        read[split] = _read(given or find_list(arguments.source, split), card.num_class)
    if not arguments.any_count:
        _check_counts(card.name, read)
    names = arguments.keep_from or KEEP_FROM.get(card.name, ())
    lists = cut_paths(read, names)
    provenance = f"Imported by scripts/prepare_data.py from {arguments.source or 'list files'}."
    new = NewCard(card.name, card.num_class, card.topK, card.data_path, provenance, card.classes)
    write_data_set(folder, new, lists, arguments.force)
    print(f"{read['train'].pictures[0]} → {lists['train'].pictures[0]}")
    print("\n".join(tell_lists(lists, card.classes)))
    print("\n".join(next_steps(folder)))


def find_list(source: Path | None, split: str) -> list[Path]:
    """The file of a list in a folder, or its pieces in the order of their numbers.

    Raises:
        UserError: there is none, or a piece is missing between others.
    """
    flag = f"--{split}-list FILE names it"
    if source is None:
        raise UserError(f"no {split} list: {flag}, or give the folder of the lists")
    if (source / f"{split}.txt").is_file():
        return [source / f"{split}.txt"]
    pieces = {}
    # HashNet's Caffe folders keep the pieces of both the queries and the database in test/.
    for path in (*source.glob(f"{split}*.txt"), *source.glob(f"test/{split}*.txt")):
        number = re.fullmatch(rf"{split}(\d+)\.txt", path.name)
        if number:
            pieces[int(number[1])] = path
    if not pieces:
        raise UserError(f"{source}: holds neither {split}.txt nor {split}0.txt …; {flag}")
    for number in range(max(pieces)):
        if number not in pieces:
            raise UserError(
                f"{source}: {split}{number}.txt is missing, {split}{max(pieces)}.txt is there"
            )
    return [pieces[number] for number in sorted(pieces)]


def _read(paths: Sequence[Path], num_class: int) -> Rows:
    parts = [read_rows(path, num_class) for path in paths]
    for part in parts:
        if part.faults:
            raise UserError(part.faults[0][1])
    return Rows(
        str(paths[0]),
        tuple(picture for part in parts for picture in part.pictures),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.lines for part in parts]),
    )


def _check_counts(name: str, lists: Mapping[str, Rows]) -> None:
    for split, expected in RELEASED_ROWS.get(name, {}).items():
        if len(lists[split]) != expected:
            raise UserError(
                f"{lists[split].source}: {len(lists[split]):,} rows, the released {split} list "
                f"has {expected:,}; is it whole? --any-count imports it as it is"
            )


def cut_paths(lists: Mapping[str, Rows], names: Sequence[str]) -> dict[str, Rows]:
    """Cuts off what stands before the picture folder.

    Args:
        lists: list → rows as they were read.
        names: a path is kept from the last of its folders that is called so. Where no path has
            one, the folder that all paths have in common is cut off.

    Raises:
        UserError: some paths have such a folder and some do not, or a path still leads out of
            the picture folder.
    """
    parts = {
        split: [PurePosixPath(picture).parts for picture in rows.pictures]
        for split, rows in lists.items()
    }
    begins = {split: [_begin(path, names) for path in paths] for split, paths in parts.items()}
    every = [begin for found in begins.values() for begin in found]
    if max(every) < 0:
        depth = _common_depth([path[:-1] for paths in parts.values() for path in paths])
        begins = {split: [depth] * len(paths) for split, paths in parts.items()}
    elif min(every) < 0:
        split = next(split for split, found in begins.items() if min(found) < 0)
        row = begins[split].index(-1)
        raise UserError(
            f"{lists[split].source}, line {lists[split].lines[row]}: "
            f"{lists[split].pictures[row]} has no folder {' or '.join(names)}, other paths have; "
            "--keep-from names the folders at which paths begin"
        )
    cut = {}
    for split, rows in lists.items():
        kept = ["/".join(path[begin:]) for path, begin in zip(parts[split], begins[split])]
        cut[split] = Rows(rows.source, tuple(kept), rows.labels, rows.lines)
    return cut


def _begin(path: tuple[str, ...], names: Sequence[str]) -> int:
    places = [place for place, part in enumerate(path[:-1]) if part in names]
    return places[-1] if places else -1


def _common_depth(folders: Sequence[tuple[str, ...]]) -> int:
    first, last = min(folders), max(folders)
    depth = 0
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    return depth
