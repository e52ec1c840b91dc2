"""Draws COCO's lists from COCO's own annotation files.

Takes instances_train2014.json and instances_val2014.json, or the folder that holds them
(annotations_trainval2014.zip of https://cocodataset.org/#download). Of the 122,218 images with
a label, 5,000 become queries and 10,000 are trained on:

  --split paper          as the text of the paper has it: the database is all
                         images but the queries (117,218) and holds the
                         training images
  --split released-like  as in the lists released with HashNet's code, from
                         which the published numbers come: the database is all
                         images but the training ones (112,218) and holds the
                         queries, each of which finds itself

The draw is this project's (--seed): the released lists themselves come from `import coco`.

example, with train2014/ and val2014/ in datasets/COCO2014:
  python scripts/prepare_data.py coco datasets/COCO2014/annotations
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from scripts.prepare.draws import PROTOCOLS, add_draw_flags, draw_split, image_list, whole_number
from scripts.prepare.writing import DatasetFolder
from utils.datasets.info import DATA_FOLDER, read_dataset_info
from utils.datasets.lists import ImageList
from utils.system.errors import UserError, short_repr
from utils.system.files import open_untrusted

FILES = ("instances_train2014.json", "instances_val2014.json")
HINT = f"get {' and '.join(FILES)} from https://cocodataset.org/#download"
MAX_ANNOTATIONS = 1 << 30
"""Bytes of an annotation file, at most; the training images' has 450 MB."""
LABELLED = 122_218
"""Images of both files with an annotated object, of 123,287."""
KEYS = {"images", "annotations", "categories", "id", "file_name", "name", "image_id", "category_id"}
"""What is kept of an annotation file: the outlines are most of the 450 MB."""
_FILE_NAME = re.compile(r"COCO_(train2014|val2014)_[0-9]{12}\.jpg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this source."""
    add = parser.add_argument
    add("annotations", type=Path, nargs="+", help="the two files, or the folder that holds them")
    add("--split", choices=PROTOCOLS, default="paper", help="the protocol (default: %(default)s)")
    add("--any-count", action="store_true", help="take files with other than 122,218 such images")
    add_draw_flags(parser, whole_number(1), queries=5000, train=10_000)


def run(arguments: argparse.Namespace) -> None:
    """Reads the annotations, draws the lists and writes them."""
    split, seed = arguments.split, arguments.seed
    name = f"coco_{split.replace('-', '_')}"
    folder = DatasetFolder(arguments.out or DATA_FOLDER / name, arguments.force)
    coco = read_dataset_info("coco")
    files = []
    for path in arguments.annotations:
        files += [path / name for name in FILES] if path.is_dir() else [path]
    bar = tqdm(files, "annotation files", leave=False, disable=None)
    found, digests = zip(*[_read_annotations(path, coco.classes) for path in bar])
    images = _labelled(found, arguments.any_count)
    lists = draw_split(images, arguments.queries, arguments.train, split, seed)
    sources = ", ".join(f"{path.name} (SHA-256 {sha})" for path, sha in zip(files, digests))
    provenance = (
        f"MS COCO 2014 (https://cocodataset.org), protocol '{split}', drawn with seed {seed} by "
        f"scripts/prepare_data.py coco from {sources}. These are not the lists released with "
        "HashNet's code."
    )
    folder.write(replace(coco, name=name, provenance=provenance), lists)


def _labelled(files: Sequence[ImageList], any_count: bool) -> ImageList:
    """The images with a label, by path: the draw does not depend on the files' order."""
    paths = [path for images in files for path in images.paths]
    labels = np.concatenate([images.labels for images in files])
    if len(set(paths)) < len(paths):
        raise UserError("the annotation files have images in common; name each file once")
    order = [i for i in sorted(range(len(paths)), key=paths.__getitem__) if labels[i].any()]
    print(f"{len(paths):,} images, {len(order):,} with a label")
    if len(order) != LABELLED and not any_count:
        raise UserError(
            f"{len(order):,} images have a label; {LABELLED:,} have in COCO 2014's train and val "
            "files together; --any-count takes these"
        )
    source = " and ".join(images.source for images in files)
    return image_list(source, [paths[i] for i in order], labels[order])


def _read_annotations(path: Path, classes: Sequence[str]) -> tuple[ImageList, str]:
    """All images of a file, many without a label, and the file's SHA-256."""
    with open_untrusted(path, "COCO 2014's instances", MAX_ANNOTATIONS, HINT) as file:
        text = file.read()
        content = json.loads(text, object_hook=lambda found: {k: found[k] for k in KEYS & {*found}})
        categories = dict(_entries(content, "categories", "id", "name"))
        if sorted(map(str, categories.values())) != sorted(classes):
            raise ValueError(f"its {len(categories)} categories are not COCO's {len(classes)}")
        # Category id → label column; the ids have gaps and another order.
        columns = {number: classes.index(name) for number, name in categories.items()}
        indices, paths = {}, []
        for number, name in _entries(content, "images", "id", "file_name"):
            match = _FILE_NAME.fullmatch(str(name))
            if not match:
                raise ValueError(f"{short_repr(name)} is no name of an image of COCO 2014")
            indices[number] = len(paths)
            paths.append(f"{match[1]}/{name}")
        if len(indices) < len(paths):
            raise ValueError("two images have the same id")
        labels = np.zeros((len(paths), len(classes)), np.uint8)
        for image, category in _entries(content, "annotations", "image_id", "category_id"):
            if image not in indices or category not in columns:
                raise ValueError(f"an annotation has image {image}, category {category}: not there")
            labels[indices[image], columns[category]] = 1
        return image_list(str(path), paths, labels), hashlib.sha256(text).hexdigest()


def _entries(content: Any, kind: str, *keys: str) -> Iterator[list]:
    """The values of some keys in each entry of one of the file's lists."""
    entries = content.get(kind) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f"it has no list {kind!r}")
    for entry in entries:
        values = [entry.get(key) for key in keys] if isinstance(entry, dict) else [None]
        # Numbers of more than 64 bits may all have the same hash.
        if not all(type(v) is str or (type(v) is int and abs(v) < 1 << 63) for v in values):
            raise ValueError(f"an entry of {kind!r} lacks {' or '.join(keys)}: {short_repr(entry)}")
        yield values
