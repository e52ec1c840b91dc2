"""COCO's own annotation files (instances_train2014.json, instances_val2014.json)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.system.errors import UserError

FILES = ("instances_train2014.json", "instances_val2014.json")
LABELLED = 122_218
"""Pictures of both files with an annotated object, of 123,287."""

_FILE_NAME = re.compile(r"COCO_(train2014|val2014)_\d{12}\.jpg")


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The annotation files among files and folders that the user names.

    Raises:
        UserError: a file is missing.
    """
    found = []
    for path in paths:
        found += [path / name for name in FILES] if path.is_dir() else [path]
    for path in found:
        if not path.is_file():
            raise UserError(
                f"{path}: the annotation file is missing; expected {' and '.join(FILES)} of "
                "annotations_trainval2014.zip (https://cocodataset.org/#download)"
            )
    return found


def read_annotations(path: Path, classes: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The labels of all pictures of one annotation file; many have none.

    Args:
        path: the file.
        classes: COCO's 80 category names in the order of the label columns.

    Returns:
        n paths below the picture folder, and labels [n, 80] uint8 of 0 and 1.

    Raises:
        UserError: the file is cut off, is not COCO 2014's, or names categories or pictures that
            it does not hold.
    """
    content = _read_json(path)
    columns = _columns(path, content["categories"], classes)
    rows, pictures = {}, []
    for image in content["images"]:
        number, name = _entry(path, "images", image, "id", "file_name")
        match = _FILE_NAME.fullmatch(str(name))
        if not match:
            raise UserError(
                f"{path}: a picture is called {name!r}; expected COCO 2014's names, such as "
                "COCO_train2014_000000000009.jpg"
            )
        rows[number] = len(pictures)
        pictures.append(f"{match[1]}/{name}")
    if len(rows) < len(pictures):
        raise UserError(f"{path}: two pictures have the same id")
    labels = np.zeros((len(pictures), len(classes)), np.uint8)
    for annotation in content["annotations"]:
        picture, category = _entry(path, "annotations", annotation, "image_id", "category_id")
        if category not in columns:
            raise UserError(
                f"{path}: an annotation of picture {picture} has category_id {category}, which is "
                "none of the file's categories"
            )
        if picture not in rows:
            raise UserError(f"{path}: an annotation is of picture {picture}, which is not there")
        labels[rows[picture], columns[category]] = 1
    return pictures, labels


def _slim(entry: dict[str, Any]) -> dict[str, Any]:
    """Drops an annotation's outline while the file is parsed: it is most of the 450 MB."""
    if "segmentation" not in entry:
        return entry
    return {key: entry[key] for key in ("image_id", "category_id") if key in entry}


def _read_json(path: Path) -> dict[str, list]:
    try:
        content = json.loads(path.read_bytes(), object_hook=_slim)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(
            f"{path}{where}: not whole JSON; it may be cut off: get it anew from "
            "https://cocodataset.org/#download"
        ) from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(f"{path}: not COCO's instances file: it has no list {key!r}")
    return content


def _entry(path: Path, kind: str, entry: Any, *keys: str) -> list:
    if not isinstance(entry, dict) or not all(key in entry for key in keys):
        raise UserError(
            f"{path}: not COCO's instances file: an entry of {kind!r} lacks {' or '.join(keys)}"
        )
    values = [entry[key] for key in keys]
    if not all(isinstance(value, (int, str)) for value in values):
        raise UserError(f"{path}: an entry of {kind!r} has {' or '.join(keys)} of a wrong kind")
    return values


def _columns(path: Path, categories: list, classes: Sequence[str]) -> dict[Any, int]:
    """Category id → label column; COCO's ids have gaps and another order."""
    named = [_entry(path, "categories", category, "id", "name") for category in categories]
    names = [name for _, name in named]
    unknown = [name for name in names if name not in classes]
    lacking = [name for name in classes if name not in names]
    if unknown or lacking or len(names) != len(classes):
        odd = f"{unknown[0]!r} is none of them" if unknown else f"{len(names)} are there"
        odd = f"{lacking[0]!r} is not there" if lacking and not unknown else odd
        raise UserError(f"{path}: expected COCO's {len(classes)} categories; {odd}")
    return {number: classes.index(name) for number, name in named}
