"""Makes a data set of your own images: a folder with a sub-folder a class.

  my_images/cat/1.jpg  my_images/cat/more/2.png  my_images/dog/a.jpg  …

Every image below a class's folder belongs to that class. A tenth of each class becomes queries
(--queries), the rest is the database, all of which is trained on unless --train asks for less.
With --queries 0 all images can be found: the tenth are queries, not trained on, and stand in the
database too; --exclude-self leaves each out of its own ranking.
Where the sub-folders are train, val or test, and the classes below them, nothing is drawn: test (or
val, where there is none) are the queries, train is trained on, all but the queries the database.
dataset.yaml names the image folder where it is; nothing is copied. Files that cannot be decoded,
and files of the same bytes as another, are left out and named.

examples:
  python scripts/prepare_data.py folder my_images
  python scripts/prepare_data.py folder my_photos --database-only  (no classes)
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from scripts.prepare.draws import add_draw_flags, draw_stratified, image_list, share, take
from scripts.prepare.scan import Scanned, add_workers_flag, scan_files
from scripts.prepare.summary import some
from scripts.prepare.writing import DatasetFolder
from utils.datasets.images import IMAGE_ENDINGS, is_image_name
from utils.datasets.info import DATA_FOLDER, SPLITS, DatasetInfo
from utils.datasets.lists import ImageList
from utils.system.errors import UserError, tell

HELD_OUT = ("test", "val", "valid", "validation")
"""Folders that are splits and no classes, beside train; the first that is there has the queries."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this source."""
    parser.add_argument("images", type=Path, help="the folder with a sub-folder a class")
    only = "no classes: all images, also those in no sub-folder, can be found, without labels"
    parser.add_argument("--database-only", action="store_true", help=only)
    add_draw_flags(parser, share, queries=0.1, train=1.0)
    add_workers_flag(parser)


def run(arguments: argparse.Namespace) -> None:
    """Finds the images, draws the lists and writes them."""
    root, queries, train = arguments.images, arguments.queries, arguments.train
    name = root.resolve().name
    lists = ("database",) if arguments.database_only else SPLITS
    out = arguments.out or DATA_FOLDER / name
    folder = DatasetFolder(out, arguments.force, new_info=True, lists=lists)
    found = _find_images(root, arguments.database_only)
    scanned = scan_files([str(root / path) for path in found], arguments.workers)
    paths = _usable(root, found, scanned)
    if arguments.database_only:
        info = DatasetInfo(name, folder.path, num_class=1, topK=-1, data_path="")
        info = replace(info, provenance=f"{len(paths)} images without labels, to be searched.")
        no_labels = np.zeros((len(paths), 0), np.uint8)
        folder.write(info, {"database": image_list(str(root), paths, no_labels)}, root)
        return
    is_split = {path.split("/")[0] for path in found} <= {"train", *HELD_OUT}
    folders = [path.split("/")[is_split] for path in paths]
    classes = sorted(set(folders))
    if len(classes) < 2:
        raise UserError(f"{root}: only the class {classes[0]} has images that can be decoded")
    labels = np.eye(len(classes), dtype=np.uint8)[[classes.index(name) for name in folders]]
    images = image_list(str(root), paths, labels)
    lists = (
        _as_split(images) if is_split else draw_stratified(images, queries, train, arguments.seed)
    )
    if not len(lists["test"]):
        raise UserError(f"{root}: no class has two images; one would be the query, one is found")
    tell(f"{len(classes)} classes: {some(classes)}")
    drawn = (
        f"drawn with seed {arguments.seed}: {queries or 0.1} of each class are queries, "
        f"{'' if queries else 'which stand in the database too, '}{train} of the others are "
        "trained on"
    )
    provenance = (
        f"{len(paths)} images of {len(classes)} classes, listed by scripts/prepare_data.py folder, "
        f"{'split as their folders are' if is_split else drawn}."
    )
    info = DatasetInfo(name, folder.path, len(classes), topK=-1, data_path="")
    info = replace(info, classes=tuple(classes), provenance=provenance)
    folder.write(info, lists, root)


def _as_split(images: ImageList) -> dict[str, ImageList]:
    """The lists of images whose first folders are train, val or test."""
    first = np.array([path.split("/")[0] for path in images.paths])
    held_out = [name for name in HELD_OUT if name in first]
    if "train" not in first or not held_out or any(p.count("/") < 2 for p in images.paths):
        raise UserError(
            f"{images.source}: expected the folders train, and val or test, and in each of them a "
            "folder a class"
        )
    queries = first == held_out[0]
    rows = {"train": first == "train", "test": queries, "database": ~queries}
    print(f"queries: {held_out[0]}/; trained on: train/; database: all but the queries")
    return take(images, {name: np.flatnonzero(chosen) for name, chosen in rows.items()})


def _find_images(root: Path, flat: bool) -> list[str]:
    """The files below the class folders (or `flat`, all) with an image's ending, below `root`."""
    if not root.is_dir():
        raise UserError(f"{root}: the folder is missing")
    files = [path for path in _walk(root) if flat or len(path.parts) > 1]
    below = [path for path in files if is_image_name(path.name)]
    if len(below) < len(files):
        print(f"{len(files) - len(below)} files are passed over, their names are no images'")
    visible = [path for path in below if not any(part.startswith(".") for part in path.parts)]
    classes = {path.parts[0] for path in visible}
    if flat and not visible:
        raise UserError(f"{root}: no image in it ({', '.join(sorted(IMAGE_ENDINGS))})")
    if not flat and len(classes) < 2:
        raise UserError(
            f"{root}: expected two sub-folders or more with images "
            f"({', '.join(sorted(IMAGE_ENDINGS))}), a sub-folder a class; found {len(classes)}"
        )
    return sorted(path.as_posix() for path in visible)


def _walk(root: Path) -> Iterator[Path]:
    """The files below a folder, relative to it; links to folders count as the folders."""
    for folder, below, names in os.walk(root, followlinks=True):
        yield from (Path(folder, name).relative_to(root) for name in names)
        here = os.path.join(os.path.realpath(folder), "")
        for name in list(below):
            target = os.path.realpath(os.path.join(folder, name))
            if here.startswith(os.path.join(target, "")):  # a link to a folder around itself
                below.remove(name)


def _usable(root: Path, paths: Sequence[str], scanned: Sequence[Scanned]) -> list[str]:
    """The images that can be decoded, each once: a copy of a query must not be trained on."""
    good, bad, copies = [], [], []
    first: dict[bytes, str] = {}
    for path, found in zip(paths, scanned):
        if found.fault:
            bad.append(path)
        elif first.setdefault(found.digest, path) != path:
            copies.append(f"{path} = {first[found.digest]}")
        else:
            good.append(path)
    if not good:
        raise UserError(f"{root}: none of the {len(bad)} images can be decoded")
    if bad:
        tell(f"left out, cannot be decoded: {some(bad)}")
    if copies:
        tell(f"left out, the same bytes as another file: {some(copies)}")
    return good
