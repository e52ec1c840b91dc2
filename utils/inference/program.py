"""An exported program: its files, and what it runs on. Without Paddle, which need not run it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from utils.system.errors import UserError
from utils.system.runtime import usable_gpus

PROGRAM_ENDINGS = (".json", ".pdmodel")
"""Paddle 3 writes the first, Paddle 2.6 the second; both also run the second."""
PARAMETERS = ".pdiparams"
ONNX = ".onnx"
"""Program and parameters in one file."""
INPUT_NAME = "pictures"


@dataclass(frozen=True)
class PredictorOptions:
    """What a program runs on, and how.

    Attributes:
        gpu: which of the visible GPUs, where it is one.
        precision: 'fp32', 'bf16' (a CPU that has it) or 'fp16' (a GPU).
        use_mkldnn: oneDNN on the CPU.
        batch_size: the most images at a time that TensorRT prepares for.
    """

    use_gpu: bool = False
    precision: str = "fp32"
    use_mkldnn: bool = True
    use_tensorrt: bool = False
    batch_size: int = 64
    gpu: int = 0

    def check(self) -> None:
        """Raises a `UserError` that names what this machine cannot do."""
        import paddle

        bf16, fp16 = self.precision == "bf16", self.precision == "fp16"
        if self.use_gpu and not usable_gpus():
            raise UserError("--use-gpu True: Paddle finds no GPU it can use; --use-gpu False")
        if self.use_tensorrt and not self.use_gpu:
            raise UserError("--use-tensorrt True: TensorRT needs a GPU, and --use-gpu True")
        if fp16 and not self.use_gpu:
            raise UserError("--precision fp16: needs a GPU, --use-gpu True; on a CPU: fp32 or bf16")
        if bf16 and self.use_gpu:
            raise UserError("--precision bf16: runs on a CPU; on a GPU: fp32 or fp16")
        if bf16 and not self.use_mkldnn:
            raise UserError("--precision bf16: needs oneDNN, --enable-mkldnn True")
        if bf16 and not paddle.base.core.supports_bfloat16():
            raise UserError("--precision bf16: this CPU does not have it (AVX-512); use fp32")


def program_of(prefix: Path) -> Path:
    """The program that lies in a folder; where none does, the path of Paddle's."""
    paths = [prefix.with_suffix(ending) for ending in (*PROGRAM_ENDINGS, ONNX)]
    return next(filter(Path.is_file, paths), paths[0])


def files_of(program: Path) -> list[Path]:
    """A program's file, and that of its parameters where they are not in it."""
    return [program] if program.suffix == ONNX else [program, program.with_suffix(PARAMETERS)]


def is_on_paddle(folder: str, bit: int) -> bool:
    """Whether an exported model is Paddle's; not where none is there, which loading it tells."""
    program = program_of(Path(folder, f"inference_{bit}"))
    return program.is_file() and program.suffix != ONNX
