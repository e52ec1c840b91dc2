"""The network: names, first weights, the numbers of Paddle's own AlexNet; the layers around it."""

from __future__ import annotations

import hashlib

import numpy as np
import paddle
import paddle_2_2
import pytest
from small_network import SmallHashNet, values

from models import HashNet
from models.hashnet import load_network
from models.layers import Binarize, MixedPrecision, Normalize
from utils.codes import pack_codes
from utils.system.errors import UserError
from utils.system.state_files import write_training_state

LAYERS = {  # name in Paddle's AlexNet, shape of the weight
    "features.0": ("_conv1._conv", [64, 3, 11, 11]),
    "features.3": ("_conv2._conv", [192, 64, 5, 5]),
    "features.6": ("_conv3", [384, 192, 3, 3]),
    "features.8": ("_conv4", [256, 384, 3, 3]),
    "features.10": ("_conv5._conv", [256, 256, 3, 3]),
    "classifier_plus.1": ("_fc6", [9216, 4096]),
    "classifier_plus.4": ("_fc7", [4096, 4096]),
    "classifier_plus.6": ("_fc8", [4096, 16]),
}


def images(side: int = 224, count: int = 2) -> paddle.Tensor:
    """Random normalized images."""
    rng = np.random.default_rng(side)
    return paddle.to_tensor(rng.normal(size=(count, 3, side, side)).astype(np.float32))


def test_parameters_have_the_published_names_and_shapes(hashnet):
    expected = {}
    for name, (_, shape) in LAYERS.items():
        outputs = shape[0] if name.startswith("features") else shape[1]
        expected.update({f"{name}.weight": shape, f"{name}.bias": [outputs]})
    found = {name: list(tensor.shape) for name, tensor in hashnet.state_dict().items()}
    assert found == expected == {n: list(p.shape) for n, p in hashnet.named_parameters()}
    hash_layer, backbone = hashnet.hash_parameters(), hashnet.backbone_parameters()
    assert [list(p.shape) for p in hash_layer] == [[4096, 16], [16]]
    assert [*map(id, backbone), *map(id, hash_layer)] == list(map(id, hashnet.parameters()))


def test_the_hash_layer_starts_from_a_narrow_normal_distribution_and_zero_bias(hashnet):
    weight, bias = (p.numpy().astype(np.float64) for p in hashnet.hash_parameters())
    assert weight.std() == pytest.approx(0.01, rel=0.02)
    assert weight.mean() == pytest.approx(0, abs=2e-4)
    share = (np.abs(weight) < 0.01).mean()  # 0.683 within one deviation, if it is normal
    assert share == pytest.approx(0.683, abs=0.01)
    assert not bias.any()


def test_the_output_is_paddle_s_alexnet_s_with_the_same_weights(hashnet, alexnet, monkeypatch):
    state, before = hashnet.state_dict(), values(alexnet)
    # Paddle's dropout scales when it does not train, HashNet's (and torchvision's) when it does.
    monkeypatch.setattr(alexnet._drop1, "mode", "upscale_in_train")
    monkeypatch.setattr(alexnet._drop2, "mode", "upscale_in_train")
    try:
        for here, (there, _) in LAYERS.items():
            for kind in ("weight", "bias"):
                alexnet.state_dict()[f"{there}.{kind}"].set_value(state[f"{here}.{kind}"])
        with paddle.no_grad():
            found, expected = hashnet(images()).numpy(), alexnet(images()).numpy()
    finally:
        alexnet.set_state_dict(before)
    assert found.shape == (2, 16) and np.abs(expected).max() > 0.01
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def test_dropout_acts_in_training_alone(hashnet):
    with paddle.no_grad():
        still = [hashnet(images(count=1)).numpy() for _ in range(2)]
        hashnet.train()
        moving = [hashnet(images(count=1)).numpy() for _ in range(2)]
        hashnet.eval()
    np.testing.assert_array_equal(*still)
    assert not np.array_equal(*moving)


