"""dataset.yaml: those that ship, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from utils.datasets.info import DATA_FOLDER, read_dataset_info
from utils.system.errors import UserError

SHIPPED = {  # labels, K of MAP@K
    "coco": (80, 5000),
    "coco_lite": (80, 5000),
    "nuswide_21": (21, 5000),
    "nuswide_81": (81, 5000),
    "imagenet": (100, 1000),
    "mirflickr": (38, -1),
    "voc2012": (20, -1),
    "cifar10": (10, -1),
    "cifar10-1": (10, -1),
    "cifar10-2": (10, -1),
}
PROTOCOLS = {
    "cifar10": (500, 100, "rest"),
    "cifar10-1": (500, 100, "rest+train"),
    "cifar10-2": (5000, 1000, "train"),
}
PROTOCOL_KEYS = ("train_per_class", "test_per_class", "database")
GOOD = {"name": "mine", "num_class": 3, "topK": 7, "data_path": "images"}


@pytest.fixture
def read(tmp_path):
    """Writes the good entries with the given changes (`...` takes one out), or bytes; reads."""

    def write_and_read(changes):
        content = changes
        if not isinstance(changes, bytes):
            entries = {k: v for k, v in {**GOOD, **changes}.items() if v is not ...}
            content = yaml.safe_dump(entries).encode()
        (tmp_path / "dataset.yaml").write_bytes(content)
        return read_dataset_info(str(tmp_path))

    return write_and_read


def test_shipped_ones_say_what_the_literature_does():
    assert {path.parent.name for path in DATA_FOLDER.glob("*/dataset.yaml")} == SHIPPED.keys()
    for name, expected in SHIPPED.items():
        info = read_dataset_info(name)
        assert (info.name, info.folder) == (name, DATA_FOLDER / name)
        assert (info.num_class, info.topK) == expected
        assert info.provenance.strip() and info.data_path.startswith("datasets/")
    for name, protocol in PROTOCOLS.items():
        info = read_dataset_info(name)
        assert info.protocol == dict(zip(PROTOCOL_KEYS, protocol))
        assert (info.kind, info.resize, len(info.classes)) == ("cifar10", "square", 10)


def test_a_new_data_set_is_a_folder_with_a_dataset_yaml(read, tmp_path):
    found = read({"classes": ["a", "b", "c"]})
    assert (found.name, found.num_class, found.topK) == ("mine", 3, 7)
    assert found.folder == tmp_path and found.classes == ("a", "b", "c")
    assert found.lists == {"train": "train.txt", "test": "test.txt", "database": "database.txt"}
    assert (found.kind, found.resize) == ("list", "short_side")


@pytest.mark.parametrize("name", ["cocoa", "x" * 300, "/nowhere/" + "y/" * 3000, "a\0b"])
def test_an_unknown_data_set_s_message_names_the_known_ones(name):
    with pytest.raises(UserError, match="unknown data set") as error:
        read_dataset_info(name)
    assert all(known in str(error.value) for known in SHIPPED)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, "unknown key 'colour'"),
        ({"num_class": ...}, "'num_class' is missing"),
        ({"num_class": 0}, "num_class: expected a whole number"),
        ({"topK": 0}, "topK: expected"),
        ({"data_path": 5}, "data_path: expected"),
        ({"classes": ["a", "b"]}, "2 classes named, num_class is 3"),
        ({"kind": "folder"}, "kind: expected one of list, cifar10, found 'folder'"),
        ({"resize": "round"}, "resize: expected one of"),
        ({"lists": {"train": "train.txt"}}, "lists: expected"),
        ({"kind": "cifar10"}, "needs the key 'protocol', and num_class 10"),
        ({"name": "../a"}, "name: expected text without / and"),
        ({"num_class": 1 << 16}, "num_class: .* less than 65536"),
        ({"protocol": dict(zip(PROTOCOL_KEYS, ("1", 1, "rest")))}, "protocol: expected"),
        ({"protocol": dict(zip(PROTOCOL_KEYS, (1, 1, "none")))}, "protocol: expected"),
        (b"name: [1, 2\nnum_class: 3\n", r"line \d+: not valid YAML"),
        (b"- a\n- b\n", "expected `name: value` lines, found list"),
        (b"name: \xff\n", "not a data set's description in YAML: .*utf-8"),
        (b"a: &a [x]\nb: [*a, *a]\n", "line 2: not valid YAML: aliases"),
        (b"num_class: 3\nnum_class: 4\n", "line 2: not valid YAML: 'num_class' stands there twice"),
        (b"lists: {train: a, train: b}\n", "line 1: not valid YAML: 'train' stands there twice"),
        (b'name: "\\ud800"\n', "name: expected text"),
        (b'lists: {database: "\\udfff.txt"}\n', "lists: expected"),
        (b"topK: 0x" + b"F" * 5000, "line 1: not valid YAML: a number of many digits"),
    ],
)
def test_a_wrong_one_s_message_is_one_line_that_names_file_and_key(read, changes, message):
    with pytest.raises(UserError, match=r"dataset\.yaml[:,] .*" + message) as error:
        read(changes)
    assert "\n" not in str(error.value)


def test_a_card_s_image_folder_is_what_people_expect(read, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert read({}).image_folder == tmp_path / "images"
    assert read({"data_path": "../photos"}).image_folder == tmp_path / "../photos"
    assert read({"data_path": "~/photos"}).image_folder == Path("/home/me/photos")
    assert read({"data_path": "/photos"}).image_folder == Path("/photos")
    shipped = read_dataset_info("coco_lite").image_folder
    assert shipped.resolve() == DATA_FOLDER.parent / "datasets/coco_lite"


@pytest.mark.parametrize("lists", [{"train": "/etc/passwd"}, {"train": "../t.txt"}, {"test": "a"}])
def test_lists_lie_in_the_card_s_folder(read, lists):
    with pytest.raises(UserError, match="lists: expected one file name each"):
        read({"lists": {"train": "t.txt", "test": "q.txt", "database": "d.txt", **lists, "x": "y"}})
    if "test" not in lists:
        names = {"train": "t.txt", "test": "q.txt", "database": "d.txt", **lists}
        with pytest.raises(UserError, match="lists: expected one file name each"):
            read({"lists": names})
    assert read({"lists": {"database": "d.txt"}}).lists == {"database": "d.txt"}
