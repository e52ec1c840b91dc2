"""AlexNet without its class layer, in the 'one weird trick' variant (Krizhevsky, 2014)."""

from __future__ import annotations

import paddle
from paddle import nn

FEATURE_SIZE = 4096
"""Width of the last hidden layer, fc7."""


def convolutional_features() -> nn.Sequential:
    """The five convolutions: [n, 3, h, w] float32 → [n, 256, h', w'], 6×6 for 224×224.

    The layers' places in the sequence (0, 3, 6, 8, 10) are their names in weight files.
    """
    return nn.Sequential(
        nn.Conv2D(3, 64, kernel_size=11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2D(kernel_size=3, stride=2),
        nn.Conv2D(64, 192, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool2D(kernel_size=3, stride=2),
        nn.Conv2D(192, 384, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2D(384, 256, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2D(256, 256, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2D(kernel_size=3, stride=2),
    )


def hidden_layers(dropout: float) -> list[nn.Layer]:
    """fc6 and fc7, each behind dropout and followed by ReLU: [n, 9216] → [n, 4096]."""
    return [
        nn.Dropout(dropout),
        nn.Linear(256 * 6 * 6, FEATURE_SIZE),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(FEATURE_SIZE, FEATURE_SIZE),
        nn.ReLU(),
    ]


def pool_to_vector(features: paddle.Tensor) -> paddle.Tensor:
    """Averages feature maps to 6×6 (the identity for 224×224 images) and flattens them.

    Args:
        features: [n, 256, h', w'] float32.

    Returns:
        [n, 9216] float32.
    """
    return paddle.flatten(nn.functional.adaptive_avg_pool2d(features, 6), start_axis=1)
