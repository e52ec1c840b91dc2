"""A trained network and its picture transform: splits and single pictures → codes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import paddle

from models.normalization import PictureNormalization
from utils import engine
from utils.code_files import load_codes, provenance_differences, save_codes
from utils.datasets import Split
from utils.errors import UserError
from utils.files import sha256_of_file
from utils.loader import Batches, Transform
from utils.logger import progress


@contextlib.contextmanager
def evaluation_mode(network: paddle.nn.Layer) -> Iterator[None]:
    """No dropout inside the block; the mode before it comes back after."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train() if was_training else network.eval()


class Encoder:
    """Encodes what it is given; the network stays as it is.

    Args:
        network: normalised pictures [n, 3, h, w] float32 → z [n, bit].
        transform: the evaluation transform, RGB picture → [h, w, 3] uint8.
        batch_size: pictures at a time.
        num_workers: processes that load pictures.
    """

    def __init__(
        self,
        network: paddle.nn.Layer,
        transform: Transform,
        batch_size: int,
        num_workers: int = 0,
    ):
        self.transform = transform
        self._network = network
        self._normalize = PictureNormalization()
        self._batch_size, self._num_workers = batch_size, num_workers

    def _forward(self, pictures: paddle.Tensor) -> paddle.Tensor:
        return self._network(self._normalize(pictures))

    def network_input(self, split: Split, count: int) -> paddle.Tensor:
        """The first `count` pictures of a split as the network sees them, [n, 3, h, w] float32."""
        rows = range(min(count, len(split)))
        pixels = np.stack([self.transform(split.pictures.open(row)) for row in rows])
        return self._normalize(paddle.to_tensor(pixels))

    def encode(self, split: Split) -> np.ndarray:
        """Codes of a split, [n, bit / 8] uint8, in its order."""
        batches = Batches(split, self.transform, self._batch_size, self._num_workers)
        with evaluation_mode(self._network):
            return engine.encode(self._forward, progress(batches, f"encoding {split.name}"))


def provenance(encoder: Encoder, split: Split, weights: Path) -> dict[str, str]:
    """What a code file's codes depend on, to be kept beside them.

    Args:
        encoder: its transform counts.
        split: its list counts.
        weights: file of the encoder's weights.
    """
    return {
        **split.origin,
        "weights": weights.name,
        "weights_sha256": sha256_of_file(weights),
        "transform": str(encoder.transform),
    }


def stored_or_new_codes(
    path: Path, encoder: Encoder, split: Split, weights: Path, bit: int, say: Callable[[str], None]
) -> np.ndarray:
    """The codes kept at `path` where they are for these weights and this list, else new ones.

    New codes are written to `path`; why they are needed is said.

    Args:
        path: `database_code_{bit}.npy`.
        encoder: makes new codes.
        split: the database.
        weights: file of the encoder's weights.
        bit: length of the codes.
        say: takes a line for the user.

    Returns:
        [n, bit / 8] uint8, packed.
    """
    wanted = provenance(encoder, split, weights)
    reason = f"{path} is not there yet"
    if path.is_file():
        try:
            codes, found = load_codes(path, bit)
            if found is None:
                _set_aside(path, say)
            differences = provenance_differences(found, wanted)
            if not differences and len(codes) == len(split):
                say(f"Database codes: {len(codes)} read from {path}")
                return codes
            reason = "; ".join(differences) or f"{path} has {len(codes)} rows"
        except UserError:
            _set_aside(path, say)
            reason = f"{path} could not be used"
    say(f"Database codes: encoding {len(split)} pictures ({reason})")
    codes = encoder.encode(split)
    save_codes(path, codes, wanted)
    say(f"Database codes: saved in {path}")
    return codes


def _set_aside(path: Path, say: Callable[[str], None]) -> None:
    # Codes that no record describes may be another program's: they are not written over.
    kept = path.with_name(f"{path.stem}.kept{path.suffix}")
    os.replace(path, kept)
    say(f"Database codes: {path} is not known to be of these weights and this list; now {kept}")
