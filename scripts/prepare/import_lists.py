"""Imports lists of other repositories, such as those released with HashNet's code.

Lines are a path and 0/1 labels there too, but the paths begin in many ways, such as
`/home/someone/dataset/coco/val2014/…`, `./data/coco/val2014/…` or `./data/nuswide_81/images/…`.
What stands before the image folder is cut off, rows and labels are checked, and the lists are
written beside the data set's dataset.yaml. SOURCE is a folder with train.txt, test.txt and
database.txt; a list may also be in pieces, as in HashNet's Caffe folders: test/test0.txt …
test/test7.txt. --train-list, --test-list and --database-list name files that lie elsewhere.

examples:
  python scripts/prepare_data.py import coco HashNet/caffe/data/coco
  python scripts/prepare_data.py import nuswide_81 HashNet/caffe/data/nuswide_81
where HashNet is a clone of https://github.com/thuml/HashNet
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from scripts.prepare.writing import DatasetFolder
from utils.datasets.info import SPLITS, read_dataset_info
from utils.datasets.lists import ImageList, read_list
from utils.system.errors import UserError, tell

KEEP_FROM = {
    "coco": ("train2014", "val2014"),
    "imagenet": ("image", "val_image"),
    "nuswide_81": ("images",),
}
"""Folder names in the released lists at which the path below the image folder begins."""
RELEASED_ROWS = {
    "coco": {"train": 10_000, "test": 5_000, "database": 112_218},
    "imagenet": {"train": 13_000, "test": 5_000},
}
"""Rows of the released lists, as far as they are known for sure."""
RELEASED_SHA256 = {
    "coco": {
        "train": "29b30d0b31ec102a483ffa348012b6ce69cd8b6e9e26f280af6f3d38d7041126",
        "test": "cd1fc2cf2185b3f59dbde0be2e535496e6f1de7b5e8373574701f48b389cafa5",
        "database": "2fee5b5d467ed63b4c207c601de2eff95eec5f115c0700a78264ce7cc1aa8913",
    },
}
"""Of the rows' hashes, see `sha256_of_rows`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this source."""
    add = parser.add_argument
    add("dataset", help="a folder of data/ with a dataset.yaml, or the path of such a folder")
    add("source", type=Path, nargs="?", help="folder of the lists to import")
    for split in SPLITS:
        where = f"the {split} list, if it is not in SOURCE; several files are put together"
        add(f"--{split}-list", type=Path, nargs="+", metavar="FILE", help=where)
    names = "cut paths before the last of these folders (default: by data set, or what all share)"
    add("--keep-from", nargs="+", metavar="NAME", help=names)
    add("--any-count", action="store_true", help="take lists of other lengths than the released")


def run(arguments: argparse.Namespace) -> None:
    """Reads the lists, cuts their paths, checks and writes them."""
    info = read_dataset_info(arguments.dataset)
    if info.kind != "list":
        raise UserError(f"{arguments.dataset}: this data set has no lists, it has an archive")
    folder = DatasetFolder(arguments.out or info.folder, arguments.force)
    read = {}
    for split in SPLITS:
        files = getattr(arguments, f"{split}_list") or _find_list(arguments.source, split)
        read[split] = images = _read_pieces(files, info.num_class)
        expected = RELEASED_ROWS.get(info.name, {}).get(split, len(images))
        if len(images) != expected and not arguments.any_count:
            raise UserError(
                f"{files[0]}: {len(images):,} rows, the released {split} list has {expected:,}; "
                "is it whole? --any-count imports it as it is"
            )
    lists = cut_paths(read, arguments.keep_from or KEEP_FROM.get(info.name, ()))
    tell(f"{read['train'].paths[0]} → {lists['train'].paths[0]}")
    provenance = f"Imported by scripts/prepare_data.py from {arguments.source or 'list files'}."
    folder.write(replace(info, provenance=provenance), lists)
    if info.name in RELEASED_SHA256:
        expected = RELEASED_SHA256[info.name]
        others = [split for split in SPLITS if sha256_of_rows(lists[split]) != expected[split]]
        if others:
            tell(f"Not the released lists; what differs: {', '.join(others)}")
        else:
            print("These are the released lists, which the published results come from")


