"""Pictures → codes on a CPU: this repository against the plain way, and against its limits.

The plain way: dygraph, float transforms in Paddle's loader, Paddle's default threads. The limits,
each measured alone: decoding and scaling (processor seconds of one thread), and the network on
pictures that lie ready (wall time, all cores). Together they allow cores / (decode + forward
core-seconds) pictures a second. Weights are random: the share of bits that bfloat16 changes is
that of random weights; `--eval --precision bf16` tells it for trained ones, with MAP. Pictures are
those of coco_photos in HASHNET_TEST_DATA, else drawn at 640 × 480. Every measurement is a process
of its own; they take turns, and the medians are shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from scripts.benchmarks.isolated import in_a_process
from scripts.benchmarks.measuring import machine, print_table
from scripts.benchmarks.photos import photos
from utils.codes import check_bit
from utils.system.errors import UserError
from utils.system.runtime import usable_cores

OURS = "scripts.benchmarks.encode_ours"
FEW = 1000
"""Pictures whose memory that of many is compared with."""
COLUMNS = (
    ("way", "name", "<22"),
    ("img/s", "pictures_per_second", ".1f"),
    ("x plain", "over_plain", ".2f"),
    ("of both limits", "of_limits", ".2f"),
    ("of forward only", "of_forward", ".2f"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this part."""
    parser.add_argument("--pictures", type=int, default=1024, help="default: %(default)s")
    parser.add_argument(
        "--plain-pictures",
        type=int,
        default=192,
        help="of the plain way, which is slow (default: %(default)s)",
    )
    parser.add_argument("--bit", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--turns", type=int, default=3, help="of each (default: %(default)s)")
    parser.add_argument(
        "--memory",
        type=int,
        metavar="N",
        help="measure memory alone: at its peak for N pictures of 64 x 64, and for 1000",
    )


def run(arguments: argparse.Namespace) -> None:
    """Measures all ways, or the memory."""
    check_bit(arguments.bit)
    for flag in ("pictures", "plain_pictures", "turns"):
        if getattr(arguments, flag) < 1:
            raise UserError(f"--{flag.replace('_', '-')} must be 1 or more")
    with TemporaryDirectory() as folder:
        measure = _measure_memory if arguments.memory else _measure_ways
        record = measure(arguments, Path(folder))
    print(json.dumps({"benchmark": "encode", **machine(), "cores": usable_cores(), **record}))


def _measure_memory(arguments: argparse.Namespace, folder: Path) -> dict:
    found = {}
    for count in (FEW, arguments.memory):
        paths, origin = photos(folder, count)
        found[count] = in_a_process(OURS, "peak_memory", paths, arguments.bit, tuned=True)["mib"]
        print(f"{count} pictures: {found[count]:.1f} MiB at the peak")
    return {"pictures": origin, "mib": found}


def _measure_ways(arguments: argparse.Namespace, folder: Path) -> dict:
    bit, count = arguments.bit, arguments.pictures
    paths, origin = photos(folder, count)
    few = paths[: arguments.plain_pictures]
    ways = {
        "decode": (count, (OURS, "decode_only", paths)),
        "forward fp32": (count, (OURS, "forward_only", count, bit, "fp32")),
        "forward bf16": (count, (OURS, "forward_only", count, bit, "bf16")),
        "ours fp32": (count, (OURS, "encoded", paths, bit, "fp32")),
        "ours bf16": (count, (OURS, "encoded", paths, bit, "bf16")),
        "ours fp32, warm cache": (count, (OURS, "encoded", paths, bit, "fp32", True)),
        "plain": (
            len(few),
            ("scripts.benchmarks.encode_plain", "seconds_of_plain_way", few, bit),
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    codes = {}
    bar = tqdm(total=arguments.turns * len(ways), leave=False, disable=None)
    for _ in range(arguments.turns):
        for name, (pictures, work) in ways.items():
            found = in_a_process(*work, tuned=name != "plain")
            seconds[name].append(found["seconds"] / pictures)
            codes[name] = found.get("codes")
            bar.update()
    bar.close()
    each = {name: statistics.median(times) for name, times in seconds.items()}
    results = [_result(name, each) for name in ways]
    print(f"{count} pictures ({origin}), {bit} bits, {usable_cores()} cores")
    print_table(COLUMNS, results)
    differing = _share_of_bits(codes["ours fp32"], codes["ours bf16"])
    print(f"bits that bf16 changes, random weights: {differing:.4f}")
    return {"pictures": origin, "bit": bit, "results": results, "bf16_bits": differing}


def _result(name: str, each: dict[str, float]) -> dict:
    """Rates and ratios of one way; `each` holds seconds a picture, wall time but for decoding."""
    cores = usable_cores()
    precision = "bf16" if "bf16" in name else "fp32"
    allowed = cores / (each["decode"] + cores * each[f"forward {precision}"])
    rate = 1 / each[name]
    is_ours = name.startswith("ours")
    is_warm = "warm" in name
    return {
        "name": name,
        "pictures_per_second": rate * (cores if name == "decode" else 1),
        "over_plain": each["plain"] / each[name] if is_ours else None,
        "of_limits": rate / allowed if is_ours and not is_warm else None,
        "of_forward": rate * each[f"forward {precision}"] if is_warm else None,
    }


def _share_of_bits(one: str, other: str) -> float:
    first, second = (np.frombuffer(bytes.fromhex(codes), np.uint8) for codes in (one, other))
    return float(np.unpackbits(first ^ second).mean())
