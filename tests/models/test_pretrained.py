"""ImageNet weights for the backbone: conversions, strict loading, and what is said without them."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from small_network import SmallHashNet, values

from models import pretrained
from utils.system.errors import UserError

LAYERS = [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]


def torchvision_state(num_class=1000, dtype=np.float32):
    """A state dict in torchvision's layout; the sizes do not matter to the conversion."""
    rng = np.random.default_rng(num_class)
    state = {}
    for layer in LAYERS:
        rows = num_class if layer == "classifier.6" else 6
        shape = (rows, 4, 3, 3) if layer.startswith("features") else (rows, 5)
        state[f"{layer}.weight"] = rng.normal(size=shape).astype(dtype)
        state[f"{layer}.bias"] = rng.normal(size=rows).astype(dtype)
    return state


def backbone_file(folder, network, **changes):
    """Writes a small network's backbone under the names of a weight file for ImageNet."""
    state = {
        name.replace("classifier_plus", "classifier"): tensor.numpy()
        for name, tensor in network.state_dict().items()
    }
    state.update(changes)
    path = folder / "AlexNet_pretrained.pdparams"
    paddle.save({name: a for name, a in state.items() if a is not None}, str(path))
    return path


@pytest.mark.parametrize(("num_class", "dtype"), [(1000, np.float32), (200, np.float16)])
def test_torchvision_s_weights_become_float32_matrices_in_paddle_s_order(num_class, dtype):
    state = torchvision_state(num_class, dtype)
    found = pretrained.from_torchvision(state)
    assert found.keys() == state.keys()
    for name, array in found.items():
        expected = state[name].T if array.ndim == 2 else state[name]
        assert array.dtype == np.float32 and array.flags.c_contiguous
        np.testing.assert_array_equal(array, expected.astype(np.float32))
    assert found["classifier.6.weight"].shape == (5, num_class)


@pytest.mark.parametrize("change", ["missing", "surplus"])
def test_another_state_dict_than_torchvision_s_alexnet_is_refused_by_name(change):
    state = torchvision_state()
    name = "features.8.bias" if change == "missing" else "features.12.weight"
    if change == "missing":
        del state[name]
    else:
        state[name] = np.zeros(3)
    with pytest.raises(UserError, match=f"AlexNet.*{name}"):
        pretrained.from_torchvision(state)


def test_a_classifier_s_names_become_the_network_s_and_its_class_layer_is_left_out():
    state = {f"{layer}.{kind}": layer for layer in LAYERS for kind in ("weight", "bias")}
    found = pretrained.from_classifier_names(state)
    assert found["classifier_plus.1.weight"] == "classifier.1"
    assert found["classifier_plus.4.bias"] == "classifier.4"
    assert found["features.10.bias"] == "features.10"
    assert len(found) == 14 and not any(".6." in name and "class" in name for name in found)


def test_a_weight_file_sets_all_but_the_hash_layer(tmp_path):
    source, network = SmallHashNet(bit=16), SmallHashNet(bit=8)
    before = values(network)
    pretrained.load_backbone(network, str(backbone_file(tmp_path, source)))
    for name, array in values(network).items():
        kept = name.startswith("classifier_plus.6.")
        np.testing.assert_array_equal(array, before[name] if kept else values(source)[name])