def sha256_of_rows(images: ImageList) -> str:
    """A hash of a list's rows, paths and labels, in whatever order they stand."""
    labels = np.packbits(images.labels, axis=1)
    rows = sorted(f"{path} {row.tobytes().hex()}" for path, row in zip(images.paths, labels))
    return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()


def _find_list(source: Path | None, split: str) -> list[Path]:
    """The file of a list in a folder, or its pieces in the order of their numbers."""
    flag = f"--{split}-list FILE names it"
    if source is None:
        raise UserError(f"no {split} list: {flag}, or give the folder of the lists")
    if (source / f"{split}.txt").is_file():
        return [source / f"{split}.txt"]
    pieces = {}
    # HashNet's Caffe folders keep the pieces of both the queries and the database in test/.
    for path in (*source.glob(f"{split}*.txt"), *source.glob(f"test/{split}*.txt")):
        number = path.stem[len(split) :]
        if number.isdecimal():
            pieces[int(number)] = path
    if not pieces:
        raise UserError(f"{source}: holds neither {split}.txt nor {split}0.txt …; {flag}")
    for number in range(len(pieces)):
        if number not in pieces:
            there = f"{split}{max(pieces)}.txt is there"
            raise UserError(f"{source}: {split}{number}.txt is missing, {there}")
    return [pieces[number] for number in sorted(pieces)]


def _read_pieces(files: Sequence[Path], num_class: int) -> ImageList:
    """A list, or several files as one."""
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: missing; expected a list file")
    pieces = [read_list(file, num_class) for file in files]
    return ImageList(
        str(files[0]) + (f" … {files[-1].name}" if len(files) > 1 else ""),
        tuple(path for piece in pieces for path in piece.paths),
        np.concatenate([piece.labels for piece in pieces]),
        np.concatenate([piece.lines for piece in pieces]),
    )


def cut_paths(lists: Mapping[str, ImageList], names: Sequence[str]) -> dict[str, ImageList]:
    """Cuts off what stands before the image folder in the paths of the three lists.

    A path is kept from the last of its folders that is called one of `names`. Where no path has
    one, the folder that all paths have in common is cut off; where some have, others are an error.
    """
    parts = {split: list(map(_parts, lists[split].paths)) for split in lists}
    begins = {split: [_begin(path, names) for path in paths] for split, paths in parts.items()}
    if max(map(max, begins.values())) < 0:
        folders = [path[:-1] for paths in parts.values() for path in paths]
        first, last, depth = min(folders), max(folders), 0
        while depth < len(first) and first[: depth + 1] == last[: depth + 1]:
            depth += 1
        begins = {split: [depth] * len(paths) for split, paths in parts.items()}
    cut = {}
    for split, images in lists.items():
        if -1 in begins[split]:
            index = begins[split].index(-1)
            where = f"{images.source}, line {images.lines[index]}: {images.paths[index]}"
            raise UserError(
                f"{where} has no folder {' or '.join(names)}, other paths have; "
                "--keep-from names the folders at which paths begin"
            )
        kept = ["/".join(path[begin:]) for path, begin in zip(parts[split], begins[split])]
        cut[split] = replace(images, paths=tuple(kept))
    return cut


def _parts(path: str) -> tuple[str, ...]:
    """A path's parts; one without / is Windows's where it has \\."""
    return PurePosixPath(path if "/" in path else path.replace("\\", "/")).parts


def _begin(path: tuple[str, ...], names: Sequence[str]) -> int:
    """The place of the last folder of one of these names, or -1."""
    return max((place for place, part in enumerate(path[:-1]) if part in names), default=-1)
