"""What runs a network to make codes: dygraph, or Paddle Inference."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import paddle

from models.layers import Normalize
from utils.inference.encoder import Backend
from utils.inference.predictor import Predictor, write_program
from utils.inference.program import PredictorOptions
from utils.system.errors import UserError, reason
from utils.system.runtime import precision_on


def build_backend(network: paddle.nn.Layer, side: int, kind: str, precision: str) -> Backend:
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


class DygraphBackend(Backend):
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

    @paddle.no_grad()
    def z(self, images: np.ndarray) -> np.ndarray:
        return self._network(self._normalize(paddle.to_tensor(images))).numpy()


class InferenceBackend(Backend):
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

    def z(self, images: np.ndarray) -> np.ndarray:
        return self._predictor(images)
