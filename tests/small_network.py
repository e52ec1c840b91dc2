"""A network with HashNet's parameter names and interface, some thousand times smaller."""

from __future__ import annotations

import paddle
from paddle import nn


class SmallHashNet(nn.Layer):
    """Pictures [n, 3, h, w] → z [n, bit]; names as in `models.HashNet`, other widths."""

    def __init__(self, bit: int = 8):
        super().__init__()
        self.bit = bit
        channels = {0: (3, 4), 3: (4, 5), 6: (5, 6), 8: (6, 5), 10: (5, 4)}
        self.features = nn.Sequential(
            *[
                nn.Conv2D(*channels[place], 3, padding=1) if place in channels else nn.ReLU()
                for place in range(11)
            ],
            nn.AdaptiveAvgPool2D(2),
            nn.Flatten(),
        )
        self.classifier_plus = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(16, 12),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(12, 10),
            nn.ReLU(),
            nn.Linear(10, bit),
        )

    def forward(self, pictures: paddle.Tensor) -> paddle.Tensor:
        """Computes z."""
        return self.classifier_plus(self.features(pictures))

    def hash_parameters(self) -> list:
        """Weight and bias of the last layer."""
        return list(self.classifier_plus[-1].parameters())

    def backbone_parameters(self) -> list:
        """All parameters but the last layer's."""
        return self.parameters()[:-2]


def values(layer: nn.Layer) -> dict:
    """A copy of a layer's state, name → array."""
    return {name: tensor.numpy().copy() for name, tensor in layer.state_dict().items()}
