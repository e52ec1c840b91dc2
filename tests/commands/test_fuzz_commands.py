"""Whole commands on damaged files: exit status 2 and one line, never a traceback, never a hang."""

from __future__ import annotations

import random
import shutil

import pytest
from conftest import write_data_set

COMMON = ("--bit", "8", "--num-workers", "0", "--batch-size", "4", "--device", "cpu")


@pytest.fixture(scope="module")
def data(scratch):
    """Pictures, three lists, a card and weights for 8 bits."""
    import yaml

    from models import HashNet
    from utils.system.state_files import write_state

    folder = scratch / "data"
    folder.mkdir()
    train = write_data_set(folder, rows=4)
    for name in ("test.txt", "database.txt"):
        shutil.copy(train, folder / name)
    card = {"name": "n", "num_class": 3, "topK": -1, "data_path": str(folder)}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    write_state(folder / "weights_8.pdparams", HashNet(8).state_dict())
    return folder


def damage_end(content: bytes) -> bytes:
    """The file cut off in the middle."""
    return content[: len(content) // 2]


def noise(content: bytes) -> bytes:
    """Random bytes."""
    return bytes(random.Random(len(content)).randrange(256) for _ in range(500))


CASES = [
    ("weights_8.pdparams", damage_end),
    ("weights_8.pdparams", noise),
    ("picture 2.png", damage_end),
    ("picture 2.png", noise),
    ("database.txt", lambda content: content.replace(b"picture 1", b"../picture 1")),
    ("test.txt", noise),
    ("dataset.yaml", noise),
    ("dataset.yaml", lambda content: content + b"more: &a [1]\nagain: *a\n"),
]


@pytest.mark.parametrize(("name", "damage"), CASES)
@pytest.mark.timeout(120)
def test_a_damaged_file_is_one_line(run, data, tmp_path, name, damage):
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(damage(content))
    result = run(
        *("main_single_gpu.py", "--eval", *COMMON, "--dataset", folder, "--data-path", folder),
        *("--pretrained", folder / "weights_8", "--output-dir", tmp_path / "output"),
    )
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ") and name in line, line


def test_the_same_files_undamaged_are_evaluated(run, data, tmp_path):
    result = run(
        *("main_single_gpu.py", "--eval", *COMMON, "--dataset", data, "--data-path", data),
        *("--pretrained", data / "weights_8", "--output-dir", tmp_path / "output"),
    )
    assert result.returncode == 0, result.stderr
