"""Raw pictures → the numbers the network was trained on; runs where the network runs."""

from __future__ import annotations

import paddle
from paddle import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PictureNormalization(nn.Layer):
    """RGB bytes → (x / 255 - mean) / std with ImageNet's mean and deviation, channels first.

    As a layer it moves to the device with the network and can be exported with it; bytes cross
    to the device at a quarter of the size of floats.
    """

    def __init__(self):
        super().__init__()
        shape = [1, 3, 1, 1]
        scale = [1 / (255 * std) for std in IMAGENET_STD]
        shift = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD)]
        self.register_buffer("scale", paddle.to_tensor(scale).reshape(shape), persistable=False)
        self.register_buffer("shift", paddle.to_tensor(shift).reshape(shape), persistable=False)

    def forward(self, pictures: paddle.Tensor) -> paddle.Tensor:
        """Normalises a batch.

        Args:
            pictures: [n, h, w, 3] uint8, RGB.

        Returns:
            [n, 3, h, w] float32.
        """
        channels_first = paddle.transpose(pictures.astype("float32"), [0, 3, 1, 2])
        return channels_first * self.scale + self.shift
