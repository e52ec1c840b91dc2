"""Paddle Inference: runs a program that `utils.inference.programs` wrote."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
from paddle import inference

from utils.inference.programs import INPUT_NAME, PARAMETERS, can_save_memory
from utils.system.errors import UserError, first_line
from utils.system.runtime import usable_gpus

PRECISIONS = ("fp32", "bf16", "fp16")
_GPU_POOL_MIB = 256
_TENSORRT_WORKSPACE = 1 << 30
_TENSORRT_LEAST_NODES = 3


@dataclass(frozen=True)
class Machine:
    """What a program runs on, and how.

    Attributes:
        use_gpu: on a GPU; else on the CPU.
        precision: 'fp32', 'bf16' (a CPU that has it) or 'fp16' (a GPU).
        use_mkldnn: oneDNN on the CPU.
        use_tensorrt: TensorRT on the GPU.
        cpu_threads: threads for CPU maths; 0: as Paddle was started (`utils.system.runtime`).
        batch_size: the most pictures at a time that TensorRT prepares for.
    """

    use_gpu: bool = False
    precision: str = "fp32"
    use_mkldnn: bool = True
    use_tensorrt: bool = False
    cpu_threads: int = 0
    batch_size: int = 64

    @property
    def threads(self) -> int:
        """Threads for CPU maths."""
        return self.cpu_threads or int(os.environ.get("OMP_NUM_THREADS", 1))

    def check(self) -> None:
        """Raises a `UserError` that names what this machine cannot do."""
        if self.use_gpu and not usable_gpus():
            raise UserError("--use-gpu True: Paddle finds no GPU it can use; --use-gpu False")
        if self.use_tensorrt and not self.use_gpu:
            raise UserError("--use-tensorrt True: TensorRT needs a GPU, and --use-gpu True")
        if self.precision == "fp16" and not self.use_gpu:
            raise UserError(
                "--precision fp16: needs a GPU, and --use-gpu True; on a CPU: fp32 or bf16"
            )
        if self.precision == "bf16":
            self._check_bf16()

    def _check_bf16(self) -> None:
        if self.use_gpu:
            raise UserError("--precision bf16: runs on a CPU; on a GPU: fp32 or fp16")
        if not self.use_mkldnn:
            raise UserError("--precision bf16: needs oneDNN, --enable-mkldnn True")
        if not paddle.base.core.supports_bfloat16():
            raise UserError("--precision bf16: this CPU does not have it (AVX-512); use fp32")


class Predictor:
    """A program, ready to run.

    Args:
        program: its file; the parameters are beside it.
        machine: what it runs on.

    Raises:
        UserError: the machine cannot do what is asked for, or the files are not a program.
    """

    def __init__(self, program: Path, machine: Machine):
        machine.check()
        parameters = program.with_suffix(PARAMETERS)
        for path in (program, parameters):
            if not path.is_file():
                raise UserError(f"{path}: missing; export_model.py writes it")
        self._machine = machine
        config = _configuration(program, parameters, machine)
        try:
            with _quiet_console():
                self._predictor = inference.create_predictor(config)
        except Exception as error:  # C++ errors of many kinds
            raise UserError(
                f"{program}: Paddle Inference cannot run it: {first_line(error)}; "
                "export the model again with this version of Paddle"
            ) from error
        self._input = self._predictor.get_input_handle(INPUT_NAME)
        (name,) = self._predictor.get_output_names()
        self._output = self._predictor.get_output_handle(name)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Runs the program on one batch, of the shape and dtype that it takes."""
        self._input.reshape(batch.shape)
        self._input.copy_from_cpu(np.ascontiguousarray(batch))
        self._predictor.run()
        if not self._machine.use_gpu:
            # A run leaves Paddle's CPU maths with one thread: a training that went on would be
            # slower, and other in the last bits than one that was not interrupted.
            paddle.base.core.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
        return self._output.copy_to_cpu()


def _configuration(program: Path, parameters: Path, machine: Machine) -> inference.Config:
    config = inference.Config(str(program), str(parameters))
    config.disable_glog_info()
    if can_save_memory(program):
        config.enable_memory_optim()
    if machine.use_gpu:
        precision = _precision_type(machine.precision)
        config.enable_use_gpu(_GPU_POOL_MIB, 0, precision)
        if machine.use_tensorrt:
            config.enable_tensorrt_engine(
                workspace_size=_TENSORRT_WORKSPACE,
                max_batch_size=machine.batch_size,
                min_subgraph_size=_TENSORRT_LEAST_NODES,
                precision_mode=precision,
                use_static=False,
                use_calib_mode=False,
            )
        return config
    config.disable_gpu()
    config.set_cpu_math_library_num_threads(machine.threads)
    if machine.use_mkldnn:
        config.enable_mkldnn()
    elif hasattr(config, "disable_mkldnn"):  # Paddle 3 begins with it, Paddle 2.6 without
        config.disable_mkldnn()
    if machine.precision == "bf16":
        config.enable_mkldnn_bfloat16()
    return config


def _precision_type(precision: str) -> inference.PrecisionType:
    half = precision == "fp16"
    return inference.PrecisionType.Half if half else inference.PrecisionType.Float32


@contextlib.contextmanager
def _quiet_console() -> Iterator[None]:
    """Nothing that C++ writes on stderr is seen: Paddle 2.6 reports each pass of bfloat16."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
