"""Batches of a split: order, augmentation and sharding; pictures loaded ahead, in threads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from paddle.io import BatchSampler

from utils.datasets import Split
from utils.datasets.cache import PictureCache
from utils.datasets.prefetch import prepared
from utils.datasets.transforms import Transform
from utils.system import distributed
from utils.system.errors import UserError

PART = 8
"""Pictures that a thread takes at a time, at most."""
BATCHES_AHEAD = 2
REPLACEMENTS = 100
"""How many pictures are tried in place of a bad one."""


@dataclass(frozen=True)
class Loading:
    """How pictures are loaded. Threads and cache change nothing but speed.

    Attributes:
        threads: that load pictures ahead; 0: the caller's own loads each batch when asked.
        skip_bad: a picture that cannot be read is replaced in training and left out elsewhere;
            else it is an error.
        cache: keeps scaled pictures, made with the transforms' scaling; None: nothing is kept.
    """

    threads: int = 0
    skip_bad: bool = False
    cache: PictureCache | None = None


class GlobalBatchSampler(BatchSampler):
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


class _Batch(NamedTuple):
    """A batch in the making: each row's picture is written into its place."""

    pictures: np.ndarray
    rows: np.ndarray


class Batches:
    """A split's batches; iterate once an epoch.

    The rows are shuffled anew from (seed, epoch) for training and stand in list order otherwise.
    This is the only place that shards rows over ranks. What a row gives depends on (seed, epoch,
    row) alone. So does the picture that takes a bad one's place in training, with its own labels
    and row; it may stand in the epoch's order too, and then comes twice.

    Args:
        split: the pictures and labels.
        transform: RGB picture → [side, side, 3] uint8.
        batch_size: pictures a batch and rank; the last batch may be smaller.
        loading: threads, cache, what to do about bad pictures.
        training: shuffled, with labels; else in list order, without.
        seed: of order and augmentation.
        shared: each rank gets its share of the rows; else every rank gets all of them.

    Yields:
        In training (pictures [n, side, side, 3] uint8, labels [n, num_class] uint8, rows [n]
        int64), else (pictures, rows): arrays of their own. Rows below 0 count nowhere: they fill
        up a share (`GlobalBatchSampler`), or their picture could not be read.

    Attributes:
        bad: what was wrong with each bad picture met so far on this rank, by row.

    Raises:
        UserError: a picture is missing or damaged.
    """

    def __init__(
        self,
        split: Split,
        transform: Transform,
        batch_size: int,
        loading: Loading | None = None,
        training: bool = False,
        seed: int = 0,
        shared: bool = True,
    ):
        self.bad: dict[int, str] = {}
        self._split, self._transform = split, transform
        self._loading = loading or Loading()
        self._training, self._seed, self._epoch, self._first = training, seed, 0, 0
        ranks, rank = (distributed.world_size(), distributed.rank()) if shared else (1, 0)
        self._sampler = GlobalBatchSampler(len(split), batch_size, ranks, rank, training)

    def __len__(self) -> int:
        return len(self._sampler)

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Chooses the epoch whose order and augmentation the next iteration gives.

        Args:
            epoch: from 1.
            first: the batch it begins with, from 0; those before it are not loaded.
        """
        self._epoch, self._first = epoch, first
        self._sampler.set_seed(derived_seed(self._seed, epoch))

    def all_bad(self) -> dict[int, str]:
        """`bad` of all ranks, in the order of rows; they call it together."""
        bad: dict[int, str] = {}
        for found in distributed.gather_objects(self.bad):
            bad.update(found)
        return dict(sorted(bad.items()))

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        threads = self._loading.threads
        ahead = max(BATCHES_AHEAD, -(-2 * threads * PART // self._sampler.batch_size))
        empty = map(self._empty_batch, itertools.islice(self._sampler, self._first, None))
        for batch in prepared(empty, self._parts, self._load, threads, ahead):
            if self._training:
                labels = self._split.labels[np.where(batch.rows >= 0, batch.rows, ~batch.rows)]
                yield batch.pictures, labels, batch.rows
            else:
                yield batch.pictures, batch.rows

    def _empty_batch(self, rows: list[int]) -> _Batch:
        side = self._transform.crop_size
        return _Batch(np.empty((len(rows), side, side, 3), np.uint8), np.array(rows, np.int64))

    def _parts(self, batch: _Batch) -> Iterator[range]:
        size, threads = len(batch.rows), max(1, self._loading.threads)
        step = min(PART, -(-size // threads))
        return (range(begin, min(begin + step, size)) for begin in range(0, size, step))

    def _load(self, batch: _Batch, places: range) -> None:
        for place in places:
            row = int(batch.rows[place])
            source = row if row >= 0 else ~row
            rng = self._rng(source) if self._training else None
            try:
                batch.pictures[place] = self._read(source, rng)
            except UserError as error:
                if not self._loading.skip_bad:
                    raise
                self.bad[source] = str(error)
                if self._training and row >= 0:
                    batch.rows[place], batch.pictures[place] = self._another(source)
                else:
                    batch.rows[place], batch.pictures[place] = ~source, 0

    def _rng(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, self._epoch, *numbers])

    def _read(self, row: int, rng: np.random.Generator | None) -> np.ndarray:
        pictures, scaling = self._split.pictures, self._transform.scaling
        cache = self._loading.cache
        if cache is None:
            return self._transform(pictures.open(row, scaling.least_side), rng)
        key = pictures.key(row)
        scaled = cache.get(key)
        if scaled is None:
            scaled = scaling(pictures.open(row, scaling.least_side))
            cache.add(key, scaled)
        return self._transform.cut(scaled, rng)

    def _another(self, bad: int) -> tuple[int, np.ndarray]:
        rng = self._rng(bad, 1)
        for _ in range(REPLACEMENTS):
            row = int(rng.integers(len(self._split)))
            try:
                return row, self._read(row, rng)
            except UserError as error:
                self.bad[row] = str(error)
        raise UserError(f"{self.bad[bad]}; nor can {REPLACEMENTS} others that were tried instead")


def derived_seed(*numbers: int) -> int:
    """A 31-bit seed that depends on all of `numbers` and is unrelated for related ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)
