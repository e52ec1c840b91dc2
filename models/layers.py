"""Layers around the network: bytes → its input, its output → packed codes, mixed precision."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn

from models import IMAGENET_MEAN, IMAGENET_STD


class Normalize(nn.Layer):
    """RGB bytes → (x / 255 - mean) / std with ImageNet's mean and deviation, channels first.

    As a layer it moves to the device with the network and can be exported with it; bytes cross
    to the device at a quarter of the size of floats.
    """

    def __init__(self):
        super().__init__()
        mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
        for name, values in (("scale", 1 / (255 * std)), ("shift", -mean / std)):
            values = paddle.to_tensor(values, "float32").reshape([1, 3, 1, 1])
            self.register_buffer(name, values, persistable=False)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """Normalizes a batch: RGB [n, h, w, 3] uint8 → [n, 3, h, w] float32."""
        channels_first = paddle.transpose(images.astype("float32"), [0, 3, 1, 2])
        return channels_first * self.scale + self.shift


class Binarize(nn.Layer):
    """z → packed codes: bit = 1 where z ≥ 0, eight bits a byte, the first of them the highest.

    `utils.codes.pack_codes` does the same in NumPy.
    """

    def __init__(self, bit: int):
        super().__init__()
        values = np.packbits(np.eye(bit, dtype=bool), axis=1)  # of each bit in each byte
        self.register_buffer("values", paddle.to_tensor(values, "int32"), persistable=False)

    def forward(self, z: paddle.Tensor) -> paddle.Tensor:
        """Packs a batch: [n, bit] float32 → [n, bit / 8 rounded up] uint8."""
        bits = (z >= 0).astype("int32").unsqueeze(-1)
        return (bits * self.values).sum(axis=1).astype("uint8")


class MixedPrecision(nn.Layer):
    """A network, images → z, whose convolutions and products run in bfloat16, with gradients.

    Paddle's automatic mixed precision at level O1: weights stay float32, and so does what Paddle
    takes for sensitive. bfloat16 has the range of float32, so the loss needs no scaling and there
    is no further state to save.
    """

    def __init__(self, network: nn.Layer):
        super().__init__()
        self.network = network

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """What the network gives, as float32: the loss is computed in full."""
        with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
            z = self.network(images)
        return z.astype("float32")
