"""Measures how fast the parts are, on this machine: `python scripts/benchmark.py PART --help`.

Each part prints a table, and as its last line one JSON object with the same figures. What is
compared takes turns in one run; the medians are shown. Images and labels are real where
HASHNET_TEST_DATA names a folder that holds coco_photos and coco_lists.tar.xz, else drawn.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

import argparse
import contextlib
import importlib.util
import io
import itertools
import json
import multiprocessing
import platform
import re
import resource
import statistics
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from lzma import LZMAError
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from scripts.prepare.draws import whole_number
from utils.codes import check_bit, nearest, pack_codes, unpack_codes
from utils.config.parser import Parser
from utils.datasets.images import open_image
from utils.datasets.lists import read_list
from utils.datasets.transforms import build_transform
from utils.metrics import evaluate_retrieval, mean_average_precision
from utils.search.index import open_store
from utils.search.store import BATCH, Entry
from utils.system.errors import UserError, run_command
from utils.system.runtime import setup_paddle, usable_cores

DATA = os.environ.get("HASHNET_TEST_DATA")
N_CLASS = 80
NOISE = 1.6
"""Of codes, around class centres of variance 1: MAP@5000 of 64 bits is then near the published."""
TUNING = ("OMP_NUM_THREADS", "MKL_DEBUG_CPU_TYPE", "KMP_BLOCKTIME")
"""What `setup_paddle` sets; a plain start of Paddle goes without."""


def encode(arguments: argparse.Namespace) -> dict:
    """Images → codes: this repository against the plain way, and against its limits.

    The plain way: dygraph, float transforms in Paddle's loader, Paddle's default threads. The
    limits, each measured alone, in wall time on all cores: decoding and resizing by a process a
    core, and the network on images that lie ready. Both need all cores, so their seconds an image
    add up. Weights are random: `--eval --precision bf16` tells for trained ones which share of the
    bits bfloat16 changes, with MAP. Every measurement is a process of its own. --memory N: memory
    alone, at its peak for 1000 and for N images cut to 64 × 64.
    """
    bit = arguments.bit
    with TemporaryDirectory() as folder:
        files, origin = photos(Path(folder))
        print(origin)
        if not arguments.memory:
            images = list(itertools.islice(itertools.cycle(files), arguments.pictures))
            few = images[: arguments.plain_pictures]
            return {"origin": origin, **measure_encoding(images, few, bit, arguments.turns)}
        found = {}
        for count in (1000, arguments.memory):
            images = list(itertools.islice(itertools.cycle(files), count))
            *_, found[count] = in_a_process("encode_ours", images, bit, "fp32", False, 64)
            print(f"{count} images: {found[count]:.1f} MiB at the peak")
    return {"origin": origin, "mib": found}


def measure_encoding(images: list[str], few: list[str], bit: int, turns: int) -> dict:
    """The ways to encode `images`, the plain one on a few of them, and their limits."""
    work = {
        "forward fp32": ("forward", images, bit, "fp32"),
        "forward bf16": ("forward", images, bit, "bf16"),
        "ours fp32": ("encode_ours", images, bit, "fp32"),
        "ours bf16": ("encode_ours", images, bit, "bf16"),
        "ours fp32, warm cache": ("encode_ours", images, bit, "fp32", True),
        "plain": ("encode_plain", few, bit),
    }
    if in_a_process("has_gpu"):  # bfloat16 is for CPUs
        work = {name: how for name, how in work.items() if "bf16" not in name}
    codes = {}

    def seconds_an_image(name: str) -> float:
        seconds, codes[name], *_ = in_a_process(*work[name], tuned=name != "plain")
        return seconds

    ways = {name: partial(seconds_an_image, name) for name in work}
    each = take_turns({"decode": partial(decode_on_all_cores, images), **ways}, turns)
    rows = []
    for name, seconds in each.items():
        forward = each["forward bf16" if "bf16" in name else "forward fp32"]
        both_limits = each["decode"] + forward
        ours, warm = name.startswith("ours"), "warm" in name
        row = {
            "way": name,
            "img/s": 1 / seconds,
            "x plain": each["plain"] / seconds if ours else None,
            "of both limits": both_limits / seconds if ours and not warm else None,
            "of forward only": forward / seconds if warm else None,
        }
        rows.append(row)
    print_table(rows)
    differing = {}
    for name in filter(work.get, ("ours bf16", "plain")):
        of_same_images = codes["ours fp32"][: len(codes[name])]
        differing[name] = float(np.unpackbits(of_same_images ^ codes[name]).mean())
        print(f"bits, of random weights, in which {name} differs: {differing[name]:.4f}")
    return {"results": rows, "differing_bits": differing}


def decode_on_all_cores(paths: list[str]) -> float:
    """Seconds an image to decode, resize and crop them, by a process for each core at once.

    Not those of one core by their number: cores that share caches or units are slower together.
    """
    cores, context = usable_cores(), multiprocessing.get_context("spawn")
    start = context.Barrier(cores).wait
    with ProcessPoolExecutor(cores, mp_context=context, initializer=start) as pool:
        seconds = list(pool.map(_decode, [paths[core::cores] for core in range(cores)]))
    return statistics.mean(seconds) / len(paths)


def _decode(paths: list[str]) -> float:
    transform = build_transform("short_side", 256, 224)
    return time_of(lambda: [transform(open_image(path)) for path in paths])


def train(arguments: argparse.Namespace) -> dict:
    """The training step: this repository's settings against Paddle's default ones; --amp on a GPU.

    Each is a process of its own, since Paddle reads its settings once. It takes optimizer steps of
    the whole method at 64 bits, against a bank of 10,000 rows; no image is decoded or waited for.
    """
    labels = drawn_labels(arguments.batch * arguments.steps, np.random.default_rng(0))
    step = partial(in_a_process, "seconds_a_step", labels, arguments.batch)
    ways = {"ours": step, "default": partial(step, tuned=False)}
    if in_a_process("has_gpu"):
        ways["ours, --amp"] = partial(step, True)
    seconds = take_turns(ways, arguments.turns)
    rows = []
    for name, value in seconds.items():
        row = {"way": name, "step s": value, "img/s": arguments.batch / value}
        rows.append({**row, "x default": seconds["default"] / value})
    print_table(rows)
    return {"results": rows}


def loss(arguments: argparse.Namespace) -> dict:
    """The loss: closed form against masked assignment, value and gradient checked.

    One call is forward and backward of a batch against the bank; both forms get the same batches.
    The masked form assigns to the similar and to the dissimilar pairs through boolean masks, as
    deep-hashing code commonly does.
    """
    batch, bank, bit = arguments.batch, arguments.bank, arguments.bit
    if batch > bank:
        raise UserError(f"--batch {batch}: more rows than --bank {bank} has")
    setup_paddle(arguments.threads)
    from scripts.benchmark_network import HashNetLoss, MaskedLoss, loss_form  # imports Paddle

    rng = np.random.default_rng(arguments.seed)
    labels = drawn_labels(bank, rng).astype(np.float32)
    batches = []
    for _ in range(arguments.turns + 1):
        index = rng.permutation(bank)[:batch]
        batches.append((rng.normal(size=(batch, bit)).astype(np.float32), labels[index], index))
    codes = np.tanh(rng.normal(size=(bank, bit))).astype(np.float32)
    closed = map(loss_form(HashNetLoss, codes, labels), *zip(*batches))
    masked = map(loss_form(MaskedLoss, codes, labels), *zip(*batches))
    (value, gradient), (expected, slope) = next(closed), next(masked)
    ways = {
        "closed": partial(time_of, partial(next, closed)),
        "masked": partial(time_of, partial(next, masked)),
    }
    seconds = take_turns(ways, arguments.turns)
    row = {
        "threads": arguments.threads,
        "closed form ms": 1000 * seconds["closed"],
        "masked ms": 1000 * seconds["masked"],
        "masked / closed": seconds["masked"] / seconds["closed"],
        "difference of value": abs(value - expected) / abs(expected),
        "of gradient": float(np.linalg.norm(gradient - slope) / np.linalg.norm(slope)),
    }
    print_table([row])
    return {"results": [row]}


def retrieval(arguments: argparse.Namespace) -> dict:
    """MAP@K of binary codes: the exact evaluation against the textbook loop and faiss's search.

    A code is the sign of the sum of one random centre for each label, plus noise. Columns: MAP@K,
    ties in database order and averaged · seconds of MAP@K (labels, search, metric), of all metrics
    and curves, of the textbook loop (timed on some queries and scaled to all), of faiss's
    IndexBinaryFlat.search alone · ratios · extra memory of MAP@K and of all metrics, at their peak
    · what MAP@K of 10 queries differs from the textbook loop with a stable sort · time of MAP@K
    with half the queries, and with half the database, over that with all.
    """
    rng = np.random.default_rng(arguments.seed)
    labels, queries, origin = coco_labels(arguments.queries, arguments.database, rng)
    rows = []
    for bit in arguments.bit:
        codes = clustered_codes(labels, bit, rng)
        rows.append({"bit": bit, **measure_scoring(arguments, codes, labels, queries)})
    print(f"{len(queries)} queries, {len(labels)} rows: {origin}")
    print_table(rows)
    if rows[0]["faiss s"] is None:
        print("faiss is not installed, its columns stay empty: pip install faiss-cpu")
    return {"origin": origin, "results": rows}


def measure_scoring(
    arguments: argparse.Namespace, codes: np.ndarray, labels: np.ndarray, queries: np.ndarray
) -> dict:
    """All figures of one code length; `queries` are indices of the database."""
    topk, few = arguments.topK, queries[: arguments.textbook_queries]
    signs, wide_labels = unpack_codes(codes).astype(np.float32), labels.astype(np.int64)
    textbook = partial(textbook_map, signs, wide_labels, topk)

    def of(metric: Callable, queries: np.ndarray, rows: int = len(codes)) -> Callable:
        data = (codes[queries], labels[queries], codes[:rows], labels[:rows], topk)
        return partial(metric, *data, threads=arguments.threads)

    work = {
        "textbook": partial(textbook, few),
        "map": of(mean_average_precision, queries),
        "all": of(evaluate_retrieval, queries),
        "half queries": of(mean_average_precision, queries[::2]),
        "half rows": of(mean_average_precision, queries, -(-len(codes) // 2)),
        "faiss": faiss_search(codes[queries], codes, topk, arguments.threads),
    }
    ways = {name: partial(time_of, way) for name, way in work.items() if way}
    seconds = take_turns(ways, arguments.turns)
    seconds["textbook"] *= len(queries) / len(few)
    found = of(mean_average_precision, queries[:10])()
    metrics, memory_of_all = extra_memory(work["all"])
    _, memory_of_map = extra_memory(work["map"])
    return {
        "MAP@K": metrics.map,
        "ties av.": metrics.map_tie_averaged,
        "MAP s": seconds["map"],
        "all s": seconds["all"],
        "textbook s": seconds["textbook"],
        "faiss s": seconds.get("faiss"),
        "textb./MAP": seconds["textbook"] / seconds["map"],
        "MAP/faiss": seconds["map"] / seconds["faiss"] if "faiss" in seconds else None,
        "MAP MiB": memory_of_map,
        "all MiB": memory_of_all,
        "|textb.-MAP|": abs(found - textbook(queries[:10], order="stable")),
        "half queries": seconds["half queries"] / seconds["map"],
        "half rows": seconds["half rows"] / seconds["map"],
    }


def textbook_map(
    signs: np.ndarray, labels: np.ndarray, topk: int, queries: np.ndarray, order: str | None = None
) -> float:
    """MAP@K as most published code has it: per query a label product, distances, and an argsort.

    Signs are float32 [n, bit] of -1 and 1, labels int64 [n, num_class], queries indices of both;
    NumPy's default `order` leaves ties in no defined order.
    """
    scores = np.zeros(len(queries))
    for number, query in enumerate(queries):
        relevant = (np.dot(labels[query], labels.T) > 0).astype(np.float32)
        distances = 0.5 * (signs.shape[1] - np.dot(signs[query], signs.T))
        ranked = relevant[np.argsort(distances, kind=order)][:topk]
        hits = int(ranked.sum())
        if hits:
            ranks = np.asarray(np.where(ranked == 1)) + 1.0
            scores[number] = np.mean(np.linspace(1, hits, hits) / ranks)
    return float(scores.mean())


def faiss_search(
    query_codes: np.ndarray, database_codes: np.ndarray, topk: int, threads: int
) -> Callable[[], object] | None:
    """faiss's exact search alone, ready to run; None where faiss is not installed."""
    try:
        import faiss
    except ModuleNotFoundError:
        return None
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexBinaryFlat(8 * database_codes.shape[1])
    index.add(database_codes)
    return partial(index.search, query_codes, min(topk, len(database_codes)))


