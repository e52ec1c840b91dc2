"""Weights and training states on disk: what comes back, and every bad file refused in one line."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import paddle
import paddle_2_2
import pytest
from small_network import SmallHashNet, values

from utils.system.errors import UserError
from utils.system.state_files import (
    assign_strictly,
    find_state,
    read_state,
    read_training_state,
    write_training_state,
)

PARTS = {
    "network": {"a.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "a.bias": np.ones(0)},
    "bank": {"codes": np.array([[-0.0, np.nan], [np.inf, 1e-30]], np.float32)},
}
RECORD = {"epoch": 3, "seed": 2000, "name": "é", "losses": [0.1, 1e-17], "none": None}


def test_a_prefix_finds_the_file_that_is_there_in_the_order_asked_for(tmp_path):
    prefix, endings = tmp_path / "v1.2", (".pdparams", ".npz")
    assert find_state(prefix, *endings) == tmp_path / "v1.2.pdparams", "where none is there"
    (tmp_path / "v1.2.npz").write_text("")
    assert find_state(str(prefix), *endings) == tmp_path / "v1.2.npz"
    (tmp_path / "v1.2.pdparams").write_text("")
    assert find_state(prefix, *endings) == tmp_path / "v1.2.pdparams"
    for ending in endings:
        assert find_state(f"{prefix}{ending}", *endings) == Path(f"{prefix}{ending}")
    for ending in (".pdopt", ".json"):  # a file beside it
        assert find_state(f"{prefix}{ending}", *endings) == tmp_path / "v1.2.pdparams"
    (tmp_path / "v1.2.pdparams").unlink()
    assert find_state(f"{prefix}.pdparams", *endings) == tmp_path / "v1.2.npz"
    for ending in (".pdparams", ".json", ""):
        assert find_state(f"{tmp_path}/none{ending}", ".npz") == tmp_path / "none.npz"


@pytest.fixture
def path(tmp_path):
    """A written training state."""
    path = tmp_path / "last_8.npz"
    write_training_state(path, PARTS, RECORD)
    return path


def bits(parts):
    """What tells two sets of parts apart, to the bit."""
    return {
        (part, name): (array.dtype, array.shape, array.tobytes())
        for part, arrays in parts.items()
        for name, array in arrays.items()
    }


def test_a_training_state_comes_back_to_the_bit(path):
    parts, record, sha256 = read_training_state(path)
    assert bits(parts) == bits(PARTS) and record == RECORD
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert np.load(path, allow_pickle=False)["network/a.weight"].shape == (3, 4)
    assert os.listdir(path.parent) == [path.name]


def test_no_byte_can_be_flipped_nor_the_end_cut_off_without_notice(path):
    whole, noticed = path.read_bytes(), 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            parts, record, _ = read_training_state(path)
        except UserError as error:
            assert str(error).startswith(f"{path}: ")
            noticed += 1
        else:  # such as a member's date
            assert bits(parts) == bits(PARTS) and record == RECORD
    assert noticed > 0.7 * len(whole)
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"last_8\.npz: not a training state: "):
            read_training_state(path)


def npy(array, **options) -> bytes:
    """A .npy file."""
    content = io.BytesIO()
    np.save(content, array, **options)
    return content.getvalue()


def archive(path, members, compression=zipfile.ZIP_STORED):
    """Writes a zip archive of named contents."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)


def overlapping(path):
    """An archive whose second member is the first once more."""
    content = npy(np.zeros(999))
    archive(path, {"network/a.npy": content, "network/b.npy": content[:200]})
    with zipfile.ZipFile(path, "a") as file:
        first, second = file.infolist()
        first.filename, second.header_offset = "network/b.npy", first.header_offset
        second.file_size = second.compress_size = first.file_size
        file._didModify = True


