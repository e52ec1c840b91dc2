"""Draws PASCAL VOC 2012's lists from its own annotations.

Takes the folder that holds Annotations/, ImageSets/Main/ and JPEGImages/ (VOCdevkit/VOC2012 of
VOCtrainval_11-May-2012.tar), or a folder above it. The images are those of
ImageSets/Main/trainval.txt, an image's labels are the kinds of objects in its XML file. Queries
and training images are drawn (--seed); the database is all images but the queries and holds
the training images.

example, with VOCdevkit/VOC2012 as datasets/VOC2012:
  python scripts/prepare_data.py voc2012 datasets/VOC2012
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from tqdm import tqdm

from scripts.prepare.draws import add_draw_flags, draw_split, image_list, whole_number
from scripts.prepare.writing import DatasetFolder
from utils.datasets.info import DATA_FOLDER, read_dataset_info
from utils.datasets.lists import ImageList
from utils.system.errors import UserError, short_repr
from utils.system.files import MAX_TEXT, open_untrusted

PARTS = ("Annotations", "ImageSets/Main", "JPEGImages")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this source."""
    add = parser.add_argument
    add("folder", type=Path, help="VOC2012, or a folder above it")
    names = "the file of ImageSets/Main that names the images (default: %(default)s)"
    add("--set", default="trainval", metavar="NAME", help=names)
    easy = "leave out objects marked as difficult; images without others fall away"
    add("--no-difficult", action="store_true", help=easy)
    add_draw_flags(parser, whole_number(1), queries=2000, train=4000)


def run(arguments: argparse.Namespace) -> None:
    """Reads the annotations, draws the lists and writes them."""
    folder = DatasetFolder(arguments.out or DATA_FOLDER / "voc2012", arguments.force)
    info = read_dataset_info("voc2012")
    given, name, seed = arguments.folder, arguments.set, arguments.seed
    roots = [given, given / "VOC2012", given / "VOCdevkit" / "VOC2012"]
    roots = [root for root in roots if all((root / part).is_dir() for part in PARTS)]
    if not roots:
        raise UserError(f"{given}: expected {', '.join(PARTS)} in it, or in VOC2012 below")
    images = _read_images(roots[0], name, info.classes, arguments.no_difficult)
    print(f"{len(images):,} images of {name}.txt have a label")
    lists = draw_split(images, arguments.queries, arguments.train, "paper", seed)
    provenance = (
        f"PASCAL VOC 2012, ImageSets/Main/{name}.txt, drawn with seed {seed} by "
        "scripts/prepare_data.py voc2012."
    )
    folder.write(replace(info, provenance=provenance), lists, roots[0])


def _read_images(root: Path, name: str, classes: Sequence[str], no_difficult: bool) -> ImageList:
    """The images that ImageSets/Main/NAME.txt names and that have a label, by path."""
    path = root / "ImageSets/Main" / f"{name}.txt"
    hint = "--set names another file of ImageSets/Main"
    with open_untrusted(path, "VOC's names of images", MAX_TEXT, hint) as file:
        lines = file.read().decode().splitlines()
    # `<class>_trainval.txt` has a second column; there each line still begins with the image.
    numbers = sorted({line.split()[0] for line in lines if line.strip()})
    found = {}
    for number in tqdm(numbers, "annotations", leave=False, disable=None):
        labels = _labels(root / "Annotations" / f"{number}.xml", classes, no_difficult)
        if labels.any():
            found[f"JPEGImages/{number}.jpg"] = labels
    if not found:
        raise UserError(f"{path}: none of its {len(numbers)} images has a label")
    return image_list(str(root), list(found), np.stack(list(found.values())))


def _labels(path: Path, classes: Sequence[str], no_difficult: bool) -> np.ndarray:
    labels = np.zeros(len(classes), np.uint8)
    with open_untrusted(path, "VOC's XML", MAX_TEXT, "unpack the archive anew") as file:
        text = file.read().decode()
        if "<!DOCTYPE" in text:  # its entities might make a small file a huge one
            raise ValueError("it has a DOCTYPE")
        for item in ElementTree.fromstring(text).iter("object"):
            name = (item.findtext("name") or "").strip()
            if name not in classes:
                raise ValueError(f"an object is called {short_repr(name)}, which is no class")
            if not (no_difficult and (item.findtext("difficult") or "0").strip() == "1"):
                labels[classes.index(name)] = 1
    return labels
