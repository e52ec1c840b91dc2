"""First weights fitted to images: what every layer gives, and what stays as it was."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn
from small_network import values

from models import HashNet
from models.alexnet import pool_to_vector
from models.initialization import HIDDEN_DEVIATION, LAST_HIDDEN_DEVIATION, initialize_from_data

BIT = 16


def some_images(n: int = 6) -> paddle.Tensor:
    """Images with colour and texture of their own, [n, 3, 224, 224] float32."""
    rng = np.random.default_rng(3)
    colour = rng.normal(size=(n, 3, 1, 1))
    texture = rng.normal(size=(n, 3, 224, 224)) * rng.uniform(0.1, 1, (n, 1, 1, 1))
    return paddle.to_tensor((colour + texture).astype("float32"))


@pytest.fixture(scope="module")
def network() -> HashNet:
    """A new network, initialized."""
    paddle.seed(5)
    network = HashNet(BIT)
    initialize_from_data(network, some_images())
    return network


@paddle.no_grad()
def layer_outputs(network: HashNet) -> list[np.ndarray]:
    """What each layer with weights gives for the images, before ReLU; the hash layer last."""
    network.eval()
    outputs, result = [], some_images()
    for layer in (*network.features, pool_to_vector, *network.classifier_plus):
        result = layer(result)
        if isinstance(layer, (nn.Conv2D, nn.Linear)):
            outputs.append(result.numpy())
    network.train()
    return outputs


def test_every_layer_below_the_hash_layer_has_the_deviation_and_no_channel_a_mean(network):
    *hidden, z = layer_outputs(network)
    deviations = [HIDDEN_DEVIATION] * 6 + [LAST_HIDDEN_DEVIATION]
    for output, deviation in zip(hidden, deviations):
        axes = (0, 2, 3) if output.ndim == 4 else (0,)
        np.testing.assert_allclose(output.mean(axes) / deviation, 0, atol=1e-3)
        np.testing.assert_allclose(output.std() / deviation, 1, rtol=1e-3)
    assert len(np.unique(z >= 0, axis=0)) == len(z), "codes of different images differ"


@pytest.mark.parametrize("training", [True, False])
def test_hash_layer_mode_and_gradients_stay_also_where_all_images_have_one_colour(training):
    network = HashNet(BIT)
    network.train() if training else network.eval()
    before = [parameter.numpy() for parameter in network.hash_parameters()]
    initialize_from_data(network, paddle.zeros([2, 3, 224, 224]))
    for old, new in zip(before, network.hash_parameters()):
        np.testing.assert_array_equal(old, new.numpy())
    assert {layer.training for layer in network.sublayers(include_self=True)} == {training}
    assert all(np.isfinite(array).all() for array in values(network).values())
    network(some_images(2)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
