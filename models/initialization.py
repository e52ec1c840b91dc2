"""First weights for a training from nothing, fitted to the images it starts with."""

from __future__ import annotations

from collections.abc import Iterable

import paddle
from paddle import nn

from models.alexnet import pool_to_vector
from models.hashnet import HashNet

HIDDEN_DEVIATION = 1.0
"""Standard deviation of a layer's outputs, before ReLU, over images, places and channels."""
LAST_HIDDEN_DEVIATION = 0.3
"""The same for fc7. The step that a gradient makes in z grows with the square of it: at 1 the
hash layer leaves all codes equal unless the rate is so small that the layers below stand still."""


@paddle.no_grad()
def initialize_from_data(network: HashNet, images: paddle.Tensor) -> None:
    """Draws the weights of a network and fits them to images, layer by layer.

    Each layer below the hash layer starts from He's normal distribution (He et al., 2015) and
    zero bias. Then its weight is divided by one number, so that its outputs have a fixed
    deviation (LSUV: Mishkin and Matas, 2016), and its bias takes away each channel's mean (as
    Krähenbühl et al., 2016). Without the latter every ReLU adds to what all images have in
    common, and seven layers up their codes are nearly equal; dividing channel by channel, as
    the latter do too, makes the noise of the weak channels as loud as the rest.

    The images are of the training set, [n, 3, 224, 224] float32, normalized; 64 are plenty. The
    weights follow `paddle.seed`. The hash layer, which the network draws itself, and the network's
    mode (training or not) stay as they are; dropout is off while measuring.
    """
    was_training = network.training
    network.eval()
    try:
        values = _initialize(network.features, images)
        hidden = list(network.classifier_plus)[:-1]
        values = _initialize(hidden[:-2], pool_to_vector(values))
        _initialize(hidden[-2:], values, LAST_HIDDEN_DEVIATION)
    finally:
        if was_training:
            network.train()


def _initialize(
    layers: Iterable[nn.Layer], values: paddle.Tensor, deviation: float = HIDDEN_DEVIATION
) -> paddle.Tensor:
    """Initialises the layers that have weights, in their order; returns the last one's output."""
    for layer in layers:
        if isinstance(layer, (nn.Conv2D, nn.Linear)):
            _draw(layer)
            _fit(layer, values, deviation)
        values = layer(values)
    return values


def _draw(layer: nn.Conv2D | nn.Linear) -> None:
    """He's initialisation: weights N(0, 2 / inputs of an output), biases 0."""
    outputs = layer.bias.shape[0]
    inputs = layer.weight.size // outputs
    layer.weight.set_value(paddle.randn(layer.weight.shape) * (2 / int(inputs)) ** 0.5)
    layer.bias.set_value(paddle.zeros_like(layer.bias))


def _fit(layer: nn.Conv2D | nn.Linear, values: paddle.Tensor, deviation: float) -> None:
    """Gives every channel of the layer's output mean 0 and all of them together the deviation."""
    output = layer(values)
    axes = [0, 2, 3] if output.ndim == 4 else [0]
    mean = output.mean(axes)
    spread = paddle.sqrt(paddle.square(output).mean() - paddle.square(mean).mean())
    scale = deviation / paddle.clip(spread, min=1e-6)
    layer.weight.set_value(layer.weight * scale)
    layer.bias.set_value(-mean * scale)
