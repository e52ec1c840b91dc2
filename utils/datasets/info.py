"""Data set cards: `data/<name>/dataset.yaml` says what a data set is, so that no code has to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from utils.system.errors import UserError, first_line

DATA_FOLDER = Path(__file__).resolve().parent.parent.parent / "data"
CARD_NAME = "dataset.yaml"
MAX_YAML = 1 << 20
SPLITS = ("train", "test", "database")
KINDS = ("list", "cifar10")
RESIZES = ("short_side", "square")
CIFAR_DATABASES = ("rest", "rest+train", "train")


@dataclass(frozen=True)
class Card:
    """What a card says.

    Attributes:
        name: the data set's name in log lines.
        folder: where the card is; list files are named relative to it.
        num_class: labels a picture.
        topK: K of MAP@K in the literature; -1 for the whole database.
        data_path: default folder of the pictures; relative to the repository's root.
        kind: 'list' (list files and pictures) or 'cifar10' (the official archive).
        lists: file name of each split's list.
        resize: 'short_side' (then a crop) or 'square' (the whole picture, no crop).
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


class _Loader(yaml.SafeLoader):
    """Plain YAML; an alias can make a small file a huge value, and no setting needs one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Composes the next node, unless it is an alias."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases (*) are not taken", mark)
        return super().compose_node(parent, index)


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """Reads a YAML file that maps names to values.

    Raises:
        UserError: it cannot be read, is not YAML, is not a mapping, or has aliases or more than
            `MAX_YAML` bytes.
    """
    try:
        if path.stat().st_size > MAX_YAML:
            raise UserError(f"{path}: more than {MAX_YAML} bytes; expected a short YAML file")
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # it is a safe one
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a UTF-8 text file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise UserError(f"{path}{line}: not valid YAML: {problem}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # a value that its own kind refuses, such as the date 2001-99-99
        raise UserError(f"{path}: not valid YAML: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected `name: value` lines, found {type(content).__name__}")
    return content


def read_card(dataset: str) -> Card:
    """Reads the card of a data set.

    Args:
        dataset: a folder's name in `data/`, or the path of a folder that holds a card.

    Raises:
        UserError: no such data set, or a card with unknown, missing or wrong entries.
    """
    folder = DATA_FOLDER / dataset
    if not os.path.isfile(folder / CARD_NAME):
        folder = Path(dataset)
    path = folder / CARD_NAME
    if not os.path.isfile(path):
        known = ", ".join(sorted(card.parent.name for card in DATA_FOLDER.glob(f"*/{CARD_NAME}")))
        raise UserError(
            f"--dataset {dataset}: unknown data set; known ones: {known}; "
            f"or give the path of a folder with a {CARD_NAME}"
        )
    return _card_from(path, read_yaml_mapping(path))


def _card_from(path: Path, entries: dict[str, Any]) -> Card:
    known = {f.name for f in fields(Card)} - {"folder"}
    for key in entries:
        if key not in known:
            raise UserError(f"{path}: unknown key {key!r}; known ones: {', '.join(sorted(known))}")
    for key in ("name", "num_class", "topK", "data_path"):
        if key not in entries:
            raise UserError(f"{path}: the key {key!r} is missing")
    for key, expected, is_right in _RULES:
        if key in entries and not is_right(entries[key]):
            raise UserError(f"{path}: {key}: expected {expected}, found {entries[key]!r}")
    card = Card(**{**entries, "folder": path.parent, "classes": tuple(entries.get("classes", ()))})
    if card.classes and len(card.classes) != card.num_class:
        raise UserError(f"{path}: {len(card.classes)} classes named, num_class is {card.num_class}")
    if card.kind == "cifar10" and not card.protocol:
        raise UserError(f"{path}: the key 'protocol' is missing; a cifar10 card needs it")
    return card


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _are_lists(value: Any) -> bool:
    return (
        isinstance(value, dict) and set(value) == set(SPLITS) and all(map(_is_text, value.values()))
    )


def _is_protocol(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"train_per_class", "test_per_class", "database"}
        and _is_count(value["train_per_class"])
        and _is_count(value["test_per_class"])
        and value["database"] in CIFAR_DATABASES
    )


_RULES: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("name", "text", _is_text),
    ("num_class", "a whole number of 1 or more", _is_count),
    ("topK", "a whole number of 1 or more, or -1 for all", lambda v: _is_count(v) or v == -1),
    ("data_path", "a folder's path", _is_text),
    ("kind", f"one of {', '.join(KINDS)}", lambda v: v in KINDS),
    ("lists", f"one file name each for {', '.join(SPLITS)}", _are_lists),
    ("resize", f"one of {', '.join(RESIZES)}", lambda v: v in RESIZES),
    (
        "protocol",
        "train_per_class, test_per_class (1 or more each) and database "
        f"(one of {', '.join(CIFAR_DATABASES)})",
        _is_protocol,
    ),
    ("classes", "a list of names", lambda v: isinstance(v, list) and all(map(_is_text, v))),
    ("provenance", "text", _is_text),
)
