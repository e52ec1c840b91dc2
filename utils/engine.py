"""The two loops over batches: one epoch of training, and pictures → codes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import paddle

from utils.system import distributed
from utils.system.errors import UserError


@dataclass(frozen=True)
class EpochSummary:
    """What one epoch of training came to, over all ranks.

    Attributes:
        loss: mean over the epoch's pictures.
        pictures: how many were seen.
        seconds: wall time.
        reader_seconds: the part of it that this rank spent waiting for pictures.
        batch_seconds: wall time of a step, on average.
        pictures_per_second: over all ranks.

    Of an epoch that was taken up in its middle, the times are of the steps since then.
    """

    loss: float
    pictures: int
    seconds: float
    reader_seconds: float
    batch_seconds: float
    pictures_per_second: float


class StepLosses:
    """What the steps of an epoch came to so far.

    Losses stay on the device until they are asked for, so that the host does not wait for each
    step.

    Args:
        step: steps done before.
        losses: what those came to, over all ranks; may be of fewer steps, where others took them.
        counts: how many pictures each of them saw.

    Attributes:
        step: steps done.
        losses: of the steps done, over all ranks, up to the newest `settle`.
        counts: how many pictures all ranks saw in each of them.
    """

    def __init__(self, step: int = 0, losses: Sequence[float] = (), counts: Sequence[int] = ()):
        self.step = step
        self.losses, self.counts = list(losses), list(counts)
        self._mine: list[tuple[paddle.Tensor, int]] = []  # since the newest `settle`

    def add(self, loss: paddle.Tensor, count: int) -> None:
        """Notes a step of this rank: its loss, and how many pictures it is the mean of."""
        self._mine.append((loss, count))
        self.step += 1

    def newest(self) -> float:
        """The newest step's loss on this rank; waits until it is computed.

        Raises:
            UserError: it is not finite; the message names the first step that was not.
        """
        value = float(self._mine[-1][0])
        return value if np.isfinite(value) else self._finite()[-1]

    def settle(self) -> None:
        """Exchanges what the ranks have noted; all of them call it together.

        Raises:
            UserError: a loss is not finite; the message names the step.
        """
        if not self._mine:  # on any rank; an exchange of nothing ends the process (gloo)
            return
        mine = np.array([self._finite(), [count for _, count in self._mine]])
        (all_ranks,) = distributed.gather_arrays(mine[None])
        self._mine = []
        losses, counts = all_ranks[:, 0], all_ranks[:, 1]
        pictures = counts.sum(axis=0)
        self.losses += ((losses * counts).sum(axis=0) / pictures).tolist()
        self.counts += pictures.astype(int).tolist()

    def mean(self) -> float:
        """The mean over pictures of the settled steps."""
        return float(np.multiply(self.losses, self.counts).sum() / np.sum(self.counts))

    def _finite(self) -> list[float]:
        values = [float(loss) for loss, _ in self._mine]
        for step, value in enumerate(values, self.step - len(values)):
            if not np.isfinite(value):
                raise UserError(
                    f"the loss is {value} at step {step} of this epoch; the weights of the last "
                    "saved state are untouched; a lower --learning-rate may help"
                )
        return values


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
    losses: StepLosses | None = None,
) -> EpochSummary:
    """Takes one optimizer step a batch.

    Args:
        network: pictures [n, h, w, 3] uint8 → z [n, bit]; already in training mode.
        criterion: (z, labels, rows) → loss.
        optimizer: over the network's parameters, at the epoch's rate.
        batches: of arrays (pictures, labels, rows); see `utils.datasets.loader.Batches`. Those of
            the steps that `losses` has are not among them.
        report_every: steps between two calls of `report`, the first step's being one.
        report: called with (step from 0, the step's loss, the pace since the last call).
        losses: of the epoch's steps that were taken before; the others are added, also where
            `batches` breaks off with an exception. None: there were none before.

    Raises:
        UserError: a loss is not finite; the message names the step.
    """
    losses = losses or StepLosses()
    first, known = losses.step, len(losses.counts)
    begin, reader_seconds = time.perf_counter(), 0.0
    waiting_since, pace_since, pace = begin, begin, Pace()
    for step, (pictures, labels, rows) in enumerate(batches, first):
        waited = time.perf_counter() - waiting_since
        pictures, labels, index = map(paddle.to_tensor, (pictures, labels, rows))
        loss = criterion(network(pictures), labels, index)
        loss.backward()
        # Paddle names the optimizer's states at its first step; without the guard those of a
        # second training in one process get other names, and its saved state fits no other.
        with paddle.utils.unique_name.guard():
            optimizer.step()
        optimizer.clear_grad()
        losses.add(loss.detach(), int((rows >= 0).sum()))
        reader_seconds += waited
        pace.steps += 1
        pace.pictures += len(rows) * distributed.world_size()
        pace.reader_seconds += waited
        if step % report_every == 0:
            value = losses.newest()  # waits for the step, so that its time is a whole one
            pace.seconds = time.perf_counter() - pace_since
            report(step, value, pace)
            pace_since, pace = time.perf_counter(), Pace()
        waiting_since = time.perf_counter()
    losses.settle()
    seconds = time.perf_counter() - begin
    return EpochSummary(
        losses.mean(),
        sum(losses.counts),
        seconds,
        reader_seconds,
        seconds / max(1, losses.step - first),
        sum(losses.counts[known:]) / seconds,
    )


def encode(
    to_codes: Callable[[np.ndarray], np.ndarray], batches: Iterable
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the codes of pictures, each rank its share of them; all ranks get all codes.

    Args:
        to_codes: pictures [n, h, w, 3] uint8 → packed codes [n, bit / 8] uint8.
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
