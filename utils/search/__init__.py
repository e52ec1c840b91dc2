"""Search: a query image → the nearest database images, told and shown."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageShow

from utils.codes import nearest
from utils.config import Config
from utils.datasets import Split, unlisted_images
from utils.datasets.images import is_image_name
from utils.datasets.info import DatasetInfo, in_repository
from utils.inference.database import load_or_build
from utils.inference.encoder import Encoder
from utils.search.contact_sheet import MOST_IMAGES, draw_contact_sheet
from utils.system.errors import UserError, printable, reason
from utils.system.files import check_writable, write_bytes
from utils.system.logger import log_to_console

EXAMPLE = "datasets/coco_lite/val2014/COCO_val2014_000000000161.jpg"
"""The query where none is named."""
BLANK = Image.new("RGB", (1, 1), (128, 128, 128))
_MARKS = {True: "+", False: "-", None: " "}
"""Beside a match: shares a label with the query, shares none, is not known."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Match:
    """A database image that a query has found.

    Attributes:
        rank: from 1; equal distances stand in database order.
        index: the image's place in the database list, from 0; then its path.
        relevant: whether it shares a label with the query; None where the query's are not known.
    """

    rank: int
    distance: int
    index: int
    image: str
    relevant: bool | None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(zip(("rank", "distance", "row", "picture", "relevant"), astuple(self)))


def start_search(config: Config) -> Split:
    """Opens the console, and the images that `--img` names once sheets can be written."""
    log_to_console(config.json)
    check_writable(config.save_path, flag="--save-path")
    return unlisted_images(find_images(config.img or [str(in_repository(EXAMPLE))]), "--img")


def find_images(names: Sequence[str], below: bool = False) -> list[str]:
    """Image files that the user names: files as they are, folders as the images in them, by name.

    With `below`, also those in the folders below that are not hidden. Raises a `UserError` where a
    path is missing, or a folder cannot be read or holds no image.
    """
    found: list[str] = []
    for path in names:
        if not os.path.exists(path):
            raise UserError(f"{path}: the image is missing")
        if not os.path.isdir(path):
            found.append(path)
            continue
        before, passed = len(found), 0
        for where, folders, inside in os.walk(path, onerror=_refuse):
            folders[:] = sorted(name for name in folders if below and not name.startswith("."))
            images = sorted(filter(is_image_name, inside))
            found += [os.path.join(where, name) for name in images]
            passed += len(inside) - len(images)
        if len(found) == before:
            raise UserError(f"{path}: the folder holds no image")
        if passed:
            _log.info(f"{path}: {passed} files are passed over, their names are no images'")
    return found


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be read: {reason(error)}") from error


def known_labels(paths: Sequence[Path], splits: Sequence[Split]) -> list[np.ndarray | None]:
    """The labels [num_class] of images that stand in a split's list, found by path, or None each.

    The first of the splits that has an image counts.
    """
    resolved = list(map(Path.resolve, paths))
    names, found = {path.name for path in resolved}, {}
    for split in splits:
        for path, labels in zip(map(Path, split.images.names), split.labels):
            if path.name in names:
                found.setdefault(path.resolve(), labels)
    return list(map(found.get, resolved))


def search(
    query_codes: np.ndarray,
    query_labels: Sequence[np.ndarray | None],
    database_codes: np.ndarray,
    database: Split,
    topk: int,
) -> list[list[Match]]:
    """The nearest `topk` database images of each query, by (distance, database index).

    Args:
        query_codes: packed codes, uint8 [n_q, bit / 8].
        query_labels: for each query its labels, [num_class], or None.
        database_codes: packed codes, uint8 [n, bit / 8].
        database: the images of the codes.
    """
    if len(database_codes) != len(database.labels):
        raise UserError(f"{len(database_codes)} database codes for {len(database.labels)} images")
    distances, found = nearest(query_codes, database_codes, topk)
    in_list = np.arange(len(database.labels)) if database.indices is None else database.indices
    results: list[list[Match]] = []
    for labels, *of_query in zip(query_labels, distances, found):
        results.append([])
        for rank, (distance, index) in enumerate(zip(*of_query), 1):
            known = labels is not None and labels.any() and database.labels[index].any()
            shares = bool((labels & database.labels[index]).any()) if known else None
            name = database.images.names[index]
            results[-1].append(Match(rank, int(distance), int(in_list[index]), name, shares))
    return results


