"""The network in bfloat16 where that is exact enough, for training on GPUs that are fast in it."""

from __future__ import annotations

import paddle
from paddle import nn


class MixedPrecision(nn.Layer):
    """A network whose convolutions and matrix products run in bfloat16, gradients included.

    Paddle's automatic mixed precision at level O1: weights stay float32, and so does what Paddle
    takes for sensitive. bfloat16 has the range of float32, so the loss needs no scaling and there
    is no further state to save.

    Args:
        network: pictures → z [n, bit].
    """

    def __init__(self, network: nn.Layer):
        super().__init__()
        self.network = network

    def forward(self, pictures: paddle.Tensor) -> paddle.Tensor:
        """What the network gives, as float32: the loss is computed in full."""
        with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
            z = self.network(pictures)
        return z.astype("float32")
