"""Weights as Paddle 2.2.2 wrote them, which is what was published: they load, and evaluate.

`paddle.save` of that version makes a state dict a pickle of protocol 4 (2 before 2.1) of NumPy 1's
arrays, and adds the tensors' internal names under `StructuredToParameterName@@`; tensors in other
containers pickle themselves as `tuple((internal name, array))`.
"""

from __future__ import annotations

import io
import pickle

import numpy as np
import paddle
import pytest
from small_network import SmallHashNet, values

from utils.system.state_files import read_state


class Tensor:
    """Pickles itself as a tensor of Paddle 2.2.2 outside of a plain state dict."""

    def __init__(self, name: str, array: np.ndarray):
        self.name, self.array = name, array

    def __reduce__(self):
        return tuple, ((self.name, self.array),)


def written_in_2022(content: dict, protocol: int) -> bytes:
    """A pickle as NumPy 1 made it, whose modules had other names."""
    file = io.BytesIO()
    pickler = pickle._Pickler(file, protocol)
    pickler.framer.start_framing = lambda: None  # frames would hold the lengths of before
    pickler.dump(content)
    text = file.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")
    return text.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")


def internal_names(arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """What Paddle calls the parameters: conv2d_0.w_0, conv2d_0.b_0, … linear_2.b_0."""
    names, kinds = {}, {"features": "conv2d", "classifier_plus": "linear"}
    for number, name in enumerate(arrays):
        kind = kinds[name.split(".")[0]]
        layer = number // 2 - (5 if kind == "linear" else 0)
        names[name] = f"{kind}_{layer}.{'w' if name.endswith('weight') else 'b'}_0"
    return names


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("tensors", ["as arrays", "as tuples"])
def test_published_weights_load_to_the_bit(tmp_path, protocol, tensors):
    paddle.seed(4)
    expected = values(SmallHashNet())
    names = internal_names(expected)
    assert names["features.10.bias"] == "conv2d_4.b_0"
    assert names["classifier_plus.6.weight"] == "linear_2.w_0"
    if tensors == "as arrays":
        state = {**expected, "StructuredToParameterName@@": names}
    else:
        state = {name: Tensor(names[name], array) for name, array in expected.items()}
    path = tmp_path / "weights_8.pdparams"
    path.write_bytes(written_in_2022(state, protocol))
    assert b"numpy.core.multiarray" in path.read_bytes(), "as NumPy 1 called it"
    if tensors == "as arrays":  # this Paddle takes it for its own, too
        theirs = paddle.load(str(path), return_numpy=True)
        assert all(np.array_equal(theirs[name], expected[name]) for name in expected)

    paddle.seed(5)
    network = SmallHashNet()
    network.load_weights(tmp_path / "weights_8")
    for name, array in values(network).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_the_optimizer_s_state_of_2022_is_read(tmp_path):
    state = {
        "conv2d_0.w_0_velocity_0": np.ones((2, 3), np.float32),
        "StructuredToParameterName@@": {"conv2d_0.w_0_velocity_0": "conv2d_0.w_0_velocity_0"},
        "LR_Scheduler": {"last_epoch": 150, "last_lr": 0.0005},
    }
    path = tmp_path / "weights_8.pdopt"
    path.write_bytes(written_in_2022(state, 4))
    found, _ = read_state(path, "a file of the optimizer's state")
    assert found.keys() == {"conv2d_0.w_0_velocity_0", "LR_Scheduler"}
    assert found["LR_Scheduler"] == {"last_epoch": 150, "last_lr": 0.0005}
    np.testing.assert_array_equal(found["conv2d_0.w_0_velocity_0"], np.ones((2, 3)))
