"""MAP@K of binary codes: the exact evaluation against the textbook loop and faiss's search.

Labels are those of the released COCO lists where HASHNET_TEST_DATA names the folder of
coco_lists.tar.xz, else drawn at the same density. A code is the sign of the sum of one random
centre for each label, plus noise. The competitors take turns; the medians of the turns are shown.

Columns: full MAP@K (labels, search, metric) · all metrics and curves · the textbook loop, timed
on some queries and scaled to all · faiss IndexBinaryFlat.search alone · textbook / MAP@K ·
MAP@K / faiss · extra memory of MAP@K and of all metrics, at their peak · what the MAP@K of 10
queries differs from the textbook loop with a stable sort.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial

import numpy as np
from tqdm import tqdm

from scripts.benchmarks.coco_codes import Labels, clustered_codes, coco_labels
from scripts.benchmarks.measuring import machine, peak_memory, print_table, take_turns
from scripts.benchmarks.retrieval_baselines import (
    INSTALL_FAISS,
    faiss_search,
    textbook_average_precisions,
)
from utils.codes import check_bit, unpack_codes
from utils.codes.hamming import available_processors
from utils.metrics import evaluate_retrieval, mean_average_precision
from utils.system.errors import UserError

CHECKED_QUERIES = 10
COLUMNS = (
    ("bit", "bit", "d"),
    ("MAP@K", "map", ".4f"),
    ("ties av.", "map_tie_averaged", ".4f"),
    ("MAP s", "map_seconds", ".2f"),
    ("all s", "all_seconds", ".2f"),
    ("textbook s", "textbook_seconds", ".1f"),
    ("faiss s", "faiss_seconds", ".2f"),
    ("textb./MAP", "textbook_over_map", ".0f"),
    ("MAP/faiss", "map_over_faiss", ".2f"),
    ("MAP MiB", "map_extra_mib", ".1f"),
    ("all MiB", "all_extra_mib", ".1f"),
    ("|textb.-MAP|", "difference_from_textbook", ".0e"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this part."""
    task = parser.add_argument_group("task")
    task.add_argument("--bit", type=int, nargs="+", default=[16, 32, 48, 64], metavar="BIT")
    task.add_argument("--queries", type=int, default=5000, help="at most (default: %(default)s)")
    task.add_argument(
        "--database", type=int, default=112_218, help="at most (default: %(default)s)"
    )
    task.add_argument("--topK", type=int, default=5000, help="default: %(default)s")
    task.add_argument("--seed", type=int, default=2000, help="default: %(default)s")
    measuring = parser.add_argument_group("measuring")
    measuring.add_argument(
        "--threads", type=int, default=available_processors(), help="default: %(default)s"
    )
    measuring.add_argument("--turns", type=int, default=3, help="of each (default: %(default)s)")
    measuring.add_argument(
        "--textbook-queries",
        type=int,
        default=50,
        help="queries the textbook loop is timed on (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Measures every code length, then the growth with queries and database at the longest."""
    for bit in arguments.bit:
        check_bit(bit)
    for flag in ("queries", "database", "topK", "threads", "turns", "textbook_queries"):
        if getattr(arguments, flag) < 1:
            raise UserError(f"--{flag.replace('_', '-')} must be 1 or more")
    rng = np.random.default_rng(arguments.seed)
    labels = coco_labels(arguments.queries, arguments.database, rng)
    print(
        f"{labels.origin}; {len(labels.query_rows)} queries, {len(labels.database)} rows, "
        f"K = {arguments.topK}, {arguments.threads} threads"
    )
    bar = tqdm(total=(4 * arguments.turns + 2) * len(arguments.bit), leave=False, disable=None)
    with bar:
        results = [measure(labels, bit, arguments, rng, bar.update) for bit in arguments.bit]
    print_table(COLUMNS, results)
    if results[0]["faiss_seconds"] is None:
        print(INSTALL_FAISS)
    growth = measure_growth(labels, max(arguments.bit), arguments, rng)
    for name, ratio in growth.items():
        print(f"half the {name}: {ratio:.2f} of the time")
    record = {
        "benchmark": "retrieval",
        "labels": labels.origin,
        "queries": len(labels.query_rows),
        "database": len(labels.database),
        "topk": arguments.topK,
        "threads": arguments.threads,
        "turns": arguments.turns,
        **machine(),
        "results": results,
        "time_of_half": growth,
    }
    print(json.dumps(record))


def measure(
    labels: Labels,
    bit: int,
    arguments: argparse.Namespace,
    rng: np.random.Generator,
    step: Callable[[], object],
) -> dict:
    """All figures of one code length; `step` is called after each measurement."""
    codes = clustered_codes(labels.database, bit, rng)
    rows, topk = labels.query_rows, arguments.topK
    data = (codes[rows], labels.database[rows], codes, labels.database)
    few = rows[: arguments.textbook_queries]
    signs, wide_labels = unpack_codes(codes).astype(np.float32), labels.database.astype(np.int64)
    textbook = partial(textbook_average_precisions, database_signs=signs)
    textbook = partial(textbook, database_labels=wide_labels, topk=topk)
    turns = {
        "textbook": partial(textbook, signs[few], wide_labels[few]),
        "map": partial(mean_average_precision, *data, topk, threads=arguments.threads),
        "all": partial(evaluate_retrieval, *data, topk, threads=arguments.threads),
        "faiss": faiss_search(codes[rows], codes, min(topk, len(codes)), arguments.threads),
    }
    seconds = take_turns(turns, arguments.turns, step)
    seconds["textbook"] *= len(rows) / len(few)
    checked = few[:CHECKED_QUERIES]
    expected = textbook(signs[checked], wide_labels[checked], order="stable").mean()
    found = mean_average_precision(codes[checked], labels.database[checked], *data[2:], topk)
    metrics, memory_of_all = peak_memory(turns["all"])
    step()
    _, memory_of_map = peak_memory(turns["map"])
    step()
    return {
        "bit": bit,
        "map": metrics.map,
        "map_tie_averaged": metrics.map_tie_averaged,
        "difference_from_textbook": abs(found - expected),
        **{f"{name}_seconds": value for name, value in seconds.items()},
        "textbook_over_map": seconds["textbook"] / seconds["map"],
        "map_over_faiss": seconds["map"] / seconds["faiss"] if seconds["faiss"] else None,
        "map_extra_mib": memory_of_map,
        "all_extra_mib": memory_of_all,
    }


def measure_growth(
    labels: Labels, bit: int, arguments: argparse.Namespace, rng: np.random.Generator
) -> dict[str, float]:
    """Time with half the queries, and with half the database, over the time with all of them."""
    codes = clustered_codes(labels.database, bit, rng)
    rows, base = labels.query_rows, labels.database
    half_rows, half = rows[: -(-len(rows) // 2)], slice(-(-len(base) // 2))
    score = partial(mean_average_precision, topk=arguments.topK, threads=arguments.threads)
    seconds = take_turns(
        {
            "all": partial(score, codes[rows], base[rows], codes, base),
            "queries": partial(score, codes[half_rows], base[half_rows], codes, base),
            "database": partial(score, codes[rows], base[rows], codes[half], base[half]),
        },
        arguments.turns,
        lambda: None,
    )
    return {name: seconds[name] / seconds["all"] for name in ("queries", "database")}
