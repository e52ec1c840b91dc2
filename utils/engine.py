"""The two loops over batches: one epoch of training, and pictures → codes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import paddle

from utils import distributed
from utils.errors import UserError


@dataclass(frozen=True)
class EpochSummary:
    """What one epoch of training came to, over all ranks.

    Attributes:
        loss: mean over the epoch's pictures.
        pictures: how many were seen.
        seconds: wall time.
        reader_seconds: the part of it that this rank spent waiting for pictures.
        batch_seconds: wall time of a step, on average.
    """

    loss: float
    pictures: int
    seconds: float
    reader_seconds: float
    batch_seconds: float


@dataclass
class Pace:
    """How fast the steps since the last report went.

    Attributes:
        steps: how many there were.
        pictures: how many pictures all ranks saw in them.
        seconds: their wall time.
        reader_seconds: the part of it that this rank spent waiting for pictures.
    """

    steps: int = 0
    pictures: int = 0
    seconds: float = 0.0
    reader_seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.pictures / self.seconds:.1f} img/s, "
            f"reader {self.reader_seconds / self.steps:.3f} s, "
            f"batch {self.seconds / self.steps:.3f} s"
        )


def train_one_epoch(
    network: Callable[[paddle.Tensor], paddle.Tensor],
    criterion: Callable[..., paddle.Tensor],
    optimizer: paddle.optimizer.Optimizer,
    batches: Iterable,
    report_every: int,
    report: Callable[[int, float, Pace], None],
) -> EpochSummary:
    """Takes one optimizer step a batch.

    Losses stay on the device and are read every `report_every` steps, so that the host does not
    wait for each step.

    Args:
        network: pictures [n, h, w, 3] uint8 → z [n, bit]; already in training mode.
        criterion: (z, labels, rows) → loss.
        optimizer: over the network's parameters, at the epoch's rate.
        batches: of arrays (pictures, labels, rows); see `utils.loader.Batches`.
        report_every: steps between two calls of `report`, the first step's being one.
        report: called with (step from 0, the step's loss, the pace since the last call).

    Raises:
        UserError: a loss is not finite; the message names the step.
    """
    losses: list[paddle.Tensor] = []
    counts: list[int] = []
    begin, reader_seconds = time.perf_counter(), 0.0
    waiting_since, pace_since, pace = begin, begin, Pace()
    for step, (pictures, labels, rows) in enumerate(batches):
        waited = time.perf_counter() - waiting_since
        pictures, labels, index = map(paddle.to_tensor, (pictures, labels, rows))
        loss = criterion(network(pictures), labels, index)
        loss.backward()
        # Paddle names the optimizer's states at its first step; without the guard those of a
        # second training in one process get other names, and its saved state fits no other.
        with paddle.utils.unique_name.guard():
            optimizer.step()
        optimizer.clear_grad()
        losses.append(loss.detach())
        counts.append(int((rows >= 0).sum()))
        reader_seconds += waited
        pace.steps += 1
        pace.pictures += len(rows) * distributed.world_size()
        pace.reader_seconds += waited
        if step % report_every == 0:
            value = _finite(loss, step)  # waits for the step, so that its time is a whole one
            pace.seconds = time.perf_counter() - pace_since
            report(step, value, pace)
            pace_since, pace = time.perf_counter(), Pace()
        waiting_since = time.perf_counter()
    mean, seen = _mean_over_ranks(losses, counts)
    seconds = time.perf_counter() - begin
    return EpochSummary(mean, seen, seconds, reader_seconds, seconds / len(losses))


def _mean_over_ranks(losses: list[paddle.Tensor], counts: list[int]) -> tuple[float, int]:
    """The mean loss of the pictures of all ranks, and how many pictures there were."""
    values = [_finite(loss, step) for step, loss in enumerate(losses)]
    mine = np.array([[np.multiply(values, counts).sum(), np.sum(counts)]])
    (gathered,) = distributed.gather_arrays(mine)
    weighted, seen = gathered.sum(axis=0)
    return float(weighted / seen), int(seen)


def _finite(loss: paddle.Tensor, step: int) -> float:
    value = float(loss)
    if not np.isfinite(value):
        raise UserError(
            f"the loss is {value} at step {step} of this epoch; the weights of the last saved "
            "state are untouched; a lower --learning-rate may help"
        )
    return value


def encode(
    to_codes: Callable[[np.ndarray], np.ndarray], batches: Iterable
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the codes of pictures, each rank its share of them; all ranks get all codes.

    Args:
        to_codes: pictures [n, h, w, 3] uint8 → packed codes [n, bit / 8] uint8 (`utils.coders`).
        batches: of arrays (pictures, rows), at least one; a row below 0 is left out.

    Returns:
        Codes [n, bit / 8] uint8, and their rows [n] int64, rising.

    Raises:
        UserError: the network's output is not a number (weights that a training has ruined).
    """
    parts = [(to_codes(pictures), rows) for pictures, rows in batches]
    codes, rows = distributed.gather_arrays(*(np.concatenate(column) for column in zip(*parts)))
    present = np.flatnonzero(rows >= 0)
    order = present[np.argsort(rows[present], kind="stable")]
    return codes[order], rows[order]
