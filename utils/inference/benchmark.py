"""The stages of a search through an exported model, timed, in the lines that TIPC reads."""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle

from utils.codes import nearest
from utils.codes.storage import load_codes
from utils.datasets import Split
from utils.datasets.transforms import Transform
from utils.inference.backends import Coder
from utils.inference.predictor import Machine

TIMED_RUNS = 20
"""Batches that are timed, at least."""
MEBIBYTE = 2**20


def time_stages(
    coder: Coder,
    transform: Transform,
    queries: Split,
    codes_file: Path,
    machine: Machine,
    warmup: int,
) -> list[str]:
    """Times preprocessing, inference and postprocessing, batch by batch, one after the other.

    Args:
        coder: runs the exported model.
        transform: picture → the model's pixels.
        queries: the pictures; they come again until 20 batches are timed.
        codes_file: the database's codes, searched in the postprocessing.
        machine: what the model runs on; its `batch_size` is the batches'.
        warmup: batches before the timed ones.

    Returns:
        Lines of `name: value`; times in ms a batch.
    """
    database, _ = load_codes(codes_file)
    size = machine.batch_size
    batches = max(TIMED_RUNS, -(-len(queries) // size))
    seconds = np.zeros(3)
    rows = 0
    for number in range(-warmup, batches):
        chosen = [(rows + place) % len(queries) for place in range(size)]
        pictures, before = _timed(
            lambda chosen=chosen: np.stack([transform(queries.pictures.open(r)) for r in chosen])
        )
        codes, inside = _timed(lambda pictures=pictures: coder(pictures))
        _, after = _timed(lambda codes=codes: nearest(codes, database, 1))
        if number >= 0:
            seconds += (before, inside, after)
            rows += size
    return _report(machine, transform.crop_size, rows, seconds, batches)


def _timed(work: Callable) -> tuple:
    begin = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begin


def _report(machine: Machine, side: int, rows: int, seconds: np.ndarray, batches: int) -> list[str]:
    before, inside, after = 1000 * seconds / batches
    gpu_rss = _gpu_rss() if machine.use_gpu else None
    sections = {
        "Env info": {"OS_version": platform.platform(), "python": platform.python_version()},
        "Paddle info": {
            "paddle_version": paddle.__version__,
            "paddle_commit": paddle.version.commit,
        },
        "Conf info": {
            "runtime_device": "gpu" if machine.use_gpu else "cpu",
            "ir_optim": True,
            "enable_tensorrt": machine.use_tensorrt,
            "enable_mkldnn": machine.use_mkldnn and not machine.use_gpu,
            "cpu_math_library_num_threads": machine.threads,
        },
        "Model info": {"model_name": "HashNet", "precision": machine.precision},
        "Data info": {
            "batch_size": machine.batch_size,
            "input_shape": f"3,{side},{side}",
            "data_num": rows,
        },
        "Perf info": {
            "cpu_rss(MB)": f"{_cpu_rss():.1f}",
            **({"gpu_rss(MB)": f"{gpu_rss:.1f}"} if gpu_rss is not None else {}),
            "total time spent(s)": f"{seconds.sum():.4f}",
            "preprocess_time(ms)": f"{before:.3f}",
            "inference_time(ms)": f"{inside:.3f}",
            "postprocess_time(ms)": f"{after:.3f}",
        },
    }
    lines = []
    for title, values in sections.items():
        lines.append(f"{f' {title} ':-^56}")
        lines += [f"{name}: {value}" for name, value in values.items()]
    return lines


def _cpu_rss() -> float:
    """The most memory this process has held, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / MEBIBYTE if sys.platform == "darwin" else most / 1024


def _gpu_rss() -> float:
    """The most memory held on the GPU, in MiB."""
    return paddle.device.cuda.max_memory_reserved() / MEBIBYTE
