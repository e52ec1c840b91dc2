"""The weighted pairwise loss of HashNet and the bank of codes it compares a batch with."""

from __future__ import annotations

from collections.abc import Callable

import paddle
import paddle.nn.functional as F
from paddle import nn

from utils.system import distributed


class HashNetLoss(nn.Layer):
    """Weighted maximum likelihood over pairs (batch × training set); paper, equations 3 to 5.

    With u = tanh(βz), θ_ij = α u_i·U_j and S_ij = 1 where y_i·Y_j > 0, the pair's loss is
    log(1 + e^θ) - Sθ. A similar pair weighs |S|/|S1|, another |S|/|S0|, and the sum is divided
    by |S|: so the loss is the mean over the similar plus the mean over the dissimilar pairs, and
    a side without pairs contributes 0. Unweighted (the paper's ablation HashNet-W), each pair
    weighs 1: the loss is the mean over all pairs.

    U and Y are the bank: the last codes and the labels of every training image, zero until an
    image is first seen. The batch's rows are written, detached, before the pairs are compared;
    gradient flows through u alone. Buffers `codes` [num_train, bit] and `labels`
    [num_train, num_class], of Paddle's default dtype (float32), are part of the training state
    (`state_dict`); everything is computed in it.

    Where several processes share a batch, each writes all of its rows into its own bank and
    compares its part of them; the pairs are counted over the whole batch. The loss has the value
    of the whole batch, and its gradients are such that their mean over the processes is the
    gradient of the whole batch.

    Args:
        num_train: number of training images, the rows of the bank.
        alpha: α, the scale of the inner product.
        shared: whether all processes share a batch; else each has one of its own.
        weighted: False: plain maximum likelihood, HashNet-W.

    Attributes:
        scale: β, set by whoever runs the continuation (`utils.lr_scheduler`); 1 at the start.
    """

    def __init__(
        self,
        bit: int,
        num_train: int,
        alpha: float = 0.1,
        num_class: int = 80,
        shared: bool = False,
        weighted: bool = True,
    ):
        super().__init__()
        self.alpha, self.shared, self.weighted = alpha, shared, weighted
        self.scale = 1.0
        self.register_buffer("codes", paddle.zeros([num_train, bit]))
        self.register_buffer("labels", paddle.zeros([num_train, num_class]))

    def forward(
        self, z: paddle.Tensor, labels: paddle.Tensor, index: paddle.Tensor
    ) -> paddle.Tensor:
        """The loss of one batch; writes the batch's rows of the bank.

        Args:
            z: [n, bit], the network's output.
            labels: [n, num_class] of 0 and 1, any numeric type.
            index: [n] int64, the images' places in the training list; below 0 for a row that only
                fills up this process's part of a batch and counts nowhere.

        Returns:
            The loss, a scalar.
        """
        dtype = self.codes.dtype
        u = paddle.tanh(self.scale * z.astype(dtype))
        labels = labels.astype(dtype)
        rows = (u.detach(), labels, index)
        self._remember(*(map(distributed.gather, rows) if self.shared else rows))
        theta = paddle.matmul(self.alpha * u, self.codes, transpose_y=True)
        shared = paddle.matmul(labels, self.labels, transpose_y=True)
        counts = (index >= 0).astype(dtype)
        total = distributed.total if self.shared else lambda value: value
        similar = (shared > 0).astype(dtype)
        part = pair_loss(theta, similar, counts, total, self.weighted)
        processes = distributed.world_size() if self.shared else 1
        slope = processes * part  # the mean of its gradients is the sum of the parts'
        return slope + (total(part.detach()) - slope.detach())

    @paddle.no_grad()
    def _remember(self, u: paddle.Tensor, labels: paddle.Tensor, index: paddle.Tensor) -> None:
        # A row that counts nowhere repeats the first one, which always counts: so the shapes are
        # known beforehand, and no step waits for the device to tell them.
        counts = index >= 0
        rows = paddle.where(counts, index, index[0])
        counts = counts.unsqueeze(1)
        paddle.scatter_(self.codes, rows, paddle.where(counts, u, u[:1]))
        paddle.scatter_(self.labels, rows, paddle.where(counts, labels, labels[:1]))


def pair_loss(
    theta: paddle.Tensor,
    similar: paddle.Tensor,
    counts: paddle.Tensor,
    total: Callable[[paddle.Tensor], paddle.Tensor],
    weighted: bool = True,
) -> paddle.Tensor:
    """Mean of log(1 + e^θ) - Sθ over similar pairs plus its mean over the others, on this process.

    Only whole matrices of one shape are multiplied and added, and rows are summed by a matrix
    product: Paddle's broadcasts and sums along an axis take some ten times as long on a CPU. No
    value leaves the device.

    Args:
        theta: [n, m], the log-odds that a pair is similar.
        similar: S, [n, m] of 0 and 1.
        counts: [n], 1 for a row whose pairs count, 0 for one whose pairs do not.
        total: sums a count of pairs over the processes that share the batch.
        weighted: False: the mean over all pairs, similar or not.
    """

    def over_pairs(values: paddle.Tensor) -> paddle.Tensor:
        return paddle.matmul(counts, values).sum()

    others = 1 - similar
    loss = F.softplus(theta) - similar * theta
    if not weighted:
        return over_pairs(loss) / (total(counts.sum()) * theta.shape[1])
    pairs = total(paddle.stack([over_pairs(similar), over_pairs(others)])).clip(min=1)
    return over_pairs(loss * similar) / pairs[0] + over_pairs(loss * others) / pairs[1]
