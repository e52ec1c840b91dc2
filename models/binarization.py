"""z → packed codes, inside the network's graph; `utils.codes.pack_codes` does the same in NumPy."""

from __future__ import annotations

import paddle
from paddle import nn

BITS_A_BYTE = 8


class Binarization(nn.Layer):
    """Bit = 1 where z ≥ 0; eight bits a byte, the first of them the highest."""

    def __init__(self):
        super().__init__()
        values = paddle.to_tensor([1 << place for place in reversed(range(BITS_A_BYTE))])
        self.register_buffer("values", values.astype("int32"), persistable=False)

    def forward(self, z: paddle.Tensor) -> paddle.Tensor:
        """Packs a batch.

        Args:
            z: [n, bit] float32.

        Returns:
            [n, bit / 8] uint8.
        """
        bits = (z >= 0).astype("int32").reshape([-1, z.shape[1] // BITS_A_BYTE, BITS_A_BYTE])
        return (bits * self.values).sum(axis=-1).astype("uint8")
