"""AlexNet without its class layer, in the 'one weird trick' variant (Krizhevsky, 2014)."""

from __future__ import annotations

from typing import Any

import paddle
from paddle import nn

FEATURE_SIZE = 4096
"""Width of the last hidden layer, fc7."""
_FROM_PADDLE = {
    "_conv1._conv": "features.0",
    "_conv2._conv": "features.3",
    "_conv3": "features.6",
    "_conv4": "features.8",
    "_conv5._conv": "features.10",
    "_fc6": "classifier_plus.1",
    "_fc7": "classifier_plus.4",
}
_BEHIND_DROPOUT = ("_fc6", "_fc7")


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


def hidden_layers() -> list[nn.Layer]:
    """fc6 and fc7, each behind dropout and followed by ReLU: [n, 9216] → [n, 4096]."""
    return [
        nn.Dropout(0.5),
        nn.Linear(256 * 6 * 6, FEATURE_SIZE),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(FEATURE_SIZE, FEATURE_SIZE),
        nn.ReLU(),
    ]


def pool_to_vector(features: paddle.Tensor) -> paddle.Tensor:
    """Averages maps [n, 256, h', w'] to 6×6, the identity for 224×224 images, to [n, 9216]."""
    return paddle.flatten(nn.functional.adaptive_avg_pool2d(features, 6), start_axis=1)


def from_paddle(state: dict[str, Any]) -> dict[str, Any]:
    """Renames the state of `paddle.vision.models.alexnet`; its class layer `_fc8` is left out.

    Paddle's AlexNet halves the inputs of fc6 and fc7 in evaluation (dropout of mode
    'downscale_in_infer') where ours doubles what dropout leaves in training. Halved weights give
    the same numbers in both.
    """
    renamed = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        if layer in _FROM_PADDLE:
            halve = layer in _BEHIND_DROPOUT and kind == "weight"
            renamed[f"{_FROM_PADDLE[layer]}.{kind}"] = value * 0.5 if halve else value
    return renamed


def from_classifier_names(state: dict[str, Any]) -> dict[str, Any]:
    """Renames `classifier.*` to `classifier_plus.*` and leaves the class layer out."""
    return {
        name.replace("classifier.", "classifier_plus.", 1): value
        for name, value in state.items()
        if not name.startswith("classifier.6.")
    }
