"""Small files that ask for much time or memory: each is refused in one line, and soon."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from fuzzing import only_user_errors, within_limits
from PIL import Image

from scripts.convert_weights import read_torch_weights
from utils.datasets.cifar10 import ARCHIVE, NAMES, read_archive
from utils.datasets.images import open_image
from utils.datasets.lists import read_list
from utils.system.state_files import read_record, read_state
from utils.training.published import RUNS_FILE, read_published

COLLIDING = [number * ((1 << 61) - 1) for number in range(1, 60_000)]
"""Whole numbers of one hash."""


def gigabyte(kind):
    """An archive whose one member is that large."""
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, 1 << 30
    return gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 30), 1)


def zipped(**contents):
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return file.getvalue()


def record(content):
    """A training state's record."""
    file = io.BytesIO()
    np.save(file, np.frombuffer(content, np.uint8))
    return zipped(record_npy=file.getvalue())


def tensors(*each):
    """A pickle of tensors as PyTorch has it: of each, its storage, how long that is, its shape."""
    one = b"U\1actorch._utils\n_rebuild_tensor_v2\n((U\7storagectorch\nFloatStorage\n"
    one += b"%bU\3cpuJ%btQK\0%bK\1\x85\x89NtR"
    parts = (one % (storage, struct.pack("<i", count), shape) for storage, count, shape in each)
    return b"\x80\2}(" + b"".join(parts) + b"u."


def image(form, *size):
    """A black image."""
    file = io.BytesIO()
    Image.new("RGB", size).save(file, form)
    return file.getvalue()


OLD = b"".join(pickle.dumps(each, 2) for each in (1, 1001, {}))
MANY = [(b"U\0010", 5_000_000, b"J" + struct.pack("<i", 5_000_000) + b"\x85")] * 400
HUGE = b"(" + (b"\x8a\x09" + b"\xff" * 8 + b"\x7f") * 100_000 + b"t"
OF_ONE_HASH = [(b"\x8a\x0a" + n.to_bytes(10, "little"), 0, b"K\0\x85") for n in COLLIDING]
WASTE = {
    "line": ("a.txt", lambda: b"ab " * 10**7),
    "header": (ARCHIVE, lambda: gigabyte(tarfile.XHDTYPE)),
    "long name": (ARCHIVE, lambda: gigabyte(tarfile.GNUTYPE_LONGNAME)),
    "batch": (NAMES[0], lambda: pickle.dumps(np.zeros(3), 2)),
    "lists": ("a.pdparams", lambda: b"\x80\4" + b"]" * 10**7),
    "record": ("a.npz", lambda: record(b"[" + b"[]," * 2 * 10**7 + b"1]")),
    "storage": ("a.pth", lambda: zipped(a__data_pkl=tensors(*MANY), a__data__0=bytes(20_000_000))),
    "shape": ("b.pth", lambda: OLD + tensors((b"U\0010", 0, HUGE))),
    "numbers": ("c.pth", lambda: OLD + tensors(*OF_ONE_HASH)),
    "thin image": ("a.png", lambda: image("PNG", 1, 30_000)),
    "wide image": ("a.gif", lambda: image("GIF", 9000, 1)),
    "large image": ("a.webp", lambda: image("WEBP", 5000, 5000)),
}
READ = {
    **{".txt": lambda path: read_list(path, 3), ".pdparams": lambda path: read_state(path, "a")},
    **{".npz": read_record, ".pth": read_torch_weights},
    **dict.fromkeys((".gz", ""), lambda path: read_archive(path.parent)),
}


@pytest.mark.parametrize("case", WASTE)
def test_waste_is_one_line(tmp_path, case):
    name, content = WASTE[case]
    path = tmp_path / name
    path.write_bytes(content())
    assert not only_user_errors(lambda: READ.get(path.suffix, open_image)(path), path)


def test_what_is_unknown_or_of_one_hash_takes_no_memory_or_time(tmp_path):
    lists, table = tmp_path / "database.txt", tmp_path / RUNS_FILE
    lists.write_text("a.jpg\nb.jpg 1" + " 0" * 60_000 + "\n" + "c.jpg\n" * 20_000)
    rows = "".join(f"16,{epoch},,,1,\n" for epoch in COLLIDING[:30_000])
    table.write_text(f"bit,epoch,_,_,train_loss,map_at_5000\n{rows}")
    with within_limits():
        images = read_list(lists, 60_001, unlabelled=True)
        assert read_published(tmp_path, 16) == {}
    assert images.labels.shape == (20_002, 60_001)
    assert np.argwhere(images.labels[:3]).tolist() == [[1, 0]]
