"""First weights fitted to pictures: what every layer gives, and what stays as it was."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from models import HashNet
from models.alexnet import pool_to_vector
from models.initialization import (
    HIDDEN_DEVIATION,
    LAST_HIDDEN_DEVIATION,
    initialize_from_data,
)

BIT = 16


def some_pictures(n: int = 6) -> paddle.Tensor:
    """Pictures with colour and texture of their own, [n, 3, 224, 224] float32."""
    rng = np.random.default_rng(3)
    colour = rng.normal(size=(n, 3, 1, 1))
    texture = rng.normal(size=(n, 3, 224, 224)) * rng.uniform(0.1, 1, (n, 1, 1, 1))
    return paddle.to_tensor((colour + texture).astype("float32"))


def initialized(seed: int = 5) -> HashNet:
    """A new network, initialised."""
    paddle.seed(seed)
    network = HashNet(BIT)
    initialize_from_data(network, some_pictures())
    return network


@pytest.fixture(scope="module")
def network() -> HashNet:
    return initialized()


def layer_outputs(network: HashNet) -> list[np.ndarray]:
    """What each layer with weights gives for the pictures, before ReLU; the hash layer last."""
    network.eval()
    outputs = []
    values = some_pictures()
    with paddle.no_grad():
        for layer in network.features:
            values = layer(values)
            if isinstance(layer, nn.Conv2D):
                outputs.append(values.numpy())
        values = pool_to_vector(values)
        for layer in network.classifier_plus:
            values = layer(values)
            if isinstance(layer, nn.Linear):
                outputs.append(values.numpy())
    network.train()
    return outputs


def test_every_layer_below_the_hash_layer_has_the_deviation_and_no_channel_a_mean(network):
    outputs = layer_outputs(network)
    deviations = [HIDDEN_DEVIATION] * 6 + [LAST_HIDDEN_DEVIATION]
    for output, deviation in zip(outputs[:-1], deviations):
        axes = (0, 2, 3) if output.ndim == 4 else (0,)
        np.testing.assert_allclose(output.mean(axes) / deviation, 0, atol=1e-3)
        np.testing.assert_allclose(output.std() / deviation, 1, rtol=1e-3)


def test_codes_of_different_pictures_differ(network):
    codes = layer_outputs(network)[-1] >= 0
    assert len(np.unique(codes, axis=0)) == len(codes)


def test_the_hash_layer_is_not_touched():
    paddle.seed(6)
    network = HashNet(BIT)
    before = [parameter.numpy() for parameter in network.hash_parameters()]
    initialize_from_data(network, some_pictures(2))
    for old, new in zip(before, network.hash_parameters()):
        np.testing.assert_array_equal(old, new.numpy())


def test_the_same_seed_gives_the_same_weights(network):
    again, other = initialized(), initialized(seed=8)
    for ours, same, different in zip(
        network.backbone_parameters(), again.backbone_parameters(), other.backbone_parameters()
    ):
        np.testing.assert_array_equal(ours.numpy(), same.numpy())
        assert not np.array_equal(ours.numpy(), different.numpy())


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored(training):
    network = HashNet(BIT)
    network.train() if training else network.eval()
    initialize_from_data(network, some_pictures(2))
    assert {layer.training for layer in network.sublayers(include_self=True)} == {training}


def test_the_weights_still_learn(network):
    assert all(not parameter.stop_gradient for parameter in network.parameters())
    network(some_pictures(2)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.clear_gradients()


def test_pictures_of_one_colour_give_finite_weights():
    network = HashNet(BIT)
    initialize_from_data(network, paddle.zeros([2, 3, 224, 224]))
    for parameter in network.parameters():
        assert np.isfinite(parameter.numpy()).all()