def index(arguments: argparse.Namespace) -> dict:
    """An image index: SQLite, Milvus Lite where it is installed, and their limit, `nearest` alone.

    Codes are drawn evenly; an image has a path and one of a hundred labels. Columns: seconds to
    insert all, and to open the index and search once, in a process of its own · the same process's
    memory at its peak, beyond what it had before (Milvus Lite's is in another one) · bytes an image
    on disk · ms of a search for the nearest 10, 1000, and 10 of a label, the first time and again.
    """
    rng = np.random.default_rng(arguments.seed)
    ids = np.unique(rng.integers(0, 1 << 53, arguments.images))
    codes = rng.integers(0, 256, (len(ids), -(-arguments.bit // 8)), dtype=np.uint8)
    with TemporaryDirectory() as folder:
        names = {"SQLite": f"{folder}/index.db", "Milvus Lite": f"milvus:{folder}/lite.db"}
        if importlib.util.find_spec("milvus_lite") is None:
            del names["Milvus Lite"]
        rows = [measure_store(kind, name, ids, codes, arguments) for kind, name in names.items()]
    ways = {k: partial(time_of, partial(nearest, codes[:1], codes, k)) for k in (10, 1000)}
    ms = {k: 1000 * seconds for k, seconds in take_turns(ways, arguments.turns).items()}
    rows.append(
        {**dict.fromkeys(rows[0]), "store": "nearest", "10 ms": ms[10], "1000 ms": ms[1000]}
    )
    print_table(rows)
    return {"results": rows}


def measure_store(
    kind: str, name: str, ids: np.ndarray, codes: np.ndarray, arguments: argparse.Namespace
) -> dict:
    """Fills a store and searches it; a row of `index`."""
    store = open_store(name)
    store.create({"bit": arguments.bit, "network": {}})
    begin = time.perf_counter()
    for part in tqdm(
        np.array_split(np.arange(len(ids)), -(-len(ids) // BATCH)), leave=False, disable=None
    ):
        entries = []
        for row in np.random.default_rng(part[0]).permutation(part).tolist():
            path, label = f"/pictures/{row % 997:03d}/IMG_{row:08d}.jpg", f"label {row % 100}"
            entries.append(Entry(int(ids[row]), path, "0" * 32, codes[row].tobytes(), (label,)))
        store.upsert(entries)
    inserted = time.perf_counter() - begin
    store.close()
    size = sum(
        path.stat().st_size for path in Path(name.partition(":")[2] or name).parent.rglob("*")
    )
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        opened, mebibytes = pool.submit(_open_and_search, name, codes[0]).result()
    store = open_store(name)
    search = partial(store.search, codes[0])
    search(10)
    first = time_of(partial(search, 10, "label = 'label 7'"))
    work = {"10": (10,), "1000": (1000,), "label": (10, "label = 'label 7'")}
    ways = {key: partial(time_of, partial(search, *how)) for key, how in work.items()}
    seconds = take_turns(ways, arguments.turns)
    store.close()
    return {
        "store": kind,
        "insert s": inserted,
        "open s": opened,
        "MiB": mebibytes if kind == "SQLite" else None,
        "B/image": size / len(ids),
        "10 ms": 1000 * seconds["10"],
        "1000 ms": 1000 * seconds["1000"],
        "label, first": 1000 * first,
        "label ms": 1000 * seconds["label"],
    }


def _open_and_search(name: str, code: np.ndarray) -> tuple[float, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = time_of(lambda: open_store(name).search(code, 10))
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def photos(folder: Path) -> tuple[list[str], str]:
    """JPEG files of COCO's size, and in words what they are; drawn ones are written to `folder`."""
    files = sorted(map(str, Path(DATA, "coco_photos").rglob("*.jpg"))) if DATA else []
    if files:
        return files, f"{len(files)} COCO photos, repeated"
    for number in range(12):
        # So much grain takes about as long to decode as a photo.
        pixels = np.random.default_rng(number).normal(128, 12, (480, 640, 3)).astype(np.uint8)
        files.append(str(folder / f"{number}.jpg"))
        Image.fromarray(pixels).save(files[-1], quality=93)
    return files, f"{len(files)} drawn images of 640 x 480, repeated"


def coco_labels(
    queries: int, rows: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, str]:
    """Labels of a database [n, 80] uint8, its indices that are queries, and their origin.

    At most so many queries and rows are taken. All queries stand in the database, as in the
    released split.
    """
    if not DATA:
        labels = drawn_labels(rows, rng)
        return labels, rng.permutation(rows)[:queries], "labels drawn at COCO's density"
    archive, lists = Path(DATA, "coco_lists.tar.xz"), {}
    try:
        with TemporaryDirectory() as folder, tarfile.open(archive) as members:
            for name in ("test.txt", "database.txt"):
                path = Path(folder, name)
                path.write_bytes(members.extractfile(name).read())
                lists[name] = read_list(path, N_CLASS)
    except (OSError, EOFError, KeyError, LZMAError, tarfile.TarError) as error:
        raise UserError(
            f"{archive}: cannot read test.txt and database.txt ({error!r}); "
            "expected the released lists of COCO, or HASHNET_TEST_DATA unset"
        ) from error
    place = {path: index for index, path in enumerate(lists["database.txt"].paths[:rows])}
    places = [place[path] for path in lists["test.txt"].paths if path in place][:queries]
    if not places:
        raise UserError(f"--database {rows}: no query stands in so few rows; ask for more")
    labels = lists["database.txt"].labels[:rows]
    return labels, np.array(places), "labels of the released COCO lists"


def drawn_labels(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Labels with COCO's density: 2.9 an image; person on 55 %, the others on 11 … 0.3 %."""
    frequency = np.append(0.55, np.geomspace(0.11, 0.003, N_CLASS - 1))
    labels = (rng.random((rows, N_CLASS), dtype=np.float32) < frequency).astype(np.uint8)
    labels[~labels.any(axis=1), 0] = 1  # every image of the lists has a label
    return labels


def clustered_codes(labels: np.ndarray, bit: int, rng: np.random.Generator) -> np.ndarray:
    """Packed codes that gather by label, as a trained network's: distances vary, ties are many."""
    centres = rng.standard_normal((labels.shape[1], bit), dtype=np.float32)
    z = labels.astype(np.float32) @ centres
    return pack_codes(z + NOISE * rng.standard_normal(z.shape, dtype=np.float32))


def in_a_process(function: str, *arguments: Any, tuned: bool = True) -> Any:
    """What a function of `scripts.benchmark_network` returns in a process of its own.

    Where it is `tuned`, Paddle is started as the commands start it, else as `import paddle` does.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_call, function, arguments, tuned).result()


def _call(function: str, arguments: tuple, tuned: bool) -> Any:
    multiprocessing.set_start_method(None, force=True)  # the loader of the plain way forks
    with contextlib.redirect_stderr(io.StringIO()):  # no bars; no warnings of Paddle's plain start
        if tuned:
            setup_paddle()
        for name in () if tuned else TUNING:
            os.environ.pop(name, None)
        from scripts import benchmark_network

        return getattr(benchmark_network, function)(*arguments)


def take_turns(ways: dict[str, Callable[[], float]], turns: int) -> dict[str, float]:
    """The median of the seconds that each way returns; they alternate."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for name in tqdm(list(ways) * turns, leave=False, disable=None):
        seconds[name].append(ways[name]())
    return {name: statistics.median(values) for name, values in seconds.items()}


def time_of(work: Callable[[], object]) -> float:
    """The seconds that `work` takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def extra_memory(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the most memory in MiB it held beyond what was there before."""
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def print_table(rows: list[dict[str, Any]]) -> None:
    """Prints rows under their keys: numbers with four digits, None as a dash."""
    lines = [list(rows[0])]
    for row in rows:
        cells = ["-" if value is None else value for value in row.values()]
        lines.append([f"{c:.4g}" if isinstance(c, float) else str(c) for c in cells])
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        print("  ".join(map(str.rjust, line, widths)))


PARTS = {
    encode: {"pictures": 1024, "plain_pictures": 192, "bit": 64, "turns": 3, "memory": None},
    train: {"batch": 32, "steps": 3, "turns": 3},
    loss: {"batch": 64, "bank": 10_000, "bit": 64, "turns": 30, "threads": 0, "seed": 2000},
    retrieval: {
        **{"bit": [16, 32, 48, 64], "queries": 5000, "database": 112_218, "topK": 5000},
        **{"textbook_queries": 50, "turns": 3, "threads": 0, "seed": 2000},
    },
    index: {"images": 1_000_000, "bit": 64, "turns": 15, "seed": 2000},
}
"""The flags of each part, with their defaults; 0 threads: as many as cores."""


def _number(name: str, text: str) -> int:
    number = whole_number(0 if name in ("seed", "threads") else 1)(text)
    if name == "bit":
        check_bit(number)
    return number


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line; `run` of the result is the part's function.

    Raises:
        UserError: an unknown part or flag, or a value that is not allowed.
    """
    parser = Parser(description=__doc__)
    parts = parser.add_subparsers(title="parts", metavar="PART", required=True)
    for run, defaults in PARTS.items():
        summary = run.__doc__.partition("\n")[0]
        part = parts.add_parser(run.__name__, help=summary, description=run.__doc__)
        part.set_defaults(run=run)
        for name, value in defaults.items():
            details = {"nargs": "+"} if isinstance(value, list) else {}
            details.update(type=partial(_number, name), default=value, metavar="N")
            flag = f"--{name.replace('_', '-')}"
            part.add_argument(flag, help="default: %(default)s", **details)
    arguments = parser.parse_args(words)
    if getattr(arguments, "threads", None) == 0:
        arguments.threads = usable_cores()
    return arguments


def main() -> None:
    """Runs one part."""
    arguments = parse_arguments()
    settings = {**vars(arguments), "run": arguments.run.__name__}
    print(", ".join(f"{name} {value}" for name, value in settings.items() if value is not None))
    figures = arguments.run(arguments)
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall("model name.*: (.*)", cpuinfo.read_text() if cpuinfo.is_file() else "")
    machine = {"processor": names[:1], "cores": usable_cores(), "numpy": np.__version__}
    print(json.dumps({**settings, **machine, "python": platform.python_version(), **figures}))


if __name__ == "__main__":
    sys.exit(run_command(main))
