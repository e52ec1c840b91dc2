"""What a data set is: `data/<name>/dataset.yaml` says it, so that no code has to."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from utils.system.errors import UserError, short_repr
from utils.system.files import MAX_TEXT, is_path, leaves_folder, open_untrusted

MAX_VALUES, MAX_DIGITS = 30_000, 20
"""Of a YAML file, and of a whole number in it, at most."""
_TEXT, _NUMBER = "tag:yaml.org,2002:str", "tag:yaml.org,2002:int"
DATA_FOLDER = Path(__file__).resolve().parents[2] / "data"
INFO_FILE = "dataset.yaml"
SPLITS = ("train", "test", "database")
KINDS = ("list", "cifar10")
MAX_CLASSES = 1 << 16
RESIZES = ("short_side", "square")
CIFAR_DATABASES = ("rest", "rest+train", "train")


@dataclass(frozen=True)
class DatasetInfo:
    """What `dataset.yaml` says.

    Attributes:
        name: the data set's name in log lines.
        folder: where the file is; list files are named relative to it.
        num_class: labels an image.
        topK: K of MAP@K in the literature; -1 for the whole database.
        data_path: default folder of the images; see `image_folder`.
        kind: 'list' (list files and images) or 'cifar10' (the official archive).
        lists: file name of each split's list; the database's alone: it can be searched.
        resize: 'short_side' (then a crop) or 'square' (the whole image, no crop).
        protocol: for cifar10: `train_per_class`, `test_per_class` and `database`.
        classes: names of the label columns, or empty.
        provenance: where the data comes from, for people.
    """

    name: str
    folder: Path
    num_class: int
    topK: int
    data_path: str
    kind: str = "list"
    lists: dict[str, str] = field(default_factory=lambda: {s: f"{s}.txt" for s in SPLITS})
    resize: str = "short_side"
    protocol: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    provenance: str = ""

    @property
    def image_folder(self) -> Path:
        """`data_path`: of a card in data/ relative to the repository, else to the card's folder."""
        path = Path(os.path.expanduser(self.data_path))
        is_ours = self.folder.resolve().parent == DATA_FOLDER
        return in_repository(path) if is_ours else self.folder / path

    def settings(self) -> dict[str, Any]:
        """A run's settings that are the data set's where nothing else is said."""
        folder = str(self.image_folder)
        return {"num_class": self.num_class, "topK": self.topK, "data_path": folder}


def in_repository(path: str | os.PathLike) -> Path:
    """A path; a relative one is the repository's, and stays short where the command runs there."""
    root = DATA_FOLDER.parent
    return Path(path) if Path.cwd() == root else root / path


class _Loader(yaml.SafeLoader):
    """Refuses what makes a small file huge or slow, and a key that stands twice."""

    _values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark, is_alias = self.peek_event().start_mark, self.check_event(yaml.AliasEvent)
        self._values += 1
        if is_alias or self._values > MAX_VALUES:
            problem = "aliases (*)" if is_alias else f"more than {MAX_VALUES:,} values"
            raise yaml.composer.ComposerError(None, None, f"{problem} are not taken", mark)
        node = super().compose_node(parent, index)
        is_key = isinstance(parent, yaml.MappingNode) and index is None
        if is_key and node.tag != _TEXT:  # numbers may all have one hash
            raise yaml.composer.ComposerError(None, None, "a key that is no text", mark)
        if node.tag == _NUMBER and len(node.value) > MAX_DIGITS:
            raise yaml.composer.ComposerError(None, None, "a number of many digits", mark)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        first: dict[str, Any] = {}
        for key, _ in node.value:
            if first.setdefault(key.value, key) is not key:  # else the last one would count
                problem = f"{short_repr(key.value)} stands there twice"
                raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml_mapping(path: Path, expected: str) -> dict[str, Any]:
    """Reads a YAML file that maps names to values, and should be what `expected` says.

    Raises a `UserError` where it is not, has keys that are no text or stand twice, or what makes a
    small file a huge value or a slow one: aliases, numbers of many digits, very many values.
    """
    with open_untrusted(path, expected, MAX_TEXT) as file:
        try:
            content = yaml.load(file.read().decode(), Loader=_Loader)  # it is a safe one
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or "it cannot be parsed"
            raise UserError(f"{path}{line}: not valid YAML: {problem}") from error
        if not isinstance(content, dict):
            raise ValueError(f"expected `name: value` lines, found {type(content).__name__}")
        return content


