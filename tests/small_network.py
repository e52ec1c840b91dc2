"""A network with HashNet's parameter names and methods, some thousand times smaller."""

from __future__ import annotations

import os

import paddle
from paddle import nn

from models import HashNet


class SmallHashNet(HashNet):
    """Images [n, 3, h, w] → z [n, bit]; names and methods of `models.HashNet`, other widths.

    HASHNET_TEST_DROPOUT=0 leaves dropout out, which is another one on each rank.
    """

    def __init__(self, bit: int = 8):
        nn.Layer.__init__(self)
        self.bit = bit
        dropout = float(os.environ.get("HASHNET_TEST_DROPOUT", 0.5))
        channels = {0: (3, 4), 3: (4, 5), 6: (5, 6), 8: (6, 5), 10: (5, 4)}
        with paddle.utils.unique_name.guard():
            self.features = nn.Sequential(
                *[
                    nn.Conv2D(*channels[place], 3, padding=1) if place in channels else nn.ReLU()
                    for place in range(11)
                ],
                nn.AdaptiveAvgPool2D(2),
            )
            self.classifier_plus = nn.Sequential(
                nn.Dropout(dropout),
                nn.Linear(16, 12),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(12, 10),
                nn.ReLU(),
                nn.Linear(10, bit),
            )

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """Computes z."""
        return self.classifier_plus(paddle.flatten(self.features(images), 1))


def values(layer: nn.Layer) -> dict:
    """A copy of a layer's state, name → array."""
    return {name: tensor.numpy().copy() for name, tensor in layer.state_dict().items()}
