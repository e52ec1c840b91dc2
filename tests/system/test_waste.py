"""Small files that ask for much time or memory: each is refused in one line, and soon."""

from __future__ import annotations

import gzip
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from fuzzing import only_user_errors, within_limits
from PIL import Image
from test_state_files import archive, npy

from scripts.convert_weights import read_torch_weights
from utils.datasets.cifar10 import ARCHIVE, NAMES, read_archive
from utils.datasets.images import open_image
from utils.datasets.lists import read_list
from utils.system.state_files import read_record
from utils.training.published import RUNS_FILE, read_published

COLLIDING = [number * ((1 << 61) - 1) for number in range(1, 60_000)]
"""Whole numbers of one hash."""


def tensors(*each):
    """A pickle of tensors as PyTorch has it: of each, its storage, how long that is, its shape."""
    one = b"U\1actorch._utils\n_rebuild_tensor_v2\n((U\7storagectorch\nFloatStorage\n"
    one += b"%bU\3cpuJ%btQK\0%bK\1\x85\x89NtR"
    parts = (one % (storage, struct.pack("<i", count), shape) for storage, count, shape in each)
    return b"\x80\2}(" + b"".join(parts) + b"u."


GIGABYTE = tarfile.TarInfo("x")
GIGABYTE.type, GIGABYTE.size = tarfile.XHDTYPE, 1 << 30
RECORD = np.frombuffer(b"[" + b"[]," * 2 * 10**7 + b"1]", np.uint8)
OLD = b"".join(pickle.dumps(each, 2) for each in (1, 1001, {}))
MANY = [(b"U\0010", 5_000_000, b"J" + struct.pack("<i", 5_000_000) + b"\x85")] * 400
HUGE = b"(" + (b"\x8a\x09" + b"\xff" * 8 + b"\x7f") * 100_000 + b"t"
OF_ONE_HASH = [(b"\x8a\x0a" + n.to_bytes(10, "little"), 0, b"K\0\x85") for n in COLLIDING]
WASTE = {
    "a.txt": lambda: b"ab " * 10**7,
    ARCHIVE: lambda: gzip.compress(GIGABYTE.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 30), 1),
    NAMES[0]: lambda: pickle.dumps(np.zeros(3), 2),
    "a.npz": lambda: {"record.npy": npy(RECORD)},
    "a.pth": lambda: {"a/data.pkl": tensors(*MANY), "a/data/0": bytes(20_000_000)},
    "shape.pth": lambda: OLD + tensors((b"U\0010", 0, HUGE)),
    "numbers.pth": lambda: OLD + tensors(*OF_ONE_HASH),
    "thin.png": lambda: Image.new("RGB", (1, 30_000)),
    "large.webp": lambda: Image.new("RGB", (6000, 6000)),
}
READ = {".txt": lambda path: read_list(path, 3), ".npz": read_record, ".pth": read_torch_weights}
READ |= dict.fromkeys((".gz", ""), lambda path: read_archive(path.parent))


@pytest.mark.parametrize("name", WASTE)
def test_waste_is_one_line(tmp_path, name):
    path, content = tmp_path / name, WASTE[name]()
    write = {bytes: Path.write_bytes, dict: archive}.get(type(content))
    write(path, content) if write else content.save(path)
    assert not only_user_errors(lambda: READ.get(path.suffix, open_image)(path), path)


def test_what_is_unknown_or_of_one_hash_takes_no_memory_or_time(tmp_path):
    path, rows = tmp_path / "a.txt", "".join(f"16,{n},,,1,\n" for n in COLLIDING[:30_000])
    path.write_text("a.jpg\nb.jpg 1" + " 0" * 60_000 + "\n" + "c.jpg\n" * 20_000)
    (tmp_path / RUNS_FILE).write_text(f"bit,epoch,_,_,train_loss,map_at_5000\n{rows}")
    with within_limits():
        images = read_list(path, 60_001, unlabelled=True)
        assert read_published(tmp_path, 16) == {}
    assert images.labels.shape == (20_002, 60_001)
    assert np.argwhere(images.labels[:3]).tolist() == [[1, 0]]
