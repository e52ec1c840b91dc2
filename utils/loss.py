"""The weighted pairwise loss of HashNet and the bank of codes it compares a batch with."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn


class HashNetLoss(nn.Layer):
    """Weighted maximum likelihood over pairs (batch × training set); paper, equations 3 to 5.

    With u = tanh(βz), θ_ij = α u_i·U_j and S_ij = 1 where y_i·Y_j > 0, the pair's loss is
    log(1 + e^θ) - Sθ. A similar pair weighs |S|/|S1|, another |S|/|S0|, and the sum is divided
    by |S|: so the loss is the mean over the similar plus the mean over the dissimilar pairs, and
    a side without pairs contributes 0.

    U and Y are the bank: the last codes and the labels of every training picture, zero until a
    picture is first seen. The batch's rows are written, detached, before the pairs are compared;
    gradient flows through u alone. Buffers `codes` [num_train, bit] and `labels`
    [num_train, num_class], float32, are part of the training state (`state_dict`).

    Args:
        bit: length of the codes.
        num_train: number of training pictures, the rows of the bank.
        alpha: α, the scale of the inner product.
        num_class: number of labels.

    Attributes:
        scale: β, set by whoever runs the continuation (`utils.lr_scheduler`); 1 at the start.
    """

    def __init__(self, bit: int, num_train: int, alpha: float = 0.1, num_class: int = 80):
        super().__init__()
        self.alpha = alpha
        self.scale = 1.0
        self.register_buffer("codes", paddle.zeros([num_train, bit], dtype="float32"))
        self.register_buffer("labels", paddle.zeros([num_train, num_class], dtype="float32"))

    def forward(
        self, z: paddle.Tensor, labels: paddle.Tensor, index: paddle.Tensor
    ) -> paddle.Tensor:
        """The loss of one batch; writes the batch's rows of the bank.

        Args:
            z: [n, bit] float32, the network's output.
            labels: [n, num_class] of 0 and 1, any numeric type.
            index: [n] int64, the pictures' rows in the training list.

        Returns:
            The loss, a float32 scalar.
        """
        u = paddle.tanh(self.scale * z)
        labels = labels.astype("float32")
        self._remember(u, labels, index)
        theta = self.alpha * paddle.matmul(u, self.codes, transpose_y=True)
        similar = paddle.matmul(labels, self.labels, transpose_y=True) > 0
        return weighted_pair_loss(theta, similar.astype("float32"))

    @paddle.no_grad()
    def _remember(self, u: paddle.Tensor, labels: paddle.Tensor, index: paddle.Tensor) -> None:
        paddle.scatter_(self.codes, index, u.detach())
        paddle.scatter_(self.labels, index, labels)


def weighted_pair_loss(theta: paddle.Tensor, similar: paddle.Tensor) -> paddle.Tensor:
    """Mean of log(1 + e^θ) - Sθ over similar pairs plus its mean over the others.

    Args:
        theta: [n, m] float32, the log-odds that a pair is similar.
        similar: S, [n, m] float32 of 0 and 1.

    Returns:
        A float32 scalar; no value leaves the device.
    """
    loss = F.relu(theta) + F.softplus(-paddle.abs(theta)) - similar * theta
    others = 1 - similar
    on_similar, similar_pairs = (loss * similar).sum(), similar.sum()
    on_others, other_pairs = (loss * others).sum(), others.sum()
    return on_similar / paddle.clip(similar_pairs, min=1) + on_others / paddle.clip(
        other_pairs, min=1
    )