def run_search(
    config: Config,
    encoder: Encoder,
    queries: Split,
    splits: Sequence[Split],
    codes_file: Path,
) -> list[dict[str, Any]]:
    """Finds each query's nearest database images, tells them, and leaves a contact sheet of them.

    The database is the last of `splits`, in which labels of queries are looked up. Its codes are
    read from `codes_file` where they are of this network and these images. Returns a
    query each: its path, the contact sheet's, and the matches, in JSON values.
    """
    database = splits[-1]
    asked, known = load_or_build(codes_file, config.bit, encoder, queries, database)
    for problem in (*asked.left_out.values(), *known.left_out.values()):
        _log.info(f"Left out: {problem}")
    queries = asked.split
    paths = list(map(Path, queries.images.names))
    labels = known_labels(paths, splits)
    results = search(asked.codes, labels, known.codes, known.split, config.topk)
    folder, documents = Path(config.save_path), []
    for number, (path, matches) in enumerate(zip(paths, results)):
        number_in_name = f"{number + 1}_" if len(paths) > 1 else ""  # two may have the same name
        stem = printable(path.stem).replace("\\", "_")[:50]  # a system takes 255 bytes for a name
        sheet = folder / f"search_{number_in_name}{stem}.jpg"
        _tell(path, matches, config.data_path)
        images = _open_matches(matches, database, encoder.options.skip_bad)
        found, of_query = [], labels[number]
        for image, match in zip(images, matches):
            names = _class_names(config.info, database.labels[match.index], of_query)
            lines = [f"{match.rank}. distance {match.distance}", *names]
            found.append((image, lines, match.relevant))
        lines = [path.name, *_class_names(config.info, of_query, of_query)]
        drawn = draw_contact_sheet(queries.images.open(number), lines, found)
        jpeg = io.BytesIO()
        drawn.save(jpeg, format="JPEG", quality=90)
        write_bytes(sheet, jpeg.getvalue())
        if images[0] is not BLANK:
            copy = database.images.copy(matches[0].index, folder)
            _log.info(f"----- Save Matched Pic in: {copy}")
        _log.info(f"Contact sheet: {sheet}")
        if config.show and not ImageShow.show(drawn, str(sheet)):
            _log.warning(f"--show: this system has no viewer of images; {sheet} is there to open")
        matches = list(map(Match.as_dict, matches))
        documents.append({"query": str(path), "sheet": str(sheet), "matches": matches})
    return documents


def _tell(query: Path, matches: Sequence[Match], data_path: str) -> None:
    _log.info(f"Query: {query}")
    _log.info("rank  distance    image (+ shares a label with the query, - shares none)")
    for m in matches:
        name = m.image.removeprefix(os.path.join(data_path, ""))
        _log.info(f"{m.rank:4d}  {m.distance:8d}  {_MARKS[m.relevant]} {name}")
    _log.info(f"----- Predicted Hamm_min: {float(matches[0].distance)}")
    _log.info(f"----- Found Matched Pic: {matches[0].image}")


def _open_matches(matches: Sequence[Match], database: Split, skip_bad: bool) -> list[Image.Image]:
    """The images that a sheet shows; where bad ones are passed over, `BLANK` for one of them."""
    images = []
    for match in matches[:MOST_IMAGES]:
        try:
            images.append(database.images.open(match.index))
        except UserError as error:
            if not skip_bad:
                raise
            _log.info(f"Not shown: {error}")
            images.append(BLANK)
    return images


def _class_names(
    info: DatasetInfo, labels: np.ndarray | None, query: np.ndarray | None
) -> list[str]:
    """A line with the names of an image's labels, the query's first; none where none is known."""
    if labels is None or not labels.any() or len(labels) != len(info.classes):
        return []
    first = labels if query is None else query
    return [", ".join(info.classes[i] for i in np.argsort(first == 0, kind="stable") if labels[i])]
