"""The stages of a search through an exported model, timed, in the lines that TIPC reads."""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.codes import nearest
from utils.codes.storage import load_codes
from utils.datasets import Split
from utils.inference.encoder import Encoder
from utils.inference.program import ONNX, PredictorOptions
from utils.system.logger import progress
from utils.system.runtime import maths_threads

TIMED_RUNS = 20
"""Batches that are timed, at least."""
MEBIBYTE = 2**20


def time_stages(
    encoder: Encoder, queries: Split, codes_file: Path, options: PredictorOptions, warmup: int
) -> Iterator[str]:
    """Times preprocessing, inference and postprocessing, batch by batch, one after the other.

    Args:
        encoder: transforms images and runs the exported model.
        queries: the images; they come again until 20 batches are timed.
        codes_file: the database's codes, searched in the postprocessing.
        options: what the model runs on; its `batch_size` is the batches'.
        warmup: batches before the timed ones.

    Yields:
        What is under way, then lines of `name: value`; times in ms a batch.
    """
    database, _ = load_codes(codes_file)
    size = options.batch_size
    batches = max(TIMED_RUNS, -(-len(queries) // size))
    seconds = np.zeros(3)
    timed = 0
    yield f"Timing {batches} batches of {size} after {warmup} others; each stage alone"
    for number in progress(range(-warmup, batches), "timing", warmup + batches):
        begin = time.perf_counter()
        chosen = [(timed + place) % len(queries) for place in range(size)]
        images = np.stack([encoder.transform(queries.images.open(index)) for index in chosen])
        loaded = time.perf_counter()
        codes = encoder.backend(images)
        encoded = time.perf_counter()
        nearest(codes, database, 1)
        if number >= 0:
            seconds += (loaded - begin, encoded - loaded, time.perf_counter() - encoded)
            timed += size
    yield from _report(encoder, options, timed, seconds, batches)


def _report(
    encoder: Encoder, options: PredictorOptions, images: int, seconds: np.ndarray, batches: int
) -> list[str]:
    on_onnx, side = encoder.backend.program.suffix == ONNX, encoder.transform.crop_size
    before, inside, after = 1000 * seconds / batches
    gpu_rss = _gpu_rss() if options.use_gpu else None
    sections = {
        "Env info": {"OS_version": platform.platform(), "python": platform.python_version()},
        **_library_info(on_onnx),
        "Conf info": {
            "runtime_device": "gpu" if options.use_gpu else "cpu",
            "ir_optim": True,
            "enable_tensorrt": options.use_tensorrt,
            "enable_mkldnn": options.use_mkldnn and not (options.use_gpu or on_onnx),
            "cpu_math_library_num_threads": maths_threads(),
        },
        "Model info": {"model_name": "HashNet", "precision": options.precision},
        "Data info": {
            "batch_size": options.batch_size,
            "input_shape": f"3,{side},{side}",
            "data_num": images,
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


def _library_info(on_onnx: bool) -> dict[str, dict[str, str]]:
    if on_onnx:
        import onnxruntime

        return {"ONNX Runtime info": {"onnxruntime_version": onnxruntime.__version__}}
    import paddle

    versions = {"paddle_version": paddle.__version__, "paddle_commit": paddle.version.commit}
    return {"Paddle info": versions}


def _cpu_rss() -> float:
    """The most memory this process has held, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / MEBIBYTE if sys.platform == "darwin" else most / 1024


def _gpu_rss() -> float:
    """The most memory that Paddle's allocator has held on the GPU, in MiB."""
    import paddle

    return paddle.device.cuda.max_memory_reserved() / MEBIBYTE
