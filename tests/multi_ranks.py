"""What the ranks of tests/training/test_multi_ranks.py do.

`multi_ranks.py FUNCTION JSON RANKS [DEVICE]`; the device is the CPU where none is given.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from utils.datasets import Split
from utils.datasets.images import ImageArray
from utils.datasets.loader import BatchLoader, LoaderOptions
from utils.datasets.transforms import build_transform
from utils.system.errors import UserError, run_command
from utils.system.runtime import setup_paddle

BIT, CLASSES, SIDE = 8, 3, 12


def main() -> int:
    """Starts Paddle, hands over to all ranks."""
    function, argument, ranks, device = [*sys.argv[1:], "cpu"][:4]
    setup_paddle()
    from utils.system.launcher import run_on_all_ranks

    return run_on_all_ranks(globals()[function], json.loads(argument), int(ranks), device)


class Drawn(ImageArray):
    """Images of random pixels; some are damaged."""

    def __init__(self, rows: int, bad: list[int]):
        rng = np.random.default_rng(3)
        super().__init__(rng.integers(0, 256, (rows, SIDE, SIDE, 3), np.uint8), ())
        self._bad = bad

    def open(self, index: int, least_side: int = 0) -> Image.Image:
        """One image."""
        if index in self._bad:
            raise UserError(f"{index}: damaged")
        return super().open(index)


def loading_of(rows: int, bad: list[int], batch: int, **_) -> tuple:
    """The first arguments of a loader: images with labels, what they go through, and how many."""
    labels = np.random.default_rng(4).integers(0, 2, (rows, CLASSES), np.uint8)
    split = Split("train", Drawn(rows, bad), labels, {})
    return split, build_transform("square", SIDE, SIDE), batch, LoaderOptions(0, True)


def train_all(tasks: list[dict[str, Any]]) -> int:
    """Trains one task after the other, each with new parts."""
    import paddle

    from utils.system import distributed

    paddle.set_default_dtype("float64")  # where rounding hides nothing
    for task in tasks:
        train(task)
        distributed.barrier()
    return 0


def train(task: dict[str, Any]) -> None:
    """Trains, encodes, and writes what came out to `folder/rank{r}.pkl`.

    Each rank draws other first weights, so that equal ones at the end come from rank 0.
    """
    import paddle
    from small_network import SmallHashNet, values

    from utils.codes import pack_codes
    from utils.engine import encode, train_one_epoch
    from utils.loss import HashNetLoss
    from utils.system import distributed

    class Small(paddle.nn.Layer):
        """Bytes → z of the small network, dropout off."""

        def __init__(self):
            super().__init__()
            self.net = SmallHashNet(BIT)
            self.net.eval()

        def forward(self, images):
            numbers = images.astype(paddle.get_default_dtype()) / 64 - 2
            return self.net(paddle.transpose(numbers, [0, 3, 1, 2])) * 8

    rank, is_shared = distributed.rank(), task["sampling"] == "shard"
    shard = (rank, distributed.world_size())
    paddle.seed(11 + rank)
    small = Small()
    network = distributed.synchronized(small)
    start = values(small)
    loading = loading_of(**task)
    weighted = task["weighted"]
    criterion = HashNetLoss(BIT, task["rows"], 0.1, CLASSES, is_shared, weighted)
    optimizer = paddle.optimizer.Momentum(0.05, parameters=small.parameters())
    batches = BatchLoader(*loading, shard if is_shared else (0, 1), 5 if is_shared else 5 + rank)
    losses: list[float] = []
    for epoch in (1, 2):
        batches.set_epoch(epoch)
        result = train_one_epoch(network, criterion, optimizer, batches)
        losses += result.losses
    with paddle.no_grad():
        codes, index = encode(
            lambda images: pack_codes(small(paddle.to_tensor(images)).numpy()),
            BatchLoader(*loading, shard),
        )
    found = {
        "start": start,
        "weights": values(small),
        "bank": values(criterion),
        "losses": losses,
        "images": sum(result.counts),
        "codes": codes,
        "index": index,
        "bad": distributed.merged(batches.bad),
    }
    folder = Path(task["folder"])
    folder.mkdir(exist_ok=True)
    (folder / f"rank{rank}.pkl").write_bytes(pickle.dumps(found))


def one_breaks(_: Any) -> int:
    """Rank 1 raises what nobody expected, while rank 0 waits for it."""
    from utils.system import distributed

    if distributed.rank() == 1:
        raise ValueError("a bug of rank 1")
    distributed.barrier()
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
