"""The masked form of the loss, and the two forms side by side on the same batches."""

from __future__ import annotations

import os

import numpy as np
import paddle

from scripts.benchmarks.coco_codes import drawn_labels
from utils.loss import HashNetLoss

ALPHA = 0.1


def masked_loss(
    z: paddle.Tensor,
    labels: paddle.Tensor,
    rows: paddle.Tensor,
    bank_codes: paddle.Tensor,
    bank_labels: paddle.Tensor,
) -> paddle.Tensor:
    """HashNet's loss with a mask for each side; writes the batch's rows of the bank.

    Args:
        z: [n, bit] float32.
        labels: [n, classes] float32 of 0 and 1.
        rows: [n] int64, rows of the bank.
        bank_codes: [N, bit] float32, changed in place.
        bank_labels: [N, classes] float32, changed in place.
    """
    u = paddle.tanh(z)
    with paddle.no_grad():
        bank_codes[rows] = u.detach()
        bank_labels[rows] = labels
    similar = paddle.matmul(labels, bank_labels, transpose_y=True) > 0
    theta = ALPHA * paddle.matmul(u, bank_codes, transpose_y=True)
    loss = paddle.log(1 + paddle.exp(-paddle.abs(theta)))
    loss = loss + paddle.maximum(theta, paddle.zeros_like(theta))
    loss = loss - similar.astype("float32") * theta
    for side in (similar, paddle.logical_not(similar)):
        count = side.astype("float32").sum()
        if count > 0:
            loss[side] = loss[side] * (loss.size / count)
    return loss.mean()


class Competition:
    """Two banks in step: one for each form, the same batches for both.

    Args:
        batch: n, pictures a batch.
        bank: N, rows of the bank; it is full from the start.
        bit: length of the codes.
        seed: of codes, labels and batches.
    """

    def __init__(self, batch: int, bank: int, bit: int, seed: int):
        self._rng = np.random.default_rng(seed)
        self._batch, self._shape = batch, (bank, bit)
        self._labels = drawn_labels(1, bank, self._rng).database.astype(np.float32)
        self._loss = HashNetLoss(bit, bank, ALPHA, self._labels.shape[1])
        codes = np.tanh(self._rng.normal(size=self._shape)).astype(np.float32)
        self._loss.codes.set_value(codes)
        self._loss.labels.set_value(self._labels)
        self._masked_bank = paddle.to_tensor(codes), paddle.to_tensor(self._labels)
        self.next_batch()

    @property
    def threads(self) -> int:
        """How many threads Paddle's CPU maths uses."""
        return int(os.environ["OMP_NUM_THREADS"])

    def next_batch(self) -> None:
        """Draws the next batch."""
        bank, bit = self._shape
        rows = self._rng.permutation(bank)[: self._batch]
        self._z = self._rng.normal(size=(self._batch, bit)).astype(np.float32)
        self._inputs = paddle.to_tensor(self._labels[rows]), paddle.to_tensor(rows)

    def closed_step(self) -> tuple[float, np.ndarray]:
        """Value and gradient of `utils.loss.HashNetLoss`."""
        return self._step(self._loss)

    def masked_step(self) -> tuple[float, np.ndarray]:
        """Value and gradient of `masked_loss`."""
        return self._step(lambda *inputs: masked_loss(*inputs, *self._masked_bank))

    def _step(self, loss) -> tuple[float, np.ndarray]:
        z = paddle.to_tensor(self._z, stop_gradient=False)
        value = loss(z, *self._inputs)
        value.backward()
        return float(value), z.grad.numpy()

    def differences(self) -> dict[str, float]:
        """How far the forms are apart, relative to the masked one."""
        (value, gradient), (expected, slope) = self.closed_step(), self.masked_step()
        far = np.linalg.norm(gradient - slope) / np.linalg.norm(slope)
        return {
            "value_difference": abs(value - expected) / abs(expected),
            "gradient_difference": float(far),
        }
