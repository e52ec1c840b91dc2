"""What the benchmarks share: competitors that take turns, memory at its peak, tables."""

from __future__ import annotations

import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

MEBIBYTE = 2**20


def take_turns(
    competitors: dict[str, Callable | None], turns: int, step: Callable[[], object]
) -> dict[str, float | None]:
    """Median seconds of each competitor, alternating; None where a competitor is None."""
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(turns):
        for name, work in competitors.items():
            if work is not None:
                begin = time.perf_counter()
                work()
                seconds[name].append(time.perf_counter() - begin)
            step()
    return medians(seconds)


def medians(seconds: dict[str, list[float]]) -> dict[str, float | None]:
    """The median of each competitor's times; None where it has none."""
    return {name: statistics.median(times) if times else None for name, times in seconds.items()}


def peak_memory(work: Callable) -> tuple[object, float]:
    """What `work` returns, and the most memory in MiB it held beyond what was there before."""
    tracemalloc.start()
    try:
        result = work()
        return result, tracemalloc.get_traced_memory()[1] / MEBIBYTE
    finally:
        tracemalloc.stop()


def machine() -> dict[str, str]:
    """What a record says of the machine and the packages."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "processor": processor_name(),
    }


def processor_name() -> str:
    """The processor as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
        return names[0].strip()
    except (OSError, IndexError):
        return platform.processor()


def print_table(columns: Sequence[tuple[str, str, str]], results: Sequence[dict]) -> None:
    """Prints one line a result.

    Args:
        columns: (title, key of the result, format).
        results: a value of None is shown as a dash.
    """
    print("  ".join(title for title, _, _ in columns))
    for result in results:
        cells = (
            "-" if result[key] is None else format(result[key], form) for _, key, form in columns
        )
        print("  ".join(f"{cell:>{len(title)}}" for (title, _, _), cell in zip(columns, cells)))
