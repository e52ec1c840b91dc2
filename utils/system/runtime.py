"""Paddle's start: what must be set before it is imported, and which device it uses."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import warnings
from importlib import metadata
from pathlib import Path

from utils.system.errors import UserError

_OF_LAUNCHER = ("PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM", "PADDLE_LOCAL_SIZE")
_threads_given = False
"""Whether the user has said how many threads compute."""
_TF32 = "NVIDIA_TF32_OVERRIDE"
"""NVIDIA's libraries read it at their start; at 0 they never use TensorFloat-32."""


def setup_environment(
    cpu_threads: int = 0, tf32: bool = False, device: str = "auto", alone: bool = True
) -> None:
    """Sets what is read of the environment when computing starts; `setup_paddle` begins with it.

    Paddle reads these settings once: it uses 1 thread unless OMP_NUM_THREADS is set, and the MKL
    it ships takes AMD processors for old ones unless MKL_DEBUG_CPU_TYPE says otherwise.
    What the user has set in the environment stays, but for what an argument says.

    Args:
        cpu_threads: threads for CPU maths; 0: OMP_NUM_THREADS where set, else all cores, shared
            among the processes of this machine.
        device: 'cpu' or another; Paddle's warnings are shown where it may be a GPU.
        alone: this command is one process, whatever a launcher has left in the environment.
        tf32: GPUs may round the inputs of products to 10 bits; else float32 is float32 on each.
    """
    if tf32:
        os.environ.pop(_TF32, None)  # what Paddle does by itself
    else:
        os.environ[_TF32] = "0"
    global _threads_given
    if not alone:
        has_launcher()  # tells of what is no number
    elif multiprocessing.parent_process() is None:
        for name in _OF_LAUNCHER:
            os.environ.pop(name, None)
    _threads_given = bool(cpu_threads or "OMP_NUM_THREADS" in os.environ)
    if cpu_threads:
        os.environ["OMP_NUM_THREADS"] = str(cpu_threads)
    share_cores()
    cpuinfo = Path("/proc/cpuinfo")
    words = cpuinfo.read_text(errors="replace").split() if cpuinfo.is_file() else ()
    if {"AuthenticAMD", "avx2"} <= set(words):
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    # By default a thread that has no more maths to do keeps its core busy for 200 ms, which the
    # threads that decode images miss: encoding was slower by a tenth to a fifth.
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    if device == "cpu" or not any(metadata.distributions(name="paddlepaddle-gpu")):
        os.environ.setdefault("GLOG_minloglevel", "2")
    # For processes that this one starts; `setup_paddle` itself is silent. A rank that ends at once
    # leaves its semaphores to Python's tracker, which removes them and says so.
    os.environ.setdefault(
        "PYTHONWARNINGS",
        "ignore::UserWarning:paddle.utils.cpp_extension.extension_utils,"
        "ignore:resource_tracker:UserWarning:multiprocessing.resource_tracker",
    )


def setup_paddle(
    cpu_threads: int = 0, tf32: bool = False, device: str = "auto", alone: bool = True
) -> None:
    """Imports Paddle with its CPU maths set up; call it before anything else imports Paddle.

    The arguments are those of `setup_environment`.
    """
    setup_environment(cpu_threads, tf32, device, alone)
    # Paddle warns at import of thread counts other than 1 and of a missing ccache; both are meant.
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            import paddle  # noqa: F401
        except ModuleNotFoundError as error:
            raise UserError(
                f"{error.name} is not installed: pip install -r requirements.txt (GPU) "
                "or requirements-cpu.txt"
            ) from error
    keep_sigterm()


def maths_threads() -> int:
    """Threads for CPU maths, as `setup_environment` has set them."""
    return int(os.environ.get("OMP_NUM_THREADS", 1))


def share_cores(processes: int = 0) -> None:
    """Gives each process of this machine its cores for maths, unless the user has said how many.

    `processes` is how many this one is about to start; 0: it is one of them itself.
    """
    if not _threads_given:
        os.environ["OMP_NUM_THREADS"] = str(cores_for_each(processes))


def keep_sigterm() -> None:
    """Puts back what Python does at SIGTERM: Paddle's import makes it print a trace of C++."""
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


def usable_cores() -> int:
    """Cores this process may use; a container or `taskset` may grant fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cores_for_each(processes: int = 0) -> int:
    """Cores for each of the processes that share this machine; 0: as many as started this one."""
    ranks = os.environ.get("PADDLE_LOCAL_SIZE") or os.environ.get("PADDLE_TRAINERS_NUM", 1)
    return max(1, usable_cores() // (processes or int(ranks)))


def has_launcher() -> bool:
    """Whether `python -m paddle.distributed.launch` has started this process.

    Raises a `UserError` where its variables are there, but no numbers.
    """
    if multiprocessing.parent_process() is not None:  # started here, with the same variables
        return False
    found = {name: os.environ[name] for name in _OF_LAUNCHER if name in os.environ}
    for name, value in found.items():
        if not value.isdecimal():
            raise UserError(f"{name}={value!r}: left over from a launcher? expected a number")
    return {"PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM"} <= found.keys()


def usable_gpus() -> int:
    """GPUs that Paddle can use, 0 where it computes on the CPU alone."""
    import paddle

    return paddle.device.cuda.device_count() if paddle.device.is_compiled_with_cuda() else 0


def precision_on(gpu: bool, precision: str) -> str:
    """What is recorded of a precision: on a GPU that may use TensorFloat-32, 'fp32' is 'tf32'."""
    rounds = gpu and os.environ.get(_TF32) != "0"
    return "tf32" if rounds and precision == "fp32" else precision


def choose_device(device: str) -> str:
    """Makes a device Paddle's current one, and returns Paddle's name of it, such as 'gpu:0'.

    `device` is 'auto' (a GPU where Paddle can use one), 'gpu' (else a `UserError`) or 'cpu'.
    """
    import paddle

    usable = usable_gpus() > 0
    if device == "gpu" and not usable:
        raise UserError("--device gpu: Paddle finds no GPU it can use; --device cpu runs without")
    paddle.device.set_device("cpu" if device == "cpu" or not usable else "gpu")
    return paddle.device.get_device()


def describe_device() -> str:
    """Paddle's current device, for the log: a GPU with its capability and libraries."""
    import paddle

    device = paddle.device.get_device()
    if device == "cpu":
        return device
    gpu = paddle.device.cuda
    name, (major, minor) = gpu.get_device_name(device), gpu.get_device_capability(device)
    return (
        f"{device} ({name}, compute capability {major}.{minor}, CUDA {paddle.version.cuda()}, "
        f"cuDNN {paddle.version.cudnn()})"
    )


def check_mixed_precision() -> None:
    """Raises a `UserError` where Paddle's current device does not train in bfloat16."""
    import paddle

    device = paddle.device.get_device()
    if device == "cpu" or not paddle.amp.is_bfloat16_supported():
        raise UserError(
            f"--amp: {device} does not train in bfloat16; it needs a GPU of compute capability 8 "
            "(Ampere) or newer; without --amp training is in float32"
        )
