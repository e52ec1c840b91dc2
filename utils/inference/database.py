"""Database codes: kept on disk, an image each; only what has changed is encoded anew."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.codes import warn_of_equal_codes
from utils.codes.storage import load_codes, provenance_differences, save_codes
from utils.datasets import Split
from utils.datasets.loader import none_readable
from utils.inference.encoder import Encoded, Encoder
from utils.system.errors import UserError
from utils.system.files import check_writable, set_aside

_log = logging.getLogger(__name__)


def image_keys(split: Split) -> list[str]:
    """What tells each image from another, or from what it was before: path, size, time of change.

    To be asked for before the images are read: a code never passes for one of a later image.
    """
    return list(map(split.images.key, range(len(split))))


def record_of(
    encoder: Encoder, split: Split, keys: Sequence[str], left_out: Iterable[int]
) -> dict[str, Any]:
    """The record of a split's codes: list, network, transform, and the images, left out or not."""
    skipped = {"left_out": sorted(left_out)} if left_out else {}
    return {**split.origin, **encoder.provenance(), **skipped, "images": list(keys)}


def load_or_build(
    path: Path, bit: int, encoder: Encoder, queries: Split, database: Split
) -> tuple[Encoded, Encoded]:
    """The codes of queries, and those of a database, kept or new.

    Codes at `path` count where they are of the encoder's network and transform, and of the very
    image. Images without one are encoded, and the file is written anew.
    """
    keys = image_keys(database)
    kept, skipped, why = _load(path, bit, encoder)
    left_out = {}
    for index, key in enumerate(keys):
        if key in skipped and encoder.options.skip_bad:
            try:
                database.images.open(index, encoder.transform.resize.least_side)
            except UserError as error:
                left_out[index] = str(error)
    missing = [i for i, key in enumerate(keys) if key not in kept and i not in left_out]
    if kept:
        _log.info(f"Database codes: {len(keys) - len(missing) - len(left_out)} read from {path}")
    if missing:
        check_writable(path.parent, [path])
        _log.info(f"Database codes: encoding {len(missing)} images ({why or 'new or changed'})")
        subset = database.subset(np.array(missing))
        coded_queries, new = encoder.encode(queries, subset)
        left_out.update({missing[place]: problem for place, problem in new.left_out.items()})
        found = [index for place, index in enumerate(missing) if place not in new.left_out]
        kept.update(zip([keys[index] for index in found], new.codes))
    else:
        (coded_queries,) = encoder.encode(queries)
    indices = np.setdiff1d(np.arange(len(keys)), sorted(left_out))
    if not len(indices):
        raise none_readable(database, left_out)
    codes = np.stack([kept[keys[index]] for index in indices])
    warn_of_equal_codes(codes, database.name)
    if missing or list(kept) != list(dict.fromkeys(keys[index] for index in indices)):
        save_codes(path, codes, record_of(encoder, database, keys, left_out), bit)
        _log.info(f"Database codes: saved in {path}")
    return coded_queries, Encoded(codes, database.subset(indices), left_out)


def _load(path: Path, bit: int, encoder: Encoder) -> tuple[dict[str, np.ndarray], set[str], str]:
    """Codes kept at `path` by image, the images that they leave out, or why none can be used."""
    if not path.is_file():
        return {}, set(), f"{path} is not there yet"
    record = None
    try:
        codes, record = load_codes(path, bit)
        why = "; ".join(provenance_differences(record, encoder.provenance()))
    except UserError as error:
        why = str(error)
    if record is None:  # they may be another program's: they are not written over
        aside, *_ = set_aside(*filter(Path.is_file, (path, path.with_suffix(".json"))))
        _log.info(f"Database codes: {path} may be of other weights or lists; now {aside}")
    if why:
        return {}, set(), why
    keys, left_out = record.get("images"), record.get("left_out", [])
    try:
        without = {index: keys[index] for index in left_out}
        with_code = [key for index, key in enumerate(keys) if index not in without]
        if len(with_code) == len(codes) and all(isinstance(key, str) for key in keys):
            return dict(zip(with_code, codes)), set(without.values()), ""
    except (TypeError, LookupError):
        pass
    return {}, set(), "its images are not recorded"
