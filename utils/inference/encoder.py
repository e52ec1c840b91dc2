"""Encoder: images → packed codes, by whatever backend runs the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from utils import engine
from utils.codes import pack_codes
from utils.datasets import Split
from utils.datasets.loader import BatchLoader, LoaderOptions, none_readable
from utils.datasets.transforms import Transform
from utils.system import distributed


@dataclass(frozen=True)
class Encoded:
    """Images with their codes, the same on every rank.

    Attributes:
        codes: [n, bit / 8] uint8, packed.
        split: the images and labels of the codes.
        left_out: what is wrong with each image that has no code, by its index in the list.
        z: [n, bit] float32, whose signs the codes are, where it was asked for.
    """

    codes: np.ndarray
    split: Split
    left_out: dict[int, str]
    z: np.ndarray | None = None


class Backend:
    """What runs a network, inside a `with` block that fixes the weights.

    `precision`, such as 'fp32', is what may change codes.
    """

    precision: str

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images [n, h, w, 3] uint8 → packed codes [n, bit / 8] uint8."""
        return pack_codes(self.z(images))

    def z(self, images: np.ndarray) -> np.ndarray:
        """The network's output for them, [n, bit] float32."""
        raise NotImplementedError


@dataclass(frozen=True)
class Encoder:
    """Encodes splits with one backend and one transform.

    Attributes:
        backend: runs the network.
        transform: of queries and database, RGB image → [h, w, 3] uint8.
        batch_size: images at a time.
        options: how images are loaded.
        weights: their fingerprint (`models.hashnet.load_network`), for the provenance of codes.
    """

    backend: Backend
    transform: Transform
    batch_size: int
    options: LoaderOptions = field(default_factory=LoaderOptions)
    weights: dict[str, str] = field(default_factory=dict)

    def encode(
        self, *splits: Split, stop: engine.StopFlag | None = None, keep_z: bool = False
    ) -> list[Encoded]:
        """Encodes splits, each in its order, with the weights of this moment; all ranks together.

        `keep_z` asks for z beside the codes, of a backend that has it: not of an exported model.

        Raises:
            UserError: an image is missing or damaged; where such are left out: all of a whole
                split are.
            Interrupted: `stop`, asked before each batch, was agreed on.
        """
        with self.backend:
            return [self._encode(split, stop, keep_z) for split in splits]

    def _encode(self, split: Split, stop: engine.StopFlag | None, keep_z: bool) -> Encoded:
        shard = (distributed.rank(), distributed.world_size())
        batches = BatchLoader(split, self.transform, self.batch_size, self.options, shard)
        to_rows = self.backend.z if keep_z else self.backend
        rows, index = engine.encode(to_rows, batches, f"encoding {split.name}", stop)
        codes, z = (pack_codes(rows), rows) if keep_z else (rows, None)
        bad = distributed.merged(batches.bad)
        if split.indices is None and not len(index):
            raise none_readable(split, bad)
        return Encoded(codes, split.subset(index), bad, z)

    def provenance(self) -> dict[str, Any]:
        """What decides, with the image, which code it has: weights, transform, precision."""
        how = {"transform": str(self.transform), "precision": self.backend.precision}
        return {**self.weights, **how}
