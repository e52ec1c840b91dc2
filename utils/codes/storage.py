"""Database code files: packed codes in a .npy, and beside it a .json that says what they are of.

    database_code_64.npy     uint8 [n, 8]
    database_code_64.json    {"bit": 64, "rows": n, "codes_sha256": "…", then the provenance}

Codes of other weights or another list must never be searched in silence, so whoever loads codes
compares their provenance with what they should be of. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np

from utils.codes import check_bit, check_codes, pack_codes, packed_bytes
from utils.system.errors import UserError
from utils.system.files import MAX_TEXT, open_untrusted, write_bytes, write_json

MAX_CODES = 1 << 36
MAX_IMAGE = 1 << 7
"""Bytes of a code file, and of what a record says of an image, at most."""
REMEDY = "delete it, and the codes are made again"


def save_codes(path: str | os.PathLike, codes: np.ndarray, provenance: dict, bit: int) -> None:
    """Writes packed codes, uint8 [n, bit / 8], and their record beside them, each whole or not.

    The record is the `provenance` (what the codes are of, in JSON values), and the hash of the
    codes; it is written last: a run that dies between the two leaves a pair that `load_codes`
    refuses. Raises a `UserError` where a file cannot be written, or `codes` are no packed codes.
    """
    path = Path(path)
    check_codes(codes, str(path), bit)
    record = {**provenance, "bit": bit, **_identity(codes)}
    content = io.BytesIO()  # NumPy's own writing to a file does not say why it failed
    np.save(content, codes, allow_pickle=False)
    write_bytes(path, content.getvalue())
    write_json(path.with_suffix(".json"), record)


def load_codes(path: str | os.PathLike, bit: int | None = None) -> tuple[np.ndarray, dict | None]:
    """Reads a code file: packed codes, or the published format, a float array of -1 and 1.

    Returns packed codes, uint8 [n, bit / 8], and their provenance; None where no `.json` is there.
    Raises a `UserError` where a file is missing, damaged, not of codes or not of `bit` ones (None:
    any), or the record is of other codes.
    """
    path = Path(path)
    with open_untrusted(path, "a NumPy .npy file of packed codes", MAX_CODES, REMEDY) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    codes = _as_packed(array, path)
    record_path, found_bit, record = path.with_suffix(".json"), 8 * codes.shape[1], None
    has_room = bit is None or codes.shape[1] == packed_bytes(bit)
    if has_room and record_path.exists():
        record = _read_provenance(record_path, codes)
        found_bit = record.pop("bit")
    if not has_room or (record and bit not in (None, found_bit)):
        raise UserError(
            f"{path}: holds {found_bit}-bit codes, but {bit} bits are wanted: "
            f"ask for {found_bit} bits, or {REMEDY}"
        )
    return codes, record


def provenance_differences(found: dict | None, wanted: dict) -> list[str]:
    """What stands between stored codes and the ones that are wanted, by their provenances.

    A phrase a difference, such as 'the weights have changed'; none where the codes may be used.
    Files are compared by hash where `wanted` has one: a renamed file is the same file.
    """
    if found is None:
        return ["there is no record of what the codes are of"]
    differences = []
    for key, value in json.loads(json.dumps(wanted)).items():
        subject = key[: -len("_sha256")] if key.endswith("_sha256") else key
        if subject == key and f"{key}_sha256" in wanted:
            continue
        plural = subject.endswith("s")
        if key not in found:
            differences.append(f"the {subject} {'are' if plural else 'is'} not recorded")
        elif found[key] != value:
            differences.append(f"the {subject} {'have' if plural else 'has'} changed")
    return differences


def _as_packed(array: np.ndarray, path: Path) -> np.ndarray:
    published = array.dtype.kind == "f"
    if array.ndim != 2 or not (published or array.dtype == np.uint8):
        raise UserError(
            f"{path}: holds a {array.dtype} array of shape {array.shape}; expected packed codes, "
            f"uint8 [n, bit / 8], or float [n, bit] of -1 and 1: {REMEDY}"
        )
    check_bit(array.shape[1] if published else 8 * array.shape[1], f"{path}: ")
    if not published:
        return array
    wrong = np.abs(array) != 1
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise UserError(
            f"{path}: row {row}, column {column} holds {array[row, column]}; "
            f"expected -1 or 1 in a float array: {REMEDY}"
        )
    return pack_codes(array)


def _read_provenance(path: Path, codes: np.ndarray) -> dict:
    largest = MAX_TEXT + MAX_IMAGE * len(codes)
    with open_untrusted(path, "a JSON record of codes", largest, REMEDY) as file:
        record = json.loads(file.read())
    fields = record if isinstance(record, dict) else {}
    bit = fields.get("bit")
    same = {"bit": type(bit) is int and packed_bytes(bit) == codes.shape[1]}
    same.update({key: fields.pop(key, None) == value for key, value in _identity(codes).items()})
    for key, is_same in same.items():
        if not is_same:
            raise UserError(
                f"{path}: does not belong to the .npy beside it (its {key} differs; a run may have "
                "died between the two): delete both, and the codes are made again"
            )
    return record


def _identity(codes: np.ndarray) -> dict:
    """What a record says of the codes themselves."""
    digest = hashlib.sha256(np.ascontiguousarray(codes)).hexdigest()
    return {"rows": len(codes), "codes_sha256": digest}
