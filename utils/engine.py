"""The two loops over batches: one epoch of training, and pictures → codes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import paddle

from utils.codes import pack_codes
from utils.errors import UserError


@dataclass(frozen=True)
class EpochSummary:
    """What one epoch of training came to.

    Attributes:
        loss: mean over the epoch's pictures.
        pictures: how many were seen.
        seconds: wall time.
        reader_seconds: the part of it spent waiting for pictures.
    """

    loss: float
    pictures: int
    seconds: float
    reader_seconds: float


def train_one_epoch(
    network: Callable[[paddle.Tensor], paddle.Tensor],
    criterion: Callable[..., paddle.Tensor],
    optimizer: paddle.optimizer.Optimizer,
    batches: Iterable,
    report_every: int,
    report: Callable[[int, float], None],
) -> EpochSummary:
    """Takes one optimizer step a batch.

    Losses stay on the device and are read every `report_every` steps, so that the host does not
    wait for each step.

    Args:
        network: pictures [n, h, w, 3] uint8 → z [n, bit]; already in training mode.
        criterion: (z, labels, rows) → loss.
        optimizer: over the network's parameters, at the epoch's rate.
        batches: of (pictures, labels, rows); see `utils.datasets.Batches`.
        report_every: steps between two calls of `report`, the first step's being one.
        report: called with (step from 0, the step's loss).

    Raises:
        UserError: a loss is not finite; the message names the step.
    """
    losses: list[paddle.Tensor] = []
    sizes: list[int] = []
    begin, reader_seconds = time.perf_counter(), 0.0
    waiting_since = begin
    for step, (pictures, labels, rows) in enumerate(batches):
        reader_seconds += time.perf_counter() - waiting_since
        loss = criterion(network(pictures), labels, rows)
        loss.backward()
        # Paddle names the optimizer's states at its first step; without the guard those of a
        # second training in one process get other names, and its saved state fits no other.
        with paddle.utils.unique_name.guard():
            optimizer.step()
        optimizer.clear_grad()
        losses.append(loss.detach())
        sizes.append(len(rows))
        if step % report_every == 0:
            report(step, _finite(loss, step))
        waiting_since = time.perf_counter()
    values = [_finite(loss, step) for step, loss in enumerate(losses)]
    return EpochSummary(
        loss=float(np.average(values, weights=sizes)),
        pictures=sum(sizes),
        seconds=time.perf_counter() - begin,
        reader_seconds=reader_seconds,
    )


def _finite(loss: paddle.Tensor, step: int) -> float:
    value = float(loss)
    if not np.isfinite(value):
        raise UserError(
            f"the loss is {value} at step {step} of this epoch; the weights of the last saved "
            "state are untouched; a lower --learning-rate may help"
        )
    return value


@paddle.no_grad()
def encode(network: Callable[[paddle.Tensor], paddle.Tensor], batches: Iterable) -> np.ndarray:
    """Computes the codes of pictures, in the order of the batches.

    Args:
        network: pictures [n, h, w, 3] uint8 → z [n, bit]; already in evaluation mode.
        batches: of (pictures, rows), at least one.

    Returns:
        [n, bit / 8] uint8, packed (`utils.codes.pack_codes`).

    Raises:
        UserError: z is not a number (weights that a training has ruined).
    """
    return np.concatenate([pack_codes(network(pictures).numpy()) for pictures, _ in batches])
