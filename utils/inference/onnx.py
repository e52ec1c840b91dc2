"""ONNX: an exported program as one file that needs no Paddle, and such a file that runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.inference.program import INPUT_NAME, PARAMETERS, PredictorOptions
from utils.system.errors import UserError, first_line
from utils.system.logger import quiet_console
from utils.system.runtime import maths_threads

if TYPE_CHECKING:
    from models import HashNet

OPSET = 13
"""Of ONNX's operators: the first version that has all of them."""
_ERRORS_ALONE = 3


@contextlib.contextmanager
def _extra() -> Iterator[None]:
    """Around the import of a package that only ONNX needs."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"ONNX: {first_line(error)}; pip install -r requirements-onnx.txt"
        ) from error


def convert(program: Path, network: HashNet, side: int) -> bytes:
    """The program of a network, for images of `side`, as an ONNX model.

    Input, output, their names and the free batch size stay. Raises a `UserError` where paddle2onnx
    is missing, or cannot convert the program.
    """
    with _extra():
        import paddle2onnx
    import paddle

    with paddle.no_grad():
        features = network.features(paddle.zeros([1, 3, side, side])).shape[-1]
    if features < 6 or features % 6 > 1:  # it makes equal windows of unequal ones, without a word
        raise UserError(
            f"--crop-size {side}: paddle2onnx cannot pool {features}x{features} features to 6x6; "
            "--crop-size 224 to 286 can be converted"
        )
    try:
        with quiet_console():
            # Without a file to write to it runs none of its optimizers, of which one calls pip.
            return paddle2onnx.export(
                str(program), str(program.with_suffix(PARAMETERS)), None, OPSET, verbose=False
            )
    except Exception as error:  # C++ errors of many kinds
        raise UserError(
            f"--format onnx: paddle2onnx cannot convert the network: {first_line(error)}; "
            "requirements-onnx.txt says which version goes with which Paddle"
        ) from error


class OnnxPredictor:
    """An ONNX model, ready to run: ONNX Runtime on the CPU, with as many threads as Paddle's."""

    def __init__(self, program: Path, options: PredictorOptions):
        options.check_for_onnx()
        with _extra():
            import onnxruntime
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = maths_threads()
        settings.log_severity_level = _ERRORS_ALONE
        self._program = program
        try:
            self._session = onnxruntime.InferenceSession(
                str(program), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of onnxruntime's own kinds
            raise self._refusal(error) from error

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Runs the model on one batch, of the shape and dtype that it takes."""
        try:
            return self._session.run(None, {INPUT_NAME: batch})[0]
        except Exception as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> UserError:
        return UserError(f"{self._program}: ONNX Runtime cannot run it: {first_line(error)}")