def read_dataset_info(dataset: str) -> DatasetInfo:
    """Reads what a data set is.

    `dataset` is a folder's name in `data/`, or the path of a folder that holds `dataset.yaml`.
    Raises a `UserError` for another, or a file with unknown, missing or wrong entries.
    """
    for folder in (DATA_FOLDER / dataset, Path(dataset)):
        path = folder / INFO_FILE
        if os.path.exists(path):  # Path.exists raises where a name is too long
            return _checked(path, read_yaml_mapping(path, "a data set's description in YAML"))
    known = ", ".join(sorted(path.parent.name for path in DATA_FOLDER.glob(f"*/{INFO_FILE}")))
    raise UserError(
        f"--dataset {dataset}: unknown data set; known ones: {known}; "
        f"or give the path of a folder with a {INFO_FILE}"
    )


def _checked(path: Path, entries: dict[str, Any]) -> DatasetInfo:
    for key, value in entries.items():
        if key not in _EXPECTED:
            known = ", ".join(_EXPECTED)
            raise UserError(f"{path}: unknown key {short_repr(key)}; known ones: {known}")
        if not _is_right(key, value):
            found = short_repr(value)
            raise UserError(f"{path}: {key}: expected {_EXPECTED[key]}, found {found}")
    for key in ("name", "num_class", "topK", "data_path"):
        if key not in entries:
            raise UserError(f"{path}: the key {key!r} is missing")
    classes = tuple(entries.get("classes", ()))
    info = DatasetInfo(**{**entries, "folder": path.parent, "classes": classes})
    if info.classes and len(info.classes) != info.num_class:
        raise UserError(f"{path}: {len(info.classes)} classes named, num_class is {info.num_class}")
    if info.kind == "cifar10" and not (info.protocol and info.num_class == 10):
        raise UserError(f"{path}: kind cifar10 needs the key 'protocol', and num_class 10")
    return info


_EXPECTED = {
    "name": "text without / and \\",
    "num_class": f"a whole number of 1 or more, and less than {MAX_CLASSES}",
    "topK": "a whole number of 1 or more, or -1 for all",
    "data_path": "a folder's path",
    "kind": f"one of {', '.join(KINDS)}",
    "lists": f"one file name each for {', '.join(SPLITS)}, in the folder; or for database alone",
    "resize": f"one of {', '.join(RESIZES)}",
    "protocol": "train_per_class, test_per_class (1 or more each) and database "
    f"(one of {', '.join(CIFAR_DATABASES)})",
    "classes": "a list of names",
    "provenance": "text",
}
_PROTOCOL = ("train_per_class", "test_per_class", "database")
_CHOICES = {"kind": KINDS, "resize": RESIZES, "database": CIFAR_DATABASES}
_COUNTS = ("num_class", "topK", "train_per_class", "test_per_class")


def _is_right(key: str, value: Any) -> bool:
    if key == "lists":
        return isinstance(value, dict) and (
            set(value) in (set(SPLITS), {"database"})
            and all(_is_right("list", each) and not leaves_folder(each) for each in value.values())
        )
    if key == "protocol":
        return isinstance(value, dict) and (
            set(value) == set(_PROTOCOL) and all(_is_right(part, value[part]) for part in value)
        )
    if key == "classes":
        return isinstance(value, list) and all(_is_right("class", each) for each in value)
    if key in _COUNTS:
        limit = MAX_CLASSES if key == "num_class" else 1 << 31
        return type(value) is int and (1 <= value < limit or (key == "topK" and value == -1))
    if not isinstance(value, str) or not value.strip() or not is_path(value):
        return False
    if key == "name":  # files are called after it
        return not {"/", "\\"} & set(value)
    return value in _CHOICES.get(key, (value,))