GOOD = {"record.npy": npy(np.frombuffer(b"{}", np.uint8))}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: archive(p, GOOD, zipfile.ZIP_DEFLATED), "compressed or overlap"),
        (overlapping, "compressed or overlap"),
        (lambda p: archive(p, {"a/b.npy": npy(np.array([{}]))}), "Object arrays cannot be loaded"),
        (lambda p: archive(p, {"a/b.npy": pickle.dumps(1)}), "not a training state"),
        (lambda p: archive(p, {"record.npy": npy(np.frombuffer(b"[]", np.uint8))}), "no JSON obj"),
        (lambda p: archive(p, {"record.npy": npy(np.frombuffer(b"{", np.uint8))}), "Expecting"),
        (lambda p: p.write_bytes(npy(np.zeros(3))), "not a zip file"),
        (lambda p: None, "missing; expected a training state"),
    ],
)
def test_what_is_no_training_state_is_one_line(tmp_path, make, message):
    path = tmp_path / "last_8.npz"
    make(path)
    with pytest.raises(UserError, match=rf"last_8\.npz: .*{message}") as error:
        read_training_state(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_states_that_paddle_writes_are_read_as_paddle_reads_them(tmp_path, protocol):
    network, path = SmallHashNet(), tmp_path / "a.pdparams"
    optimizer = paddle.optimizer.Momentum(0.1, parameters=network.parameters(), weight_decay=0.1)
    (network(paddle.ones([1, 3, 12, 12])) ** 2).sum().backward()
    optimizer.step()
    plain = {"epoch": 3, "lr": {"last": [0.5, None]}, "name": "é"}
    for state in (network.state_dict(), optimizer.state_dict(), plain):
        paddle.save(state, str(path), protocol=protocol)
        found, _, sha256 = read_state(path, "a state")
        expected = paddle.load(str(path), return_numpy=True)
        assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert isinstance(found[name], np.ndarray) == isinstance(value, np.ndarray)
            np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("protocol", [2, 3, 4])  # 4 is what `paddle.save` chose
def test_states_that_paddle_2_2_wrote_are_read_as_paddle_reads_them(tmp_path, protocol):
    arrays, path = values(SmallHashNet()), tmp_path / "a.pdparams"
    optimizer = paddle_2_2.published_momentum(arrays, epochs=10)
    masters = {
        name: paddle_2_2.Tensor(f"{paddle_2_2.internal_name(name)}_fp32_master_0", array + 1)
        for name, array in arrays.items()
    }
    weights = paddle_2_2.published_weights(arrays)
    for state in (weights, optimizer, {**optimizer, "master_weights": masters}):
        paddle_2_2.save(state, path, protocol)
        found, internal_names, _ = read_state(path, "a state")
        assert internal_names.get("classifier_plus.6.weight") in ("linear_5.w_0", None)
        expected = paddle.load(str(path), return_numpy=True)
        assert found.keys() == expected.keys() == state.keys()
        assert found.get("LR_Scheduler") == expected.get("LR_Scheduler")
        tensors = [name for name, each in state.items() if isinstance(each, paddle_2_2.Tensor)]
        assert len(tensors) == len(arrays)
        for name in tensors:
            np.testing.assert_array_equal(found[name], expected[name])
            np.testing.assert_array_equal(found[name], state[name].array)


def test_large_arrays_that_were_cut_up_are_put_together(tmp_path):
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    parts = {"w@@.0": whole.ravel()[:8], "w@@.1": whole.ravel()[8:]}
    note = {"w": {"OriginShape": (3, 4), "slices": ["w@@.0", "w@@.1"]}}
    path = tmp_path / "a.pdparams"
    path.write_bytes(pickle.dumps({**parts, "UnpackBigParamInfor@@": note}, 2))
    found, *_ = read_state(path, "x")
    assert found.keys() == {"w"}
    np.testing.assert_array_equal(found["w"], whole)


def test_only_the_whole_state_of_a_layer_is_assigned():
    layer = paddle.nn.Linear(2, 3)
    weight, bias = np.full((2, 3), 2.0, np.float16), np.full(3, 4.0)
    for state, message in (
        ({"weight": weight}, "missing: bias"),
        ({"weight": weight, "bias": bias, "scale": bias}, "unknown: scale"),
        ({"weight": weight.T, "bias": bias}, r"weight is float16 \[3, 2\], .* float \[2, 3\]"),
        ({"weight": weight, "bias": 4.0}, r"bias is float, the network's is float \[3\]"),
        ({"weight": weight, "bias": bias.astype(int)}, r"bias is int64 \[3\], .* float \[3\]"),
        ({"weight": weight, "bias": np.array(["a"] * 3)}, "bias is"),
        ({"weight": weight, "bias": None}, "bias is NoneType"),
    ):
        with pytest.raises(UserError, match=f"here: .*{message}"):
            assign_strictly(layer, state, "here")
        assert not (layer.weight.numpy() == 2).any() and not layer.bias.numpy().any()
    assign_strictly(layer, {"weight": weight, "bias": bias}, "here")
    assert (layer.weight.numpy() == 2).all() and (layer.bias.numpy() == 4).all()
    assert layer.weight.dtype == paddle.float32
    assign_strictly(layer, {"bias": bias + 1}, "here", partial=("weight",))
    assert (layer.weight.numpy() == 2).all() and (layer.bias.numpy() == 5).all()
