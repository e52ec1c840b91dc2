"""What the ranks of tests/training/test_multi_ranks.py do; tests/run_ranks.py runs it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from PIL import Image
from small_network import SmallHashNet, values

from utils.codes import pack_codes
from utils.datasets import Split
from utils.datasets.loader import Batches, Loading
from utils.datasets.transforms import Square
from utils.engine import encode, train_one_epoch
from utils.loss import HashNetLoss
from utils.system import distributed
from utils.system.errors import UserError

BIT, CLASSES, SIDE = 8, 3, 12


class Drawn:
    """Pictures of random pixels; some are damaged."""

    def __init__(self, rows: int, bad: tuple[int, ...]):
        self._bad = bad
        self._pixels = np.random.default_rng(3).integers(0, 256, (rows, SIDE, SIDE, 3), np.uint8)

    def open(self, row: int, least_side: int = 0) -> Image.Image:
        """One picture."""
        if row in self._bad:
            raise UserError(f"{row}: damaged")
        return Image.fromarray(self._pixels[row])


def split_of(rows: int, bad: tuple[int, ...]) -> Split:
    """A split of `rows` random pictures and labels."""
    labels = np.random.default_rng(4).integers(0, 2, (rows, CLASSES), np.uint8)
    return Split("train", Drawn(rows, bad), labels, {})


class Small(paddle.nn.Layer):
    """Bytes → z of the small network, dropout off."""

    def __init__(self):
        super().__init__()
        self.net = SmallHashNet(BIT)
        for layer in self.net.sublayers():
            if isinstance(layer, paddle.nn.Dropout):
                layer.p = 0.0

    def forward(self, pictures: paddle.Tensor) -> paddle.Tensor:
        """Computes z."""
        numbers = pictures.astype(paddle.get_default_dtype()) / 64 - 2
        return self.net(paddle.transpose(numbers, [0, 3, 1, 2])) * 8


def train_all(tasks: list[dict[str, Any]]) -> int:
    """Trains one task after the other, each with new parts."""
    for task in tasks:
        paddle.set_default_dtype(task["dtype"])
        train(task)
        distributed.barrier()
    return 0


def train(task: dict[str, Any]) -> None:
    """Trains, encodes, and writes what came out to `folder/rank{r}.pkl`.

    Each rank draws other first weights, so that equal ones at the end come from rank 0.
    """
    rank, shared = distributed.rank(), task["sampling"] == "shard"
    paddle.seed(11 + rank)
    small = Small()
    network = distributed.synchronized(small)
    start = values(small)
    split, loading = split_of(task["rows"], task["bad"]), Loading(skip_bad=True)
    criterion = HashNetLoss(
        BIT, task["rows"], num_class=CLASSES, exchange=distributed.World() if shared else None
    )
    optimizer = paddle.optimizer.Momentum(0.05, parameters=small.parameters())
    seed = 5 if shared else 5 + rank
    batches = Batches(split, Square(SIDE), task["batch"], loading, True, seed, shared)
    steps: list[float] = []
    for epoch in (1, 2):
        batches.set_epoch(epoch)
        summary = train_one_epoch(
            network, criterion, optimizer, batches, 1, lambda step, loss, pace: steps.append(loss)
        )
    small.eval()
    with paddle.no_grad():
        codes, rows = encode(
            lambda pictures: pack_codes(small(paddle.to_tensor(pictures)).numpy()),
            Batches(split, Square(SIDE), task["batch"], loading),
        )
    found = {
        "start": start,
        "weights": values(small),
        "bank": values(criterion),
        "steps": steps,
        "loss": summary.loss,
        "pictures": summary.pictures,
        "codes": codes,
        "rows": rows,
        "bad": batches.all_bad(),
    }
    folder = Path(task["folder"])
    folder.mkdir(exist_ok=True)
    (folder / f"rank{rank}.pkl").write_bytes(pickle.dumps(found))


def user_error(task: dict[str, Any]) -> int:
    """Every rank finds the same mistake."""
    raise UserError("the lists are missing")


def one_breaks(task: dict[str, Any]) -> int:
    """Rank 1 raises what nobody expected, while rank 0 waits for it."""
    if distributed.rank() == 1:
        raise ValueError("a bug of rank 1")
    distributed.barrier()
    return 0
