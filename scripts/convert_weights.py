"""Converts torchvision's AlexNet weights (.pth) to what a training begins with."""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

import argparse
import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from utils.config import Config
from utils.config.parser import Parser
from utils.datasets.info import in_repository
from utils.system.errors import run_command, tell
from utils.system.files import atomic_write, open_untrusted
from utils.system.pickles import RefusedPickle, load_plain
from utils.system.runtime import setup_paddle
from utils.system.state_files import open_stored

MAX_WEIGHTS, MAX_SIDES = 1 << 32, 4
"""Bytes of a weights file (torchvision's has 244 MB), and a tensor's sides, at most."""
_KINDS = {
    f"torch.{name}Storage": dtype
    for name, dtype in (("Float", "<f4"), ("Half", "<f2"), ("Double", "<f8"), ("Long", "<i8"))
}
_LEGACY_HEAD = 3
"""Pickles before that of the weights in PyTorch's older format: a number, a version, the system."""


def read_torch_weights(path: Path) -> dict[str, np.ndarray]:
    """Reads a `.pth` file as arrays, without PyTorch; nothing in it is run.

    A checkpoint may hold the weights under `state_dict` or `model`, and their names may begin with
    `module.`, as `torch.nn.DataParallel` has them.
    """
    hint = "expected torchvision's AlexNet, alexnet-owt-*.pth"
    with open_untrusted(path, "a PyTorch state dict", MAX_WEIGHTS, hint) as file:
        is_zip = file.read(2) == b"PK"
        file.seek(0)
        state = _read_zip(file) if is_zip else _read_legacy(file)
        for name in ("state_dict", "model"):
            state = state.get(name, state)
        if not all(isinstance(array, np.ndarray) for array in state.values()):
            raise ValueError("it holds more than tensors")
        for name, array in state.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{name} has numbers that are not finite")
        return {name.removeprefix("module."): array for name, array in state.items()}


def _read_zip(file: BinaryIO) -> dict:
    """PyTorch's format since 1.6: an archive of a pickle and the tensors' bytes."""
    with open_stored(file) as archive:
        left = {name: name for name in archive.namelist()}  # each is one tensor's
        (program,) = (name for name in left if name.endswith("/data.pkl"))
        folder = program[: -len("data.pkl")]

        def storage(key: tuple) -> np.ndarray:
            _, dtype, number, *_ = key
            return np.frombuffer(archive.read(left.pop(f"{folder}data/{number}")), dtype)

        return load_plain(archive.read(program), _CALLED, storage)


def _read_legacy(file: BinaryIO) -> dict:
    """The format before: pickles one after the other, then the tensors' bytes."""
    left, storages = os.fstat(file.fileno()).st_size, {}

    def storage(key: tuple) -> np.ndarray:
        nonlocal left
        _, dtype, number, _, count, *_ = key
        left -= count * np.dtype(dtype).itemsize
        if left < 0 or number in storages or not isinstance(number, str):
            raise RefusedPickle("claims more numbers than it has, or some in two tensors")
        storages[number] = np.empty(count, dtype)  # filled below
        return storages[number]

    for _ in range(_LEGACY_HEAD):
        load_plain(file)
    state = load_plain(file, _CALLED, storage)
    for number in load_plain(file):
        array = storages[number]
        if int.from_bytes(file.read(8), "little") != array.size:
            raise ValueError("the numbers behind its pickles are not those that it names")
        array[:] = np.frombuffer(file.read(array.nbytes), array.dtype, array.size)
    return state


def _tensor(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_: Any) -> np.ndarray:
    if len(size) > MAX_SIDES:
        raise RefusedPickle(f"holds a tensor of {len(size)} sides")
    steps = np.cumprod((1, *size[:0:-1]))[::-1]
    if tuple(stride) != tuple(steps.tolist()) and len(size):
        raise RefusedPickle("holds a tensor whose numbers do not stand in order")
    return storage[offset : offset + math.prod(size)].reshape(size)


_CALLED = {**_KINDS, "torch._utils._rebuild_tensor_v2": _tensor}


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=__doc__)
    output = in_repository(Config.backbone_weights)
    parser.add_argument("source", type=Path, help="torchvision's alexnet-owt-*.pth")
    parser.add_argument("output", type=Path, nargs="?", default=output, help="default: %(default)s")
    return parser.parse_args(words)


def main() -> None:
    """Converts one file."""
    arguments = parse_arguments()
    setup_paddle()
    import paddle

    from models import HashNet
    from models.alexnet import from_classifier_names
    from models.pretrained import from_torchvision
    from utils.system.state_files import assign_strictly

    state = from_torchvision(read_torch_weights(arguments.source))
    source, fits = str(arguments.source), from_classifier_names(state)
    assign_strictly(HashNet(bit=16), fits, source, partial=(HashNet.HASH_LAYER,))
    with atomic_write(arguments.output) as temporary:
        paddle.save(state, str(temporary))
    tell(f"{len(state)} arrays of {arguments.source} written to {arguments.output}")


if __name__ == "__main__":
    sys.exit(run_command(main))
