"""Layers around the network: bytes → its input, its output → packed codes, mixed precision."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BITS_A_BYTE = 8


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
        """Normalizes a batch.

        Args:
            images: [n, h, w, 3] uint8, RGB.

        Returns:
            [n, 3, h, w] float32.
        """
        channels_first = paddle.transpose(images.astype("float32"), [0, 3, 1, 2])
        return channels_first * self.scale + self.shift


class Binarize(nn.Layer):
    """z → packed codes: bit = 1 where z ≥ 0, eight bits a byte, the first of them the highest.

    `utils.codes.pack_codes` does the same in NumPy.
    """

    def __init__(self, bit: int):
        super().__init__()
        values = np.zeros((bit, -(-bit // BITS_A_BYTE)), np.int32)  # of each bit in each byte
        for place in range(bit):
            byte, before = divmod(place, BITS_A_BYTE)
            values[place, byte] = 1 << (BITS_A_BYTE - 1 - before)
        self.register_buffer("values", paddle.to_tensor(values), persistable=False)

    def forward(self, z: paddle.Tensor) -> paddle.Tensor:
        """Packs a batch.

        Args:
            z: [n, bit] float32.

        Returns:
            [n, bit / 8 rounded up] uint8.
        """
        bits = (z >= 0).astype("int32").unsqueeze(-1)
        return (bits * self.values).sum(axis=1).astype("uint8")


class MixedPrecision(nn.Layer):
    """A network whose convolutions and matrix products run in bfloat16, gradients included.

    Paddle's automatic mixed precision at level O1: weights stay float32, and so does what Paddle
    takes for sensitive. bfloat16 has the range of float32, so the loss needs no scaling and there
    is no further state to save.

    Args:
        network: images → z [n, bit].
    """

    def __init__(self, network: nn.Layer):
        super().__init__()
        self.network = network

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """What the network gives, as float32: the loss is computed in full."""
        with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
            z = self.network(images)
        return z.astype("float32")
