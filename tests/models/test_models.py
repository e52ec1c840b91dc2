"""The network: names, first weights, and the same numbers as Paddle's own AlexNet."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from models import HashNet
from models.mixed_precision import MixedPrecision
from models.normalization import PictureNormalization

SHAPES = {
    "features.0.weight": [64, 3, 11, 11],
    "features.0.bias": [64],
    "features.3.weight": [192, 64, 5, 5],
    "features.3.bias": [192],
    "features.6.weight": [384, 192, 3, 3],
    "features.6.bias": [384],
    "features.8.weight": [256, 384, 3, 3],
    "features.8.bias": [256],
    "features.10.weight": [256, 256, 3, 3],
    "features.10.bias": [256],
    "classifier_plus.1.weight": [9216, 4096],
    "classifier_plus.1.bias": [4096],
    "classifier_plus.4.weight": [4096, 4096],
    "classifier_plus.4.bias": [4096],
    "classifier_plus.6.weight": [4096, 16],
    "classifier_plus.6.bias": [16],
}
ALEXNET_LAYERS = {
    "features.0": "_conv1._conv",
    "features.3": "_conv2._conv",
    "features.6": "_conv3",
    "features.8": "_conv4",
    "features.10": "_conv5._conv",
    "classifier_plus.1": "_fc6",
    "classifier_plus.4": "_fc7",
    "classifier_plus.6": "_fc8",
}


def pictures(side: int = 224, count: int = 2) -> paddle.Tensor:
    """Random normalised pictures."""
    rng = np.random.default_rng(side)
    return paddle.to_tensor(rng.normal(size=(count, 3, side, side)).astype(np.float32))


def test_parameters_have_the_published_names_and_shapes(hashnet):
    found = {name: list(tensor.shape) for name, tensor in hashnet.state_dict().items()}
    assert found == SHAPES
    assert {name for name, _ in hashnet.named_parameters()} == SHAPES.keys()


def test_hash_layer_and_backbone_share_out_all_parameters(hashnet):
    hash_layer = [id(p) for p in hashnet.hash_parameters()]
    backbone = [id(p) for p in hashnet.backbone_parameters()]
    assert [list(p.shape) for p in hashnet.hash_parameters()] == [[4096, 16], [16]]
    assert len(hash_layer) + len(backbone) == len(SHAPES)
    assert set(hash_layer) | set(backbone) == {id(p) for p in hashnet.parameters()}


def test_the_hash_layer_starts_from_a_narrow_normal_distribution_and_zero_bias(hashnet):
    weight, bias = (p.numpy().astype(np.float64) for p in hashnet.hash_parameters())
    assert weight.std() == pytest.approx(0.01, rel=0.02)
    assert weight.mean() == pytest.approx(0, abs=2e-4)
    share = (np.abs(weight) < 0.01).mean()  # 0.683 within one deviation, if it is normal
    assert share == pytest.approx(0.683, abs=0.01)
    assert not bias.any()


def test_the_output_is_paddle_s_alexnet_s_with_the_same_weights(hashnet, alexnet, monkeypatch):
    names = {
        f"{there}.{kind}": hashnet.state_dict()[f"{here}.{kind}"]
        for here, there in ALEXNET_LAYERS.items()
        for kind in ("weight", "bias")
    }
    before = {name: tensor.numpy().copy() for name, tensor in alexnet.state_dict().items()}
    # Paddle's dropout scales when it does not train, HashNet's (and torchvision's) when it does.
    monkeypatch.setattr(alexnet._drop1, "mode", "upscale_in_train")
    monkeypatch.setattr(alexnet._drop2, "mode", "upscale_in_train")
    try:
        for name, tensor in alexnet.state_dict().items():
            tensor.set_value(names[name])
        with paddle.no_grad():
            found, expected = hashnet(pictures()).numpy(), alexnet(pictures()).numpy()
    finally:
        alexnet.set_state_dict(before)
    assert found.shape == (2, 16)
    assert np.abs(expected).max() > 0.01
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def test_dropout_acts_in_training_alone(hashnet):
    with paddle.no_grad():
        still = [hashnet(pictures(count=1)).numpy() for _ in range(2)]
        hashnet.train()
        moving = [hashnet(pictures(count=1)).numpy() for _ in range(2)]
        hashnet.eval()
    np.testing.assert_array_equal(*still)
    assert not np.array_equal(*moving)


@pytest.mark.parametrize("side", [63, 112, 256])
def test_pictures_of_another_side_are_pooled_to_the_same_width(hashnet, side):
    with paddle.no_grad():
        assert list(hashnet(pictures(side, 1)).shape) == [1, 16]


def test_a_network_reads_no_weights_by_itself(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a file was read")

    monkeypatch.setattr(paddle, "load", refuse)
    monkeypatch.setattr(paddle.vision.models, "alexnet", refuse)
    assert HashNet(8).bit == 8


def test_pictures_are_normalised_with_imagenet_s_mean_and_deviation():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = ((pixels / 255 - mean) / deviation).transpose(0, 3, 1, 2)
    found = PictureNormalization()(paddle.to_tensor(pixels))
    assert found.dtype == paddle.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert not PictureNormalization().state_dict()


def test_mixed_precision_is_bfloat16_around_the_network_alone(monkeypatch):
    asked, real = [], paddle.amp.auto_cast
    monkeypatch.setattr(paddle.amp, "auto_cast", lambda **how: asked.append(how) or real(False))

    class Halved(paddle.nn.Layer):
        def forward(self, pictures):
            return (pictures * 3).astype("bfloat16")  # as convolutions then give

    weights = paddle.to_tensor([[1.0, 2.5]], stop_gradient=False)
    z = MixedPrecision(Halved())(weights)
    assert asked == [{"level": "O1", "dtype": "bfloat16"}]
    assert z.dtype == paddle.float32 and z.tolist() == [[3.0, 7.5]]
    z.sum().backward()
    assert weights.grad.tolist() == [[3.0, 3.0]]
