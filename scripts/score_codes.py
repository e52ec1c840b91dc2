"""Scores anybody's codes as --eval scores ours, and compares two results.

A file of codes has a row for each image: ±1, or real numbers whose signs are
the bits (0 is a 1); 0 and 1 with --bits01; bytes of 8 bits with --packed. A
file of labels has a 0/1 column for each class, or with --classes one column,
the class number. Files are .npy, .csv, FILE.npz:NAME or, with scipy installed,
FILE.mat:NAME (without :NAME the only array in it).

examples:
  python scripts/score_codes.py --topK 5000 --output mine_64.json \\
      --query-codes q.npy --query-labels q_labels.npy \\
      --database-codes d.npy --database-labels d_labels.npy
  python scripts/score_codes.py --compare theirs_64.json mine_64.json
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

import argparse
import io
import json
import logging
import math
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from scripts.tables import markdown_table
from utils.codes import check_bit, check_codes, pack_codes
from utils.config.parser import Parser
from utils.metrics import evaluate_retrieval
from utils.metrics.bootstrap import paired_bootstrap
from utils.metrics.plots import MAX_METRICS, write_metrics
from utils.system.errors import UserError, run_command
from utils.system.files import open_untrusted

MAX_ARRAY = 1 << 34  # bytes of a file, and of an array that is compressed in one
FILES = ("query_codes", "query_labels", "database_codes", "database_labels")
MAPS = {
    "hashnet": "map",
    "tie-averaged": "map_tie_averaged",
    "min-k-relevant": "map_min_k_relevant",
    "skip-empty": "map",
}
"""Protocols, and the average precision of `RetrievalMetrics` that each takes the mean of."""
PROTOCOLS = """\
The MAP of the last line. The precisions at the ranks of a query's relevant
images up to K, T in number, are summed up; R are in the database.
  hashnet         sum / T, 0 where T = 0, equal distances in database order:
                  as --eval. swuxyj/DeepHash-pytorch (utils/tools.py) and
                  kamwoh/orthohash (functions/hashing.py) count so, but their
                  sorts leave the order of equal distances open
  tie-averaged    its mean over all orders of equal distances; where all ranks
                  count, as kunhe/TALR (+eval/tieAP.m)
  min-k-relevant  sum / min(K, R): the second MAP of fzhuang3/VDSSH
                  (utils/calc_hr.py)
  skip-empty      hashnet without queries of T = 0: thuml/HashNet
                  (pytorch/src/test.py), which ranks by real-valued outputs"""
SHOWN = ("map", "map_tie_averaged", "map_min_k_relevant", "chance", "precision_within_radius_2")
ALIKE = ("queries", "database", "topk", "labels_sha256")
"""What --compare shows, and what two metrics files must have in common."""


def read_array(text: str) -> np.ndarray:
    """Reads numbers, a vector or matrix; raises a `UserError` for anything else, and for NaN."""
    path, _, name = text.rpartition(":") if re.search(r"\.(npz|mat):", text) else (text, "", "")
    kind = Path(path).suffix
    if kind not in _READERS:
        raise UserError(f"{path}: expected a file .npy, .csv, .npz:NAME or .mat:NAME")
    with open_untrusted(path, f"a {kind} file of numbers", MAX_ARRAY) as file:
        array = _READERS[kind](file, path, name)
    if array.dtype.kind not in "buif" or array.ndim not in (1, 2):
        raise UserError(f"{text}: {array.dtype} array of shape {array.shape}; expected numbers")
    _refuse(np.isnan(array), array, text, "numbers")
    return array


def _refuse(wrong: np.ndarray, array: np.ndarray, text: str, expected: str) -> None:
    """Raises a `UserError` that names the first place where something is wrong."""
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0].tolist())
        where = ", ".join(map("{} {}".format, ("row", "column"), place))
        raise UserError(f"{text}: {where} holds {array[place]}; expected {expected}")


def _read_npy(file: BinaryIO, *_: str) -> np.ndarray:
    return np.lib.format.read_array(file, allow_pickle=False)


def _read_csv(file: BinaryIO, *_: str) -> np.ndarray:
    with io.TextIOWrapper(file, "utf-8-sig") as text, warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy's, of a file without numbers
        return np.loadtxt(text, delimiter=",", ndmin=2)


def _read_npz(file: BinaryIO, path: str, name: str) -> np.ndarray:
    with zipfile.ZipFile(file) as archive:
        sizes = {part.filename[:-4]: part.file_size for part in archive.infolist()}
        with archive.open(f"{_choose(name, sizes, path)}.npy") as part:
            return np.lib.format.read_array(part, allow_pickle=False)


def _read_mat(file: BinaryIO, path: str, name: str) -> np.ndarray:
    try:
        from scipy.io import loadmat, whosmat
    except ModuleNotFoundError as error:
        raise UserError(f"{path}: .mat files need scipy: pip install scipy") from error
    try:
        sizes = {key: 8 * math.prod(shape) for key, shape, _ in whosmat(file)}
    except NotImplementedError as error:  # HDF5
        raise UserError(f"{path}: MATLAB's format 7.3, which is not read: save with -v7") from error
    name = _choose(name, sizes, path)
    file.seek(0)
    array = loadmat(file, variable_names=[name])[name]
    return array.toarray() if hasattr(array, "toarray") else array


_READERS = {".npy": _read_npy, ".csv": _read_csv, ".npz": _read_npz, ".mat": _read_mat}


def _choose(name: str, sizes: Mapping[str, int], path: str) -> str:
    """The name of the array that is meant, which is not too large; `sizes` are in bytes."""
    if not name and len(sizes) == 1:
        name = next(iter(sizes))
    if name not in sizes:
        raise UserError(f"{path}: holds {', '.join(sizes) or 'nothing'}; name one, as {path}:NAME")
    if sizes[name] > MAX_ARRAY:
        raise ValueError(f"{name} has {sizes[name]:,} bytes, more than {MAX_ARRAY:,}")
    return name


def read_codes(text: str, bits01: bool, packed: bool, bit: int | None) -> tuple[np.ndarray, int]:
    """Reads codes, packed as `pack_codes` does, and their length; else raises a `UserError`."""
    array = read_array(text)
    if packed:
        return array, check_codes(array, text, bit)
    if array.ndim != 2 or bit not in (None, array.shape[1]):
        raise UserError(f"{text}: shape {array.shape}; expected codes [n, {bit or 'bit'}]")
    bit = array.shape[1]
    check_bit(bit, f"{text}: ")
    is_bit = (array == 0) | (array == 1)
    if bits01:
        _refuse(~is_bit, array, text, "0 or 1, as --bits01 says")
        return pack_codes(array == 1), bit
    if is_bit.all() and not array.all():
        raise UserError(f"{text}: nothing but 0 and 1: such codes need --bits01")
    if array.dtype.kind == "u":
        raise UserError(f"{text}: {array.dtype} has no signs: packed codes need --packed")
    if not (array < 0).any():
        print(f"{text}: no number is below 0, so that all bits of all codes are 1")
    return pack_codes(array), bit


def read_labels(paths: Iterable[str], classes: bool) -> list[np.ndarray]:
    """Reads labels of queries and database as columns of 0 and 1; else raises a `UserError`."""
    both = []
    for text in paths:
        array = read_array(text)
        if not classes and (array.ndim == 1 or (array > 1).any()):
            raise UserError(f"{text}: no 0/1 labels [n, n_class]: class numbers need --classes")
        if classes and array.size != len(array):
            raise UserError(f"{text}: {array.shape[1]} columns; with --classes expected one")
        if classes:
            wrong = (array < 0) | (array != np.floor(array)) | np.isinf(array)
            _refuse(wrong, array, text, "class numbers from 0")
        both.append(array)
    if not classes:
        return both
    known, column = np.unique(np.concatenate(both, axis=None), return_inverse=True)
    if column.size * known.size > MAX_ARRAY:
        raise UserError(f"{text}: {known.size:,} class numbers of {column.size:,} images")
    labels = np.zeros((column.size, known.size), np.uint8)
    labels[np.arange(column.size), column] = 1
    return np.split(labels, [both[0].size])


def counted(average_precision: Mapping[str, Sequence[float]], protocol: str) -> np.ndarray:
    """What a protocol takes the mean of: float64 [n_q], NaN for a query that it leaves out."""
    values = np.array(average_precision[MAPS[protocol]], np.float64)
    return np.where(values > 0, values, np.nan) if protocol == "skip-empty" else values


def mean(values: np.ndarray) -> float:
    """The mean of what `counted` returns, rounded once; 0 of nothing."""
    kept = values[~np.isnan(values)]
    return math.fsum(kept) / max(kept.size, 1)


def score(arguments: argparse.Namespace) -> None:
    """Scores the codes of four files, prints the numbers, and writes them to --output."""
    kind = (arguments.bits01, arguments.packed, arguments.bit)
    queries, bit = read_codes(arguments.query_codes, *kind)
    database, other = read_codes(arguments.database_codes, *kind)
    if bit != other:
        raise UserError(f"query codes have {bit} bits, database codes {other}")
    labels = read_labels((arguments.query_labels, arguments.database_labels), arguments.classes)
    exclude = np.arange(len(queries)) if arguments.exclude_self else None
    if exclude is not None and not np.array_equal(labels[0], labels[1][: len(labels[0])]):
        raise UserError("--exclude-self: query i is not image i of the database: labels differ")
    all_four = (queries, labels[0], database, labels[1])
    metrics = evaluate_retrieval(*all_four, arguments.topK, exclude=exclude, bit=bit)
    dataset, name, protocol = arguments.dataset, arguments.name, arguments.protocol
    value = mean(counted(metrics.average_precision, protocol))
    if arguments.output:
        settings = {key: getattr(arguments, key) for key in (*FILES, "topK", "exclude_self")}
        record = {"dataset": dataset, "variant": name, "headline": {protocol: value}}
        record = {**record, **metrics.as_dict(), "protocol": settings}
        write_metrics(arguments.output, arguments.output.with_suffix(".png"), record)
    print("\n".join(metrics.summary()))
    print(f"EVAL-{name}, bit:{bit}, dataset:{dataset}, protocol:{protocol}, MAP:{value:.3f}")


def read_metrics(path: str, protocol: str) -> tuple[dict, np.ndarray, dict[str, str]]:
    """Reads a metrics file: what its numbers are of, what `counted` returns, cells of a table."""
    expected = "metrics of --eval, written since --compare is there, or of this command"
    with open_untrusted(path, expected, MAX_METRICS) as file:
        record = json.loads(file.read())
        found = np.array(record["average_precision"][MAPS[protocol]], np.float64)
        whole = found.size and found.shape == (record["queries"],)
        if not whole or not ((found >= 0) & (found <= 1)).all():
            raise ValueError("its average precisions are not those of its queries")
        values = counted(record["average_precision"], protocol)
        cells = {k: str({"variant": "HashNet", **record}[k]) for k in ("variant", "dataset", "bit")}
        cells.update({key: f"{record[key]:.4f}" for key in SHOWN})
        cells.update({f"hit_rate_at {k}": f"{v:.4f}" for k, v in record["hit_rate_at"].items()})
        made_of = {key: record[key] for key in (*ALIKE, "dataset", "queries_leaving_out_a_row")}
        made_of.update({key: record["protocol"].get(key) for key in ("transform", "precision")})
    return made_of, values, cells


def compare(arguments: argparse.Namespace) -> None:
    """Prints two metrics files side by side, and the interval of the difference of their MAPs."""
    paths, protocol = arguments.compare, arguments.protocol
    (first, a, cells), (second, b, others) = (read_metrics(path, protocol) for path in paths)
    differ = {key: (x, second[key]) for key, x in first.items() if x != second[key]}
    if wrong := ", ".join(key for key in ALIKE if key in differ):
        raise UserError(f"{' and '.join(paths)} cannot be compared: {wrong} differ")
    for key, both in differ.items():
        if None not in both:
            print("Another protocol: {}: {} and {}".format(key, *both))
    print("A: {}\nB: {}\n".format(*paths))
    rows = [[label, cell, others.get(label, "")] for label, cell in cells.items()]
    print(markdown_table([f"{len(a)} queries", "A", "B"], rows))
    low, high = paired_bootstrap(a, b)
    told = "B is better" if low > 0 else "A is better" if high < 0 else "neither is told better"
    print(f"MAP ({protocol}): A {mean(a):.4f}, B {mean(b):.4f}, B - A {mean(b) - mean(a):+.4f},")
    print(f"95 % of a paired bootstrap over queries: {low:+.4f} to {high:+.4f}: {told}")


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=__doc__)
    group = parser.add_argument_group("codes and labels")
    for each in FILES:
        group.add_argument("--" + each.replace("_", "-"), metavar="FILE")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--bits01", action="store_true", help="codes are 0 and 1")
    kind.add_argument("--packed", action="store_true", help="as database_code_{bit}.npy")
    bit = "code length, needed where packed codes do not fill their last byte"
    group.add_argument("--bit", type=int, metavar="N", help=bit)
    group.add_argument("--classes", action="store_true", help="labels are class numbers")
    add = parser.add_argument_group("scoring").add_argument
    add("--topK", type=int, default=-1, metavar="K", help="ranks that count; -1: all, the default")
    itself = "query i is image i of the database: leave it out of its own ranking"
    add("--exclude-self", action="store_true", help=itself)
    add("--name", default="codes", help="of the codes, for tables and the figure")
    add("--dataset", default="data", metavar="NAME", help="of the data set")
    output = "metrics file; the figure beside it has a line for each such file of other bits"
    add("--output", type=Path, metavar="FILE.json", help=output)
    add = parser.add_argument_group("protocols", PROTOCOLS).add_argument
    add("--protocol", choices=MAPS, default="hashnet", metavar="NAME", help="default: %(default)s")
    two = "two metrics files side by side, of --eval or of this command, and the 95 %% interval of "
    two += "the difference of MAP over queries, which does not know of other seeds"
    add("--compare", nargs=2, metavar=("A.json", "B.json"), help=two)
    arguments = parser.parse_args(words)
    given = [name for name, value in vars(arguments).items() if value != parser.get_default(name)]
    if arguments.compare and set(given) - {"compare", "protocol"}:
        parser.error("--compare takes two metrics files, --protocol, and nothing else")
    if not arguments.compare and not set(given).issuperset(FILES):
        parser.error("codes and labels, four files, are needed, or --compare")
    if arguments.output and arguments.output.suffix != ".json":
        parser.error(f"--output {arguments.output}: expected a name that ends with .json")
    return arguments


def main() -> None:
    """Scores codes, or compares two results."""
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("utils").setLevel(logging.INFO)
    arguments = parse_arguments()
    (compare if arguments.compare else score)(arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
