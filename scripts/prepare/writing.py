"""A data set's folder: its dataset.yaml and its three lists, all of them or none."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from scripts.prepare.summary import as_lines, describe
from utils.config import Config
from utils.datasets.info import DATA_FOLDER, INFO_FILE, SPLITS, DatasetInfo, read_dataset_info
from utils.datasets.lists import ImageList
from utils.system.errors import UserError, tell
from utils.system.files import atomic_write, check_writable, leaves_folder

ROOT = DATA_FOLDER.parent
LIST_NAMES = {split: f"{split}.txt" for split in SPLITS}


class DatasetFolder:
    """A folder that lists will be written to; made before long work, so that it is refused early.

    With `force`, lists that are there are written over, else they are a `UserError`; with
    `new_info` so is a dataset.yaml, else one that is there stays.
    """

    def __init__(
        self, path: Path, force: bool, new_info: bool = False, lists: Sequence[str] = SPLITS
    ):
        self.path, self._info_file = path, path / INFO_FILE
        self._is_ours = path.resolve().parent == DATA_FOLDER
        kept = self._info_file.exists() and not new_info
        self._kept = read_dataset_info(str(path.resolve())) if kept else None
        names = self._kept.lists if kept else LIST_NAMES
        self._lists = {split: path / names[split] for split in lists}
        for file in [*self._lists.values(), *([] if kept else [self._info_file])]:
            if file.exists() and not force:
                there = f"{file}: is there already"
                raise UserError(f"{there}; --force writes over it, --out FOLDER writes elsewhere")
        check_writable(next(each for each in (path, *path.parents) if each.is_dir()), flag="--out")

    def write(
        self, info: DatasetInfo, lists: Mapping[str, ImageList], images: Path | None = None
    ) -> None:
        """Writes the lists, all three or the database's alone, and dataset.yaml unless it stays.

        Says what they amount to. The images are where `images` says, or else `info`, whose names of
        lists do not count.
        """
        contents = {path: as_text(lists[split]) for split, path in self._lists.items()}
        if images:  # of a card in data/ the path is relative to the repository
            folder = images.resolve()
            if self._is_ours and ROOT in folder.parents:
                folder = folder.relative_to(ROOT)
            info = replace(info, data_path=folder.as_posix())
        if self._kept:
            self._check_same_classes(info)
        else:
            info = replace(info, lists={split: path.name for split, path in self._lists.items()})
            contents = {self._info_file: _as_yaml(info), **contents}
        for path in contents:
            if path.exists() and not path.is_file():
                raise UserError(f"{path}: cannot be written: it is no file")
        with contextlib.ExitStack() as stack:
            for path, content in contents.items():  # dataset.yaml first, so that it is moved last
                stack.enter_context(atomic_write(path)).write_bytes(content)
        if len(lists) == len(SPLITS):
            for line in as_lines(describe(lists, info.classes)):
                tell(line)
        else:
            print(f"{len(lists['database']):,} database images without labels")
        self._print_next_steps(images)

    def _check_same_classes(self, info: DatasetInfo) -> None:
        there = self._kept
        other_classes = there.classes and info.classes and there.classes != info.classes
        if there.kind != "list" or there.num_class != info.num_class or other_classes:
            raise UserError(
                f"{self._info_file}: it is another data set's ({there.name}, {there.num_class} "
                "labels); --out FOLDER writes elsewhere"
            )

    def _print_next_steps(self, images: Path | None) -> None:
        """The commands that check the data set and train on it, to be pasted."""
        words = ["--dataset", self.path.name if self._is_ours else str(self.path)]
        if images and self._kept and self._kept.image_folder.resolve() != images.resolve():
            words += ["--data-path", str(images)]
        train = ["main_single_gpu.py", "--bit", "64", *words]
        if random_weights := not (ROOT / Config.backbone_weights).is_file():
            train += ["--backbone-weights", "none"]
        commands = [["scripts/check_data.py", *words], train]
        if len(self._lists) < len(SPLITS):  # nothing to train on: others' weights search it
            random_weights = False
            commands = [["predict.py", *words, "--pretrained", "WEIGHTS", "--img", "IMAGE"]]
        tell(f"written to {self.path}; next:")
        for script, *rest in commands:
            path = script if Path.cwd() == ROOT else str(ROOT / script)
            tell("  " + shlex.join(["python", path, *rest]))
        if random_weights:
            tell(
                f"  (from random weights, since {Config.backbone_weights} is not there; "
                "with ImageNet weights it learns much better: see README)"
            )


def _as_yaml(info: DatasetInfo) -> bytes:
    entries = {key: getattr(info, key) for key in ("name", "num_class", "topK", "data_path")}
    entries |= {"lists": info.lists, "provenance": info.provenance}
    if info.resize != DatasetInfo.resize:
        entries["resize"] = info.resize
    if info.classes:
        entries["classes"] = list(info.classes)
    return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=98).encode()


def as_text(images: ImageList) -> bytes:
    """A list file's content; a path that it cannot hold is a `UserError`."""
    spaced = np.full((len(images), 2 * images.labels.shape[1]), ord(" "), np.uint8)
    spaced[:, 1::2] = images.labels + ord("0")
    lines = []
    for path, labels in zip(images.paths, spaced):
        outside = leaves_folder(path)
        try:
            if outside or path != path.strip() or "\n" in path or "\r" in path:
                raise ValueError
            lines.append(path.encode() + labels.tobytes() + b"\n")
        except ValueError as error:
            odd = "it has blanks around it, a line end, or is not UTF-8; rename it"
            cause = "it leads out of the image folder" if outside else odd
            raise UserError(f"{path!r}: this path cannot stand in a list: {cause}") from error
    return b"".join(lines)
