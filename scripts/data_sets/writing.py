"""A data set's folder: its card and its three lists, all of them or none."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from scripts.data_sets.rows import Rows
from utils.datasets.info import CARD_NAME, DATA_FOLDER, SPLITS, Card, read_card
from utils.system.errors import UserError
from utils.system.files import replacing

ROOT = DATA_FOLDER.parent


@dataclass(frozen=True)
class NewCard:
    """What a new data set's card will say; see `utils.datasets.info.Card`."""

    name: str
    num_class: int
    topK: int
    data_path: str
    provenance: str
    classes: tuple[str, ...] = field(default=())

    def as_yaml(self) -> str:
        """The text of `dataset.yaml`."""
        entries = {
            "name": self.name,
            "num_class": self.num_class,
            "topK": self.topK,
            "data_path": self.data_path,
            "lists": {split: f"{split}.txt" for split in SPLITS},
            "provenance": self.provenance,
        }
        if self.classes:
            entries["classes"] = list(self.classes)
        return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=98)


def write_data_set(
    folder: Path, card: NewCard, lists: Mapping[str, Rows], force: bool, new_card: bool = False
) -> None:
    """Writes the lists 'train', 'test' and 'database', and a card where there is none.

    Args:
        folder: where to.
        card: its card; a card that is there already stays, if it is of the same classes.
        lists: the rows of each list.
        force: write over files that are there.
        new_card: with `force`, write over the card too.

    Raises:
        UserError: files are there and `force` is not set, the card there is another data set's,
            a path cannot stand in a list, or the folder cannot be written.
    """
    refuse_to_overwrite(folder, force, new_card)
    names, kept = _names_and_kept_card(folder, new_card)
    contents = {folder / names[split]: as_text(lists[split]) for split in SPLITS}
    if kept is None:
        contents = {folder / CARD_NAME: card.as_yaml().encode(), **contents}
    else:
        _check_same_classes(folder / CARD_NAME, kept, card)
    for path in contents:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: cannot be written: it is no file")
    with contextlib.ExitStack() as stack:
        for path, content in contents.items():  # the card first, so that it is moved last
            stack.enter_context(replacing(path)).write_bytes(content)


def refuse_to_overwrite(folder: Path, force: bool, new_card: bool = False) -> None:
    """Refuses a folder that holds what `write_data_set` would write; to be asked before long work.

    Raises:
        UserError: files are there and `force` is not set.
    """
    names, kept = _names_and_kept_card(folder, new_card)
    files = [*names.values(), *([CARD_NAME] if kept is None else [])]
    there = [folder / name for name in files if (folder / name).exists()]
    if there and not force:
        raise UserError(
            f"{there[0]}: is there already; --force writes over it, --out FOLDER writes elsewhere"
        )


def _names_and_kept_card(folder: Path, new_card: bool) -> tuple[dict[str, str], Card | None]:
    if new_card or not (folder / CARD_NAME).exists():
        return {split: f"{split}.txt" for split in SPLITS}, None
    card = read_card(str(folder.resolve()))
    return card.lists, card


def _check_same_classes(path: Path, there: Card, card: NewCard) -> None:
    other_classes = there.classes and card.classes and there.classes != card.classes
    if there.kind != "list" or there.num_class != card.num_class or other_classes:
        raise UserError(
            f"{path}: the card of another data set ({there.name}, {there.num_class} labels); "
            "--out FOLDER writes elsewhere"
        )


def as_text(rows: Rows) -> bytes:
    """A list file's content.

    Raises:
        UserError: a path that a list cannot hold.
    """
    digits = (rows.labels + ord("0")).astype(np.uint8)
    spaced = np.full((len(rows), 2 * rows.labels.shape[1]), ord(" "), np.uint8)
    spaced[:, 1::2] = digits
    return b"".join(
        _path_bytes(picture) + labels.tobytes() + b"\n"
        for picture, labels in zip(rows.pictures, spaced)
    )


def _path_bytes(picture: str) -> bytes:
    unfit = picture != picture.strip() or "\n" in picture or "\r" in picture
    outside = os.path.isabs(picture) or os.path.normpath(picture).split(os.sep)[0] == os.pardir
    with contextlib.suppress(UnicodeEncodeError):
        if not unfit and not outside:
            return picture.encode()
    cause = "it leads out of the picture folder" if outside else "rename the file or its folder"
    raise UserError(f"{picture!r}: this path cannot stand in a list: {cause}")


def chosen_rows(
    source: str, pictures: Sequence[str], labels: np.ndarray, draw: Mapping[str, np.ndarray]
) -> dict[str, Rows]:
    """The rows that a draw chooses of all pictures, list by list.

    Args:
        source: what names the pictures, for messages.
        pictures: n paths.
        labels: [n, num_class] uint8 of 0 and 1.
        draw: list → rows of the pictures.
    """
    return {
        name: Rows(source, tuple(pictures[row] for row in rows), labels[rows], rows + 1)
        for name, rows in draw.items()
    }


def data_set_name(folder: Path) -> str:
    """What `--dataset` takes for a data set's folder: its name in data/, or its path."""
    return folder.name if folder.resolve().parent == DATA_FOLDER else str(folder)


def data_path_for_card(pictures: Path) -> str:
    """A picture folder as a card names it: relative to the repository in it, else absolute."""
    path = pictures.resolve()
    return path.relative_to(ROOT).as_posix() if ROOT in path.parents else path.as_posix()


def picture_folder(card: Card) -> Path:
    """Where a card says that the pictures are."""
    return ROOT / card.data_path


def command_line(script: str, *words: str) -> str:
    """A command that can be pasted where this one was typed."""
    path = script if Path.cwd() == ROOT else str(ROOT / script)
    return shlex.join(["python", path, *words])
