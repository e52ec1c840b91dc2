"""What runs the network in an encoder: pictures → packed codes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Protocol

import numpy as np
import paddle

from models.normalization import PictureNormalization
from utils.codes import pack_codes
from utils.inference.predictor import Machine, Predictor
from utils.inference.programs import write_program
from utils.system.errors import UserError


class Coder(Protocol):
    """Inside a `with` block, which fixes the weights, it is called with batches.

    Attributes:
        precision: of the computation, such as 'fp32': what may change codes.
    """

    precision: str

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures [n, h, w, 3] uint8 → packed codes [n, bit / 8] uint8."""


class DygraphCoder:
    """The network as it is, on Paddle's current device.

    Args:
        network: normalised pictures [n, 3, h, w] float32 → z [n, bit].
    """

    precision = "fp32"

    def __init__(self, network: paddle.nn.Layer):
        self._network, self._normalize = network, PictureNormalization()
        self._was_training = False

    def __enter__(self) -> None:
        self._was_training = self._network.training
        self._network.eval()

    def __exit__(self, *error: object) -> None:
        if self._was_training:
            self._network.train()

    @paddle.no_grad()
    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Packed codes of a batch."""
        return pack_codes(self._network(self._normalize(paddle.to_tensor(pictures))).numpy())


class InferenceCoder:
    """The network as a program of Paddle Inference, several times as fast on a CPU.

    The program is written to a temporary folder where the block begins, so that it has the
    weights of that moment, and is gone where the block ends.

    Args:
        network: normalised pictures [n, 3, h, w] float32 → z [n, bit].
        side: h and w of the pictures.
        machine: what it runs on.

    Raises:
        UserError: the machine cannot do what is asked for.
    """

    def __init__(self, network: paddle.nn.Layer, side: int, machine: Machine):
        machine.check()
        self.precision = machine.precision
        self._pixels_to_z = paddle.nn.Sequential(PictureNormalization(), network)
        self._network, self._side, self._machine = network, side, machine
        self._predictor: Predictor | None = None

    def __enter__(self) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="hashnet_") as folder:
                prefix = Path(folder, "inference")
                shape = [None, self._side, self._side, 3]
                program = write_program(self._pixels_to_z, shape, "uint8", "z", prefix)
                self._predictor = Predictor(program, self._machine)
        except OSError as error:
            raise UserError(
                f"{tempfile.gettempdir()}: the network cannot be written there for Paddle "
                f"Inference: {error.strerror or error}; TMPDIR names another folder, "
                "--encoder dygraph needs none"
            ) from error

    def __exit__(self, *error: object) -> None:
        self._predictor = None

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Packed codes of a batch."""
        assert self._predictor is not None, "only inside the block"
        return pack_codes(self._predictor(pictures))


class ExportedCoder:
    """An exported model (`utils.inference.export`).

    Args:
        program: its program.
        takes: 'uint8' (the pictures as they are) or 'float' (normalised here).
        gives: 'z' (packed here) or 'codes'.
        machine: what it runs on.

    Raises:
        UserError: the machine cannot do what is asked for, or the files are not a program.
    """

    def __init__(self, program: Path, takes: str, gives: str, machine: Machine):
        self.precision = machine.precision
        self._predictor = Predictor(program, machine)
        self._normalize = PictureNormalization() if takes == "float" else None
        self._gives = gives

    def __enter__(self) -> None:
        """Its weights are always the same."""

    def __exit__(self, *error: object) -> None:
        """Nothing to let go."""

    @paddle.no_grad()
    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Packed codes of a batch."""
        if self._normalize is not None:
            pictures = self._normalize(paddle.to_tensor(pictures)).numpy()
        output = self._predictor(pictures)
        return pack_codes(output) if self._gives == "z" else output