def test_a_converted_file_of_torchvision_s_weights_loads(tmp_path):
    source = SmallHashNet()
    state = {
        name.replace("classifier_plus", "classifier"): (a.T if a.ndim == 2 else a)
        for name, a in values(source).items()
    }
    path = tmp_path / "converted.pdparams"
    paddle.save(pretrained.from_torchvision(state), str(path))
    network = SmallHashNet()
    pretrained.load_backbone(network, str(path))
    np.testing.assert_array_equal(
        values(network)["classifier_plus.4.weight"], values(source)["classifier_plus.4.weight"]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features.3.bias": None}, "missing: features.3.bias"),
        ({"features.5.bias": np.zeros(2, np.float32)}, "unknown: features.5.bias"),
        ({"features.10.bias": np.zeros(9, np.float32)}, r"features.10.bias is \[9\].*\[4\]"),
    ],
)
def test_a_weight_file_of_another_network_is_refused_and_changes_nothing(
    tmp_path, changes, message
):
    path = backbone_file(tmp_path, SmallHashNet(), **changes)
    network = SmallHashNet()
    before = values(network)
    with pytest.raises(UserError, match=message) as error:
        pretrained.load_backbone(network, str(path))
    assert str(path) in str(error.value)
    for name, array in values(network).items():
        np.testing.assert_array_equal(array, before[name])


def test_a_missing_weight_file_s_message_names_three_ways_out(tmp_path):
    path = tmp_path / "AlexNet_pretrained.pdparams"
    with pytest.raises(UserError) as error:
        pretrained.load_backbone(SmallHashNet(), str(path))
    message = str(error.value)
    assert str(path) in message and "\n" not in message
    for way in ("scripts/convert_weights.py", "--backbone-weights paddle", "none"):
        assert way in message


def test_a_file_that_holds_no_weights_is_refused(tmp_path):
    path = tmp_path / "AlexNet_pretrained.pdparams"
    path.write_text("not weights")
    with pytest.raises(UserError, match=r"AlexNet_pretrained.pdparams: not a file of AlexNet"):
        pretrained.load_backbone(SmallHashNet(), str(path))


def test_a_failed_download_of_paddle_s_weights_is_one_line_and_names_another_way(monkeypatch):
    def fail(pretrained):
        raise RuntimeError("no route to host\ntraceback")

    monkeypatch.setattr(paddle.vision.models, "alexnet", fail)
    with pytest.raises(UserError, match="no route to host") as error:
        pretrained.load_backbone(SmallHashNet(), "paddle")
    assert "--backbone-weights PATH" in str(error.value) and "\n" not in str(error.value)


def test_paddle_s_names_become_the_network_s_and_its_class_layer_is_left_out(alexnet):
    state = values(alexnet)
    found = pretrained.from_paddle(state)
    assert len(found) == 14 and not any(name.startswith(pretrained.HASH_LAYER) for name in found)
    for name, there in (
        ("features.0.weight", "_conv1._conv.weight"),
        ("features.3.bias", "_conv2._conv.bias"),
        ("features.6.weight", "_conv3.weight"),
        ("features.8.bias", "_conv4.bias"),
        ("features.10.weight", "_conv5._conv.weight"),
        ("classifier_plus.1.bias", "_fc6.bias"),
        ("classifier_plus.4.bias", "_fc7.bias"),
    ):
        np.testing.assert_array_equal(found[name], state[there])


def test_a_backbone_from_paddle_s_alexnet_computes_what_paddle_s_alexnet_computes(
    hashnet, alexnet, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        paddle.vision.models, "alexnet", lambda pretrained: asked.append(pretrained) or alexnet
    )
    before = values(hashnet)
    try:
        pretrained.load_backbone(hashnet, "paddle")
        after = values(hashnet)
        expected, found = (
            _input_of(alexnet, alexnet._fc8),
            _input_of(hashnet, hashnet.classifier_plus[-1]),
        )
    finally:
        hashnet.set_state_dict(before)
    assert asked == [True]
    for name in ("classifier_plus.6.weight", "classifier_plus.6.bias"):
        np.testing.assert_array_equal(after[name], before[name])
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def _pictures():
    rng = np.random.default_rng(5)
    return paddle.to_tensor(rng.normal(size=(2, 3, 224, 224)).astype(np.float32))


def _input_of(network, layer):
    """What a network feeds one of its layers."""
    seen = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with paddle.no_grad():
        network(_pictures())
    hook.remove()
    return seen[0].numpy()
