"""Whether what a command will write can be written, found out before its long work begins."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import paddle

from utils.system.errors import UserError

_KEPT = {"Momentum": 1, "AdamW": 2, "RMSProp": 3}
"""Numbers that each of Paddle's optimizers keeps for a parameter."""
_BLOCK = 4096
_FLOAT = 4


def check_writable(folder: str | os.PathLike, names: Iterable[str] = ()) -> None:
    """Finds out by writing whether files can be written in a folder, which is made as needed.

    Args:
        folder: where a command will write, perhaps hours from now.
        names: files it will write there.

    Raises:
        UserError: the folder cannot be made or written (rights, read-only, full disk), or a file
            stands in its place or a folder in a file's.
    """
    folder = Path(folder)
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UserError(f"{folder}: cannot be written: a file stands where the folder should be")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_BLOCK))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from error
    for name in names:
        if (folder / name).is_dir():
            raise UserError(f"{folder / name}: cannot be written: a folder has the file's name")


def check_space(folder: str | os.PathLike, sizes: Mapping[str, int]) -> None:
    """Finds out whether files will fit on a folder's disk, a set beside the one it replaces.

    Args:
        folder: where they will be written; it exists.
        sizes: the bytes of each file, by name; names that differ in the ending are a set.

    Raises:
        UserError: they will not fit.
    """
    folder = Path(folder)
    there = sum((folder / name).stat().st_size for name in sizes if (folder / name).is_file())
    sets: Counter[str] = Counter()
    for name, size in sizes.items():
        sets[Path(name).stem] += size
    needed = sum(sizes.values()) + max(sets.values()) - there
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: {free / 1e6:,.0f} MB are free, the training needs {needed / 1e6:,.0f} MB "
            f"for {', '.join(sizes)}: make room, or name a folder elsewhere with --output-dir"
        )


def training_files(
    bit: int,
    network: paddle.nn.Layer,
    optimizer: paddle.optimizer.Optimizer,
    criterion: paddle.nn.Layer,
    banks: int = 1,
) -> dict[str, int]:
    """The files that a training keeps in its output folder, and their sizes in bytes.

    Args:
        bit: of the files' names.
        network: whose weights are kept, as the best and as the newest.
        optimizer: whose state is kept beside them, which is empty before the first step.
        criterion: whose bank is kept.
        banks: how many of them.
    """
    weights = _floats(network.parameters())
    kept = weights * _KEPT[type(optimizer).__name__]
    sizes = {
        "weights_{}.pdparams": weights,
        "weights_{}.pdopt": kept,
        "last_{}.pdparams": weights,
        "last_{}.pdopt": kept,
        "last_{}.pdstates": banks * _floats(criterion.state_dict().values()),
    }
    return {name.format(bit): _FLOAT * count + _BLOCK for name, count in sizes.items()}


def _floats(tensors: Iterable[paddle.Tensor]) -> int:
    return sum(math.prod(tensor.shape) for tensor in tensors)
