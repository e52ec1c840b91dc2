"""Database codes: those kept on disk where they are of these weights and this list, else new."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from utils.codes.storage import load_codes, provenance_differences, save_codes
from utils.datasets import Split
from utils.inference.encoder import Encoded, Encoder
from utils.system.errors import UserError
from utils.system.files import check_writable

_log = logging.getLogger(__name__)


def load_or_build(
    path: Path, bit: int, encoder: Encoder, queries: Split, database: Split
) -> tuple[Encoded, Encoded]:
    """The codes of queries, and those of a database, kept or new.

    The database is encoded, and its codes written to `path`, where those there are not of it and
    of the encoder's weights. Kept codes that leave images out are good as long as those cannot be
    read.
    """
    kept, why = _load(path, bit, encoder, database)
    if kept is not None:
        _log.info(f"Database codes: {len(kept.codes)} read from {path}")
        return encoder.encode(queries)[0], kept
    check_writable(path.parent, [path])
    _log.info(f"Database codes: encoding {len(database.labels)} images ({why})")
    coded_queries, coded_database = encoder.encode(queries, database)
    save_codes(path, coded_database.codes, encoder.provenance(database, coded_database.left_out))
    _log.info(f"Database codes: saved in {path}")
    return coded_queries, coded_database


def _load(path: Path, bit: int, encoder: Encoder, database: Split) -> tuple[Encoded | None, str]:
    """The codes kept at `path`, or why they cannot be used."""
    if not path.is_file():
        return None, f"{path} is not there yet"
    provenance = encoder.provenance(database)
    try:
        codes, found = load_codes(path, bit)
    except UserError as error:
        _set_aside(path)
        return None, str(error)
    if found is None:
        _set_aside(path)
    differences = provenance_differences(found, provenance)
    left_out, stale = _still_left_out(found or {}, encoder, database)
    differences += stale
    if not differences and len(codes) + len(left_out) != len(database.labels):
        differences = [f"{path} has {len(codes)} rows"]
    if differences:
        return None, "; ".join(differences)
    indices = np.setdiff1d(np.arange(len(database)), sorted(left_out))
    return Encoded(codes, database.subset(indices), left_out), ""


def _still_left_out(
    record: dict, encoder: Encoder, database: Split
) -> tuple[dict[int, str], list[str]]:
    """What is wrong with images that kept codes leave out; or why they may not be."""
    indices = record.get("left_out", [])
    known = range(len(database))
    if not isinstance(indices, list) or any(type(i) is not int or i not in known for i in indices):
        return {}, ["its list of images left out is of another list"]
    if indices and not encoder.options.skip_bad:
        return {}, [f"{len(indices)} images are left out, which only --on-bad-image skip allows"]
    left_out = {}
    for index in indices:
        try:
            database.images.open(index, encoder.transform.resize.least_side)
        except UserError as error:
            left_out[index] = str(error)
        else:
            return {}, [f"{database.images.name(index)} was left out and can be read now"]
    return left_out, []


def _set_aside(path: Path) -> None:
    # Codes that no record describes may be another program's: they are not written over.
    kept = path.with_name(f"{path.stem}.kept{path.suffix}")
    os.replace(path, kept)
    _log.info(f"Database codes: {path} may be of other weights or lists; now {kept}")
