"""Batches of a split: order, augmentation and sharding; images loaded ahead, in threads.

Not Paddle's DataLoader, for determinism: what an image becomes depends on (seed, epoch, index)
alone, whatever the number of threads; a bad image is replaced or left out without a word to other
ranks; a sampler that pads tells its padding. Threads and not processes: Pillow works outside
Python's lock, nothing is copied between processes, and nothing forks one that computes.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.datasets import Split
from utils.datasets.cache import read_cached, write_cached
from utils.datasets.transforms import Transform
from utils.system.errors import UserError

IMAGES_A_TASK = 8
"""What a thread loads at a time, at most: for single images, handing over costs as much."""
BATCHES_AHEAD = 2
"""Loaded ahead, at least; and two tasks for each thread."""
REPLACEMENTS = 100
"""How many images are tried in place of a bad one."""
MAX_SHOWN = 20
"""Bad images named in the log at a time; the metrics file names all."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoaderOptions:
    """How images are loaded; threads (0: none ahead) and a cache change nothing but speed.

    With `skip_bad`, an image that cannot be read is replaced in training and left out elsewhere;
    else it is an error.
    """

    threads: int = 0
    skip_bad: bool = False
    cache: Path | None = None


class BatchLoader:
    """A split's batches; iterate once an epoch.

    Images are shuffled anew from (seed, epoch) for training and stand in list order otherwise.
    This is the only place that shards them over ranks. A bad image's place is taken, in training,
    by one drawn from (seed, epoch, index), with its own labels and index.

    Args:
        split: the images and labels.
        transform: RGB image → [side, side, 3] uint8.
        batch_size: images a batch and rank; the last batch may be smaller.
        options: how images are loaded.
        shard: (rank, ranks): this one's part of a batch that ranks share.
        seed: of order and augmentation in training; None: list order, without labels.

    Yields:
        Images [n, side, side, 3] uint8, in training labels [n, num_class] uint8, and indices [n]
        int64. An index below 0 counts nowhere: it pads a share, or the image could not be read.

    Attributes:
        bad: what was wrong with each bad image met so far on this rank, by index.
        first_step: the batch that the next iteration begins with, from 0.
    """

    def __init__(
        self,
        split: Split,
        transform: Transform,
        batch_size: int,
        options: LoaderOptions | None = None,
        shard: tuple[int, int] = (0, 1),
        seed: int | None = None,
    ):
        self.bad: dict[int, str] = {}
        self._split, self._transform, self._batch_size = split, transform, batch_size
        self._options = options or LoaderOptions()
        self._shard, self._seed = shard, seed
        self._epoch, self.first_step = 0, 0

    def __len__(self) -> int:
        return -(-len(self._split.labels) // (self._batch_size * self._shard[1]))

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Chooses the epoch, from 1, and the batch, from 0, that the next iteration begins with."""
        self._epoch, self.first_step = epoch, first

    def dropout_seed(self, step: int) -> int:
        """The seed of what a training step draws, other on each rank."""
        return derived_seed(self._seed + self._shard[0], self._epoch, step)

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        order = list(range(len(self._split.labels)))
        if self._seed is not None:
            np.random.RandomState(derived_seed(self._seed, self._epoch)).shuffle(order)
        batches = shares_of_batches(order, self._batch_size, *self._shard)
        batches = itertools.islice(batches, self.first_step, None)
        threads = self._options.threads
        least = -(-2 * IMAGES_A_TASK * threads // self._batch_size)
        ahead = max(BATCHES_AHEAD, least) if threads else 0
        waiting: deque = deque()
        pool = ThreadPoolExecutor(threads or 1, thread_name_prefix="loader")
        try:
            for batch in batches:
                waiting.append(self._begin(batch, pool))
                if len(waiting) > ahead:
                    yield self._finish(*waiting.popleft())
            while waiting:
                yield self._finish(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _begin(self, batch: list[int], pool: Executor) -> tuple:
        side = self._transform.crop_size
        images, index = np.empty((len(batch), side, side, 3), np.uint8), np.array(batch, np.int64)
        size = min(IMAGES_A_TASK, -(-len(batch) // (self._options.threads or 1)))
        cuts = range(size, len(batch), size)
        return images, index, pool.map(self._fill, np.split(images, cuts), np.split(index, cuts))

    def _finish(self, images: np.ndarray, index: np.ndarray, filled: Iterable) -> tuple:
        list(filled)  # waits for its tasks, and raises what they raised
        if self._seed is None:
            return images, index
        return images, self._split.labels[np.where(index >= 0, index, ~index)], index

    def _fill(self, images: np.ndarray, index: np.ndarray) -> None:
        """Loads a task's images into their places: its thread uses the same memory again."""
        for place, wanted in enumerate(index.tolist()):
            index[place], images[place] = self._load(wanted)

    def _load(self, index: int) -> tuple[int, np.ndarray]:
        """An image's pixels, and the index they count for."""
        image = index if index >= 0 else ~index
        try:
            return index, self._read(image, self._rng(image))
        except UserError as error:
            if not self._options.skip_bad:
                raise UserError(f"{error}; --on-bad-image skip goes on without it") from error
            self.bad[image] = str(error)
            if self._seed is not None and index >= 0:
                return self._another(image)
            side = self._transform.crop_size
            return ~image, np.zeros((side, side, 3), np.uint8)

    def _rng(self, *numbers: int) -> np.random.Generator | None:
        if self._seed is None:
            return None
        return np.random.default_rng([self._seed, self._epoch, *numbers])

    def _read(self, index: int, rng: np.random.Generator | None) -> np.ndarray:
        images, resize, cache = self._split.images, self._transform.resize, self._options.cache
        key = images.key(index) if cache else ""
        resized = read_cached(cache, key) if cache else None
        if resized is None or (min(resized.shape[:2]), *resized.shape[2:]) != (resize.side, 3):
            resized = resize(images.open(index, resize.least_side))
            if cache:
                write_cached(cache, key, resized)
        return self._transform.crop(resized, rng)

    def _another(self, bad: int) -> tuple[int, np.ndarray]:
        rng = self._rng(bad, 1)
        for _ in range(REPLACEMENTS):
            index = int(rng.integers(len(self._split)))
            try:
                return index, self._read(index, rng)
            except UserError as error:
                self.bad[index] = str(error)
        raise UserError(f"{self.bad[bad]}; nor can {REPLACEMENTS} others that were tried instead")


def shares_of_batches(
    order: list[int], batch_size: int, rank: int, ranks: int
) -> Iterator[list[int]]:
    """Cuts an epoch's order into global batches of `ranks · batch_size`; yields one rank's shares.

    All shares of a global batch have one size; where its images do not suffice, the last shares
    are padded with its first index, written ~index (below 0), to be left out of everything but
    the network's input. (Paddle's own sampler pads the set before it shuffles, so that nothing
    tells the padding.)
    """
    step = ranks * batch_size
    for begin in range(0, len(order), step):
        batch = order[begin : begin + step]
        share = -(-len(batch) // ranks)
        batch += [~batch[0]] * (ranks * share - len(batch))
        yield batch[rank * share : (rank + 1) * share]


def first_images(
    split: Split, transform: Transform, count: int, options: LoaderOptions
) -> np.ndarray:
    """The first images of a split that can be read: [count, side, side, 3] uint8, or fewer."""
    loader = BatchLoader(split, transform, count, replace(options, threads=0))
    pixels: list[np.ndarray] = []
    for images, index in loader:
        pixels += list(images[index >= 0])
        if len(pixels) >= count:
            break
    if not pixels:
        raise none_readable(split, loader.bad)
    return np.stack(pixels[:count])


def none_readable(split: Split, bad: dict[int, str]) -> UserError:
    """The error of a split of which no image can be read."""
    return UserError(f"{bad[min(bad)]}; nor can any other of the {len(split)} images be used")


class BadImageReport:
    """Warns of bad images in the log, of each once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def warn(self, problems: Iterable[str], what: str) -> None:
        """Names the problems that are new, behind their number and `what` they come to."""
        new = [problem for problem in problems if problem not in self._said]
        if new:
            _log.warning(f"{len(new)} {what}:")
        for problem in new[:MAX_SHOWN]:
            _log.warning(f"  {problem}")
        if len(new) > MAX_SHOWN:
            _log.warning(f"  and {len(new) - MAX_SHOWN} more; the metrics file names all")
        self._said.update(new)


def derived_seed(*numbers: int) -> int:
    """A 31-bit seed that depends on all of `numbers` and is unrelated for related ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)
