"""Batches of a split: order, augmentation and sharding, from Paddle's own loader."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator

import numpy as np
import paddle
from PIL import Image

from utils import distributed
from utils.datasets import Split
from utils.errors import UserError

Transform = Callable[[Image.Image, "np.random.Generator | None"], np.ndarray]


class _Examples(paddle.io.Dataset):
    """A split's transformed pictures; what a row gives depends on (seed, epoch, row) alone."""

    def __init__(self, split: Split, transform: Transform, with_labels: bool, seed: int):
        super().__init__()
        self.epoch = 0
        self._split, self._transform = split, transform
        self._with_labels, self._seed = with_labels, seed

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, row: int) -> tuple | Exception:
        source = row if row >= 0 else ~row  # see `GlobalBatchSampler`
        rng = np.random.default_rng([self._seed, self.epoch, source])
        try:
            picture = self._transform(self._split.pictures.open(source), rng)
        except Exception as error:
            return error  # raised where the batch arrives, see `_collate`
        return (picture, self._split.labels[source], row) if self._with_labels else (picture, row)


def _collate(examples: list) -> list[np.ndarray]:
    """Stacks examples; an error among them becomes a batch of one array, its text.

    Paddle's loader must not see exceptions: without workers it would wait for ever for the batch,
    and with workers it would wrap the message in its own.
    """
    for example in examples:
        if isinstance(example, UserError):
            return [np.frombuffer(str(example).encode(), dtype=np.uint8)]
        if isinstance(example, Exception):
            text = "".join(traceback.format_exception(None, example, example.__traceback__))
            return [np.frombuffer(text.encode(), dtype=np.int8)]
    return [np.stack(column) for column in zip(*examples)]


class GlobalBatchSampler(paddle.io.BatchSampler):
    """Cuts an epoch's order into global batches, and each of them into the ranks' shares.

    The global batches are those of one process whose batch is `ranks · batch_size`. All shares of
    a global batch have one size; where its rows do not suffice, the last shares are filled up with
    its first row, written ~row (below 0), to be left out of everything but the network's input.
    (Paddle's own sampler fills up the set before it shuffles, so that nothing tells the filling.)

    Args:
        rows: n, the rows of the split.
        batch_size: rows of a share, at most.
        ranks: N, how many share a global batch.
        rank: whose shares these are.
        shuffle: a new order each epoch; else 0, 1, … n - 1.

    Yields:
        The rows of a share, one list a global batch.
    """

    def __init__(self, rows: int, batch_size: int, ranks: int, rank: int, shuffle: bool):
        self.batch_size, self.drop_last = batch_size, False
        self._rows, self._ranks, self._rank = rows, ranks, rank
        self._shuffle, self._seed = shuffle, 0

    def set_seed(self, seed: int) -> None:
        """Chooses the order of the next iterations."""
        self._seed = seed

    def __len__(self) -> int:
        return -(-self._rows // (self._ranks * self.batch_size))

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(self._rows))
        if self._shuffle:
            np.random.RandomState(self._seed).shuffle(order)
        step = self._ranks * self.batch_size
        for begin in range(0, self._rows, step):
            batch = order[begin : begin + step]
            share = -(-len(batch) // self._ranks)
            batch += [~batch[0]] * (self._ranks * share - len(batch))
            yield batch[self._rank * share : (self._rank + 1) * share]


class Batches:
    """A split's batches, loaded by worker processes; iterate once an epoch.

    The rows are shuffled anew from (seed, epoch) for training and stand in list order otherwise.
    This is the only place that shards rows over ranks. The number of workers changes nothing but
    speed.

    Args:
        split: the pictures and labels.
        transform: RGB picture → [h, w, 3] uint8.
        batch_size: pictures a batch and rank; the last batch may be smaller.
        num_workers: loading processes; 0 loads in this one.
        training: shuffled, with labels; else in list order, without.
        seed: of order and augmentation.
        shared: each rank gets its share of the rows; else every rank gets all of them.

    Yields:
        In training (pictures [n, h, w, 3] uint8, labels [n, num_class] uint8, rows [n] int64),
        else (pictures, rows), as tensors. Rows below 0 fill up a share and count nowhere
        (`GlobalBatchSampler`).

    Raises:
        UserError: a picture is missing or damaged.
    """

    def __init__(
        self,
        split: Split,
        transform: Transform,
        batch_size: int,
        num_workers: int = 0,
        training: bool = False,
        seed: int = 0,
        shared: bool = True,
    ):
        self._examples = _Examples(split, transform, training, seed)
        self._seed = seed
        ranks, rank = (distributed.world_size(), distributed.rank()) if shared else (1, 0)
        self._sampler = GlobalBatchSampler(len(split), batch_size, ranks, rank, training)
        self._loader = paddle.io.DataLoader(
            self._examples,
            batch_sampler=self._sampler,
            num_workers=num_workers if len(self._sampler) > 1 else 0,
            collate_fn=_collate,
            # Paddle 3.3.1's hand-over through shared memory was seen to wait for ever after a fork.
            use_shared_memory=False,
        )

    def __len__(self) -> int:
        return len(self._sampler)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order and augmentation the next iteration gives."""
        self._examples.epoch = epoch
        self._sampler.set_seed(derived_seed(self._seed, epoch))

    def __iter__(self) -> Iterator[list[paddle.Tensor]]:
        for batch in self._loader:
            if len(batch) == 1:
                text = batch[0].numpy()
                kind = UserError if text.dtype == np.uint8 else RuntimeError
                raise kind(text.tobytes().decode())
            yield batch


def derived_seed(*numbers: int) -> int:
    """A 31-bit seed that depends on all of `numbers` and is unrelated for related ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)
