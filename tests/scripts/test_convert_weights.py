"""torchvision's weights without PyTorch: both of its formats, wrapped, or one line."""

from __future__ import annotations

import io
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from helpers import fail, succeed

from scripts.convert_weights import read_torch_weights
from utils.system.errors import UserError

MAGIC = 0x1950A86A20F9469CFC6C


class Tensor:
    """Pickles itself as a tensor of PyTorch; `stride` None: its numbers stand in order."""

    def __init__(self, array, stride=None):
        self.array, self.stride = np.ascontiguousarray(array), stride

    def __reduce__(self):
        stride = self.stride or tuple(s // self.array.itemsize for s in self.array.strides)
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        arguments = (self, 0, self.array.shape, stride, False, OrderedDict())
        return rebuild, arguments


class Pickler(pickle.Pickler):
    """Keeps tensors' numbers outside, as PyTorch does."""

    def __init__(self, file, storages, legacy):
        super().__init__(file, 2)
        self.storages, self.legacy, self.seen = storages, legacy, set()

    def persistent_id(self, value):
        if not isinstance(value, Tensor) or id(value) not in self.seen:
            if isinstance(value, Tensor):
                self.seen.add(id(value))  # the first time it is the tensor, then its storage
            return None
        kind = {"f": {2: "Half", 4: "Float", 8: "Double"}}[value.array.dtype.kind]
        number = str(len(self.storages))
        self.storages[number] = value.array
        kind = getattr(sys.modules["torch"], f"{kind[value.array.itemsize]}Storage")
        key = ("storage", kind, number, "cpu", value.array.size)
        return (*key, None) if self.legacy else key


@pytest.fixture(autouse=True)
def torch(monkeypatch):
    """What PyTorch's pickles name; gone where they are read."""
    module, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("Half", "Float", "Double"):
        storage = type(f"{name}Storage", (), {"__module__": "torch"})
        setattr(module, f"{name}Storage", storage)

    def _rebuild_tensor_v2(): ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def write(path, state, legacy=False, compression=zipfile.ZIP_STORED):
    """Writes a .pth file."""
    storages, program = {}, io.BytesIO()
    Pickler(program, storages, legacy).dump(state)
    if not legacy:
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("archive/data.pkl", program.getvalue())
            for number, array in storages.items():
                archive.writestr(f"archive/data/{number}", array.tobytes())
        return path
    with path.open("wb") as file:
        for head in (MAGIC, 1001, {"protocol_version": 1001, "little_endian": True}):
            pickle.dump(head, file, 2)
        file.write(program.getvalue())
        pickle.dump(sorted(storages), file, 2)
        for number in sorted(storages):
            file.write(storages[number].size.to_bytes(8, "little") + storages[number].tobytes())
    return path


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapped", [None, "state_dict", "model"])
def test_both_formats_are_read_to_the_bit_wrapped_or_not(tmp_path, legacy, wrapped):
    rng = np.random.default_rng(1)
    arrays = {
        "features.0.weight": rng.normal(size=(4, 3, 2, 2)).astype(np.float32),
        "features.0.bias": rng.normal(size=4).astype(np.float16),
        "classifier.1.weight": rng.normal(size=(2, 5)),
    }
    prefix = "module." if wrapped == "model" else ""
    state = OrderedDict((prefix + name, Tensor(array)) for name, array in arrays.items())
    state._metadata = OrderedDict(version=1)
    content = {"epoch": 3, wrapped: state} if wrapped else state
    found = read_torch_weights(write(tmp_path / "a.pth", content, legacy))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


ONES = Tensor(np.ones((2, 2), np.float32))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": Harm()}, r"asks for posix\.mkdir"),
        ({"a": Tensor(np.array([np.nan], np.float32))}, "a has numbers that are not finite"),
        ({"a": Tensor(np.ones((2, 2), np.float32), (1, 2))}, "do not stand in order"),
        ({"a": ONES, "b": [1]}, "holds more than tensors"),
    ],
)
def test_what_holds_no_weights_is_one_line(tmp_path, state, message, legacy):
    with pytest.raises(UserError, match=message):
        read_torch_weights(write(tmp_path / "a.pth", state, legacy))
    assert not (tmp_path / "harm").exists() and not os.path.exists("harm")


def test_compressed_and_cut_off_files_are_one_line(tmp_path):
    path = write(tmp_path / "a.pth", {"a": ONES}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="compressed or overlap"):
        read_torch_weights(path)
    for legacy in (False, True):
        whole = write(tmp_path / "b.pth", {"a": ONES}, legacy).read_bytes()
        for size in range(0, len(whole) - 1, 5):
            path.write_bytes(whole[:size])
            with pytest.raises(UserError, match=r"a\.pth: "):
                read_torch_weights(path)


def test_other_shapes_are_one_line_and_the_real_ones_are_converted(real_data, tmp_path):
    output = tmp_path / "b.pdparams"
    source = real_data / "alexnet_tinyimagenet_fp16.pth"
    assert "16 arrays" in succeed("scripts/convert_weights.py", source, output)
    names = read_torch_weights(source)
    names["features.3.bias"] = names["features.3.bias"][:-1]
    other = write(tmp_path / "other.pth", {n: Tensor(a) for n, a in names.items()})
    said = fail("scripts/convert_weights.py", other, tmp_path / "c.pdparams")
    assert "features.3.bias is float32 [191], the network's is float [192]" in said
    assert not (tmp_path / "c.pdparams").exists()