@pytest.mark.parametrize("ending", [".pdparams", ".npz"])
def test_weights_load_by_prefix_or_path_from_either_kind_of_file(tmp_path, ending):
    source, path = SmallHashNet(8), tmp_path / f"weights_8{ending}"
    if ending == ".npz":
        write_training_state(path, {"network": values(source), "optimizer": {}}, {})
    else:
        paddle.save(source.state_dict(), str(path))
    fingerprint = {
        "weights": path.name,
        "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    for prefix in (tmp_path / "weights_8", str(path)):
        network = SmallHashNet(8)
        assert HashNet.load_weights(network, prefix) == fingerprint
        for name, array in values(network).items():
            np.testing.assert_array_equal(array, values(source)[name])
    with pytest.raises(UserError, match=rf"weights_8\{ending}: weights for 8 bits, --bit 16 was"):
        HashNet.load_weights(SmallHashNet(16), path)
    with pytest.raises(UserError, match=r"none\.pdparams: missing"):
        HashNet.load_weights(network, tmp_path / "none")


def test_missing_weights_are_told_with_those_that_are_there(tmp_path):
    told = r"weights_16\.pdparams: missing; a training leaves it, --pretrained names others"
    with pytest.raises(UserError, match=told):
        load_network(tmp_path / "weights_16", 16)
    (tmp_path / "weights_64.pdparams").touch()
    with pytest.raises(UserError, match=r"missing \(there are weights_64\); "):
        load_network(tmp_path / "weights_16", 16)


def test_the_published_weights_load_as_paddle_2_2_wrote_them(hashnet, tmp_path):
    before, path = values(hashnet), tmp_path / "weights_16.pdparams"
    published = {name: -array for name, array in before.items()}
    paddle_2_2.save(paddle_2_2.published_weights(published), path)
    try:
        hashnet.load_weights(tmp_path / "weights_16")
        for name, tensor in hashnet.state_dict().items():
            np.testing.assert_array_equal(tensor.numpy(), published[name])
    finally:
        hashnet.set_state_dict(before)


def test_images_are_normalized_with_imagenet_s_mean_and_deviation():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = ((pixels / 255 - mean) / deviation).transpose(0, 3, 1, 2)
    found = Normalize()(paddle.to_tensor(pixels))
    assert found.dtype == paddle.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert not Normalize().state_dict()


def test_codes_are_packed_as_numpy_packs_them():
    by_hand = paddle.to_tensor([[3.0, -1.0, 0.0, -0.0, -1e-30, -9.0, -9.0, 1.0]])
    assert Binarize(8)(by_hand).tolist() == [[0b10110001]]
    z = np.random.default_rng(2).normal(size=(5, 48)).astype(np.float32)
    found = Binarize(z.shape[1])(paddle.to_tensor(z))
    assert found.dtype == paddle.uint8 and not Binarize(8).state_dict()
    np.testing.assert_array_equal(found.numpy(), pack_codes(z))


def test_mixed_precision_is_bfloat16_around_the_network_alone(monkeypatch):
    asked, real = [], paddle.amp.auto_cast
    monkeypatch.setattr(paddle.amp, "auto_cast", lambda **how: asked.append(how) or real(False))

    class Halved(paddle.nn.Layer):
        def forward(self, images):
            return (images * 3).astype("bfloat16")  # as convolutions then give

    weights = paddle.to_tensor([[1.0, 2.5]], stop_gradient=False)
    z = MixedPrecision(Halved())(weights)
    assert asked == [{"level": "O1", "dtype": "bfloat16"}]
    assert z.dtype == paddle.float32 and z.tolist() == [[3.0, 7.5]]
    z.sum().backward()
    assert weights.grad.tolist() == [[3.0, 3.0]]


@pytest.mark.parametrize("bit", [1, 12, 65])
def test_a_length_that_fills_no_bytes_is_packed_as_numpy_packs_it(bit):
    z = np.random.default_rng(bit).normal(size=(7, bit)).astype(np.float32)
    found = Binarize(bit)(paddle.to_tensor(z)).numpy()
    np.testing.assert_array_equal(found, pack_codes(z))
