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
    from models.hashnet import HashingNetwork

OPSET = 13
"""Of ONNX's operators: the first version that has all of them."""


@contextlib.contextmanager
def _one_line(trouble: str) -> Iterator[None]:
    """What a package raises inside the block, or that it is missing, is told in a line."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"ONNX: {first_line(error)}; pip install -r requirements-onnx.txt"
        ) from error
    except Exception as error:  # of C++, of many kinds
        raise UserError(f"{trouble}: {first_line(error)}") from error


def convert(program: Path, network: HashingNetwork, side: int) -> bytes:
    """The program of a network, for images of `side`, as an ONNX model.

    Input, output, their names and the free batch size stay. Raises a `UserError` where paddle2onnx
    is missing, or cannot convert the program.
    """
    if not network.pools_evenly(side):  # it makes equal windows of unequal ones, without a word
        raise UserError(
            f"--crop-size {side}: paddle2onnx cannot pool its features; 224 to 286 can be converted"
        )
    parameters = program.with_suffix(PARAMETERS)
    with _one_line("--format onnx: paddle2onnx cannot convert the network"), quiet_console():
        import paddle2onnx

        # Without a file to write to it runs none of its optimizers, of which one calls pip.
        return paddle2onnx.export(str(program), str(parameters), None, OPSET, verbose=False)


class OnnxPredictor:
    """An ONNX model, ready to run: ONNX Runtime on the CPU, in fp32, on the threads of maths."""

    def __init__(self, program: Path, options: PredictorOptions):
        if options.use_gpu or options.use_tensorrt or options.precision != "fp32":
            raise UserError(
                f"{program}: an ONNX model runs on a CPU, in fp32: without --use-gpu True, "
                "--use-tensorrt True, --precision; --format paddle exports a model for them"
            )
        self._trouble = f"{program}: ONNX Runtime cannot run it"
        with _one_line(self._trouble):
            import onnxruntime

            settings = onnxruntime.SessionOptions()
            settings.intra_op_num_threads = maths_threads()
            settings.log_severity_level = 3  # errors alone
            on = ["CPUExecutionProvider"]
            self._session = onnxruntime.InferenceSession(str(program), settings, providers=on)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Runs the model on one batch, of the shape and dtype that it takes."""
        with _one_line(self._trouble):
            return self._session.run(None, {INPUT_NAME: batch})[0]
