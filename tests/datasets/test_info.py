"""Data set cards: those that ship, and what a wrong one is told."""

from __future__ import annotations

import pytest
import yaml

from utils.datasets.info import DATA_FOLDER, read_card
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
PROTOCOLS = {"cifar10": (500, 100, "rest"), "cifar10-1": (500, 100, "rest+train")}
PROTOCOLS["cifar10-2"] = (5000, 1000, "train")
GOOD = {"name": "mine", "num_class": 3, "topK": 7, "data_path": "pictures"}


@pytest.fixture
def card(tmp_path):
    """Writes a card of the good entries and the given changes (None takes one out), reads it."""

    def write_and_read(changes):
        entries = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
        (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(entries), encoding="utf-8")
        return read_card(str(tmp_path))

    return write_and_read


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_card_says_what_the_literature_does(name):
    card = read_card(name)
    assert (card.num_class, card.topK) == SHIPPED[name]
    assert card.name == name and card.folder == DATA_FOLDER / name
    assert card.provenance.strip() and card.data_path.startswith("datasets/")


def test_every_folder_of_data_has_a_card_of_a_known_data_set():
    assert {path.parent.name for path in DATA_FOLDER.glob("*/dataset.yaml")} == SHIPPED.keys()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_cifar10_s_cards_hold_the_protocols_of_the_literature(name):
    card = read_card(name)
    keys = ("train_per_class", "test_per_class", "database")
    assert card.protocol == dict(zip(keys, PROTOCOLS[name]))
    assert (card.kind, card.resize, len(card.classes)) == ("cifar10", "square", 10)


def test_a_new_data_set_is_a_folder_with_a_card(card, tmp_path):
    found = card({"classes": ["a", "b", "c"]})
    assert (found.name, found.num_class, found.topK) == ("mine", 3, 7)
    assert found.folder == tmp_path and found.classes == ("a", "b", "c")
    assert found.lists == {"train": "train.txt", "test": "test.txt", "database": "database.txt"}
    assert (found.kind, found.resize) == ("list", "short_side")


def test_an_unknown_data_set_s_message_names_the_known_ones():
    with pytest.raises(UserError, match="--dataset cocoa: unknown data set") as error:
        read_card("cocoa")
    assert all(name in str(error.value) for name in SHIPPED)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, "unknown key 'colour'"),
        ({"num_class": None}, "'num_class' is missing"),
        ({"data_path": None}, "'data_path' is missing"),
        ({"num_class": 0}, "num_class: expected a whole number"),
        ({"num_class": "3"}, "num_class: expected a whole number"),
        ({"num_class": True}, "num_class: expected a whole number"),
        ({"topK": 0}, "topK: expected"),
        ({"topK": -2}, "topK: expected"),
        ({"topK": 1.5}, "topK: expected"),
        ({"classes": ["a", "b"]}, "2 classes named, num_class is 3"),
        ({"kind": "folder"}, "kind: expected one of list, cifar10, found 'folder'"),
        ({"resize": "round"}, "resize: expected one of"),
        ({"lists": {"train": "train.txt"}}, "lists: expected"),
        ({"lists": "train.txt"}, "lists: expected"),
    ],
)
def test_a_wrong_card_s_message_names_file_and_key(card, changes, message):
    with pytest.raises(UserError, match=r"dataset\.yaml: .*" + message):
        card(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"data_path": 5},
        {"classes": 5},
        {"lists": {"train": 1, "test": 2, "database": 3}},
        {"kind": "cifar10"},
        {"kind": "cifar10", "protocol": {"train_per_class": 1, "test_per_class": 1}},
        {"kind": "cifar10", "protocol": ["train_per_class"]},
        {
            "kind": "cifar10",
            "protocol": {"train_per_class": "1", "test_per_class": 1, "database": "rest"},
        },
    ],
    ids=["data_path", "classes", "lists", "no protocol", "part of it", "its type", "its values"],
)
def test_entries_of_the_wrong_type_are_told_when_the_card_is_read(card, changes):
    with pytest.raises(UserError, match=r"dataset\.yaml: "):
        card(changes)


def test_an_entry_left_empty_is_told(tmp_path):
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump({**GOOD, "classes": None}))
    with pytest.raises(UserError, match=r"dataset\.yaml: "):
        read_card(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [1, 2\nnum_class: 3\n", r"dataset\.yaml, line \d+: not valid YAML"),
        (b"- a\n- b\n", "expected `name: value` lines, found list"),
        (b"", "expected `name: value` lines"),
        (b"name: \xff\n", "not a UTF-8 text file"),
    ],
)
def test_a_file_that_is_no_card_is_one_line(tmp_path, content, message):
    (tmp_path / "dataset.yaml").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_card(str(tmp_path))
    assert "\n" not in str(error.value)
