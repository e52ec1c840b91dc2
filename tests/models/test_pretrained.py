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
        outputs = num_class if layer == "classifier.6" else 6
        shape = (outputs, 4, 3, 3) if layer.startswith("features") else (outputs, 5)
        state[f"{layer}.weight"] = rng.normal(size=shape).astype(dtype)
        state[f"{layer}.bias"] = rng.normal(size=outputs).astype(dtype)
    return state


def classifier_state(network):
    """A small network's state under the names of ImageNet weights."""
    return {n.replace("classifier_plus", "classifier"): a for n, a in values(network).items()}


def backbone_file(folder, state):
    """Writes a weight file, without the names of None, and gives its path."""
    path = folder / "AlexNet_pretrained.pdparams"
    paddle.save({name: a for name, a in state.items() if a is not None}, str(path))
    return str(path)


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


def test_another_state_dict_than_torchvision_s_alexnet_is_refused_by_name():
    whole = torchvision_state()
    less = {name: array for name, array in whole.items() if name != "features.8.bias"}
    more = {**whole, "features.12.weight": np.zeros(3)}
    for state, name in ((less, "features.8.bias"), (more, "features.12.weight")):
        with pytest.raises(UserError, match=f"AlexNet.*{name}"):
            pretrained.from_torchvision(state)


@pytest.mark.parametrize("converted", [False, True])
def test_a_weight_file_sets_all_but_the_hash_layer(tmp_path, converted):
    source, network = SmallHashNet(bit=16), SmallHashNet(bit=8)
    state, before = classifier_state(source), values(network)
    if converted:
        turned = {name: a.T if a.ndim == 2 else a for name, a in state.items()}
        state = pretrained.from_torchvision(turned)
    pretrained.load_backbone(network, backbone_file(tmp_path, state))
    for name, array in values(network).items():
        kept = name.startswith("classifier_plus.6.")
        np.testing.assert_array_equal(array, before[name] if kept else values(source)[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features.3.bias": None}, "missing: features.3.bias"),
        ({"features.5.bias": np.zeros(2, np.float32)}, "unknown: features.5.bias"),
        ({"features.10.bias": np.zeros(9, np.float32)}, r"10.bias is float32 \[9\].*\[4\]"),
        ({5: np.zeros(2, np.float32)}, "refused: it has a name that is no text"),
    ],
)
def test_a_weight_file_of_another_network_is_refused_and_changes_nothing(
    tmp_path, changes, message
):
    network = SmallHashNet()
    path = backbone_file(tmp_path, {**classifier_state(SmallHashNet()), **changes})
    before = values(network)
    with pytest.raises(UserError, match=message) as error:
        pretrained.load_backbone(network, path)
    assert path in str(error.value)
    for name, array in values(network).items():
        np.testing.assert_array_equal(array, before[name])


def test_a_failed_download_of_paddle_s_weights_is_one_line_and_names_another_way(monkeypatch):
    def fail(pretrained):
        raise RuntimeError("no route to host\ntraceback")

    monkeypatch.setattr(paddle.vision.models, "alexnet", fail)
    with pytest.raises(UserError, match="no route to host") as error:
        pretrained.load_backbone(SmallHashNet(), "paddle")
    assert "--backbone-weights PATH" in str(error.value) and "\n" not in str(error.value)


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
        expected = input_of(alexnet, alexnet._fc8)
        found = input_of(hashnet, hashnet.classifier_plus[-1])
    finally:
        hashnet.set_state_dict(before)
    assert asked == [True]
    for name in ("classifier_plus.6.weight", "classifier_plus.6.bias"):
        np.testing.assert_array_equal(after[name], before[name])
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def input_of(network, layer):
    """What a network feeds one of its layers."""
    rng, seen = np.random.default_rng(5), []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with paddle.no_grad():
        network(paddle.to_tensor(rng.normal(size=(2, 3, 224, 224)).astype(np.float32)))
    hook.remove()
    return seen[0].numpy()


def test_paddle_s_weights_are_fetched_before_ranks_start_and_nothing_else_is(monkeypatch, alexnet):
    asked = []
    monkeypatch.setattr(
        paddle.vision.models, "alexnet", lambda pretrained: asked.append(pretrained) or alexnet
    )
    for source in ("none", "a_file.pdparams"):
        pretrained.fetch_backbone(source, "alexnet")
    assert not asked
    pretrained.fetch_backbone("paddle", "alexnet")
    assert asked == [True]


@pytest.mark.parametrize("rank", [0, 1])
def test_of_a_launcher_s_ranks_paddle_lets_the_first_of_a_machine_download(
    rank, monkeypatch, tmp_path
):
    """No test of ours, but of what `fetch_backbone` relies on: nothing else orders the ranks."""
    endpoints, file = ["10.0.0.1:6070", "10.0.0.1:6071", "10.0.0.2:6070"], tmp_path / "a.pdparams"
    downloaded = []

    def download(url, folder, *_, **__):
        downloaded.append(url)
        file.write_text("weights")
        return str(file)

    monkeypatch.setenv("PADDLE_TRAINER_ENDPOINTS", ",".join(endpoints))
    monkeypatch.setenv("PADDLE_CURRENT_ENDPOINT", endpoints[rank])
    monkeypatch.setattr(paddle.utils.download, "_download", download)
    monkeypatch.setattr(paddle.utils.download.time, "sleep", lambda _: file.write_text("weights"))
    url = "https://example.org/a.pdparams"
    assert paddle.utils.download.get_path_from_url(url, str(tmp_path)) == str(file)
    assert downloaded == [url] * (rank == 0)
