"""A trained network and its picture transform: splits and single pictures → codes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import paddle

from models.normalization import PictureNormalization
from utils import engine
from utils.codes.storage import load_codes, provenance_differences, save_codes
from utils.datasets import Split
from utils.datasets.loader import Batches, Loading
from utils.datasets.transforms import Transform
from utils.inference.backends import Coder
from utils.system.disk import check_writable
from utils.system.errors import UserError
from utils.system.files import sha256_of_file
from utils.system.logger import progress

Watch = Callable[[Iterable], Iterable]


@dataclass(frozen=True)
class Encoded:
    """Pictures with their codes, the same on every rank.

    Attributes:
        codes: [n, bit / 8] uint8, packed.
        split: the pictures and labels of the codes.
        left_out: what is wrong with each picture that has no code, by its row in the list.
    """

    codes: np.ndarray
    split: Split
    left_out: dict[int, str]


class Encoder:
    """Encodes what it is given.

    A `with` block around several calls fixes the weights for all of them, and prepares what
    runs the network once; without one, each call does.

    Args:
        coder: runs the network.
        transform: the evaluation transform, RGB picture → [h, w, 3] uint8.
        batch_size: pictures at a time.
        loading: how pictures are loaded.
    """

    def __init__(
        self,
        coder: Coder,
        transform: Transform,
        batch_size: int,
        loading: Loading | None = None,
    ):
        self.transform, self.loading = transform, loading or Loading()
        self.coder = coder
        self._batch_size = batch_size
        self._blocks = 0

    def __enter__(self) -> None:
        if not self._blocks:
            self.coder.__enter__()
        self._blocks += 1

    def __exit__(self, *error: object) -> None:
        self._blocks -= 1
        if not self._blocks:
            self.coder.__exit__(*error)

    def network_input(self, split: Split, count: int) -> paddle.Tensor:
        """The first `count` pictures of a split as the network sees them, [n, 3, h, w] float32.

        Raises:
            UserError: a picture is missing or damaged; where such are left out: all are.
        """
        at_once = replace(self.loading, threads=0)  # no picture beyond those asked for
        batches = Batches(split, self.transform, count, at_once, shared=False)
        pixels = np.zeros((0, 0, 0, 3), np.uint8)
        for pictures, rows in batches:
            good = pictures[rows >= 0]
            pixels = np.concatenate([pixels, good]) if len(pixels) else good
            if len(pixels) >= count:
                break
        if not len(pixels):
            raise _none_readable(split, batches.bad)
        return PictureNormalization()(paddle.to_tensor(pixels[:count]))

    def encode(self, split: Split, watch: Watch = iter) -> Encoded:
        """Codes of a split, in its order; all ranks call it together.

        Args:
            split: the pictures.
            watch: what the batches go through, so that it may break off between two of them.

        Raises:
            UserError: a picture is missing or damaged; where such are left out: all are.
        """
        batches = Batches(split, self.transform, self._batch_size, self.loading)
        with self:
            encoding = progress(batches, f"encoding {split.name}")
            codes, rows = engine.encode(self.coder, watch(encoding))
        if len(rows) == len(split):
            return Encoded(codes, split, {})
        left_out = batches.all_bad()
        if not len(rows):
            raise _none_readable(split, left_out)
        return Encoded(codes, split.only(rows), left_out)


def left_out_of(*encoded: Encoded) -> dict[str, list[str]]:
    """What is wrong with the pictures without codes, by the split's name; only where there are."""
    return {each.split.name: list(each.left_out.values()) for each in encoded if each.left_out}


def _none_readable(split: Split, bad: dict[int, str]) -> UserError:
    return UserError(f"{bad[min(bad)]}; nor can any other of the {len(split)} pictures be used")


def provenance(encoder: Encoder, split: Split, weights: dict[str, str]) -> dict[str, str]:
    """What a code file's codes depend on, to be kept beside them.

    Args:
        encoder: its transform and its precision count.
        split: its list counts.
        weights: `identity_of` the encoder's weights.
    """
    return {
        **split.origin,
        **weights,
        "transform": str(encoder.transform),
        "precision": encoder.coder.precision,
    }


def identity_of(weights: Path) -> dict[str, str]:
    """A weights file's name and hash."""
    return {"weights": weights.name, "weights_sha256": sha256_of_file(weights)}


def keep_codes(path: Path, encoded: Encoded, made_from: dict[str, str]) -> None:
    """Writes a code file; its record names the rows of the list that have no code.

    Args:
        path: `database_code_{bit}.npy`.
        encoded: the database.
        made_from: its provenance.
    """
    left_out = {"left_out": sorted(encoded.left_out)} if encoded.left_out else {}
    save_codes(path, encoded.codes, {**made_from, **left_out})


def stored_or_new_codes(
    path: Path,
    encoder: Encoder,
    split: Split,
    bit: int,
    made_from: dict,
    say: Callable[[str], None],
) -> Encoded:
    """The codes kept at `path` where they are for these weights and this list, else new ones.

    New codes are written to `path`; why they are needed is said. Kept codes that leave pictures
    out are good where such pictures may be left out, and as long as they cannot be read.

    Args:
        path: `database_code_{bit}.npy`.
        encoder: makes new codes.
        split: the database.
        bit: length of the codes.
        made_from: what they must be of, see `provenance`.
        say: takes a line for the user.
    """
    reason = f"{path} is not there yet"
    if path.is_file():
        try:
            codes, found = load_codes(path, bit)
            if found is None:
                _set_aside(path, say)
            differences = provenance_differences(found, made_from)
            left_out, stale = _still_left_out(found, encoder, split)
            differences += stale
            if not differences and len(codes) + len(left_out) == len(split):
                say(f"Database codes: {len(codes)} read from {path}")
                kept = np.setdiff1d(np.arange(len(split)), sorted(left_out))
                return Encoded(codes, split.only(kept), left_out)
            reason = "; ".join(differences) or f"{path} has {len(codes)} rows"
        except UserError:
            _set_aside(path, say)
            reason = f"{path} could not be used"
    check_writable(path.parent, [path.name])
    say(f"Database codes: encoding {len(split)} pictures ({reason})")
    encoded = encoder.encode(split)
    keep_codes(path, encoded, made_from)
    say(f"Database codes: saved in {path}")
    return encoded


def _still_left_out(
    record: dict | None, encoder: Encoder, split: Split
) -> tuple[dict[int, str], list[str]]:
    """What is wrong with pictures that kept codes leave out; or why they may not be."""
    rows = (record or {}).get("left_out", [])
    known = range(len(split))
    if not isinstance(rows, list) or any(type(row) is not int or row not in known for row in rows):
        return {}, ["its list of pictures left out is of another list"]
    if rows and not encoder.loading.skip_bad:
        return {}, [f"{len(rows)} pictures are left out, which only --on_bad_image skip allows"]
    left_out = {}
    for row in rows:
        try:
            split.pictures.open(row, encoder.transform.scaling.least_side)
        except UserError as error:
            left_out[row] = str(error)
        else:
            return {}, [f"{split.pictures.name(row)} was left out and can be read now"]
    return left_out, []


def _set_aside(path: Path, say: Callable[[str], None]) -> None:
    # Codes that no record describes may be another program's: they are not written over.
    kept = path.with_name(f"{path.stem}.kept{path.suffix}")
    os.replace(path, kept)
    say(f"Database codes: {path} is not known to be of these weights and this list; now {kept}")
