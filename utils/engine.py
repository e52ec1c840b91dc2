"""The two loops over batches: one epoch of training, and images → codes.

The second may run without Paddle: with an exported model that needs none.
"""

from __future__ import annotations

import logging
import operator
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from utils.datasets.loader import BatchLoader
from utils.system import distributed
from utils.system.errors import Interrupted, UserError
from utils.system.logger import progress

if TYPE_CHECKING:
    import paddle

_log = logging.getLogger(__name__)


class StopFlag(Protocol):
    """A request to stop, such as `utils.training.preemption.StopRequest`."""

    def agreed(self, step: int) -> bool:
        """Whether all ranks stop before this step; they ask together."""

    def pauses(self, step: int) -> bool:
        """Whether all ranks leave a training's steps here, to stop or to save."""


@dataclass(frozen=True)
class EpochResult:
    """The steps of an epoch: loss and number of images of each, over all ranks.

    `reader_seconds` is the part of the wall time that this rank spent waiting for images.
    """

    losses: tuple[float, ...]
    counts: tuple[int, ...]
    seconds: float
    reader_seconds: float

    def __add__(self, later: EpochResult) -> EpochResult:
        """Of two parts of an epoch, the whole."""
        return EpochResult(*map(operator.add, astuple(self), astuple(later)))


def train_one_epoch(
    network: paddle.nn.Layer,
    criterion: Callable[..., paddle.Tensor],
    optimizer: paddle.optimizer.Optimizer,
    batches: BatchLoader,
    title: str = "epoch",
    log_steps: int = 50,
    stop: StopFlag | None = None,
) -> EpochResult:
    """Takes one optimizer step a batch, until the epoch ends or `stop` pauses it.

    Losses stay on the device until they are logged, so that the host does not wait for each step.
    One argument more than six: nothing holds these parts together but the loop itself.

    Args:
        network: images [n, h, w, 3] uint8 → z [n, bit]; already in training mode.
        criterion: (z, labels, index) → loss.
        optimizer: over the network's parameters, at the epoch's rate.
        batches: of the training set, at the epoch and step to begin with.
        title: how the log lines and the progress bar begin, such as 'Epoch[001/150]'.
        log_steps: steps from one log line to the next. Its 'reader' is the share of the time that
            went by waiting for images.
        stop: asked before each step.

    Raises:
        UserError: a loss is not finite; the message names the step.
    """
    import paddle

    losses: list[paddle.Tensor] = []
    counts: list[int] = []
    begin = logged = waiting = time.perf_counter()
    reader_seconds = reader_logged = 0.0
    first, steps_logged = batches.first_step, 0
    bar = progress(on_device(batches), title, len(batches), first)
    for step, (batch, tensors) in enumerate(bar, first):
        reader_seconds += time.perf_counter() - waiting
        # Never to save before a step was taken, or it would save for ever.
        if stop is not None and (stop.pauses(step) if losses else stop.agreed(step)):
            break
        # Anew each step, so that dropout needs no saved state; ranks drop differently.
        paddle.seed(batches.dropout_seed(step))
        losses.append(_take_step(network, criterion, optimizer, tensors))
        counts.append(int((batch[-1] >= 0).sum()))
        if step % log_steps == 0:
            value = float(losses[-1])  # waits for the step, so that its time is a whole one
            if not np.isfinite(value):
                _finite(losses, first)
            now, steps = time.perf_counter(), len(losses) - steps_logged
            pace = steps * len(batch[-1]) * distributed.world_size() / (now - logged)
            _log.info(
                f"{title}, Step[{step:04d}/{len(batches):04d}], Loss: {value:.4f}, "
                f"{pace:.1f} img/s, reader {(reader_seconds - reader_logged) / (now - logged):.0%}"
            )
            logged, reader_logged, steps_logged = now, reader_seconds, len(losses)
        waiting = time.perf_counter()
    over_all_ranks = _over_all_ranks(_finite(losses, first), counts)
    return EpochResult(*over_all_ranks, time.perf_counter() - begin, reader_seconds)


def on_device(
    batches: Iterable[tuple[np.ndarray, ...]],
) -> Iterator[tuple[tuple[np.ndarray, ...], list[paddle.Tensor]]]:
    """Each batch, and the same as tensors on Paddle's current device.

    On a GPU the host waits for no copy: one ahead, a batch goes through pinned memory and a copy on
    the stream that computes. Its source is kept until the step was taken, and by Paddle
    (`Tensor._copy_to`) until the copy is done.
    """
    import paddle

    if paddle.device.get_device() == "cpu":
        for batch in batches:
            yield batch, list(map(paddle.to_tensor, batch))
        return
    waiting: deque = deque()
    for batch in batches:
        pinned = [paddle.to_tensor(array, place=paddle.CUDAPinnedPlace()) for array in batch]
        waiting.append((batch, [source.cuda(blocking=False) for source in pinned], pinned))
        if len(waiting) > 1:
            batch, tensors, _source = waiting.popleft()
            yield batch, tensors
    for batch, tensors, _source in waiting:
        yield batch, tensors


def _take_step(
    network: paddle.nn.Layer,
    criterion: Callable[..., paddle.Tensor],
    optimizer: paddle.optimizer.Optimizer,
    batch: list[paddle.Tensor],
) -> paddle.Tensor:
    import paddle

    images, labels, index = batch
    loss = criterion(network(images), labels, index)
    loss.backward()
    distributed.average_gradients(network)
    # Paddle names the optimizer's states at its first step; without the guard those of a second
    # training in one process get other names, and its saved state fits no other.
    with paddle.utils.unique_name.guard():
        optimizer.step()
    optimizer.clear_grad()
    distributed.average_statistics(network)
    return loss.detach()


def _finite(losses: list[paddle.Tensor], first: int) -> list[float]:
    values = list(map(float, losses))
    for step, value in enumerate(values, first):
        if not np.isfinite(value):
            raise UserError(
                f"the loss is {value} at step {step} of this epoch; the weights of the last "
                "saved state are untouched; a lower --learning-rate may help"
            )
    return values


def _over_all_ranks(
    losses: list[float], counts: list[int]
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Each step's loss and number of images, from those of the ranks."""
    if not losses:  # on any rank; an exchange of nothing ends the process (gloo)
        return (), ()
    all_ranks = distributed.gather_array(np.array([[losses, counts]], float))
    images = all_ranks[:, 1].sum(axis=0)
    means = (all_ranks[:, 0] * all_ranks[:, 1]).sum(axis=0) / images
    return tuple(means.tolist()), tuple(images.astype(int).tolist())


def encode(
    to_rows: Callable[[np.ndarray], np.ndarray],
    batches: BatchLoader,
    title: str = "encoding",
    stop: StopFlag | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Computes a row for each image, each rank its share of them; all ranks get all rows.

    `to_rows` makes packed codes [n, bit / 8] uint8, or z [n, bit] float32, of images [n, h, w, 3]
    uint8; the batches are of a split in list order; `stop` is asked before each, and `Interrupted`
    raised where it is agreed on. Returns the rows, and the indices [n] int64 of their images,
    rising.
    """
    rows, index = [], []
    for step, (images, of_images) in enumerate(progress(batches, title, len(batches))):
        if stop is not None and stop.agreed(step):
            raise Interrupted
        rows.append(to_rows(images))
        index.append(of_images)
    rows, index = map(distributed.gather_array, map(np.concatenate, (rows, index)))
    present = np.flatnonzero(index >= 0)
    order = present[np.argsort(index[present], kind="stable")]
    return rows[order], index[order]
