"""Paddle Inference: a network written as a program, and a program that runs."""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paddle
from paddle import inference

from utils.inference.program import (
    INPUT_NAME,
    PARAMETERS,
    PROGRAM_ENDINGS,
    PredictorOptions,
    program_of,
)
from utils.system.errors import UserError, first_line
from utils.system.logger import quiet_console
from utils.system.runtime import maths_threads

_FETCHED = {".json": "fetch_name_0", ".pdmodel": "save_infer_model/scale_0.tmp_0"}
"""What Paddle calls the first output."""
_GPU_POOL_MIB = 256


class Predictor:
    """A program, ready to run; its parameters are beside its file."""

    def __init__(self, program: Path, options: PredictorOptions):
        options.check()
        if options.use_tensorrt and program.suffix != PROGRAM_ENDINGS[-1]:
            raise UserError(
                f"{program}: TensorRT takes {PROGRAM_ENDINGS[-1]} alone, which Paddle 2.6 exports; "
                "--use-tensorrt False runs it"
            )
        self._use_gpu, self._precision = options.use_gpu, options.precision
        try:
            with quiet_console():
                predictor = inference.create_predictor(_config(program, options))
            self._input = predictor.get_input_handle(INPUT_NAME)
            self._output = predictor.get_output_handle(predictor.get_output_names()[0])
        except Exception as error:  # C++ errors of many kinds
            raise UserError(
                f"{program}: Paddle Inference cannot run it: {first_line(error)}; "
                "export the model again with this version of Paddle"
            ) from error
        self._predictor, self._program = predictor, program

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Runs the program on one batch, of the shape and dtype that it takes.

        Raises a `UserError` for other images, or a precision and size that Paddle has no code for.
        """
        try:
            self._input.reshape(batch.shape)
            self._input.copy_from_cpu(np.ascontiguousarray(batch))
            self._predictor.run()
        except Exception as error:  # also in bfloat16, where pooling to 6×6 is not even
            raise UserError(
                f"--precision {self._precision}: Paddle Inference cannot run {self._program} on "
                f"{batch.dtype} images of this size; --crop-size 224 and fp32 can be run"
            ) from error
        if not self._use_gpu:
            # A run leaves Paddle's CPU maths with one thread: a training that went on would be
            # slower, and other in the last bits than one that was not interrupted.
            paddle.base.core.set_num_threads(maths_threads())
        return self._output.copy_to_cpu()


def _config(program: Path, options: PredictorOptions) -> inference.Config:
    config = inference.Config(str(program), str(program.with_suffix(PARAMETERS)))
    config.disable_glog_info()
    if program.suffix == ".pdmodel":  # Paddle 3.3 raises with programs in .json
        config.enable_memory_optim()
    if options.use_gpu:
        types = inference.PrecisionType
        precision = types.Half if options.precision == "fp16" else types.Float32
        config.enable_use_gpu(_GPU_POOL_MIB, options.gpu, precision)
        if options.use_tensorrt:
            config.enable_tensorrt_engine(
                workspace_size=1 << 30,
                max_batch_size=options.batch_size,
                min_subgraph_size=3,
                precision_mode=precision,
                use_static=False,
                use_calib_mode=False,
            )
        return config
    config.disable_gpu()
    config.set_cpu_math_library_num_threads(maths_threads())
    if options.use_mkldnn:
        config.enable_mkldnn()
    elif hasattr(config, "disable_mkldnn"):  # Paddle 3 begins with it, Paddle 2.6 without
        config.disable_mkldnn()
    if options.precision == "bf16":
        config.enable_mkldnn_bfloat16()
    return config


def write_program(
    network: paddle.nn.Layer, shape: list[int | None], dtype: str, output_name: str, prefix: Path
) -> Path:
    """Writes `prefix.json` (Paddle 2.6: `prefix.pdmodel`) and `prefix.pdiparams`.

    The network has one input, called 'pictures', of a shape whose free sides are None, and one
    output; its layers' modes (training or not) come back after. Returns the program's path; raises
    `OSError` where the disk is full, `UserError` for a path that is not UTF-8.
    """
    try:
        str(prefix).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{prefix.parent}: not UTF-8, Paddle writes to no such folder") from error
    layers = network.sublayers(include_self=True)
    modes = [layer.training for layer in layers]
    network.eval()
    # The guard: variables of the program must not count among the names of a training's.
    with paddle.utils.unique_name.guard(), _home(prefix.parent):
        # A layer around it, since Paddle replaces the `forward` of what it converts.
        around = paddle.nn.Sequential(network)
        around.eval()
        spec = paddle.static.InputSpec(shape, dtype, name=INPUT_NAME)
        paddle.jit.save(
            paddle.jit.to_static(around, input_spec=[spec], full_graph=True), str(prefix)
        )
    for layer, training in zip(layers, modes):
        layer.training = training
    parameters = sum(math.prod(parameter.shape) for parameter in network.parameters())
    if Path(f"{prefix}{PARAMETERS}").stat().st_size < 4 * parameters:  # Paddle says nothing of it
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    Path(f"{prefix}{PARAMETERS}.info").unlink(missing_ok=True)  # a pickle that nothing reads
    program = program_of(prefix)
    fetched = _FETCHED[program.suffix]
    if program.suffix == ".json":
        text = program.read_text(encoding="utf-8")
        program.write_text(text.replace(f'"{fetched}"', f'"{output_name}"'), encoding="utf-8")
    else:
        description = paddle.base.core.ProgramDesc(program.read_bytes())
        description.block(0)._rename_var(fetched.encode(), output_name.encode())
        program.write_bytes(description.serialize_to_string())
    return program


@contextlib.contextmanager
def _home(folder: Path) -> Iterator[None]:
    """Inside the block Paddle writes the code that it converts below `folder`.

    Else below ~/.cache, which cannot be written where a container's user has no home.
    """
    before = os.environ.get("HOME")
    os.environ["HOME"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("HOME")
        if before is not None:
            os.environ["HOME"] = before
