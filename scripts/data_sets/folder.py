"""Makes a data set of your own pictures: a folder with a sub-folder a class.

  my_pictures/cat/1.jpg  my_pictures/cat/more/2.png  my_pictures/dog/a.jpg  …

Every picture below a class's folder belongs to that class. A tenth of each class becomes queries
(--queries), the rest is the database, all of which is trained on unless --train asks for less.
The card names the picture folder where it is; nothing is copied. Files that cannot be decoded, and
files of the same bytes as another, are left out and named.

step by step:
  1. python scripts/prepare_data.py folder my_pictures
  2. python scripts/check_data.py --dataset my_pictures
  3. python main_single_gpu.py --bit 64 --dataset my_pictures
  4. python predict.py --bit 64 --dataset my_pictures --img some_picture.jpg
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.data_sets.arguments import count, seed, share
from scripts.data_sets.draws import draw_stratified
from scripts.data_sets.report import next_steps, some, tell_lists
from scripts.data_sets.scan import Scanned, scan_files
from scripts.data_sets.writing import (
    NewCard,
    chosen_rows,
    data_path_for_card,
    refuse_to_overwrite,
    write_data_set,
)
from utils.datasets.info import DATA_FOLDER
from utils.search import PICTURE_ENDINGS
from utils.system.errors import UserError
from utils.system.runtime import usable_cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-command's flags."""
    parser.add_argument("pictures", type=Path, help="the folder with a sub-folder a class")
    parser.add_argument(
        "--queries",
        type=share,
        default=0.1,
        metavar="SHARE",
        help="of each class, at least one picture (default: %(default)s)",
    )
    parser.add_argument(
        "--train",
        type=share,
        default=1.0,
        metavar="SHARE",
        help="of the rest of each class, at least one picture (default: %(default)s)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the draw (default: %(default)s)")
    parser.add_argument(
        "--workers", type=count, default=usable_cores(), help="processes (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, help="folder of lists and card (default: data/NAME of the folder)"
    )
    parser.add_argument("--force", action="store_true", help="write over a data set that is there")


def run(arguments: argparse.Namespace) -> None:
    """Finds, draws, writes, and says what was done."""
    root = arguments.pictures
    name = root.resolve().name
    folder = arguments.out or DATA_FOLDER / name
    refuse_to_overwrite(folder, arguments.force, new_card=True)
    found = find_pictures_by_class(root)
    scanned = scan_files([str(root / picture) for picture in found], arguments.workers)
    pictures = _usable(root, found, scanned)
    names = sorted({picture.split("/")[0] for picture in pictures})
    if len(names) < 2:
        raise UserError(f"{root}: only the class {names[0]} has pictures that can be decoded")
    classes = [names.index(picture.split("/")[0]) for picture in pictures]
    draw = draw_stratified(classes, arguments.queries, arguments.train, arguments.seed)
    if len(draw["test"]) == 0:
        raise UserError(f"{root}: no class has two pictures; one would be the query, one is found")
    labels = np.eye(len(names), dtype=np.uint8)[classes]
    lists = chosen_rows(str(root), pictures, labels, draw)
    provenance = (
        f"{len(pictures)} pictures in {len(names)} folders, drawn with seed {arguments.seed} by "
        f"scripts/prepare_data.py folder: {arguments.queries} of each class are queries, "
        f"{arguments.train} of the others are trained on."
    )
    data_path = data_path_for_card(root)
    card = NewCard(name, len(names), -1, data_path, provenance, tuple(names))
    write_data_set(folder, card, lists, arguments.force, new_card=True)
    print(f"{len(names)} classes: {some(names)}")
    print("\n".join(tell_lists(lists, names)))
    print("\n".join(next_steps(folder, root)))


def find_pictures_by_class(root: Path) -> list[str]:
    """The files below the class folders that have a picture's ending, as paths below `root`.

    Raises:
        UserError: `root` is no folder, or there are not two classes with pictures.
    """
    if not root.is_dir():
        raise UserError(f"{root}: the folder is missing")
    found = []
    for path, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(path).relative_to(root)
        if below == Path("."):
            continue  # pictures beside the class folders have no class
        found += [
            (below / name).as_posix()
            for name in sorted(files)
            if Path(name).suffix.lower() in PICTURE_ENDINGS and not name.startswith(".")
        ]
    classes = {picture.split("/")[0] for picture in found}
    if len(classes) < 2:
        raise UserError(
            f"{root}: expected two sub-folders or more with pictures "
            f"({', '.join(sorted(PICTURE_ENDINGS))}), a sub-folder a class; found {len(classes)}"
        )
    return sorted(found)


def _usable(root: Path, pictures: Sequence[str], scanned: Sequence[Scanned]) -> list[str]:
    """The pictures that can be decoded, each once: a copy of a query must not be trained on."""
    good, bad, copies = [], [], []
    first: dict[bytes, str] = {}
    for picture, found in zip(pictures, scanned):
        if found.fault:
            bad.append(picture)
        elif first.setdefault(found.digest, picture) != picture:
            copies.append(f"{picture} = {first[found.digest]}")
        else:
            good.append(picture)
    if not good:
        raise UserError(f"{root}: none of the {len(bad)} pictures can be decoded")
    if bad:
        print(f"left out, cannot be decoded: {some(bad)}")
    if copies:
        print(f"left out, the same bytes as another file: {some(copies)}")
    return good
