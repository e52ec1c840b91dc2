"""Encoder: images → packed codes, by dygraph, Paddle Inference or an exported model."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from models.layers import Normalize
from utils import engine
from utils.codes import pack_codes
from utils.datasets import Split
from utils.datasets.loader import BatchLoader, LoaderOptions, none_readable
from utils.datasets.transforms import Transform
from utils.inference.predictor import Predictor, PredictorOptions, write_program
from utils.system import distributed
from utils.system.errors import UserError, reason
from utils.system.runtime import precision_on


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


class Encoder:
    """Encodes splits with one backend and one transform.

    Args:
        backend: runs the network: inside a `with` block, which fixes the weights, it is called
            with images [n, h, w, 3] uint8 and gives packed codes [n, bit / 8] uint8. Its
            `precision`, such as 'fp32', is what may change codes.
        transform: of queries and database, RGB image → [h, w, 3] uint8.
        batch_size: images at a time.
        options: how images are loaded.
        weights: their fingerprint (`HashNet.load_weights`), for the provenance of codes.
    """

    def __init__(
        self,
        backend: DygraphBackend | InferenceBackend | ExportedBackend,
        transform: Transform,
        batch_size: int,
        options: LoaderOptions | None = None,
        weights: dict[str, str] | None = None,
    ):
        self.backend, self.transform = backend, transform
        self.options, self.weights = options or LoaderOptions(), weights or {}
        self._batch_size = batch_size

    def encode(
        self,
        *splits: Split,
        stop: engine.StopFlag | None = None,
        even_none: bool = False,
        keep_z: bool = False,
    ) -> list[Encoded]:
        """Encodes splits, each in its order, with the weights of this moment; all ranks together.

        `keep_z` asks for z beside the codes, of a backend that has it: not of an exported model.

        Raises:
            UserError: an image is missing or damaged; where such are left out: all of a split
                are, unless `even_none`.
            Interrupted: `stop`, asked before each batch, was agreed on.
        """
        encoded = []
        with self.backend:
            for split in splits:
                encoded.append(self._encode(split, stop, keep_z))
                if not (even_none or len(encoded[-1].codes)):
                    raise none_readable(split, encoded[-1].left_out)
        return encoded

    def _encode(self, split: Split, stop: engine.StopFlag | None, keep_z: bool) -> Encoded:
        shard = (distributed.rank(), distributed.world_size())
        batches = BatchLoader(split, self.transform, self._batch_size, self.options, shard)
        to_rows = self.backend.z if keep_z else self.backend
        rows, index = engine.encode(to_rows, batches, f"encoding {split.name}", stop)
        codes, z = (pack_codes(rows), rows) if keep_z else (rows, None)
        if len(index) == len(split.labels):
            return Encoded(codes, split, {}, z)
        bad = distributed.merged(batches.bad)
        return Encoded(codes, split.subset(index), bad, z)

    def provenance(self) -> dict[str, Any]:
        """What decides, with the image, which code it has: weights, transform, precision."""
        how = {"transform": str(self.transform), "precision": self.backend.precision}
        return {**self.weights, **how}


def build_backend(
    network: paddle.nn.Layer, side: int, kind: str, precision: str
) -> DygraphBackend | InferenceBackend:
    """What runs the network, z [n, bit] of normalized images, on Paddle's current device.

    `kind` is 'dygraph', 'inference', or 'auto': the second on a CPU, the first on a GPU; `side` is
    that of the images, `precision` as in `PredictorOptions`.
    """
    device, _, number = paddle.device.get_device().partition(":")
    on_cpu = device == "cpu"
    if kind == "inference" or (kind == "auto" and on_cpu):
        options = PredictorOptions(not on_cpu, precision, gpu=int(number or 0))
        return InferenceBackend(network, side, options)
    if precision != "fp32":
        raise UserError(f"--precision {precision}: needs a CPU and --encoder inference")
    return DygraphBackend(network)


class DygraphBackend:
    """The network as it is, on Paddle's current device."""

    def __init__(self, network: paddle.nn.Layer):
        self.precision = precision_on(paddle.device.get_device() != "cpu", "fp32")
        self._network, self._normalize = network, Normalize()
        self._was_training = False

    def __enter__(self) -> None:
        self._was_training = self._network.training
        self._network.eval()

    def __exit__(self, *error: object) -> None:
        if self._was_training:
            self._network.train()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Packed codes of a batch."""
        return pack_codes(self.z(images))

    @paddle.no_grad()
    def z(self, images: np.ndarray) -> np.ndarray:
        """The network's output for a batch, [n, bit] float32."""
        return self._network(self._normalize(paddle.to_tensor(images))).numpy()


class InferenceBackend:
    """The network as a program of Paddle Inference, several times as fast on a CPU.

    The program is written to a temporary folder where the block begins, so that it has the
    weights of that moment, and is gone where the block ends.
    """

    def __init__(self, network: paddle.nn.Layer, side: int, options: PredictorOptions):
        options.check()
        self.precision = precision_on(options.use_gpu, options.precision)
        self._pixels_to_z = paddle.nn.Sequential(Normalize(), network)
        self._side, self._options = side, options
        self._predictor: Predictor | None = None

    def __enter__(self) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="hashnet_") as folder:
                shape = [None, self._side, self._side, 3]
                prefix = Path(folder, "inference")
                program = write_program(self._pixels_to_z, shape, "uint8", "z", prefix)
                self._predictor = Predictor(program, self._options)
        except OSError as error:
            raise UserError(
                f"{tempfile.gettempdir()}: the network cannot be written there for Paddle "
                f"Inference: {reason(error)}; TMPDIR names another folder, "
                "--encoder dygraph needs none"
            ) from error

    def __exit__(self, *error: object) -> None:
        self._predictor = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Packed codes of a batch."""
        return pack_codes(self.z(images))

    def z(self, images: np.ndarray) -> np.ndarray:
        """The network's output for a batch, [n, bit] float32."""
        return self._predictor(images)


class ExportedBackend:
    """An exported model (`utils.inference.export`).

    It takes 'uint8' (the images as they are) or 'float' (normalized here), and gives 'z' (packed
    here) or 'codes'.
    """

    def __init__(self, program: Path, takes: str, gives: str, options: PredictorOptions):
        engine_name = ", TensorRT" if options.use_tensorrt else ""
        self.precision = precision_on(options.use_gpu, options.precision) + engine_name
        self._predictor = Predictor(program, options)
        self._normalize = Normalize() if takes == "float" else None
        self._gives = gives

    def __enter__(self) -> None: ...  # its weights are always the same

    def __exit__(self, *error: object) -> None: ...

    @paddle.no_grad()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Packed codes of a batch."""
        if self._normalize is not None:
            images = self._normalize(paddle.to_tensor(images)).numpy()
        output = self._predictor(images)
        return pack_codes(output) if self._gives == "z" else output
